"""What a node wants its driver, or the core above it, to do.

Link numbers that the node chooses are even; those of accepted connections are odd and chosen by the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import Cause, RequestFailed
from p2psip.base.frozen import frozen
from p2psip.base.ids import NodeId
from p2psip.reload.config.document import Document
from p2psip.reload.paths.nat.reach import Reach
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.link_messages import OverlayLinkType


@frozen
class LinkUp:
    """What the driver tells of a connection that is up, dialled or accepted: an overlay link, or one by AppAttach."""

    number: int
    certificates: tuple[bytes, ...]
    """The other end's, in DER, its own first."""
    remote: Address
    local: Address
    datagram_bytes: int | None = None
    """What one datagram carries, of DTLS; None for TLS."""
    is_direct: bool = False
    """True if the other end is a core in this process: an overlay link carries whole messages then, without a frame."""
    protocol: bytes = b""
    """What its handshake says that it is for, if it is no overlay link (ALPN)."""

    @property
    def kind(self) -> OverlayLinkType:
        """Over what it goes."""
        return OverlayLinkType.DTLS_UDP_SR_NO_ICE if self.datagram_bytes else OverlayLinkType.TLS_TCP_FH_NO_ICE


@frozen
class Write(Effect):
    """Send on a link that is up. What is to be fresh is lost where the other end has not taken what went before."""

    link: int
    data: bytes
    is_to_be_fresh: bool = False


class RequestRefused(RequestFailed):
    """A request of ours was answered with an error; `code` says which."""

    def __init__(self, what: str, causes: tuple[Cause, ...], code: ErrorCode) -> None:
        super().__init__(what, causes)
        self.code = code


@frozen
class Done(Effect):
    """A command is over. `context` is what its caller gave; `result` is its answer, or why there is none."""

    context: object
    result: Answer | RequestFailed


@dataclass(frozen=True, slots=True)
class AppLinkUp(Effect):
    """A connection made by AppAttach to `node` is up (section 6.5.2); its bytes are the application's.

    Which application: its Application-ID, a port number (section 14.5). The link's number is odd if we asked for it.
    """

    link: int
    node: NodeId
    remote: Address
    local: Address
    application: int = 5060
    datagram_bytes: int | None = None
    """What one record carries, where it is records that go; None for a stream."""
    is_relayed: bool = False
    """True if it goes over a relay: the addresses say nothing of where the two ends are."""
    is_on_stream: bool = False
    """True if its records go on a stream, which does not say by itself where one ends."""


@dataclass(frozen=True, slots=True)
class AppLinkDown(Effect):
    """The node has closed a connection made by AppAttach: its other end is no member any more, or its path is lost."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class AppLinkDoubted(Effect):
    """The path of a connection made by AppAttach, which is up, does not answer: another may go by another way."""

    link: int


@dataclass(frozen=True, slots=True)
class AppLinkFailed(Effect):
    """No connection to `node` came about; why. `is_stream`: of the kind that was wanted."""

    node: NodeId
    error: RequestFailed
    is_stream: bool = True


@dataclass(frozen=True, slots=True)
class ConfigurationChanged(Effect):
    """The overlay has a new configuration, or a further Kind, and the node follows it: worth keeping on disk.

    With `obstacles` the node cannot be a member any more, in words, and has begun to leave.
    """

    document: Document
    kind_blocks: tuple[bytes, ...]
    obstacles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigurationOutdated(Effect):
    """Another member has a newer configuration than we, and should send it; if it does not, a server may have it."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class RingChanged(Effect):
    """We joined, or our neighbours or our range of Resource-IDs changed. Of a client: the peers that it is linked with.

    `is_member`: the overlay can be reached.
    """

    is_member: bool


@dataclass(frozen=True, slots=True)
class PeerLost(Effect):
    """No link to a node works any more: what it kept for us may be gone with it."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class ReachChanged(Effect):
    """More, or something else, is known of what this node is behind, and whether it can be reached."""

    reach: Reach


@dataclass(frozen=True, slots=True)
class ReachSurveyed(Effect):
    """A survey is over but for how long mappings last, or there was nobody to ask; what is known now."""

    reach: Reach
    open_members: int = 0
    """How many members that we are linked with can be dialled from anywhere, as far as the links show it."""


@dataclass(frozen=True, slots=True)
class ContactsChanged(Effect):
    """Where peers that we are linked with can be dialled: worth remembering for the next start (section 11.4)."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class UserNameTaken(Effect):
    """`other` had our user name before us, in an overlay whose members choose their names themselves (11.3.1)."""

    user: str
    node: NodeId
    other: NodeId
