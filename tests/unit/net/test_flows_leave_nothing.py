"""A connection that is over leaves nothing to the collector, which runs seldom in a peer (cli/run_peer.py).

What asyncio keeps of a transport is its own: that of Python 3.11 leads to itself.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from free_ports import free_port
from phone_certificates import PhoneAuthority

from p2psip.base.address import Address
from p2psip.net.sip_sockets import Flows
from p2psip.net.sockets.phone_tls import client_context, server_context
from p2psip.sip.transports.arrivals import FlowArrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow
from p2psip.sip.transports.hops import AcceptedTransport, StreamTransport

HERE = "127.0.0.1"
LIMIT_S = 60.0
AUTHORITY = PhoneAuthority()
OURS = AUTHORITY.issue(HERE)
TIMES = 3
OF_ASYNCIO = ("socket", "TransportSocket", "_SelectorSocketTransport", "dict", "tuple", "method")

A = TypeVar("A", bound=FlowArrival)


@dataclass
class Bench:
    """A peer's sockets for phones, which are at both ends here."""

    flows: Flows
    heard: asyncio.Queue[FlowArrival]
    ports: dict[AcceptedTransport, Address]
    numbers: list[int] = field(default_factory=lambda: [0])

    def open(self, transport: StreamTransport, remote: Address) -> int:
        """The number of a connection that is being made."""
        self.numbers.append(self.numbers[-1] + 2)
        self.flows.do(OpenFlow(self.numbers[-1], transport, remote))
        return self.numbers[-1]

    async def hears(self, what: type[A]) -> A:
        """What comes next of that kind."""
        while True:
            arrived = await asyncio.wait_for(self.heard.get(), LIMIT_S)
            if isinstance(arrived, what):
                return arrived

    async def leaves(self, what: Callable[[Bench], Awaitable[None]]) -> set[str]:
        """The kinds of objects that only the collector finds after it has happened some times."""
        await what(self)
        await self.rest()
        gc.collect()
        gc.disable()
        try:
            for _ in range(TIMES):
                await what(self)
            await self.rest()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            return {type(each).__qualname__ for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    async def rest(self) -> None:
        """Let both ends be done."""
        await asyncio.sleep(0.1)
        while not self.heard.empty():
            self.heard.get_nowait()


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    heard: asyncio.Queue[FlowArrival] = asyncio.Queue()
    flows = Flows(heard.put_nowait, lambda local, reason: None, lambda remote, reason: None)
    flows.use_tls(server_context([OURS.der], OURS.key), client_context([AUTHORITY.der]))
    transports: tuple[AcceptedTransport, ...] = ("TCP", "TLS", "WS", "WSS")
    ports = {transport: Address(HERE, free_port()) for transport in transports}
    for transport, local in ports.items():
        flows.listen(transport, local)
    try:
        yield Bench(flows, heard, ports)
    finally:
        flows.close()
        await asyncio.sleep(0.05)


def left_by(what: Callable[[Bench], Awaitable[None]]) -> set[str]:
    async def main() -> set[str]:
        async with bench() as here:
            return await here.leaves(what)

    return asyncio.run(main()) - set(OF_ASYNCIO)


@pytest.mark.parametrize("is_ours_to_close", [True, False])
@pytest.mark.parametrize(
    ("transport", "at"), [("TCP", "TCP"), ("TCP", "WS"), ("TLS", "TLS"), ("TLS", "WSS")], ids=lambda each: str(each)
)
def test_a_connection_that_was_up(transport: StreamTransport, at: AcceptedTransport, is_ours_to_close: bool) -> None:
    async def talks(here: Bench) -> None:
        ours = here.open(transport, here.ports[at])
        numbers = {(await here.hears(FlowUp)).flow, (await here.hears(FlowUp)).flow}
        (theirs,) = numbers - {ours}
        here.flows.do(SendFlow(ours, b"\r\n\r\n"))
        await here.hears(FlowData)
        here.flows.do(CloseFlow(ours if is_ours_to_close else theirs))
        await here.hears(FlowDown)

    assert left_by(talks) == set()


@pytest.mark.parametrize("is_reset", [True, False])
@pytest.mark.parametrize("at", ["TCP", "TLS", "WS", "WSS"])
def test_one_that_says_nothing_and_goes(at: AcceptedTransport, is_reset: bool) -> None:
    async def comes_and_goes(here: Bench) -> None:
        with socket.create_connection(here.ports[at]) as phone:
            await asyncio.sleep(0.02)
            if is_reset:
                phone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await asyncio.sleep(0.02)

    assert left_by(comes_and_goes) == set()


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
def test_one_that_is_refused(transport: StreamTransport) -> None:
    nobody = Address(HERE, free_port())

    async def is_refused(here: Bench) -> None:
        here.open(transport, nobody)
        await here.hears(FlowDown)

    assert left_by(is_refused) == set()


def test_one_whose_other_end_has_no_tls() -> None:
    async def is_answered_in_clear(here: Bench) -> None:
        here.open("TLS", here.ports["TCP"])
        here.flows.do(SendFlow((await here.hears(FlowUp)).flow, b"who are you\r\n\r\n"))
        await here.hears(FlowDown)

    assert left_by(is_answered_in_clear) == set()


def test_one_that_is_given_up_at_whatever_moment() -> None:
    async def is_given_up(here: Bench) -> None:
        for turns in range(12):
            number = here.open("TLS", here.ports["TLS"])
            for _ in range(turns):
                await asyncio.sleep(0)
            here.flows.do(CloseFlow(number))

    assert left_by(is_given_up) == set()
