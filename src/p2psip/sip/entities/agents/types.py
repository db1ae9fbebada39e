"""What a user agent is told, and what it tells: its configuration and its events."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.media.negotiation import Agreement
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.timer_values import TimerValues
from p2psip.sip.transports.hops import Hop
from p2psip.sip.transports.layer import Listener

CallId: TypeAlias = int
"""The number by which the agent's user knows a call."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Who the agent is, where its server is, and how it behaves.

    `contact` is what others reach it at. All requests go to `server` if `is_tethered`; else those within a dialog
    follow its route set, as RFC 3261 wants. One that `is_focus` says so in its Contact (RFC 3840): of it phones ask who
    else is in. Without `auto_answer_s` its user answers. So he does for requests of the
    methods `passes` within a call (AskedWithin).
    """

    address_of_record: SipUri
    contact: SipUri
    server: Hop
    listeners: tuple[Listener, ...]
    display_name: str = ""
    auth_user: str = ""
    password: str = field(default="", repr=False)
    is_tethered: bool = False
    is_focus: bool = False
    passes: tuple[str, ...] = ()
    auto_answer_s: float | None = None
    calls_max: int = 4
    register_expires_s: int = 300
    ring_s_max: float = 180.0
    call_s_max: float = 4 * 3600.0
    timers: TimerValues = field(default_factory=TimerValues)


@dataclass(frozen=True, slots=True)
class MediaWanted:
    """The question for a local media address for a call; its answer is an Address, or None if there is none.

    The address is the call's until `CallEnded`. `towards` is the host that media will be sent to, where the other side
    has said so: the address must be one that is reached from there.
    """

    call: CallId
    towards: str | None = None


@dataclass(frozen=True, slots=True)
class MediaReleased(Effect):
    """Nothing more comes from or goes to this media address."""

    local: Address


@dataclass(frozen=True, slots=True)
class ToServer(Effect):
    """What an agent inside a server's process says: a SIP message for that server."""

    data: bytes


class EndedBy(enum.Enum):
    """Who ended a call."""

    US = "this side"
    THEM = "the other side"
    NOBODY = "a failure"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a call, or a registration, ended: in SIP's words if SIP said it."""

    by: EndedBy
    what: str
    status: int | None = None
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, message: Request | Response) -> Ending:
        """What a message of the other side says."""
        if isinstance(message, Response):
            return cls(EndedBy.THEM, message.phrase, message.status, _reasons(message))
        return cls(EndedBy.THEM, "cancelled" if message.method == "CANCEL" else "hung up", None, _reasons(message))

    def __str__(self) -> str:
        status = f"{self.status} " if self.status else ""
        return "; ".join([f"{status}{self.what}", *(reason.text or str(reason) for reason in self.reasons)])


def _reasons(message: Request | Response) -> tuple[Reason, ...]:
    """What the Reason field says; a malformed one says nothing, and is no ground to keep a dead call."""
    try:
        return message.reasons
    except BadMessage:
        return ()


@dataclass(frozen=True, slots=True)
class Registered(Effect):
    """The server knows where we are, for this long; refreshed by itself."""

    expires_s: int


@dataclass(frozen=True, slots=True)
class RegistrationFailed(Effect):
    """The server did not take our registration; tried again by itself."""

    reason: Ending
    retry_s: float
    server: Hop
    """Who was asked."""


@dataclass(frozen=True, slots=True)
class Unregistered(Effect):
    """The server has been told that we go, or did not answer that."""

    reason: Ending


@dataclass(frozen=True, slots=True)
class IncomingCall(Effect):
    """Somebody calls, and their phone hears that ours rings."""

    call: CallId
    caller: NameAddr
    called: SipUri
    user: str = ""
    """The user of our domain who has proved to call, as our server says (RFC 3325)."""


@dataclass(frozen=True, slots=True)
class Ringing(Effect):
    """The phone that we call rings (180), or the network says how it is getting on (181-183)."""

    call: CallId
    status: int
    what: str


@dataclass(frozen=True, slots=True)
class CallEstablished(Effect):
    """The call is answered: media flows from `local` as agreed."""

    call: CallId
    local: Address
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class MediaChanged(Effect):
    """A hold, a resume, a new address: media flows as agreed anew."""

    call: CallId
    local: Address
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class AskedWithin(Effect):
    """The other side of a call has sent a request of `AgentConfig.passes`: `UserAgent.answer_within` answers it."""

    call: CallId
    transaction: int
    request: Request


@dataclass(frozen=True, slots=True)
class AnsweredWithin(Effect):
    """What the other side has answered to a request of ours (`UserAgent.ask_within`); 408 if nothing."""

    call: CallId
    context: object
    status: int


@dataclass(frozen=True, slots=True)
class CallEnded(Effect):
    """The call is over, or never came about; its media address is free."""

    call: CallId
    reason: Ending
