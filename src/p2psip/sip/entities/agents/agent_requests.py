"""What the parts of a user agent share: its transactions, timers, effects, and whose request is whose."""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from p2psip.base.address import Address
from p2psip.base.effects import Asks, Effect
from p2psip.base.timers import Timers
from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.digest_credentials import DigestCredentials
from p2psip.sip.entities.agents.types import AgentConfig, AnsweredWithin, CallId
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri, default_port
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.hops import Hop, StreamHop, UdpHop
from p2psip.sip.transports.own_addresses import as_numeric

ALLOWED = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO")
CHALLENGES = (401, 407)
CHALLENGES_MAX = 4
"""How often one request may be challenged: by the server, by a proxy or two, and for a stale nonce."""


class Alarm(enum.Enum):
    """What a timer of the agent is for, in words for Deadline.reason."""

    REGISTER = "register again"
    ANSWER = "answer by itself"
    RING = "nobody answers"
    PROVISIONAL = "repeat 180"
    RETRANSMIT_2XX = "retransmit 2xx"
    GIVE_UP_2XX = "no ACK"
    REINVITE = "try re-INVITE again"
    CALL = "call too long"


TimerKey: TypeAlias = tuple[CallId, Alarm]


class Requester(Protocol):
    """Who sent a request."""

    def note_sent(self, request: Request, transaction: int, now: float) -> None:
        """The request is under way; after a challenge this is called again, with what was sent then."""

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """A response that is not a challenge we could answer."""

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """There is no final response."""


@dataclass(slots=True, eq=False)
class Pending:
    """A request under way; an INVITE stays after its answer, since more answers may come."""

    owner: Requester
    request: Request
    hop: Hop
    challenges: int
    is_answered: bool = False
    is_wanted: bool = True


@dataclass(slots=True)
class Wiring:
    """What the parts of a user agent share."""

    config: AgentConfig
    transactions: TransactionLayer
    rng: random.Random
    credentials: DigestCredentials
    asks: Asks[CallId]
    timers: Timers[TimerKey] = field(default_factory=Timers)
    effects: list[Effect] = field(default_factory=list)
    _pending: dict[int, Pending] = field(default_factory=dict)
    """By their transactions."""
    _owners: Counter[Requester] = field(default_factory=Counter)
    """How many of those each has: it is asked of every call at every message."""

    def send(self, owner: Requester, request: Request, hop: Hop, now: float, challenges: int = 0) -> None:
        """Send a request in a transaction; what becomes of it goes to `owner`."""
        request = request if challenges else self.credentials.beforehand(request)
        pending = Pending(owner, request, hop, challenges)
        transaction = self.transactions.request(request, hop, pending, now)
        self._pending[transaction] = pending
        self._owners[owner] += 1
        owner.note_sent(request, transaction, now)

    def forgo(self, transaction: int) -> None:
        """Whoever has sent this does not want it any more: if it is challenged, it is not tried again."""
        if (pending := self._pending.get(transaction)) is not None:
            pending.is_wanted = False

    def cancel(self, transaction: int, now: float, extra: Iterable[tuple[str, object]] = ()) -> None:
        """Cancel an INVITE of ours; `extra` fields go into the CANCEL. A challenge that crosses it is not answered."""
        self.forgo(transaction)
        self.transactions.cancel(transaction, now, extra)

    @property
    def allow(self) -> str:
        """What our Allow says (20.5)."""
        return ", ".join((*ALLOWED, *self.config.passes))

    def has_pending(self, owner: Requester) -> bool:
        """True if a transaction of this owner has not ended."""
        return owner in self._owners

    @property
    def is_waiting(self) -> bool:
        """True if a request of ours has no final answer yet."""
        return any(not pending.is_answered for pending in self._pending.values())

    def handle_response(self, pending: Pending, response: Response, now: float) -> None:
        """Give a response to whoever sent the request; answer a challenge first."""
        pending.is_answered = not response.is_provisional
        anew = None
        may_try_again = pending.challenges < CHALLENGES_MAX and pending.is_wanted
        if response.status in CHALLENGES and may_try_again:
            anew = self.credentials.answer(pending.request, response)
        if anew is not None:
            self.send(pending.owner, anew, pending.hop, now, pending.challenges + 1)
        else:
            pending.owner.handle_response(pending.request, response, now)

    def handle_failure(self, pending: Pending, what: str, now: float) -> None:
        """Tell whoever sent the request."""
        pending.owner.handle_failure(pending.request, what, now)

    def forget(self, transaction: int) -> None:
        """The transaction has ended."""
        pending = self._pending.pop(transaction)
        self._owners[pending.owner] -= 1
        if not self._owners[pending.owner]:
            del self._owners[pending.owner]

    def set_timer(self, part: CallId, alarm: Alarm, at: float) -> None:
        """Have `alarm` of a call (or 0, the registration) come due."""
        self.timers.set((part, alarm), at, alarm.value)

    def cancel_timers(self, part: CallId, alarms: Iterable[Alarm] = Alarm) -> None:
        """Forget these alarms of a call."""
        for alarm in alarms:
            self.timers.cancel((part, alarm))

    def hop_to(self, uri: SipUri) -> Hop:
        """Where a request in a dialog goes: along its route set; by way of the server if that has only a name."""
        numeric = as_numeric(uri.host)
        server = self.config.server
        if uri.scheme == "sips" and isinstance(server, UdpHop | StreamHop):
            # 26.2.2: what is for a SIPS URI goes by TLS, or not at all.
            return StreamHop("TLS", Address(numeric, default_port(uri)) if numeric else server.remote)
        if self.config.is_tethered or numeric is None:
            return server
        address = Address(numeric, default_port(uri))
        if uri.transport in (None, "UDP"):
            return UdpHop(address)
        return StreamHop("TCP", address) if uri.transport == "TCP" else server


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """A request within a call that a user agent neither understands nor needs to, as its user does: a `Requester`.

    What becomes of it is told as AnsweredWithin.
    """

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
        """Requester"""
        self.dialog.local_cseq = max(self.dialog.local_cseq, request.cseq.number)

    def handle_response(self, request: Request, response: Response, now: float) -> None:
        """Requester"""
        if not response.is_provisional:
            self.wiring.effects.append(AnsweredWithin(self.call, self.context, response.status))

    def handle_failure(self, request: Request, what: str, now: float) -> None:
        """Requester"""
        self.wiring.effects.append(AnsweredWithin(self.call, self.context, 408))
