"""Names that both ends of enrollment use (RFC 6940 section 11.2, 11.3, 14.16)."""

from __future__ import annotations

ENROLLMENT_PORT = 8443
"""Where our enrollment servers listen, unless they are told otherwise."""

WELL_KNOWN_PATH = "/.well-known/reload-config"
"""11.2: where a configuration server has the document."""

ENROLL_PATH = "/enroll"
"""Where our enrollment servers take requests."""

AUTHORITY_PATH = "/authority.cer"
"""Where our enrollment servers have the certificate of their authority, if it is below the trust anchor."""

DOCUMENT_TYPE = "application/p2p-overlay+xml"
PKCS10 = "application/pkcs10"
PKIX_CERT = "application/pkix-cert"

ANSWER_SIZE_MAX = 16384
"""Of an enrollment server's answer: a certificate."""
