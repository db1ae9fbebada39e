"""RFC 6940 section 13: chains of certificates, several trust anchors, what runs out, and secure links."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from OpenSSL import SSL

from p2psip.base.effects import Effect
from p2psip.net.sockets.tls import make_context
from p2psip.reload.link.framing import Deframer
from p2psip.reload.node.effects import Write
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.security.errors import CertificateProblem, UntrustedCertificate
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.message import Message
from p2psip.sim.certified import CertifiedOverlay, enrolled, ring_id
from p2psip.sim.invariants import chord_of
from p2psip.sim.membership import DATE, OVERLAY, Club, founding, key
from p2psip.sim.registrations import wait_until
from p2psip.sim.world import Host

ECDSA = SignatureAlgorithm.ECDSA


def issued(anchor: TrustAnchor, number: int, chain: tuple[bytes, ...] = ()) -> CertifiedIdentity:
    """Peer `number`, with a certificate of this authority and those above it."""
    validity = Validity.at(DATE, 30 * DAY_S)
    user = f"peer-p{number}@{OVERLAY}"
    leaf = anchor.issue(key(number=number).public_key(), user, [ring_id(number)], random.Random(number), validity)
    return CertifiedIdentity(key(number=number), [leaf, *chain])


@pytest.mark.must("13.3/3", "6.3.4/1")
def test_13_3_an_intermediate_authority_between_members_and_the_root_cert() -> None:
    """The enrollment server's own authority is not in the document: peers bring its certificate with theirs."""
    club = Club.of()
    enrollment = founding().anchor.delegate("enrollment", random.Random(3), Validity.at(DATE, 400 * DAY_S))
    overlay = CertifiedOverlay(club, "chain", identity_of=lambda number: issued(enrollment, number, (enrollment.der,)))
    seen: list[Message] = []
    do = overlay.world._do

    def watch(host: Host, effect: Effect) -> None:
        _note(seen, host, effect)
        do(host, effect)

    overlay.world._do = watch  # type: ignore[method-assign]
    overlay.grow(3)
    assert seen
    assert all(enrollment.der in {c.certificate for c in message.security_block.certificates} for message in seen)
    verifier = club.verifier
    assert verifier.check(issued(enrollment, 1, (enrollment.der,)).chain, DATE, True).issuers == (enrollment.der,)
    with pytest.raises(UntrustedCertificate) as caught:
        club.verifier.check(issued(enrollment, 1).chain, DATE, True)
    assert caught.value.problem is CertificateProblem.UNKNOWN_ISSUER


def _note(seen: list[Message], host: Host, effect: Effect) -> None:
    if isinstance(effect, Write) and effect.link in host.links:
        frames = Deframer(1 << 24).feed(effect.data)
        seen.extend(Message.decode(content) for _, content in frames if not isinstance(content, int))


def test_13_3_an_intermediate_that_has_ended_is_named_with_its_date() -> None:
    """Not the member's certificate ran out, but the authority's: the reason is the date, and whose clock it is by; a
    machine without the date is not locked out by it.
    """
    club, long = Club.of(), Validity(DATE - DAY_S, DATE + 400 * DAY_S)
    enrollment = club.anchor.delegate("enrollment", random.Random(3), long)
    leaf = issued(enrollment, 1).chain[0]
    short = club.anchor.delegate(
        "enrollment", random.Random(4), Validity(DATE - DAY_S, DATE + 10 * DAY_S), key=enrollment.key
    )
    chain = [leaf, short.der]
    assert club.verifier.check(chain, DATE, True).not_after == DATE + 10 * DAY_S
    for verifier in (club.verifier, _warm(club, chain)):
        with pytest.raises(UntrustedCertificate, match="the clock here says") as caught:
            verifier.check(chain, DATE + 20 * DAY_S, True)
        assert caught.value.problem is CertificateProblem.EXPIRED
        assert verifier.check(chain, DATE + 20 * DAY_S, False).user == f"peer-p1@{OVERLAY}"


def _warm(club: Club, chain: list[bytes]) -> CertificateVerifier:
    verifier = club.verifier
    verifier.check(chain, DATE, True)
    return verifier


@pytest.mark.must("13.3/3")
def test_13_3_several_root_certs_each_make_members() -> None:
    """11.1: "There can be more than one": a new authority beside the old one, while members change over."""
    old, new = Club.of(), TrustAnchor.create(OVERLAY, random.Random(9), DATE)
    both = replace(old, configuration=replace(old.configuration, root_certs=(old.anchor.der, new.der)))
    overlay = CertifiedOverlay(both, "two", identity_of=lambda number: issued((old.anchor, new)[number % 2], number))
    overlay.grow(4)
    # Then the old one is taken out: its members are cut off, those of the new one stay with each other.
    changed = replace(overlay.configuration, root_certs=(new.der,))
    for name in ("p1", "p3"):
        host = overlay.world.hosts[name]
        overlay.world.call(host, lambda now, host=host: overlay.node(host).use_trust(changed, now))  # type: ignore[misc]
    wait_until(overlay, 60.0, lambda: chord_of(overlay.nodes["p1"]).table.successors == (ring_id(3),))
    assert chord_of(overlay.nodes["p3"]).table.successors == (ring_id(1),)


def test_13_3_expired_members_are_refused_with_that_reason_and_a_wrong_clock_is_named() -> None:
    """Design: "A wrong clock is named as such, not as a bad certificate." """
    club = Club.of()
    certificate = club.certificate(begins=DATE - DAY_S, ends=DATE + DAY_S)
    with pytest.raises(UntrustedCertificate, match=r"expired on 2027-01-16 .*; the clock here says 2027-01-17") as late:
        club.verifier.check([certificate], DATE + 2 * DAY_S, True)
    assert late.value.problem is CertificateProblem.EXPIRED
    with pytest.raises(UntrustedCertificate, match="one of the two clocks is wrong") as early:
        club.verifier.check([club.certificate(begins=DATE + DAY_S)], DATE, True)
    assert early.value.problem is CertificateProblem.NOT_YET_VALID


# Links: 13.2, 13.6.3


def pair(server: SSL.Context, client: SSL.Context) -> tuple[SSL.Connection, SSL.Connection]:
    """Both ends of a connection, before the handshake."""
    ends = SSL.Connection(server), SSL.Connection(client)
    ends[0].set_accept_state()
    ends[1].set_connect_state()
    return ends


def carry(here: SSL.Connection, there: SSL.Connection, change: Callable[[bytes], bytes] = bytes) -> bytes:
    """What one end says goes to the other."""
    try:
        data = change(here.bio_read(1 << 16))
    except SSL.WantReadError:
        return b""
    there.bio_write(data)
    return data


def shake(server: SSL.Connection, client: SSL.Connection) -> None:
    """The handshake; SSL.Error if one end does not like the other."""
    for _ in range(6):
        for here, there in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                here.do_handshake()
            carry(here, there)


def context(number: int) -> SSL.Context:
    """As peers have it."""
    identity = enrolled(Club.of(), number, ECDSA)
    return make_context(identity.chain, identity.key)


@pytest.mark.must("13.2/1", "6.6.1/2")
def test_13_2_both_ends_of_a_link_must_show_a_certificate() -> None:
    """ "authentication of the directly communicating peer": a client without one is not let through the handshake."""
    server, client = pair(context(1), context(2))
    shake(server, client)
    assert server.get_peer_certificate() is not None
    assert client.get_peer_certificate() is not None
    nobody = SSL.Context(SSL.TLS_METHOD)
    nobody.set_verify(SSL.VERIFY_NONE)
    with pytest.raises(SSL.Error, match="peer did not return a certificate"):
        shake(*pair(context(1), nobody))


@pytest.mark.must("13.2/1", "6.6.1/3", "6.6.1/5")
def test_13_2_nobody_on_the_way_reads_or_changes_what_a_link_carries() -> None:
    """ "a secure channel [...] which provides message integrity": what was changed on the way does not arrive."""
    server, client = pair(context(1), context(2))
    shake(server, client)
    words = b"what only these two may know" * 4
    client.sendall(words)
    assert words[:16] not in carry(client, server)
    assert server.recv(1 << 16) == words
    client.sendall(words)
    carry(client, server, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(SSL.Error):
        server.recv(1 << 16)


@pytest.mark.must("6.6.1/4")
def test_6_6_1_a_record_that_comes_again_is_found_out() -> None:
    """ "The overlay link protocol MUST also provide replay prevention/detection." """
    server, client = pair(context(1), context(2))
    shake(server, client)
    client.sendall(b"once")
    record = carry(client, server)
    assert server.recv(100) == b"once"
    server.bio_write(record)
    with pytest.raises(SSL.Error):
        server.recv(100)


@pytest.mark.must("13.2/1")
@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_13_2_old_versions_of_tls_are_not_spoken(version: int) -> None:
    """RFC 9325: TLS 1.0 and 1.1 MUST NOT be negotiated; nor are ciphers without forward secrecy or authentication."""
    old = SSL.Context(SSL.TLS_METHOD)
    old.set_cipher_list(b"ALL:@SECLEVEL=0")
    old.set_max_proto_version(version)
    with pytest.raises(SSL.Error):
        shake(*pair(context(1), old))


@pytest.mark.parametrize("cipher", [b"AES128-SHA", b"AES256-GCM-SHA384", b"ADH-AES256-SHA", b"NULL-SHA256"])
def test_13_2_weak_ciphers_are_not_taken(cipher: bytes) -> None:
    """Offered alone, they end the handshake."""
    weak = SSL.Context(SSL.TLS_METHOD)
    weak.set_max_proto_version(SSL.TLS1_2_VERSION)
    weak.set_cipher_list(cipher + b":@SECLEVEL=0")
    with pytest.raises(SSL.Error):
        shake(*pair(context(1), weak))


def test_13_2_nothing_is_negotiated_anew() -> None:
    """Renegotiation, of which several attacks on TLS were made, is refused; TLS 1.3 has none."""
    identity = enrolled(Club.of(), 2, ECDSA)
    willing = SSL.Context(SSL.TLS_METHOD)
    willing.set_max_proto_version(SSL.TLS1_2_VERSION)
    willing.use_certificate(x509.load_der_x509_certificate(identity.chain[0]))
    willing.use_privatekey(identity.key)  # type: ignore[arg-type]
    server, client = pair(context(1), willing)
    shake(server, client)
    assert client.get_protocol_version_name() == "TLSv1.2"
    assert client.renegotiate()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    carry(client, server)
    with pytest.raises(SSL.WantReadError):
        server.recv(100)
    carry(server, client)
    with pytest.raises(SSL.Error, match="no renegotiation"):
        client.do_handshake()
    assert server.total_renegotiations() == 0


@pytest.mark.must("13.3/4", "13.6.2/1")
def test_13_6_2_who_has_no_certificate_of_the_overlay_is_not_admitted() -> None:
    """ "Admission to a RELOAD Overlay Instance is controlled by requiring that each peer have a certificate"."""
    club, other = Club.of(), TrustAnchor.create(OVERLAY, random.Random(11), DATE)
    overlay = CertifiedOverlay(
        club, "stranger", identity_of=lambda number: issued(club.anchor if number < 2 else other, number)
    )
    overlay.grow(2)
    overlay.add_peer(2)
    overlay.world.run_for(30.0)
    assert not overlay.nodes["p2"].is_serving
    assert all(not overlay.nodes[name].is_linked(ring_id(2)) for name in ("p0", "p1"))
