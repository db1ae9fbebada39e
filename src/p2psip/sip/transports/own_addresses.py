"""Addresses as they stand in URIs and Vias, and which of them are our own."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from p2psip.base.address import without_zone

HEARD_AT_MAX = 256
"""Whoever is on this machine may speak to any address that leads to it, and all of 127.0.0.0/8 does."""

WILDCARDS = frozenset({"0.0.0.0", "::"})

_ipv4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


@lru_cache(maxsize=1024)
def as_numeric(host: str) -> str | None:
    """The canonical numeric address that `host` of a URI or Via is, brackets taken off; None for a name."""
    if host.startswith("["):
        host = host[1:-1]
    elif _ipv4.fullmatch(host) is None and ":" not in host:
        return None
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def as_host(numeric: str) -> str:
    """A numeric address as it stands in a URI or Via, whose grammar has no zones (RFC 3261 section 25.1)."""
    return f"[{without_zone(numeric)}]" if ":" in numeric else numeric


class OwnAddresses:
    """The numeric addresses, without zones, by which phones know this machine.

    Those that it has now, and those at which it was spoken to: which the phone uses, the socket alone knows.
    """

    def __init__(self, present: Iterable[str] = ()) -> None:
        self.changes = 0
        """How often they have become others."""
        self.use(present)

    def use(self, present: Iterable[str]) -> None:
        """The machine has these now, the best first; what was before is forgotten."""
        self._present = tuple(dict.fromkeys(map(without_zone, present)))
        self._heard_at: dict[str, None] = {}
        self.changes += 1

    def hear(self, host: str) -> None:
        """Something came in at this address of ours."""
        host = without_zone(host)
        if host not in self:
            self._heard_at[host] = None
            self.changes += 1
            if len(self._heard_at) > HEARD_AT_MAX:
                del self._heard_at[next(iter(self._heard_at))]

    def __contains__(self, host: object) -> bool:
        return host in self._present or host in self._heard_at

    def best(self, like: str) -> str | None:
        """The best of the same family as `like`; None if there is none."""
        return next((host for host in self._present if (":" in host) == (":" in like)), None)
