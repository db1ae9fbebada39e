"""How often one may be wrong about a password: an allowance for each account and each source that refills."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from p2psip.base.address import source_key

KEYS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many failures at once, and one more every so many seconds."""

    burst: int
    refill_s: float


OF_ACCOUNT = Allowance(burst=10, refill_s=30.0)
OF_SOURCE = Allowance(burst=30, refill_s=10.0)


class Attempts:
    """The failures of many keys, in bounded memory; the key that was quiet the longest is forgotten first."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        # When the bucket would be full again: one number says how full it is at any time. It is in whole milliseconds,
        # so that an allowance is what it says at any reading of the clock.
        self._full_at_ms: OrderedDict[str, int] = OrderedDict()
        self._refill_ms = round(allowance.refill_s * 1000)

    def wait_s(self, key: str, now: float) -> float:
        """How long until this key may try again; 0 if it may now."""
        now_ms = _ms(now)
        debt_ms = self._full_at_ms.get(key, now_ms) - now_ms
        return max(0, debt_ms - (self._allowance.burst - 1) * self._refill_ms) / 1000

    def charge(self, key: str, now: float) -> None:
        """One attempt, counted before its outcome is known, so that many at once gain nothing."""
        now_ms = _ms(now)
        self._full_at_ms[key] = max(self._full_at_ms.get(key, now_ms), now_ms) + self._refill_ms
        self._full_at_ms.move_to_end(key)
        if len(self._full_at_ms) > KEYS_MAX:
            self._full_at_ms.popitem(last=False)

    def refund(self, key: str) -> None:
        """The attempt was right."""
        if key in self._full_at_ms:
            self._full_at_ms[key] -= self._refill_ms


class Guard:
    """The allowances of accounts and sources together."""

    def __init__(self) -> None:
        self._accounts = Attempts(OF_ACCOUNT)
        self._sources = Attempts(OF_SOURCE)

    def wait_s(self, account: str, source: str, now: float) -> int:
        """Whole seconds until this account may be tried from this source; 0 if now."""
        return math.ceil(max(self._accounts.wait_s(account, now), self._sources.wait_s(source_key(source), now)))

    def charge(self, account: str, source: str, now: float) -> None:
        """An attempt begins."""
        self._accounts.charge(account, now)
        self._sources.charge(source_key(source), now)

    def refund(self, account: str, source: str) -> None:
        """It was the right password."""
        self._accounts.refund(account)
        self._sources.refund(source_key(source))


def _ms(now: float) -> int:
    return round(now * 1000)
