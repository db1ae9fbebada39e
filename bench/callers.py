"""What it costs to say who calls, and to look whether that is so (RFC 8224): one token, by either kind of key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial

from bench.results import Result, processor_us, result
from p2psip.base.ids import ResourceId
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.reload_uri import data_uri, parse_data_uri
from p2psip.reload.security.roles import Verifier
from p2psip.reload.usages.certificate_store import fetch_request, resource_id
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE
from p2psip.sim.membership import DATE, OVERLAY, Club
from p2psip.sip.entities.callers import passport
from p2psip.sip.entities.callers.identity_field import IdentityField
from p2psip.sip.entities.callers.passport import Claims, Party

CLAIMS = Claims(Party("uri", f"sip:alice@{OVERLAY}"), frozenset({Party("uri", f"sip:bob@{OVERLAY}")}), int(DATE))


def measure() -> Iterator[Result]:
    """Claims and their signature, as text; and back, with the certificate that is known already."""
    for algorithm in (SignatureAlgorithm.ECDSA, SignatureAlgorithm.RSA):
        club = Club.of(algorithm)
        line, verifier = club.member(), club.verifier
        text = _signed(line)
        yield result(f"callers.sign.{line.jws_algorithm}", "us", processor_us(partial(_signed, line)))
        yield result(f"callers.verify.{line.jws_algorithm}", "us", processor_us(partial(_look, line, verifier, text)))
        yield result(f"callers.size.{line.jws_algorithm}", "bytes", [float(len(f"Identity: {text}\r\n"))])


def _signed(line: CertifiedIdentity) -> str:
    resource = resource_id(CERTIFICATE_BY_NODE, line.user, line.node_id, _hash)
    info = data_uri(resource, fetch_request(CERTIFICATE_BY_NODE, resource).specifiers[0], OVERLAY)
    data = passport.signing_input(passport.header(line.jws_algorithm, info), CLAIMS.encode())
    return str(IdentityField(info, line.jws_algorithm, "", line.sign_jws(data)))


def _look(line: CertifiedIdentity, verifier: Verifier, text: str) -> None:
    given = IdentityField.parse(text)
    parse_data_uri(given.info)
    member = verifier.check([entry.certificate for entry in line.certificates], DATE, True)
    assert verifier.is_jws(member, given.alg, given.signing_input(CLAIMS), given.signature)


def _hash(name: bytes) -> ResourceId:
    return ResourceId(hashlib.sha1(name).digest()[:16])
