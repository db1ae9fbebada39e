"""One call through a gateway: two dialogs, and what passes between them (a B2BUA; RFC 3261 section 6, RFC 7092).

Theory of operation. The side `NEAR` has called us (we are its UAS), the side `FAR` is called by us. Each has a Call-ID,
tags, Contact and CSeq of its own. A request of one side becomes a request of the other, and the response goes back the
same way: a 2xx to an INVITE with every repetition until the ACK has come through, so that neither side needs us to
repeat anything. Where several phones ring at the far side, each early dialog there is one here (`Fork`); the first
that answers is the call.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from functools import partial

from p2psip.sip.dialogs.dialog import Dialog, DialogId
from p2psip.sip.entities.agents.types import EndedBy, Ending
from p2psip.sip.entities.gateway import passing
from p2psip.sip.entities.gateway.call_sides import (
    CREDENTIALS,
    FAR,
    NEAR,
    NEVER,
    Arm,
    BridgeAlarm,
    CallSide,
    FarInvite,
    Fork,
    Passed,
)
from p2psip.sip.entities.gateway.limits import CALL_S_MAX, FORKS_MAX, HANDED_MAX, INVITES_MAX, RING_S_MAX, SILENT_S
from p2psip.sip.entities.gateway.transferring import CallTransfer, Replaced, TransferEnds
from p2psip.sip.message.build import make_request, make_response, phrase_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request, Response
from p2psip.sip.transactions.events import RequestArrived
from p2psip.sip.transports.hops import Hop

_OF_A_CALL = tuple(alarm for alarm in BridgeAlarm if alarm is not BridgeAlarm.GONE)


class Bridge:
    """One call. What has become of it is in `ending` once it `is_over`."""

    def __init__(self, sides: tuple[CallSide, CallSide], arrived: RequestArrived, arm: Arm, far_name: str) -> None:
        """`sides` are near and far, `far_name` is the far side for people. Raises BadMessage if it is no INVITE."""
        self.is_over = False
        self.is_answered = False
        self.ending: Ending | None = None
        self._sides = sides
        self._arm = arm
        self._far_name = far_name
        self._tag = sides[NEAR].wiring.transactions.new_tag()
        self._first = Passed(self, NEAR, arrived, None, sides[FAR].server)
        self._near = Dialog.of_uas(arrived.request, self._tag)
        self._forks: dict[str, Fork] = {}
        """By the tag of the far side; of those that have said none the key is ""."""
        self._others: deque[Hop] = deque()
        """The servers of the far side that can be asked yet."""
        self._dismissed: dict[str, tuple[Request, Hop]] = {}
        """Who has answered when it was too late, and the ACK that he gets for each repetition."""
        self._call: Fork | None = None
        """That which was answered."""
        self._invites: OrderedDict[tuple[int, int], Passed] = OrderedDict()
        """By their side and their number there."""
        self._is_alive = False
        self.transfers = 0
        """How often somebody else has come in the place of who has talked with the trunk."""
        self._transfer: CallTransfer | None = None
        """The last that was asked for."""
        self._replacing: Passed | None = None
        """The INVITE of who is to be in a dialog's place, until the other side has answered."""
        self._handed: deque[Dialog] = deque(maxlen=HANDED_MAX)
        """With those whose place somebody else has."""

    # What its owner says

    def begin(self, far: FarInvite, now: float) -> None:
        """Call the far side."""
        invite = self.invite
        wiring = self._sides[FAR].wiring
        request = make_request(
            "INVITE",
            far.target,
            from_=far.from_.with_tag(wiring.transactions.new_tag()),
            to=far.to,
            call_id=wiring.transactions.new_tag(),
            cseq=1,
            routes=far.routes,
            extra=[("Contact", NameAddr(wiring.config.contact)), *self._passed_to(FAR, invite), *far.extra],
            body=invite.body,
        )
        request = request.replace(fields=request.fields.with_only("Max-Forwards", passing.hops_left(invite)))
        self._others.extend(far.others)
        self._remember(self._first)
        self._arm(BridgeAlarm.RING, now + RING_S_MAX)
        wiring.send(self._first, request, self._first.hop, now)

    def side_of(self, dialog: DialogId) -> int | None:
        """Whose dialog that is; None if it is none of this call."""
        for fork in self._forks.values():
            for side in (NEAR, FAR):
                known = fork.at(side)
                if known is not None and known.id == dialog:
                    return side
        return self._member if any(each.id == dialog for each in self._handed) else None

    @property
    def invite(self) -> Request:
        """That by which it has begun."""
        return self._first.arrived.request

    def server_of(self, side: int) -> Hop:
        """Whom the call is with on that side."""
        return self._sides[side].server

    def end(self, status: int, what: str, now: float) -> None:
        """End it, whatever state it is in; a caller who still waits is answered `status`."""
        if self.is_over:
            return
        reason = ("Reason", Reason("SIP", status, what))
        if self._under_way is not None:
            self._under_way.abandon(now)
        if self.is_answered:
            self._goodbye(NEAR, now, [reason])
            self._goodbye(FAR, now, [reason])
        else:
            self._answer_first(status, phrase_of(status), now, extra=[reason])
            self._cancel_far(now, [reason])
        self._finish(Ending(EndedBy.US, what, status))

    # Requests

    def handle_cancel(self, side: int, cancelled: int, cancel: Request, now: float) -> None:
        """`side` does not want to wait any more for the answer to an INVITE (9.2), which may be none of this call. The
        CANCEL itself has been answered.
        """
        mine = (each for each in self._invites.values() if (each.side, each.arrived.transaction) == (side, cancelled))
        passed = next(mine, None)
        if passed is None or self.is_over:
            return
        reasons = [("Reason", line) for line in cancel.fields.lines("reason")]
        if passed is not self._first:
            passed.is_cancelled = True
            self._sides[1 - side].wiring.cancel(passed.transaction, now, reasons)
        elif not self.is_answered:
            self._answer_first(487, phrase_of(487), now)
            self._cancel_far(now, reasons)
            self._finish(Ending.of(cancel))

    def handle_request(self, side: int, arrived: RequestArrived, now: float) -> None:
        """A request within a dialog of this call, which `side` has sent."""
        request = arrived.request
        if (handed := self._handed_to(request)) is not None:
            self._on_afterthought(side, arrived, handed, now)
            return
        fork, dialog, other = self._found(side, request)
        may_transfer = self._sides[side].may_transfer
        if not dialog.admits(request):
            self._respond(side, arrived, dialog, 500, now)
        elif request.method == "BYE":
            self._on_bye(side, arrived, dialog, now)
        elif self.is_over:
            self._respond(side, arrived, dialog, 481, now)
        elif request.method not in passing.METHODS and not (request.method == "REFER" and may_transfer):
            allow = passing.allow(may_transfer=may_transfer)
            self._respond(side, arrived, dialog, 405, now, [("Allow", allow)])
        elif unknown := passing.unsupported(request, may_transfer=may_transfer):
            self._respond(side, arrived, dialog, 420, now, [("Unsupported", ", ".join(unknown))])
        elif request.method == "REFER":
            self._on_refer(side, arrived, dialog, other, now)
        elif other is None or (request.method == "INVITE" and not self.is_answered):
            self._respond(side, arrived, dialog, 491 if request.method == "INVITE" else 500, now)
        elif self._is_changing_hands(request.method):
            self._respond(side, arrived, dialog, 491, now)
        else:
            hop = self._sides[1 - side].hop(other.next_hop)
            self._pass_on(Passed(self, side, arrived, fork, hop), other, now)

    def handle_ack(self, side: int, ack: Request, now: float) -> None:
        """The ACK to a 2xx that has come through: it goes the same way, with the answer that it may have."""
        passed = self._invites.get((side, ack.cseq.number))
        if passed is None or passed.sent is None or passed.fork is None or passed.ack is not None:
            return
        other = passed.fork.at(1 - side)
        assert other is not None, "who has answered has said where it is"
        self._arm(BridgeAlarm.UNACKNOWLEDGED, NEVER)
        hop = self._sides[1 - side].hop(other.next_hop)
        passed.ack = self._sides[1 - side].acknowledge(other, hop, passed.sent, ack, now)

    # What comes of what was passed on

    def note_sent(self, passed: Passed, now: float) -> None:
        """It is under way, at first or with an answer to a challenge."""
        if passed is self._first and not self._is_alive:
            self._arm(BridgeAlarm.SILENT, now + SILENT_S)

    def handle_response(self, passed: Passed, request: Request, response: Response, now: float) -> None:
        """A response to what was passed on."""
        if passed is self._first:
            self._is_alive = True
            self._arm(BridgeAlarm.SILENT, NEVER)
            self._on_first(request, response, now)
        elif passed.fork is None:
            # Of a server that was given up.
            if response.is_success:
                self._dismiss(passed, request, response, now)
        elif request.method == "INVITE" and response.is_success:
            self._on_accepted(passed, response, now)
        elif not response.is_provisional or (request.method == "INVITE" and response.status > 100):
            self._back(passed, response, now)

    def handle_failure(self, passed: Passed, what: str, now: float) -> None:
        """There is none."""
        fork = passed.fork
        if passed is self._first:
            self._on_first_failed(f"{self._whose(FAR)}: {what}", now)
        elif fork is not None:
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
                self._on_first_failed(f"{self._whose(FAR)} has not answered in {SILENT_S:g} s", now)
            case BridgeAlarm.RING:
                self.end(480, f"nobody has answered in {RING_S_MAX:g} s", now)
            case BridgeAlarm.CALL:
                self.end(480, f"no call lasts longer than {CALL_S_MAX:g} s", now)
            case BridgeAlarm.UNACKNOWLEDGED:
                self.end(480, "the answer was never acknowledged (no ACK)", now)
            case BridgeAlarm.TRANSFER if self._transfer is not None:
                self._transfer.handle_alarm(now)

    # The first INVITE

    def _on_first(self, request: Request, response: Response, now: float) -> None:
        if response.is_success:
            self._on_answer(request, response, now)
        elif self.is_over or self.is_answered:
            return
        elif response.is_provisional:
            if response.status > 100 and (fork := self._fork_of(request, response)) is not None:
                self._answer_first(response.status, response.phrase, now, fork, response)
        elif response.status != 503 or not self._go_elsewhere(now):
            self._refuse(response, now)

    def _on_first_failed(self, what: str, now: float) -> None:
        """The server has not said anything, or not in time, or cannot be reached; or it is gone."""
        if self.is_over:
            return
        if not self._is_alive:
            far = self._sides[FAR]
            far.note_silent(far.server, what, now)
        if self._is_alive or not self._go_elsewhere(now):
            self.end(504, what, now)

    def _go_elsewhere(self, now: float) -> bool:
        """Ask the next server of the far side; False if there is none, or if by this one somebody rings already."""
        sent, far = self._first.sent, self._sides[FAR]
        if sent is None or self._forks or not self._others:
            return False
        # If it says anything after all it is too late.
        far.wiring.cancel(self._first.transaction, now)
        far.server, self._is_alive = self._others.popleft(), False
        self._first = Passed(self, NEAR, self._first.arrived, None, far.server)
        self._remember(self._first)
        # RFC 3263 4.3: "the client SHOULD create a new request, which is identical to the previous, but has a different
        # value of the Via branch ID". Proofs and the way on are what that server has asked for.
        anew = sent.replace(fields=sent.fields.without(*CREDENTIALS, "route"))
        far.wiring.send(self._first, anew, far.server, now)
        return True

    def _refuse(self, response: Response, now: float) -> None:
        """16.7's best response is the far side's business; what it says goes back, with who has said it."""
        status, phrase = passing.refusal(response)
        what = f"{self._whose(FAR)}: {response.status} {response.phrase}"
        fields = [*self._passed_to(NEAR, response), ("Reason", Reason("SIP", response.status, what))]
        near = self._sides[NEAR].wiring.transactions
        answer = make_response(self._first.arrived.request, status, phrase, to_tag=self._tag, extra=fields)
        near.respond(self._first.arrived.transaction, answer, now)
        self._finish(Ending(EndedBy.THEM, what, response.status))

    def _on_answer(self, request: Request, response: Response, now: float) -> None:
        if response.to.tag in self._dismissed:
            self._dismiss(self._first, request, response, now)
            return
        fork = self._fork_of(request, response)
        if fork is None or (fork is not self._call and (self.is_over or self.is_answered)):
            # The CANCEL came too late, or somebody else has answered as well (13.2.2.4).
            self._dismiss(self._first, request, response, now)
            return
        if fork.far is None:
            fork.far = Dialog.of_uac(request, response)
        if not self.is_answered:
            self._call, self._first.fork, self.is_answered = fork, fork, True
            fork.far.confirm(response)
            fork.near.is_confirmed = True
            self._arm(BridgeAlarm.RING, NEVER)
            self._arm(BridgeAlarm.CALL, now + CALL_S_MAX)
        self._on_accepted(self._first, response, now)

    def _dismiss(self, passed: Passed, request: Request, response: Response, now: float) -> None:
        """Hang up on who has answered too late, and acknowledge that as often as he says it."""
        far, tag = self._sides[FAR], response.to.tag
        if tag in self._dismissed:
            far.wiring.transactions.send(*self._dismissed[tag], now)
        elif len(self._dismissed) < FORKS_MAX:
            dialog = Dialog.of_uac(request, response)
            hop = far.hop_to(dialog.next_hop) or passed.hop
            self._dismissed[tag] = far.acknowledge(dialog, hop, request, None, now), hop
            far.say_goodbye(dialog, now, hop=hop)

    def _fork_of(self, request: Request, response: Response) -> Fork | None:
        """The early dialog of who answers; None if there are too many."""
        tag = response.to.tag
        if tag not in self._forks:
            if len(self._forks) >= FORKS_MAX:
                return None
            invite, new_tag = self.invite, self._sides[NEAR].wiring.transactions.new_tag
            self._forks[tag] = Fork(Dialog.of_uas(invite, new_tag()) if self._forks else self._near)
        fork = self._forks[tag]
        if fork.far is None and tag and response.contacts:
            fork.far = Dialog.of_uac(request, response)
        return fork

    # Within the dialog

    def _pass_on(self, passed: Passed, other: Dialog, now: float) -> None:
        request, side = passed.arrived.request, passed.side
        fields = self._passed_to(1 - side, request)
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
        wiring = self._sides[1 - side].wiring
        if request.method in ("INVITE", "UPDATE"):
            fields.insert(0, ("Contact", NameAddr(wiring.config.contact)))
        if request.method == "INVITE":
            self._remember(passed)
        wiring.send(passed, other.request(request.method, fields, request.body), passed.hop, now)

    def _on_accepted(self, passed: Passed, response: Response, now: float) -> None:
        """A 2xx to an INVITE: it goes back, as often as it comes, until it is acknowledged."""
        fork = passed.fork
        assert fork is not None, "who answers makes a dialog"
        other, side = fork.at(1 - passed.side), self._sides[1 - passed.side]
        assert other is not None, "it has just spoken"
        if passed.ack is not None:
            side.wiring.transactions.send(passed.ack, side.hop(other.next_hop), now)
            return
        if not passed.answered_by:
            passed.answered_by = response.to.tag
            self._arm(BridgeAlarm.UNACKNOWLEDGED, now + side.wiring.config.timers.timeout_s)
        other.refresh(response)
        self._back(passed, response, now)
        if passed is self._replacing:
            self._replaced(passed, now)

    def _back(self, passed: Passed, response: Response, now: float) -> None:
        """A response goes back to who has asked."""
        fork, side = passed.fork, passed.side
        assert fork is not None, "it is within a dialog"
        dialog = fork.at(side)
        assert dialog is not None, "that side has asked"
        status, phrase = (response.status, response.phrase)
        if not response.is_success and not response.is_provisional:
            self._replacing = None if passed is self._replacing else self._replacing
            # 9.2, 15.1.2: what was cancelled has that for its end, and what was pending when the call ended.
            is_unwanted = passed.is_cancelled or self.is_over
            status, phrase = (487, phrase_of(487)) if is_unwanted else passing.refusal(response)
        fields = self._passed_to(side, response)
        request = passed.arrived.request
        if response.status < 300 and request.method in ("INVITE", "UPDATE"):
            fields.insert(0, ("Contact", NameAddr(self._sides[side].wiring.config.contact)))
            if response.is_success and request.contacts:
                dialog.refresh(request)
        answer = make_response(request, status, phrase, to_tag=dialog.local.tag, extra=fields, body=response.body)
        self._sides[side].wiring.transactions.respond(passed.arrived.transaction, answer, now)
        if response.status in (408, 481) and request.method in ("INVITE", "UPDATE"):
            self.end(response.status, f"{self._whose(1 - side)}: {response.status} {response.phrase}", now)

    def _on_bye(self, side: int, arrived: RequestArrived, dialog: Dialog, now: float) -> None:
        self._respond(side, arrived, dialog, 200, now)
        if self.is_over:
            return
        if (transfer := self._under_way) is not None:
            if side == self._member:
                # Who has asked for a transfer may hang up, and need not hear what becomes of it.
                transfer.note_left()
                return
            transfer.abandon(now)
        reasons = [("Reason", line) for line in arrived.request.fields.lines("reason")]
        if not self.is_answered:
            # 15.1.2: "the UAS MUST still respond to any pending requests received for that dialog [...] a 487".
            self._answer_first(487, phrase_of(487), now)
            self._cancel_far(now, reasons)
        else:
            self._goodbye(1 - side, now, reasons)
        self._finish(Ending.of(arrived.request))

    # Somebody else in the place of who talks with the trunk

    @property
    def _member(self) -> int:
        """The side that may transfer the call."""
        return NEAR if self._sides[NEAR].may_transfer else FAR

    @property
    def _under_way(self) -> CallTransfer | None:
        return None if self._transfer is None or self._transfer.is_over else self._transfer

    def _is_changing_hands(self, method: str) -> bool:
        """True for what would cross what the trunk's side is asked just now, or find nobody."""
        transfer = self._under_way
        if transfer is not None and transfer.has_left:
            return True
        is_asking = self._replacing is not None or (transfer is not None and transfer.is_connecting)
        return is_asking and method in ("INVITE", "UPDATE")

    def _on_refer(self, side: int, arrived: RequestArrived, dialog: Dialog, other: Dialog | None, now: float) -> None:
        """RFC 3515 2.4.2: accept, or decline."""
        own, refer = self._sides[side], arrived.request
        if self._under_way is not None or self._replacing is not None:
            self._respond(side, arrived, dialog, 491, now)
        elif self._call is None or self._call.at(side) is not dialog or self._first.ack is None or other is None:
            # Nobody talks yet.
            self._respond(side, arrived, dialog, 603, now)
        else:
            ends = TransferEnds(own, dialog, self._sides[1 - side], other)
            try:
                transfer = CallTransfer(self, ends, refer, partial(self._arm, BridgeAlarm.TRANSFER))
            except BadMessage as error:
                self._respond(side, arrived, dialog, error.status, now)
                return
            self._transfer = transfer
            self._respond(side, arrived, dialog, 202, now, [("Contact", NameAddr(own.wiring.config.contact))])
            transfer.begin(now)

    def keep_as_before(self, what: str, now: float, *, is_lost: bool) -> None:
        """transferring.Transferable"""
        assert self._transfer is not None, "it has just failed"
        if is_lost or self._transfer.has_left:
            self.end(480, f"the transfer has failed: {what}", now)

    def replace(self, wanted: Replaced, arrived: RequestArrived, now: float) -> int:
        """Somebody wants to be in the place of a dialog of this call (RFC 3891 section 3): what he is answered at once,
        0 if that depends on the other side.
        """
        side, fork = self._member, self._call
        dialog, other = (None, None) if fork is None else (fork.at(side), fork.at(1 - side))
        if self.is_over:
            # "If the Replaces header field matches a dialog which has already terminated, the UA SHOULD decline the
            # request with a 603 Declined response."
            return 603
        if dialog is None or other is None or dialog.id != wanted.dialog or self._first.ack is None:
            # "If the Replaces header field matches an early dialog that was not initiated by this UA, it returns a 481
            # (Call/Transaction Does Not Exist) response to the new INVITE".
            return 481
        if wanted.is_early_only:
            # "If the flag is present, the UA rejects the request with a 486 Busy response."
            return 486
        if self._under_way is not None or self._replacing is not None:
            return 491
        anew = Dialog.of_uas(arrived.request, self._sides[side].wiring.transactions.new_tag())
        own = Fork(anew, other) if side == NEAR else Fork(other, anew)
        self._replacing = Passed(self, side, arrived, own, self._sides[1 - side].hop(other.next_hop))
        self._pass_on(self._replacing, other, now)
        return 0

    def _replaced(self, passed: Passed, now: float) -> None:
        """RFC 3891 section 3: "it accepts the new INVITE by sending a 200-class response, and shuts down the replaced
        dialog by sending a BYE."
        """
        anew = None if passed.fork is None else passed.fork.at(passed.side)
        assert anew is not None, "it was begun with that"
        self._replacing = None
        anew.is_confirmed = True
        before = self.put_in_place(anew)
        self._remember(passed)
        self._sides[passed.side].say_goodbye(before, now)

    def put_in_place(self, dialog: Dialog) -> Dialog:
        """transferring.Transferable"""
        assert self._call is not None, "it was answered"
        before = self._call.at(self._member)
        assert before is not None, "both sides are there"
        self._call.put(self._member, dialog)
        self._handed.append(before)
        # Their numbers are those of other dialogs.
        self._invites.clear()
        self.transfers += 1
        return before

    def _handed_to(self, request: Request) -> Dialog | None:
        """The dialog of a request in whose place another one is."""
        return next((each for each in self._handed if each.id == DialogId.of_request(request)), None)

    def _on_afterthought(self, side: int, arrived: RequestArrived, dialog: Dialog, now: float) -> None:
        """Of who has nobody to talk with any more: his BYE may cross ours."""
        is_bye = arrived.request.method == "BYE"
        if is_bye and self._transfer is not None and self._transfer.is_of(dialog):
            self._transfer.note_left()
        self._respond(side, arrived, dialog, 200 if is_bye else 481, now)

    # The end

    def _goodbye(self, side: int, now: float, reasons: Sequence[tuple[str, object]] = ()) -> None:
        """BYE to one side of a call that was answered; an INVITE of ours that waits for its ACK gets that first."""
        assert self._call is not None, "it was answered"
        dialog = self._call.at(side)
        assert dialog is not None, "both sides are there"
        own = self._sides[side]
        if side == FAR and self._first.ack is None and self._first.sent is not None:
            hop = own.hop(dialog.next_hop)
            self._first.ack = own.acknowledge(dialog, hop, self._first.sent, None, now)
        if self._transfer is None or not (self._transfer.is_of(dialog) and self._transfer.has_left):
            own.say_goodbye(dialog, now, reasons)

    def _cancel_far(self, now: float, reasons: Sequence[tuple[str, object]]) -> None:
        if self._first.transaction:
            self._sides[FAR].wiring.cancel(self._first.transaction, now, reasons)

    def _finish(self, ending: Ending) -> None:
        if not self.is_over:
            self.is_over, self.ending = True, ending
            for passed in self._invites.values():
                self._sides[1 - passed.side].wiring.forgo(passed.transaction)
            for alarm in _OF_A_CALL:
                self._arm(alarm, NEVER)

    # Parts

    def _passed_to(self, side: int, message: Request | Response) -> list[tuple[str, object]]:
        """The fields that go on to a side."""
        return passing.passed(message, may_transfer=self._sides[side].may_transfer)

    def _whose(self, side: int) -> str:
        """Who is there, for people."""
        return self._far_name if side == FAR else "the caller"

    def _found(self, side: int, request: Request) -> tuple[Fork, Dialog, Dialog | None]:
        wanted = DialogId.of_request(request)
        for fork in self._forks.values():
            dialog = fork.at(side)
            if dialog is not None and dialog.id == wanted:
                return fork, dialog, fork.at(1 - side)
        raise AssertionError("side_of has found it")

    def _remember(self, passed: Passed) -> None:
        self._invites[passed.side, passed.arrived.request.cseq.number] = passed
        if len(self._invites) > INVITES_MAX:
            self._invites.popitem(last=False)

    def _answer_first(
        self,
        status: int,
        phrase: str,
        now: float,
        fork: Fork | None = None,
        response: Response | None = None,
        extra: Sequence[tuple[str, object]] = (),
    ) -> None:
        """Answer the INVITE by which it began, with what `response` of the far side says."""
        fields = [*extra]
        body = b""
        if response is not None:
            fields = [("Contact", NameAddr(self._sides[NEAR].wiring.config.contact)), *self._passed_to(NEAR, response)]
            body = response.body
        tag = self._tag if fork is None else fork.near.local.tag
        arrived = self._first.arrived
        answer = make_response(arrived.request, status, phrase, to_tag=tag, extra=fields, body=body)
        self._sides[NEAR].wiring.transactions.respond(arrived.transaction, answer, now)

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
        self._sides[side].wiring.transactions.respond(arrived.transaction, answer, now)
