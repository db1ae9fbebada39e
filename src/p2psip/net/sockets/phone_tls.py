"""TLS with phones (RFC 3261 section 26.2.1): they look at our certificate, and prove themselves by a password."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL, crypto

from p2psip.base.errors import LocalMisuse
from p2psip.net.sockets.tls import describe, make_context


class CertificateAndKey(LocalMisuse):
    """The one is not of the other."""


def server_context(
    chain: Sequence[bytes], key: PrivateKeyTypes, keylog: Callable[[bytes], None] | None = None
) -> SSL.Context:
    """To show phones this certificate (DER, our own first). Raises CertificateAndKey if the key is another's."""
    try:
        context = make_context(chain, key, keylog=keylog)
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateAndKey(f"certificate and key do not go together ({describe(error)})") from None
    context.set_verify(SSL.VERIFY_NONE)
    return context


def client_context(anchors: Sequence[bytes]) -> SSL.Context:
    """To connect to phones whose certificates come from one of these authorities (DER)."""
    return _client(anchors)


def domain_context(anchors: Sequence[bytes]) -> SSL.Context:
    """To connect to other domains, whose certificates come from an authority that this machine trusts, or one of these
    (DER).
    """
    context = _client(anchors)
    context.set_default_verify_paths()
    return context


def server_authorities(ca_file: str) -> SSL.Context:
    """To connect to servers whose certificates come from an authority that this machine trusts, or one in `ca_file`.

    Raises LocalMisuse where that is no file of certificates.
    """
    if not ca_file:
        return domain_context(())
    context = _client(())
    try:
        context.load_verify_locations(ca_file)
    except SSL.Error as error:
        raise LocalMisuse(f"{ca_file} is no file of certificates in PEM ({describe(error)})") from None
    return context


def _client(anchors: Sequence[bytes]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    store = context.get_cert_store()
    assert store is not None, "a context has a store"
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(x509.load_der_x509_certificate(anchor)))
    context.set_verify(SSL.VERIFY_PEER)
    return context
