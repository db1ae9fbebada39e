"""The sockets of trunks: each has its own, so that what comes in there is the trunk's, or a stranger's."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import LocalMisuse
from p2psip.net.sip_sockets import Flows, local_host_towards
from p2psip.net.sockets.addresses import address_of
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.phone_tls import server_authorities
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records
from p2psip.sip.entities.domains.location import DomainServers, Permits, locate
from p2psip.sip.entities.gateway.terms import ForTrunk, TrunkFound, TrunkNotFound, TrunkTerms
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Arrival, Datagram
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import StreamHop, UdpHop

Arrived = Callable[[TrunkTerms, Arrival], None]
FindsRecords = Callable[[FindRecords], Awaitable[Records]]

_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


_ANYWHERE = Permits(lambda address: "", has_ipv6=True)
"""The operator says where his trunk is: in his own network, at this very machine."""


class TrunkSockets:
    """Those of one peer. `arrived` is called with what comes, `records` asks DNS."""

    def __init__(self, arrived: Arrived, records: FindsRecords) -> None:
        self._arrived = arrived
        self._records = records
        self._udp: dict[str, DatagramSocket] = {}
        self._flows: dict[str, Flows] = {}

    async def find(self, terms: TrunkTerms) -> TrunkFound | TrunkNotFound:
        """Look the servers up, and have a socket from which they are spoken to."""
        found = await self._servers(terms)
        remotes = [hop.remote for hop in found.hops if isinstance(hop, UdpHop | StreamHop)]
        if not remotes:
            return TrunkNotFound(f"{terms.host} is not found: {found.reason}")
        try:
            local = await self._open(terms, _local_host(remotes))
        except (LocalMisuse, SSL.Error) as error:
            return TrunkNotFound(str(error))
        is_ipv6 = ":" in local.host
        return TrunkFound(tuple(each for each in remotes if (":" in each.host) == is_ipv6), local)

    def do(self, wanted: ForTrunk) -> None:
        """Do what a trunk wants."""
        effect: Effect = wanted.effect
        match effect:
            case SendUdp(_, remote, data) if wanted.trunk in self._udp:
                self._udp[wanted.trunk].send(remote, data)
            case OpenFlow() | SendFlow() | CloseFlow() if wanted.trunk in self._flows:
                self._flows[wanted.trunk].do(effect)

    def close(self) -> None:
        """Close all of it."""
        for udp in self._udp.values():
            udp.close()
        for flows in self._flows.values():
            flows.close()

    async def _servers(self, terms: TrunkTerms) -> DomainServers:
        """Where its servers are, as those of any domain (RFC 3263); a port that is set says that it is one host."""
        uri = SipUri(terms.host.lower(), port=terms.port or None, params=(("transport", terms.transport.lower()),))
        steps = locate(uri, _ANYWHERE, random.Random())
        answers: list[Records] | None = None
        while True:
            try:
                questions = next(steps) if answers is None else steps.send(answers)
            except StopIteration as end:
                found: DomainServers = end.value
                return found
            answers = await asyncio.gather(*map(self._answer, questions))

    async def _answer(self, question: FindRecords) -> Records:
        """What the operator's own machine says of a host comes first: it is he who names the trunk's."""
        known = await _of_system(question) if question.type in _FAMILIES else Records()
        return known if known.records else await self._records(question)

    async def _open(self, terms: TrunkTerms, host: str) -> Address:
        """The socket that there is, if it is at that address of ours still; else a new one."""
        known = self._udp.get(terms.name)
        if known is not None and known.local.host == host:
            return known.local
        if known is not None:
            del self._udp[terms.name]
            known.close()
            self._flows.pop(terms.name).close()

        def heard(local: Address, remote: Address, data: bytes) -> None:
            self._arrived(terms, Datagram(local, remote, data))

        flows = Flows(partial(self._arrived, terms), _nobody_listens)
        if terms.transport == "TLS":
            flows.trust_named(server_authorities(terms.ca_file), terms.host)
        self._udp[terms.name] = opened = await DatagramSocket.bind(host, terms.local_port, heard)
        self._flows[terms.name] = flows
        return opened.local


def _nobody_listens(local: Address, reason: str) -> None:
    raise AssertionError("a trunk's server is connected to, and does not connect")


def _local_host(remotes: list[Address]) -> str:
    """Our address towards the first of them that there is a way to. Raises LocalMisuse if there is none to any."""
    for remote in remotes[:-1]:
        with contextlib.suppress(LocalMisuse):
            return local_host_towards(remote)
    return local_host_towards(remotes[-1])


async def _of_system(question: FindRecords) -> Records:
    """The addresses of a name as every program on this machine has them, by its file of hosts and otherwise."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            question.name, None, family=_FAMILIES[question.type], type=socket.SOCK_DGRAM
        )
    except (OSError, UnicodeError):
        return Records()
    return Records(tuple(address_of(each[4]).host for each in found))
