"""TLS towards phones: who gets in, who does not and why, and what nobody can do to the others."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from free_ports import free_port
from phone_certificates import PhoneAuthority

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net import sip_sockets
from p2psip.net.sip_sockets import Flows
from p2psip.net.sockets import crowd, tls
from p2psip.net.sockets.phone_tls import client_context, server_context
from p2psip.net.sockets.tls import SocketStream
from p2psip.sip.transports.arrivals import FlowArrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow

HERE = "127.0.0.1"
LIMIT_S = 60.0
AUTHORITY = PhoneAuthority()
STRANGER = PhoneAuthority("elsewhere.example")
OURS = AUTHORITY.issue(HERE)


@dataclass
class Bench:
    """Sockets of phones, listening with TLS; what came, and who did not get through."""

    flows: Flows
    local: Address
    heard: asyncio.Queue[FlowArrival]
    failed: asyncio.Queue[tuple[Address, str]]

    async def hears(self) -> FlowArrival:
        return await asyncio.wait_for(self.heard.get(), LIMIT_S)

    async def hears_up(self) -> FlowUp:
        up = await self.hears()
        assert isinstance(up, FlowUp)
        return up

    async def fails(self) -> str:
        """Why somebody did not get through."""
        return (await asyncio.wait_for(self.failed.get(), LIMIT_S))[1]

    async def connect(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As a phone that looks whose the certificate is."""
        return await asyncio.wait_for(asyncio.open_connection(*self.local, ssl=context or phone()), LIMIT_S)


def phone(authority: PhoneAuthority = AUTHORITY) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def run(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        local = Address(HERE, free_port())
        heard: asyncio.Queue[FlowArrival] = asyncio.Queue()
        failed: asyncio.Queue[tuple[Address, str]] = asyncio.Queue()
        flows = Flows(heard.put_nowait, _always_accepts, lambda remote, reason: failed.put_nowait((remote, reason)))
        bench = Bench(flows, local, heard, failed)
        bench.flows.use_tls(server_context([OURS.der], OURS.key), client_context([AUTHORITY.der]))
        bench.flows.listen("TLS", local)
        try:
            await asyncio.wait_for(test(bench), 3 * LIMIT_S)
        finally:
            bench.flows.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())


def _always_accepts(local: Address, reason: str) -> None:
    raise AssertionError(f"connections at {local} are not accepted: {reason}")


def test_a_phone_that_trusts_the_authority_speaks_over_tls() -> None:
    async def test(bench: Bench) -> None:
        reader, writer = await bench.connect()
        up = await bench.hears_up()
        assert (up.transport, up.local, up.peer) == ("TLS", bench.local, None)
        writer.write(b"REGISTER")
        assert await bench.hears() == FlowData(up.flow, b"REGISTER")
        bench.flows.do(SendFlow(up.flow, b"200 OK"))
        assert await asyncio.wait_for(reader.readexactly(6), LIMIT_S) == b"200 OK"
        bench.flows.do(CloseFlow(up.flow))
        assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        writer.close()
        assert bench.failed.empty()

    run(test)


def test_a_phone_that_goes_is_gone() -> None:
    async def test(bench: Bench) -> None:
        _, writer = await bench.connect()
        up = await bench.hears_up()
        writer.close()
        down = await bench.hears()
        assert isinstance(down, FlowDown)
        assert down.flow == up.flow
        _, writer = await bench.connect()
        up = await bench.hears_up()
        writer.transport.abort()
        assert await bench.hears() == FlowDown(up.flow, "closed by the other end")

    run(test)


def test_a_phone_that_does_not_trust_us_says_so_and_nobody_above_hears_of_it() -> None:
    async def test(bench: Bench) -> None:
        def distrust() -> None:
            # asyncio's own client hangs up without the word that TLS has for it; phones say it.
            with socket.create_connection(bench.local) as sock, pytest.raises(ssl.SSLCertVerificationError):
                phone(STRANGER).wrap_socket(sock, server_hostname=HERE)

        await asyncio.to_thread(distrust)
        assert "unknown ca" in await bench.fails()
        assert bench.heard.empty()

    run(test)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"REGISTER sip:club.example SIP/2.0\r\n\r\n", "TLS: "),
        (b"GET / HTTP/1.1\r\n\r\n", "TLS: http request"),
        (b"\x16\x03\x01\x00\x05garbage and more of it", "TLS: "),
        (b"\x00" * 4096, "TLS: "),
    ],
)
def test_what_is_no_handshake_ends_the_connection(data: bytes, words: str) -> None:
    async def test(bench: Bench) -> None:
        reader, writer = await asyncio.open_connection(*bench.local)
        writer.write(data)
        assert words in await bench.fails()
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), LIMIT_S)
        writer.close()
        assert bench.heard.empty()

    run(test)


def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_MAX_S", 0.1)

    async def test(bench: Bench) -> None:
        reader, writer = await asyncio.open_connection(*bench.local)
        assert await bench.fails() == "TLS handshake timed out"
        assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
        writer.close()

    run(test)


def test_half_open_connections_are_bounded_and_a_phone_still_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "HANDSHAKES_MAX", 5)

    async def test(bench: Bench) -> None:
        flood = [await asyncio.open_connection(*bench.local) for _ in range(20)]
        for _ in range(15):
            assert await bench.fails() == "too many handshakes at once"
        assert len(bench.flows.handshakes) == 5
        _, writer = await bench.connect()
        up = await bench.hears_up()
        writer.write(b"REGISTER")
        assert await bench.hears() == FlowData(up.flow, b"REGISTER")
        for _, other in flood:
            other.close()
        for _ in range(5):
            await bench.fails()
        assert len(bench.flows.handshakes) == 0
        writer.close()

    run(test)


def test_a_flood_from_one_address_pushes_out_its_own() -> None:
    class Waiting:
        is_server, local = True, (HERE, 5061)

        def __init__(self, host: str) -> None:
            self.remote, self.why = (host, 40_000), ""

        def abort(self, reason: str) -> None:
            self.why = reason

    handshakes = crowd.Handshakes()
    slow = Waiting("192.0.2.7")
    flood = [Waiting("198.51.100.1") for _ in range(3 * crowd.HANDSHAKES_MAX)]
    for each in (slow, *flood):
        handshakes.begin(each)  # type: ignore[arg-type]
    assert not slow.why
    assert sum(bool(each.why) for each in flood) == 1 + len(flood) - crowd.HANDSHAKES_MAX
    assert not flood[-1].why
    assert len(handshakes) == crowd.HANDSHAKES_MAX


def test_a_renewed_certificate_is_shown_from_then_on() -> None:
    async def test(bench: Bench) -> None:
        _, before = await bench.connect()
        up = await bench.hears_up()
        other = STRANGER.issue(HERE)
        bench.flows.use_tls(server_context([other.der], other.key), client_context([]))
        _, after = await bench.connect(phone(STRANGER))
        await bench.hears_up()
        before.write(b"still here")
        assert await bench.hears() == FlowData(up.flow, b"still here")
        before.close()
        after.close()

    run(test)


def test_a_key_that_is_of_another_certificate_is_named() -> None:
    with pytest.raises(LocalMisuse, match="certificate and key do not go together"):
        server_context([OURS.der], STRANGER.issue(HERE).key)


# Connections that we make


async def _phone_at(issued_by: PhoneAuthority, host: str) -> tuple[asyncio.Server, Address]:
    """A phone with a certificate, which brings back what it gets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    issued, local = issued_by.issue(host), Address(HERE, free_port())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The standard library reads keys from files alone.
    with tempfile.NamedTemporaryFile() as file:
        file.write(issued.certificate_pem + issued.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return await asyncio.start_server(serve, *local, ssl=context), local


def test_a_phone_is_connected_to_over_tls() -> None:
    async def test(bench: Bench) -> None:
        server, at = await _phone_at(AUTHORITY, HERE)
        bench.flows.do(OpenFlow(2, "TLS", at))
        up = await bench.hears_up()
        assert (up.flow, up.transport, up.remote) == (2, "TLS", at)
        bench.flows.do(SendFlow(2, b"INVITE"))
        assert await bench.hears() == FlowData(2, b"INVITE")
        bench.flows.do(CloseFlow(2))
        server.close()

    run(test)


@pytest.mark.parametrize(
    ("authority", "host", "words"),
    [(STRANGER, HERE, "certificate verify failed"), (AUTHORITY, "127.0.0.2", f"its certificate is not for {HERE}")],
)
def test_a_phone_that_is_not_who_it_should_be_is_not_spoken_to(
    authority: PhoneAuthority, host: str, words: str
) -> None:
    """26.2.1: a certificate is looked at: who issued it, and whose it is."""

    async def test(bench: Bench) -> None:
        server, at = await _phone_at(authority, host)
        bench.flows.do(OpenFlow(2, "TLS", at))
        down = await bench.hears()
        assert isinstance(down, FlowDown)
        assert down.flow == 2
        assert down.reason.startswith(f"cannot connect to tls {at}: ")
        assert words in down.reason
        assert bench.heard.empty()
        server.close()

    run(test)


def test_a_phone_without_tls_is_not_spoken_to_in_clear() -> None:
    """26.2.2: what is to go over TLS goes so, or not at all."""

    async def test(bench: Bench) -> None:
        with socket.create_server((HERE, 0)) as listener:
            at = Address(*listener.getsockname())
            listener.setblocking(False)
            bench.flows.do(OpenFlow(2, "TLS", at))
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                assert (await asyncio.get_running_loop().sock_recv(accepted, 100))[:1] == b"\x16"
                await asyncio.get_running_loop().sock_sendall(accepted, b"SIP/2.0 200 OK\r\n\r\n")
                down = await bench.hears()
                assert isinstance(down, FlowDown)
                assert "TLS: " in down.reason

    run(test)


def test_the_core_may_lose_patience_with_a_handshake() -> None:
    async def test(bench: Bench) -> None:
        with socket.create_server((HERE, 0)) as listener:
            listener.setblocking(False)
            bench.flows.do(OpenFlow(2, "TLS", Address(*listener.getsockname())))
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                bench.flows.do(CloseFlow(2))
                with suppress(ConnectionError):
                    while await asyncio.get_running_loop().sock_recv(accepted, 1000):
                        pass
                assert bench.heard.empty()

    run(test)


def test_a_connection_that_is_closed_in_the_moment_in_which_it_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is over, and no fault of the loop's, which would end a peer."""
    come_up = sip_sockets._TlsFlow.stream_up

    async def test(bench: Bench) -> None:
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        tried = asyncio.Event()

        def close_first(flow: sip_sockets._TlsFlow, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
            if stream.is_server:
                come_up(flow, stream, certificates)
                return
            bench.flows.do(CloseFlow(2))
            try:
                come_up(flow, stream, certificates)
            finally:
                tried.set()

        monkeypatch.setattr(sip_sockets._TlsFlow, "stream_up", close_first)
        bench.flows.do(OpenFlow(2, "TLS", bench.local))
        await asyncio.wait_for(tried.wait(), LIMIT_S)
        await asyncio.sleep(0.05)
        assert faults == []
        told = [bench.heard.get_nowait() for _ in range(bench.heard.qsize())]
        assert not any(each.flow == 2 for each in told)

    run(test)
