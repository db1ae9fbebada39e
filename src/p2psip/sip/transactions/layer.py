"""The transaction layer (RFC 3261 section 17, RFC 6026): requests and responses on top of transports.

It is a core of its own: the inputs of a driver, `events()` for the transaction user above, `drain()` and
`next_deadline()` for the driver. The machines are the tables of `machines.py`.
"""

from __future__ import annotations

import itertools
import math
import random
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.sip.message import build
from p2psip.sip.message.headers import MAGIC_COOKIE, Via
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.urgency import is_urgent
from p2psip.sip.transactions import machines
from p2psip.sip.transactions.events import (
    AckArrived,
    Failure,
    RequestArrived,
    ResponseArrived,
    TransactionEnded,
    TransactionFailed,
    TuEvent,
)
from p2psip.sip.transactions.machines import Input, Reaction, State, Table
from p2psip.sip.transactions.matching import Key, branch_of, client_key, invite_key, is_from, server_key
from p2psip.sip.transactions.timer_values import REASONS, Timer, TimerValues
from p2psip.sip.transports.arrivals import Arrival, FlowDown
from p2psip.sip.transports.hops import BoundHop, FlowHop, Hop, Source, UdpHop
from p2psip.sip.transports.layer import (
    DATAGRAM_REQUEST_BYTES,
    Malformed,
    MessageArrived,
    TransportEvent,
    TransportLayer,
)

TRANSACTIONS_MAX = 20_000
"""All transactions at once. Finished ones give way to new ones, the oldest first."""

URGENT_TRANSACTIONS = 200
"""So many more for requests of an emergency, which are never refused for load."""

_ABSORBING = frozenset({Timer.H, Timer.I, Timer.J, Timer.K})
"""The last timers of transactions that may go early: at worst a retransmission is taken for something new."""

_QUIET_ENDS = frozenset({Timer.D, Timer.I, Timer.J, Timer.K, Timer.L, Timer.M})
"""The last timers of transactions of which nobody waits for the end: they last at least so long."""

QUIET_ENDS_S = 0.25
"""Those that end within so long of each other end together. A call has six of them, each of which would wake a peer."""

_RETRANSMITTING = {Reaction.START_A: Timer.A, Reaction.START_E: Timer.E, Reaction.START_G: Timer.G}


@dataclass(slots=True, eq=False)
class _Transaction:
    number: int
    key: Key
    table: Table
    request: Request | None
    """The request as sent or received; None when it is not needed any more."""
    via: Via
    """Its topmost Via."""
    is_reliable: bool
    hop: BoundHop | None = None
    """Client: where the request goes."""
    datagram_hop: UdpHop | None = None
    """Client: where it would go if it were not too long for UDP."""
    source: Source | None = None
    """Server: where the request came from."""
    invite_key: Key = ()
    """Server: by what a CANCEL finds it; empty if it is no INVITE."""
    data: bytes = b""
    """Client: the request as sent; server: the latest response."""
    response: Response | None = None
    interval_s: float = 0.0
    state: State = field(init=False)
    timers: set[Timer] = field(default_factory=set)
    pending_cancel: tuple[tuple[str, object], ...] | None = None
    is_quiet: bool = False
    """True for our own CANCELs, of which nobody above wants to hear."""
    lost: str = ""
    """Why the transport failed."""
    context: object = None
    """Client: whose request it is, for whoever has sent it."""

    def __post_init__(self) -> None:
        self.state = machines.first_state(self.table)

    @property
    def is_client(self) -> bool:
        return self.hop is not None


class _Ready(NamedTuple):
    """A request with its Via, encoded, and by what it goes."""

    request: Request
    data: bytes
    hop: BoundHop
    datagram_hop: UdpHop | None = None
    """Where it would go if it were not too long for UDP."""


class TransactionLayer:
    """All transactions of one SIP element, client and server."""

    def __init__(
        self,
        transport: TransportLayer,
        rng: random.Random,
        values: TimerValues | None = None,
        transactions_max: int = TRANSACTIONS_MAX,
        urgent_numbers: frozenset[str] = frozenset(),
        queue: TimerQueue | None = None,
    ) -> None:
        """Requests of an emergency find room where others do not: `urgent_numbers` are whom they may be for; `queue` is
        of the core that this is a part of.
        """
        self.transport = transport
        self._urgent_numbers = urgent_numbers
        self.dropped = 0
        """Responses without a transaction, requests beyond the bound, and what was no message."""
        self._rng = rng
        self._values = values or TimerValues()
        self._max = transactions_max
        self._numbers = itertools.count(1)
        self._transactions: dict[int, _Transaction] = {}
        self._by_key: dict[Key, _Transaction] = {}
        self._invites: dict[Key, _Transaction] = {}
        self._absorbing: OrderedDict[int, None] = OrderedDict()
        self._on_flow: dict[int, set[int]] = {}
        self._timers: Timers[tuple[int, Timer]] = Timers(queue)
        self._events: list[TuEvent] = []

    def __len__(self) -> int:
        return len(self._transactions)

    # Inputs, as the driver gives them

    def handle(self, arrival: Arrival, now: float) -> None:
        """Something came in."""
        self._take(self.transport.handle(arrival, now), now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._take(self.transport.handle_timeout(now), now)
        for number, timer in self._timers.pop_due(now):
            transaction = self._transactions.get(number)
            if transaction is not None:
                transaction.timers.discard(timer)
                self._input(transaction, Input(timer + 100), now)

    def events(self) -> list[TuEvent]:
        """What happened since the last call; call again until it is empty, since answering makes new events."""
        events, self._events = self._events, []
        return events

    def drain(self) -> list[Effect]:
        """What the driver shall do, in order."""
        return self.transport.drain()

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._timers.next_deadline(), self.transport.next_deadline()])

    # Calls of the transaction user

    def request(self, request: Request, hop: Hop, context: object, now: float, *, branch_suffix: str = "") -> int:
        """Send a request in a transaction of its own; the Via is put on here. What comes of it has the context with it.

        The number is what `cancel` takes.
        """
        number = next(self._numbers)
        bound = self.transport.bind(hop, now)
        if bound is None or not self._make_room(request):
            what = "too many transactions" if bound else f"no way to {hop}"
            failed = TransactionFailed(number, Failure.TRANSPORT, what, context)
            self._events += [failed, TransactionEnded(number, context)]
            return number
        ready = self._ready(request, bound, self._new_branch() + branch_suffix, now)
        self._start_client(number, ready, context, now)
        return number

    def send(self, request: Request, hop: Hop, now: float) -> bool:
        """Send a request without a transaction: the ACK to a 2xx (section 13.2.2.4). False if it cannot be sent."""
        bound = self.transport.bind(hop, now)
        if bound is None:
            return False
        branch = branch_of(request) if "via" in request.fields else self._new_branch()
        ready = self._ready(request, bound, branch, now, may_connect=False)
        return self.transport.send(ready.hop, ready.data, now)

    def respond(self, transaction: int, response: Response, now: float) -> None:
        """Answer a request. Nothing happens if its transaction has ended meanwhile."""
        state = self._transactions.get(transaction)
        if state is None:
            return
        assert not state.is_client, "respond is for server transactions"
        state.response = response
        self._input(state, _classify(response, Input.SEND_1XX), now)

    def abandon(self, transaction: int) -> None:
        """Leave a request unanswered, where an answer would come too late (RFC 4320 section 4.2)."""
        state = self._transactions.get(transaction)
        if state is not None:
            self._end(state)

    def cancel(self, transaction: int, now: float, extra: Iterable[tuple[str, object]] = ()) -> None:
        """Cancel an INVITE of ours, as soon as section 9.1 allows; `extra` fields go into the CANCEL."""
        state = self._transactions.get(transaction)
        if state is None or state.table is not machines.INVITE_CLIENT or state.pending_cancel is not None:
            return
        state.pending_cancel = tuple(extra)
        # 9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent".
        if state.state is State.PROCEEDING:
            self._send_cancel(state, now)

    def new_tag(self) -> str:
        """A tag for From or To (section 19.3), or any other token nobody can guess."""
        return f"{self._rng.getrandbits(64):016x}"

    # What comes from below

    def _take(self, events: list[TransportEvent], now: float) -> None:
        for event in events:
            match event:
                case MessageArrived(Request() as request, source):
                    self._on_request(request, source, now)
                case MessageArrived(Response() as response, _):
                    self._on_response(response, now)
                case Malformed():
                    self._on_malformed(event, now)
                case FlowDown():
                    self._on_flow_down(event, now)

    def _on_request(self, request: Request, source: Source, now: float) -> None:
        key = server_key(request, source)
        transaction = self._by_key.get(key)
        if request.method == "ACK":
            # RFC 6026 7.1: ACKs "received from the network while in the "Accepted" state MUST be passed directly to
            # the TU"; such an ACK should not have the INVITE's branch at all, but some phones' do.
            if transaction is None or transaction.state is State.ACCEPTED:
                self._events.append(AckArrived(request, source))
            else:
                self._input(transaction, Input.ACK, now)
        elif transaction is not None:
            self._input(transaction, Input.REQUEST, now)
        elif self._make_room(request):
            self._start_server(key, request, source, now)
        else:
            self._refuse(request, source, now)

    def _start_server(self, key: Key, request: Request, source: Source, now: float) -> None:
        number = next(self._numbers)
        is_invite = request.method == "INVITE"
        table = machines.INVITE_SERVER if is_invite else machines.OTHER_SERVER
        transaction = _Transaction(
            number, key, table, request, request.via, self.transport.is_reliable(source.hop), source=source
        )
        self._transactions[number] = self._by_key[key] = transaction
        if is_invite:
            transaction.invite_key = invite_key(request, source)
            self._invites[transaction.invite_key] = transaction
        self._set(transaction, Timer.TRYING, now + self._values.trying_s(request.method))
        cancels = None
        if request.method == "CANCEL":
            invite = self._invites.get(invite_key(request, source))
            cancels = invite.number if invite else None
        self._events.append(RequestArrived(number, request, source, cancels))

    def _on_response(self, response: Response, now: float) -> None:
        transaction = self._by_key.get(client_key(response.via.branch, response.cseq.method))
        if transaction is None or not transaction.is_client or not is_from(response.via, transaction.via):
            # RFC 6026 7.3: "The proxy MUST NOT forward the response if there is no matching transaction".
            self.dropped += 1
            return
        transaction.response = response
        self._input(transaction, _classify(response, Input.RESPONSE_1XX), now)

    def _on_malformed(self, event: Malformed, now: float) -> None:
        self.dropped += 1
        error = event.error
        if error.request is not None:
            phrase = f"{build.phrase_of(error.status)} ({error.what})"
            self._answer_statelessly(error.request, event.source, error.status, phrase, now)

    def _on_flow_down(self, down: FlowDown, now: float) -> None:
        for number in sorted(self._on_flow.pop(down.flow, ())):
            transaction = self._transactions[number]
            if self._is_to_be_sent_in_datagrams(transaction, now):
                self._send_in_datagrams(transaction, now)
            else:
                transaction.lost = down.reason
                self._input(transaction, Input.TRANSPORT_ERROR, now)
        self._events.append(down)

    def _refuse(self, request: Request, source: Source, now: float) -> None:
        self.dropped += 1
        if request.method == "INVITE":
            self._answer_statelessly(request, source, 503, "Overloaded", now, [("Retry-After", 5)])

    def _answer_statelessly(
        self,
        request: Request,
        source: Source,
        status: int,
        phrase: str,
        now: float,
        extra: Iterable[tuple[str, object]] = (),
    ) -> None:
        # 8.2.7: the same request must get the same tag again.
        tag = f"{zlib.crc32(f'{request.via.branch} {request.call_id}'.encode(errors='replace')):08x}"
        response = build.make_response(request, status, phrase, to_tag=tag, extra=extra)
        hop = self.transport.bind(self.transport.response_hop(source, request.via), now)
        if hop is not None:
            self.transport.send(hop, response.encode(), now)

    # The machines

    def _input(self, transaction: _Transaction, what: Input, now: float) -> None:
        row = transaction.table.get(transaction.state)
        step = row.get(what) if row else None
        if step is None:
            return
        transaction.state, actions = step
        for action in actions:
            self._act(transaction, action, now)
            if transaction.number not in self._transactions:
                # Sending failed, and that was its end.
                return
        if transaction.state is State.TERMINATED:
            self._end(transaction)

    def _act(self, transaction: _Transaction, action: Reaction, now: float) -> None:
        if action is Reaction.STOP_TIMERS:
            self._stop_timers(transaction)
        elif action >= Reaction.START_A:
            self._start_timer(transaction, action, now)
        elif action <= Reaction.TELL_TRANSPORT_ERROR:
            self._tell(transaction, action)
        else:
            self._send(transaction, action, now)

    def _tell(self, transaction: _Transaction, action: Reaction) -> None:
        if transaction.is_quiet:
            return
        number = transaction.number
        if action is Reaction.TELL_RESPONSE:
            assert transaction.response is not None
            self._events.append(ResponseArrived(number, transaction.response, transaction.context))
        elif action is Reaction.TELL_TIMEOUT:
            what = self._timeout_text(transaction)
            self._events.append(TransactionFailed(number, Failure.TIMEOUT, what, transaction.context))
        else:
            what = transaction.lost or "cannot send"
            self._events.append(TransactionFailed(number, Failure.TRANSPORT, what, transaction.context))

    def _timeout_text(self, transaction: _Transaction) -> str:
        wait_s = self._values.timeout_s
        if transaction.is_client:
            assert transaction.request is not None
            return f"no answer to {transaction.request.method} over {transaction.hop} in {wait_s:g} s"
        return f"no ACK in {wait_s:g} s"

    def _send(self, transaction: _Transaction, action: Reaction, now: float) -> None:
        if action is Reaction.SEND_ACK:
            self._send_ack(transaction, now)
        elif action is Reaction.SEND_PENDING_CANCEL:
            if transaction.pending_cancel is not None:
                self._send_cancel(transaction, now)
        elif action is Reaction.RETRANSMIT_REQUEST:
            self._transmit(transaction, now)
        elif action is Reaction.SEND_TRYING:
            assert transaction.request is not None
            delay_s = self._values.trying_s(transaction.request.method)
            transaction.data = build.make_trying(transaction.request, delay_s).encode()
            self._send_response(transaction, now)
        else:
            if action is Reaction.SEND_RESPONSE:
                assert transaction.response is not None
                transaction.data = transaction.response.encode()
            if transaction.data:
                self._send_response(transaction, now)

    def _transmit(self, transaction: _Transaction, now: float) -> None:
        assert transaction.hop is not None
        if not self.transport.send(transaction.hop, transaction.data, now):
            transaction.lost = f"cannot send to {transaction.hop}"
            self._input(transaction, Input.TRANSPORT_ERROR, now)

    def _send_response(self, transaction: _Transaction, now: float) -> None:
        assert transaction.source is not None
        hop = self.transport.response_hop(transaction.source, transaction.via)
        bound = self.transport.bind(hop, now)
        if bound is None or not self.transport.send(bound, transaction.data, now):
            transaction.lost = f"no way back to {transaction.source}"
            self._input(transaction, Input.TRANSPORT_ERROR, now)

    def _send_ack(self, transaction: _Transaction, now: float) -> None:
        assert transaction.hop is not None
        assert transaction.request is not None
        assert transaction.response is not None
        ack = build.make_ack(transaction.request, transaction.response)
        self.transport.send(transaction.hop, ack.encode(), now)

    def _send_cancel(self, transaction: _Transaction, now: float) -> None:
        assert transaction.hop is not None
        assert transaction.request is not None
        self._set(transaction, Timer.CANCELLED, now + self._values.timeout_s)
        cancel = build.make_cancel(transaction.request, transaction.pending_cancel or ())
        if self._make_room(cancel):
            ready = _Ready(cancel, cancel.encode(), transaction.hop)
            self._start_client(next(self._numbers), ready, None, now, is_quiet=True)

    def _start_client(self, number: int, ready: _Ready, context: object, now: float, *, is_quiet: bool = False) -> None:
        request, hop = ready.request, ready.hop
        is_invite = request.method == "INVITE"
        table = machines.INVITE_CLIENT if is_invite else machines.OTHER_CLIENT
        key = client_key(request.via.branch, request.method)
        transaction = _Transaction(
            number, key, table, request, request.via, self.transport.is_reliable(hop), hop, data=ready.data
        )
        transaction.is_quiet, transaction.context, transaction.datagram_hop = is_quiet, context, ready.datagram_hop
        self._transactions[number] = self._by_key[key] = transaction
        if isinstance(hop, FlowHop):
            self._on_flow.setdefault(hop.flow, set()).add(number)
        self._act(transaction, Reaction.START_A if is_invite else Reaction.START_E, now)
        self._set(transaction, Timer.B if is_invite else Timer.F, now + self._values.timeout_s)
        self._transmit(transaction, now)

    def _new_branch(self) -> str:
        return f"{MAGIC_COOKIE}{self._rng.getrandbits(64):016x}"

    def _ready(self, request: Request, hop: BoundHop, branch: str, now: float, *, may_connect: bool = True) -> _Ready:
        """A request as it goes out, and by what."""
        sent = request.with_new_via(self.transport.via(hop, branch))
        data = sent.encode()
        # 18.1.1: "If a request is [...] larger than 1300 bytes and the path MTU is unknown, the request MUST be sent
        # using an RFC 2914 congestion controlled transport protocol, such as TCP."
        if isinstance(hop, UdpHop) and len(data) > DATAGRAM_REQUEST_BYTES:
            uri = request.routes[0].uri if request.routes else request.uri
            switched = self.transport.switched(hop, uri, now, may_connect=may_connect)
            if switched is not None:
                # "If this causes a change in the transport protocol from the one indicated in the top Via, the value
                # in the top Via MUST be changed."
                sent = sent.with_top_via(self.transport.via(switched, sent.via.branch))
                return _Ready(sent, sent.encode(), switched, hop)
        return _Ready(sent, data, hop)

    def _is_to_be_sent_in_datagrams(self, transaction: _Transaction, now: float) -> bool:
        # An answer may have come over a connection that the other end has made to us since.
        hop = None if transaction.response is not None else transaction.datagram_hop
        return hop is not None and self.transport.is_deaf(hop.remote, now)

    def _send_in_datagrams(self, transaction: _Transaction, now: float) -> None:
        # 18.1.1: if the attempt to connect "results in a TCP reset, the element SHOULD retry the request, using UDP".
        hop, request = transaction.datagram_hop, transaction.request
        assert hop is not None
        assert request is not None, "nothing has been answered, as there was no connection"
        transaction.hop, transaction.datagram_hop, transaction.is_reliable = hop, None, False
        transaction.via = self.transport.via(hop, transaction.via.branch)
        transaction.request = request.with_top_via(transaction.via)
        transaction.data = transaction.request.encode()
        is_invite = transaction.table is machines.INVITE_CLIENT
        self._act(transaction, Reaction.START_A if is_invite else Reaction.START_E, now)
        self._transmit(transaction, now)

    # Timers

    def _start_timer(self, transaction: _Transaction, action: Reaction, now: float) -> None:
        if action in _RETRANSMITTING:
            if not transaction.is_reliable:
                self._retransmit_later(transaction, _RETRANSMITTING[action], now)
        elif action is Reaction.START_E_SLOW:
            # 17.1.2.2: in Proceeding, timer E "MUST be reset with a value of T2 seconds".
            self._set(transaction, Timer.E, now + self._values.t2_s)
        else:
            timer, delay_s = self._final_timer(transaction, action)
            if delay_s == 0.0:
                self._input(transaction, Input(timer + 100), now)
                return
            at = now + delay_s
            self._set(transaction, timer, _quiet_end(at) if timer in _QUIET_ENDS else at)
            self._slim(transaction)
            if timer in _ABSORBING:
                self._absorbing[transaction.number] = None

    def _slim(self, transaction: _Transaction) -> None:
        """Let go what a finished transaction needs no more: most of its life it only absorbs retransmissions."""
        transaction.response = None
        if transaction.is_client:
            transaction.data = b""
        # 17.1.1.3: each retransmitted 3xx-6xx gets an ACK, which is made from the INVITE.
        if transaction.table is not machines.INVITE_CLIENT:
            transaction.request = None

    def _retransmit_later(self, transaction: _Transaction, timer: Timer, now: float) -> None:
        """Timers A, E and G double; all but A stop growing at T2."""
        values = self._values
        doubled = 2 * transaction.interval_s or values.t1_s
        transaction.interval_s = doubled if timer is Timer.A else min(doubled, values.t2_s)
        self._set(transaction, timer, now + transaction.interval_s)

    def _final_timer(self, transaction: _Transaction, action: Reaction) -> tuple[Timer, float]:
        """How long a state lasts; zero on transports that repeat nothing (17.1.1.2 and siblings)."""
        values = self._values
        unreliable = 0.0 if transaction.is_reliable else 1.0
        match action:
            case Reaction.START_D:
                return Timer.D, unreliable * values.timeout_s
            case Reaction.START_I:
                return Timer.I, unreliable * values.t4_s
            case Reaction.START_J:
                return Timer.J, unreliable * values.timeout_s
            case Reaction.START_K:
                return Timer.K, unreliable * values.t4_s
            case Reaction.START_L:
                return Timer.L, values.timeout_s
            case Reaction.START_M:
                return Timer.M, values.timeout_s
            case Reaction.START_H:
                return Timer.H, values.timeout_s
        raise AssertionError(f"{action!r} starts no timer")

    def _set(self, transaction: _Transaction, timer: Timer, at: float) -> None:
        transaction.timers.add(timer)
        self._timers.set((transaction.number, timer), at, REASONS[timer])

    def _stop_timers(self, transaction: _Transaction) -> None:
        for timer in transaction.timers:
            self._timers.cancel((transaction.number, timer))
        transaction.timers.clear()
        transaction.interval_s = 0.0

    # Bounds

    def _make_room(self, request: Request) -> bool:
        """True if one more transaction may start; one that only absorbs retransmissions may have to go."""
        if len(self._transactions) < self._max:
            return True
        if not self._absorbing:
            is_reserved = len(self._transactions) < self._max + URGENT_TRANSACTIONS
            return is_reserved and is_urgent(request, self._urgent_numbers)
        oldest = self._transactions[next(iter(self._absorbing))]
        oldest.state = State.TERMINATED
        self._end(oldest)
        return True

    def _end(self, transaction: _Transaction) -> None:
        del self._transactions[transaction.number]
        self._stop_timers(transaction)
        if self._by_key.get(transaction.key) is transaction:
            del self._by_key[transaction.key]
        if self._invites.get(transaction.invite_key) is transaction:
            del self._invites[transaction.invite_key]
        self._absorbing.pop(transaction.number, None)
        if isinstance(transaction.hop, FlowHop):
            self._on_flow.get(transaction.hop.flow, set()).discard(transaction.number)
        if not transaction.is_quiet:
            self._events.append(TransactionEnded(transaction.number, transaction.context))


def _classify(response: Response, first: Input) -> Input:
    """1xx, 2xx or another final one: `first` or one of its two successors."""
    return Input(first + (0 if response.status < 200 else 1 if response.status < 300 else 2))


def _quiet_end(at: float) -> float:
    """The next of the moments at which such transactions end."""
    return math.ceil(at / QUIET_ENDS_S) * QUIET_ENDS_S
