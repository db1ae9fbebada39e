"""What one node does with messages (p2psip.reload.node.node, .ring): forward, serve, reject, drop."""

from __future__ import annotations

from dataclasses import replace

import pytest
from candidates import addresses_of, tls
from hypothesis import given, settings
from hypothesis import strategies as st
from node_bench import ME, NodeBench, address, identity, nid, offer

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.link.framing import frame_data
from p2psip.reload.node.connecting.bootstrap import Bootstrapping
from p2psip.reload.node.connecting.twins import ECHO_S, PRESENT_S
from p2psip.reload.node.effects import LinkUp, RingChanged
from p2psip.reload.node.limits import LINKS_PER_NODE_MAX, STRANGERS_MAX
from p2psip.reload.paths.values import Purpose, Session
from p2psip.reload.topology.chord.messages import (
    ChordLeaveData,
    ChordLeaveType,
    ChordRouteQueryAns,
    ChordUpdate,
    ChordUpdateType,
)
from p2psip.reload.wire.contents import (
    ErrorCode,
    MessageCode,
    MessageExtension,
    MessageExtensionType,
    UnknownBody,
)
from p2psip.reload.wire.header import (
    Destination,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.private_messages import PrivateReq
from p2psip.reload.wire.topology_messages import JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns
from p2psip.sim.invariants import chord_of
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import EPOCH_S


def start(**settings_: object) -> NodeBench:
    """Node 100 in a ring with 50 and 150: responsible for (50, 100]."""
    bench = NodeBench(**settings_)  # type: ignore[arg-type]
    bench.become_ring(150, 50)
    return bench


def to(place: int) -> Destination:
    """The node there."""
    return Destination.node(nid(place))


def at(place: int) -> Destination:
    """Whoever is responsible there."""
    return Destination.resource(ResourceId(nid(place)))


def rejected(bench: NodeBench, place: int) -> ErrorCode:
    """The error that the node answered with."""
    code = bench.hear_one(place, MessageCode.ERROR).error.error_code
    assert isinstance(code, ErrorCode)
    return code


def encoded_ping(size: int) -> bytes:
    """A Ping of at least this size, as bytes."""
    captured: list[bytes] = []
    bench = start()
    bench.send_bytes = lambda place, message: captured.append(message)  # type: ignore[method-assign]
    bench.send(50, MessageCode.PING_REQ, PingReq(b"x" * size), transaction_id=4711)
    return captured[0]


HEADER = encoded_ping(0)[:56]
"""Of a message for this node."""

# Ping


@pytest.mark.parametrize("destination", [to(ME), at(75), Destination.node(NodeId.wildcard())], ids=str)
def test_6_5_3_a_ping_is_answered(destination: Destination) -> None:
    """ "to a specific Node-ID, to the peer controlling a given location [...], or to the wildcard Node-ID"."""
    bench = start()
    bench.send(150, MessageCode.PING_REQ, PingReq(b"padding"), destinations=[destination])
    answer = bench.hear_one(150)
    assert isinstance(answer.body, PingAns)
    assert answer.body.time == int((EPOCH_S + bench.now) * 1000)
    assert answer.signer == nid(ME)


def test_response_ids_differ() -> None:
    """6.5.3.2: "A randomly generated 64-bit response ID"."""
    bench = start()
    for _ in range(2):
        bench.send(150, MessageCode.PING_REQ, PingReq())
    first, second = (message.body for message in bench.heard(150))
    assert isinstance(first, PingAns)
    assert isinstance(second, PingAns)
    assert first.response_id != second.response_id


# Forwarding


def test_a_message_passes_through() -> None:
    """Its payload untouched, with the way back."""
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq(), signer=30, destinations=[at(140)], via_list=(to(30),), ttl=50)
    passed = bench.hear_one(150)
    assert (passed.signer, passed.header.ttl) == (nid(30), 49)
    assert passed.header.via_list == (to(30), to(50))


def test_what_the_via_list_makes_too_large_is_not_sent() -> None:
    """6.6: the next peer would close the link to us for it. Whoever sent it is told."""
    bench = start(max_message_size=2000)
    errors = []
    for size in range(1500, 2000):
        bench.send(50, MessageCode.PING_REQ, PingReq(b"x" * size), destinations=[at(140)])
        if errors := bench.heard(50, MessageCode.ERROR):
            break
        assert len(bench.heard(150)) == 1
    assert errors[0].error.error_code is ErrorCode.MESSAGE_TOO_LARGE
    assert bench.node.is_linked(nid(50))


def test_a_ttl_that_ends_here_is_answered() -> None:
    """6.3.2: "an Error_TTL_Exceeded error should be generated"."""
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[at(140)], ttl=0)
    assert rejected(bench, 50) is ErrorCode.TTL_EXCEEDED
    bench.send(50, MessageCode.PING_ANS, PingAns(1, 1), destinations=[to(140)], ttl=0)
    assert bench.heard(50) == []


@pytest.mark.must("6.3.4/9")
def test_a_request_whose_signature_is_wrong_gets_no_error_either() -> None:
    """Nobody makes us talk to those who are not members."""
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[at(140)], ttl=0, signer=66)
    bench.send(50, MessageCode.PING_REQ, PingReq(), signer=66)
    assert bench.heard(50) == []
    assert bench.notes("message dropped")


def test_what_is_dropped_is_told_to_the_log() -> None:
    """With the reason and who sent it."""
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[to(75)])
    (note,) = bench.notes("message dropped")
    assert note.facts == {"previous_hop": nid(50), "reason": f"{nid(75).short} is not in the overlay"}


# What a destination checks


def test_6_3_2_1_another_configuration_is_rejected() -> None:
    """ "the node MUST generate an error, either Error_Config_Too_Old or Error_Config_Too_New"; as in TCP."""
    bench = start(sequence=10)
    for theirs, code in [(9, ErrorCode.CONFIG_TOO_OLD), (11, ErrorCode.CONFIG_TOO_NEW), (65000, None)]:
        bench.send(50, MessageCode.PING_REQ, PingReq(), configuration_sequence=theirs)
        assert rejected(bench, 50) is (code or ErrorCode.CONFIG_TOO_OLD)


def test_critical_extensions_and_options_are_rejected() -> None:
    """6.3.3, 6.3.2.3."""
    bench = start()
    extension = MessageExtension(MessageExtensionType.EXP_EXT, True, b"")
    bench.send(50, MessageCode.PING_REQ, PingReq(), extensions=(extension,))
    assert rejected(bench, 50) is ErrorCode.UNKNOWN_EXTENSION
    option = ForwardingOption(ForwardingOptionType.EXP_FORWARD, ForwardingOptionFlags.DESTINATION_CRITICAL, b"")
    bench.send(50, MessageCode.PING_REQ, PingReq(), options=(option,))
    assert rejected(bench, 50) is ErrorCode.UNSUPPORTED_FORWARDING_OPTION


def test_what_cannot_be_served_or_read_is_answered() -> None:
    """Its signature holds, so whoever asked is told."""
    bench = start()
    for code, body in [(MessageCode.EXP_A_REQ, UnknownBody(b"")), (MessageCode.JOIN_REQ, UnknownBody(b"?"))]:
        bench.send(50, code, body)
        error = bench.hear_one(50, MessageCode.ERROR).error
        assert error.error_code is ErrorCode.INVALID_MESSAGE
    assert error.text == "join_req cannot be read"


# Links


def test_garbage_on_a_link_closes_it() -> None:
    """And the node is lost."""
    bench = start()
    remote = bench.remotes[50]
    bench.node.handle_link_data(remote.number, b"GET / HTTP/1.0", bench.now)
    bench.settle()
    assert bench.hung_up() == [remote.number]
    assert nid(50) not in chord_of(bench.node).table


def test_6_6_a_message_too_large_is_answered_and_the_link_closed() -> None:
    """ "the peer SHOULD send an Error_Message_Too_Large error and then close the TLS or DTLS session"; "before the peer
    receives the complete message".
    """
    bench = start(max_message_size=2000)
    remote = bench.remotes[50]
    bench.node.handle_link_data(remote.number, frame_data(2, encoded_ping(3000))[:600], bench.now)
    bench.settle()
    answer = bench.hear_one(50, MessageCode.ERROR)
    assert answer.error.error_code is ErrorCode.MESSAGE_TOO_LARGE
    assert answer.header.transaction_id == 4711
    assert bench.hung_up() == [remote.number]


def test_garbage_in_a_frame_is_dropped_and_the_link_stays() -> None:
    """It may have been forwarded by an innocent peer."""
    bench = start()
    bench.send_bytes(50, b"garbage")
    bench.send_bytes(50, encoded_ping(10)[:-5])
    assert len(bench.notes("message dropped")) == 2
    assert bench.node.is_linked(nid(50))


def test_strangers_are_bounded() -> None:
    """Whoever has a certificate, and is no peer that we know, shares what there is for strangers."""
    bench = start()
    for place in range(1000, 1000 + STRANGERS_MAX):
        bench.link(place)
    remote = bench.link(5000)
    assert bench.hung_up() == [remote.number]
    bench.link(50)
    assert bench.hung_up() == []


def test_a_crowd_of_one_user_leaves_room_for_others() -> None:
    """However many Node-IDs it has: who has the most links loses the oldest to who has none, and to nobody else."""
    bench = start()
    crowd = [SimulatedIdentity("crowd@sim.example", nid(place)) for place in range(1000, 1001 + STRANGERS_MAX)]

    def enter(number: int, who: SimulatedIdentity) -> None:
        chain = tuple(entry.certificate for entry in who.certificates)
        bench.node.handle_link_up(LinkUp(number, chain, address(1), address(ME)), bench.now)
        bench.settle()

    for number, who in enumerate(crowd, start=1000):
        enter(2 * number + 1, who)
    last = 2 * (1000 + STRANGERS_MAX) + 1
    assert bench.hung_up() == [last], "no room for one more of them"
    remote = bench.link(5000)
    assert bench.hung_up() == [2001]
    assert bench.node.is_linked(nid(5000))
    enter(9001, crowd[-1])
    assert bench.hung_up() == [9001]
    assert bench.node._connections.by_number(remote.number) is not None


def test_links_to_one_node_are_bounded() -> None:
    """However often it connects."""
    bench = start()
    for _ in range(LINKS_PER_NODE_MAX - 1):
        bench.link(50)
    remote = bench.link(50)
    assert bench.hung_up() == [remote.number]
    assert bench.node.is_linked(nid(50))


@pytest.mark.must("10.7.1/1")
def test_a_silent_neighbor_is_pinged_then_lost() -> None:
    """10.7.1: "as determined by connectivity pings"."""
    bench = start()
    silent = bench.remotes.pop(50)
    bench.run_for(14.9)
    assert nid(50) in chord_of(bench.node).table
    bench.run_for(4.0)
    assert nid(50) not in chord_of(bench.node).table
    assert nid(150) in chord_of(bench.node).table
    bench.remotes[50] = silent
    assert [note.facts["reason"] for note in bench.notes("link lost")] == ["does not answer"]


KEEPS_ALIVE = (MessageExtension(MessageExtensionType.KEEPS_ALIVE, False, b""),)


def keeps_alive(bench: NodeBench, place: int) -> bool:
    """True if acknowledgements are repeated over the link to it."""
    connection = bench.node._connections.get(nid(place))
    assert connection is not None
    return connection.link.keeps_alive


@pytest.mark.parametrize("extensions", [(), KEEPS_ALIVE])
def test_a_ping_over_a_silent_link_asks_whether_less_will_do(extensions: tuple[MessageExtension, ...]) -> None:
    """From then on acknowledgements are repeated, if the other end says that it hears them; else it has Pings."""
    bench = start()
    bench.heard(50)
    bench.run_for(15.5)
    asked = bench.hear_one(50, MessageCode.PING_REQ)
    assert asked.contents.extensions == KEEPS_ALIVE
    assert not keeps_alive(bench, 50)
    answered = {"transaction_id": asked.header.transaction_id, "extensions": extensions}
    bench.send(50, MessageCode.PING_ANS, PingAns(1, 1), **answered)  # type: ignore[arg-type]
    assert keeps_alive(bench, 50) is bool(extensions)
    assert not keeps_alive(bench, 150)


def test_who_says_in_a_ping_that_less_will_do_is_told_that_it_will() -> None:
    """If it is at the other end of the link; of another that link is no matter, and who does not say so has no more
    than RFC 6940.
    """
    bench = start()
    bench.send(50, MessageCode.PING_REQ, PingReq())
    bench.send(50, MessageCode.PING_REQ, PingReq(), signer=30, extensions=KEEPS_ALIVE, via_list=(to(30),))
    assert [each.contents.extensions for each in bench.heard(50, MessageCode.PING_ANS)] == [(), ()]
    assert not keeps_alive(bench, 50)
    bench.send(50, MessageCode.PING_REQ, PingReq(), extensions=KEEPS_ALIVE)
    assert bench.hear_one(50, MessageCode.PING_ANS).contents.extensions == KEEPS_ALIVE
    assert keeps_alive(bench, 50)


# Join, Leave, Update, RouteQuery


@pytest.mark.must("6.4.2.1/1")
def test_6_4_2_1_a_join_is_for_oneself() -> None:
    """ "Receivers of the JoinReq MUST verify that the joining_peer_id field matches the Node-ID used to sign"."""
    bench = start()
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(80)))
    assert rejected(bench, 75) is ErrorCode.FORBIDDEN


@pytest.mark.must("6.4.2.1/2", "6.4.2.2/2")
@pytest.mark.parametrize(
    ("code", "body"),
    [
        (MessageCode.JOIN_REQ, JoinReq(nid(75))),
        (MessageCode.LEAVE_REQ, LeaveReq(nid(75), b"")),
        (MessageCode.UPDATE_REQ, ChordUpdate(1, ChordUpdateType.PEER_READY)),
    ],
    ids=["join", "leave", "update"],
)
def test_6_4_2_joins_leaves_and_updates_come_over_a_link_from_their_signer(code: MessageCode, body: object) -> None:
    """ "receiving peers MUST verify that any JoinReq they receive arrives from a transport channel that is bound to the
    Node-ID to be assumed by the Joining Node"."""
    bench = start()
    bench.link(75)
    bench.send(50, code, body, signer=75, via_list=(to(75),))  # type: ignore[arg-type]
    assert rejected(bench, 50) is ErrorCode.FORBIDDEN
    assert nid(75) not in chord_of(bench.node).table


def test_a_join_outside_of_our_range_is_forbidden() -> None:
    """The joining node looks again."""
    bench = start()
    bench.link(40)
    bench.send(40, MessageCode.JOIN_REQ, JoinReq(nid(40)))
    assert rejected(bench, 40) is ErrorCode.FORBIDDEN


@pytest.mark.must("10.5/4", "10.5/6", "10.5/7")
def test_10_5_a_join_is_answered_then_the_update_comes() -> None:
    """In this order, as there is nothing to store; then everybody hears of it."""
    bench = start()
    bench.link(75)
    bench.send(75, MessageCode.JOIN_REQ, JoinReq(nid(75)))
    answer, update = bench.heard(75)
    assert answer.code is MessageCode.JOIN_ANS
    assert isinstance(update.body, ChordUpdate)
    assert update.body.predecessors == (nid(75), nid(50), nid(150))
    bench.run_for(1.0)
    for place in (50, 150):
        (told,) = [message.body for message in bench.heard(place) if isinstance(message.body, ChordUpdate)]
        assert nid(75) in told.predecessors
    assert RingChanged(is_member=True) in bench.take(RingChanged)


@pytest.mark.parametrize("data", [b"", b"garbage"])
def test_a_leave_counts_whatever_it_names(data: bytes) -> None:
    """Who comes next we find out ourselves."""
    bench = start()
    bench.send(150, MessageCode.LEAVE_REQ, LeaveReq(nid(150), data))
    assert bench.heard(150)[0].body == LeaveAns()
    assert nid(150) not in chord_of(bench.node).table


@pytest.mark.must("6.4.2.2/1")
def test_a_leave_of_another_is_forbidden() -> None:
    """6.4.2.2: "if not, the message MUST be rejected with an Error_Forbidden error"."""
    bench = start()
    bench.send(150, MessageCode.LEAVE_REQ, LeaveReq(nid(50), b""))
    assert rejected(bench, 150) is ErrorCode.FORBIDDEN
    assert nid(50) in chord_of(bench.node).table


@pytest.mark.must("10.9/1")
def test_10_9_our_own_leave() -> None:
    """To each peer that we are linked with; who has us as successor hears of our successors."""
    bench = start()
    bench.node.leave(bench.now)
    bench.settle()
    before, after = bench.hear_one(50), bench.hear_one(150)
    for message in (before, after):
        assert isinstance(message.body, LeaveReq)
        assert message.body.leaving_peer_id == nid(ME)
        data = ChordLeaveData.decode(message.body.overlay_specific_data)
        assert data.type is ChordLeaveType.FROM_SUCC
        assert data.successors == (nid(150), nid(50))
    assert bench.node.has_left


def test_an_update_is_answered_and_heard() -> None:
    """10.7.3."""
    bench = start()
    bench.link(120)
    bench.update(120)
    assert bench.hear_one(120, MessageCode.UPDATE_ANS).body == UpdateAns()
    assert chord_of(bench.node).table.successors[0] == nid(120)


@pytest.mark.parametrize(("destination", "next_peer"), [(at(140), 150), (at(30), 150), (at(75), ME), (to(50), 50)])
def test_10_8_route_query(destination: Destination, next_peer: int) -> None:
    """ "the single Node-ID of the next peer to which the responding peer would have routed the request"."""
    bench = start()
    bench.send(150, MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, destination))
    assert bench.hear_one(150).body == ChordRouteQueryAns(nid(next_peer))


def test_10_8_route_query_with_send_update() -> None:
    """ "the responder SHOULD initiate an Update immediately after sending the RouteQueryAns"."""
    bench = start()
    bench.send(150, MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(True, at(75)))
    answer, update = bench.heard(150)
    assert answer.code is MessageCode.ROUTE_QUERY_ANS
    assert isinstance(update.body, ChordUpdate)
    assert update.body.type is ChordUpdateType.FULL


def test_a_route_query_for_an_opaque_id_is_forbidden() -> None:
    """ "Implementations MAY wish to consider limiting the use of RouteQuery for opaque IDs"."""
    bench = start()
    bench.send(150, MessageCode.ROUTE_QUERY_REQ, RouteQueryReq(False, Destination.opaque(b"x")))
    assert rejected(bench, 150) is ErrorCode.FORBIDDEN


# Clients in our process


def test_a_client_s_request_goes_out_under_its_own_name_and_its_answer_comes_back() -> None:
    """A line: it signs, we forward."""
    bench = start()
    bench.node.add_client(identity(7), bench.now)
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[to(ME), to(7)])
    answer = bench.hear_one(50)
    assert answer.signer == nid(7)
    assert answer.header.destination_list == (to(50),)
    bench.node.remove_client(nid(7))
    bench.send(50, MessageCode.PING_REQ, PingReq(), destinations=[to(ME), to(7)])
    assert bench.heard(50) == []


@settings(max_examples=60)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_from_a_member_break_the_node(garbage: bytes, is_payload: bool) -> None:
    """Property: whatever comes, it is dropped or answered, and the node goes on."""
    bench = start()
    message = HEADER + garbage if is_payload else garbage
    if is_payload:
        message = message[:16] + len(message).to_bytes(4, "big") + message[20:]
    bench.send_bytes(50, message)
    bench.send(50, MessageCode.PING_REQ, PingReq())
    assert bench.heard(50, MessageCode.PING_ANS)


@settings(max_examples=60)
@given(st.sampled_from(sorted(code for code in MessageCode if code.is_request)), st.binary(max_size=80))
def test_no_signed_body_breaks_the_node(code: MessageCode, body: bytes) -> None:
    """Property: every request of a member is answered, whatever its body."""
    bench = start()
    transaction_id = bench.send(50, MessageCode(code), UnknownBody(body))
    answers = [message for message in bench.heard(50) if message.header.transaction_id == transaction_id]
    assert len(answers) == 1


def test_an_attach_with_our_own_name_is_another_machine_s() -> None:
    """Nobody but us can sign it, and it is none of those that we wait for: it is named, and told of us by a link."""
    bench = start()
    bench.send(50, MessageCode.ATTACH_REQ, replace(offer(ME)), signer=ME)
    assert rejected(bench, 50) is ErrorCode.INVALID_MESSAGE
    assert bench.node.same_node_id_at(bench.now) == str(address(ME))
    (note,) = bench.notes("another machine has our Node-ID")
    assert note.is_warning
    assert note.facts["remote"] == str(address(ME))
    (dial,) = bench.dials()
    assert addresses_of(dial) == (address(ME),)
    bench.send(50, MessageCode.ATTACH_REQ, replace(offer(ME)), signer=ME)
    assert bench.notes("another machine has our Node-ID") == [note], "once a minute is enough"
    bench.run_for(PRESENT_S + 1.0)
    assert bench.node.same_node_id_at(bench.now) == ""


def test_who_dials_us_with_our_certificate_is_another_machine() -> None:
    """Unless we dial ourselves just now, by an address of which we did not know that it is ours."""
    bench = start()
    bench.node._connections.dial(Session(Purpose.RELOAD, tls(address(ME))), Bootstrapping(), bench.now)
    bench.link(ME)
    assert bench.node.same_node_id_at(bench.now) == ""
    (dial,) = bench.dials()
    bench.link(ME, number=dial.link)
    bench.link(ME)
    assert bench.node.same_node_id_at(bench.now) == "", "whichever of the two ends is up first"
    bench.run_for(ECHO_S)
    bench.link(ME)
    assert bench.node.same_node_id_at(bench.now) == address(ME).host


def test_after_a_link_was_lost_we_look_for_our_own_node_id() -> None:
    """An Attach to ourselves by way of a neighbour; what comes back to us is our own and says nothing."""
    bench = start()
    bench.drop(150)
    bench.run_for(1.1)
    by_way_of_50 = (Destination.node(nid(50)), Destination.node(nid(ME)))
    (looked,) = [
        heard for heard in bench.heard(50, MessageCode.ATTACH_REQ) if heard.header.destination_list == by_way_of_50
    ]
    bench.send(50, MessageCode.ATTACH_REQ, looked.body, signer=ME, transaction_id=looked.header.transaction_id)
    assert bench.node.same_node_id_at(bench.now) == ""


# Messages of our own


def test_a_private_message_about_what_we_do_not_know_is_refused() -> None:
    bench = start()
    bench.send(50, MessageCode.PRIVATE_REQ, PrivateReq(b"weather", b"?"))
    assert rejected(bench, 50) is ErrorCode.INVALID_MESSAGE
