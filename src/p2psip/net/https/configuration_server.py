"""Where an overlay's configuration is (RFC 6940 section 11.2): a URL that one is given, or a server found by DNS SRV.

"If an optional URL for the configuration server was provided, the certificate MUST match the domain name from the URL
as described in [RFC2818]; otherwise, the certificate MUST match the overlay name". Who issued it is not asked at the
first fetch: the document is proven by the fingerprint of its trust anchor, whoever hands it out.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from p2psip.base.address import Address
from p2psip.base.errors import RequestFailed
from p2psip.base.srv_order import in_order
from p2psip.enrollment.protocol import WELL_KNOWN_PATH
from p2psip.net.dns_records import words

SERVICE = "_reload-config._tcp"
""" "the node MUST do a DNS SRV query using a Service name of "reload-config" and a protocol of TCP"."""

LOOKUP_MAX_S = 10.0
TARGETS_MAX = 8
ADDRESSES_MAX = 16

_FAMILIES = (dns.rdatatype.AAAA, dns.rdatatype.A)


@dataclass(frozen=True, slots=True)
class ConfigurationServer:
    """A server of an overlay's configuration, as DNS says."""

    address: Address
    overlay: str

    @property
    def url(self) -> str:
        """11.2: "form the URL by appending a path of "/.well-known/reload-config" to the overlay name"."""
        return f"https://{self.overlay}{WELL_KNOWN_PATH}"


async def find_servers(
    overlay: str, resolver: dns.asyncresolver.Resolver, rng: random.Random
) -> list[ConfigurationServer]:
    """The configuration servers of an overlay, the one to try first in front. Raises RequestFailed if there is none."""
    name = f"{SERVICE}.{overlay}"
    try:
        answer = await resolver.resolve(name, dns.rdatatype.SRV, lifetime=LOOKUP_MAX_S, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise RequestFailed(f"no configuration server: DNS has no SRV record {name}") from None
    except dns.exception.Timeout:
        raise RequestFailed(f"no configuration server: DNS does not answer in {LOOKUP_MAX_S:g} s") from None
    except dns.exception.DNSException as error:
        raise RequestFailed(f"no configuration server: DNS fails for {name} ({words(error)})") from None
    records = [record for record in answer if isinstance(record, SRV)]
    if len(records) == 1 and records[0].target == dns.name.root:
        raise RequestFailed(f"no configuration server: DNS says that {overlay} has none")
    found: list[ConfigurationServer] = []
    problems: list[str] = []
    for record in in_order(records, rng)[:TARGETS_MAX]:
        hosts = await _hosts(record.target.to_text(omit_final_dot=True), resolver, problems)
        found += [ConfigurationServer(Address(host, record.port), overlay) for host in hosts]
    if not found:
        why = f"are not known ({problems[0]})" if problems else "have no address"
        raise RequestFailed(f"no configuration server: the targets of {name} {why}")
    return found[:ADDRESSES_MAX]


async def _hosts(target: str, resolver: dns.asyncresolver.Resolver, problems: list[str]) -> list[str]:
    """The addresses of a server, by each family for itself: some name servers fail for AAAA alone (RFC 4074)."""
    each = await asyncio.gather(*(_of_family(target, family, resolver, problems) for family in _FAMILIES))
    return list(itertools.chain(*each))


async def _of_family(
    target: str, family: dns.rdatatype.RdataType, resolver: dns.asyncresolver.Resolver, problems: list[str]
) -> list[str]:
    try:
        answer = await resolver.resolve(target, family, lifetime=LOOKUP_MAX_S, search=False, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return []
    except dns.exception.DNSException as error:
        problems.append(words(error))
        return []
    return [record.address for record in answer.rrset or () if isinstance(record, A | AAAA)]
