"""A DNS server on loopback that knows what a test tells it, and writes down what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from p2psip.base.address import Address


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `zone`: (name, type) to records as text. It `fails` for some, and all else does not exist."""

    def __init__(self, zone: Mapping[tuple[str, str], Sequence[str]]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fails: set[tuple[str, str]] = set()
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    @property
    def address(self) -> Address:
        """Where it can be asked."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        return Address(host, port)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        key = (question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype))
        self.asked.append(key)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if key in self.fails:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records := self._zone.get(key):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", key[1], *records))
        elif not any(name == key[0] for name, _ in self._zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), source)


@asynccontextmanager
async def dns_server(zone: Mapping[tuple[str, str], Sequence[str]]) -> AsyncIterator[DnsServer]:
    """One that runs."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: DnsServer(zone), local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
