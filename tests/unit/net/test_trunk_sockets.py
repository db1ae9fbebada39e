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
from p2psip.net.trunk_sockets import FindsRecords, TrunkSockets
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records, Srv
from p2psip.sip.entities.gateway.terms import ForTrunk, TrunkFound, TrunkNotFound, TrunkTerms
from p2psip.sip.transports.arrivals import Arrival, Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp

LIMIT_S = 60.0
AUTHORITY = PhoneAuthority()


def dns(**answers: Records) -> FindsRecords:
    """A DNS that knows this, by the type and the name with underscores for dots."""

    async def find(question: FindRecords) -> Records:
        return answers.get(f"{question.type}_{question.name.replace('.', '_')}", Records())

    return find


NOTHING = dns()


def trunk(host: str = "127.0.0.1", **changes: object) -> TrunkTerms:
    return TrunkTerms("t", host, "us", **changes)  # type: ignore[arg-type]


def test_datagrams_go_and_come_by_one_socket_and_it_stays_the_same() -> None:
    async def run(server: socket.socket) -> None:
        heard: asyncio.Queue[Arrival] = asyncio.Queue()
        remote = Address(*server.getsockname())
        terms = trunk(port=remote.port)
        with closing(TrunkSockets(lambda which, arrival: heard.put_nowait(arrival), NOTHING)) as sockets:
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


def found_by(terms: TrunkTerms, records: FindsRecords) -> TrunkFound | TrunkNotFound:
    async def run() -> TrunkFound | TrunkNotFound:
        with closing(TrunkSockets(lambda which, arrival: None, records)) as sockets:
            return await sockets.find(terms)

    return asyncio.run(run())


def test_3263_4_2_a_domain_that_has_nothing_but_srv_records_is_found_with_all_its_servers() -> None:
    """In the order of RFC 2782, each at its own port; over the transport that the operator has set."""
    records = dns(
        SRV__sip__udp_tel_invalid=Records((Srv(20, 0, 5070, "b.tel.invalid"), Srv(10, 0, 5080, "a.tel.invalid"))),
        SRV__sip__tcp_tel_invalid=Records((Srv(10, 0, 5090, "a.tel.invalid"),)),
        A_a_tel_invalid=Records(("127.0.0.1",)),
        A_b_tel_invalid=Records(("127.0.0.2", "127.0.0.3")),
    )
    udp = found_by(trunk("Tel.invalid"), records)
    assert isinstance(udp, TrunkFound)
    assert list(map(str, udp.remotes)) == ["127.0.0.1:5080", "127.0.0.2:5070", "127.0.0.3:5070"]
    tcp = found_by(trunk("tel.invalid", transport="TCP"), records)
    assert isinstance(tcp, TrunkFound)
    assert list(map(str, tcp.remotes)) == ["127.0.0.1:5090"]
    assert found_by(trunk("tel.invalid", transport="TLS"), records) == TrunkNotFound(
        "tel.invalid is not found: DNS knows no address of tel.invalid"
    )


def test_3263_4_2_with_a_port_it_is_a_host_and_without_srv_records_as_well() -> None:
    records = dns(
        SRV__sip__udp_tel_invalid=Records((Srv(10, 0, 5080, "a.tel.invalid"),)),
        A_a_tel_invalid=Records(("127.0.0.1",)),
        A_tel_invalid=Records(("127.0.0.9",)),
        A_pbx_invalid=Records(("127.0.0.8",)),
    )
    for terms, remote in (
        (trunk("tel.invalid", port=5060), "127.0.0.9:5060"),
        (trunk("pbx.invalid"), "127.0.0.8:5060"),
    ):
        found = found_by(terms, records)
        assert isinstance(found, TrunkFound)
        assert list(map(str, found.remotes)) == [remote]


def test_an_address_that_there_is_no_way_to_is_passed_over() -> None:
    """Many machines have no IPv6, and many servers do."""
    records = dns(AAAA_tel_invalid=Records(("2001:db8::1", "::1")), A_tel_invalid=Records(("127.0.0.1",)))
    found = found_by(trunk("tel.invalid", port=5060), records)
    assert isinstance(found, TrunkFound)
    assert {":" in remote.host for remote in found.remotes} == {":" in found.local.host}


def test_what_the_machine_calls_a_host_itself_is_known_without_dns() -> None:
    found = found_by(trunk("localhost", port=5060), NOTHING)
    assert isinstance(found, TrunkFound)
    assert found.remotes[0].host in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70 + ".example", "a..b"])
def test_a_host_that_is_not_found_is_said_to_be(host: str) -> None:
    async def run() -> None:
        with closing(TrunkSockets(lambda which, arrival: None, NOTHING)) as sockets:
            answer = await sockets.find(trunk(host))
            assert isinstance(answer, TrunkNotFound)
            assert answer.reason.startswith(f"{host} is not found: ")

    asyncio.run(run())


def test_a_port_that_is_taken_and_a_file_that_is_none(tmp_path: Path) -> None:
    async def run(taken: int) -> None:
        with closing(TrunkSockets(lambda which, arrival: None, NOTHING)) as sockets:
            answer = await sockets.find(trunk(local_port=taken))
            assert isinstance(answer, TrunkNotFound)
            assert str(taken) in answer.reason
        with closing(TrunkSockets(lambda which, arrival: None, NOTHING)) as sockets:
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
        with closing(TrunkSockets(lambda which, arrival: heard.put_nowait(arrival), NOTHING)) as sockets:
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
