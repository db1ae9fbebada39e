"""The two sides of a call through a gateway, and what is under way between them (bridged_call.py)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.agent_requests import Wiring
from p2psip.sip.entities.gateway import passing
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived
from p2psip.sip.transports.hops import Hop

NEAR: Final = 0
FAR: Final = 1

NEVER: Final = float("inf")

CREDENTIALS: Final = {"authorization": "Authorization", "proxy-authorization": "Proxy-Authorization"}


class BridgeAlarm(enum.Enum):
    """What a timer of a call is for, in words for Deadline.reason."""

    SILENT = "the far side is silent"
    RING = "nobody answers"
    UNACKNOWLEDGED = "no ACK"
    CALL = "call too long"
    TRANSFER = "nobody answers who is called for a transfer"
    GONE = "a call that is over is forgotten"


Arm = Callable[[BridgeAlarm, float], None]
"""Has an alarm come due at a moment; at infinity never."""


def no_way_of_its_own(uri: SipUri) -> Hop | None:
    """Of a side whose server is asked to send everything on."""
    return None


def nobody_minds(server: Hop, what: str, now: float) -> None:
    """Of a side that is always there."""


@dataclass(slots=True, eq=False)
class CallSide:
    """By what one side is spoken to.

    `server` is where its INVITE has come from, or goes to, and what else has no way of its own. `hop_to`
    where a URI of a dialog leads, where that is another place. Who is here may transfer the call if it `stands_for`
    somebody: as whom those see the other side who are called in its name.
    """

    wiring: Wiring
    server: Hop
    hop_to: Callable[[SipUri], Hop | None] = no_way_of_its_own
    note_silent: Callable[[Hop, str, float], object] = nobody_minds
    stands_for: NameAddr | None = None

    @property
    def may_transfer(self) -> bool:
        """True if a REFER of this side is followed, and an INVITE may take the place of its dialog."""
        return self.stands_for is not None

    def hop(self, uri: SipUri) -> Hop:
        """Where a request goes that this URI leads: the first of its route, or its target."""
        return self.hop_to(uri) or self.server

    def acknowledge(self, dialog: Dialog, hop: Hop, invite: Request, answer: Message | None, now: float) -> Request:
        """Send the ACK to a 2xx, with the body of what the other side has said: its ACK, or its answer."""
        # 13.2.2.4: "The ACK MUST contain the same credentials as the INVITE."
        fields: list[tuple[str, object]] = [
            (name, line) for key, name in CREDENTIALS.items() for line in invite.fields.lines(key)
        ]
        body = b"" if answer is None else answer.body
        if answer is not None and body:
            fields += passing.describing(answer)
        made = dialog.ack(invite.cseq.number, fields, body)
        self.wiring.transactions.send(made, hop, now)
        return made

    def say_goodbye(
        self, dialog: Dialog, now: float, reasons: Sequence[tuple[str, object]] = (), hop: Hop | None = None
    ) -> None:
        """BYE; `hop` where it does not go where the dialog leads."""
        self.wiring.send(Goodbye(dialog), dialog.request("BYE", reasons), hop or self.hop(dialog.next_hop), now)


@dataclass(frozen=True, slots=True)
class FarInvite:
    """What the far side is asked: whom, by whom, and with which further fields.

    `routes` is the way on from its server (RFC 3608); `others` are the servers to be asked where that one fails.
    """

    target: SipUri
    from_: NameAddr
    to: NameAddr
    extra: Sequence[tuple[str, object]] = field(default_factory=tuple)
    routes: Sequence[NameAddr] = field(default_factory=tuple)
    others: Sequence[Hop] = field(default_factory=tuple)


@dataclass(slots=True, eq=False)
class Fork:
    """A dialog with the near side, and its counterpart; None as long as the far side has not said its Contact."""

    near: Dialog
    far: Dialog | None = None

    def at(self, side: int) -> Dialog | None:
        """The one of a side."""
        return self.far if side == FAR else self.near

    def put(self, side: int, dialog: Dialog) -> None:
        """Somebody else talks with that side from now on."""
        if side == FAR:
            self.far = dialog
        else:
            self.near = dialog


class Passing(Protocol):
    """Whoever hears what becomes of what was passed on (`Bridge`)."""

    def note_sent(self, passed: Passed, now: float) -> None:
        """It is under way."""

    def handle_response(self, passed: Passed, request: Request, response: Response, now: float) -> None:
        """A response to it."""

    def handle_failure(self, passed: Passed, what: str, now: float) -> None:
        """There is none."""


@dataclass(slots=True, eq=False)
class Passed:
    """A request that has come from `side` and goes to the other one (a `Requester`)."""

    bridge: Passing
    side: int
    arrived: RequestArrived
    fork: Fork | None
    hop: Hop
    """Where it goes."""
    sent: Request | None = None
    transaction: int = 0
    ack: Request | None = None
    answered_by: str = ""
    """The tag of who has answered the INVITE with a 2xx."""
    is_cancelled: bool = False

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
class Goodbye:
    """A BYE of ours: whatever becomes of it (a `Requester`)."""

    dialog: Dialog

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """agent_requests.Requester"""
        self.dialog.local_cseq = max(self.dialog.local_cseq, request.cseq.number)

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """agent_requests.Requester"""

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """agent_requests.Requester"""
