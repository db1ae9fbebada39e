"""RFC 6940 section 11.3: the certificate request protocol, as each end must speak it."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import httpx2
import pytest
from accounts import CHEAP, accounts, settled
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.daemon.init import PeerRequest, init_peer
from p2psip.enrollment.asked.server_errands import ServerErrands
from p2psip.enrollment.client import accept_certificate
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.server import EnrollmentPolicy, EnrollmentServer, Post, Respond
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.net.https.client import enroll, enrollment_url
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.write import build
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.keys import key_to_pem
from p2psip.reload.security.reload_uri import parse_node_uri
from p2psip.reload.wire.header import Destination
from p2psip.sim.membership import DATE, OVERLAY, Club, founding, key

ALICE = f"alice@{OVERLAY}"
PASSWORD = "älices gehéimnis"


Office = tuple[EnrollmentServer, ServerErrands]
"""A server, and who answers its questions."""


def office(store: AccountDatabase, seed: int) -> Office:
    """One that makes this club's certificates."""
    club = Club.of()
    policy = EnrollmentPolicy(OVERLAY, club.configuration.signature_algorithms)
    core = EnrollmentServer(policy, random.Random(seed), WallClock(DATE), CHEAP)
    return core, ServerErrands(store, club.anchor, random.Random(seed + 1))


def server(directory: Path, seed: int = 7) -> Office:
    """One with an account for alice."""
    return office(accounts(directory, [("alice", PASSWORD)], quota=8), seed)


def post(csr: bytes, **fields: str) -> Post:
    """A form as RFC 2388 has it."""
    files = {"csr": ("request.p10", csr, "application/pkcs10")}
    request = httpx2.Request("POST", "https://x/", data=fields, files=files)
    return Post(request.headers["content-type"], request.read(), "application/pkix-cert", "192.0.2.1")


def answer(there: Office, request: Post) -> Respond:
    """What the server answers once its questions are."""
    core, errands = there
    core.handle_request(1, request, 0.0)
    (found,) = [effect for effect in settled(core, errands, 0.0) if isinstance(effect, Respond)]
    return found


def names_of(der: bytes) -> x509.SubjectAlternativeName:
    """All names in a certificate."""
    return x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@contextmanager
def certificate_file(directory: Path, *names: str) -> Iterator[ssl.SSLContext]:
    """A server's context with a certificate of the trust anchor, for the overlay's name or others."""
    club, private = Club.of(), key(number=9)
    anchor = replace(club.anchor, overlay=names[0]) if names else club.anchor
    der = anchor.issue_server(private.public_key(), names[1:], random.Random(1), Validity.at(DATE, DAY_S))
    path = directory / "server.pem"
    path.write_bytes(key_to_pem(private) + chain_to_pem([der]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    yield context


def as_sent(directory: Path, *names: str, nodeids: int = 1, password: str | None = PASSWORD) -> tuple[str, Message]:
    """What our client sends to an HTTPS server: request line, and headers with body. It is answered with a 403."""
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        size = next(int(line.split(b":")[1]) for line in heard.split(b"\r\n") if line.lower().startswith(b"content-le"))
        heard.extend(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nother")
        await writer.drain()
        writer.close()

    async def run(context: ssl.SSLContext) -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
            url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/enroll"
            configuration = replace(Club.of().configuration, enrollment_servers=(url,))
            account = {"account": "alice", "password": password} if password else {}
            await enroll(configuration, ALICE, key(), nodeids=nodeids, **account)

    with certificate_file(directory, *names) as context, pytest.raises(RequestFailed) as caught:
        asyncio.run(run(context))
    if not heard:
        raise caught.value
    line, _, rest = bytes(heard).partition(b"\r\n")
    return line.decode(), message_from_bytes(rest)


def parts_of(message: Message) -> dict[str, Message]:
    """The parts of a form by name."""
    assert message.get_content_type() == "multipart/form-data"
    parts = message.get_payload()
    assert isinstance(parts, list)
    return {str(part.get_param("name", header="content-disposition")): part for part in parts}


@pytest.mark.must("11.3/5", "11.3/6", "11.3/7", "11.3/9", "11.3/10")
def test_11_3_what_the_client_sends(tmp_path: Path) -> None:
    """A POST, a form of RFC 2388, account and password in UTF-8, the CSR with its type, and what is accepted."""
    line, message = as_sent(tmp_path)
    assert line == "POST /enroll HTTP/1.1"
    assert message["accept"] == "application/pkix-cert"
    parts = parts_of(message)
    assert parts.keys() == {"username", "password", "csr"}
    assert parts["username"].get_payload(decode=True) == b"alice"
    assert parts["password"].get_payload(decode=True) == PASSWORD.encode()
    assert parts["csr"].get_content_type() == "application/pkcs10"
    csr = parts["csr"].get_payload(decode=True)
    assert isinstance(csr, bytes)
    assert x509.load_der_x509_csr(csr).is_signature_valid


@pytest.mark.must("11.3/8")
@pytest.mark.parametrize("nodeids", [2, 16])
def test_11_3_more_node_ids_are_asked_for_by_number(tmp_path: Path, nodeids: int) -> None:
    """ "there MUST be a form parameter of "nodeids" containing the number of Node-IDs required" """
    _, message = as_sent(tmp_path, nodeids=nodeids)
    assert parts_of(message)["nodeids"].get_payload(decode=True) == str(nodeids).encode()


@pytest.mark.must("11.3/3")
def test_11_3_https_or_nothing() -> None:
    """Neither a configuration nor a command line leads to a server without TLS."""
    with pytest.raises(LocalMisuse, match="https"):
        replace(Club.of().configuration, enrollment_servers=("http://192.0.2.1/enroll",))
    with pytest.raises(LocalMisuse, match="https"):
        enrollment_url("http://192.0.2.1/enroll")


@pytest.mark.must("11.3/4")
def test_11_3_a_server_of_another_name_gets_nothing(tmp_path: Path) -> None:
    """Its certificate is of the right trust anchor and has its very address, but not the overlay's name."""
    with pytest.raises(RequestFailed, match="not the overlay's server"):
        as_sent(tmp_path, "other.example", "127.0.0.1")


@pytest.mark.must("11.3/1", "11.3/2")
def test_11_3_without_credentials_no_peer(tmp_path: Path) -> None:
    """Where the configuration names an enrollment server, one enrolls: no account, no peer; with one it is asked."""
    club = Club.of()
    configuration = replace(club.configuration, enrollment_servers=("https://127.0.0.1:9/enroll",))
    document = tmp_path / "config.xml"
    document.write_bytes(build(configuration, founding().signer))
    request = PeerRequest(str(document), club.anchor.fingerprint, "x")
    with pytest.raises(LocalMisuse, match="the account under which this peer is enrolled"):
        asyncio.run(init_peer(tmp_path / "peer", request))
    with pytest.raises(RequestFailed, match=r"https://127\.0\.0\.1:9/enroll"):
        asyncio.run(init_peer(tmp_path / "peer", replace(request, account="alice", password=PASSWORD)))
    assert not (tmp_path / "peer" / "peer.crt").exists()
    with pytest.raises(UntrustedCertificate):
        club.verifier.check([], DATE, True)


@pytest.mark.must("11.3/11", "11.3/12", "11.3/20")
def test_11_3_a_certificate_for_the_csr_and_no_other(tmp_path: Path) -> None:
    """ "returned as type "application/pkix-cert" [...] with an HTTP status code of 200 OK": for the key in the CSR."""
    core = server(tmp_path)
    granted = answer(core, post(make_request(key(number=3), ALICE), username="alice", password=PASSWORD))
    assert (granted.status, granted.content_type) == (200, "application/pkix-cert")
    assert x509.load_der_x509_certificate(granted.body).public_key() == key(number=3).public_key()
    refused = answer(core, post(make_request(key(number=3), ALICE), username="alice", password=PASSWORD + "x"))
    assert (refused.status, refused.content_type, refused.body) == (403, "text/plain", b"failed_authentication")


@pytest.mark.must("11.3/13", "11.3/17", "11.3/18", "11.3/19")
def test_11_3_what_is_in_the_certificate_and_what_is_not(tmp_path: Path) -> None:
    """One rfc822Name, URIs with one node_id each, nothing else, whatever else the CSR asks for."""
    names = [x509.RFC822Name(ALICE), x509.DNSName("evil.example"), x509.UniformResourceIdentifier("reload://00@x/")]
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    request = csr.sign(key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    granted = answer(server(tmp_path), post(request, username="alice", password=PASSWORD, nodeids="3"))
    certificate = x509.load_der_x509_certificate(granted.body)
    assert not list(certificate.subject)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    found = names_of(granted.body)
    assert found.get_values_for_type(x509.RFC822Name) == [ALICE]
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    assert len(found) == 1 + len(uris)
    assert len(uris) == 3
    for uri in uris:
        node_id, overlay = parse_node_uri(uri, 16)
        assert overlay == OVERLAY
        # 14.15: hexadecimal of a destination list: one entry, of type node.
        assert uri == f"reload://{Destination.node(node_id).encode().hex()}@{OVERLAY}/"


@pytest.mark.must("11.3/14", "11.3/15", "11.3/16", "13.3/2", "13.6.2/1")
def test_11_3_node_ids_cannot_be_foreseen_nor_learned_beforehand(tmp_path: Path) -> None:
    """They come of the server's own randomness (in production the operating system's), and only with a certificate."""
    drawn: list[NodeId] = []
    for seed in (1, 2):
        (directory := tmp_path / str(seed)).mkdir()
        core, csr = server(directory, seed), make_request(key(), ALICE)
        refusals = [
            answer(core, post(csr, username="alice", password="wrong")),
            answer(core, post(csr)),
            answer(core, post(csr, username="alice", password=PASSWORD, nodeids="99")),
            answer(core, post(make_request(key(), f"bob@{OVERLAY}"), username="alice", password=PASSWORD)),
        ]
        assert [refusal.body for refusal in refusals] == [
            b"failed_authentication",
            b"failed_authentication",
            b"Node-IDs_not_available",
            b"username_not_available",
        ]
        granted = answer(core, post(csr, username="alice", password=PASSWORD, nodeids="4"))
        member = Club.of().verifier.check([granted.body], DATE, True)
        drawn += member.node_ids
    assert len(set(drawn)) == 8
    # Were they of one seed, or counted, two servers would give the same.
    assert all(len({node_id[place] for node_id in drawn}) > 2 for place in range(16))


@pytest.mark.must("13.3/1")
def test_13_3_a_user_name_is_one_account_s(tmp_path: Path) -> None:
    """ "These names MUST be unique": nobody but its account gets a certificate for a name."""
    core = office(accounts(tmp_path, [("alice", PASSWORD), ("bob", PASSWORD)], quota=8), 1)
    peer = f"peer-hill@{OVERLAY}"
    assert answer(core, post(make_request(key(), peer), username="alice", password=PASSWORD)).status == 200
    for name in (ALICE, peer):
        taken = answer(core, post(make_request(key(number=1), name), username="bob", password=PASSWORD))
        assert taken.body == b"username_not_available"


@pytest.mark.must("11.3/21")
def test_11_3_the_client_checks_the_chain_and_the_count() -> None:
    """ "The node then reads the certificate to find the Node-ID it can use.": one of those that it asked for."""
    club = Club.of()
    two = [NodeId(bytes([number] * 16)) for number in (1, 2)]

    def accept(configuration: OverlayConfiguration, nodeids: int) -> list[NodeId]:
        certificate = club.certificate(ALICE, two)
        identity = accept_certificate(
            configuration, key(), ALICE, certificate, "server", 0.0, DATE, True, nodeids=nodeids
        )
        return list(identity.node_ids)

    assert accept(club.configuration, 2) == two
    with pytest.raises(RequestFailed, match="it has 2 Node-IDs, not the 1 asked for"):
        accept(club.configuration, 1)
    with pytest.raises(RequestFailed, match="unknown issuer"):
        accept(replace(club.configuration, root_certs=()), 2)
