"""Why somebody is not believed.

* SecurityError: a RemoteProtocolError
    * UntrustedCertificate: the certificate does not make its holder a member of this overlay
    * BadSignature: the signature is not that of the member whom it names
        * CertificateMissing: nobody has the certificate that it names
"""

from __future__ import annotations

from enum import Enum

from p2psip.base.errors import RemoteProtocolError


class SecurityError(RemoteProtocolError):
    """What a remote claims to be is not proven."""


class CertificateProblem(Enum):
    """What is wrong with a certificate, for people who count and for those who must act."""

    MALFORMED = "malformed"
    WRONG_OVERLAY = "wrong overlay"
    WRONG_ALGORITHM = "wrong algorithm"
    WRONG_NODE_ID = "wrong Node-ID"
    UNKNOWN_ISSUER = "unknown issuer"
    BAD_NODE = "bad node"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"


class UntrustedCertificate(SecurityError):
    """A certificate that does not make its holder a member; the text says why in full."""

    def __init__(self, problem: CertificateProblem, what: str) -> None:
        super().__init__(f"untrusted certificate ({problem.value}): {what}")
        self.problem = problem


class BadSignature(SecurityError):
    """A signature that is missing, of an algorithm that is not permitted, or wrong."""


class CertificateMissing(BadSignature):
    """The certificate that a signature names did not come with it."""

    def __init__(self) -> None:
        super().__init__("the signer's certificate is missing")
