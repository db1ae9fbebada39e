"""Enrollment over real HTTPS on loopback: overlay, server, newcomers, and what they must not believe."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import httpx2
import pytest
from accounts import CHEAP
from cryptography import x509

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.wallclock import WallClock
from p2psip.daemon.init import PeerRequest, init_peer, renew_peer
from p2psip.daemon.state.state import load_state
from p2psip.enrollment.accounts import Account
from p2psip.enrollment.asked.server_errands import ServerErrands
from p2psip.enrollment.client import EnrollmentRefused
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.founding import Founding, Terms, found
from p2psip.enrollment.passwords import hash_password
from p2psip.enrollment.server import EnrollmentPolicy, EnrollmentServer
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.https.client import configuration_url, enroll, enrollment_url, fetch_configuration
from p2psip.net.https.server import EnrollmentService, HttpsServer, server_context
from p2psip.net.sockets import crowd
from p2psip.net.sockets.crowd import CALLERS_MAX, CALLERS_OF_ADDRESS_MAX
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.authority import TrustAnchor
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, OVERLAY, key

PASSWORD = "alice's secret"
ALICE = f"alice@{OVERLAY}"

Hung = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@cache
def founding(algorithm: SignatureAlgorithm) -> Founding:
    """An overlay that began now: these tests have the machine's own clock."""
    return found(OVERLAY, f"admin@{OVERLAY}", Terms((algorithm,)), random.Random(1), time.time())


class Site:
    """An overlay's directory with its server."""

    def __init__(self, directory: OverlayDirectory, origin: str) -> None:
        self.directory = directory
        self.origin = origin
        self.fingerprint = directory.anchor().fingerprint

    @property
    def configuration(self) -> OverlayConfiguration:
        """What the overlay's members have, with the server's address in it."""
        return replace(self.directory.document().configuration, enrollment_servers=(f"{self.origin}/enroll",))


@asynccontextmanager
async def site(
    path: Path, algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA, *, is_delegated: bool = False
) -> AsyncIterator[Site]:
    """A server on a free port of loopback, with an account for alice."""
    rng = random.SystemRandom()
    admin = Account(f"admin@{OVERLAY}", "scrypt$4$8$1$00$00", is_admin=True)
    directory = OverlayDirectory.create(path / "club", founding(algorithm), admin)
    if is_delegated:
        directory = directory.delegate(path / "server", rng, time.time(), 1e6)
    anchor = directory.anchor()
    accounts = directory.accounts()
    accounts.add(Account(ALICE, hash_password(PASSWORD, rng, CHEAP), quota=3))
    configuration = directory.document().configuration
    policy = EnrollmentPolicy(OVERLAY, configuration.signature_algorithms)
    core = EnrollmentServer(policy, rng, WallClock(time.time() - time.monotonic()), CHEAP)
    errands = ServerErrands(accounts, replace(anchor, url="https://anywhere.example/authority.cer"), rng)
    authority = anchor.der if is_delegated else None
    service = EnrollmentService(core, errands, directory.document_path, "welcome", authority)
    certificate = directory.server_certificate(["127.0.0.1"], rng, time.time())
    server = HttpsServer(service.app, server_context(certificate))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.start([listener])
        try:
            yield Site(directory, f"https://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            await server.stop()
            service.close()
            accounts.close()


def run(test: Callable[[Site, Path], Awaitable[None]], path: Path, *args: SignatureAlgorithm) -> None:
    """Run a test with a site of its own."""

    async def body() -> None:
        async with site(path, *args) as here:
            await test(here, path)

    asyncio.run(body())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_from_a_fingerprint_to_a_certificate_and_its_renewal(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    async def test(here: Site, path: Path) -> None:
        document = await fetch_configuration(here.origin, here.fingerprint)
        assert document.configuration == founding(algorithm).configuration
        configuration = here.configuration
        private = key(algorithm)
        identity = await enroll(configuration, ALICE, private, account="alice", password=PASSWORD, nodeids=2)
        chain = [certificate.certificate for certificate in identity.certificates]
        member = CertificateVerifier(configuration).check(chain, time.time(), True)
        assert (member.user, len(member.node_ids)) == (ALICE, 2)
        again = await enroll(configuration, ALICE, private, nodeids=2)
        assert again.node_id == identity.node_id
        assert again.chain != identity.chain

    run(test, tmp_path, algorithm)


@pytest.mark.must("11.3/21", "13.3/3")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_enrollment_server_without_the_trust_anchor_s_key(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    """It has an authority of its own; the member gets that one's certificate as well, and everybody believes it."""

    async def test(here: Site, path: Path) -> None:
        configuration = here.configuration
        identity = await enroll(configuration, ALICE, key(algorithm), account="alice", password=PASSWORD)
        assert identity.chain[1:] == (here.directory.anchor().der,)
        assert not (here.directory.path / "signer.key").exists()
        member = CertificateVerifier(configuration).check(identity.chain, time.time(), True)
        assert member.user == ALICE
        again = await enroll(configuration, ALICE, key(algorithm))
        assert again.node_id == identity.node_id
        with pytest.raises(LocalMisuse, match="is of an enrollment server itself"):
            here.directory.delegate(path / "third", random.Random(1), time.time(), 1.0)

    async def body() -> None:
        async with site(tmp_path, algorithm, is_delegated=True) as here:
            await test(here, tmp_path)

    asyncio.run(body())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_machine_becomes_a_peer(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    async def test(here: Site, path: Path) -> None:
        with here.directory.locked():
            here.directory.revise(here.configuration)
        request = PeerRequest(
            here.origin,
            here.fingerprint,
            "garden",
            "alice",
            PASSWORD,
            settings={"overlay_port": 7000, "sip_port": None},
        )
        state = await init_peer(path / "peer", request)
        assert state.identity.user == f"peer-garden@{OVERLAY}"
        assert state.settings.overlay_port == 7000
        loaded = load_state(path / "peer", {"sip_port": 5073})
        assert loaded.identity.node_id == state.identity.node_id
        assert loaded.configuration == here.configuration
        assert loaded.settings.sip_port == 5073
        assert (path / "peer" / "peer.key").stat().st_mode & 0o777 == 0o600
        assert PASSWORD not in "".join(
            file.read_bytes().decode("latin-1") for file in (path / "peer").iterdir() if file.is_file()
        )
        renewed = await renew_peer(loaded)
        assert renewed.node_id == state.identity.node_id
        assert load_state(path / "peer").identity.chain == renewed.chain
        with pytest.raises(LocalMisuse, match="is a peer's already"):
            await init_peer(path / "peer", request)

    run(test, tmp_path, algorithm)


def test_a_failed_init_can_be_repeated_and_keeps_its_node_id(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        wrong = PeerRequest(here.origin, here.fingerprint, "garden", "alice", "wrong")
        with pytest.raises(EnrollmentRefused, match="user name or the password"):
            await init_peer(path / "peer", wrong)
        private = (path / "peer" / "peer.key").read_bytes()
        # The configuration names an address where nobody is; the server that gave the document is tried as well.
        state = await init_peer(path / "peer", replace(wrong, password=PASSWORD))
        assert (path / "peer" / "peer.key").read_bytes() == private
        (path / "peer" / "peer.crt").unlink()
        again = await init_peer(path / "peer", replace(wrong, password=PASSWORD))
        assert again.identity.node_id == state.identity.node_id

    run(test, tmp_path)


def test_a_document_in_a_file_is_proven_the_same_way(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        with here.directory.locked():
            here.directory.revise(here.configuration)
        file = str(here.directory.document_path)
        with pytest.raises(LocalMisuse, match=f"not {'0' * 64}"):
            await init_peer(path / "peer", PeerRequest(file, "0" * 64, "garden", "alice", PASSWORD))
        with pytest.raises(LocalMisuse, match="give --user"):
            await init_peer(path / "peer", PeerRequest(file, here.fingerprint, "garden"))
        with pytest.raises(LocalMisuse, match="cannot read"):
            await init_peer(path / "peer", PeerRequest(f"{file}x", here.fingerprint, "garden"))
        state = await init_peer(path / "peer", PeerRequest(file, here.fingerprint, "garden", "alice", PASSWORD))
        assert state.identity.user == f"peer-garden@{OVERLAY}"

    run(test, tmp_path)


def test_what_this_release_cannot_do_is_said_at_once(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        with here.directory.locked():
            here.directory.revise(
                replace(here.configuration, no_ice=False, overlay_link_protocols=("TLS-TCP-FH-NO-ICE",))
            )
        request = PeerRequest(here.origin, here.fingerprint, "garden", "alice", PASSWORD)
        with pytest.raises(LocalMisuse, match=r"cannot be a peer of club\.example: no overlay link protocol DTLS"):
            await init_peer(path / "peer", request)
        assert not (path / "peer").exists()

    run(test, tmp_path)


def test_a_wrong_fingerprint_is_the_end(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        with pytest.raises(RequestFailed, match=f"is {here.fingerprint}, not {'0' * 64}"):
            await fetch_configuration(here.origin, "0" * 64)

    run(test, tmp_path)


def test_a_server_that_tampers_is_found_out(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        raw = here.directory.document_path.read_bytes()
        here.directory.document_path.write_bytes(raw.replace(b"<no-ice>true", b"<no-ice>1   "))
        with pytest.raises(RequestFailed, match="not duly signed"):
            await fetch_configuration(here.origin, here.fingerprint)
        here.directory.document_path.write_bytes(b'<!DOCTYPE l [<!ENTITY a "lol">]><l>&a;</l>')
        with pytest.raises(RequestFailed, match="DOCTYPE"):
            await fetch_configuration(here.origin, here.fingerprint)
        here.directory.document_path.write_bytes(b" " * (2 << 20))
        with pytest.raises(RequestFailed, match="more than 1048576 bytes"):
            await fetch_configuration(here.origin, here.fingerprint)

    run(test, tmp_path)


def test_a_document_that_cannot_be_read_is_not_there_yet(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        here.directory.document_path.rename(path / "elsewhere")
        with pytest.raises(RequestFailed, match="HTTP status 503"):
            await fetch_configuration(here.origin, here.fingerprint)
        (path / "elsewhere").rename(here.directory.document_path)
        await fetch_configuration(here.origin, here.fingerprint)

    run(test, tmp_path)


@pytest.mark.must("11.3/3", "11.3/4")
def test_passwords_go_to_the_overlay_s_own_server_only(tmp_path: Path) -> None:
    """A server with another trust anchor's certificate for the same name, and one with a member's certificate."""

    async def test(here: Site, path: Path) -> None:
        other = TrustAnchor.create(OVERLAY, random.Random(5), time.time())
        believed = replace(here.configuration, root_certs=(other.der,))
        with pytest.raises(RequestFailed, match="not the overlay's server") as caught:
            await enroll(believed, ALICE, key(), account="alice", password=PASSWORD)
        assert caught.value.causes[0].who == f"{here.origin}/enroll"
        renamed = replace(here.configuration, instance_name="other.example")
        with pytest.raises(RequestFailed, match="not the overlay's server"):
            await enroll(renamed, ALICE, key(), account="alice", password=PASSWORD)

    run(test, tmp_path)


def test_every_server_s_reason_is_told(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        dead = f"https://127.0.0.1:{port}/enroll"
        two = replace(here.configuration, enrollment_servers=(dead, f"{here.origin}/nowhere"))
        with pytest.raises(RequestFailed) as caught:
            await enroll(two, ALICE, key(), account="alice", password=PASSWORD)
        assert [cause.who for cause in caught.value.causes] == [dead, f"{here.origin}/nowhere"]
        assert "cannot connect" in caught.value.causes[0].what
        assert "HTTP status 404" in caught.value.causes[1].what
        identity = await enroll(
            replace(two, enrollment_servers=(dead,)),
            ALICE,
            key(),
            account="alice",
            password=PASSWORD,
            other_servers=[f"{here.origin}/enroll"],
        )
        assert identity.user == ALICE
        with pytest.raises(LocalMisuse, match="names no enrollment server"):
            await enroll(replace(two, enrollment_servers=()), ALICE, key())

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ({"password": "wrong"}, "failed_authentication"),
        ({"account": "nobody"}, "failed_authentication"),
        ({"user": f"bob@{OVERLAY}"}, "username_not_available"),
        ({"nodeids": 4}, "Node-IDs_not_available"),
        ({"private": key(SignatureAlgorithm.RSA)}, "bad_CSR"),
    ],
)
def test_11_3_the_rfc_s_tokens_over_the_wire(tmp_path: Path, fields: dict[str, object], token: str) -> None:
    async def test(here: Site, path: Path) -> None:
        given = {"account": "alice", "password": PASSWORD} | fields
        user, private = given.pop("user", ALICE), given.pop("private", key())
        with pytest.raises(EnrollmentRefused) as caught:
            await enroll(here.configuration, user, private, **given)  # type: ignore[arg-type]
        assert caught.value.token == token

    run(test, tmp_path)


def test_11_2_and_11_3_as_http_sees_them(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=founding(SignatureAlgorithm.ECDSA).anchor.der)
        # The certificate also has the address, for those who look at the page with a browser.
        async with httpx2.AsyncClient(verify=context, base_url=here.origin, trust_env=False) as client:
            response = await client.get("/.well-known/reload-config")
            assert response.status_code == 200
            assert response.headers["content-type"] == "application/p2p-overlay+xml"
            assert response.content == here.directory.document_path.read_bytes()
            assert "server" not in response.headers
            files = {"csr": ("x", make_request(key(), ALICE), "application/pkcs10")}
            data = {"username": "alice", "password": PASSWORD}
            accept = {"Accept": "application/pkix-cert"}
            response = await client.post("/enroll", data=data, files=files, headers=accept)
            assert (response.status_code, response.headers["content-type"]) == (200, "application/pkix-cert")
            assert not list(x509.load_der_x509_certificate(response.content).subject)
            response = await client.post("/", data=data | {"password": "x"}, files=files, headers=accept)
            assert (response.status_code, response.text) == (403, "failed_authentication")
            assert response.headers["content-type"].startswith("text/plain")
            assert (
                await client.post("/enroll", data=data, files=files, headers={"Accept": "text/x"})
            ).status_code == 406
            assert (await client.post("/enroll", content=b"garbage")).status_code == 400
            assert (await client.post("/enroll", content=bytes(100_000))).status_code == 400
            assert (await client.get("/")).text == "welcome"
            assert (await client.get("/enroll")).status_code == 405
            assert (await client.get("/other")).status_code == 404

    run(test, tmp_path)


def test_bytes_that_are_no_http_do_not_stop_the_server(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        port = int(here.origin.rpartition(":")[2])
        rng = random.Random(1)
        insecure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        insecure.check_hostname = False
        insecure.verify_mode = ssl.CERT_NONE
        for context in (None, insecure):
            for _ in range(5):
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                writer.write(rng.randbytes(500))
                writer.close()
                try:
                    await writer.wait_closed()
                except (ConnectionError, ssl.SSLError):
                    continue
        assert (await fetch_configuration(here.origin, here.fingerprint)).configuration.instance_name == OVERLAY

    run(test, tmp_path)


def test_a_connection_that_says_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2psip.net.https.server.CONNECTION_LIFETIME_S", 0.2)

    async def test(here: Site, path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=founding(SignatureAlgorithm.ECDSA).anchor.der)
        port = int(here.origin.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"POST /enroll HTTP/1.1\r\nX-Slow: ")
        async with asyncio.timeout(5):
            # An end or a reset, but within the time.
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()

    run(test, tmp_path)


def test_many_at_once_each_get_an_answer(tmp_path: Path) -> None:
    async def test(here: Site, path: Path) -> None:
        async def one(number: int) -> object:
            user = f"peer-{number}@{OVERLAY}"
            return await enroll(here.configuration, user, key(number=number), account="alice", password=PASSWORD)

        answers = await asyncio.gather(*(one(number) for number in range(8)), return_exceptions=True)
        refused = [answer.token for answer in answers if isinstance(answer, EnrollmentRefused)]
        assert refused == ["Node-IDs_not_available"] * 5
        assert len({answer.node_id for answer in answers if not isinstance(answer, BaseException)}) == 3  # type: ignore[attr-defined]

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ("wants a certificate of ours", "no enrollment server, its TLS says: tlsv13 alert certificate required"),
        ("no TLS", "no enrollment server, its TLS says:"),
        ("nobody", "cannot connect (Connection refused)"),
    ],
)
def test_another_program_at_the_port_is_named_so(tmp_path: Path, answers: str, words: str) -> None:
    """A mistyped port is as a rule that of the peer: TLS 1.3 tells a client only after the handshake that it will not
    do without a certificate.
    """

    def answer(listener: socket.socket, context: ssl.SSLContext) -> None:
        listener.settimeout(10.0)
        for _ in range(2):
            connection, _ = listener.accept()
            if answers == "no TLS":
                with connection:
                    connection.sendall(b"220 not what you think\r\n")
                continue
            with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
                with pytest.raises(ssl.SSLError):
                    tls.do_handshake()
                # Who closes before all is read resets the connection, and takes its words back.
                while socket.socket.recv(tls, 65536):
                    continue

    async def test(here: Site, path: Path) -> None:
        context = server_context(here.directory.server_certificate(["127.0.0.1"], random.SystemRandom(), time.time()))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=here.directory.anchor().der)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            if answers == "nobody":
                listener.close()
                program = None
            else:
                program = asyncio.create_task(asyncio.to_thread(answer, listener, context))
            with pytest.raises(RequestFailed, match=re.escape(words)):
                await fetch_configuration(url, here.fingerprint)
            other = replace(here.configuration, enrollment_servers=(f"{url}/enroll",))
            with pytest.raises(RequestFailed, match=re.escape(words)):
                await enroll(other, ALICE, key(SignatureAlgorithm.ECDSA), account="alice", password=PASSWORD)
            if program is not None:
                await program

    run(test, tmp_path)


def test_addresses_of_servers() -> None:
    assert configuration_url("https://box:8443") == "https://box:8443/.well-known/reload-config"
    assert configuration_url("https://box/") == "https://box/.well-known/reload-config"
    assert configuration_url("https://box/a.xml") == "https://box/a.xml"
    assert enrollment_url("https://[2001:db8::1]:8443") == "https://[2001:db8::1]:8443/enroll"
    for wrong in (
        "",
        "box",
        "http://box",
        "https://",
        "https://box:x",
        "https://box:99999",
        "https://[::1",
        "https://256.0.0.1",
    ):
        with pytest.raises(LocalMisuse, match="write https://HOST:PORT"):
            configuration_url(wrong)


async def _half_requests(port: int, count: int, words: bytes | None, source: str = "127.0.0.9") -> list[Hung]:
    """Connections that have said so much of a request and no more; without words not even what TLS begins with."""
    context = None
    if words is not None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    made: list[Hung] = []
    for _ in range(count):
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(source, 0))
            if words is not None:
                writer.write(words)
            made.append((reader, writer))
    return made


@pytest.mark.parametrize(
    "words",
    [None, b"", b"GET / HTT", b"POST /enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nabc"],
    ids=["silence", "TLS", "header", "body"],
)
def test_one_address_cannot_keep_everybody_from_enrolling(tmp_path: Path, words: bytes | None) -> None:
    """Many half requests: who comes from elsewhere is served at once, and even who comes from the same address."""

    async def test(here: Site, path: Path) -> None:
        port = int(here.origin.rpartition(":")[2])
        hung = await _half_requests(port, 2 * CALLERS_OF_ADDRESS_MAX, words)
        for last in range(10, 10 + CALLERS_MAX // CALLERS_OF_ADDRESS_MAX):
            hung += await _half_requests(port, CALLERS_OF_ADDRESS_MAX, words, f"127.0.0.{last}")
        async with asyncio.timeout(15):
            ecdsa = key(SignatureAlgorithm.ECDSA)
            assert (await enroll(here.configuration, ALICE, ecdsa, account="alice", password=PASSWORD)).node_id
            ((reader, writer),) = await _half_requests(port, 1, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()
            # The eldest had to go.
            for caller, _ in hung[:CALLERS_OF_ADDRESS_MAX]:
                with suppress(ConnectionError):
                    assert await caller.read() == b""
        assert sum(not caller.at_eof() for caller, _ in hung) > CALLERS_MAX // 2
        for _, writer in hung:
            writer.transport.abort()

    run(test, tmp_path)


def test_who_takes_too_long_to_ask_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "REQUEST_MAX_S", 0.5)

    async def test(here: Site, path: Path) -> None:
        port = int(here.origin.rpartition(":")[2])
        async with asyncio.timeout(15):
            for words in (None, b"", b"GET / HTT"):
                ((reader, writer),) = await _half_requests(port, 1, words)
                with suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.transport.abort()

    run(test, tmp_path)
