"""Links with a shared secret (p2psip.net.sockets.psk): both ends of a handshake in memory."""

from __future__ import annotations

import contextlib
import random
from functools import cache

import pytest
from OpenSSL import SSL, crypto

from p2psip.enrollment.client import self_enroll
from p2psip.net.sockets.psk import require_shared_secret
from p2psip.net.sockets.tls import make_context
from p2psip.reload.config.configuration import SHARED_SECRET_MAX, OverlayConfiguration
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import OVERLAY, key

RSA, ECDSA = SignatureAlgorithm.RSA, SignatureAlgorithm.ECDSA
SECRET = "s" * 43


@cache
def identity(number: int, algorithm: SignatureAlgorithm = RSA) -> CertifiedIdentity:
    """Somebody with a certificate of its own making."""
    configuration = OverlayConfiguration(OVERLAY, self_signed_digest=HashAlgorithm.SHA256)
    return self_enroll(configuration, key(algorithm, number), f"p{number}@{OVERLAY}", random.Random(number))


def connection(
    number: int, secret: str | None, *, is_server: bool, algorithm: SignatureAlgorithm = RSA
) -> SSL.Connection:
    """One end."""
    who = identity(number, algorithm)
    made = SSL.Connection(make_context(who.chain, who.key, shared_secret=secret))
    (made.set_accept_state if is_server else made.set_connect_state)()
    return made


def shake(client: SSL.Connection, server: SSL.Connection) -> list[str]:
    """Carry bytes to and fro until both are content, or one is not; what it said."""
    for _ in range(8):
        for here, there in ((client, server), (server, client)):
            try:
                here.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return [str(entry[-1]) for entry in error.args[0]]
            with contextlib.suppress(SSL.WantReadError):
                there.bio_write(here.bio_read(1 << 16))
    return []


def shown(end: SSL.Connection) -> bytes:
    """The certificate that the other end has proved."""
    certificate = end.get_peer_certificate()
    assert certificate is not None
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


@pytest.mark.must("13.4/1")
@pytest.mark.parametrize("client_key", [RSA, ECDSA])
def test_who_knows_the_secret_gets_in_and_shows_a_certificate(client_key: SignatureAlgorithm) -> None:
    """ "used together with certificate-based access control, not as a replacement for it": both ends prove theirs."""
    client, server = connection(1, SECRET, is_server=False, algorithm=client_key), connection(2, SECRET, is_server=True)
    assert shake(client, server) == []
    assert shown(client) == identity(2).chain[0]
    assert shown(server) == identity(1, client_key).chain[0]
    assert "PSK" in (client.get_cipher_name() or "")
    assert client.get_protocol_version_name() == "TLSv1.2"
    client.sendall(b"words")
    server.bio_write(client.bio_read(4096))
    assert server.recv(5) == b"words"


@pytest.mark.must("13.4/1")
@pytest.mark.parametrize("strangers", ["another secret", None])
@pytest.mark.parametrize("is_client", [True, False])
def test_a_stranger_does_not_get_in(strangers: str | None, is_client: bool) -> None:
    """ "A peer which does not know the key cannot form TLS connections with any other peer", either way round."""
    client = connection(1, strangers if is_client else SECRET, is_server=False)
    server = connection(2, SECRET if is_client else strangers, is_server=True)
    assert shake(client, server)


@pytest.mark.must("13.4/1")
def test_a_stranger_with_the_ciphers_of_others_does_not_get_in() -> None:
    """Nothing else is spoken: neither TLS 1.3 nor a cipher without the secret."""
    for ciphers in (b"ECDHE-RSA-AES256-GCM-SHA384", b"PSK-AES256-GCM-SHA384", b"ALL:eNULL:@SECLEVEL=0"):
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_verify(SSL.VERIFY_NONE)
        context.set_cipher_list(ciphers)
        client = SSL.Connection(context)
        client.set_connect_state()
        assert shake(client, connection(2, SECRET, is_server=True))


def test_without_a_certificate_the_secret_does_not_help() -> None:
    """Who knows the secret and shows no certificate is nobody."""
    bare = SSL.Context(SSL.TLS_METHOD)
    bare.set_verify(SSL.VERIFY_NONE)
    require_shared_secret(bare, SECRET)
    nobody = SSL.Connection(bare)
    nobody.set_connect_state()
    assert shake(nobody, connection(2, SECRET, is_server=True)) == ["peer did not return a certificate"]


def test_a_secret_may_be_as_long_as_the_configuration_permits() -> None:
    """In UTF-8."""
    secret = "\u00e4" * (SHARED_SECRET_MAX // 2)
    assert shake(connection(1, secret, is_server=False), connection(2, secret, is_server=True)) == []


@pytest.mark.must("13.4/1")
@pytest.mark.parametrize("guess", [SECRET, "another secret", None])
def test_links_over_dtls_need_the_secret_as_well(guess: str | None) -> None:
    """The same key exchange, in datagrams."""
    ends = []
    for number, secret in ((1, guess), (2, SECRET)):
        who = identity(number)
        end = SSL.Connection(make_context(who.chain, who.key, shared_secret=secret, is_datagram=True))
        end.set_ciphertext_mtu(1200)
        ends.append(end)
    client, server = ends
    client.set_connect_state()
    server.set_accept_state()
    said = shake(client, server)
    if guess == SECRET:
        assert said == []
        assert (shown(client), shown(server)) == (identity(2).chain[0], identity(1).chain[0])
        client.send(b"words")
        server.bio_write(client.bio_read(4096))
        assert server.recv(5) == b"words"
        return
    # A wrong key shows as a record that cannot be read, which DTLS drops: the handshake never ends.
    for end in (client, server):
        with pytest.raises(SSL.Error):
            end.do_handshake()
        with pytest.raises(SSL.Error):
            end.send(b"words")
