"""Messages of our own, which no RFC has: one pair of codes for all of them, told apart by a name.

A peer that does not know them answers with an error (RFC 6940 section 6.3.3.1), and so does one that knows the codes
and not the name; who asks has to do without (docs/decisions/private-messages.md).
"""

from __future__ import annotations

from typing import Annotated, Final

from p2psip.base.ids import NodeId
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.language.codec import Struct, Vector, When, structure
from p2psip.reload.wire.language.primitives import Opaque8, Opaque16, Uint16, WireEnum


@structure
class PrivateReq(Struct):
    """A request: what it is about, and the rest as that has it."""

    name: Opaque8
    body: Opaque16


@structure
class PrivateAns(Struct):
    """The answer, as what was asked has it."""

    body: Opaque16


ROUTER: Final = b"router"
"""The name of a message without a body, and of an answer without one: I pass messages on, and keep nothing
(docs/decisions/bad-memory.md).
"""

REACH: Final = b"reach"
"""The name of what follows: whether a node can be reached (docs/decisions/nat-survey.md)."""


class ProbeWay(WireEnum, width=1):
    """From where a probe is to come."""

    SAME_PORT = 1
    OTHER_PORT = 2
    OTHER_MEMBER = 3
    ON_BEHALF = 4
    """From the port of links, for another member, which is linked with who asks and has asked for one of the others."""
    OTHER_MEMBER_TO_MAPPED = 5
    """As OTHER_MEMBER, to another port of the host where the request came from: to one that its router has mapped."""
    OTHER_PORT_TO_MAPPED = 6
    """As OTHER_PORT, to such a port."""


@structure
class ReachReq(Struct):
    """Send a probe: a Binding indication with this token, to where the Binding request with this transaction came from.

    `avoid` are nodes that are not to send it.
    """

    way: ProbeWay
    token: Opaque8
    avoid: Annotated[tuple[NodeId, ...], Vector(2)]
    address: Annotated[
        IpAddressPort | None,
        When("way", ProbeWay.ON_BEHALF, ProbeWay.OTHER_MEMBER_TO_MAPPED, ProbeWay.OTHER_PORT_TO_MAPPED),
    ] = None


@structure
class ReachAns(Struct):
    """It was sent: from a further port, which answers Binding requests for a while (else 0); by which other members."""

    port: Uint16
    members: Annotated[tuple[NodeId, ...], Vector(1)]


LAN: Final = b"lan"
"""The name of what follows, which goes by multicast: which peers are there (docs/decisions/multicast.md)."""


@structure
class LanReq(Struct):
    """Who is in the overlay, and where are your links? `padding` makes the question longer than its answer."""

    padding: Opaque8


@structure
class LanAns(Struct):
    """At this port of the address from which this comes."""

    port: Uint16
