"""A call that we place (RFC 3261 section 13.2)."""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.address import Address
from p2psip.media.negotiation import Negotiation
from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.agent_requests import Alarm, Wiring
from p2psip.sip.entities.agents.call import Call
from p2psip.sip.entities.agents.types import CallId, EndedBy, Ending, Ringing
from p2psip.sip.message.build import make_request
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri

FORKS_MAX = 8


class CallOut(Call):
    """A call that we place: INVITE, ringing, answer or refusal, CANCEL."""

    def __init__(
        self,
        wiring: Wiring,
        number: CallId,
        target: SipUri,
        now: float,
        display_name: str = "",
        extra: Sequence[tuple[str, object]] = (),
    ) -> None:
        super().__init__(wiring, number, now)
        self._extra = tuple(extra)
        self._display_name = display_name or wiring.config.display_name
        self._target = target
        self._statuses: set[int] = set()
        self._invite: int | None = None
        self._forks: set[str] = set()

    def begin(self, local: Address | None, now: float) -> None:
        """The media address has come: send the INVITE."""
        if self.is_over:
            return
        if local is None:
            self._finish(Ending(EndedBy.NOBODY, "no address for media"))
            return
        config = self._wiring.config
        self._negotiation = Negotiation(local, self._wiring.rng)
        tag = self._wiring.transactions.new_tag()
        invite = make_request(
            "INVITE",
            self._target,
            from_=NameAddr(config.address_of_record, self._display_name).with_tag(tag),
            to=NameAddr(self._target),
            call_id=self._wiring.transactions.new_tag(),
            cseq=1,
            extra=[*self._session_fields(), ("Allow", self._wiring.allow), *self._extra],
            body=self._negotiation.offer(),
        )
        self._wiring.set_timer(self.number, Alarm.RING, now + config.ring_s_max)
        self._wiring.send(self, invite, config.server, now)

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """Remember the INVITE, to cancel it."""
        if self.dialog is not None:
            super().note_sent(request, transaction, now)
        elif request.method == "INVITE":
            self._invite = transaction

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """A response to the INVITE, or within the dialog."""
        if request.method != "INVITE" or request.to.tag:
            super().handle_response(request, response, now)
        elif response.is_provisional:
            self._on_progress(response)
        elif response.is_success:
            self._on_answer(request, response, now)
        else:
            self._finish(Ending.of(response))

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """No final response."""
        if request.to.tag:
            super().handle_failure(request, what, now)
        else:
            self._finish(Ending(EndedBy.NOBODY, what))

    @property
    def _owns_call_id(self) -> bool:
        return True

    @property
    def _is_secure(self) -> bool:
        return self._target.scheme == "sips"

    def _on_progress(self, response: Response) -> None:
        """180 to 183: worth telling once each."""
        if response.status > 100 and response.status not in self._statuses and not self.is_over:
            self._statuses.add(response.status)
            self._wiring.effects.append(Ringing(self.number, response.status, response.phrase))

    def _on_answer(self, request: Request, response: Response, now: float) -> None:
        if self._acknowledge_again(response, now):
            return
        dialog = Dialog.of_uac(request, response)
        if self.dialog is not None:
            self._on_fork(dialog, response, now)
            return
        dialog.is_confirmed = True
        self.dialog = dialog
        self._wiring.cancel_timers(self.number, (Alarm.RING,))
        self._acknowledge(dialog, response, now)
        if self.is_over:
            # 15: the CANCEL came too late.
            self._send_bye(now)
        else:
            self._wiring.set_timer(self.number, Alarm.CALL, now + self._wiring.config.call_s_max)
            self._take_answer(response.body, now)

    def _on_fork(self, dialog: Dialog, response: Response, now: float) -> None:
        """Somebody else has answered too: one is enough (section 13.2.2.4)."""
        if len(self._forks) < FORKS_MAX and dialog.id.remote_tag not in self._forks:
            self._forks.add(dialog.id.remote_tag)
            self._acknowledge(dialog, response, now)
            self._wiring.send(self, dialog.request("BYE"), self._wiring.hop_to(dialog.next_hop), now)

    def _leave(self, now: float) -> None:
        if self.dialog is not None:
            super()._leave(now)
        elif self._invite is not None:
            self._wiring.cancel(self._invite, now)
