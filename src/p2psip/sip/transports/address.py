"""Addresses as they stand in URIs and Vias."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

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
    """A numeric address as it stands in a URI or Via."""
    return f"[{numeric}]" if ":" in numeric else numeric
