"""From a URI to the servers of its domain (RFC 3263 section 4).

Theory of operation. The procedure is one generator: it yields the questions of a step, which DNS is asked together, is
sent their answers in the same order, and returns the places to try, in order, with what was learnt on the way in
words. Three steps at most: which transports (NAPTR, section 4.1), which hosts and ports (SRV, 4.2), which addresses.
A question that DNS has not answered is not one that it has answered with "none". It may have been about TLS: what comes
after it goes by TLS or not at all. Nor is a server then looked for by the domain's name alone.

What DNS says is a stranger's word: how many records are looked at, how many questions follow from them and how many
places there are is bounded, and no address is taken that the policy does not permit.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from p2psip.base.address import Address, as_domain
from p2psip.base.srv_order import in_order
from p2psip.sip.entities.domains.dns_answers import FindRecords, Naptr, Records
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import Hop, StreamHop, UdpHop
from p2psip.sip.transports.own_addresses import as_numeric

SERVICES_MAX = 4
"""Names of which SRV records are asked."""

SERVERS_MAX = 8
"""Hosts and ports that are looked at."""

PLACES_MAX = 8
"""Addresses that are tried."""

_Carrier: TypeAlias = Literal["UDP", "TCP", "TLS"]

_SERVICES: dict[str, _Carrier] = {"SIPS+D2T": "TLS", "SIP+D2T": "TCP", "SIP+D2U": "UDP"}
"""The NAPTR services of section 4.1 that we support, the preferred one first where DNS leaves it to us."""

_PREFIXES: dict[_Carrier, str] = {"TLS": "_sips._tcp", "TCP": "_sip._tcp", "UDP": "_sip._udp"}

_PORTS: dict[_Carrier, int] = {"TLS": 5061, "TCP": 5060, "UDP": 5060}

_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DomainServers:
    """The places to try; or, where there are none, why in words and what to answer. `said` is what was learnt."""

    hops: tuple[Hop, ...] = ()
    status: int = 404
    reason: str = ""
    said: tuple[str, ...] = ()


class Permits(NamedTuple):
    """What the procedure may use: why an address is refused ("" if it is not), and whether IPv6 is of use here."""

    refusal: Callable[[Address], str]
    has_ipv6: bool = False


Steps: TypeAlias = Generator[list[FindRecords], list[Records], DomainServers]


class _Service(NamedTuple):
    """A name with SRV records, of servers that speak this."""

    carrier: _Carrier
    name: str


class _Server(NamedTuple):
    """A server by name or numeric address."""

    carrier: _Carrier
    host: str
    port: int


@dataclass(slots=True)
class _Course:
    """What has been learnt so far."""

    said: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note(self, question: FindRecords, answer: Records) -> None:
        """One more question is answered, or not."""
        self.said.append(f"{question}: {answer}")
        if answer.problem:
            self.problems.append(f"{question}: {answer.problem}")

    def nothing(self, reason: str) -> DomainServers:
        """There is nowhere to go. Where DNS has not answered, somebody may be there all the same."""
        if self.problems:
            return DomainServers((), 480, f"DNS does not answer for {self.problems[0]}", tuple(self.said))
        return DomainServers((), 404, reason, tuple(self.said))


def locate(uri: SipUri, permits: Permits, rng: random.Random) -> Steps:
    """The servers for requests to this URI."""
    course = _Course()
    # Section 4: "we define TARGET as the value of the maddr parameter of the URI, if present, otherwise, the host
    # value of the hostport component of the URI."
    target = as_domain(uri.param("maddr") or uri.host)
    carrier = _asked_for(uri)
    if carrier is None:
        return course.nothing(f"nothing here speaks {uri.scheme} over {uri.transport}")
    if as_numeric(target) is None and not _NAME.fullmatch(target):
        return course.nothing(f"{target} is no name that DNS could have")
    # 4.1: "if no transport protocol is specified, but the TARGET is a numeric IP address, the client SHOULD use UDP for
    # a SIP URI, and TCP for a SIPS URI"; with an explicit port of a name the same. 4.2: and then no SRV is asked.
    default: _Carrier = carrier or ("TLS" if uri.scheme == "sips" else "UDP")
    servers = [_Server(default, target, uri.port or _PORTS[default])]
    if as_numeric(target) is None and uri.port is None:
        services = [_Service(carrier, f"{_PREFIXES[carrier]}.{target}")] if carrier else []
        if not services:
            services = yield from _services(target, uri.scheme, course)
        offered = yield from _servers(services, course, rng)
        if offered == []:
            # 4.2: "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name".
            offered = [_Server(one, target, _PORTS[one]) for one in _by_itself(default, services, course)]
        if not offered:
            return course.nothing(f"{target} says that it has no SIP")
        servers = offered
    hops = yield from _hops(servers, uri.host, permits, course)
    if isinstance(hops, str):
        return course.nothing(hops)
    return DomainServers(tuple(hops), said=tuple(course.said))


def _asked_for(uri: SipUri) -> _Carrier | Literal[""] | None:
    """What the URI says itself; "" if it leaves it open, None if we do not speak it."""
    is_secure = uri.scheme == "sips"
    match uri.transport:
        case None:
            return ""
        case "TLS":
            return "TLS"
        case "TCP":
            # 4.1: "a SIPS URI", over TCP: TLS.
            return "TLS" if is_secure else "TCP"
        case "UDP" if not is_secure:
            return "UDP"
    return None


def _services(target: str, scheme: str, course: _Course) -> Generator[list[FindRecords], list[Records], list[_Service]]:
    """Section 4.1: which transports the domain offers, in its own order."""
    question = FindRecords(target, "NAPTR")
    (answer,) = yield [question]
    course.note(question, answer)
    usable = [one for one in answer.naptrs if _is_usable(one, scheme)]
    # RFC 3403 8: "A client MUST process multiple NAPTR records in the order specified by the "order" field".
    usable.sort(key=lambda one: (one.order, one.preference))
    if usable:
        named = [_Service(_SERVICES[one.service.upper()], one.replacement.lower()) for one in usable]
        return list(dict.fromkeys(named))[:SERVICES_MAX]
    # "If no NAPTR records are found, the client constructs SRV queries for those transport protocols it supports".
    # "The client MAY use any transport protocol it desires which is supported by the server": the one that nobody on
    # the way reads comes first.
    carriers = [one for one in _PREFIXES if one == "TLS" or (scheme == "sip" and not answer.problem)]
    return [_Service(one, f"{_PREFIXES[one]}.{target}") for one in carriers]


def _by_itself(default: _Carrier, services: list[_Service], course: _Course) -> list[_Carrier]:
    """Over what the server is called that has the domain's own name, if anything: as the domain has it, where it has
    said by NAPTR what it has, and else as 4.1 has it.
    """
    carriers = [one.carrier for one in services]
    if default in carriers:
        return [default]
    return [] if course.problems else carriers[:1]


def _is_usable(record: Naptr, scheme: str) -> bool:
    """4.1: "a client resolving a SIPS URI MUST discard any services that do not contain "SIPS" as the protocol"; "a
    client resolving a SIP URI SHOULD retain records with "SIPS" as the protocol, if the client supports TLS."
    """
    carrier = _SERVICES.get(record.service.upper())
    if carrier is None or (scheme == "sips" and carrier != "TLS"):
        return False
    # "The resource record will contain an empty regular expression and a replacement value, which is the SRV record".
    return record.flags.lower() == "s" and not record.regexp and _NAME.fullmatch(record.replacement) is not None


def _servers(
    services: list[_Service], course: _Course, rng: random.Random
) -> Generator[list[FindRecords], list[Records], list[_Server] | None]:
    """Section 4.2: hosts and ports; None if the domain says of all its services that there are none, or DNS does not
    say whether there are.
    """
    questions = [FindRecords(one.name, "SRV") for one in services]
    answers = yield questions
    servers: list[_Server] = []
    has_none = True
    is_tls_unknown = False
    for service, question, answer in zip(services, questions, answers, strict=True):
        course.note(question, answer)
        has_none = has_none and not (answer.srvs or answer.problem)
        is_tls_unknown = is_tls_unknown or (service.carrier == "TLS" and bool(answer.problem))
        if is_tls_unknown and service.carrier != "TLS":
            continue
        # RFC 2782: "A Target of "." means that the service is decidedly not available at this domain."
        there = [one for one in in_order(answer.srvs, rng) if one.port and _NAME.fullmatch(one.target)]
        servers += [_Server(service.carrier, one.target.lower(), one.port) for one in there]
    return servers[:SERVERS_MAX] if servers or has_none else None


def _hops(
    servers: list[_Server], domain: str, permits: Permits, course: _Course
) -> Generator[list[FindRecords], list[Records], list[Hop] | str]:
    """The addresses of the servers, as places to try; why not, where there is none."""
    hosts = list(dict.fromkeys(one.host for one in servers if as_numeric(one.host) is None))
    questions = [FindRecords(host, "A") for host in hosts]
    if permits.has_ipv6:
        questions = [one for host in hosts for one in (FindRecords(host, "AAAA"), FindRecords(host, "A"))]
    answers = (yield questions) if questions else []
    addresses: dict[str, list[str]] = {}
    unanswered: set[str] = set()
    for question, answer in zip(questions, answers, strict=True):
        course.note(question, answer)
        unanswered |= {question.name} if answer.problem else set()
        addresses.setdefault(question.name, []).extend(
            one for text in answer.addresses if (one := as_numeric(text)) is not None
        )
    hops: list[Hop] = []
    refusals: list[str] = []
    is_tls_unknown = False
    for server in servers:
        numeric = as_numeric(server.host)
        known = [numeric] if numeric is not None else addresses[server.host]
        is_tls_unknown = is_tls_unknown or (server.carrier == "TLS" and not known and server.host in unanswered)
        if is_tls_unknown and server.carrier != "TLS":
            continue
        for host in known:
            address = Address(host, server.port)
            if refusal := permits.refusal(address):
                refusals.append(refusal)
                continue
            # RFC 5922 7.3: the certificate is to be for the domain that was asked for, whatever DNS has made of it.
            name = domain if server.carrier == "TLS" else ""
            hop: Hop = UdpHop(address) if server.carrier == "UDP" else StreamHop(server.carrier, address, name)
            if hop not in hops:
                hops.append(hop)
    course.said += [f"not {refusal}" for refusal in dict.fromkeys(refusals)]
    if hops:
        return hops[:PLACES_MAX]
    return refusals[0] if refusals else f"DNS knows no address of {servers[0].host}"
