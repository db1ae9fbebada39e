"""The enrollment server (RFC 6940 section 11.3), without sockets: form in, certificate or token out.

One request goes through: form and CSR; the password, or for a renewal the key; the user name; the Node-IDs; the
certificate; the store. Whoever proves an account's password may enroll

- the account's own user name (a person's lines), and
- any `peer-NAME` that nobody else has: the name then belongs to the account.

Whoever has the token of an invitation in the place of a password gets what that admits (`invitations`). Whom the
operator wants to approve first waits until then, and whom he has revoked gets nothing (`admission`).

A request without user name, password and token renews what was issued to the key of its CSR: the CSR's signature proves
the key, the result is of use to nobody else, and a peer can renew itself without keeping a password.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from p2psip.base.address import source_key
from p2psip.base.allowance import Allowance, Attempts
from p2psip.base.effects import Asks, Effect, Note
from p2psip.base.ids import NODE_ID_LENGTHS, NodeId
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.enrollment.accounts import Account, AccountStore, Issue, StoreFailed
from p2psip.enrollment.admission import AdmissionStore, Applicant, check_room, is_another_s
from p2psip.enrollment.csr import CertificateRequest, read_request
from p2psip.enrollment.form import EnrollmentForm, check_accept, read_form
from p2psip.enrollment.invitations import Invitation, InvitationStore, check_invitation, token_hash
from p2psip.enrollment.passwords import Cost, hash_password
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
)
from p2psip.enrollment.user_names import full_name, is_peer_name, is_user_name
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.security.certificates import NODE_IDS_MAX
from p2psip.reload.wire.common import SignatureAlgorithm

CHECKS_MAX = 16
"""Passwords that wait for being checked."""

CHECKS_OF_SOURCE_MAX = 8
"""Of these from one address, so that it cannot keep everybody else out."""

WRONG_PASSWORDS = Allowance(burst=10, refill_s=30.0)
"""For one account from one address: neither others there nor the account's owner elsewhere are kept out by it."""

NO_INVITATION = (InvitationUnknown, InvitationExpired, InvitationUsed, InvitationWithdrawn)
"""What counts as guessing, like a wrong password."""

CHECK_TIMEOUT_S = 30.0
CERTIFICATE_LIFETIME_S = 365 * DAY_S


@dataclass(frozen=True, slots=True)
class EnrollmentPolicy:
    """What the server grants; the first three from the overlay's configuration."""

    overlay: str
    signature_algorithms: frozenset[SignatureAlgorithm]
    node_id_length: int = NODE_ID_LENGTHS[0]
    lifetime_s: float = CERTIFICATE_LIFETIME_S
    waives_approval: bool = False
    """True where it is the operator himself who asks."""


@dataclass(frozen=True, slots=True)
class Post:
    """A request as HTTP brought it."""

    content_type: str
    body: bytes = field(repr=False)
    accept: str
    source: str
    """The requester's address."""


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """A question for outside the loop: is this the password? The answer is a bool."""

    password: str = field(repr=False)
    kept: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Respond(Effect):
    """The answer to request `number`."""

    number: int
    status: int
    content_type: str
    body: bytes = field(repr=False)
    retry_after_s: int | None = None


@dataclass(slots=True)
class _Case:
    """One request on its way through; what is known of it so far, for the log."""

    number: int
    source: str
    account: str = ""
    user: str = ""
    asks_again: bool = False
    """True for who waits for its approval, and has been told so."""

    @property
    def guesser(self) -> tuple[str, str]:
        """What a wrong password counts for."""
        return self.account, source_key(self.source)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request whose password is being checked."""

    case: _Case
    request: CertificateRequest
    nodeids: int


class MembershipStore(AccountStore, InvitationStore, AdmissionStore, Protocol):
    """All that the server remembers."""


class EnrollmentServer:
    """Decides about requests, one effect list at a time. `store` is read and written synchronously."""

    def __init__(
        self,
        policy: EnrollmentPolicy,
        anchor: TrustAnchor,
        store: MembershipStore,
        rng: random.Random,
        clock: WallClock,
        cost: Cost | None = None,
    ) -> None:
        self._policy = policy
        self._anchor = anchor
        self._store = store
        self._rng = rng
        self._clock = clock
        self._attempts: Attempts[tuple[str, str]] = Attempts(WRONG_PASSWORDS)
        self._checking: Counter[str] = Counter()
        self._asks: Asks[_Pending] = Asks(CHECKS_MAX)
        self._effects: list[Effect] = []
        # An account that is not there takes as long to check as one that is.
        self._nobody = hash_password(rng.randbytes(16).hex(), rng, cost)

    def handle_clock(self, clock: WallClock) -> None:
        """The date has jumped."""
        self._clock = clock

    def handle_request(self, number: int, post: Post, now: float) -> None:
        """A request has come; `number` comes back in its Respond."""
        case = _Case(number, post.source)
        try:
            check_accept(post.accept)
            form = read_form(post.content_type, post.body)
            self._check_clock(now)
            request = self._read_csr(form)
            case.user = request.user
            self._authenticate(case, form, request, now)
        except EnrollmentRejected as rejection:
            self._reject(case, rejection)
        except StoreFailed as error:
            self._reject(case, Unavailable(str(error)))

    def handle_answer(self, token: int, answer: bool, now: float) -> None:
        """A CheckPassword was answered."""
        pending = self._asks.answered(token)
        if pending is None:
            return
        self._checked(pending.case)
        try:
            self._grant_to_account(pending, answer, now)
        except EnrollmentRejected as rejection:
            self._reject(pending.case, rejection)
        except StoreFailed as error:
            self._reject(pending.case, Unavailable(str(error)))

    def handle_timeout(self, now: float) -> None:
        """A deadline has come: passwords that took too long to check."""
        for pending in self._asks.expired(now):
            self._checked(pending.case)
            self._reject(pending.case, Unavailable("checking the password took too long"))

    def drain(self) -> list[Effect]:
        """What is to be done, in order."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When handle_timeout is wanted."""
        return self._asks.next_deadline()

    def _check_clock(self, now: float) -> None:
        date = self._clock.date(now)
        if not self._clock.is_trusted or date < self._anchor.certificate.not_valid_before_utc.timestamp():
            raise Unavailable("the clock of this server is wrong: set it")

    def _read_csr(self, form: EnrollmentForm) -> CertificateRequest:
        request = read_request(form.csr)
        if request.algorithm not in self._policy.signature_algorithms:
            permitted = " or ".join(sorted(algorithm.name for algorithm in self._policy.signature_algorithms))
            raise BadCsr(f"a key of {request.algorithm.name}; this overlay wants {permitted}")
        return request

    def _authenticate(self, case: _Case, form: EnrollmentForm, request: CertificateRequest, now: float) -> None:
        """By the token of an invitation; by password, whose check is asked for; without either, by the key."""
        if self._ask_again(case, request, form.nodeids, now):
            return
        if form.invitation is not None:
            self._admit(case, form, form.invitation, request, now)
            return
        if form.username is None or form.password is None:
            self._renew(case, request, form.nodeids, now)
            return
        case.account = full_name(form.username, self._policy.overlay)
        self._check_attempts(case, "passwords", now)
        if self._asks.is_full:
            raise Unavailable(f"{CHECKS_MAX} passwords are being checked already")
        source = source_key(case.source)
        if self._checking[source] >= CHECKS_OF_SOURCE_MAX:
            raise Unavailable(f"{CHECKS_OF_SOURCE_MAX} passwords from this address are being checked already")
        self._checking[source] += 1
        self._attempts.charge(case.guesser, now)
        account = self._store.account(case.account)
        question = CheckPassword(form.password, (account and account.password_hash) or self._nobody)
        pending = _Pending(case, request, form.nodeids)
        self._effects.append(self._asks.ask(question, pending, now + CHECK_TIMEOUT_S))

    def _check_attempts(self, case: _Case, what: str, now: float) -> None:
        if wait_s := math.ceil(self._attempts.wait_s(case.guesser, now)):
            raise TooManyAttempts(f"too many wrong {what}, {wait_s} s to wait", wait_s)

    def _checked(self, case: _Case) -> None:
        source = source_key(case.source)
        self._checking[source] -= 1
        if not self._checking[source]:
            del self._checking[source]

    def _grant_to_account(self, pending: _Pending, is_right: bool, now: float) -> None:
        case = pending.case
        account = self._store.account(case.account)
        if account is None or not account.password_hash or not is_right:
            raise FailedAuthentication("wrong password" if account else "no such account")
        self._attempts.refund(case.guesser, now)
        self._check_user(case.user, account)
        self._grant(case, account, pending.request, pending.nodeids, now)

    def _admit(self, case: _Case, form: EnrollmentForm, token: bytes, request: CertificateRequest, now: float) -> None:
        """Whom an invitation lets in; what it let in before, and lost the answer, as a renewal."""
        self._check_attempts(case, "tokens", now)
        if self._store.holding(request.user, request.key_hash) is not None:
            self._renew(case, request, form.nodeids, now)
            return
        date = self._clock.date(now)
        invitation = self._store.invitation(token_hash(token))
        is_there = invitation is not None and self._store.account(invitation.inviter) is not None
        try:
            check_invitation(invitation, request.user, request.key_hash, date, is_inviter_there=is_there)
        except NO_INVITATION:
            self._attempts.charge(case.guesser, now)
            raise
        assert invitation is not None, "it was just checked"
        check_room(invitation, self._store.applicants_by(invitation.number), request.user, request.key_hash)
        account = self._invited_account(request.user, date)
        case.account = account.name
        self._grant(case, account, request, form.nodeids, now, invitation)

    def _invited_account(self, user: str, date: float) -> Account:
        """A person's own, or a new one. A machine's is always new: nobody gets another one's name."""
        known = self._store.account(user)
        if not is_user_name(user, self._policy.overlay) or (known is not None and is_peer_name(user)):
            raise UsernameNotAvailable("no name of this overlay" if known is None else "the name is another account's")
        if self._store.owner(user) not in (None, user):
            raise UsernameNotAvailable("the name is another account's")
        return known or Account(user, "", created=date)

    def _ask_again(self, case: _Case, request: CertificateRequest, nodeids: int, now: float) -> bool:
        """Who waits, or has waited, for its approval: its key proves it, whatever else comes with it."""
        applicant = self._store.applicant(request.user)
        if applicant is None or applicant.key_hash != request.key_hash:
            return False
        if self._store.holding(request.user, request.key_hash) is not None:
            return False
        case.account, case.asks_again = applicant.account, True
        account, invitation = self._store.account(applicant.account), None
        if applicant.invitation is not None:
            invitation = self._store.invitation_numbered(applicant.invitation)
            # It has come in time; but who was to be let in by nobody is not let in later.
            if invitation.is_withdrawn or self._store.account(invitation.inviter) is None:
                raise InvitationWithdrawn(f"invitation {invitation.number} of {invitation.inviter}: withdrawn")
            account = self._invited_account(request.user, self._clock.date(now))
        if account is None:
            raise FailedAuthentication("the account has gone")
        self._grant(case, account, request, nodeids, now, invitation)
        return True

    def _check_admission(
        self, case: _Case, account: Account, request: CertificateRequest, invitation: Invitation | None, date: float
    ) -> None:
        """What the operator has said of this member, or has yet to say. Raises what to answer if that is no yes."""
        for name in dict.fromkeys((request.user, account.name)):
            if self._store.revocation(name) is not None:
                raise MembershipRevoked(f"{name} was revoked")
        if self._policy.waives_approval or self._store.owner(request.user) is not None:
            return
        asked = self._store.applicant(request.user)
        if asked is not None and is_another_s(asked, account, request.key_hash):
            raise UsernameNotAvailable("somebody else has asked for the name")
        if not self._store.requires_approval() or (asked is not None and asked.approved is not None):
            return
        others = [each.member for each in self._store.applicants_of(account.name) if each.member != request.user]
        if sum(self._store.owner(member) is None for member in others) >= account.quota:
            raise NodeIdsNotAvailable(f"as many of this account wait for their approval as its quota, {account.quota}")
        number = None if invitation is None else invitation.number
        new = Applicant(request.user, account.name, request.key_hash, date, case.source, number)
        if not self._store.apply(new):
            raise UsernameNotAvailable("somebody else has asked for the name")
        raise ApprovalPending(self._store.administrator())

    def _renew(self, case: _Case, request: CertificateRequest, nodeids: int, now: float) -> None:
        holding = self._store.holding(request.user, request.key_hash)
        account = self._store.account(holding.account) if holding else None
        if account is None:
            raise FailedAuthentication("no password, and nothing to renew for this user name and key")
        case.account = account.name
        self._grant(case, account, request, nodeids, now)

    def _check_user(self, user: str, account: Account) -> None:
        """ "If the authentication succeeds and the requested user name in the CSR is acceptable"."""
        if user == account.name:
            return
        if not is_user_name(user, self._policy.overlay) or not is_peer_name(user):
            raise UsernameNotAvailable("neither the account's own name nor that of a peer")
        if self._store.account(user) is not None or self._store.owner(user) not in (None, account.name):
            raise UsernameNotAvailable("the name is another account's")

    def _grant(
        self,
        case: _Case,
        account: Account,
        request: CertificateRequest,
        nodeids: int,
        now: float,
        invitation: Invitation | None = None,
    ) -> None:
        """Everything is proven: choose the Node-IDs, make the certificate, remember it, hand it out."""
        date = self._clock.date(now)
        self._check_admission(case, account, request, invitation, date)
        node_ids = self._node_ids(account, request, nodeids, date)
        validity = Validity.at(date, self._policy.lifetime_s)
        certificate = self._anchor.issue(request.key, request.user, node_ids, self._rng, validity)
        issue = Issue(account.name, request.user, request.key_hash, node_ids, certificate, validity.ends)
        store = self._store
        if not (store.record(issue) if invitation is None else store.redeem(invitation, account, issue, date)):
            raise Unavailable("somebody else has just taken the name, or the account has gone")
        # "The certificate MUST be returned as type "application/pkix-cert" [...] with an HTTP status code of 200 OK."
        self._effects.append(Respond(case.number, 200, PKIX_CERT, certificate))
        facts: dict[str, Any] = {"node_ids": [str(node_id) for node_id in node_ids]}
        if invitation is not None:
            facts |= {"invitation": invitation.number, "inviter": invitation.inviter}
        self._note(case, "issued", **facts)

    def _node_ids(self, account: Account, request: CertificateRequest, nodeids: int, date: float) -> tuple[NodeId, ...]:
        """Those that this user name and key have already, and new ones for the rest."""
        held = nodeids + self._store.held_otherwise(account.name, request.user, request.key_hash, date)
        if not 1 <= nodeids <= NODE_IDS_MAX or held > account.quota:
            raise NodeIdsNotAvailable(f"with the {nodeids} asked for {held}, more than the quota of {account.quota}")
        holding = self._store.holding(request.user, request.key_hash)
        kept = holding.node_ids[:nodeids] if holding else ()
        return (*kept, *(self._new_node_id() for _ in range(nodeids - len(kept))))

    def _new_node_id(self) -> NodeId:
        """ "Each MUST be chosen by the enrollment server in such a way that it is unpredictable"."""
        while True:
            node_id = NodeId(self._rng.randbytes(self._policy.node_id_length))
            if node_id.is_valid and not self._store.is_taken(node_id):
                return node_id

    def _reject(self, case: _Case, rejection: EnrollmentRejected) -> None:
        answer = Respond(case.number, rejection.code, "text/plain", rejection.body, rejection.retry_after_s)
        self._effects.append(answer)
        is_pending = isinstance(rejection, ApprovalPending)
        if is_pending and case.asks_again:
            # It asks every few seconds, for days perhaps.
            return
        is_warning = is_pending or isinstance(rejection, TooManyAttempts | Unavailable)
        self._note(case, rejection.token, is_warning=is_warning, reason=str(rejection))

    def _note(self, case: _Case, outcome: str, *, is_warning: bool = False, **facts: object) -> None:
        """One line for the log: who asked for what from where, what came of it and why."""
        asked = {"outcome": outcome, "source": case.source, "account": case.account, "user": case.user}
        self._effects.append(Note("enrollment", asked | facts, is_warning))
