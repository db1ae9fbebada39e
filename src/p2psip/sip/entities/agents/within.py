"""Requests within a call that a user agent neither understands nor needs to, as its user does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.agent_requests import Wiring
from p2psip.sip.entities.agents.types import AnsweredWithin, CallId
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """One of ours (a `Requester`): what becomes of it is told as AnsweredWithin."""

    wiring: Wiring
    call: CallId
    dialog: Dialog
    context: object

    def send(self, method: str, fields: Iterable[tuple[str, object]], body: bytes, now: float) -> int:
        """Send it; its number in the dialog."""
        request = self.dialog.request(method, [("Contact", NameAddr(self.wiring.config.contact)), *fields], body)
        self.wiring.send(self, request, self.wiring.hop_to(self.dialog.next_hop), now)
        return request.cseq.number

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """agent_requests.Requester"""
        self.dialog.local_cseq = max(self.dialog.local_cseq, request.cseq.number)

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """agent_requests.Requester"""
        if not response.is_provisional:
            self.wiring.effects.append(AnsweredWithin(self.call, self.context, response.status))

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """agent_requests.Requester"""
        self.wiring.effects.append(AnsweredWithin(self.call, self.context, 408))
