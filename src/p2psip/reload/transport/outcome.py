"""What became of a request."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.errors import Cause
from p2psip.base.frozen import frozen
from p2psip.reload.security.roles import Signer
from p2psip.reload.wire.contents import ErrorCode, MessageExtension
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.security_block import GenericCertificate


@frozen
class Answer:
    """The request was answered: by whom, with what, after how many seconds and over how many hops."""

    signer: Signer
    body: Struct
    certificates: tuple[GenericCertificate, ...]
    rtt_s: float
    hops: int
    extensions: tuple[MessageExtension, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The request was answered with an error."""

    signer: Signer
    code: ErrorCode
    info: bytes
    at: float

    @property
    def cause(self) -> Cause:
        """Who said what, for people."""
        text = self.info.decode(errors="replace")
        said = text if text.isprintable() and text else self.info.hex()
        return Cause(f"peer {self.signer.node_id.short}", self.code.rfc_name + (f": {said}" if said else ""), self.at)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nobody answered; `causes` are what was heard of it meanwhile."""

    causes: tuple[Cause, ...]
    is_sent: bool = True
    """False if nobody was asked, as too many requests of ours are open: it says nothing of who was to answer."""


Outcome = Answer | Refused | Unanswered
