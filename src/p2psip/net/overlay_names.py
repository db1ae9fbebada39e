"""Where an overlay is by its name in DNS: `_reload._tcp.NAME` (RFC 2782), for links over TLS and DTLS alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Final

from p2psip.base.address import Address
from p2psip.reload.paths.values import FoundByName
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records

SERVICE: Final = "_reload._tcp"
TARGETS_MAX: Final = 8
ADDRESSES_MAX: Final = 16


async def find_overlay(find: Callable[[FindRecords], Awaitable[Records]], name: str) -> FoundByName:
    """What DNS says: the addresses of the servers with the lowest priority first, or why there are none."""
    asked = FindRecords(f"{SERVICE}.{name}", "SRV")
    answer = await find(asked)
    # RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
    servers = sorted(
        (one for one in answer.srvs if one.target and one.port), key=lambda one: (one.priority, -one.weight)
    )
    if not servers:
        return FoundByName((), answer.problem or f"there is no {asked}")
    found: list[Address] = []
    for server in servers[:TARGETS_MAX]:
        for kind in ("A", "AAAA"):
            records = await find(FindRecords(server.target, kind))
            found += [Address(host, server.port) for host in records.addresses if _is_somewhere(host)]
    named = tuple(dict.fromkeys(found))[:ADDRESSES_MAX]
    return FoundByName(named, "" if named else f"{asked} names no server that has an address")


def _is_somewhere(host: str) -> bool:
    """False for what no server can have."""
    ip = ipaddress.ip_address(host)
    return not (ip.is_unspecified or ip.is_multicast)
