"""Which connections with phones have a call, and which calls are over: from the 2xx to an INVITE to a BYE (RFC 3261
sections 12 and 15).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

from p2psip.sip.transports.hops import FlowHop, Hop

CallKey: TypeAlias = tuple[str, frozenset[str]]
"""Call-ID, and the tags of both ends."""


def call_key(call_id: str, *tags: str) -> CallKey:
    """A call, whichever of its ends says so."""
    return call_id, frozenset(tags)


class Goodbyes:
    """The calls that somebody has said goodbye to, for as long as what they began with may come once more.

    13.3.1.4: a 2xx is repeated until its ACK is there, for 64*T1; one that a BYE has overtaken begins nothing.
    """

    def __init__(self, kept_s: float, kept_max: int) -> None:
        """Of more the eldest is forgotten."""
        self._kept_s = kept_s
        self._kept_max = kept_max
        self._until: OrderedDict[CallKey, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def note(self, key: CallKey, now: float) -> None:
        """Somebody has said it now."""
        self._until[key] = now + self._kept_s
        self._until.move_to_end(key)
        while len(self._until) > self._kept_max or next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def has(self, key: CallKey, now: float) -> bool:
        """True if that call is over, and may seem to begin."""
        return self._until.get(key, now) > now


class Calls:
    """Of a proxy that keeps nothing else of a dialog: it is known by its Call-ID, the eldest is forgotten first."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._flows: OrderedDict[str, frozenset[int]] = OrderedDict()
        self._calls_on: Counter[int] = Counter()

    def is_on(self, flow: int) -> bool:
        """True if a call goes over this connection, or did when its other end was lost without a word."""
        return flow in self._calls_on

    def begin(self, call_id: str, ways: Iterable[Hop | None]) -> None:
        """An INVITE was answered, or an UPDATE in the call, that came and went by these."""
        before = self._flows.get(call_id, frozenset())
        self.end(call_id)
        flows = before | {way.flow for way in ways if isinstance(way, FlowHop)}
        if flows:
            self._flows[call_id] = flows
            self._calls_on.update(flows)
        if len(self._flows) > self._calls_max:
            self.end(next(iter(self._flows)))

    def end(self, call_id: str) -> None:
        """Somebody has said goodbye."""
        for flow in self._flows.pop(call_id, ()):
            self._calls_on[flow] -= 1
            if not self._calls_on[flow]:
                del self._calls_on[flow]
