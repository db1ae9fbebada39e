"""Certificate signing requests (PKCS#10, RFC 2986), as RFC 6940 section 11.3 uses them."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from p2psip.enrollment.refusals import BadCsr
from p2psip.reload.security.certificates import X509_ERRORS
from p2psip.reload.security.keys import PrivateKey, PublicKey, algorithm_of, public_key_hash, usable
from p2psip.reload.wire.common import SignatureAlgorithm

CSR_SIZE_MAX = 16384

_NAMES_IN_SUBJECT = (NameOID.EMAIL_ADDRESS, NameOID.COMMON_NAME, NameOID.USER_ID)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A key whose private half the requester has, and the user name that it wants."""

    key: PublicKey
    user: str
    der: bytes = field(default=b"", repr=False)
    """The request itself."""

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """With what the key signs."""
        return algorithm_of(self.key)

    @property
    def key_hash(self) -> bytes:
        """Which key it is."""
        return public_key_hash(self.key)


def make_request(key: PrivateKey, user: str) -> bytes:
    """A CSR in DER for this key and user name: the name as rfc822Name, as the certificate will have it."""
    names = x509.SubjectAlternativeName([x509.RFC822Name(user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def read_request(data: bytes) -> CertificateRequest:
    """The CSR in `data` (DER, or PEM as many tools write it), its signature checked. Raises BadCsr."""
    if len(data) > CSR_SIZE_MAX:
        raise BadCsr(f"a CSR of {len(data)} bytes")
    try:
        is_pem = data.lstrip().startswith(b"-----")
        request = (x509.load_pem_x509_csr if is_pem else x509.load_der_x509_csr)(data)
        key = usable(request.public_key())
        if key is None:
            raise BadCsr("its key is neither ECDSA on P-256 nor RSA of 2048 to 4096 bits")
        if not request.is_signature_valid:
            raise BadCsr("its signature is wrong")
        return CertificateRequest(key, _user(request), request.public_bytes(serialization.Encoding.DER))
    except X509_ERRORS as error:
        raise BadCsr(f"not a PKCS#10 request: {error}") from None


def _user(request: x509.CertificateSigningRequest) -> str:
    """The name asked for: the rfc822Name, or else what common tools put into the subject."""
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.RFC822Name)
    except x509.ExtensionNotFound:
        found = []
    if not found:
        found = [str(entry.value) for oid in _NAMES_IN_SUBJECT for entry in request.subject.get_attributes_for_oid(oid)]
    if len(set(found)) != 1:
        raise BadCsr(f"it asks for {len(set(found))} user names, not one")
    return found[0]
