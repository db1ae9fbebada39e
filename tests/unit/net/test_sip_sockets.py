"""The sockets of phones."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest
from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.net.sip_sockets import Flows
from p2psip.sip.transports.arrivals import FlowArrival, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow


def test_a_connection_that_is_to_be_tls_is_not_made_without() -> None:
    """RFC 3261 26.2.2: what the core asks for is what is opened; where that cannot be, nothing is."""

    async def run(listener: socket.socket) -> None:
        remote = Address(*listener.getsockname())
        heard: asyncio.Queue[FlowArrival] = asyncio.Queue()
        flows = Flows(heard.put_nowait, lambda local, reason: None)
        flows.do(OpenFlow(2, "TLS", remote))
        why = f"cannot connect to tls {remote}: there is no TLS here"
        assert await asyncio.wait_for(heard.get(), 30) == FlowDown(2, why)
        flows.do(OpenFlow(4, "TCP", remote))
        up = await asyncio.wait_for(heard.get(), 30)
        assert isinstance(up, FlowUp)
        assert (up.flow, up.transport, up.remote) == (4, "TCP", remote)
        listener.accept()[0].close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert await asyncio.wait_for(heard.get(), 30) == FlowDown(4, "closed by the other side")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(run(listener))


def test_a_connection_that_nobody_wants_any_more_is_not_begun() -> None:
    """Opened and closed in one go: nothing is left of it, not even a coroutine that nobody awaits."""

    async def run(remote: Address) -> None:
        heard: list[FlowArrival] = []
        flows = Flows(heard.append, lambda local, reason: None)
        flows.do(OpenFlow(2, "TCP", remote))
        flows.do(CloseFlow(2))
        await asyncio.sleep(0)
        assert heard == []

    with warnings.catch_warnings(record=True) as warned, socket.create_server(("127.0.0.1", 0)) as listener:
        warnings.simplefilter("always")
        asyncio.run(run(Address(*listener.getsockname())))
        gc.collect()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert [str(each.message) for each in warned] == []


def test_a_connection_that_nobody_wants_any_more_ends_without_a_word_at_whatever_moment() -> None:
    """While it is connected, while TLS begins, while the other end hangs up: nobody waits for what becomes of it."""

    async def run(listener: socket.socket) -> list[dict[str, object]]:
        unhandled: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: unhandled.append(fault))
        heard: list[FlowArrival] = []
        flows = Flows(heard.append, lambda local, reason: None)
        flows.trust_server(SSL.Context(SSL.TLS_METHOD))
        for turns in range(12):
            flows.do(OpenFlow(2 * turns, "TLS", Address(*listener.getsockname())))
            for _ in range(turns):
                await asyncio.sleep(0)
            flows.do(CloseFlow(2 * turns))
        listener.close()
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0)
        assert not any(isinstance(each, FlowUp) for each in heard)
        return unhandled

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(run(listener)) == []
