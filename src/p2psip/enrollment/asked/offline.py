"""Requests that are carried to who has the key, signed there by hand, and carried back; both are small JSON files.

Who signs does not sign what it is given: it makes each certificate itself, from a CSR whose signature it has checked,
for one user name of its overlay, and for no other purpose.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.csr import CertificateRequest, read_request
from p2psip.enrollment.refusals import BadCsr
from p2psip.enrollment.user_names import is_user_name
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.authority import TrustAnchor, Validity
from p2psip.reload.security.certificates import NODE_IDS_MAX, X509_ERRORS, Leaf, read_leaf
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.keys import public_key_der

F = TypeVar("F", "RequestsFile", "CertificatesFile")


class CollectedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One that has been granted, and waits for being signed."""

    number: int
    account: str
    user: str
    node_ids: tuple[str, ...]
    """In hex."""
    csr: bytes
    date: float
    """When it was asked for, in seconds since 1970-01-01 UTC."""


class RequestsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is carried to who signs."""

    overlay: str
    authority: str
    """The fingerprint of who is to sign."""
    requests: tuple[CollectedRequest, ...]


class SignedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The certificate for a request."""

    number: int
    certificate: bytes


class CertificatesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is carried back."""

    overlay: str
    authority: str
    certificates: tuple[SignedRequest, ...]


def read_carried(raw: bytes, kind: type[F], anchor: TrustAnchor) -> F:
    """A file that was carried to or fro, of this overlay and authority. Raises LocalMisuse."""
    try:
        found = msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        writer = "requests" if kind is RequestsFile else "sign"
        raise LocalMisuse(f"it is not what `p2psip enrollment {writer}` has written: {error}") from None
    if (found.overlay, found.authority) != (anchor.overlay, anchor.fingerprint):
        raise LocalMisuse(f"it is of {found.overlay} and the authority {found.authority[:16]}..., not of this one")
    return found


def sign_collected(
    anchor: TrustAnchor, configuration: OverlayConfiguration, file: RequestsFile, rng: random.Random, validity: Validity
) -> CertificatesFile:
    """A certificate for each request. Raises LocalMisuse if one is not to be signed."""
    made: list[SignedRequest] = []
    for asked in file.requests:
        try:
            request, node_ids = _checked(asked, configuration)
        except (BadCsr, ValueError) as error:
            raise LocalMisuse(f"request {asked.number}, for {asked.user}, is not to be signed: {error}") from None
        certificate = anchor.issue(request.key, request.user, node_ids, rng, validity)
        made.append(SignedRequest(asked.number, certificate))
    return CertificatesFile(file.overlay, file.authority, tuple(made))


def _checked(asked: CollectedRequest, configuration: OverlayConfiguration) -> tuple[CertificateRequest, list[NodeId]]:
    """Raises BadCsr or ValueError."""
    request = read_request(asked.csr)
    is_named = is_user_name(request.user, configuration.instance_name, configuration.hosted_domains)
    if request.user != asked.user or not is_named:
        raise BadCsr(f"the CSR is for {request.user}")
    if request.algorithm not in configuration.signature_algorithms:
        raise BadCsr(f"a key of {request.algorithm.name}, which this overlay does not have")
    node_ids = [NodeId(bytes.fromhex(text)) for text in asked.node_ids]
    _check_node_ids(node_ids, configuration)
    return request, node_ids


def _check_node_ids(node_ids: Collection[NodeId], configuration: OverlayConfiguration) -> None:
    if not 1 <= len(set(node_ids)) == len(node_ids) <= NODE_IDS_MAX:
        raise ValueError(f"{len(node_ids)} Node-IDs, or one twice")
    for node_id in node_ids:
        if len(node_id) != configuration.node_id_length or not node_id.is_valid:
            raise ValueError(f"{node_id} is no Node-ID of this overlay")
        if node_id in configuration.bad_nodes:
            raise ValueError(f"the Node-ID {node_id} is revoked")


def check_returned(
    file: CertificatesFile, waiting: Mapping[int, CollectedRequest], anchor: TrustAnchor, node_id_length: int
) -> Iterator[tuple[int, Leaf, bytes]]:
    """The certificates that are what was asked for; those whose request has gone are left out. Raises LocalMisuse."""
    for signed in file.certificates:
        asked = waiting.get(signed.number)
        if asked is None:
            continue
        try:
            leaf = read_leaf(signed.certificate, node_id_length)
            leaf.x509.verify_directly_issued_by(anchor.certificate)
        except (UntrustedCertificate, InvalidSignature, *X509_ERRORS):
            raise LocalMisuse(f"certificate {signed.number} is not this authority's") from None
        is_its_key = public_key_der(leaf.key) == public_key_der(read_request(asked.csr).key)
        if (leaf.user, tuple(map(str, leaf.node_ids))) != (asked.user, asked.node_ids) or not is_its_key:
            raise LocalMisuse(f"certificate {signed.number} is not what was asked for")
        yield signed.number, leaf, signed.certificate
