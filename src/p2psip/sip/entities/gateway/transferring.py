"""A transfer by somebody who talks through a trunk (RFC 3515, RFC 5589, RFC 3725 section 4.1).

Theory of operation. Whom a REFER names, the overlay alone may know, and the trunk is told nothing of it: the gateway
itself calls him, without an offer, and asks the trunk's side to go on with the one that he makes when he answers (a
re-INVITE). Then he is in the place of who has transferred the call, and that one is told so and is sent a BYE. As long
as that has not happened the call is as it was, so who transfers in vain has his caller again.

    calling --2xx--> connecting --2xx of the trunk's side--> over: the target is in the transferor's place
       |                 |
       +-- refused, no answer, the call has ended --> over: as before
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote

from p2psip.sip.dialogs.dialog import Dialog, DialogId
from p2psip.sip.entities.gateway import passing
from p2psip.sip.entities.gateway.call_sides import NEVER, CallSide
from p2psip.sip.entities.gateway.limits import CONNECTS_MAX, FORKS_MAX, RING_S_MAX
from p2psip.sip.message.build import make_request, phrase_of
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import Event, NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import Hop

SIPFRAG: Final = "message/sipfrag;version=2.0"


class Replaced(NamedTuple):
    """What a Replaces field names (RFC 3891 section 6.1): a dialog of whoever gets it."""

    dialog: DialogId
    is_early_only: bool


def replaced_by(request: Request) -> Replaced | None:
    """The dialog in whose place an INVITE wants to be; None if in that of none. Raises BadMessage."""
    lines = request.fields.lines("replaces")
    if not lines:
        return None
    # RFC 3891 section 3: "If more than one Replaces header field is present in an INVITE, or if a Replaces header field
    # is present in a request other than INVITE, the UAS MUST reject the request with a 400 Bad Request response."
    if len(lines) > 1 or request.method != "INVITE":
        raise BadMessage("one Replaces, in an INVITE")
    call_id, *params = (part.strip() for part in lines[0].split(";"))
    named = {name.strip().lower(): value.strip() for name, _, value in (each.partition("=") for each in params)}
    if not (call_id and named.get("to-tag") and named.get("from-tag")):
        raise BadMessage(f"malformed Replaces {lines[0][:80]!r}")
    # "the to-tag parameter is compared to the local tag, and the from-tag parameter is compared to the remote tag."
    return Replaced(DialogId(call_id, named["to-tag"], named["from-tag"]), "early-only" in named)


class _Target(NamedTuple):
    """Whom a REFER names, and in place of which dialog of his."""

    uri: SipUri
    replaces: str


def _target_of(refer: Request) -> _Target:
    """Raises BadMessage, whose status is the answer."""
    values = refer.fields.values("refer-to")
    # RFC 3515 2.4.2: "An agent responding to a REFER method MUST return a 400 (Bad Request) if the request contained
    # zero or more than one Refer-To header field values."
    if len(values) != 1:
        raise BadMessage(f"{len(values)} Refer-To")
    uri = NameAddr.parse(values[0], "Refer-To").uri
    if not isinstance(uri, SipUri):
        # "A UA not capable of accessing non-SIP URIs SHOULD NOT accept REFER requests to them."
        raise BadMessage("calls are transferred to SIP URIs", 416)
    if uri.param("method") not in (None, "INVITE"):
        # It "MAY decline the request": this one calls, and does nothing else.
        raise BadMessage("a call is transferred by a call", 603)
    asked = (part.partition("=") for part in uri.headers.split("&"))
    # RFC 3261 19.1.5 has no other field honoured that somebody writes into a URI.
    wanted = [unquote(value, errors="surrogateescape") for name, _, value in asked if name.lower() == "replaces"]
    return _Target(uri.as_request_uri, wanted[0] if wanted else "")


class _What(enum.Enum):
    """What a request of a transfer is for."""

    CALL = enum.auto()
    CONNECT = enum.auto()
    TELL = enum.auto()
    TELL_LAST = enum.auto()


@dataclass(slots=True, eq=False)
class _Part:
    """A request of a transfer (a `Requester`)."""

    transfer: CallTransfer
    what: _What
    dialog: Dialog | None = None
    transaction: int = 0

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """agent_requests.Requester"""
        self.transaction = transaction
        if self.dialog is not None:
            self.dialog.local_cseq = max(self.dialog.local_cseq, request.cseq.number)

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """agent_requests.Requester"""
        self.transfer.handle_response(self, request, response, now)

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """agent_requests.Requester"""
        self.transfer.handle_failure(self, what, now)


class Transferable(Protocol):
    """The call that is transferred (`Bridge`)."""

    def put_in_place(self, dialog: Dialog) -> Dialog:
        """Somebody else talks with the trunk's side from now on; with whom it has talked until now."""

    def keep_as_before(self, what: str, now: float, *, is_lost: bool) -> None:
        """Nothing has come of it; the trunk's side `is_lost` if it does not know the call any more."""


@dataclass(frozen=True, slots=True)
class TransferEnds:
    """Who transfers whom: the side and dialog of the member, and those of who is behind the trunk."""

    member: CallSide
    transferor: Dialog
    other: CallSide
    transferee: Dialog


class CallTransfer:
    """One REFER, and what becomes of it."""

    def __init__(self, call: Transferable, ends: TransferEnds, refer: Request, arm: Callable[[float], None]) -> None:
        """`arm` has `handle_alarm` called at a moment. Raises BadMessage where the REFER is not to be followed."""
        self.is_over = False
        self._call = call
        self._ends = ends
        self._target = _target_of(refer)
        self._arm = arm
        # RFC 3515 2.4.6: "it MUST include an id parameter in the Event header field of each NOTIFY containing the
        # sequence number (the number from the CSeq header field value) of the REFER"; with the first it MAY.
        self._event = Event("refer", str(refer.cseq.number))
        self._has_left = False
        """True if the transferor has hung up, or was told to."""
        self._invite = _Part(self, _What.CALL)
        self._answer: tuple[Dialog, Request, Response] | None = None
        """Who has answered, what was asked, and what was said."""
        self._connects = 0
        self._acks: dict[str, tuple[Request, Hop]] = {}
        """By the tag of who has answered: what he is told as often as he repeats himself."""
        self._other_ack: tuple[Request, Hop] | None = None
        self._has_succeeded = False

    @property
    def is_connecting(self) -> bool:
        """True while the trunk's side is asked to talk with somebody else."""
        return self._answer is not None and not self.is_over

    @property
    def has_left(self) -> bool:
        """True if the transferor does not wait for the outcome."""
        return self._has_left

    def is_of(self, dialog: Dialog) -> bool:
        """True for the dialog with the transferor."""
        return dialog is self._ends.transferor

    def begin(self, now: float) -> None:
        """The REFER was accepted."""
        member, (uri, replaces) = self._ends.member, self._target
        assert member.stands_for is not None, "who may transfer calls has somebody to transfer"
        # RFC 3515 2.4.2: "the recipient MUST create a subscription and send notifications of the status of the refer".
        self._tell(100, phrase_of(100), now)
        fields: list[tuple[str, object]] = [
            ("Contact", NameAddr(member.wiring.config.contact)),
            ("Allow", passing.allow(may_transfer=True)),
            ("Supported", passing.REPLACES),
            ("Referred-By", NameAddr(self._ends.transferor.remote.uri)),
        ]
        fields += [("Replaces", replaces)] if replaces else []
        request = make_request(
            "INVITE",
            uri,
            from_=member.stands_for.with_tag(member.wiring.transactions.new_tag()),
            to=NameAddr(uri.named),
            call_id=member.wiring.transactions.new_tag(),
            cseq=1,
            extra=fields,
        )
        self._arm(now + RING_S_MAX)
        member.wiring.send(self._invite, request, member.server, now)

    def note_left(self) -> None:
        """The transferor has hung up: it goes on without him."""
        self._has_left = True

    def abandon(self, now: float) -> None:
        """The call has ended."""
        self._undo(487, phrase_of(487), now)

    def handle_alarm(self, now: float) -> None:
        """What was armed is due."""
        if self.is_over:
            return
        if self._answer is None:
            self._fail(480, f"nobody has answered in {RING_S_MAX:g} s", now)
        else:
            self._connect(now)

    def handle_response(self, part: _Part, request: Request, response: Response, now: float) -> None:
        """A response to one of our requests."""
        match part.what:
            case _What.CALL if response.is_success:
                self._on_answered(request, response, now)
            case _What.CALL if not (response.is_provisional or self.is_over or self._answer):
                self._fail(response.status, response.phrase, now)
            case _What.CONNECT if response.is_success:
                self._on_connected(request, response, now)
            case _What.CONNECT if not (response.is_provisional or self.is_over):
                self._on_not_connected(response, now)
            case _What.TELL_LAST if not response.is_provisional:
                self._see_off(now)

    def handle_failure(self, part: _Part, what: str, now: float) -> None:
        """There is none."""
        match part.what:
            case _What.CALL if not (self.is_over or self._answer):
                self._fail(408, what, now)
            case _What.CONNECT if not self.is_over:
                self._fail(408, what, now, is_lost=True)
            case _What.TELL_LAST:
                self._see_off(now)

    # The target

    def _on_answered(self, request: Request, response: Response, now: float) -> None:
        tag, wiring = response.to.tag, self._ends.member.wiring
        if tag in self._acks:
            wiring.transactions.send(*self._acks[tag], now)
            return
        if self._answer is not None and self._answer[0].id.remote_tag == tag:
            # He repeats himself: his ACK has the answer of the trunk's side, which is being asked for it.
            return
        dialog = Dialog.of_uac(request, response)
        if self.is_over or self._answer is not None:
            # The CANCEL came too late, or somebody else has answered as well (RFC 3261 13.2.2.4).
            self._dismiss(dialog, request, now)
        elif not response.body:
            self._dismiss(dialog, request, now)
            self._fail(488, "who was called has answered without an offer", now)
        else:
            dialog.is_confirmed = True
            self._answer = dialog, request, response
            self._arm(NEVER)
            self._connect(now)

    def _dismiss(self, dialog: Dialog, invite: Request, now: float) -> None:
        if len(self._acks) < FORKS_MAX:
            self._acknowledge(dialog, invite, None, now)
            self._ends.member.say_goodbye(dialog, now)

    def _acknowledge(self, dialog: Dialog, invite: Request, answer: Response | None, now: float) -> None:
        member = self._ends.member
        hop = member.hop(dialog.next_hop)
        self._acks[dialog.id.remote_tag] = member.acknowledge(dialog, hop, invite, answer, now), hop

    # The trunk's side

    def _connect(self, now: float) -> None:
        assert self._answer is not None, "somebody has answered"
        _, _, answer = self._answer
        other, dialog = self._ends.other, self._ends.transferee
        self._connects += 1
        fields = [("Contact", NameAddr(other.wiring.config.contact)), *passing.describing(answer)]
        request = dialog.request("INVITE", fields, answer.body)
        other.wiring.send(_Part(self, _What.CONNECT, dialog), request, other.hop(dialog.next_hop), now)

    def _on_connected(self, request: Request, response: Response, now: float) -> None:
        other, dialog = self._ends.other, self._ends.transferee
        if self._other_ack is not None:
            other.wiring.transactions.send(*self._other_ack, now)
            return
        hop = other.hop(dialog.next_hop)
        self._other_ack = other.acknowledge(dialog, hop, request, None, now), hop
        if self.is_over:
            return
        dialog.refresh(response)
        if not response.body:
            self._fail(488, "the trunk has not said where its media is", now)
            return
        assert self._answer is not None, "it was asked because somebody has answered"
        target, invite, _ = self._answer
        self._acknowledge(target, invite, response, now)
        self.is_over = self._has_succeeded = True
        self._call.put_in_place(target)
        self._tell(200, phrase_of(200), now, is_last=True)

    def _on_not_connected(self, response: Response, now: float) -> None:
        if response.status == 491 and self._connects < CONNECTS_MAX:
            # RFC 3261 14.1: "a randomly chosen value between 2.1 and 4 seconds" where the Call-ID is ours, which does
            # for the other case too.
            self._arm(now + self._ends.other.wiring.rng.uniform(2.1, 4.0))
        else:
            # RFC 3261 12.2.1.2: with 481 or 408 "the UAC SHOULD terminate the dialog".
            self._fail(response.status, response.phrase, now, is_lost=response.status in (408, 481))

    # The end

    def _fail(self, status: int, what: str, now: float, *, is_lost: bool = False) -> None:
        self._undo(status, what, now)
        self._call.keep_as_before(f"{status} {what}", now, is_lost=is_lost)

    def _undo(self, status: int, what: str, now: float) -> None:
        self.is_over = True
        self._arm(NEVER)
        if self._answer is None:
            self._ends.member.wiring.cancel(self._invite.transaction, now)
        else:
            dialog, invite, _ = self._answer
            self._dismiss(dialog, invite, now)
        self._tell(status, what, now, is_last=True)

    def _tell(self, status: int, what: str, now: float, *, is_last: bool = False) -> None:
        """RFC 3515 2.4.5: "The body of a NOTIFY MUST begin with a SIP Response Status-Line"."""
        if self._has_left:
            return
        member, dialog = self._ends.member, self._ends.transferor
        # 2.4.7: "The final NOTIFY sent in response to a REFER MUST indicate the subscription has been "terminated" with
        # a reason of "noresource"."
        state = "terminated;reason=noresource" if is_last else f"active;expires={RING_S_MAX:g}"
        fields: list[tuple[str, object]] = [
            ("Contact", NameAddr(member.wiring.config.contact)),
            ("Event", self._event),
            ("Subscription-State", state),
            ("Content-Type", SIPFRAG),
        ]
        body = f"SIP/2.0 {status} {what}\r\n".encode("utf-8", "surrogateescape")
        part = _Part(self, _What.TELL_LAST if is_last else _What.TELL, dialog)
        member.wiring.send(part, dialog.request("NOTIFY", fields, body), member.hop(dialog.next_hop), now)

    def _see_off(self, now: float) -> None:
        """The transferor has heard that somebody is in his place: he has nobody to talk with any more."""
        if self._has_succeeded and not self._has_left:
            self._has_left = True
            self._ends.member.say_goodbye(self._ends.transferor, now)
