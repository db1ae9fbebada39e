"""Certificates renew themselves: at two thirds of their lifetime, by their key, with patience.

A renewal keeps the key and so the Node-ID; the enrollment server needs no password for it (RFC 6940 section 11.3 leaves
authentication to it). Where it cannot be reached, or says no, it is asked again, and the log says what that means.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from p2psip.base.errors import P2psipError
from p2psip.base.wallclock import WallClock
from p2psip.reload.security.identity import CertifiedIdentity

CHECK_S = 300.0
"""How often the date is looked at: it jumps."""

RETRY_FIRST_S = 300.0
RETRY_MAX_S = 6 * 3600.0


class CertificateOwner(Protocol):
    """Whose certificates are to be kept valid."""

    def certificates(self) -> Mapping[str, CertifiedIdentity]:
        """The peer's own and those of its lines, by user name."""

    async def renew(self, user: str) -> None:
        """Get a new one and use it from now on. Raises P2psipError."""

    def date(self) -> float | None:
        """Seconds since 1970-01-01 UTC; None if nobody knows."""


class Log(Protocol):
    """Where it is written what became of a renewal."""

    def info(self, event: str, **facts: object) -> None:
        """It went as it should."""

    def warning(self, event: str, **facts: object) -> None:
        """Somebody should see it."""


@dataclass(slots=True)
class _Failing:
    """A renewal that has failed: when to try again, and how long to wait after that."""

    again_at: float
    pause_s: float


def renewal_date(identity: CertifiedIdentity) -> float:
    """Two thirds of the lifetime, and a little more that differs, so that not all come on the same day."""
    lifetime_s = identity.not_after - identity.not_before
    little = zlib.crc32(identity.node_id) / (1 << 32) / 24
    return identity.not_before + lifetime_s * (2 / 3 + little)


def date_of_renewals(wall: WallClock, ends: float, now: float) -> float | None:
    """By which date it is renewed: a trusted one, or one by which our own certificate has ended; None if by neither."""
    date = wall.date(now)
    return date if wall.is_trusted or date > ends else None


class Renewer:
    """Renews what is due, one after the other."""

    def __init__(self, of: CertificateOwner, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._of = of
        self._log = log
        self._clock = clock
        self._failing: dict[str, _Failing] = {}

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """For ever."""
        while True:
            await self.check()
            await sleep(CHECK_S)

    async def check(self) -> None:
        """Renew what is due now."""
        date = self._of.date()
        if date is None:
            return
        certificates = self._of.certificates()
        self._failing = {user: failing for user, failing in self._failing.items() if user in certificates}
        for user, identity in certificates.items():
            failing = self._failing.get(user)
            is_patient = failing is not None and self._clock() < failing.again_at
            if date >= renewal_date(identity) and not is_patient:
                await self._renew(user, identity, date)

    async def _renew(self, user: str, identity: CertifiedIdentity, date: float) -> None:
        try:
            await self._of.renew(user)
        except P2psipError as error:
            failing = self._failing.setdefault(user, _Failing(0.0, RETRY_FIRST_S))
            failing.again_at = self._clock() + failing.pause_s
            state = "others refuse it" if date >= identity.not_after else "it is valid until then"
            self._log.warning(
                "certificate not renewed",
                user=user,
                reason=str(error),
                until=day(identity.not_after),
                means=state,
                again_in_s=failing.pause_s,
            )
            failing.pause_s = min(RETRY_MAX_S, 2 * failing.pause_s)
        else:
            self._failing.pop(user, None)
            renewed = self._of.certificates().get(user)
            if renewed is not None and date >= renewal_date(renewed):
                # The clock here is ahead of the enrollment server's: its next one would be no longer good.
                self._failing[user] = _Failing(self._clock() + RETRY_MAX_S, RETRY_MAX_S)
            self._log.info("certificate renewed", user=user, until=day(renewed.not_after) if renewed else None)


def day(date: float) -> str:
    """A date for people."""
    return time.strftime("%Y-%m-%d", time.gmtime(date))
