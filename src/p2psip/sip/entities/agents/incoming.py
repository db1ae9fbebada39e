"""A call that comes in (RFC 3261 section 13.3)."""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.address import Address
from p2psip.media.negotiation import Negotiation, offered_host
from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.agent_requests import Alarm, Wiring
from p2psip.sip.entities.agents.call import Call
from p2psip.sip.entities.agents.types import CallId, EndedBy, Ending, IncomingCall
from p2psip.sip.entities.bodies import is_readable
from p2psip.sip.entities.gate.identity import asserted
from p2psip.sip.message.build import make_response, phrase_of
from p2psip.sip.message.headers import Reason
from p2psip.sip.message.message import Request

PROVISIONAL_S = 60.0


class CallIn(Call):
    """A call that comes in: 180, then 2xx, a refusal, or their CANCEL."""

    def __init__(self, wiring: Wiring, number: CallId, transaction: int, invite: Request, now: float) -> None:
        # What is wrong with the INVITE shows here, before anything has begun.
        dialog, self._called = Dialog.of_uas(invite, wiring.transactions.new_tag()), invite.sip_uri
        super().__init__(wiring, number, now, media_towards=offered_host(invite.body if is_readable(invite) else b""))
        self.dialog: Dialog = dialog
        self.transaction = transaction
        self.invite = invite
        self._body = b""
        self._is_ringing = False

    def begin(self, local: Address | None, now: float) -> None:
        """The media address has come: ring, if we can talk with them at all."""
        if self.is_over:
            return
        if local is None:
            self.reject(480, now, Ending(EndedBy.NOBODY, "no address for media"))
            return
        self._negotiation = Negotiation(local, self._wiring.rng)
        body = self._answer_offer(self.transaction, self.invite, now)
        if body is None:
            self._finish(Ending(EndedBy.NOBODY, "their session description does not fit"))
            return
        self._body, self._is_ringing = body, True
        self._ring(now)
        user = asserted(self.invite, self._wiring.config.contact.host)
        self._wiring.effects.append(IncomingCall(self.number, self.invite.from_, self._called, user))
        config = self._wiring.config
        self._wiring.set_timer(self.number, Alarm.RING, now + config.ring_s_max)
        if config.auto_answer_s is not None:
            self._wiring.set_timer(self.number, Alarm.ANSWER, now + config.auto_answer_s)

    def answer(self, now: float, extra: Sequence[tuple[str, object]] = ()) -> None:
        """Pick up; `extra` fields go into the answer."""
        if self._is_ringing and not self.is_over:
            self._is_ringing = False
            self._wiring.cancel_timers(self.number)
            self._accept(self.transaction, self.invite, self._body, now, extra)
            self._wiring.set_timer(self.number, Alarm.CALL, now + self._wiring.config.call_s_max)
            self._tell()

    def reject(self, status: int, now: float, ending: Ending | None = None, why: str = "") -> None:
        """Refuse the call, and say why."""
        if not self.is_over and not self.dialog.is_confirmed:
            reason: list[tuple[str, object]] = [("Reason", Reason("SIP", status, why))] if why else []
            self._respond(self.transaction, self.invite, status, now, reason)
            self._finish(ending or Ending(EndedBy.US, phrase_of(status), status))

    def cancel(self, cancel: Request, now: float) -> None:
        """They do not want to wait any more (section 9.2)."""
        if not self.is_over and not self.dialog.is_confirmed:
            self._respond(self.transaction, self.invite, 487, now)
            self._finish(Ending.of(cancel))

    def handle_timer(self, alarm: Alarm, now: float) -> None:
        """A timer of this call is due."""
        if alarm is Alarm.ANSWER:
            self.answer(now)
        elif alarm is Alarm.PROVISIONAL:
            self._ring(now)
        else:
            super().handle_timer(alarm, now)

    @property
    def _owns_call_id(self) -> bool:
        return False

    @property
    def _is_secure(self) -> bool:
        return self.invite.sip_uri.scheme == "sips"

    def _ring(self, now: float) -> None:
        # 13.3.1.1: "the UAS MUST send a non-100 provisional response at every minute, to handle the possibility of
        # lost provisional responses."
        ringing = make_response(self.invite, 180, to_tag=self.dialog.local.tag, extra=[("Contact", self._contact)])
        self._wiring.transactions.respond(self.transaction, ringing, now)
        self._wiring.set_timer(self.number, Alarm.PROVISIONAL, now + PROVISIONAL_S)

    def _leave(self, now: float) -> None:
        if self.dialog.is_confirmed:
            super()._leave(now)
        else:
            self._respond(self.transaction, self.invite, 480, now)

    def _on_bye(self, transaction: int, request: Request, now: float) -> None:
        if not self.dialog.is_confirmed:
            # 15.1.2: "the UAS MUST still respond to any pending requests received for that dialog [...] a 487".
            self._respond(self.transaction, self.invite, 487, now)
        super()._on_bye(transaction, request, now)
