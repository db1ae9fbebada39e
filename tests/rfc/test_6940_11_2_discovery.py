"""RFC 6940 section 11.2: how a node that knows an overlay's name finds its configuration, on loopback sockets."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from dns.rdtypes.IN.SRV import SRV
from dns_server import dns_server

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.srv_order import in_order
from p2psip.daemon.init import PeerRequest, init_peer, is_overlay_name, obtain_document
from p2psip.daemon.state.state import load_state
from p2psip.enrollment.founding import Founding, Terms, found
from p2psip.net.dns_records import resolver_of
from p2psip.net.https.client import discover_configuration, fetch_configuration, refetch_configuration
from p2psip.net.https.configuration_server import find_servers
from p2psip.net.sockets.server_names import is_named
from p2psip.reload.config.document import Document
from p2psip.reload.config.write import build
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.keys import key_to_pem
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import OVERLAY, key

WELL_KNOWN = "/.well-known/reload-config"
SRV_NAME = f"_reload-config._tcp.{OVERLAY}"


@cache
def founding() -> Founding:
    """An overlay that began now: these tests have the machine's own clock."""
    terms = Terms((SignatureAlgorithm.ECDSA,), self_signed_digest=HashAlgorithm.SHA256)
    return found(OVERLAY, f"admin@{OVERLAY}", terms, random.Random(1), time.time())


class Server:
    """An HTTPS server with one certificate and one document."""

    def __init__(self, document: bytes) -> None:
        self.document = document
        self.requests: list[list[str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.requests.append(lines)
        is_there = lines[0].split()[1] == WELL_KNOWN
        body = self.document if is_there else b"no"
        head = (
            f"HTTP/1.1 {'200 OK' if is_there else '404 No'}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def https_server(path: Path, document: bytes, *names: str) -> AsyncIterator[tuple[Server, int]]:
    """One that runs on loopback with a certificate for these names, issued by the overlay's trust anchor."""
    validity = Validity.at(time.time(), DAY_S)
    certificate = founding().anchor.issue_server(key().public_key(), names, random.Random(1), validity)
    if OVERLAY not in names:
        certificate = _nameless(names)
    pem = path / "server.pem"
    pem.write_bytes(key_to_pem(key()) + chain_to_pem([certificate]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Server(document)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield server, listener.sockets[0].getsockname()[1]


def _nameless(names: tuple[str, ...]) -> bytes:
    """A certificate that does not name the overlay."""
    nobody = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key().public_key())
        .serial_number(7)
        .not_valid_before(founding().anchor.certificate.not_valid_before_utc)
        .not_valid_after(founding().anchor.certificate.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    return builder.sign(key(), hashes.SHA256()).public_bytes(Encoding.DER)


async def discovered(dns: Address, fingerprint: str | None = None) -> Document:
    """The document of the overlay, found by its name."""
    trusted = fingerprint or founding().anchor.fingerprint
    return await discover_configuration(OVERLAY, trusted, resolver_of(dns), random.Random(1))


def run(work: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(work())


@pytest.mark.must("11.2/1", "11.2/2", "11.2/3", "11.2/4", "11.2/5")
def test_by_the_name_alone(tmp_path: Path) -> None:
    """SRV, then HTTPS to that address and port, for the well-known URL of the overlay's name."""

    async def work() -> None:
        async with https_server(tmp_path, founding().document, OVERLAY) as (server, port):
            zone = {(SRV_NAME, "SRV"): [f"0 0 {port} box.example."], ("box.example", "A"): ["127.0.0.1"]}
            async with dns_server(zone) as dns:
                assert (await discovered(dns.address)).raw == founding().document
                assert dns.asked[0] == (SRV_NAME, "SRV")
            (request,) = server.requests
            assert request[0] == f"GET {WELL_KNOWN} HTTP/1.1"
            assert f"host: {OVERLAY}" in [line.lower() for line in request]

    run(work)


@pytest.mark.must("11.2/4")
def test_the_certificate_must_match_the_overlay_s_name(tmp_path: Path) -> None:
    async def work() -> None:
        async with https_server(tmp_path, founding().document, "box.example") as (_, port):
            zone = {(SRV_NAME, "SRV"): [f"0 0 {port} box.example."], ("box.example", "A"): ["127.0.0.1"]}
            async with dns_server(zone) as dns:
                with pytest.raises(RequestFailed, match=f"the server's certificate is not for {OVERLAY}"):
                    await discovered(dns.address)

    run(work)


@pytest.mark.must("11.2/4")
def test_the_certificate_must_match_the_host_of_a_url_that_was_given(tmp_path: Path) -> None:
    async def work() -> None:
        fingerprint = founding().anchor.fingerprint
        async with https_server(tmp_path, founding().document, OVERLAY) as (_, port):
            with pytest.raises(RequestFailed, match=r"certificate is not for 127\.0\.0\.1"):
                await fetch_configuration(f"https://127.0.0.1:{port}", fingerprint)
        async with https_server(tmp_path, founding().document, OVERLAY, "127.0.0.1") as (_, port):
            document = await fetch_configuration(f"https://127.0.0.1:{port}", fingerprint)
            assert document.raw == founding().document

    run(work)


def test_what_dns_does_not_have_is_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with dns_server({}) as dns:
            with pytest.raises(RequestFailed, match=f"DNS has no SRV record {SRV_NAME}"):
                await discovered(dns.address)
        async with dns_server({(SRV_NAME, "SRV"): ["0 0 0 ."]}) as dns:
            with pytest.raises(RequestFailed, match=f"DNS says that {OVERLAY} has none"):
                await discovered(dns.address)
        async with dns_server({(SRV_NAME, "SRV"): ["0 0 443 box.example."]}) as dns:
            with pytest.raises(RequestFailed, match="have no address"):
                await discovered(dns.address)

    run(work)


def test_4074_a_name_server_that_fails_for_addresses_of_ipv6_alone() -> None:
    """What fails for one family says nothing of the other; and what nobody has answered is not said to be missing."""

    async def work() -> None:
        zone = {(SRV_NAME, "SRV"): ["0 0 443 box.example."], ("box.example", "A"): ["127.0.0.1"]}
        async with dns_server(zone) as dns:
            dns.fails.add(("box.example", "AAAA"))
            (found,) = await find_servers(OVERLAY, resolver_of(dns.address), random.Random(1))
            assert found.address == Address("127.0.0.1", 443)
            dns.fails.add(("box.example", "A"))
            with pytest.raises(RequestFailed, match=r"the targets of .* are not known \(.*SERVFAIL"):
                await find_servers(OVERLAY, resolver_of(dns.address), random.Random(1))

    run(work)


def test_the_next_server_where_one_does_not_answer_or_has_another_s_document(tmp_path: Path) -> None:
    """ "If the XML is not valid or the instance-name attribute [...] does not match the overlay name, this
    configurations file SHOULD be discarded."
    """

    async def work() -> None:
        other = build(replace(founding().configuration, instance_name="other.example"), founding().signer)
        async with (
            https_server(tmp_path, other, OVERLAY) as (_, wrong),
            https_server(tmp_path, founding().document, OVERLAY) as (_, right),
        ):
            records = ["1 0 1 box.example.", f"2 0 {wrong} box.example.", f"3 0 {right} box.example."]
            zone = {(SRV_NAME, "SRV"): records, ("box.example", "A"): ["127.0.0.1"]}
            async with dns_server(zone) as dns:
                assert (await discovered(dns.address)).raw == founding().document
            zone[SRV_NAME, "SRV"] = records[:2]
            async with dns_server(zone) as dns:
                with pytest.raises(RequestFailed, match=r"the document has other\.example"):
                    await discovered(dns.address)

    run(work)


@pytest.mark.must("11.2/7")
def test_peer_init_by_name_by_url_and_by_file(tmp_path: Path) -> None:
    fingerprint = founding().anchor.fingerprint

    async def work() -> None:
        async with https_server(tmp_path, founding().document, OVERLAY) as (_, port):
            zone = {(SRV_NAME, "SRV"): [f"0 0 {port} box.example."], ("box.example", "A"): ["127.0.0.1"]}
            async with dns_server(zone) as dns:
                request = PeerRequest(OVERLAY.upper(), fingerprint, "hill", dns=dns.address)
                state = await init_peer(tmp_path / "peer", request)
                assert state.configuration == founding().configuration
        (tmp_path / "overlay.relo").write_bytes(founding().document)
        assert (await obtain_document(str(tmp_path / "overlay.relo"), fingerprint)).raw == founding().document

    run(work)
    assert load_state(tmp_path / "peer").document.raw == founding().document
    for name in ("club.example", "a.b.c"):
        assert is_overlay_name(name)
    for name in ("config.xml", "overlay.relo", "missing", "./club.example", str(tmp_path)):
        assert not is_overlay_name(name)
    with pytest.raises(LocalMisuse, match="cannot read"):
        asyncio.run(obtain_document("missing.xml", fingerprint))


@pytest.mark.must("11.2/6")
def test_a_running_peer_fetches_what_is_new(tmp_path: Path) -> None:
    """From a server with a certificate of the trust anchor, for the overlay's name, at the address it knows."""

    async def work() -> None:
        new = build(replace(founding().configuration, sequence=2), founding().signer)
        async with https_server(tmp_path, new, OVERLAY) as (_, port):
            known = replace(founding().configuration, enrollment_servers=(f"https://127.0.0.1:{port}/enroll",))
            assert await refetch_configuration(known) == new
        async with https_server(tmp_path, new, "box.example") as (_, port):
            known = replace(founding().configuration, enrollment_servers=(f"https://127.0.0.1:{port}/enroll",))
            with pytest.raises(RequestFailed, match="its certificate is another's"):
                await refetch_configuration(known)

    run(work)


def test_rfc_2782_order() -> None:
    def record(priority: int, weight: int, port: int) -> SRV:
        return SRV("IN", "SRV", priority, weight, port, "x.example.")  # type: ignore[arg-type]

    records = [record(2, 0, 5), record(1, 0, 1), record(1, 90, 2), record(1, 10, 3)]
    firsts = [in_order(records, random.Random(seed))[0].port for seed in range(400)]
    assert all(in_order(records, random.Random(seed))[-1].port == 5 for seed in range(20))
    assert 320 < firsts.count(2) < 390
    assert 10 < firsts.count(3) < 80


def test_rfc_2818_names() -> None:
    certificate = _nameless(("*.club.example", "box.example"))
    assert is_named(certificate, "BOX.example")
    assert is_named(certificate, "a.club.example")
    assert not is_named(certificate, "a.b.club.example")
    assert not is_named(certificate, "club.example")
    assert not is_named(certificate, "127.0.0.1")


def test_a_machine_without_an_answering_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2psip.net.https.configuration_server.LOOKUP_MAX_S", 0.2)

    async def work() -> None:
        with pytest.raises(RequestFailed, match="DNS does not answer"):
            await find_servers(OVERLAY, resolver_of(Address("127.0.0.1", 9)), random.Random(1))

    run(work)
