"""Direct response routing and relay peer routing: what a request says of the way of its response (RFC 7263, RFC 7264).

Symmetric recursive routing is what every node does, and what goes on being done whenever something does not fit.
"""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.extensions.routing_mode import ExtensiveRoutingModeOption, RouteMode
from p2psip.reload.wire.header import (
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import OverlayLinkType

FAILURES_MAX = 3
PAUSE_S = 600.0

_DESTINATIONS = {RouteMode.DRR: 1, RouteMode.RPR: 2}


class RouteTrust:
    """Whether routes that we offer lead to us. RFC 7263 5.4.2: "The peer SHOULD note if DRR worked, in order to decide
    whether to offer DRR again."

    After `FAILURES_MAX` requests in a row that were not answered in time none offers a route for `PAUSE_S`.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._offers_again_at = 0.0

    def may_offer(self, now: float) -> bool:
        """True unless it has not worked lately."""
        return now >= self._offers_again_at

    def noted(self, now: float, *, is_in_time: bool) -> None:
        """A request with a route was answered before it had to be sent again, or not."""
        self._failures = 0 if is_in_time else self._failures + 1
        if self._failures >= FAILURES_MAX:
            self._failures, self._offers_again_at = 0, now + PAUSE_S


def offered_route(at: Address, link_type: OverlayLinkType, own: NodeId, relay: NodeId | None) -> ForwardingOption:
    """The option of a request of `own`, whose response is to come to `at`: there we are ourselves, or `relay` is."""
    # RFC 7263 5.3.1: "The destination structure MUST contain one value, defined as type "node" and set with the sending
    # peer's own values."; RFC 7264 5.3.1: "The first MUST be defined as type "node" and set with the values for the
    # relay peer. The second MUST be defined as type "node" and set with the sending peer's own values."
    nodes = (own,) if relay is None else (relay, own)
    option = ExtensiveRoutingModeOption(
        RouteMode.DRR if relay is None else RouteMode.RPR,
        link_type,
        IpAddressPort.of(*at),
        tuple(map(Destination.node, nodes)),
    )
    # "the sending peer MUST set the IGNORE-STATE-KEEPING flag". No flag has anybody refuse it: who does not know the
    # option answers as ever.
    flags = ForwardingOptionFlags.IGNORE_STATE_KEEPING
    return ForwardingOption(ForwardingOptionType.EXTENSIVE_ROUTING_MODE, flags, option.encode())


def keeps_no_state(header: ForwardingHeader) -> bool:
    """RFC 7263 5.2.1: "any peer receiving this message but who is not the destination of the message SHOULD forward the
    message with the full Via List and SHOULD NOT maintain any internal state".
    """
    return any(option.flags & ForwardingOptionFlags.IGNORE_STATE_KEEPING for option in header.options)


def route_asked_for(header: ForwardingHeader, *, node_id_length: int) -> ExtensiveRoutingModeOption | None:
    """Where the response to this request is to go; None for the way back. Raises DecodeError if it makes no sense."""
    found = (each for each in header.options if each.type is ForwardingOptionType.EXTENSIVE_ROUTING_MODE)
    if (option := next(found, None)) is None:
        return None
    route = ExtensiveRoutingModeOption.decode(option.option, node_id_length=node_id_length)
    wanted = _DESTINATIONS.get(route.routemode)
    if wanted is None:
        raise DecodeError(f"unknown routing mode {int(route.routemode)}", 0)
    # RFC 7263 5.4.1: "In the event that the routing mode is set to DRR and there is not exactly one destination, the
    # destination peer MUST try to return an "Error_Unknown_Extension" response [...] using SRR."; RFC 7264 5.4.1 says
    # the same of RPR and two.
    if len(route.destinations) != wanted or any(entry.node_id is None for entry in route.destinations):
        raise DecodeError(f"{len(route.destinations)} destinations for a response by {route.routemode.rfc_name}", 0)
    return route


def route_to(header: ForwardingHeader, requester: NodeId) -> ExtensiveRoutingModeOption | None:
    """The same, where it leads to who has signed the request: the option itself is in no signature. None for the way
    back, which what makes no sense is answered by as well.
    """
    if not header.options:
        return None
    try:
        route = route_asked_for(header, node_id_length=len(requester))
    except DecodeError:
        return None
    return route if route is not None and route.destinations[-1].node_id == requester else None
