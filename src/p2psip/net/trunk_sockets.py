"""The sockets of trunks: each has its own, so that what comes in there is the trunk's, or a stranger's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import LocalMisuse
from p2psip.net.sip_sockets import Flows, local_host_towards
from p2psip.net.sockets.addresses import address_of, words
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.phone_tls import server_authorities
from p2psip.sip.entities.gateway.terms import ForTrunk, TrunkFound, TrunkNotFound, TrunkTerms
from p2psip.sip.transports.arrivals import Arrival, Datagram
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import DEFAULT_PORTS

ADDRESSES_MAX = 8
"""Of one server, that are tried."""

Arrived = Callable[[TrunkTerms, Arrival], None]


class TrunkSockets:
    """Those of one peer. `arrived` is called with what comes."""

    def __init__(self, arrived: Arrived) -> None:
        self._arrived = arrived
        self._udp: dict[str, DatagramSocket] = {}
        self._flows: dict[str, Flows] = {}

    async def find(self, terms: TrunkTerms) -> TrunkFound | TrunkNotFound:
        """Look the server up, and have a socket from which it is spoken to."""
        try:
            remotes = await _addresses(terms)
            local = await self._open(terms, local_host_towards(remotes[0]))
        except (OSError, UnicodeError) as error:
            return TrunkNotFound(f"{terms.host} is not found: {words(error)}")
        except (LocalMisuse, SSL.Error) as error:
            return TrunkNotFound(str(error))
        version = ":" in local.host
        return TrunkFound(tuple(each for each in remotes if (":" in each.host) == version), local)

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


async def _addresses(terms: TrunkTerms) -> list[Address]:
    """Of its host, in the order of the system's resolver. Raises OSError, UnicodeError."""
    port = terms.port or DEFAULT_PORTS[terms.transport]
    found = await asyncio.get_running_loop().getaddrinfo(terms.host.strip("[]"), port, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(address_of(each[4]) for each in found))[:ADDRESSES_MAX]
