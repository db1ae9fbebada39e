"""What the enrollment server answers instead of a certificate (RFC 6940 section 11.3).

* EnrollmentRejected: a RequestRejected; `code` is the HTTP status, `token` the body
    * FailedAuthentication, UsernameNotAvailable, NodeIdsNotAvailable, BadCsr: the RFC's tokens, with 403
    * InvitationUnknown, InvitationExpired, InvitationUsed, InvitationWithdrawn: ours, with 403
    * ApprovalPending, MembershipRevoked: ours, with 403
    * BadForm, NotAcceptable, TooManyAttempts, Unavailable, WaitingForSignature: ours, as the RFC has no token for it;
      "If the client receives an unknown token in the body, it SHOULD treat it as a failure for an unknown reason."
"""

from __future__ import annotations

from p2psip.base.errors import RequestRejected


class EnrollmentRejected(RequestRejected):
    """No certificate; `str()` says why, for the log and not for the requester."""

    code = 403
    token: str
    retry_after_s: int | None = None

    @property
    def body(self) -> bytes:
        """ "a body of type "text/plain" and body that consists of one of the tokens"."""
        return self.token.encode()


class FailedAuthentication(EnrollmentRejected):
    """ "The account name and password combination used in the HTTPS request was not valid."."""

    token = "failed_authentication"


class UsernameNotAvailable(EnrollmentRejected):
    """ "The requested user name in the CSR was not acceptable."."""

    token = "username_not_available"


class NodeIdsNotAvailable(EnrollmentRejected):
    """ "The number of Node-IDs requested was not acceptable."."""

    token = "Node-IDs_not_available"


class BadCsr(EnrollmentRejected):
    """ "There was some other problem with the CSR."."""

    token = "bad_CSR"


class InvitationUnknown(EnrollmentRejected):
    """There is no such invitation: a token that was guessed, or of another overlay."""

    token = "invitation_unknown"


class InvitationExpired(EnrollmentRejected):
    """Its time is over."""

    token = "invitation_expired"


class InvitationUsed(EnrollmentRejected):
    """It has admitted as many as it may."""

    token = "invitation_used"


class InvitationWithdrawn(EnrollmentRejected):
    """Whoever gave it has taken it back, or is no member any more."""

    token = "invitation_withdrawn"


class ApprovalPending(EnrollmentRejected):
    """The operator has not approved this new member yet; the body says after the token, in a line, who that is."""

    token = "approval_pending"
    retry_after_s = 10

    def __init__(self, approver: str) -> None:
        super().__init__(f"{approver} has not approved it yet")
        self.approver = approver

    @property
    def body(self) -> bytes:
        """The token, and whom it waits for."""
        return f"{self.token}\n{self.approver}".encode()


class MembershipRevoked(EnrollmentRejected):
    """The operator has revoked this member, or refused it."""

    token = "membership_revoked"


class BadForm(EnrollmentRejected):
    """The request is not a form as RFC 2388 and 11.3 describe it."""

    code = 400
    token = "bad_form"


class NotAcceptable(EnrollmentRejected):
    """ "The Accept header MUST contain the type "application/pkix-cert"."."""

    code = 406
    token = "not_acceptable"


class TooManyAttempts(EnrollmentRejected):
    """Wrong passwords for this account, or from this source, have used up their allowance."""

    code = 429
    token = "too_many_attempts"

    def __init__(self, what: str, retry_after_s: int) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class Unavailable(EnrollmentRejected):
    """The server cannot serve anybody now."""

    code = 503
    token = "unavailable"
    retry_after_s = 5


class WaitingForSignature(EnrollmentRejected):
    """Granted, and written down; the key that signs certificates is elsewhere. Who asks again later gets one."""

    code = 503
    token = "waiting_for_signature"
    retry_after_s = 10
