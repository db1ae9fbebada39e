"""Whether the calls of this peer's phones still have another end (docs/decisions/when-the-other-end-dies.md).

Theory of operation. A phone that talks with somebody whose peer has died is told by nobody. So the peer beside it asks
the other phone now and then, in the dialog's name and by the dialog's route, with an OPTIONS, to which a phone that
does not know the call says 481 (RFC 3261 section 12.2.2). It is asked soon where a connection of the call was lost, and
after a restart of this peer, which keeps its calls. Where the other phone does not know the call, or has not been
reached for long, the own phone is sent the BYE that the other one cannot send any more. Each peer does so for its own
phones alone.

A user agent inside the server's process, as the state agent is: what it sends goes the way of any request.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.sip.entities.calls import CallKey, call_key
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.kept_calls import KeptCall, KeptEnd
from p2psip.sip.message.build import make_request
from p2psip.sip.message.errors import BadMessage, readable
from p2psip.sip.message.headers import NameAddr, Reason
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transactions.events import ResponseArrived, TransactionFailed
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Datagram, FromAgent
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import FlowHop, Hop, UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener, TransportLayer

ASKED_S = 150.0
"""How often the other end is asked."""

AGAIN_S = 20.0
"""How soon it is asked again that was not reached."""

LOST_S = 180.0
"""Who was not reached for so long does not come back: longer than a small computer takes to boot."""

SOON_S = 2.0
"""How soon it is asked after a connection was lost, or this peer was started anew."""

KEEP_AFTER_S = 10.0
"""How long after a call has begun or ended the calls are to be written down: most are shorter, and disks wear out."""

GUARDED_MAX = 4096
"""Calls; the eldest is forgotten first."""

CONTACT_MAX = 1024
WORDS_MAX = 4096
"""Characters of a Contact, and of all that is kept of a call beside: one of which more would be is not looked after."""

CSEQ_MAX = 2**31 - 1
"""8.1.1.5: "MUST be less than 2**31"."""

_SERVER = Address("127.0.0.1", 0)

_MISSED = frozenset({408, 430, 480, 503, 504})
"""What those answer, with a Reason, who have not reached the phone. Whatever else comes, there is somebody."""

UNSEEN_MAX = 10_000
"""So many requests an end may have sent after its call was written down: a goodbye in its name has a higher number, and
"it is possible for the CSeq sequence number to be higher than the remote sequence number by more than one" (12.2.2)."""

EARLY_MAX = 256
"""Calls that ring, and of which an end has moved meanwhile; the eldest is forgotten first."""

TARGET_REFRESHES = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"})
"""What says anew where an end of a dialog is (RFC 3261 section 6, RFC 3311 section 5.1, RFC 6665 section B.12)."""


NAMING_ANEW = frozenset({"INVITE", "UPDATE"})
"""Those upon which phones show who is there: RFC 4916 has a new From in an UPDATE, or else in a re-INVITE."""


@dataclass(frozen=True, slots=True)
class CallUp(Effect):
    """An INVITE, or in a call what else says where its ends are, was answered with a 2xx: both in the overlay's terms.

    `here` says of the caller and of the callee whether it is a phone of this peer, `ways` by what both are reached.
    """

    request: Request
    response: Response
    here: tuple[bool, bool]
    ways: tuple[Hop | None, Hop | None]


@dataclass(frozen=True, slots=True)
class CallsToKeep(Effect):
    """The calls of this peer's phones have changed: what the driver should remember for the next start."""


@dataclass(slots=True)
class _End:
    """One end of a call, in the overlay's terms."""

    name: NameAddr
    contact: SipUri
    routes: tuple[NameAddr, ...]
    is_here: bool
    cseq: int = 0
    """The greatest sequence number that has come from there."""
    refreshed: int = -1
    """That of the last request from there that has said where both are."""
    missed_since: float | None = None


@dataclass(slots=True, eq=False)
class _Call:
    key: CallKey
    ends: tuple[_End, _End]
    flows: frozenset[int] = frozenset()

    @property
    def contacts(self) -> tuple[SipUri, ...]:
        """Where its ends are."""
        return tuple(end.contact for end in self.ends)

    def end_of(self, name: NameAddr) -> _End:
        return self.ends[0] if self.ends[0].name.tag == name.tag else self.ends[1]

    def other(self, end: _End) -> _End:
        return self.ends[1] if end is self.ends[0] else self.ends[0]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whose answer an OPTIONS waits for."""

    call: _Call
    end: _End


class CallGuard:
    """Of one server."""

    name = "calls"

    def __init__(self, config: ServerConfig, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._layer = TransactionLayer(
            TransportLayer((Listener("UDP", LOCAL_ADDRESS),), queue=queue),
            rng,
            config.timers,
            config.limits.transactions,
            queue=queue,
        )
        self._calls: OrderedDict[CallKey, _Call] = OrderedDict()
        self._early: OrderedDict[CallKey, dict[str, SipUri | None]] = OrderedDict()
        """By its tag, where each end of a call is that rings, if an UPDATE has said that (RFC 3311 section 5.1)."""
        self._on_flow: dict[int, set[CallKey]] = {}
        self._timers: Timers[CallKey | None] = Timers(queue)
        """When the ends of a call are asked; None: when the calls are to be kept."""
        self._kept: dict[CallKey, tuple[SipUri, ...]] = {}
        """Those that were to be kept last, and where their ends were."""
        self._effects: list[Effect] = []

    def __len__(self) -> int:
        return len(self._calls)

    # What becomes of calls

    def begin(self, up: CallUp, now: float) -> None:
        """A call has been answered, or says anew where its ends are."""
        request, response = up.request, up.response
        # What a response says of the call is its sender's word.
        key = request.call_id, frozenset({request.from_.tag, response.to.tag})
        caller_at, callee_at = _contact(request), _contact(response)
        call = self._calls.get(key)
        if call is not None:
            asker = call.end_of(request.from_)
            if request.cseq.number <= asker.refreshed:
                # A 2xx that is repeated (13.3.1.4), or has come by another way: both may have moved since.
                return
            asker.refreshed = request.cseq.number
            # RFC 4916: who it is may have changed since.
            asker.name = request.from_
            for name, contact in ((request.from_, caller_at), (response.to, callee_at)):
                end = call.end_of(name)
                end.contact = contact or end.contact
            self._use(call, up.ways)
            self._changed(now)
            return
        if request.method == "UPDATE" and any(up.here):
            self._early[key] = {request.from_.tag: caller_at, response.to.tag: callee_at}
            if len(self._early) > EARLY_MAX:
                self._early.popitem(last=False)
        # What the caller has said in its INVITE may be over by now; what the callee says here is the latest.
        caller_at = self._early.get(key, {}).get(request.from_.tag) or caller_at
        if request.to.tag or not any(up.here) or caller_at is None or callee_at is None:
            # It rings, or it was forgotten, or has begun before this peer did.
            return
        self._early.pop(key, None)
        # 12.1.1, 12.1.2: the route set of the callee is in the request's order, that of the caller in reverse order.
        routes = readable(lambda: (request.record_routes, response.record_routes[::-1]), None)
        said = () if routes is None else (key[0], request.from_, response.to, *routes[0], *routes[1])
        if routes is None or sum(len(str(word)) for word in said) > WORDS_MAX:
            return
        number = request.cseq.number
        caller = _End(request.from_, caller_at, routes[0], up.here[0], number, number)
        callee = _End(response.to, callee_at, routes[1], up.here[1])
        call = _Call(key, (caller, callee))
        self._enter(call, now + ASKED_S, now)
        self._use(call, up.ways)

    def note(self, request: Request, now: float) -> None:
        """A request within a dialog has come: with a BYE its call is over."""
        key = _key_of(request)
        call = self._calls.get(key)
        if call is None:
            return
        if request.method == "BYE":
            self._forget(call, now)
            return
        sender = call.end_of(request.from_)
        sender.cseq = max(sender.cseq, request.cseq.number)

    def known_as(self, request: Request) -> NameAddr | None:
        """As whom the end of a call is known that sends this within it; None if the call is not."""
        call = self._calls.get(_key_of(request)) if request.method in NAMING_ANEW and request.to.tag else None
        return None if call is None else call.end_of(request.from_).name

    def flow_down(self, flow: int, now: float) -> None:
        """A connection was lost by which one end of some calls was reached."""
        for key in self._on_flow.get(flow, ()):
            self._timers.set(key, now + SOON_S, "a connection of a call was lost")

    # Over a restart

    def snapshot(self) -> list[KeptCall]:
        """All calls."""
        return [_save(call) for call in self._calls.values()]

    def restore(self, kept: Iterable[KeptCall], now: float) -> None:
        """Take up the calls of before a restart: what has become of them meanwhile is asked."""
        for one in kept:
            try:
                call = _load(one)
            except BadMessage:
                continue
            self._enter(call, now + AGAIN_S, now)

    # A core

    def handle_message(self, data: bytes, now: float) -> None:
        """The server delivers a SIP message."""
        self._layer.handle(Datagram(LOCAL_ADDRESS, _SERVER, data), now)
        self._run(now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._layer.handle_timeout(now)
        for key in self._timers.pop_due(now):
            if key is not None:
                self._ask(self._calls[key], now)
            elif self._kept != (now_kept := {key: call.contacts for key, call in self._calls.items()}):
                self._kept = now_kept
                self._effects.append(CallsToKeep())
        self._run(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._layer.next_deadline(), self._timers.next_deadline()))

    def drain(self) -> list[Effect]:
        """What the driver shall do, since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def said(self) -> list[FromAgent]:
        """What it has to say to the server, in order."""
        return [FromAgent(self.name, sent.data) for sent in self._layer.drain() if isinstance(sent, SendUdp)]

    # Inside

    def _enter(self, call: _Call, ask_at: float, now: float) -> None:
        self._calls[call.key] = call
        self._timers.set(call.key, ask_at, "is there still another end of a call?")
        if len(self._calls) > GUARDED_MAX:
            self._forget(next(iter(self._calls.values())), now)
        self._changed(now)

    def _use(self, call: _Call, ways: Iterable[Hop | None]) -> None:
        """By these both ends are reached from now on."""
        for flow in call.flows:
            self._on_flow[flow].discard(call.key)
            if not self._on_flow[flow]:
                del self._on_flow[flow]
        call.flows = frozenset(way.flow for way in ways if isinstance(way, FlowHop))
        for flow in call.flows:
            self._on_flow.setdefault(flow, set()).add(call.key)

    def _changed(self, now: float) -> None:
        if None not in self._timers:
            self._timers.set(None, now + KEEP_AFTER_S, "calls to be kept over a restart")

    def _forget(self, call: _Call, now: float) -> None:
        if self._calls.pop(call.key, None) is None:
            return
        self._timers.cancel(call.key)
        self._use(call, ())
        self._changed(now)

    def _ask(self, call: _Call, now: float) -> None:
        """Ask each end whose other end is a phone of this peer."""
        for end in call.ends:
            if call.other(end).is_here:
                # 12.2.2: a request with a lower number than the last "is out of order and MUST be rejected with a 500",
                # and changes nothing: 0 is lower than all that the phone in whose name this goes has sent or will send.
                self._request(_request("OPTIONS", call, to=end, cseq=0, routes=end.routes), _Asked(call, end), now)
        self._timers.set(call.key, now + ASKED_S, "is there still another end of a call?")

    def _request(self, request: Request, context: _Asked | None, now: float) -> None:
        self._layer.request(request, UdpHop(_SERVER), context, now)

    def _run(self, now: float) -> None:
        while events := self._layer.events():
            for event in events:
                match event:
                    case ResponseArrived(_, response, _Asked(call, end)) if not response.is_provisional:
                        self._answered(call, end, response, now)
                    case TransactionFailed(_, _, _, _Asked(call, end)):
                        self._missed(call, end, now)

    def _answered(self, call: _Call, end: _End, response: Response, now: float) -> None:
        if response.status == 481:
            self._end(call, end, 481, "the other phone does not know this call any more", now)
        elif response.status in _MISSED and "reason" in response.fields:
            # A peer says why it has not reached whom it was to reach; a phone that wants no requests says no reason.
            self._missed(call, end, now)
        else:
            end.missed_since = None

    def _missed(self, call: _Call, end: _End, now: float) -> None:
        if call.key not in self._calls:
            return
        if end.missed_since is None:
            end.missed_since = now
        missed_s = now - end.missed_since
        if missed_s >= LOST_S:
            self._end(call, end, 408, f"the other end has not been reached for {missed_s:.0f} s", now)
        else:
            self._timers.set(call.key, now + AGAIN_S, "the other end of a call was not reached")

    def _end(self, call: _Call, lost: _End, cause: int, why: str, now: float) -> None:
        """Say to the own phone what the other one cannot say any more."""
        if call.key in self._calls:
            self._forget(call, now)
            phone = call.other(lost)
            reason = ("Reason", Reason("SIP", cause, why))
            cseq = min(lost.cseq + 1, CSEQ_MAX)
            self._request(_request("BYE", call, to=phone, cseq=cseq, extra=(reason,)), None, now)


def _request(
    method: str,
    call: _Call,
    *,
    to: _End,
    cseq: int,
    routes: tuple[NameAddr, ...] = (),
    extra: Iterable[tuple[str, object]] = (),
) -> Request:
    return make_request(
        method,
        to.contact.as_request_uri,
        from_=call.other(to).name,
        to=to.name,
        call_id=call.key[0],
        cseq=cseq,
        routes=routes,
        extra=extra,
    )


def _key_of(message: Request | Response) -> CallKey:
    return call_key(message.call_id, message.from_.tag, message.to.tag)


def _save(call: _Call) -> KeptCall:
    ends = [
        KeptEnd(_written(end.name), _written(end.contact), [*map(_written, end.routes)], end.is_here, end.cseq)
        for end in call.ends
    ]
    return KeptCall(_written(call.key[0]), (ends[0], ends[1]))


def _load(kept: KeptCall) -> _Call:
    """Raises BadMessage."""
    ends = [
        _End(
            NameAddr.parse(_read(end.name)),
            parse_sip_uri(_read(end.contact)),
            tuple(NameAddr.parse(_read(route)) for route in end.routes),
            end.is_here,
            end.cseq + UNSEEN_MAX,
        )
        for end in kept.ends
    ]
    return _Call((_read(kept.call_id), frozenset(end.name.tag for end in ends)), (ends[0], ends[1]))


def _written(value: object) -> bytes:
    return str(value).encode("utf-8", "surrogateescape")


def _read(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _contact(message: Request | Response) -> SipUri | None:
    """None as well where nobody can read it, or wants to keep it: there is nobody who could be asked."""
    uri = next((contact.uri for contact in readable(lambda: message.contacts, ())), None)
    return uri if isinstance(uri, SipUri) and len(str(uri)) <= CONTACT_MAX else None
