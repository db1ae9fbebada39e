"""Guessing passwords is slow, and only for who guesses (RFC 3261 section 26.3.2.4, RFC 7616 section 5.8).

Theory of operation. What counts is wrong answers to challenges that went to the address they come back from, so nobody
can be made guilty by datagrams with his address on them. They count for one user at one address: neither the same user
elsewhere nor others behind the same address have to do with it. Who has used up the allowance is not refused, but
waits for a turn before its password is looked at, so that the right one gets in even then; where more wait than will
have their turn in time, the last one is refused. A phone that has proved itself is known by its socket, and has an
allowance of its own: whatever others do behind its address, it never waits for them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from p2psip.base.address import source_key
from p2psip.base.allowance import Attempts
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.transports.hops import BoundHop, Source

Key: TypeAlias = tuple[str, str | BoundHop]


class LockOut:
    """Who has to wait before its password is looked at."""

    def __init__(self, limits: ServerLimits) -> None:
        self._attempts: Attempts[Key] = Attempts(limits.wrong_passwords, limits.phones)
        self._proven: OrderedDict[Key, None] = OrderedDict()
        self._proven_max = limits.phones

    def key(self, user: str, source: Source) -> Key:
        """What the attempts of `source` to be `user` count for."""
        own = (user, source.hop)
        return own if own in self._proven else (user, source_key(source.remote.host))

    def wait_s(self, key: Key, now: float) -> float:
        """How long an attempt has to wait; 0 if its password can be looked at now."""
        return self._attempts.wait_s(key, now)

    def charge(self, key: Key, now: float) -> None:
        """An attempt was wrong, or takes a turn."""
        self._attempts.charge(key, now)

    def refund(self, key: Key, now: float) -> None:
        """The attempt that took a turn was not wrong."""
        self._attempts.refund(key, now)

    def note_right(self, user: str, source: Source) -> None:
        """The phone at this socket knows the password."""
        self._proven[user, source.hop] = None
        self._proven.move_to_end((user, source.hop))
        if len(self._proven) > self._proven_max:
            self._proven.popitem(last=False)
