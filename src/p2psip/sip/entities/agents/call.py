"""A call as a user agent sees it: an INVITE, its dialog, and what happens within it (RFC 3261 sections 13 to 15)."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.media.negotiation import Agreement, Direction, Negotiation
from p2psip.media.sdp import MalformedSdp
from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.agent_requests import Alarm, Wiring
from p2psip.sip.entities.agents.types import (
    AskedWithin,
    CallEnded,
    CallEstablished,
    CallId,
    EndedBy,
    Ending,
    MediaChanged,
    MediaWanted,
)
from p2psip.sip.entities.bodies import SDP, is_readable
from p2psip.sip.message.build import make_response
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request, Response

MEDIA_S_MAX = 5.0
ACKS_MAX = 8
NO_COMMON_MEDIA = "no audio that both sides know"


@dataclass(slots=True)
class _Unacknowledged:
    """A 2xx of ours that waits for its ACK."""

    transaction: int
    response: Response
    interval_s: float
    has_our_offer: bool


class Call(abc.ABC):
    """What outgoing and incoming calls share: media, the dialog once it exists, re-INVITEs and BYE."""

    def __init__(self, wiring: Wiring, number: CallId, now: float, *, media_towards: str | None = None) -> None:
        self.number = number
        self.is_over = False
        self.dialog: Dialog | None = None
        self._wiring = wiring
        self._negotiation: Negotiation | None = None
        self._told: Agreement | None = None
        self._reinvite: int | None = None
        self._why: Reason | None = None
        """What a BYE of ours says."""
        self._direction_before = Direction.SENDRECV
        self._unacknowledged: _Unacknowledged | None = None
        self._acks: dict[tuple[int, str], Request] = {}
        wiring.effects.append(wiring.asks.ask(MediaWanted(number, media_towards), number, now + MEDIA_S_MAX))

    @property
    def is_done(self) -> bool:
        """True if the call is over and nothing more will come of it."""
        return self.is_over and self._unacknowledged is None and not self._wiring.has_pending(self)

    # What its user wants

    @abc.abstractmethod
    def begin(self, local: Address | None, now: float) -> None:
        """The media address has come."""

    def hang_up(self, now: float, ending: Ending | None = None, why: Reason | None = None) -> None:
        """End the call, whatever state it is in; a BYE says why."""
        if self.is_over:
            return
        self._why = why
        if self._reinvite is not None:
            self._wiring.forgo(self._reinvite)
        self._leave(now)
        self._finish(ending or Ending(EndedBy.US, "hung up"))

    def hold(self, on: bool, now: float) -> None:
        """Put the other side on hold (RFC 3264 section 8.4), or take it back."""
        if self._told is not None and self._negotiation is not None and not self.is_over:
            self._direction_before = self._negotiation.direction
            self._negotiation.direction = Direction.SENDONLY if on else Direction.SENDRECV
            self._send_reinvite(now)

    # Owner

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """Remember the re-INVITE that is under way."""
        if self.dialog is not None:
            self.dialog.local_cseq = max(self.dialog.local_cseq, request.cseq.number)
        if request.method == "INVITE":
            self._reinvite = transaction

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """A response within the dialog."""
        if request.method != "INVITE" or response.is_provisional or self.dialog is None:
            return
        self._reinvite = None
        if response.is_success:
            self._on_reinvited(self.dialog, request, response, now)
        elif response.status in (408, 481):
            # 12.2.1.2: "If the response for a request within a dialog is a 481 [...] or a 408 [...], the UAC SHOULD
            # terminate the dialog."
            self.hang_up(now, Ending.of(response))
        elif response.status == 491:
            # 14.1: who owns the Call-ID waits longer, so that the two do not meet again.
            low_s, high_s = (2.1, 4.0) if self._owns_call_id else (0.0, 2.0)
            self._wiring.set_timer(self.number, Alarm.REINVITE, now + self._wiring.rng.uniform(low_s, high_s))
        elif self._negotiation is not None:
            # 14.1: "the session parameters MUST remain unchanged, as if no re-INVITE had been issued."
            self._negotiation.direction = self._direction_before

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """No final response within the dialog."""
        if request.method == "INVITE":
            self._reinvite = None
            self.hang_up(now, Ending(EndedBy.NOBODY, what))

    # What comes in

    def handle_request(self, transaction: int, request: Request, now: float) -> None:
        """A request within the dialog (section 12.2.2)."""
        assert self.dialog is not None, "found by its dialog"
        if not self.dialog.admits(request):
            self._respond(transaction, request, 500, now)
        elif request.method == "BYE":
            self._on_bye(transaction, request, now)
        elif self.is_over:
            self._respond(transaction, request, 481, now)
        elif request.method == "INVITE":
            self._on_reinvite(transaction, request, now)
        elif request.method in self._wiring.config.passes:
            self._wiring.effects.append(AskedWithin(self.number, transaction, request))
        elif request.method in ("INFO", "OPTIONS"):
            self._respond(transaction, request, 200, now, [("Allow", self._wiring.allow)])
        else:
            self._respond(transaction, request, 405, now, [("Allow", self._wiring.allow)])

    def handle_ack(self, ack: Request, now: float) -> None:
        """The ACK for a 2xx of ours (section 13.3.1.4)."""
        waiting = self._unacknowledged
        if waiting is None or ack.cseq.number != waiting.response.cseq.number:
            return
        self._acknowledged()
        if self.is_over:
            self._send_bye(now)
        elif waiting.has_our_offer:
            self._take_answer(ack.body, now)

    def handle_timer(self, alarm: Alarm, now: float) -> None:
        """A timer of this call is due."""
        if alarm is Alarm.RETRANSMIT_2XX:
            self._retransmit(now)
        elif alarm is Alarm.GIVE_UP_2XX:
            # 13.3.1.4: "If the server retransmits the 2xx response for 64*T1 seconds without receiving an ACK, the
            # dialog is confirmed, but the session SHOULD be terminated. This is accomplished with a BYE".
            self._acknowledged()
            if self.is_over:
                self._send_bye(now)
            self.hang_up(now, Ending(EndedBy.NOBODY, "the answer was never acknowledged (no ACK)"))
        elif alarm is Alarm.REINVITE:
            self._send_reinvite(now)
        elif alarm is Alarm.RING:
            self.hang_up(now, Ending(EndedBy.NOBODY, f"nobody answered in {self._wiring.config.ring_s_max:g} s"))
        elif alarm is Alarm.CALL:
            self.hang_up(now, Ending(EndedBy.US, f"no call lasts longer than {self._wiring.config.call_s_max:g} s"))

    # Re-INVITE (section 14)

    @property
    @abc.abstractmethod
    def _owns_call_id(self) -> bool:
        """True if it was made here (14.1)."""

    def _send_reinvite(self, now: float) -> None:
        if self.dialog is None or self._negotiation is None or self.is_over:
            return
        # 14.1: "a UAC MUST NOT initiate a new INVITE transaction within a dialog while another INVITE transaction is
        # in progress in either direction."
        if self._reinvite is not None or self._unacknowledged is not None:
            self._wiring.set_timer(self.number, Alarm.REINVITE, now + 0.5)
            return
        request = self.dialog.request("INVITE", self._session_fields(), self._negotiation.offer())
        self._wiring.send(self, request, self._wiring.hop_to(self.dialog.next_hop), now)

    def _on_reinvited(self, dialog: Dialog, request: Request, response: Response, now: float) -> None:
        if self._acknowledge_again(response, now):
            return
        dialog.refresh(response)
        self._acknowledge(dialog, response, now)
        if not self.is_over:
            self._take_answer(response.body, now)

    def _on_reinvite(self, transaction: int, request: Request, now: float) -> None:
        assert self.dialog is not None
        if self._reinvite is not None or self._negotiation is None or self._told is None:
            # 14.2: "A UAS that receives an INVITE on a dialog while an INVITE it had sent on that dialog is in
            # progress MUST return a 491 (Request Pending)".
            self._respond(transaction, request, 491, now)
            return
        body = self._answer_offer(transaction, request, now)
        if body is not None:
            self.dialog.refresh(request)
            self._accept(transaction, request, body, now)
            self._tell()

    # Offer and answer (section 13.2.1)

    def _answer_offer(self, transaction: int, request: Request, now: float) -> bytes | None:
        """The body of our 2xx: an answer, or an offer if there was none; None if the request is refused."""
        assert self._negotiation is not None
        if not is_readable(request):
            # There is none, or one that may be left out (8.2.3).
            return self._negotiation.offer()
        try:
            answer = self._negotiation.answer(request.body)
        except MalformedSdp as error:
            self._respond(transaction, request, 400, now, phrase=f"Bad session description ({error})")
            return None
        if answer is None:
            self._respond(transaction, request, 488, now, [("Warning", f'305 phone "{NO_COMMON_MEDIA}"')])
        return answer

    def _take_answer(self, body: bytes, now: float) -> None:
        """The answer to an offer of ours; without one there is no call."""
        assert self._negotiation is not None
        try:
            is_agreed = self._negotiation.accept(body)
            what = NO_COMMON_MEDIA
        except MalformedSdp as error:
            is_agreed, what = False, f"malformed session description: {error}"
        if is_agreed:
            self._tell()
        else:
            self.hang_up(now, Ending(EndedBy.NOBODY, what))

    def _tell(self) -> None:
        """Tell our user what is agreed, if that is new."""
        assert self._negotiation is not None
        agreement, local = self._negotiation.agreement, Address(*self._negotiation.local)
        if agreement is None or agreement == self._told:
            return
        kind = CallEstablished if self._told is None else MediaChanged
        self._told = agreement
        self._wiring.effects.append(kind(self.number, local, agreement))

    # 2xx and ACK (sections 13.2.2.4 and 13.3.1.4)

    def _accept(
        self, transaction: int, request: Request, body: bytes, now: float, extra: Sequence[tuple[str, object]] = ()
    ) -> None:
        """Answer an INVITE with 2xx, and repeat that until the ACK comes."""
        assert self.dialog is not None
        fields = [*self._session_fields(), ("Allow", self._wiring.allow), *extra]
        response = make_response(request, 200, to_tag=self.dialog.local.tag, extra=fields, body=body)
        timers = self._wiring.config.timers
        self._unacknowledged = _Unacknowledged(transaction, response, timers.t1_s, not is_readable(request))
        self.dialog.is_confirmed = True
        self._wiring.transactions.respond(transaction, response, now)
        self._wiring.set_timer(self.number, Alarm.RETRANSMIT_2XX, now + timers.t1_s)
        self._wiring.set_timer(self.number, Alarm.GIVE_UP_2XX, now + timers.timeout_s)

    def _retransmit(self, now: float) -> None:
        waiting = self._unacknowledged
        assert waiting is not None, "the timer goes with it"
        # 13.3.1.4: "an interval that starts at T1 seconds and doubles for each retransmission until it reaches T2".
        waiting.interval_s = min(2 * waiting.interval_s, self._wiring.config.timers.t2_s)
        self._wiring.transactions.respond(waiting.transaction, waiting.response, now)
        self._wiring.set_timer(self.number, Alarm.RETRANSMIT_2XX, now + waiting.interval_s)

    def _acknowledged(self) -> None:
        self._unacknowledged = None
        self._wiring.cancel_timers(self.number, (Alarm.RETRANSMIT_2XX, Alarm.GIVE_UP_2XX))

    def _acknowledge(self, dialog: Dialog, response: Response, now: float) -> None:
        ack = dialog.ack(response.cseq.number)
        self._acks[response.cseq.number, response.to.tag] = ack
        if len(self._acks) > ACKS_MAX:
            del self._acks[next(iter(self._acks))]
        self._wiring.transactions.send(ack, self._wiring.hop_to(dialog.next_hop), now)

    def _acknowledge_again(self, response: Response, now: float) -> bool:
        """True if this 2xx is a repetition."""
        # 13.2.2.4: "The UAC core MUST generate an ACK request for each 2xx received".
        ack = self._acks.get((response.cseq.number, response.to.tag))
        if ack is None:
            return False
        uri = ack.routes[0].sip_uri if ack.routes else ack.sip_uri
        self._wiring.transactions.send(ack, self._wiring.hop_to(uri), now)
        return True

    # The end (section 15)

    def _leave(self, now: float) -> None:
        """Tell the other side that we go."""
        # 15: "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK for its 2xx".
        if self.dialog is not None and self._unacknowledged is None:
            self._send_bye(now)

    def _send_bye(self, now: float) -> None:
        assert self.dialog is not None
        reason: list[tuple[str, object]] = [] if self._why is None else [("Reason", self._why)]
        self._wiring.send(self, self.dialog.request("BYE", reason), self._wiring.hop_to(self.dialog.next_hop), now)

    def _on_bye(self, transaction: int, request: Request, now: float) -> None:
        self._respond(transaction, request, 200, now)
        self._acknowledged()
        self._finish(Ending.of(request))

    def _finish(self, ending: Ending) -> None:
        """The call is over; its user hears so once."""
        if self.is_over:
            return
        self.is_over = True
        kept = (Alarm.RETRANSMIT_2XX, Alarm.GIVE_UP_2XX) if self._unacknowledged else ()
        self._wiring.cancel_timers(self.number, [alarm for alarm in Alarm if alarm not in kept])
        self._wiring.effects.append(CallEnded(self.number, ending))

    # Parts

    def _respond(
        self,
        transaction: int,
        request: Request,
        status: int,
        now: float,
        extra: list[tuple[str, object]] | None = None,
        phrase: str | None = None,
    ) -> None:
        assert self.dialog is not None, "who can answer has a dialog"
        response = make_response(request, status, phrase, to_tag=self.dialog.local.tag, extra=extra or ())
        self._wiring.transactions.respond(transaction, response, now)

    def _session_fields(self) -> list[tuple[str, object]]:
        return [("Contact", self._contact), ("Content-Type", SDP)]

    @property
    def _contact(self) -> NameAddr:
        """8.1.1.8: "If the Request-URI or top Route header field value contains a SIPS URI, the Contact header field
        MUST contain a SIPS URI as well"; 12.1.1 says the same of who is called.
        """
        contact = self._wiring.config.contact
        params = (("isfocus", None),) if self._wiring.config.is_focus else ()
        uri = contact.replace(scheme="sips", params=()) if self._is_secure else contact
        return NameAddr(uri, params=params)

    @property
    @abc.abstractmethod
    def _is_secure(self) -> bool:
        """True for a call to, or by, a SIPS URI."""


def unsupported(request: Request) -> list[str]:
    """The extensions that a request requires; we have none (section 8.2.2.3)."""
    if request.method in ("ACK", "CANCEL"):
        return []
    tokens = request.fields.tokens("require")
    if len(tokens) > 32:
        raise BadMessage("too many extensions required")
    return tokens
