"""Which connections with phones have a call: from the 2xx to an INVITE to a BYE (RFC 3261 section 12, 15)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

from p2psip.sip.transports.hops import FlowHop, Hop


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
        """An INVITE was answered, that came and went by these."""
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
