"""Rate limits and lock-out for who guesses passwords and tokens, shared by all instances of an enrollment server.

An attempt is charged before its outcome is known, so that many at once gain nothing, and given back if it was right. It
is charged to three: the account from that address, the address, and the account from anywhere. What is kept of each is
one number, when its allowance is whole again, under a hash: no name that somebody made up is written down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.address import source_key
from p2psip.base.allowance import Allowance

WRONG_HERE = Allowance(burst=10, refill_s=30.0)
"""For one account from one address: neither others there nor the account's owner elsewhere are kept out by it."""

WRONG_OF_SOURCE = Allowance(burst=50, refill_s=30.0)
"""From one address, whatever the accounts: one password tried on everybody."""

WRONG_OF_ACCOUNT = Allowance(burst=100, refill_s=300.0)
"""For one account from everywhere: a guesser with many addresses locks it. Its peers and lines renew all the same, by
their keys."""


@dataclass(frozen=True, slots=True)
class Charged:
    """One of those that an attempt is charged to."""

    mark: bytes
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Guesser:
    """Who may be guessing: for which account ("" for tokens), from which address."""

    account: str
    source: str

    def charged(self) -> Sequence[Charged]:
        """In one order for everybody, so that two that lock them cannot wait for each other."""
        source = source_key(self.source)
        those = [
            Charged(_mark("here", self.account, source), WRONG_HERE),
            Charged(_mark("source", source), WRONG_OF_SOURCE),
        ]
        if self.account:
            those.append(Charged(_mark("account", self.account), WRONG_OF_ACCOUNT))
        return sorted(those, key=lambda each: each.mark)


def _mark(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode()).digest()


class GuessStore(Protocol):
    """The attempts that count; every call may raise StoreFailed."""

    def charge(self, guesser: Guesser, date: float) -> float:
        """Charge an attempt; or charge nothing, and return how many seconds are to be waited, if none is left."""
        ...

    def refund(self, guesser: Guesser, date: float) -> None:
        """The attempt was right."""
        ...
