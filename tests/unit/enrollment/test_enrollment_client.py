"""Founding an overlay, and what a newcomer believes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.enrollment.client import (
    EnrollmentRefused,
    accept_certificate,
    parse_fingerprint,
    read_answer,
    self_enroll,
    verify_first,
    verify_kept,
)
from p2psip.enrollment.founding import Terms, found, revised
from p2psip.plugins import obstacles
from p2psip.reload.config.configuration import DIRECTORY_KINDS, MAILBOX_KINDS, SEQUENCE_MAX, BootstrapNode
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.write import build
from p2psip.reload.security.authority import TrustAnchor
from p2psip.reload.security.certificates import CONFIGURATION_SIGNER, fingerprint
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, founding, key, node_id

SERVER = "https://192.0.2.1/enroll"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_overlay_is_as_decided(algorithm: SignatureAlgorithm) -> None:
    configuration = founding(algorithm).configuration
    assert configuration.sequence == 1
    assert configuration.signature_algorithms == {algorithm}
    assert configuration.no_ice
    assert configuration.node_id_length == 16
    names = ["SIP-REGISTRATION", "TURN-SERVICE", "CERTIFICATE_BY_NODE", "CERTIFICATE_BY_USER"]
    assert [kind.name for kind in configuration.required_kinds] == [*names, *([""] * 5)]
    assert configuration.required_kinds[-5:] == (*DIRECTORY_KINDS, *MAILBOX_KINDS)
    assert configuration.expiration is None
    assert obstacles(configuration) == []
    assert parse(founding(algorithm).document).configuration == configuration


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("date", [(DATE, True), (0.0, False), (0.0, True)], ids=["today", "1970", "1970, unaware"])
def test_the_fingerprint_is_enough_to_believe_a_document(
    algorithm: SignatureAlgorithm, date: tuple[float, bool]
) -> None:
    founded = founding(algorithm)
    document = verify_first(founded.document, founded.anchor.fingerprint, *date, OVERLAY)
    assert document.configuration == founded.configuration


def test_a_wrong_fingerprint_is_enough_not_to() -> None:
    founded = founding()
    with pytest.raises(ConfigurationError, match=f"is {founded.anchor.fingerprint}, not {'0' * 64}"):
        verify_first(founded.document, "0" * 64, DATE, True)


def test_a_root_that_comes_along_proves_nothing() -> None:
    """Mallory's document names the trusted root beside her own, and her own signer."""
    founded = founding()
    mallory = found(OVERLAY, f"mallory@{OVERLAY}", Terms(), random.Random(4), DATE)
    both = replace(mallory.configuration, root_certs=(founded.anchor.der, mallory.anchor.der))
    with pytest.raises(ConfigurationError, match="not duly signed"):
        verify_first(build(both, mallory.signer), founded.anchor.fingerprint, DATE, True)


def test_a_member_cannot_make_up_the_first_configuration() -> None:
    """The document names its own signers, and any member's certificate leads to the trust anchor."""
    club = Club.of()
    mallory = club.member(f"mallory@{OVERLAY}", [node_id(66)])
    signers = frozenset({node_id(66)})
    usurped = replace(club.configuration, configuration_signers=signers, kind_signers=signers)
    raw = build(usurped, mallory)
    with pytest.raises(ConfigurationError, match="did not make a configuration signer"):
        verify_first(raw, club.anchor.fingerprint, DATE, True)
    # What a peer has verified and kept is another matter: an update may come from any configuration signer.
    assert verify_kept(raw, club.anchor.fingerprint, DATE, True).configuration == usurped
    with pytest.raises(ConfigurationError, match="not 000"):
        verify_kept(raw, "0" * 64, DATE, True)


def test_leave_to_sign_oneself_is_no_leave_to_make_up_the_first_configuration() -> None:
    """Mallory's document has the true trust anchor, permits self-signed certificates and names his own as signer; his
    certificate even says that it is for signing configurations.
    """
    real = founding()
    configuration = replace(real.configuration, self_signed_digest=HashAlgorithm.SHA256)
    mallory = self_enroll(configuration, key(number=6), f"admin@{OVERLAY}", random.Random(1))
    marked = CertifiedIdentity(mallory.key, [_marked(mallory)])
    for signer in (mallory, marked):
        forged = build(replace(configuration, configuration_signers=frozenset({signer.node_id})), signer)
        with pytest.raises(ConfigurationError):
            verify_first(forged, real.anchor.fingerprint, DATE, True)


def _marked(identity: CertifiedIdentity) -> bytes:
    """The same certificate of one's own making, with the trust anchor's mark for configuration signers."""
    leaf = x509.load_der_x509_certificate(identity.chain[0])
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(leaf.issuer)
        .public_key(leaf.public_key())
        .serial_number(7)
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
        .add_extension(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=True)
        .add_extension(x509.ExtendedKeyUsage([CONFIGURATION_SIGNER]), critical=False)
    )
    return builder.sign(identity.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_an_overlay_without_a_trust_anchor_is_known_by_its_signer_s_certificate() -> None:
    """Of other software: everybody signs their own certificate, also who signs the configuration."""
    plain = replace(founding().configuration, root_certs=(), self_signed_digest=HashAlgorithm.SHA1)
    signer, other = (self_enroll(plain, key(number=n), f"x{n}@{OVERLAY}", random.Random(n)) for n in (5, 6))
    named = replace(plain, configuration_signers=frozenset({signer.node_id}), kind_signers=frozenset({signer.node_id}))
    document = build(named, signer)
    trusted = fingerprint(signer.chain[0])
    assert verify_first(document, trusted, DATE, True).configuration == named
    assert verify_kept(document, trusted, DATE, True).configuration == named
    with pytest.raises(ConfigurationError, match="is none, not"):
        verify_first(document, fingerprint(other.chain[0]), DATE, True)
    usurped = build(replace(named, configuration_signers=frozenset({other.node_id})), other)
    with pytest.raises(ConfigurationError):
        verify_first(usurped, trusted, DATE, True)


def test_a_root_that_is_no_certificate_is_one_exception() -> None:
    import hashlib

    broken = replace(founding().configuration, root_certs=(b"garbage",))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        verify_first(build(broken, founding().signer), hashlib.sha256(b"garbage").hexdigest(), DATE, True)


@pytest.mark.parametrize("separator", ["", ":", " ", "-"])
def test_fingerprints_as_people_write_them(separator: str) -> None:
    text = founding().anchor.fingerprint
    written = separator.join(text[index : index + 2].upper() for index in range(0, 64, 2))
    assert parse_fingerprint(f" {written}\r\n") == text


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(LocalMisuse, match="64 hex digits"):
        parse_fingerprint(text)


def test_a_change_raises_the_sequence_and_is_signed_anew() -> None:
    founded = founding()
    changed = replace(founded.configuration, bootstrap_nodes=(BootstrapNode("192.0.2.1"),))
    configuration, raw = revised(changed, founded.signer)
    assert configuration.sequence == 2
    assert verify_first(raw, founded.anchor.fingerprint, DATE, True).configuration == configuration


def test_changes_that_nobody_would_believe() -> None:
    founded = founding()
    wrapped, _ = revised(replace(founded.configuration, sequence=SEQUENCE_MAX), founded.signer)
    assert wrapped.sequence == 0
    with pytest.raises(LocalMisuse, match="not a configuration signer"):
        revised(founded.configuration, Club.of().member())


def test_a_certificate_is_the_answer() -> None:
    assert read_answer(SERVER, 200, "application/pkix-cert", b"der", 0.0) == b"der"
    assert read_answer(SERVER, 200, "Application/PKIX-Cert; x=y", b"der", 0.0) == b"der"


@pytest.mark.parametrize(
    ("status", "content_type", "body", "said", "is_final"),
    [
        (403, "text/plain", b"failed_authentication", "the user name or the password is wrong", True),
        (403, "text/plain; charset=utf-8", b"username_not_available\n", "is taken", True),
        (403, "text/plain", b"Node-IDs_not_available", "quota is used up", True),
        (403, "text/plain", b"bad_CSR", "certificate request", True),
        (429, "text/plain", b"too_many_attempts", "wait a few minutes", False),
        (503, "text/plain", b"unavailable", "see its log", False),
        (403, "text/plain", b"who_knows", "HTTP status 403, 'who_knows'", False),
        (500, "text/html", b"<html>", "HTTP status 500", False),
        (200, "text/html", b"<html>", "HTTP status 200", False),
    ],
)
def test_11_3_what_the_server_says_instead(
    status: int, content_type: str, body: bytes, said: str, is_final: bool
) -> None:
    """ "an unknown token in the body, it SHOULD treat it as a failure for an unknown reason."."""
    with pytest.raises(EnrollmentRefused) as caught:
        read_answer(SERVER, status, content_type, body, 5.0)
    (cause,) = caught.value.causes
    assert said in cause.what
    assert (cause.who, cause.at) == (SERVER, 5.0)
    assert caught.value.is_final is is_final


def test_a_refused_renewal_says_what_it_means() -> None:
    with pytest.raises(EnrollmentRefused, match="nothing to renew"):
        read_answer(SERVER, 403, "text/plain", b"failed_authentication", 0.0, is_renewal=True)


@pytest.mark.must("11.3/21")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_11_3_the_certificate_must_chain_back_and_be_the_one_asked_for(algorithm: SignatureAlgorithm) -> None:
    club = Club.of(algorithm)

    def accept(certificate: bytes, user: str = f"alice@{OVERLAY}", number: int = 0) -> object:
        return accept_certificate(
            club.configuration, key(algorithm, number), user, certificate, SERVER, 0.0, DATE, False
        ).node_id

    assert accept(club.certificate()) == node_id(1)
    other = TrustAnchor.create(OVERLAY, random.Random(1), DATE, algorithm=algorithm)
    for certificate, user, number, why in (
        (replace(club, anchor=other).certificate(), f"alice@{OVERLAY}", 0, "unknown issuer"),
        (b"garbage", f"alice@{OVERLAY}", 0, "malformed"),
        (club.certificate(), f"bob@{OVERLAY}", 0, "it is for alice"),
        (club.certificate(), f"alice@{OVERLAY}", 1, "private key is not that"),
    ):
        with pytest.raises(RequestFailed, match=why):
            accept(certificate, user, number)


def test_11_3_1_self_enrollment_where_it_is_permitted() -> None:
    club = Club.of(self_signed_digest=HashAlgorithm.SHA256)
    identity = self_enroll(club.configuration, key(), f"peer-x@{OVERLAY}", random.Random(1))
    signer = club.verifier.verify(b"", identity.sign(b""), identity.certificates, DATE, True)
    assert (signer.node_id, signer.user) == (identity.node_id, f"peer-x@{OVERLAY}")
    with pytest.raises(LocalMisuse, match="permits no self-signed"):
        self_enroll(Club.of().configuration, key(), f"peer-x@{OVERLAY}", random.Random(1))
