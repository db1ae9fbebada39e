"""A request of ours, from when it is sent to when it is over (RFC 6940 section 6.2.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from p2psip.base.errors import Cause
from p2psip.base.ids import NodeId
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.header import Entry

CAUSES_MAX: Final = 8


@dataclass(slots=True)
class OpenRequest:
    """One that nobody has answered yet."""

    asked: OverlayRequest
    sender: NodeId
    destination_list: tuple[Entry, ...]
    payload: bytes
    context: object
    began_at: float
    transmissions: int = 0
    reroutes: int = 0
    """How often it was sent at once, as a better way was known."""
    first_hop: NodeId | None = None
    sent_under: int = -1
    """Our configuration when it was transmitted last."""
    mismatched: NodeId | None = None
    """Who refused it for its idea of the configuration."""
    causes: list[Cause] = field(default_factory=list)

    def hint(self, cause: Cause) -> None:
        """Something that may be why it goes unanswered."""
        # Of each transmission the same may be heard.
        is_known = any((known.who, known.what) == (cause.who, cause.what) for known in self.causes)
        if not is_known and len(self.causes) < CAUSES_MAX:
            self.causes.append(cause)
