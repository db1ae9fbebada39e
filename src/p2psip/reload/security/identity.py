"""A node or a line of our own, with an X.509 certificate: it signs (RFC 6940 section 6.3.4, 7.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.reload.security import jws
from p2psip.reload.security.certificates import read_leaf
from p2psip.reload.security.keys import PrivateKey, public_key_der, sign, signature_algorithm
from p2psip.reload.security.sealed_to_key import unseal_with
from p2psip.reload.wire.common import HashAlgorithm
from p2psip.reload.wire.security_block import CertificateType, GenericCertificate, Signature, SignerIdentity


class CertifiedIdentity:
    """An Identity with the private key of a certificate, as one of its Node-IDs."""

    def __init__(
        self, key: PrivateKey, chain: Sequence[bytes], node_id: NodeId | None = None, *, node_id_length: int = 16
    ) -> None:
        leaf = read_leaf(chain[0], node_id_length)
        if public_key_der(leaf.key) != public_key_der(key.public_key()):
            raise LocalMisuse(f"the private key is not that of the certificate of {leaf.user}")
        if node_id is not None and node_id not in leaf.node_ids:
            raise LocalMisuse(f"the certificate of {leaf.user} does not have Node-ID {node_id}")
        self.key = key
        self.chain = tuple(chain)
        self.user = leaf.user
        self.node_ids = leaf.node_ids
        self.node_id = node_id or leaf.node_ids[0]
        self.not_before, self.not_after = leaf.not_before, leaf.not_after
        self.certificates = tuple(GenericCertificate(CertificateType.X509, der) for der in chain)
        self._algorithm = signature_algorithm(key)
        self._signer = _signer_identity(chain[0], self.node_id, len(leaf.node_ids))
        self._suffix = self._signer.encode()

    def __repr__(self) -> str:
        return f"CertifiedIdentity({self.user}, {self.node_id})"

    def sign(self, prefix: bytes) -> Signature:
        """The signature over `prefix` and the encoded SignerIdentity (6.3.4, 7.1)."""
        return Signature(self._algorithm, self._signer, sign(self.key, prefix + self._suffix))

    @property
    def jws_algorithm(self) -> str:
        """roles.Identity"""
        return jws.algorithm_of(self.key.public_key())

    def sign_jws(self, signing_input: bytes) -> bytes:
        """roles.Identity"""
        return jws.sign(self.key, signing_input)

    def unseal(self, sealed: bytes, purpose: bytes) -> bytes:
        """roles.Identity"""
        return unseal_with(self.key, sealed, purpose)


def _signer_identity(certificate: bytes, node_id: NodeId, node_ids: int) -> SignerIdentity:
    """ "There are two permitted identity formats, one for a certificate with only one Node-ID and one for a
    certificate with multiple Node-IDs."
    """
    if node_ids == 1:
        return SignerIdentity.cert_hash(HashAlgorithm.SHA256, hashlib.sha256(certificate).digest())
    # "H(NodeId || certificate). The NodeId is represented without any framing or length fields".
    return SignerIdentity.cert_hash_node_id(HashAlgorithm.SHA256, hashlib.sha256(node_id + certificate).digest())
