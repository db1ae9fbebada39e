"""The sockets of a trunk: its server is found by name, and believed by its certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest
from free_ports import free_port
from phone_certificates import Issued, PhoneAuthority

from p2psip.base.address import Address
from p2psip.net.trunk_sockets import TrunkSockets
from p2psip.sip.entities.gateway.terms import ForTrunk, TrunkFound, TrunkNotFound, TrunkTerms
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp

LIMIT_S = 60.0
AUTHORITY = PhoneAuthority()


def trunk(host: str = "127.0.0.1", **changes: object) -> TrunkTerms:
    return TrunkTerms("t", host, "us", **changes)  # type: ignore[arg-type]


def test_datagrams_go_and_come_by_one_socket_and_it_stays_the_same() -> None:
    async def run(server: socket.socket) -> None:
        heard: asyncio.Queue[Arrival] = asyncio.Queue()
        remote = Address(*server.getsockname())
        terms = trunk(port=remote.port)
        with closing(TrunkSockets(lambda which, arrival: heard.put_nowait(arrival))) as sockets:
            found = await sockets.find(terms)
            assert found == TrunkFound((remote,), found.local)  # type: ignore[union-attr]
            assert await sockets.find(terms) == found
            sockets.do(ForTrunk("t", SendUdp(found.local, remote, b"hello")))  # type: ignore[union-attr]
            data, sender = await asyncio.to_thread(server.recvfrom, 100)
            assert (data, Address(*sender)) == (b"hello", found.local)  # type: ignore[union-attr]
            server.sendto(b"and back", sender)
            arrived = await asyncio.wait_for(heard.get(), LIMIT_S)
            assert arrived == Datagram(found.local, remote, b"and back")  # type: ignore[union-attr]
            # Of a trunk that there is not nothing is sent.
            sockets.do(ForTrunk("other", SendUdp(found.local, remote, b"x")))  # type: ignore[union-attr]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(LIMIT_S)
        asyncio.run(run(server))


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70 + ".example", "a..b"])
def test_a_host_that_is_not_found_is_said_to_be(host: str) -> None:
    async def run() -> None:
        with closing(TrunkSockets(lambda which, arrival: None)) as sockets:
            answer = await sockets.find(trunk(host))
            assert isinstance(answer, TrunkNotFound)
            assert answer.reason.startswith(f"{host} is not found: ")

    asyncio.run(run())


def test_a_port_that_is_taken_and_a_file_that_is_none(tmp_path: Path) -> None:
    async def run(taken: int) -> None:
        with closing(TrunkSockets(lambda which, arrival: None)) as sockets:
            answer = await sockets.find(trunk(local_port=taken))
            assert isinstance(answer, TrunkNotFound)
            assert str(taken) in answer.reason
        with closing(TrunkSockets(lambda which, arrival: None)) as sockets:
            answer = await sockets.find(trunk(transport="TLS", ca_file=str(tmp_path / "none.pem")))
            assert isinstance(answer, TrunkNotFound)
            assert "none.pem is no file of certificates in PEM" in answer.reason
            # Nothing is left of it that would pass for a trunk the next time.
            assert await sockets.find(trunk(transport="TLS", ca_file=str(tmp_path / "none.pem"))) == answer

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        asyncio.run(run(other.getsockname()[1]))


def serving(directory: Path, issued: Issued, asked_for: list[str | None]) -> ssl.SSLContext:
    """A server with this certificate, which notes the names that it is asked for."""
    certificate, key = directory / "server.crt", directory / "server.key"
    certificate.write_bytes(issued.certificate_pem)
    key.write_bytes(issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    return context


def test_tls_with_the_server_of_that_name_and_with_nobody_else(tmp_path: Path) -> None:
    """RFC 3261 26.3.1: who is connected to must be who its certificate says; it is asked for by name (RFC 6066)."""
    asked_for: list[str | None] = []
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pem)

    async def run(issued: Issued) -> list[Arrival]:
        heard: asyncio.Queue[Arrival] = asyncio.Queue()
        terms = trunk("localhost", transport="TLS", port=free_port(), ca_file=str(tmp_path / "ca.pem"))
        with closing(TrunkSockets(lambda which, arrival: heard.put_nowait(arrival))) as sockets:
            found = await sockets.find(terms)
            assert isinstance(found, TrunkFound)
            remote = found.remotes[0]
            server = await asyncio.start_server(echo, *remote, ssl=serving(tmp_path, issued, asked_for))
            async with server:
                sockets.do(ForTrunk("t", OpenFlow(2, "TLS", remote)))
                arrived = [await asyncio.wait_for(heard.get(), LIMIT_S)]
                if isinstance(arrived[0], FlowUp):
                    sockets.do(ForTrunk("t", SendFlow(2, b"hello")))
                    arrived.append(await asyncio.wait_for(heard.get(), LIMIT_S))
                sockets.do(ForTrunk("t", CloseFlow(2)))
                return arrived

    up, data = asyncio.run(run(AUTHORITY.issue("localhost")))
    assert isinstance(up, FlowUp)
    assert data == FlowData(2, b"hello")
    assert asked_for == ["localhost"]
    (down,) = asyncio.run(run(AUTHORITY.issue("other.example")))
    assert isinstance(down, FlowDown)
    assert "its certificate is not for localhost" in down.reason
    (down,) = asyncio.run(run(PhoneAuthority("elsewhere.example").issue("localhost")))
    assert isinstance(down, FlowDown)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(100):
            writer.write(data)
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()
