"""RFC 7263 and RFC 7264: responses that go directly, or by a relay peer."""

from __future__ import annotations

import pytest
from node_bench import ME, NodeBench, address, nid

from p2psip.base.ids import ResourceId
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.forwarding.routing_modes import FAILURES_MAX, PAUSE_S
from p2psip.reload.node.connecting.response_routes import DIAL_WAIT_S, LINK_IDLE_S
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.extensions.routing_mode import ExtensiveRoutingModeOption, RouteMode
from p2psip.reload.wire.header import Destination, Entry, ForwardingOption, ForwardingOptionFlags, ForwardingOptionType
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq

OURS = ResourceId(nid(90))
THEIRS = ResourceId(nid(210))
STRANGER = 30
"""A peer that node 100 is not linked with."""


def option(
    mode: RouteMode, *destinations: int, at: int = STRANGER, link: OverlayLinkType = OverlayLinkType.TLS_TCP_FH_NO_ICE
) -> ForwardingOption:
    """The option that a request has."""
    entries: tuple[Entry, ...] = tuple(Destination.node(nid(place)) for place in destinations)
    where = IpAddressPort.of(address(at).host, address(at).port)
    body = ExtensiveRoutingModeOption(mode, link, where, entries).encode()
    return ForwardingOption(
        ForwardingOptionType.EXTENSIVE_ROUTING_MODE, ForwardingOptionFlags.IGNORE_STATE_KEEPING, body
    )


def ring(**settings: object) -> NodeBench:
    bench = NodeBench(**settings)  # type: ignore[arg-type]
    bench.become_ring(200, 230)
    bench.dials()
    return bench


def fetch(bench: NodeBench, route: ForwardingOption | None, *, transaction_id: int = 0) -> int:
    """A Fetch of the stranger comes by way of 230 and 200."""
    return bench.send(
        200,
        MessageCode.FETCH_REQ,
        FetchReq(OURS, ()),
        signer=STRANGER,
        destinations=[Destination.resource(OURS)],
        via_list=(Destination.node(nid(STRANGER)), Destination.node(nid(230))),
        options=() if route is None else (route,),
        transaction_id=transaction_id,
    )


BACK = (Destination.node(nid(200)), Destination.node(nid(230)), Destination.node(nid(STRANGER)))


def onward(bench: NodeBench, place: int) -> tuple[Entry, ...]:
    """The destination list of the one response that went to `place`, as its hop is next."""
    heard = bench.hear_one(place, MessageCode.FETCH_ANS)
    return heard.header.destination_list


def test_7263_5_1_a_request_without_the_option_is_answered_by_the_way_back() -> None:
    """ "All peers MUST be able to process requests for routing in SRR"."""
    bench = ring()
    fetch(bench, None)
    assert onward(bench, 200) == BACK


def test_7263_5_4_1_the_response_goes_directly_with_one_entry() -> None:
    """ "the destination peer MUST construct the Destination List for the response with only one entry"; "it sends the
    response to the transport address, which is indicated in the ipaddressport field".
    """
    bench = ring()
    fetch(bench, option(RouteMode.DRR, STRANGER))
    (dial,) = bench.dials()
    assert [candidate.address for candidate in dial.candidates] == [address(STRANGER)]
    assert bench.heard(200) == []
    bench.link(STRANGER, dial.link)
    assert onward(bench, STRANGER) == (Destination.node(nid(STRANGER)),)
    assert bench.heard(200) == []
    fetch(bench, option(RouteMode.DRR, STRANGER))
    assert onward(bench, STRANGER) == (Destination.node(nid(STRANGER)),)
    assert bench.dials() == [], "the link is there"
    bench.run_for(LINK_IDLE_S)
    assert dial.link in bench.hung_up()


def test_7264_5_4_1_by_a_relay_peer_with_two_entries() -> None:
    """ "The first entry MUST be set to the relay peer's Node-ID from the option in the request, and the second entry
    MUST be the sending peer's Node-ID from the option in the request."
    """
    bench = ring()
    fetch(bench, option(RouteMode.RPR, 230, STRANGER))
    assert onward(bench, 230) == (Destination.node(nid(230)), Destination.node(nid(STRANGER)))
    assert bench.heard(200) == []


def test_7264_5_4_3_a_relay_peer_passes_the_response_on() -> None:
    """ "It receives the response, validates the message, readjusts the destination_list, and forwards the response to
    the next hop in the destination_list based on the connection table."
    """
    bench = ring()
    bench.link(STRANGER)
    bench.heard(STRANGER)
    route = [Destination.node(nid(ME)), Destination.node(nid(STRANGER))]
    bench.send(200, MessageCode.FETCH_ANS, FetchAns(()), signer=222, destinations=route)
    assert onward(bench, STRANGER) == (Destination.node(nid(STRANGER)),)


@pytest.mark.parametrize("seconds", [0.0, DIAL_WAIT_S])
def test_7263_3_2_1_who_cannot_be_connected_with_is_answered_by_the_way_back(seconds: float) -> None:
    """ "(or it fails to establish the direct connection), the responding peer SHOULD NOT use DRR but instead switch to
    SRR"; and the next time at once: "a peer would keep a list of unreachable peers".
    """
    bench = ring()
    fetch(bench, option(RouteMode.DRR, STRANGER))
    (dial,) = bench.dials()
    if seconds:
        bench.run_for(seconds)
    else:
        bench.dial_failed(dial.link)
    assert onward(bench, 200) == BACK
    fetch(bench, option(RouteMode.DRR, STRANGER))
    assert bench.dials() == []
    assert onward(bench, 200) == BACK


def test_7263_5_4_1_another_at_that_address_gets_nothing() -> None:
    bench = ring()
    fetch(bench, option(RouteMode.DRR, STRANGER))
    (dial,) = bench.dials()
    other = bench.link(31, dial.link)
    assert [heard for heard in other.heard if heard.code is MessageCode.FETCH_ANS] == []
    assert onward(bench, 200) == BACK


def test_7263_5_4_1_a_retransmission_by_the_way_back_aborts_the_direct_response() -> None:
    """ "If the destination peer receives a retransmit with SRR preference on the message it is trying to respond to
    now, the responding peer SHOULD abort the DRR response and use SRR."
    """
    bench = ring()
    transaction_id = fetch(bench, option(RouteMode.DRR, STRANGER))
    (dial,) = bench.dials()
    fetch(bench, None, transaction_id=transaction_id)
    assert onward(bench, 200) == BACK
    stranger = bench.link(STRANGER, dial.link)
    assert [heard for heard in stranger.heard if heard.code is MessageCode.FETCH_ANS] == []


@pytest.mark.parametrize(
    "bad",
    [
        option(RouteMode.DRR, STRANGER, 230),
        option(RouteMode.RPR, STRANGER),
        option(RouteMode.RPR, 230, 231, STRANGER),
        option(RouteMode(3), STRANGER),
        ForwardingOption(ForwardingOptionType.EXTENSIVE_ROUTING_MODE, ForwardingOptionFlags(0), b"?"),
    ],
)
def test_7263_5_4_1_an_option_that_makes_no_sense_is_refused_by_the_way_back(bad: ForwardingOption) -> None:
    """ "In the event that the routing mode is set to DRR and there is not exactly one destination, the destination peer
    MUST try to return an "Error_Unknown_Extension" response [...] to the sending peer using SRR."; of RPR and two the
    same (RFC 7264 5.4.1), and of an option that cannot be understood.
    """
    bench = ring()
    fetch(bench, bad)
    error = bench.hear_one(200, MessageCode.ERROR)
    assert error.error.error_code is ErrorCode.UNKNOWN_EXTENSION
    assert error.header.destination_list == BACK
    assert bench.dials() == []


def test_nobody_is_dialled_for_who_has_not_signed_the_request() -> None:
    """The option is in no signature; whoever has put it there makes us connect with the requester at most."""
    bench = ring()
    fetch(bench, option(RouteMode.DRR, 31, at=31))
    assert bench.dials() == []
    assert onward(bench, 200) == BACK


@pytest.mark.parametrize("return_path", list(ReturnPath))
def test_7263_5_2_1_no_state_is_kept_of_a_request_that_says_so(return_path: ReturnPath) -> None:
    """ "any peer receiving this message but who is not the destination of the message SHOULD forward the message with
    the full Via List and SHOULD NOT maintain any internal state".
    """
    bench = ring(return_path=return_path)
    bench.send(
        230,
        MessageCode.FETCH_REQ,
        FetchReq(ResourceId(nid(190)), ()),
        signer=STRANGER,
        destinations=[Destination.resource(ResourceId(nid(190)))],
        via_list=(Destination.node(nid(STRANGER)),),
        options=(option(RouteMode.DRR, STRANGER),),
    )
    passed = bench.hear_one(200, MessageCode.FETCH_REQ)
    assert passed.header.via_list == (Destination.node(nid(STRANGER)), Destination.node(nid(230)))
    assert bench.node._forwarder.paths.states_kept == 0


def ask(bench: NodeBench) -> None:
    """Node 100 looks for something."""
    bench.node.fetch(FetchReq(THEIRS, ()), None, bench.now)
    bench.settle()


def test_7263_5_3_1_what_a_request_says_of_direct_response_routing() -> None:
    """ "the sending peer MUST set the IGNORE-STATE-KEEPING flag"; "The type MUST be set to extensive_routing_mode";
    "routemode set to 0x01 (DRR)"; "MUST contain one value, defined as type "node"". 5.4.2: "If the peer does not
    receive a response until the timeout, it SHOULD resend the request using SRR."
    """
    bench = ring(route_mode=RouteMode.DRR)
    ask(bench)
    (found,) = bench.hear_one(200, MessageCode.FETCH_REQ).header.options
    assert (found.type, found.flags) == (2, ForwardingOptionFlags.IGNORE_STATE_KEEPING)
    body = ExtensiveRoutingModeOption.decode(found.option)
    assert (body.routemode, body.transport) == (RouteMode.DRR, OverlayLinkType.TLS_TCP_FH_NO_ICE)
    assert body.ipaddressport.host_port == tuple(address(ME))
    assert body.destinations == (Destination.node(nid(ME)),)
    bench.run_for(3.0)
    assert bench.hear_one(200, MessageCode.FETCH_REQ).header.options == ()


def test_7264_5_3_1_what_a_request_says_of_a_relay_peer() -> None:
    """ "routemode set to 0x02 (RPR)"; "ipaddressport set to the transport address of the relay peer"; "The destination
    structure MUST contain two values": the relay peer, and the sending peer.
    """
    bench = ring(route_mode=RouteMode.RPR)
    bench.node._bootstrap._contacts.learn(nid(200), address(200))
    bench.node._links.refresh_routes()
    ask(bench)
    (found,) = bench.hear_one(200, MessageCode.FETCH_REQ).header.options
    body = ExtensiveRoutingModeOption.decode(found.option)
    assert body.routemode is RouteMode.RPR
    assert body.ipaddressport.host_port == tuple(address(200))
    assert body.destinations == (Destination.node(nid(200)), Destination.node(nid(ME)))


def test_7263_5_4_2_what_does_not_work_is_not_offered_for_a_while() -> None:
    """ "The peer SHOULD note if DRR worked, in order to decide whether to offer DRR again."""
    bench = ring(route_mode=RouteMode.DRR)
    for _ in range(FAILURES_MAX):
        ask(bench)
        assert bench.heard(200, MessageCode.FETCH_REQ)[0].header.options
        bench.run_for(3.0)
        bench.heard(200)
    ask(bench)
    assert not bench.heard(200, MessageCode.FETCH_REQ)[-1].header.options
    bench.now += PAUSE_S
    ask(bench)
    assert bench.heard(200, MessageCode.FETCH_REQ)[-1].header.options


def test_7263_6_without_the_element_nobody_offers_a_route() -> None:
    """ "DRR SHOULD NOT be used in the open Internet" (4.2): who wants it says so in the configuration."""
    bench = ring()
    ask(bench)
    assert bench.hear_one(200, MessageCode.FETCH_REQ).header.options == ()
