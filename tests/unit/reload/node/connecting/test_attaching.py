"""Forming connections without ICE: links of the topology, by Attach (p2psip.reload.node.connecting.attach)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from attach_bench import LARGER, SMALLER, answered, answering, attach, start
from candidates import addresses_of, host_candidate
from node_bench import ME, NodeBench, address, nid, offer

from p2psip.base.address import Address
from p2psip.base.ids import ResourceId
from p2psip.reload.node.connecting.attach import Answering, Offered
from p2psip.reload.paths.ice.punching import Punching
from p2psip.reload.paths.limits import (
    CANDIDATES_MAX,
    DIALLED_CANDIDATES_MAX,
    DIALLED_CANDIDATES_PER_MEMBER_MAX,
    DIALS_MAX,
)
from p2psip.reload.paths.offers import LINK_WAIT_S
from p2psip.reload.paths.values import ACTIVE, PASSIVE, Purpose, Session
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.chord.chord import CROSSING_S
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import (
    AttachReqAns,
    CandType,
    OverlayLinkType,
)
from p2psip.reload.wire.topology_messages import LeaveReq
from p2psip.sim.invariants import chord_of

"""Beside node 100 on either side, so that both are wanted as neighbours."""


@pytest.mark.must("10.6/1", "6.5.1.1/1")
def test_an_attach_goes_by_way_of_who_named_the_node() -> None:
    """10.6: "it MUST source-route the Attach request through the peer from which it learned the new peer's Node-ID"."""
    bench = start()
    attach(bench, LARGER)
    sent = bench.hear_one(150, MessageCode.ATTACH_REQ)
    assert sent.header.destination_list == (Destination.node(nid(150)), Destination.node(nid(LARGER)))
    assert isinstance(sent.body, AttachReqAns)
    assert (sent.body.role, sent.body.send_update) == (b"passive", True)
    (candidate,) = sent.body.candidates
    assert candidate.addr_port.host_port == address(ME)
    assert (candidate.overlay_link, candidate.type) == (OverlayLinkType.TLS_TCP_FH_NO_ICE, CandType.HOST)


@pytest.mark.must("6.5.1.2/1", "6.5.1.2/2")
def test_6_5_1_2_an_attach_is_answered_and_its_sender_dialled() -> None:
    """ "it MUST process this request and SHOULD generate its own response"; the answerer is the TLS client."""
    bench = start()
    bench.send(150, MessageCode.ATTACH_REQ, offer(LARGER), signer=LARGER, via_list=(Destination.node(nid(LARGER)),))
    answer = bench.hear_one(150, MessageCode.ATTACH_ANS)
    assert answer.header.destination_list == (Destination.node(nid(150)), Destination.node(nid(LARGER)))
    assert isinstance(answer.body, AttachReqAns)
    assert answer.body.role == b"active"
    assert [(dial.purpose, addresses_of(dial)) for dial in bench.dials()] == [(Purpose.RELOAD, (address(LARGER),))]


@pytest.mark.must("6.4.2.3/1")
def test_6_4_2_3_send_update_is_honoured_when_the_link_is_up() -> None:
    """ "it MUST send an Update message back to the sender of the Attach request after completion of the [...] TLS
    connection"."""
    bench = start()
    dial = answering(bench, LARGER)
    bench.link(LARGER, dial.link)
    update = bench.hear_one(LARGER, MessageCode.UPDATE_REQ)
    assert update.header.destination_list == (Destination.node(nid(LARGER)),)


@pytest.mark.must("6.5.1.11/1")
@pytest.mark.parametrize("place", [SMALLER, LARGER])
def test_6_5_1_11_a_wrong_certificate_closes_the_link(place: int) -> None:
    """ "The certificate exchanged during the TLS or DTLS handshake MUST match the node [...], and if it does not, the
    connection MUST be closed."
    """
    bench = start()
    dial = answering(bench, place)
    bench.link(place, dial.link, presents=77)
    assert bench.hung_up() == [dial.link]
    assert not bench.node.is_linked(nid(77))
    assert not bench.node.is_linked(nid(place))
    assert "is peer-77@sim.example, not" in str(bench.notes("link refused")[0].facts["reason"])


def test_a_banned_node_gets_no_link() -> None:
    """Neither dialled nor accepted."""
    bench = start()
    remote = bench.link(66)
    assert bench.hung_up() == [remote.number]
    assert "bad node" in str(bench.notes("link refused")[0].facts["reason"])


def test_what_we_dial_may_be_ourselves() -> None:
    """An address that comes back to us is no link."""
    bench = start()
    dial = answering(bench, LARGER)
    bench.link(LARGER, dial.link, presents=ME)
    assert bench.hung_up() == [dial.link]


# Tie-breaks


@pytest.mark.must("6.5.1.2/1", "6.5.1.2/3", "6.5.1.2/4")
def test_6_5_1_2_both_at_once_the_smaller_gives_way() -> None:
    """ "If the peer's own Node-ID is smaller [...], it MUST cancel retransmission of its own incomplete Attach
    request. It MUST then process this Attach request"."""
    bench = start()
    attach(bench, LARGER)
    bench.heard(150)
    bench.send(150, MessageCode.ATTACH_REQ, offer(LARGER), signer=LARGER)
    assert bench.hear_one(150).code is MessageCode.ATTACH_ANS
    (dial,) = bench.dials()
    bench.run_for(4.0)
    assert bench.heard(150, MessageCode.ATTACH_REQ) == []
    bench.link(LARGER, dial.link)
    bench.update(LARGER)
    assert nid(LARGER) in chord_of(bench.node).table


@pytest.mark.must("6.5.1.2/1", "6.5.1.2/5")
def test_6_5_1_2_both_at_once_the_larger_goes_on() -> None:
    """ "If the peer's own Node-ID is larger [...], it MUST generate an Error_In_Progress error to this Attach request,
    and then proceed to wait for and complete the Attach"; the way that theirs came is taken for ours as well.
    """
    bench = start()
    attach(bench, SMALLER)
    first = bench.hear_one(150, MessageCode.ATTACH_REQ)
    via = (Destination.node(nid(SMALLER)), Destination.node(nid(40)))
    bench.send(50, MessageCode.ATTACH_REQ, offer(SMALLER), signer=SMALLER, via_list=via)
    again, error = bench.heard(50)
    assert error.error.error_code is ErrorCode.IN_PROGRESS
    assert bench.dials() == []
    assert again.header.transaction_id == first.header.transaction_id
    assert again.header.destination_list == tuple(Destination.node(nid(place)) for place in (50, 40, SMALLER))
    bench.answer(50, again, MessageCode.ATTACH_ANS, offer(SMALLER, b"active"), signer=SMALLER)
    bench.link(SMALLER)
    bench.update(SMALLER)
    assert nid(SMALLER) in chord_of(bench.node).table


@pytest.mark.parametrize("place", [SMALLER, LARGER])
def test_6_5_1_2_a_connection_in_progress_goes_first(place: int) -> None:
    """ "it SHOULD generate an Error_In_Progress error instead of an AttachReqAns", whoever is larger."""
    bench = start()
    attach(bench, place)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(place, b"active"), signer=place)
    bench.send(150, MessageCode.ATTACH_REQ, offer(place), signer=place)
    assert bench.hear_one(150).error.error_code is ErrorCode.IN_PROGRESS


RELAYED = Address("198.51.100.1", 40001)
ELSEWHERE = Address("198.51.100.2", 40002)


def lent(place: int, role: bytes, *relayed: Address) -> AttachReqAns:
    """An offer, or an answer, in which are addresses that relays lend as well."""
    body, base = offer(place, role), IpAddressPort.of(*address(place))
    further = (host_candidate(*each, type=CandType.RELAY, rel_addr_port=base) for each in relayed)
    return replace(body, candidates=(*body.candidates, *further))


@pytest.mark.parametrize("place", [SMALLER, LARGER])
@pytest.mark.parametrize(("before", "after"), [((RELAYED,), (ELSEWHERE,)), ((), (RELAYED,))])
def test_who_has_answered_and_is_elsewhere_now_begins_anew(
    place: int, before: tuple[Address, ...], after: tuple[Address, ...]
) -> None:
    """Nothing would come of what was in progress, and it is not waited for: whoever is larger."""
    bench = start()
    attach(bench, place)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ATTACH_ANS, lent(place, b"active", *before), signer=place)
    bench.send(150, MessageCode.ATTACH_REQ, lent(place, b"passive", *after), signer=place)
    assert bench.hear_one(150).code is MessageCode.ATTACH_ANS
    (dial,) = bench.dials()
    bench.link(place, dial.link)
    bench.update(place)
    assert nid(place) in chord_of(bench.node).table


@pytest.mark.parametrize("again", [(RELAYED,), (RELAYED, ELSEWHERE), ()])
def test_6_5_1_2_who_is_where_it_has_answered_does_not(again: tuple[Address, ...]) -> None:
    """What has crossed ours, and comes late, says the same, or less."""
    bench = start()
    attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ATTACH_ANS, lent(LARGER, b"active", RELAYED), signer=LARGER)
    bench.send(150, MessageCode.ATTACH_REQ, lent(LARGER, b"passive", *again), signer=LARGER)
    assert bench.hear_one(150).error.error_code is ErrorCode.IN_PROGRESS


def test_who_was_told_in_progress_waits_for_the_other_s_link() -> None:
    """And answers the other's Attach when it comes, though its own is not over."""
    bench = start()
    attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    error = ErrorResponse.of(ErrorCode.IN_PROGRESS, "")
    bench.answer(150, request, MessageCode.ERROR, error, signer=LARGER)
    bench.send(150, MessageCode.ATTACH_REQ, offer(LARGER), signer=LARGER)
    assert bench.hear_one(150).code is MessageCode.ATTACH_ANS
    assert len(bench.dials()) == 1


@pytest.mark.must("6.5.1.12/1", "6.5.1.14/1")
def test_when_the_link_is_there_nothing_more_is_asked() -> None:
    """It came before the answer, which does not come at all: no further offer, and no failure."""
    bench = start()
    attach(bench, LARGER)
    assert bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.link(LARGER)
    bench.update(LARGER)
    bench.run_for(LINK_WAIT_S + 1)
    sent = bench.heard(150, MessageCode.ATTACH_REQ)
    assert not any(message.header.destination_list[-1].node_id == nid(LARGER) for message in sent)
    assert bench.notes("attach failed") == []


@pytest.mark.must("6.5.1.14/1")
def test_the_link_may_come_before_the_answer() -> None:
    """Then the answer is not waited for."""
    bench = start()
    attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.link(LARGER)
    bench.update(LARGER)
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(LARGER, b"active"), signer=LARGER)
    bench.run_for(LINK_WAIT_S + 1)
    sent = bench.heard(150, MessageCode.ATTACH_REQ)
    assert not any(message.header.destination_list[-1].node_id == nid(LARGER) for message in sent)
    assert bench.notes("attach failed") == []


def test_an_answer_without_a_link_is_a_failure_after_a_while() -> None:
    """The other end could not reach us."""
    bench = start()
    answered(bench, LARGER)
    bench.update(150)
    bench.run_for(LINK_WAIT_S + 0.1)
    (note,) = bench.notes("attach failed")
    assert note.facts == {"node": nid(LARGER), "reason": "the connection did not come"}


def test_a_refused_attach_says_why() -> None:
    """In the words of who refused."""
    bench = start()
    attach(bench, LARGER)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ERROR, ErrorResponse.of(ErrorCode.FORBIDDEN, "no"), signer=LARGER)
    (note,) = bench.notes("attach failed")
    assert "Error_Forbidden: no" in str(note.facts["causes"])


def test_an_attach_that_cannot_be_followed_is_refused_before_it_is_answered() -> None:
    """6.5.1.2: "If the peer is overloaded or detects some other kind of error, it MAY generate an error"."""
    bench = start()
    bench.send(150, MessageCode.ATTACH_REQ, replace(offer(LARGER), candidates=()), signer=LARGER)
    assert bench.hear_one(150).error.error_code is ErrorCode.INVALID_MESSAGE
    for place in range(1000, 1000 + DIALS_MAX):
        bench.send(150, MessageCode.ATTACH_REQ, offer(place), signer=place)
    bench.heard(150)
    bench.send(150, MessageCode.ATTACH_REQ, offer(LARGER), signer=LARGER)
    assert bench.hear_one(150).error.error_code is ErrorCode.REQUEST_TIMEOUT
    assert len(bench.dials()) == DIALS_MAX


def test_one_node_cannot_keep_others_from_being_dialled() -> None:
    """Attaches of one node that lead nowhere leave room for those of another."""
    bench = start()
    for _ in range(DIALS_MAX):
        bench.send(150, MessageCode.ATTACH_REQ, offer(LARGER), signer=LARGER)
    assert len(bench.dials()) == DIALLED_CANDIDATES_PER_MEMBER_MAX
    bench.heard(150)
    bench.send(150, MessageCode.ATTACH_REQ, offer(SMALLER), signer=SMALLER)
    assert bench.hear_one(150, MessageCode.ATTACH_ANS)
    (dial,) = bench.dials()
    assert addresses_of(dial) == (address(SMALLER),)


def test_candidates_that_lead_nowhere_take_few_sockets() -> None:
    """Each is a socket until it is given up: those of one member are bounded, and those of all."""
    bench = start()
    crowd = replace(offer(LARGER), candidates=tuple(host_candidate("192.0.2.1", port) for port in range(1, 100)))
    for place in (LARGER, LARGER, LARGER, *range(1000, 1030)):
        bench.send(150, MessageCode.ATTACH_REQ, crowd, signer=place)
    dials = bench.dials()
    assert len(dials) == DIALLED_CANDIDATES_MAX / CANDIDATES_MAX
    assert all(len(dial.candidates) == CANDIDATES_MAX for dial in dials)
    answered = [message.signer for message in bench.heard(150, MessageCode.ATTACH_ANS)]
    assert len(answered) == len(dials)
    bench.dial_failed(dials[0].link)
    bench.send(150, MessageCode.ATTACH_REQ, crowd, signer=LARGER)
    assert len(bench.dials()) == 1, "what is over makes room"
    bench.dial_failed(dials[-1].link)
    bench.send(150, MessageCode.ATTACH_REQ, crowd, signer=LARGER)
    assert bench.dials() == [], "but not for whom has as many as one member may"


def test_a_finger_sought_makes_nobody_awaited_but_who_answers() -> None:
    """6.5.1.14: the link may come before the answer; until that has come it is a stranger's, as any other is."""
    bench = start()
    bench.node._intents.connect(Connect("finger", ResourceId(nid(1000))), bench.now)
    bench.node._settle(bench.now)
    bench.settle()
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    for place in (1000, 2000):
        bench.link(place)
    bench.run_for(1.0)
    assert bench.heard(1000) == bench.heard(2000) == []
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(1000, b"active"), signer=1000)
    assert bench.hear_one(1000, MessageCode.UPDATE_REQ)
    assert bench.heard(2000) == []
    bench.link(3000)
    assert bench.heard(3000) == []


def test_what_is_sought_anew_is_not_sought_as_before() -> None:
    """An intent has a key: who answers the earlier Attach is not waited for. Other keys are other intents."""
    bench = start()
    for key, place in (("a", 151), ("b", 152), ("a", 153)):
        bench.node._intents.connect(Connect(key, ResourceId(nid(place))), bench.now)
        bench.node._settle(bench.now)
        bench.settle()
    requests = bench.heard(150, MessageCode.ATTACH_REQ)
    for request, place in zip(requests, (151, 152, 153), strict=True):
        bench.answer(150, request, MessageCode.ATTACH_ANS, offer(place, b"active"), signer=place)
    awaited = [place for place in (151, 152, 153) if bench.node._paths.offers.is_awaited(Purpose.RELOAD, nid(place))]
    assert awaited == [152, 153]


def test_what_is_sought_and_is_our_own_place_is_sought_no_more() -> None:
    """The Attach comes back to us: a link of a peer that we know is that of one that was started again, as ever."""
    bench = start()
    bench.node._intents.connect(Connect("finger", ResourceId(nid(ME))), bench.now)
    bench.node._settle(bench.now)
    bench.settle()
    assert bench.heard(150, MessageCode.ATTACH_REQ) == []
    assert nid(150) in bench.node.topology.routes
    bench.run_for(CROSSING_S)
    bench.link(150)
    assert nid(150) not in bench.node.topology.routes


def test_who_answered_for_a_place_and_was_started_again_is_not_told_to_wait() -> None:
    """The connection that its answer announced had come before, or never will: a new Attach of it goes first."""
    bench = start()
    bench.node._intents.connect(Connect("finger", ResourceId(nid(149))), bench.now)
    bench.node._settle(bench.now)
    bench.settle()
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(150, b"active"), signer=150)
    bench.send(150, MessageCode.LEAVE_REQ, LeaveReq(nid(150), b""))
    bench.drop(150)
    bench.send(50, MessageCode.ATTACH_REQ, offer(150), signer=150, via_list=(Destination.node(nid(150)),))
    assert bench.hear_one(50, MessageCode.ATTACH_ANS)
    assert len(bench.dials()) == 1


def test_a_dialling_that_fails_is_told_to_the_log() -> None:
    """And makes room for others."""
    bench = start()
    dial = answering(bench, LARGER)
    bench.dial_failed(dial.link)
    (note,) = bench.notes("dialling failed")
    assert note.facts["reason"] == f"{address(LARGER)} (TLS): connection refused"


def sought(bench: NodeBench, delay_s: float) -> Offered:
    """Node 1000 answers an Attach to a place so much later: what is kept with the offer then."""
    bench.node._intents.connect(Connect("finger", ResourceId(nid(1000))), bench.now)
    bench.node._settle(bench.now)
    bench.settle()
    request = bench.heard(150, MessageCode.ATTACH_REQ)[0]
    bench.run_for(delay_s)
    bench.answer(150, request, MessageCode.ATTACH_ANS, offer(1000, b"active"), signer=1000)
    offered = bench.node._paths.offers.get(Purpose.RELOAD, nid(1000))
    assert isinstance(offered, Offered)
    return offered


def test_who_answered_for_a_place_is_whose_certificate_is_wanted() -> None:
    """6.5.1.11 holds where we open the connection as well, and it was not known before whom we would ask."""
    assert sought(start(), 0.1).wanted.node == nid(1000)


@pytest.mark.parametrize(("delay_s", "took_s"), [(0.4, 0.4), (3.5, 0.0)])
def test_what_an_answer_took_is_known_where_nothing_was_repeated(delay_s: float, took_s: float) -> None:
    """It says when the answer was sent: half of it before."""
    assert sought(start(), delay_s).wanted.session.took_s == pytest.approx(took_s)


def asked_anew(bench: NodeBench) -> None:
    """No address that was said holds any more, and there are others."""
    bench.node._intents.ask_anew(bench.now)
    bench.node._settle(bench.now)
    bench.settle()


@pytest.mark.parametrize("is_answered", [True, False])
def test_what_is_under_way_when_our_addresses_cease_to_hold_begins_anew(is_answered: bool) -> None:
    """The topology hears of the second as of the first, be the first answered or not."""
    bench = start()
    attach(bench, LARGER)
    first = bench.hear_one(150, MessageCode.ATTACH_REQ)
    if is_answered:
        bench.answer(150, first, MessageCode.ATTACH_ANS, offer(LARGER, b"active"), signer=LARGER)
    asked_anew(bench)
    again = bench.hear_one(150, MessageCode.ATTACH_REQ)
    assert again.header.transaction_id != first.header.transaction_id
    assert again.header.destination_list[-1] == Destination.node(nid(LARGER))
    bench.answer(150, again, MessageCode.ATTACH_ANS, offer(LARGER, b"active"), signer=LARGER)
    bench.link(LARGER)
    bench.update(LARGER)
    assert nid(LARGER) in chord_of(bench.node).table
    bench.run_for(2 * LINK_WAIT_S)
    assert bench.notes("attach failed") == []


@pytest.mark.parametrize("error", [ErrorCode.IN_PROGRESS, ErrorCode.FORBIDDEN])
def test_what_was_answered_before_is_asked_for_anew_and_not_waited_for(error: ErrorCode) -> None:
    """What the other end has in progress is the attempt of which nothing will come."""
    bench = start()
    there = Punching(random.Random(1))
    said, punching = there.describe([address(LARGER)], PASSIVE), bench.node._paths.punching
    session = Session(Purpose.RELOAD, (), punching.describe([address(ME)], ACTIVE), said, peer=nid(LARGER))
    punching.begin(session, Answering(nid(LARGER), Purpose.RELOAD), bench.now)
    asked_anew(bench)
    assert not punching.is_looking(session)
    request = bench.hear_one(150, MessageCode.ATTACH_REQ)
    assert bench.node._paths.offers.is_awaited(Purpose.RELOAD, nid(LARGER))
    bench.answer(150, request, MessageCode.ERROR, ErrorResponse.of(error, ""), signer=LARGER)
    assert not bench.node._paths.offers.is_awaited(Purpose.RELOAD, nid(LARGER))
    (failed,) = bench.notes("attach failed")
    assert failed.facts["node"] == nid(LARGER)
