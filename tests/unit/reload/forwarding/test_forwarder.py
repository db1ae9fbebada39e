"""Where a message goes next (p2psip.reload.forwarding.forwarder): every branch."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import values_of

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.forwarding.forwarder import (
    VIA_LIST_MAX,
    Astray,
    Deliver,
    Drop,
    Forward,
    Forwarder,
    Reject,
    Verdict,
    response_route,
)
from p2psip.reload.forwarding.return_path import ReturnPath, ReturnPaths
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.header import (
    FRAGMENT_ALWAYS_SET,
    CompressedDestination,
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.message import join, split

OVERLAY = 0x01020304
WILDCARD = NodeId.wildcard()


def nid(number: int) -> NodeId:
    """A small Node-ID."""
    return NodeId(number.to_bytes(16, "big"))


def rid(number: int) -> ResourceId:
    """A small Resource-ID."""
    return ResourceId(number.to_bytes(16, "big"))


ME, PREVIOUS, NEXT, CLIENT, LINKED, FAR = (nid(number) for number in (100, 50, 200, 7, 90, 900))


class Ring:
    """A Router: we are responsible for (50, 100], all else goes to NEXT."""

    def __init__(self, next_hop: NodeId | None = NEXT) -> None:
        self._next_hop = next_hop
        self.chosen_by: NodeId | None = None
        self.without: NodeId | None = None

    def is_responsible(self, target: bytes) -> bool:
        return 50 < int.from_bytes(target, "big") <= 100

    def next_hop(self, target: bytes, chosen_by: NodeId | None = None, without: NodeId | None = None) -> NodeId | None:
        self.chosen_by, self.without = chosen_by, without
        return self._next_hop


def paths() -> ReturnPaths:
    """The via list grows."""
    return ReturnPaths(ReturnPath.VIA_LIST, random.Random(1))


def forwarder(router: Ring | None = None, links: frozenset[NodeId] = frozenset([PREVIOUS, NEXT, LINKED])) -> Forwarder:
    """Node 100, with a client in its process."""
    here = Forwarder(ME, OVERLAY, router or Ring(), links, paths())
    here.clients.add(CLIENT)
    return here


def header(*destinations: Destination | CompressedDestination, **fields: object) -> ForwardingHeader:
    """A header for these destinations."""
    usual: dict[str, object] = {"overlay": OVERLAY, "configuration_sequence": 1, "ttl": 100, "transaction_id": 7}
    return ForwardingHeader(**(usual | fields | {"destination_list": destinations}))  # type: ignore[arg-type]


def receive(head: ForwardingHeader, *, is_request: bool | None = True, here: Forwarder | None = None) -> Verdict:
    """A message from PREVIOUS."""
    return (here or forwarder()).receive(head, PREVIOUS, 0.0, is_request=is_request)


def to(node: NodeId) -> Destination:
    """An entry for a node."""
    return Destination.node(node)


def test_a_message_for_this_node_is_delivered() -> None:
    """6.1.1: "If it is the only entry on the Destination List, the message is destined for this node"."""
    assert receive(header(to(ME))) == Deliver(ME, header(to(ME)))


def test_own_entries_are_removed_and_the_next_is_looked_at() -> None:
    """6.1.1: "the node removes the entry from the Destination List and repeats the routing process"."""
    head = header(to(ME), to(ME), to(LINKED), ttl=9)
    assert receive(head) == Forward(LINKED, header(to(LINKED), ttl=8, via_list=(to(PREVIOUS),)))
    assert receive(header(to(ME), to(ME))) == Deliver(ME, header(to(ME)))


def test_the_wildcard_is_consumed_by_whoever_receives_it() -> None:
    """6.1.1: "A message with a wildcard Node-ID as its first entry is never forwarded; it is consumed locally."."""
    head = header(to(WILDCARD))
    assert receive(head) == Deliver(ME, head)
    assert receive(header(to(WILDCARD), to(FAR))) == Deliver(ME, header(to(WILDCARD), to(FAR)))


def test_our_own_wildcard_goes_to_a_neighbor() -> None:
    """It is meant for another."""
    assert forwarder().originate(header(to(WILDCARD)), 0.0) == Forward(NEXT, header(to(WILDCARD)))


def test_a_resource_of_ours_is_delivered() -> None:
    """6.1.1: the message is destined for this node."""
    head = header(Destination.resource(rid(99)))
    assert receive(head) == Deliver(ME, head)


def test_a_resource_of_ours_must_be_the_only_entry() -> None:
    """6.1.1: "If there are other entries, the message MUST be silently dropped."."""
    verdict = receive(header(Destination.resource(rid(99)), to(ME)))
    assert verdict == Drop("a Resource-ID is not the last entry of the destination list")


def test_a_resource_of_another_goes_towards_it() -> None:
    """6.1.2: "the peer MUST forward the message towards that entry"."""
    head = header(Destination.resource(rid(500)))
    assert receive(head) == Forward(NEXT, replace(head, ttl=99, via_list=(to(PREVIOUS),)))


def test_a_linked_node_gets_it_directly() -> None:
    """6.1.2: "If the first entry on the Destination List is in the peer's Connection Table, the peer MUST forward
    the message to that peer directly." That is so for a client in our range as well (6.1.1).
    """
    assert receive(header(to(LINKED)), is_request=False) == Forward(LINKED, header(to(LINKED), ttl=99))


def test_a_node_that_is_not_there_is_dropped_in_silence() -> None:
    """6.1.1: "MUST drop the message silently unless the Node-ID corresponds to a node which is directly connected"."""
    assert receive(header(to(nid(77)))) == Drop(f"{nid(77).short} is not in the overlay")


def test_a_client_in_this_process_gets_its_own() -> None:
    """A line is a node of its own, reached through its peer."""
    assert receive(header(to(ME), to(CLIENT))) == Deliver(CLIENT, header(to(CLIENT)))
    assert forwarder().originate(header(to(CLIENT)), 0.0) == Deliver(CLIENT, header(to(CLIENT)))
    assert receive(header(to(CLIENT), to(FAR))) == Drop("a client forwards nothing")


def test_what_a_client_sends_is_forwarded_with_the_way_back() -> None:
    """The answer comes back to us, then to it."""
    here = forwarder()
    head = header(Destination.resource(rid(500)))
    verdict = here.receive(head, CLIENT, 0.0, is_request=True)
    assert verdict == Forward(NEXT, replace(head, ttl=99, via_list=(to(CLIENT),)))
    answer = header(*response_route(replace(head, via_list=(to(CLIENT),)), ME))
    assert here.receive(answer, NEXT, 0.0, is_request=False) == Deliver(CLIENT, header(to(CLIENT)))


def test_who_has_routed_it_here_is_known_to_the_topology() -> None:
    """Not so where we are in the destination list: then whoever made that wanted it to come here."""
    ring = Ring()
    here = forwarder(ring)
    here.receive(header(to(FAR)), PREVIOUS, 0.0, is_request=True)
    assert ring.chosen_by == PREVIOUS
    here.receive(header(to(ME), to(FAR)), PREVIOUS, 0.0, is_request=True)
    assert ring.chosen_by is None
    here.receive(header(to(ME), Destination.resource(rid(500))), PREVIOUS, 0.0, is_request=True)
    assert ring.chosen_by is None


def test_without_a_way_it_is_dropped() -> None:
    """No peer is known, or the link to it is gone."""
    assert receive(header(to(FAR)), here=forwarder(Ring(next_hop=None))) == Drop("no way towards " + FAR.short)
    assert receive(header(to(FAR)), here=forwarder(links=frozenset([PREVIOUS]))) == Drop("no way towards " + FAR.short)


def test_what_was_to_go_to_a_place_through_us_is_told_from_what_came_by_routing() -> None:
    """Whoever chose us for the way in can choose another; who routes by us finds another way when it hears nothing."""
    nowhere = forwarder(Ring(next_hop=None))
    place = Destination.resource(rid(900))
    assert receive(header(to(ME), place), here=nowhere) == Astray("no way towards " + rid(900).hex()[:8])
    assert receive(header(place), here=nowhere) == Drop("no way towards " + rid(900).hex()[:8])
    assert receive(header(to(ME), to(FAR)), here=nowhere) == Drop("no way towards " + FAR.short)


def test_an_opaque_id_that_is_none_of_ours_is_dropped() -> None:
    """6.1.3: of another peer, forged, or forgotten."""
    for entry in (Destination.opaque(b"x"), CompressedDestination(0x8001)):
        assert receive(header(entry, to(ME))) == Drop(
            "the destination list is empty, or has an opaque ID that is none of ours"
        )


def test_an_empty_destination_list_is_dropped() -> None:
    """There is nobody to whom it could go."""
    assert isinstance(receive(header()), Drop)


def test_a_message_of_another_overlay_is_rejected() -> None:
    """6.1: "examines the overlay, version, and other header fields"; a decoder has looked at the version."""
    verdict = receive(header(to(ME), overlay=OVERLAY + 1))
    assert isinstance(verdict, Reject)
    assert verdict.code is ErrorCode.INCOMPATIBLE_WITH_OVERLAY


def test_a_ttl_above_the_initial_one_is_rejected() -> None:
    """6.3.2: "MUST discard the message and send an Error_TTL_Exceeded error"."""
    verdict = receive(header(to(ME), ttl=101))
    assert isinstance(verdict, Reject)
    assert verdict.code is ErrorCode.TTL_EXCEEDED
    patient = Forwarder(ME, OVERLAY, Ring(), frozenset(), paths(), ttl_max=120)
    assert isinstance(patient.receive(header(to(ME), ttl=120), PREVIOUS, 0.0, is_request=True), Deliver)


def test_a_ttl_of_zero_is_delivered_but_not_forwarded() -> None:
    """6.3.2: "If a received message has a TTL of 0 and the message is not destined for the receiving node, then the
    message MUST NOT be propagated further"."""
    assert isinstance(receive(header(to(ME), ttl=0)), Deliver)
    verdict = receive(header(to(FAR), ttl=0))
    assert isinstance(verdict, Reject)
    assert verdict.code is ErrorCode.TTL_EXCEEDED
    assert receive(header(to(FAR), ttl=1)) == Forward(NEXT, header(to(FAR), ttl=0, via_list=(to(PREVIOUS),)))


def test_our_own_messages_begin_with_all_of_their_ttl() -> None:
    """And with an empty via list: "The via_list starts out empty"."""
    assert forwarder().originate(header(to(FAR)), 0.0) == Forward(NEXT, header(to(FAR)))
    assert forwarder().originate(header(to(ME)), 0.0) == Deliver(ME, header(to(ME)))


def test_responses_leave_no_via_list() -> None:
    """6.1.2: "there is no requirement to use either of the mechanisms [...] when processing a response"."""
    assert receive(header(to(FAR)), is_request=False) == Forward(NEXT, header(to(FAR), ttl=99))


CRITICAL = ForwardingOption(ForwardingOptionType.EXP_FORWARD, ForwardingOptionFlags.FORWARD_CRITICAL, b"")
HARMLESS = ForwardingOption(ForwardingOptionType.EXP_FORWARD, ForwardingOptionFlags.DESTINATION_CRITICAL, b"")


def test_a_forward_critical_option_is_rejected_by_who_would_forward() -> None:
    """6.3.2.3: "any peer that would forward the message but does not understand this option MUST reject"."""
    verdict = receive(header(to(FAR), options=(HARMLESS, CRITICAL)))
    assert isinstance(verdict, Reject)
    assert verdict.code is ErrorCode.UNSUPPORTED_FORWARDING_OPTION
    assert isinstance(receive(header(to(ME), options=(CRITICAL,))), Deliver)


def test_other_options_travel_on() -> None:
    """They are the destination's business."""
    verdict = receive(header(to(FAR), options=(HARMLESS,)))
    assert isinstance(verdict, Forward)
    assert verdict.header.options == (HARMLESS,)


def test_a_via_list_longer_than_any_path_is_dropped() -> None:
    """One entry more must always fit into the header's 16 bits of length, whatever the entries."""
    long = tuple(Destination.opaque(b"x" * 254) for _ in range(VIA_LIST_MAX))
    verdict = receive(header(to(FAR), via_list=long))
    assert isinstance(verdict, Forward)
    assert split(join(verdict.header, b""))[0].via_list == (*long, to(PREVIOUS))
    assert len(join(header(*response_route(header(to(ME), via_list=long), PREVIOUS)), b"")) > 65000
    assert receive(header(to(FAR), via_list=(*long, to(ME)))) == Drop("the via list is longer than any path")


def test_a_resource_in_the_via_list_is_dropped() -> None:
    """6.3.2.2: "MUST NOT appear in a Via List"."""
    verdict = receive(header(to(ME), via_list=(Destination.resource(rid(1)),)))
    assert verdict == Drop("a Resource-ID in the via list")


def test_6_1_2_the_example_of_a_b_c_d_and_e() -> None:
    """ "if node D receives a message from node C with Via List [A, B], then D would forward to the next node E with
    Via List [A, B, C]. Now, if E wants to respond to the message, it reverses the Via List to produce the
    Destination List, resulting in [D, C, B, A]. When D forwards the response to C, the Destination List will contain
    [C, B, A]." (6.1.2)
    """
    a, b, c, d, e = nodes = [nid(number) for number in range(1, 6)]
    here = {
        node: Forwarder(node, OVERLAY, Ring(), frozenset(nodes[max(0, place - 1) : place + 2]), paths())
        for place, node in enumerate(nodes)
    }
    verdict = here[d].receive(header(to(e), via_list=(to(a), to(b)), ttl=98), c, 0.0, is_request=True)
    assert verdict == Forward(e, header(to(e), via_list=(to(a), to(b), to(c)), ttl=97))
    response = header(*response_route(verdict.header, d))
    assert response.destination_list == (to(d), to(c), to(b), to(a))
    verdict = here[d].receive(response, e, 0.0, is_request=False)
    assert verdict == Forward(c, header(to(c), to(b), to(a), ttl=99))
    verdict = here[c].receive(verdict.header, d, 0.0, is_request=False)
    assert verdict == Forward(b, header(to(b), to(a), ttl=98))
    verdict = here[b].receive(verdict.header, c, 0.0, is_request=False)
    assert verdict == Forward(a, header(to(a), ttl=97))
    assert here[a].receive(verdict.header, b, 0.0, is_request=False) == Deliver(a, header(to(a), ttl=97))


KINDS = st.sampled_from([True, False, None])


@pytest.mark.long
@given(values_of(ForwardingHeader), KINDS, st.sampled_from(ReturnPath))
def test_any_header_gets_a_verdict_that_can_be_sent(
    head: ForwardingHeader, is_request: bool | None, strategy: ReturnPath
) -> None:
    """Property: what is forwarded has a header that can be encoded, and a smaller TTL."""
    here = forwarder()
    here.paths.strategy = strategy
    verdict = receive(replace(head, overlay=OVERLAY), is_request=is_request, here=here)
    if isinstance(verdict, Forward):
        assert verdict.header.ttl == head.ttl - 1
        assert split(join(verdict.header, b"payload"))[0].destination_list == verdict.header.destination_list
    elif isinstance(verdict, Reject):
        assert verdict.code in (ErrorCode.TTL_EXCEEDED, ErrorCode.UNSUPPORTED_FORWARDING_OPTION)


@given(st.lists(st.sampled_from(ReturnPath), min_size=1, max_size=12), st.booleans(), st.booleans())
def test_answers_find_back_through_any_mix_of_peers(
    strategies: list[ReturnPath], request_is_cut: bool, response_is_cut: bool
) -> None:
    """Property: whoever is on the way, and whether the message is whole or a fragment whose kind nobody can tell."""
    path = [nid(number) for number in range(1000, 1002 + len(strategies))]
    hops = {
        node: Forwarder(
            node,
            OVERLAY,
            Ring(),
            frozenset(path[max(0, place - 1) : place + 2]),
            ReturnPaths(strategies[min(place, len(strategies)) - 1], random.Random(place)),
        )
        for place, node in enumerate(path)
    }

    def travel(head: ForwardingHeader, way: list[NodeId], is_request: bool | None) -> ForwardingHeader:
        for here, there in pairwise(way):
            verdict = hops[there].receive(split(join(head, b""))[0], here, 0.0, is_request=is_request)
            assert isinstance(verdict, Deliver if there == way[-1] else Forward)
            head = verdict.header
        return head

    piece = {"fragment": FRAGMENT_ALWAYS_SET | 1000}
    asked = header(*map(to, path[1:]), **(piece if request_is_cut else {}))
    arrived = travel(asked, path, None if request_is_cut else True)
    answer = header(*response_route(arrived, path[-2]), **(piece if response_is_cut else {}))
    back = travel(answer, path[::-1], None if response_is_cut else False)
    assert back.destination_list == (to(path[0]),)


@pytest.mark.parametrize("is_request", [True, False])
def test_verdicts_do_not_change_what_was_received(is_request: bool) -> None:
    """Headers are values."""
    head = header(to(ME), to(FAR))
    receive(head, is_request=is_request)
    assert head == header(to(ME), to(FAR))
