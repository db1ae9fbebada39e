"""A request as its sender wants it: to whom, what, and how (RFC 6940 section 6.2.1, 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.frozen import frozen
from p2psip.reload.security.roles import Identity
from p2psip.reload.wire.contents import MessageCode, MessageExtension
from p2psip.reload.wire.header import Entry, ForwardingOption
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.security_block import GenericCertificate

TRANSMISSIONS_MAX = 5
"""6.2.1: "The request MAY be retransmitted up to 4 times, for a total of 5 messages"."""


@frozen
class OverlayRequest:
    """One request, passed whole from whoever makes it to the transport."""

    destination_list: Sequence[Entry]
    code: MessageCode
    body: Struct
    identity: Identity | None = None
    """As whom it is made: a client of this node; None for the node itself."""
    certificates: Sequence[GenericCertificate] = ()
    """Those that the receiver needs beside the signer's own."""
    extensions: tuple[MessageExtension, ...] = ()
    transmissions_max: int = TRANSMISSIONS_MAX
    after: int | None = None
    """It leaves as soon as this Ask is answered (a commit to disk)."""
    route: ForwardingOption | None = None
    """Where the response to the first transmission may go (RFC 7263, RFC 7264); None: back as it came."""
    configuration_sequence: int | None = None
    """What the header says in place of our own configuration's: for a ConfigUpdate."""
    is_elsewhere: bool = False
    """It looks into another part of the overlay, where others are responsible than here (10.7.4.4): who answers for a
    Resource-ID need not be as close to it as our neighbours."""
