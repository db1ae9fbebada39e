"""Records of DNS, from the system's resolver or from one server (dnspython)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from dns.rdata import Rdata
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from p2psip.base.address import Address
from p2psip.base.errors import RequestFailed
from p2psip.sip.entities.domains.dns_answers import RECORDS_MAX, FindRecords, Naptr, Records, Srv
from p2psip.sip.entities.domains.locations import ANSWER_S

CACHED_MAX = 1000
"""Answers that are remembered, each as long as DNS says."""


def resolver_of(server: Address | None) -> dns.asyncresolver.Resolver:
    """The system's resolver, or one that asks this server. Raises RequestFailed."""
    if server is None:
        try:
            return dns.asyncresolver.Resolver()
        except dns.exception.DNSException as error:
            raise RequestFailed(f"this machine has no DNS: {error}") from None
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [server.host]
    resolver.port = server.port
    return resolver


class DnsRecords:
    """Finds records for a core that asks for them. Aliases (CNAME) are followed by the library, so many and no more."""

    def __init__(self, server: Address | None) -> None:
        self._server = server
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def find(self, question: FindRecords) -> Records:
        """The answer, whatever becomes of the question."""
        try:
            resolver = self._ready()
            answer = await resolver.resolve(
                question.name, question.type, lifetime=ANSWER_S, search=False, raise_on_no_answer=False
            )
        except dns.resolver.NXDOMAIN:
            return Records()
        except dns.exception.Timeout:
            return Records(problem=f"no answer in {ANSWER_S:g} s")
        except (dns.exception.DNSException, RequestFailed, ValueError, OSError) as error:
            return Records(problem=words(error))
        return Records(tuple(_read(answer.rrset or ()))[:RECORDS_MAX])

    def _ready(self) -> dns.asyncresolver.Resolver:
        """Made when it is needed: a peer without a network begins without DNS, too."""
        if self._resolver is None:
            self._resolver = resolver_of(self._server)
            self._resolver.cache = dns.resolver.LRUCache(CACHED_MAX)
        return self._resolver


def words(error: Exception) -> str:
    """What a library says is wrong, in one line."""
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _read(records: Iterable[Rdata]) -> Iterator[Naptr | Srv | str]:
    for record in records:
        match record:
            case A() | AAAA():
                yield record.address
            case SRV():
                yield Srv(record.priority, record.weight, record.port, _name(record.target))
            case NAPTR():
                flags, service, regexp = (_text(one) for one in (record.flags, record.service, record.regexp))
                yield Naptr(record.order, record.preference, flags, service, regexp, _name(record.replacement))


def _name(name: dns.name.Name) -> str:
    """Without its last dot: the root, which stands for nothing, is empty."""
    return name.to_text().rstrip(".")


def _text(data: bytes) -> str:
    """A character string of DNS, for people as well: what does not print is escaped."""
    return "".join(chr(one) if 32 <= one < 127 else f"\\{one:03d}" for one in data)
