"""The requester's side of enrollment (RFC 6940 section 11.2, 11.3), without sockets: what to send, what to believe."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.enrollment.protocol import PKIX_CERT
from p2psip.enrollment.refusals import (
    ApprovalPending,
    BadCsr,
    EnrollmentRejected,
    FailedAuthentication,
    InvitationExpired,
    InvitationUnknown,
    InvitationUsed,
    InvitationWithdrawn,
    MembershipRevoked,
    NodeIdsNotAvailable,
    TooManyAttempts,
    Unavailable,
    UsernameNotAvailable,
    WaitingForSignature,
)
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.signatures import verify_document
from p2psip.reload.security.authority import NO_END, Validity, self_signed
from p2psip.reload.security.certificates import fingerprint
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, public_key_der
from p2psip.reload.security.roles import Signer
from p2psip.reload.security.verifier import CertificateVerifier, self_signed_node_ids

_FINGERPRINT_DIGITS = 64

WORDS_MAX = 512
"""Of what an enrollment server says instead of a certificate so many bytes are looked at."""

_TOKEN_SHOWN_MAX = 64

_MEANINGS: dict[str, str] = {
    FailedAuthentication.token: "the user name or the password is wrong",
    UsernameNotAvailable.token: "the user name asked for is not this account's to use, or is taken",
    NodeIdsNotAvailable.token: "the account has no Node-IDs left: its quota is used up",
    BadCsr.token: "it does not like the certificate request",
    InvitationUnknown.token: "there is no such invitation: ask for another code",
    InvitationExpired.token: "the invitation has expired: ask for another code",
    InvitationUsed.token: "the invitation has been used already: ask for another code",
    InvitationWithdrawn.token: "the invitation was withdrawn: ask for another code",
    MembershipRevoked.token: "the overlay's operator has revoked this member, or does not want it",
    TooManyAttempts.token: "too many wrong passwords or codes; wait a few minutes",
    Unavailable.token: "it cannot serve anybody now; see its log",
    WaitingForSignature.token: "granted, and its administrator has to sign it: ask again later",
}

_MEANINGS_FOR_RENEWAL = {
    FailedAuthentication.token: "there is nothing to renew: the account was removed or the certificate revoked",
}


class EnrollmentRefused(RequestFailed):
    """The enrollment server said no; `token` is its word (11.3), empty if it had none.

    Of who waits for being approved, `approver` is by whom.
    """

    def __init__(self, what: str, causes: tuple[Cause, ...], token: str, approver: str = "") -> None:
        super().__init__(what, causes)
        self.token = token
        self.approver = approver

    @property
    def is_pending(self) -> bool:
        """True if it need only ask again, until it is approved, or its certificate is signed."""
        return self.token in (ApprovalPending.token, WaitingForSignature.token)

    @property
    def is_final(self) -> bool:
        """True if no other enrollment server of the overlay would say otherwise."""
        return self.token in _FINAL


_FINAL = {kind.token for kind in EnrollmentRejected.__subclasses__() if kind.code == EnrollmentRejected.code}
_FINAL.add(WaitingForSignature.token)


def parse_fingerprint(text: str) -> str:
    """A trust anchor's fingerprint as people write it: SHA-256 in hex, with or without separators."""
    digits = "".join(text.replace(":", "").replace("-", "").split()).lower()
    if len(digits) != _FINGERPRINT_DIGITS or set(digits) - set("0123456789abcdef"):
        raise LocalMisuse(f"a fingerprint has {_FINGERPRINT_DIGITS} hex digits, as `p2psip overlay show` prints it")
    return digits


def whole_fingerprint(raw: bytes, beginning: bytes, overlay: str) -> str:
    """The fingerprint of the trust anchor in a document that begins so. Raises ConfigurationError if none does.

    The document is not verified by this: `verify_first` does that, with what comes back.
    """
    configuration = parse(raw, overlay).configuration
    for root in configuration.root_certs:
        if (found := fingerprint(root)).startswith(beginning.hex()):
            return found
    raise _untrusted(configuration, f"{beginning.hex()}...")


def verify_kept(raw: bytes, trusted: str, date: float, date_trusted: bool) -> Document:
    """A document that was verified before and may since have been replaced by updates, read back from disk.

    Any configuration signer may have signed it; its trust anchor must still be the one of this fingerprint.
    """
    document, _ = _verify(raw, trusted, date, date_trusted, None)
    return document


def verify_first(raw: bytes, trusted: str, date: float, date_trusted: bool, overlay: str | None = None) -> Document:
    """A document that comes from anywhere, believed only by the fingerprint of its trust anchor.

    Its signer must hold a certificate that this trust anchor made for signing configurations: a document's own
    list of configuration-signers proves nothing yet, nor does its leave to make certificates oneself. Raises
    ConfigurationError. Roots beside the trusted one are believed because the document is.

    An overlay of self-signed certificates may have no trust anchor: then the fingerprint is that of its signer's.
    """
    document, author = _verify(raw, trusted, date, date_trusted, overlay, is_first=True)
    if fingerprint(author.member.certificate) != trusted and not author.member.signs_configurations:
        raise ConfigurationError(f"signed by {author.user}, whom the trust anchor did not make a configuration signer")
    return document


def _verify(
    raw: bytes, trusted: str, date: float, date_trusted: bool, overlay: str | None, *, is_first: bool = False
) -> tuple[Document, Signer]:
    """A document with the trust anchor of this fingerprint, signed by a member whom it names as signer."""
    document = parse(raw, overlay)
    configuration = document.configuration
    roots = tuple(root for root in configuration.root_certs if fingerprint(root) == trusted)
    if roots and is_first:
        believed = replace(configuration, root_certs=roots[:1], self_signed_digest=None)
    elif roots or configuration.self_signed_digest is not None:
        believed = replace(configuration, root_certs=roots[:1])
    else:
        raise _untrusted(configuration, trusted)
    try:
        verifier = CertificateVerifier(believed)
    except SecurityError as error:
        raise ConfigurationError(f"the trust anchor cannot be read: {error}") from None
    try:
        author = verify_document(document, verifier, configuration.configuration_signers, date, date_trusted)
    except ConfigurationError:
        if configuration.root_certs and not roots:
            raise _untrusted(configuration, trusted) from None
        raise
    if not roots and fingerprint(author.member.certificate) != trusted:
        raise _untrusted(configuration, trusted)
    return document, author


def _untrusted(configuration: OverlayConfiguration, trusted: str) -> ConfigurationError:
    found = ", ".join(map(fingerprint, configuration.root_certs)) or "none"
    return ConfigurationError(
        f"the trust anchor of {configuration.instance_name} is {found}, not {trusted}: compare the fingerprint with its"
        " administrator's, digit by digit"
    )


def read_answer(
    server: str, status: int, content_type: str, body: bytes, now: float, *, is_renewal: bool = False
) -> bytes:
    """The certificate in an enrollment server's answer; EnrollmentRefused with its word if there is none."""
    if status == 200 and content_type.partition(";")[0].strip().lower() == PKIX_CERT:
        return body
    text = body[:WORDS_MAX].decode("ascii", "replace") if content_type.startswith("text/plain") else ""
    token, approver = text.partition("\n")[0].strip(), ""
    if token == ApprovalPending.token:
        # What comes from elsewhere is shown to people.
        approver = "".join(filter(str.isprintable, text.partition("\n")[2].partition("\n")[0])) or "the operator"
        cause = Cause(server, f"it waits for {approver}, who approves new members", now)
        raise EnrollmentRefused("not enrolled yet", (cause,), token, approver)
    meanings = _MEANINGS | _MEANINGS_FOR_RENEWAL if is_renewal else _MEANINGS
    said = meanings.get(token) or f"HTTP status {status}{f', {token[:_TOKEN_SHOWN_MAX]!r}' if token else ''}"
    raise EnrollmentRefused("not enrolled", (Cause(server, said, now),), token)


def accept_certificate(
    configuration: OverlayConfiguration,
    key: PrivateKey,
    user: str,
    certificate: bytes,
    server: str,
    now: float,
    date: float,
    date_trusted: bool,
    *,
    nodeids: int = 1,
    issuers: Sequence[bytes] = (),
) -> CertifiedIdentity:
    """Who one is with a certificate from an enrollment server; RequestFailed if it is not what was asked for.

    `issuers` are the authorities between it and a root-cert, from below.

    "The node then reads the certificate to find the Node-ID it can use.": the first of them.
    """
    # "The client MUST check that the returned certificate chains back to one of the certificates received in the
    # "root-cert" list of the overlay configuration data (including PKIX BasicConstraints checks)."
    try:
        member = CertificateVerifier(configuration).check([certificate, *issuers], date, date_trusted)
        chain = [certificate, *member.issuers]
        identity = CertifiedIdentity(key, chain, node_id_length=configuration.node_id_length)
    except (SecurityError, LocalMisuse) as error:
        raise RequestFailed("the certificate is of no use", (Cause(server, str(error), now),)) from None
    if member.user != user:
        cause = Cause(server, f"it is for {member.user}, not for {user}", now)
        raise RequestFailed("the certificate is of no use", (cause,))
    if len(identity.node_ids) != nodeids:
        cause = Cause(server, f"it has {len(identity.node_ids)} Node-IDs, not the {nodeids} asked for", now)
        raise RequestFailed("the certificate is of no use", (cause,))
    return identity


def self_enroll(
    configuration: OverlayConfiguration, key: PrivateKey, user: str, rng: random.Random, *, nodeids: int = 1
) -> CertifiedIdentity:
    """Who one is with a certificate of one's own making, where the overlay permits that (11.3.1)."""
    digest = configuration.self_signed_digest
    if digest is None:
        raise LocalMisuse(f"{configuration.instance_name} permits no self-signed certificates: give an account")
    length = configuration.node_id_length
    node_ids = self_signed_node_ids(public_key_der(key.public_key()), nodeids, digest, length)
    # Nobody vouches for its dates, so it has none: it begins in 1970 and does not end.
    validity = Validity(0.0, NO_END)
    certificate = self_signed(key, configuration.instance_name, user, node_ids, rng, validity)
    return CertifiedIdentity(key, [certificate], node_id_length=length)
