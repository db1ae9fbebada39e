"""WebSocket on real sockets, in clear and over TLS: bytes go up and down as they came, and the transport is named."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from free_ports import free_port
from phone_certificates import PhoneAuthority
from web_client import WebEnd

from p2psip.base.address import Address
from p2psip.net.sip_sockets import Flows
from p2psip.net.sockets.phone_tls import client_context, server_context
from p2psip.sip.transports.arrivals import FlowArrival, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow
from p2psip.sip.transports.hops import AcceptedTransport
from p2psip.sip.transports.layer import Listener, MessageArrived, TransportLayer
from p2psip.sip.transports.own_addresses import OwnAddresses

HERE = "127.0.0.1"
LIMIT_S = 60.0
AUTHORITY = PhoneAuthority()
OURS = AUTHORITY.issue(HERE)
MESSAGE = (
    "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    "To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
)


class Element:
    """A transport layer on real sockets, and what it heard."""

    def __init__(self, transport: AcceptedTransport) -> None:
        self.local = Address(HERE, free_port())
        self.layer = TransportLayer((Listener(transport, self.local),), own=OwnAddresses([HERE]))
        self.heard: asyncio.Queue[object] = asyncio.Queue()
        self.flows = Flows(self._arrived, _always_accepts)
        self.flows.use_tls(server_context([OURS.der], OURS.key), client_context([AUTHORITY.der]))
        self.flows.listen(transport, self.local)

    def _arrived(self, arrival: FlowArrival) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(arrival, FlowUp):
            self.heard.put_nowait(arrival)
        for event in self.layer.handle(arrival, now):
            self.heard.put_nowait(event)
        self.do()

    def do(self) -> None:
        """What the core wants."""
        for effect in self.layer.drain():
            if isinstance(effect, OpenFlow | SendFlow | CloseFlow):
                self.flows.do(effect)

    async def hears(self) -> object:
        """What came next."""
        return await asyncio.wait_for(self.heard.get(), LIMIT_S)


def _always_accepts(local: Address, reason: str) -> None:
    raise AssertionError(f"connections at {local} are not accepted: {reason}")


async def hears(reader: asyncio.StreamReader, end: WebEnd) -> list[bytes]:
    """What came of WebSocket at the page."""
    data = await asyncio.wait_for(reader.read(65536), LIMIT_S)
    assert data, "closed"
    return end.hear(data)


@pytest.mark.parametrize("transport", ["WS", "WSS"])
def test_a_page_sends_a_message_and_gets_one(transport: AcceptedTransport) -> None:
    async def main() -> None:
        element = Element(transport)
        context = ssl.create_default_context(cadata=AUTHORITY.pem.decode()) if transport == "WSS" else None
        try:
            reader, writer = await asyncio.open_connection(*element.local, ssl=context)
            up = await element.hears()
            assert isinstance(up, FlowUp)
            assert up.transport == transport
            end = WebEnd()
            writer.write(end.handshake(f"{HERE}:{element.local.port}"))
            while not end.events:
                await hears(reader, end)
            writer.write(end.say(MESSAGE))
            arrived = await element.hears()
            assert isinstance(arrived, MessageArrived)
            assert arrived.source.transport == transport
            assert element.layer.is_secure(arrived.source.hop) == (transport == "WSS")
            assert element.layer.send(arrived.source.hop, b"SIP/2.0 200 OK\r\n\r\n", 0.0)
            element.do()
            assert await hears(reader, end) == [b"SIP/2.0 200 OK\r\n\r\n"]
            writer.close()
            down = await element.hears()
            assert isinstance(down, FlowDown)
        finally:
            element.flows.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())
