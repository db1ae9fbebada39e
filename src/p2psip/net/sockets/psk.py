"""Links that need the overlay's shared secret as well as a certificate (RFC 6940 section 13.4; RFC 4279 section 4).

13.4: "all the peers MUST share a single symmetric key which is used to key TLS-PSK or TLS-SRP mode". Section 1.2: "This
feature is used together with certificate-based access control, not as a replacement for it." The one key exchange of
TLS that has both is RSA_PSK: the server proves its RSA certificate, the client is asked for its own, and neither
end gets anywhere without the secret. So in these overlays the peers' keys are RSA, and TLS is 1.2.

pyOpenSSL has no words for it. `cryptography`, below it, binds the functions of OpenSSL; they are used as they are.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from p2psip.base.errors import LocalMisuse

CIPHERS = b"RSA-PSK-AES256-GCM-SHA384:RSA-PSK-CHACHA20-POLY1305:RSA-PSK-AES128-GCM-SHA256"

IDENTITY = b"member\0"
"""Which key is meant; there is one. Who the member is, its certificate says."""

_CLIENT = "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)"
_SERVER = "unsigned int(SSL *, const char *, unsigned char *, unsigned int)"


def require_shared_secret(context: SSL.Context, shared_secret: str, *, is_datagram: bool = False) -> None:
    """Have this context make no connection but with others that know the secret.

    LocalMisuse if the libraries here cannot do it.
    """
    lib, ffi = _openssl()
    key = shared_secret.encode()
    if not is_datagram:
        # Of DTLS there is no later version here.
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)

    def give(buffer: Any, size_max: int) -> int:
        # 0: no key, and the handshake fails.
        if len(key) > size_max:
            return 0
        ffi.memmove(buffer, key, len(key))
        return len(key)

    @ffi.callback(_CLIENT)  # type: ignore[untyped-decorator]
    def as_client(_: Any, __: Any, identity: Any, identity_max: int, buffer: Any, size_max: int) -> int:
        if len(IDENTITY) > identity_max:
            return 0
        ffi.memmove(identity, IDENTITY, len(IDENTITY))
        return give(buffer, size_max)

    @ffi.callback(_SERVER)  # type: ignore[untyped-decorator]
    def as_server(_: Any, __: Any, buffer: Any, size_max: int) -> int:
        return give(buffer, size_max)

    raw: Any = context._context
    lib.SSL_CTX_set_psk_client_callback(raw, as_client)
    lib.SSL_CTX_set_psk_server_callback(raw, as_server)
    # OpenSSL has the addresses of both; as long as the context lives they must.
    context._p2psip_psk_callbacks = (as_client, as_server)  # type: ignore[attr-defined]


def _openssl() -> tuple[Any, Any]:
    """OpenSSL's functions as `cryptography` binds them, loaded only where they are wanted: the name is private."""
    try:
        from cryptography.hazmat.bindings._rust import _openssl as binding
    except ImportError:
        raise LocalMisuse("links with a shared secret: this release of cryptography does not bind OpenSSL") from None
    lib: Any = binding.lib
    if not lib.Cryptography_HAS_PSK:
        raise LocalMisuse("links with a shared secret: this build of OpenSSL has no pre-shared keys")
    return lib, binding.ffi
