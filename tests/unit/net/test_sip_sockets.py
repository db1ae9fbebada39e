"""The sockets of phones."""

from __future__ import annotations

import asyncio
import socket

import pytest

from p2psip.base.address import Address
from p2psip.net.sip_sockets import Flows
from p2psip.sip.transports.effects import OpenFlow


class User:
    """Hears of connections."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, int, object]] = asyncio.Queue()

    def flow_opened(self, flow: int, local: Address, remote: Address) -> None:
        self.heard.put_nowait(("opened", flow, remote))

    def flow_data(self, flow: int, data: bytes) -> None:
        self.heard.put_nowait(("data", flow, data))

    def flow_closed(self, flow: int, reason: str) -> None:
        self.heard.put_nowait(("closed", flow, reason))


def test_a_connection_that_is_to_be_tls_is_not_made_without() -> None:
    """RFC 3261 26.2.2: what the core asks for is what is opened; where that cannot be, nothing is."""

    async def run(listener: socket.socket) -> None:
        remote = Address(*listener.getsockname())
        user = User()
        flows = Flows(user, lambda local, reason: None)
        flows.do(OpenFlow(2, "TLS", remote))
        why = f"no TLS to {remote}: phones are reached over UDP and TCP only"
        assert await asyncio.wait_for(user.heard.get(), 30) == ("closed", 2, why)
        flows.do(OpenFlow(4, "TCP", remote))
        assert await asyncio.wait_for(user.heard.get(), 30) == ("opened", 4, remote)
        listener.accept()[0].close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert await asyncio.wait_for(user.heard.get(), 30) == ("closed", 4, "closed by the other side")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(run(listener))
