"""The trust anchor."""

from __future__ import annotations

import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from p2psip.base.errors import LocalMisuse
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, founding, key, node_id


@pytest.mark.must("11.3/13", "11.3/17", "11.3/18", "11.3/19")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_11_3_the_subject_is_empty_and_the_names_are_the_members(algorithm: SignatureAlgorithm) -> None:
    """ "The subject distinguished name in the certificate MUST be empty."."""
    certificate = x509.load_der_x509_certificate(Club.of(algorithm).certificate(node_ids=[node_id(1), node_id(2)]))
    assert not list(certificate.subject)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert [name.value for name in names.value] == [
        f"alice@{OVERLAY}",
        f"reload://0110{node_id(1)}@{OVERLAY}/",
        f"reload://0110{node_id(2)}@{OVERLAY}/",
    ]


def test_serial_numbers_differ() -> None:
    club, rng = Club.of(), random.Random(1)
    public_key, validity = key().public_key(), Validity.at(DATE, DAY_S)
    issued = [club.anchor.issue(public_key, "a@b", [node_id(1)], rng, validity) for _ in range(20)]
    assert len({x509.load_der_x509_certificate(der).serial_number for der in issued}) == 20


def test_no_certificate_outlives_its_issuer() -> None:
    anchor = TrustAnchor.create(OVERLAY, random.Random(1), DATE, lifetime_s=DAY_S)
    der = anchor.issue(key().public_key(), "a@b", [node_id(1)], random.Random(1), Validity(0, DATE * 2))
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.not_valid_after_utc == anchor.certificate.not_valid_after_utc
    assert certificate.not_valid_before_utc == anchor.certificate.not_valid_before_utc


@pytest.mark.must("11.3/4")
def test_the_server_certificate_matches_the_overlay_and_its_hosts() -> None:
    """11.3: "The server certificate MUST match the overlay name as described in [RFC2818]."."""
    hosts = ["192.0.2.7", "2001:db8::7", "box.local", OVERLAY]
    der = founding().anchor.issue_server(key().public_key(), hosts, random.Random(1), Validity.at(DATE, DAY_S))
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [OVERLAY, "box.local"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "2001:db8::7"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_trust_anchor_is_loaded_with_its_key_only(algorithm: SignatureAlgorithm) -> None:
    anchor = founding(algorithm).anchor
    pem = anchor.certificate.public_bytes(serialization.Encoding.PEM)
    for stored in (pem, anchor.der):
        assert TrustAnchor.load(OVERLAY, anchor.key, stored).fingerprint == anchor.fingerprint
    with pytest.raises(LocalMisuse, match="not that of its certificate"):
        TrustAnchor.load(OVERLAY, key(algorithm), pem)
    with pytest.raises(LocalMisuse, match="cannot be read"):
        TrustAnchor.load(OVERLAY, anchor.key, b"garbage")


def test_a_long_overlay_name_fits() -> None:
    overlay = ".".join(["x" * 60] * 4)
    assert TrustAnchor.create(overlay, random.Random(1), DATE).overlay == overlay
