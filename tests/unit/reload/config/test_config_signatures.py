"""The signatures of configuration documents."""

from __future__ import annotations

import base64
import random
from dataclasses import replace

import pytest

from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.signatures import DocumentSigner, verify_document, verify_update
from p2psip.reload.config.write import build
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.security_block import SecurityBlock
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, founding, node_id


def check(raw: bytes, configuration: OverlayConfiguration) -> object:
    """The author of a document, by a configuration that is believed."""
    verifier = CertificateVerifier(configuration)
    return verify_document(parse(raw), verifier, configuration.configuration_signers, DATE, True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_founded_overlay_s_document_is_duly_signed(algorithm: SignatureAlgorithm) -> None:
    founded = founding(algorithm)
    author = verify_document(
        parse(founded.document),
        CertificateVerifier(founded.configuration),
        founded.configuration.configuration_signers,
        DATE,
        True,
    )
    assert author.user == f"admin@{OVERLAY}"
    assert author.member.signs_configurations


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_byte_of_the_signed_region_counts(algorithm: SignatureAlgorithm) -> None:
    """What still parses after a byte was changed is not duly signed."""
    founded, rng = founding(algorithm), random.Random(5)
    raw, configuration = founded.document, founded.configuration
    start = raw.index(b"<configuration")
    end = raw.index(b"</configuration>") + len(b"</configuration>")
    parsed = 0
    for _ in range(250):
        damaged = bytearray(raw)
        index = rng.randrange(start, end)
        damaged[index] = rng.choice(b"0123456789abcdef \n") if rng.random() < 0.8 else rng.randrange(256)
        if bytes(damaged) == raw:
            continue
        with pytest.raises(ConfigurationError) as caught:
            check(bytes(damaged), configuration)
        parsed += "not duly signed" in str(caught.value)
    assert parsed > 30


def test_a_document_without_a_signature_is_refused() -> None:
    raw = founding().document
    start = raw.index(b"<signature>")
    unsigned = raw[:start] + b"</overlay>"
    with pytest.raises(ConfigurationError, match="no signature"):
        check(unsigned, founding().configuration)


def test_a_signature_that_is_no_security_block_is_refused() -> None:
    raw = founding().document
    start, end = raw.index(b"<signature>") + 11, raw.index(b"</signature>")
    broken = raw[:start] + base64.b64encode(b"garbage") + raw[end:]
    with pytest.raises(ConfigurationError, match="not duly signed"):
        check(broken, founding().configuration)


def test_a_member_who_is_no_signer_may_not_sign() -> None:
    club = Club.of()
    raw = build(club.configuration, club.member(f"mallory@{OVERLAY}", [node_id(66)]))
    with pytest.raises(ConfigurationError, match=f"Node-ID {node_id(66)} may not sign it"):
        check(raw, club.configuration)


def test_a_document_that_names_its_own_signer_is_not_believed() -> None:
    """11.1: signed "by one of the configuration-signer elements from the previous extant configuration"."""
    club = Club.of()
    mallory = frozenset({node_id(66)})
    usurped = replace(club.configuration, configuration_signers=mallory, kind_signers=mallory, sequence=9)
    raw = build(usurped, club.member(f"mallory@{OVERLAY}", [node_id(66)]))
    with pytest.raises(ConfigurationError, match="may not sign it"):
        verify_update(club.configuration, parse(raw), club.verifier, DATE, True)


class _TwoSigners:
    """Signs kinds as one member and the document as another."""

    def __init__(self, kinds: DocumentSigner, document: DocumentSigner) -> None:
        self._kinds, self._document = kinds, document
        self.certificates = (*kinds.certificates, *document.certificates)

    def sign(self, prefix: bytes) -> object:
        return (self._kinds if prefix.startswith(b"<kind") else self._document).sign(prefix)


def test_kinds_are_signed_by_kind_signers() -> None:
    club, signer = Club.of(), founding().signer
    clerk = club.member(f"clerk@{OVERLAY}", [node_id(5)])
    with pytest.raises(ConfigurationError, match=r"kind SIP-REGISTRATION is not duly signed.*may not sign it"):
        check(build(club.configuration, _TwoSigners(clerk, signer)), club.configuration)  # type: ignore[arg-type]
    appointed = replace(club.configuration, kind_signers=frozenset({node_id(5)}))
    check(build(appointed, _TwoSigners(clerk, signer)), appointed)  # type: ignore[arg-type]


def test_any_good_signature_is_enough() -> None:
    club, signer = Club.of(), founding().signer
    raw = build(club.configuration, signer)
    other = SecurityBlock((), club.member().sign(b"something else")).encode()
    more = b"<signature>" + base64.b64encode(other) + b"</signature>\n<signature>"
    check(raw.replace(b"<signature>", more, 1), club.configuration)


def test_6_5_4_2_an_update_is_newer() -> None:
    """ "The sequence number in the document is greater than the current configuration sequence number."."""
    club, signer = Club.of(), founding().signer
    for sequence in (0, 1):
        old = parse(build(replace(club.configuration, sequence=sequence), signer))
        with pytest.raises(ConfigurationError, match=f"configuration {sequence} is not newer than 1"):
            verify_update(club.configuration, old, club.verifier, DATE, True)
    new = parse(build(replace(club.configuration, sequence=2), signer))
    assert verify_update(club.configuration, new, club.verifier, DATE, True).node_id == signer.node_id


def test_an_update_is_of_the_same_overlay() -> None:
    club = Club.of()
    other = parse(build(replace(club.configuration, instance_name="other.example", sequence=2), founding().signer))
    with pytest.raises(ConfigurationError, match=r"of other.example, not of club.example"):
        verify_update(club.configuration, other, club.verifier, DATE, True)
