"""Who is a member, and whose a signature is."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from p2psip.base.ids import NodeId
from p2psip.reload.security.authority import DAY_S, NO_END, TrustAnchor, Validity, self_signed
from p2psip.reload.security.certificates import NODE_IDS_MAX
from p2psip.reload.security.errors import BadSignature, CertificateProblem, SecurityError, UntrustedCertificate
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import public_key_der
from p2psip.reload.security.verifier import KNOWN_MAX, CertificateVerifier, self_signed_node_ids
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.security_block import (
    CertificateType,
    GenericCertificate,
    Signature,
    SignatureAndHashAlgorithm,
    SignerIdentity,
)
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, founding, key, node_id

ALICE = f"alice@{OVERLAY}"
THREE = [node_id(1), node_id(2), node_id(3)]


def problem_of(verifier: CertificateVerifier, chain: list[bytes], date: float = DATE, trusted: bool = True) -> object:
    """What is wrong with a chain."""
    with pytest.raises(UntrustedCertificate) as caught:
        verifier.check(chain, date, trusted)
    return caught.value.problem


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_member_is_who_the_certificate_says(algorithm: SignatureAlgorithm) -> None:
    club = Club.of(algorithm)
    member = club.verifier.check([club.certificate(ALICE, THREE)], DATE, True)
    assert (member.user, member.node_ids) == (ALICE, tuple(THREE))
    assert (member.not_before, member.not_after) == (DATE - DAY_S, DATE + 365 * DAY_S)
    assert not member.signs_configurations


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("node_ids", [THREE[:1], THREE], ids=["one Node-ID", "three"])
def test_a_signature_names_its_signer(algorithm: SignatureAlgorithm, node_ids: list[NodeId]) -> None:
    club = Club.of(algorithm)
    member = club.member(ALICE, node_ids, signs_as=node_ids[-1])
    signature = member.sign(b"words")
    signer = club.verifier.verify(b"words", signature, member.certificates, DATE, True)
    assert (signer.node_id, signer.user) == (node_ids[-1], ALICE)


@pytest.mark.parametrize("node_ids", [THREE[:1], THREE], ids=["one Node-ID", "three"])
def test_the_certificate_is_found_among_others(node_ids: list[NodeId]) -> None:
    club = Club.of()
    alice, bob = club.member(ALICE, node_ids), club.member(f"bob@{OVERLAY}", [node_id(9)], number=1)
    garbage = GenericCertificate(CertificateType.X509, b"garbage")
    bucket = (garbage, *bob.certificates, *alice.certificates)
    assert club.verifier.verify(b"words", alice.sign(b"words"), bucket, DATE, True).user == ALICE


def test_a_certificate_that_is_known_need_not_come_again() -> None:
    """6.3.4: "In systems that have an alternative certificate distribution mechanism, some certificates MAY be
    omitted."
    """
    club = Club.of()
    verifier, alice = club.verifier, club.member()
    with pytest.raises(BadSignature, match="certificate is missing"):
        verifier.verify(b"words", alice.sign(b"words"), (), DATE, True)
    verifier.verify(b"words", alice.sign(b"words"), alice.certificates, DATE, True)
    assert verifier.verify(b"again", alice.sign(b"again"), (), DATE, True).user == ALICE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_other_words_are_not_signed(algorithm: SignatureAlgorithm) -> None:
    club = Club.of(algorithm)
    alice = club.member()
    with pytest.raises(BadSignature, match="not that of alice"):
        club.verifier.verify(b"other", alice.sign(b"words"), alice.certificates, DATE, True)


@pytest.mark.must("6.3.4/8")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_bit_of_a_signature_counts(algorithm: SignatureAlgorithm) -> None:
    club = Club.of(algorithm)
    verifier, alice = club.verifier, club.member()
    encoded = alice.sign(b"words").encode()
    rng = random.Random(1)
    for index in range(len(encoded)):
        changed = bytearray(encoded)
        changed[index] ^= 1 << rng.randrange(8)
        try:
            signature = Signature.decode(bytes(changed))
        except DecodeError:
            continue
        with pytest.raises(SecurityError):
            verifier.verify(b"words", signature, alice.certificates, DATE, True)


@pytest.mark.must("6.3.4/7")
def test_a_signature_by_nobody_is_refused() -> None:
    club = Club.of()
    with pytest.raises(BadSignature, match="not permitted"):
        club.verifier.verify(b"", Signature.none(), (), DATE, True)
    unnamed = replace(club.member().sign(b""), identity=SignerIdentity.none())
    with pytest.raises(BadSignature, match="names no signer"):
        club.verifier.verify(b"", unnamed, (), DATE, True)


def test_algorithms_that_the_overlay_does_not_permit_are_refused() -> None:
    club = Club.of(SignatureAlgorithm.RSA)
    alice = club.member()
    only_ecdsa = CertificateVerifier(
        replace(club.configuration, signature_algorithms=frozenset({SignatureAlgorithm.ECDSA}))
    )
    with pytest.raises(BadSignature, match="rsa with sha256 signatures are not permitted"):
        only_ecdsa.verify(b"", alice.sign(b""), alice.certificates, DATE, True)
    assert problem_of(only_ecdsa, [*alice.chain]) is CertificateProblem.WRONG_ALGORITHM


@pytest.mark.parametrize("hash_alg", [HashAlgorithm.SHA1, HashAlgorithm.SHA512, HashAlgorithm.NONE])
def test_signatures_with_other_hashes_are_refused(hash_alg: HashAlgorithm) -> None:
    club = Club.of()
    alice = club.member()
    signature = replace(alice.sign(b""), algorithm=SignatureAndHashAlgorithm(hash_alg, SignatureAlgorithm.ECDSA))
    with pytest.raises(BadSignature, match="not permitted"):
        club.verifier.verify(b"", signature, alice.certificates, DATE, True)


def test_the_algorithm_of_a_signature_must_be_that_of_the_key() -> None:
    club = Club.of(signature_algorithms=frozenset(ALGORITHMS))
    alice = club.member()
    claimed = SignatureAndHashAlgorithm(HashAlgorithm.SHA256, SignatureAlgorithm.RSA)
    assert isinstance(alice, CertifiedIdentity)
    with pytest.raises(BadSignature, match="does not make rsa"):
        club.verifier.verify(b"", replace(alice.sign(b""), algorithm=claimed), alice.certificates, DATE, True)


def test_a_hash_that_reload_does_not_use_finds_no_certificate() -> None:
    club = Club.of()
    alice = club.member()
    signature = replace(alice.sign(b""), identity=SignerIdentity.cert_hash(HashAlgorithm.MD5, bytes(16)))
    with pytest.raises(BadSignature, match="md5 is not supported"):
        club.verifier.verify(b"", signature, alice.certificates, DATE, True)


@pytest.mark.must("6.3.4/6")
def test_6_3_4_a_certificate_with_several_node_ids_wants_the_longer_form() -> None:
    club = Club.of()
    alice = club.member(ALICE, THREE)
    signature = replace(alice.sign(b""), identity=_sole(alice))
    with pytest.raises(BadSignature, match="which of the certificate's Node-IDs"):
        club.verifier.verify(b"", signature, alice.certificates, DATE, True)


def _sole(identity: CertifiedIdentity) -> SignerIdentity:
    import hashlib

    return SignerIdentity.cert_hash(HashAlgorithm.SHA256, hashlib.sha256(identity.chain[0]).digest())


@pytest.mark.must("13.3/3")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_strangers_are_named_as_such(algorithm: SignatureAlgorithm) -> None:
    """The same overlay name and the same issuer name, but another trust anchor."""
    club = Club.of(algorithm)
    other = TrustAnchor.create(OVERLAY, random.Random(9), DATE, algorithm=algorithm)
    stranger = other.issue(key(algorithm).public_key(), ALICE, THREE, random.Random(1), Validity.at(DATE, DAY_S))
    assert problem_of(club.verifier, [stranger]) is CertificateProblem.UNKNOWN_ISSUER
    assert problem_of(club.verifier, [stranger, other.der]) is CertificateProblem.UNKNOWN_ISSUER


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_11_3_a_member_is_no_certification_authority(algorithm: SignatureAlgorithm) -> None:
    """ "(including PKIX BasicConstraints checks)": mallory, a member, issues a certificate for alice."""
    club = Club.of(algorithm)
    mallory = club.certificate(f"mallory@{OVERLAY}", [node_id(66)])
    forged = _issued_by(mallory, key(algorithm), ALICE, key(algorithm, 1).public_key())
    assert problem_of(club.verifier, [forged, mallory]) is CertificateProblem.UNKNOWN_ISSUER
    verifier = club.verifier
    verifier.check([mallory], DATE, True)
    assert problem_of(verifier, [forged, mallory]) is CertificateProblem.UNKNOWN_ISSUER


def _issued_by(
    issuer: bytes, issuer_key: object, user: str, public_key: object, name: x509.Name | None = None
) -> bytes:
    from p2psip.reload.security.reload_uri import node_uri

    authority = x509.load_der_x509_certificate(issuer)
    names = [x509.RFC822Name(user), x509.UniformResourceIdentifier(node_uri(node_id(1), OVERLAY))]
    builder = (
        x509.CertificateBuilder()
        .issuer_name(name or authority.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
        .public_key(public_key)  # type: ignore[arg-type]
        .serial_number(7)
        .not_valid_before(datetime.fromtimestamp(DATE, UTC))
        .not_valid_after(datetime.fromtimestamp(DATE + DAY_S, UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)  # type: ignore[arg-type]


def _intermediate(club: Club, *, is_authority: bool) -> tuple[bytes, object]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Site office")])
    builder = (
        x509.CertificateBuilder()
        .issuer_name(club.anchor.certificate.subject)
        .subject_name(name)
        .public_key(key(club.algorithm, 5).public_key())
        .serial_number(8)
        .not_valid_before(datetime.fromtimestamp(DATE, UTC))
        .not_valid_after(datetime.fromtimestamp(DATE + 30 * DAY_S, UTC))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
    )
    return builder.sign(club.anchor.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER), key(
        club.algorithm, 5
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_intermediate_authority_may_stand_between(algorithm: SignatureAlgorithm) -> None:
    club = Club.of(algorithm)
    office, office_key = _intermediate(club, is_authority=True)
    leaf = _issued_by(office, office_key, ALICE, key(algorithm).public_key())
    member = club.verifier.check([leaf, office], DATE, True)
    assert (member.user, member.not_after) == (ALICE, DATE + DAY_S)
    assert problem_of(club.verifier, [leaf]) is CertificateProblem.UNKNOWN_ISSUER
    identity = CertifiedIdentity(key(algorithm), [leaf, office])
    assert club.verifier.verify(b"", identity.sign(b""), identity.certificates, DATE, True).user == ALICE


def test_an_intermediate_that_is_no_authority_does_not_help() -> None:
    club = Club.of()
    clerk, clerk_key = _intermediate(club, is_authority=False)
    leaf = _issued_by(clerk, clerk_key, ALICE, key().public_key())
    assert problem_of(club.verifier, [leaf, clerk]) is CertificateProblem.UNKNOWN_ISSUER


def test_an_issuer_name_alone_makes_nobody_a_member() -> None:
    club = Club.of()
    forged = _issued_by(club.anchor.der, key(number=3), ALICE, key().public_key())
    assert problem_of(club.verifier, [forged]) is CertificateProblem.UNKNOWN_ISSUER


def test_another_overlay_of_the_same_trust_anchor_is_another_overlay() -> None:
    club = Club.of()
    elsewhere = replace(club.anchor, overlay="other.example")
    certificate = elsewhere.issue(key().public_key(), ALICE, THREE, random.Random(1), Validity.at(DATE, DAY_S))
    assert problem_of(club.verifier, [certificate]) is CertificateProblem.WRONG_OVERLAY


def test_11_1_bad_nodes_are_not_valid() -> None:
    """ "indicates that the certificate with this Node-ID MUST NOT be considered valid.". One of several is enough."""
    club = Club.of(bad_nodes=frozenset({node_id(2)}))
    assert problem_of(club.verifier, [club.certificate(ALICE, THREE)]) is CertificateProblem.BAD_NODE
    assert club.verifier.check([club.certificate(ALICE, THREE[:1])], DATE, True).user == ALICE


def test_expired_and_not_yet_valid_certificates_name_the_clock() -> None:
    club = Club.of()
    certificate = club.certificate(begins=DATE + 10 * DAY_S, ends=DATE + 20 * DAY_S)
    with pytest.raises(UntrustedCertificate) as caught:
        club.verifier.check([certificate], DATE, True)
    assert caught.value.problem is CertificateProblem.NOT_YET_VALID
    assert "begins on 2027-01-25 08:00 UTC, but the clock here says 2027-01-15 08:00 UTC" in str(caught.value)
    assert "one of the two clocks is wrong" in str(caught.value)
    with pytest.raises(UntrustedCertificate) as caught:
        club.verifier.check([certificate], DATE + 21 * DAY_S, True)
    assert caught.value.problem is CertificateProblem.EXPIRED
    assert "expired on 2027-02-04 08:00 UTC; the clock here says 2027-02-05 08:00 UTC" in str(caught.value)


def test_a_certificate_that_was_verified_expires_nevertheless() -> None:
    club = Club.of()
    verifier, alice = club.verifier, club.member()
    verifier.verify(b"", alice.sign(b""), alice.certificates, DATE, True)
    with pytest.raises(UntrustedCertificate, match="expired"):
        verifier.verify(b"", alice.sign(b""), alice.certificates, DATE + 400 * DAY_S, True)


def test_clocks_may_differ_a_little() -> None:
    club = Club.of()
    certificate = club.certificate(begins=DATE + 200, ends=DATE + DAY_S)
    assert club.verifier.check([certificate], DATE, True).user == ALICE


@pytest.mark.parametrize("date", [0.0, 1e6, DATE + 4000 * DAY_S], ids=["1970", "1970-01-12", "far future"])
def test_an_untrusted_clock_locks_nobody_out(date: float) -> None:
    club = Club.of()
    alice = club.member()
    assert club.verifier.verify(b"", alice.sign(b""), alice.certificates, date, False).user == ALICE


def test_a_trusted_date_before_the_overlay_began_is_not_believed() -> None:
    """A Pi in 1970 that does not know better."""
    club = Club.of()
    assert club.verifier.check([club.certificate()], 0.0, True).user == ALICE


def test_what_ended_before_the_trust_anchor_began_is_expired_by_any_clock() -> None:
    """A younger trust anchor shows that time has gone by."""
    club = Club.of()
    younger = TrustAnchor.create(OVERLAY, random.Random(2), DATE + 400 * DAY_S)
    both = replace(club.configuration, root_certs=(club.anchor.der, younger.der))
    assert problem_of(CertificateVerifier(both), [club.certificate()], 0.0, False) is CertificateProblem.EXPIRED


@pytest.mark.parametrize(
    "chain",
    [[], [b""], [b"garbage"], [bytes(20000)], [founding().anchor.der]],
    ids=["none", "empty", "garbage", "zeros", "no member's"],
)
def test_what_is_no_member_certificate_is_malformed(chain: list[bytes]) -> None:
    assert problem_of(Club.of().verifier, chain) is CertificateProblem.MALFORMED


def _with_names(names: list[x509.GeneralName]) -> bytes:
    anchor = founding().anchor
    return anchor._leaf(
        key().public_key(), names, [ExtendedKeyUsageOID.CLIENT_AUTH], random.Random(1), Validity.at(DATE, DAY_S)
    )


@pytest.mark.must("11.3/13", "11.3/18")
@pytest.mark.parametrize(
    "names",
    [
        [x509.RFC822Name(ALICE)],
        [x509.UniformResourceIdentifier(f"reload://{node_id(1)}@{OVERLAY}/")],
        [
            x509.RFC822Name(ALICE),
            x509.RFC822Name("bob@x"),
            x509.UniformResourceIdentifier(f"reload://{node_id(1)}@{OVERLAY}/"),
        ],
        [
            x509.RFC822Name(ALICE),
            x509.DNSName("x"),
            x509.UniformResourceIdentifier(f"reload://{node_id(1)}@{OVERLAY}/"),
        ],
        [x509.RFC822Name(ALICE), x509.UniformResourceIdentifier("https://club.example/")],
        [x509.RFC822Name(ALICE), x509.UniformResourceIdentifier(f"reload://{bytes(16).hex()}@{OVERLAY}/")],
        [x509.RFC822Name(ALICE), x509.UniformResourceIdentifier(f"reload://{'ff' * 16}@{OVERLAY}/")],
        [x509.RFC822Name(ALICE), *[x509.UniformResourceIdentifier(f"reload://{node_id(1)}@{OVERLAY}/")] * 2],
        [
            x509.RFC822Name(ALICE),
            *[x509.UniformResourceIdentifier(f"reload://{node_id(n)}@{o}/") for n, o in ((1, "a"), (2, "b"))],
        ],
        [
            x509.RFC822Name(ALICE),
            *[x509.UniformResourceIdentifier(f"reload://{node_id(n)}@{OVERLAY}/") for n in range(1, NODE_IDS_MAX + 2)],
        ],
    ],
    ids=[
        "no Node-ID",
        "no user",
        "two users",
        "a host",
        "no RELOAD URI",
        "all zeros",
        "all ones",
        "twice",
        "two overlays",
        "too many",
    ],
)
def test_11_3_exactly_one_user_name_and_node_ids(names: list[x509.GeneralName]) -> None:
    assert problem_of(Club.of().verifier, [_with_names(names)]) is CertificateProblem.MALFORMED


def test_the_bare_node_id_in_a_uri_is_understood() -> None:
    names = [x509.RFC822Name(ALICE), x509.UniformResourceIdentifier(f"reload://{node_id(7)}@{OVERLAY}/")]
    assert Club.of().verifier.check([_with_names(names)], DATE, True).node_ids == (node_id(7),)


@pytest.mark.must("11.1/6", "11.3.1/2", "11.3.1/3")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("digest", [HashAlgorithm.SHA1, HashAlgorithm.SHA256])
@pytest.mark.parametrize("count", [1, 3])
def test_11_3_1_self_signed_node_ids_come_of_the_key(
    algorithm: SignatureAlgorithm, digest: HashAlgorithm, count: int
) -> None:
    club = Club.of(algorithm, self_signed_digest=digest, root_certs=())
    public_key = public_key_der(key(algorithm).public_key())
    node_ids = self_signed_node_ids(public_key, count, digest)
    certificate = self_signed(key(algorithm), OVERLAY, ALICE, node_ids, random.Random(1), Validity(0, NO_END))
    assert club.verifier.check([certificate], DATE, True).node_ids == tuple(node_ids)
    stolen = self_signed(key(algorithm), OVERLAY, ALICE, [node_id(1)], random.Random(1), Validity(0, NO_END))
    assert problem_of(club.verifier, [stolen]) is CertificateProblem.WRONG_NODE_ID
    not_permitted = replace(club.configuration, self_signed_digest=None)
    assert problem_of(CertificateVerifier(not_permitted), [certificate]) is CertificateProblem.UNKNOWN_ISSUER


def test_a_self_signed_certificate_with_a_wrong_signature_is_malformed() -> None:
    club = Club.of(self_signed_digest=HashAlgorithm.SHA256)
    node_ids = self_signed_node_ids(public_key_der(key().public_key()), 1, HashAlgorithm.SHA256)
    certificate = bytearray(self_signed(key(), OVERLAY, ALICE, node_ids, random.Random(1), Validity(0, NO_END)))
    certificate[-1] ^= 1
    assert problem_of(club.verifier, [bytes(certificate)]) is CertificateProblem.MALFORMED


def test_self_signed_members_and_an_anchor_go_together() -> None:
    club = Club.of(self_signed_digest=HashAlgorithm.SHA256)
    assert club.verifier.check([club.certificate()], DATE, True).user == ALICE


def test_without_a_trust_anchor_nobody_else_is_a_member() -> None:
    club = Club.of(root_certs=(), self_signed_digest=HashAlgorithm.SHA256)
    assert problem_of(club.verifier, [club.certificate()]) is CertificateProblem.UNKNOWN_ISSUER


@pytest.mark.long
def test_the_memory_for_members_is_bounded() -> None:
    club = Club.of()
    verifier = club.verifier
    first = club.certificate(ALICE, [node_id(1)])
    for number in range(1, KNOWN_MAX + 20):
        verifier.check([club.certificate(ALICE, [node_id(number)])], DATE, True)
    assert len(verifier._known) == KNOWN_MAX
    assert verifier.check([first], DATE, True).user == ALICE


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_random_damage_to_a_certificate_is_always_one_exception(algorithm: SignatureAlgorithm) -> None:
    club, rng = Club.of(algorithm), random.Random(4)
    verifier, good = club.verifier, club.certificate()
    for _ in range(400):
        damaged = bytearray(good)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        with pytest.raises(UntrustedCertificate):
            verifier.check([bytes(damaged)], DATE, True)
