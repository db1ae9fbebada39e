"""One call through a gateway: two dialogs, and what passes between them (a B2BUA; RFC 3261 section 6, RFC 7092).

Theory of operation. The side `NEAR` has called us (we are its UAS), the side `FAR` is called by us. Each has a Call-ID,
tags, Contact and CSeq of its own. A request of one side becomes a request of the other, and the response goes back the
same way: a 2xx to an INVITE with every repetition until the ACK has come through, so that neither side needs us to
repeat anything. Where several phones ring at the far side, each early dialog there is one here (`_Fork`); the first
that answers is the call.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2psip.sip.dialogs.dialog import Dialog, DialogId
from p2psip.sip.entities.agents.agent_requests import Wiring
from p2psip.sip.entities.agents.types import EndedBy, Ending
from p2psip.sip.entities.gateway import passing
from p2psip.sip.entities.gateway.limits import CALL_S_MAX, FORKS_MAX, INVITES_MAX, RING_S_MAX, SILENT_S
from p2psip.sip.message.build import make_request, make_response, phrase_of
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.limits import MAX_FORWARDS
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived

NEAR: Final = 0
FAR: Final = 1

_CREDENTIALS = {"authorization": "Authorization", "proxy-authorization": "Proxy-Authorization"}


class BridgeAlarm(enum.Enum):
    """What a timer of a call is for, in words for Deadline.reason."""

    SILENT = "the far side is silent"
    RING = "nobody answers"
    UNACKNOWLEDGED = "no ACK"
    CALL = "call too long"
    GONE = "a call that is over is forgotten"


Arm = Callable[[BridgeAlarm, float], None]
"""Has an alarm come due at a moment; at infinity never."""

NEVER: Final = float("inf")


@dataclass(slots=True, eq=False)
class _Fork:
    """A dialog with the near side, and its counterpart; None as long as the far side has not said its Contact."""

    near: Dialog
    far: Dialog | None = None

    def at(self, side: int) -> Dialog | None:
        """The one of a side."""
        return self.far if side == FAR else self.near


@dataclass(slots=True, eq=False)
class _Passed:
    """A request that has come from `side` and goes to the other one (a `Requester`)."""

    bridge: Bridge
    side: int
    arrived: RequestArrived
    fork: _Fork | None
    sent: Request | None = None
    transaction: int = 0
    ack: Request | None = None
    answered_by: str = ""
    """The tag of who has answered the INVITE with a 2xx."""

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """agent_requests.Requester"""
        self.sent, self.transaction = request, transaction
        other = None if self.fork is None else self.fork.at(1 - self.side)
        if other is not None:
            other.local_cseq = max(other.local_cseq, request.cseq.number)
        self.bridge.note_sent(self, now)

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """agent_requests.Requester"""
        self.bridge.handle_response(self, request, response, now)

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """agent_requests.Requester"""
        self.bridge.handle_failure(self, what, now)


@dataclass(slots=True, eq=False)
class _Goodbye:
    """A BYE of ours: whatever becomes of it (a `Requester`)."""

    dialog: Dialog

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """agent_requests.Requester"""
        self.dialog.local_cseq = max(self.dialog.local_cseq, request.cseq.number)

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """agent_requests.Requester"""

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """agent_requests.Requester"""


@dataclass(frozen=True, slots=True)
class FarInvite:
    """What the far side is asked: whom, by whom, and with which further fields."""

    target: SipUri
    from_: NameAddr
    to: NameAddr
    extra: Sequence[tuple[str, object]] = field(default_factory=tuple)


class Bridge:
    """One call. What has become of it is in `ending` once it `is_over`."""

    def __init__(self, wirings: tuple[Wiring, Wiring], arrived: RequestArrived, arm: Arm, far_name: str) -> None:
        """`wirings` are near and far, `far_name` is the far side for people. Raises BadMessage if it is no INVITE."""
        self.is_over = False
        self.is_answered = False
        self.ending: Ending | None = None
        self._wirings = wirings
        self._arm = arm
        self._far_name = far_name
        self._tag = wirings[NEAR].transactions.new_tag()
        self._first = _Passed(self, NEAR, arrived, None)
        self._near = Dialog.of_uas(arrived.request, self._tag)
        self._forks: dict[str, _Fork] = {}
        """By the tag of the far side; of those that have said none the key is ""."""
        self._dismissed: dict[str, Request] = {}
        """Who has answered when it was too late, and the ACK that he gets for each repetition."""
        self._call: _Fork | None = None
        """That which was answered."""
        self._invites: OrderedDict[tuple[int, int], _Passed] = OrderedDict()
        """By their side and their number there."""
        self._is_alive = False

    # What its owner says

    def begin(self, far: FarInvite, now: float) -> None:
        """Call the far side."""
        invite = self._first.arrived.request
        wiring = self._wirings[FAR]
        request = make_request(
            "INVITE",
            far.target,
            from_=far.from_.with_tag(wiring.transactions.new_tag()),
            to=far.to,
            call_id=wiring.transactions.new_tag(),
            cseq=1,
            extra=[("Contact", NameAddr(wiring.config.contact)), *passing.passed(invite), *far.extra],
            body=invite.body,
        )
        request = request.replace(fields=request.fields.with_only("Max-Forwards", _one_less(invite)))
        self._remember(self._first)
        self._arm(BridgeAlarm.RING, now + RING_S_MAX)
        wiring.send(self._first, request, wiring.config.server, now)

    def side_of(self, dialog: DialogId) -> int | None:
        """Whose dialog that is; None if it is none of this call."""
        for fork in self._forks.values():
            for side in (NEAR, FAR):
                known = fork.at(side)
                if known is not None and known.id == dialog:
                    return side
        return None

    def is_begun_by(self, transaction: int | None) -> bool:
        """True if that is the transaction of the INVITE by which it has begun."""
        return transaction == self._first.arrived.transaction

    @property
    def invite(self) -> Request:
        """That by which it has begun."""
        return self._first.arrived.request

    def end(self, status: int, what: str, now: float) -> None:
        """End it, whatever state it is in; a caller who still waits is answered `status`."""
        if self.is_over:
            return
        reason = ("Reason", Reason("SIP", status, what))
        if self.is_answered:
            self._goodbye(NEAR, now, [reason])
            self._goodbye(FAR, now, [reason])
        else:
            self._answer_first(status, phrase_of(status), now, extra=[reason])
            self._cancel_far(now, [reason])
        self._finish(Ending(EndedBy.US, what, status))

    # Requests

    def handle_cancel(self, cancel: Request, now: float) -> None:
        """The near side does not want to wait any more (9.2); the CANCEL itself has been answered."""
        if not self.is_over and not self.is_answered:
            self._answer_first(487, phrase_of(487), now)
            self._cancel_far(now, [("Reason", line) for line in cancel.fields.lines("reason")])
            self._finish(Ending.of(cancel))

    def handle_request(self, side: int, arrived: RequestArrived, now: float) -> None:
        """A request within a dialog of this call, which `side` has sent."""
        request = arrived.request
        fork, dialog, other = self._found(side, request)
        if not dialog.admits(request):
            self._respond(side, arrived, dialog, 500, now)
        elif request.method == "BYE":
            self._on_bye(side, arrived, dialog, now)
        elif self.is_over:
            self._respond(side, arrived, dialog, 481, now)
        elif request.method not in passing.METHODS:
            self._respond(side, arrived, dialog, 405, now, [("Allow", passing.ALLOW)])
        elif unknown := passing.unsupported(request):
            self._respond(side, arrived, dialog, 420, now, [("Unsupported", ", ".join(unknown))])
        elif other is None or (request.method == "INVITE" and not self.is_answered):
            self._respond(side, arrived, dialog, 491 if request.method == "INVITE" else 500, now)
        else:
            self._pass_on(_Passed(self, side, arrived, fork), other, now)

    def handle_ack(self, side: int, ack: Request, now: float) -> None:
        """The ACK to a 2xx that has come through: it goes the same way, with the answer that it may have."""
        passed = self._invites.get((side, ack.cseq.number))
        if passed is None or passed.sent is None or passed.fork is None or passed.ack is not None:
            return
        other = passed.fork.at(1 - side)
        assert other is not None, "who has answered has said where it is"
        self._arm(BridgeAlarm.UNACKNOWLEDGED, NEVER)
        passed.ack = self._acknowledge(1 - side, other, passed.sent, ack, now)

    # What comes of what was passed on

    def note_sent(self, passed: _Passed, now: float) -> None:
        """It is under way, at first or with an answer to a challenge."""
        if passed is self._first and not self._is_alive:
            self._arm(BridgeAlarm.SILENT, now + SILENT_S)

    def handle_response(self, passed: _Passed, request: Request, response: Response, now: float) -> None:
        """A response to what was passed on."""
        if passed is self._first:
            self._is_alive = True
            self._arm(BridgeAlarm.SILENT, NEVER)
            self._on_first(request, response, now)
        elif request.method == "INVITE" and response.is_success:
            self._on_accepted(passed, response, now)
        elif not response.is_provisional or (request.method == "INVITE" and response.status > 100):
            self._back(passed, response, now)

    def handle_failure(self, passed: _Passed, what: str, now: float) -> None:
        """There is none."""
        if passed is self._first:
            if not self.is_over:
                self.end(504, f"{self._whose(FAR)}: {what}", now)
            return
        fork = passed.fork
        assert fork is not None, "all but the first are in a dialog"
        dialog = fork.at(passed.side)
        assert dialog is not None, "it has sent this"
        self._respond(passed.side, passed.arrived, dialog, 408, now, [("Reason", Reason("SIP", 408, what))])
        if passed.arrived.request.method in ("INVITE", "UPDATE"):
            # RFC 3261 12.2.1.2: a 408 ends the dialog, "the UAC SHOULD terminate the dialog".
            self.end(408, what, now)

    def handle_alarm(self, alarm: BridgeAlarm, now: float) -> None:
        """A timer is due."""
        match alarm:
            case BridgeAlarm.SILENT:
                self.end(504, f"{self._whose(FAR)} has not answered in {SILENT_S:g} s", now)
            case BridgeAlarm.RING:
                self.end(480, f"nobody has answered in {RING_S_MAX:g} s", now)
            case BridgeAlarm.CALL:
                self.end(480, f"no call lasts longer than {CALL_S_MAX:g} s", now)
            case BridgeAlarm.UNACKNOWLEDGED:
                self.end(480, "the answer was never acknowledged (no ACK)", now)

    # The first INVITE

    def _on_first(self, request: Request, response: Response, now: float) -> None:
        if response.is_success:
            self._on_answer(request, response, now)
        elif self.is_over or self.is_answered:
            return
        elif response.is_provisional:
            if response.status > 100 and (fork := self._fork_of(request, response)) is not None:
                self._answer_first(response.status, response.phrase, now, fork, response)
        else:
            self._refuse(response, now)

    def _refuse(self, response: Response, now: float) -> None:
        """16.7's best response is the far side's business; what it says goes back, with who has said it."""
        status, phrase = passing.refusal(response)
        what = f"{self._whose(FAR)}: {response.status} {response.phrase}"
        fields = [*passing.passed(response), ("Reason", Reason("SIP", response.status, what))]
        near = self._wirings[NEAR].transactions
        answer = make_response(self._first.arrived.request, status, phrase, to_tag=self._tag, extra=fields)
        near.respond(self._first.arrived.transaction, answer, now)
        self._finish(Ending(EndedBy.THEM, what, response.status))

    def _on_answer(self, request: Request, response: Response, now: float) -> None:
        if (ack := self._dismissed.get(response.to.tag)) is not None:
            wiring = self._wirings[FAR]
            wiring.transactions.send(ack, wiring.config.server, now)
            return
        fork = self._fork_of(request, response)
        if fork is None or (fork is not self._call and (self.is_over or self.is_answered)):
            # The CANCEL came too late, or somebody else has answered as well (13.2.2.4).
            self._dismiss(request, response, now)
            return
        if fork.far is None:
            fork.far = Dialog.of_uac(request, response)
        if not self.is_answered:
            self._call, self._first.fork, self.is_answered = fork, fork, True
            fork.far.is_confirmed = fork.near.is_confirmed = True
            self._arm(BridgeAlarm.RING, NEVER)
            self._arm(BridgeAlarm.CALL, now + CALL_S_MAX)
        self._on_accepted(self._first, response, now)

    def _dismiss(self, request: Request, response: Response, now: float) -> None:
        if len(self._dismissed) < FORKS_MAX:
            dialog = Dialog.of_uac(request, response)
            self._dismissed[response.to.tag] = self._acknowledge(FAR, dialog, request, None, now)
            self._send_bye(FAR, dialog, now)

    def _fork_of(self, request: Request, response: Response) -> _Fork | None:
        """The early dialog of who answers; None if there are too many."""
        tag = response.to.tag
        if tag not in self._forks:
            if len(self._forks) >= FORKS_MAX:
                return None
            invite, new_tag = self._first.arrived.request, self._wirings[NEAR].transactions.new_tag
            self._forks[tag] = _Fork(Dialog.of_uas(invite, new_tag()) if self._forks else self._near)
        fork = self._forks[tag]
        if fork.far is None and tag and response.contacts:
            fork.far = Dialog.of_uac(request, response)
        return fork

    # Within the dialog

    def _pass_on(self, passed: _Passed, other: Dialog, now: float) -> None:
        request, side = passed.arrived.request, passed.side
        fields = passing.passed(request)
        if request.method == "PRACK":
            invite = self._invites.get((side, passing.acknowledged(request) or 0))
            if invite is None or invite.sent is None:
                dialog = passed.fork.at(side) if passed.fork else None
                assert dialog is not None, "it was found by that"
                # RFC 3262 section 3: "If the PRACK does not match any unacknowledged reliable provisional response, the
                # UAS MUST respond to the PRACK with a 481 response."
                self._respond(side, passed.arrived, dialog, 481, now)
                return
            fields.append(("RAck", passing.acknowledging(request, invite.sent.cseq.number)))
        wiring = self._wirings[1 - side]
        if request.method in ("INVITE", "UPDATE"):
            fields.insert(0, ("Contact", NameAddr(wiring.config.contact)))
            self._remember(passed)
        wiring.send(passed, other.request(request.method, fields, request.body), wiring.config.server, now)

    def _on_accepted(self, passed: _Passed, response: Response, now: float) -> None:
        """A 2xx to an INVITE: it goes back, as often as it comes, until it is acknowledged."""
        fork = passed.fork
        assert fork is not None, "who answers makes a dialog"
        other = fork.at(1 - passed.side)
        assert other is not None, "it has just spoken"
        if passed.ack is not None:
            wiring = self._wirings[1 - passed.side]
            wiring.transactions.send(passed.ack, wiring.config.server, now)
            return
        if not passed.answered_by:
            passed.answered_by = response.to.tag
            self._arm(BridgeAlarm.UNACKNOWLEDGED, now + self._wirings[NEAR].config.timers.timeout_s)
        other.refresh(response)
        self._back(passed, response, now)

    def _back(self, passed: _Passed, response: Response, now: float) -> None:
        """A response goes back to who has asked."""
        fork, side = passed.fork, passed.side
        assert fork is not None, "it is within a dialog"
        dialog = fork.at(side)
        assert dialog is not None, "that side has asked"
        status, phrase = (response.status, response.phrase)
        if not response.is_success and not response.is_provisional:
            status, phrase = passing.refusal(response)
        fields = passing.passed(response)
        request = passed.arrived.request
        if response.status < 300 and request.method in ("INVITE", "UPDATE"):
            fields.insert(0, ("Contact", NameAddr(self._wirings[side].config.contact)))
            if response.is_success and request.contacts:
                dialog.refresh(request)
        answer = make_response(request, status, phrase, to_tag=dialog.local.tag, extra=fields, body=response.body)
        self._wirings[side].transactions.respond(passed.arrived.transaction, answer, now)
        if response.status in (408, 481) and request.method in ("INVITE", "UPDATE"):
            self.end(response.status, f"{self._whose(1 - side)}: {response.status} {response.phrase}", now)

    def _on_bye(self, side: int, arrived: RequestArrived, dialog: Dialog, now: float) -> None:
        self._respond(side, arrived, dialog, 200, now)
        if self.is_over:
            return
        reasons = [("Reason", line) for line in arrived.request.fields.lines("reason")]
        if not self.is_answered:
            # 15.1.2: "the UAS MUST still respond to any pending requests received for that dialog [...] a 487".
            self._answer_first(487, phrase_of(487), now)
            self._cancel_far(now, reasons)
        else:
            self._goodbye(1 - side, now, reasons)
        self._finish(Ending.of(arrived.request))

    # The end

    def _goodbye(self, side: int, now: float, reasons: Sequence[tuple[str, object]] = ()) -> None:
        """BYE to one side of a call that was answered; an INVITE of ours that waits for its ACK gets that first."""
        assert self._call is not None, "it was answered"
        dialog = self._call.at(side)
        assert dialog is not None, "both sides are there"
        if side == FAR and self._first.ack is None and self._first.sent is not None:
            self._first.ack = self._acknowledge(FAR, dialog, self._first.sent, None, now)
        self._send_bye(side, dialog, now, reasons)

    def _send_bye(self, side: int, dialog: Dialog, now: float, reasons: Sequence[tuple[str, object]] = ()) -> None:
        wiring = self._wirings[side]
        wiring.send(_Goodbye(dialog), dialog.request("BYE", reasons), wiring.config.server, now)

    def _cancel_far(self, now: float, reasons: Sequence[tuple[str, object]]) -> None:
        if self._first.transaction:
            self._wirings[FAR].cancel(self._first.transaction, now, reasons)

    def _finish(self, ending: Ending) -> None:
        if not self.is_over:
            self.is_over, self.ending = True, ending
            for alarm in (BridgeAlarm.SILENT, BridgeAlarm.RING, BridgeAlarm.CALL, BridgeAlarm.UNACKNOWLEDGED):
                self._arm(alarm, NEVER)

    # Parts

    def _whose(self, side: int) -> str:
        """Who is there, for people."""
        return self._far_name if side == FAR else "the caller"

    def _found(self, side: int, request: Request) -> tuple[_Fork, Dialog, Dialog | None]:
        wanted = DialogId.of_request(request)
        for fork in self._forks.values():
            dialog = fork.at(side)
            if dialog is not None and dialog.id == wanted:
                return fork, dialog, fork.at(1 - side)
        raise AssertionError("side_of has found it")

    def _remember(self, passed: _Passed) -> None:
        self._invites[passed.side, passed.arrived.request.cseq.number] = passed
        if len(self._invites) > INVITES_MAX:
            self._invites.popitem(last=False)

    def _answer_first(
        self,
        status: int,
        phrase: str,
        now: float,
        fork: _Fork | None = None,
        response: Response | None = None,
        extra: Sequence[tuple[str, object]] = (),
    ) -> None:
        """Answer the INVITE by which it began, with what `response` of the far side says."""
        fields = [*extra]
        body = b""
        if response is not None:
            fields = [("Contact", NameAddr(self._wirings[NEAR].config.contact)), *passing.passed(response)]
            body = response.body
        tag = self._tag if fork is None else fork.near.local.tag
        arrived = self._first.arrived
        answer = make_response(arrived.request, status, phrase, to_tag=tag, extra=fields, body=body)
        self._wirings[NEAR].transactions.respond(arrived.transaction, answer, now)

    def _respond(
        self,
        side: int,
        arrived: RequestArrived,
        dialog: Dialog,
        status: int,
        now: float,
        extra: Sequence[tuple[str, object]] = (),
    ) -> None:
        answer = make_response(arrived.request, status, to_tag=dialog.local.tag, extra=extra)
        self._wirings[side].transactions.respond(arrived.transaction, answer, now)

    def _acknowledge(self, side: int, dialog: Dialog, invite: Request, ack: Request | None, now: float) -> Request:
        """Send the ACK to a 2xx, with what came in the other side's."""
        # 13.2.2.4: "The ACK MUST contain the same credentials as the INVITE."
        fields: list[tuple[str, object]] = [
            (name, line) for key, name in _CREDENTIALS.items() for line in invite.fields.lines(key)
        ]
        body = b"" if ack is None else ack.body
        if ack is not None and body:
            fields += [field for field in passing.passed(ack) if field[0].startswith("Content-")]
        made = dialog.ack(invite.cseq.number, fields, body)
        wiring = self._wirings[side]
        wiring.transactions.send(made, wiring.config.server, now)
        return made


def _one_less(request: Request) -> int:
    """The hops that are left: a call that goes round through gateways is to end."""
    return MAX_FORWARDS if request.max_forwards is None else max(0, request.max_forwards - 1)
