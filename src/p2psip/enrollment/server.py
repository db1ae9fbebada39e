"""The enrollment server (RFC 6940 section 11.3), without sockets: form in, certificate or token out.

One request goes through: form and CSR; the password, or for a renewal the key; the user name; the Node-IDs; the
certificate; the store. Whoever proves an account's password may enroll

- the account's own user name (a person's lines), and
- any `peer-NAME` that nobody else has: the name then belongs to the account.

Whoever has the token of an invitation in the place of a password gets what that admits (`invitations`). Whom the
operator wants to approve first waits until then, and whom he has revoked gets nothing (`admission`).

A request without user name, password and token renews what was issued to the key of its CSR: the CSR's signature proves
the key, the result is of use to nobody else, and a peer can renew itself without keeping a password.

Each request is a generator that yields the questions it has to others (`asked.server_errands`), one at a time. The
server asks them (`Ask`) and goes on with the generator when the answer comes; other requests go on meanwhile.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2psip.base.address import source_key
from p2psip.base.effects import Asks, Effect, Note
from p2psip.base.ids import NODE_ID_LENGTHS, NodeId
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.enrollment.accounts import Account, Issue, StoreFailed
from p2psip.enrollment.admission import Applicant, check_room, is_another_s
from p2psip.enrollment.asked.audit import AuditEntry
from p2psip.enrollment.asked.guesses import Guesser
from p2psip.enrollment.asked.server_errands import (
    Apply,
    Certify,
    CheckPassword,
    Known,
    LookUp,
    NoteRefusal,
    Refund,
    ServerErrand,
    WriteDown,
)
from p2psip.enrollment.csr import CertificateRequest, read_request
from p2psip.enrollment.form import EnrollmentForm, check_accept, read_form
from p2psip.enrollment.invitations import Invitation, check_invitation, token_hash
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
    WaitingForSignature,
)
from p2psip.enrollment.user_names import full_name, is_peer_name, is_user_name
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.certificates import NODE_IDS_MAX, read_leaf
from p2psip.reload.security.signing_keys import SigningFailed
from p2psip.reload.wire.common import SignatureAlgorithm

REQUESTS_MAX = 32
"""Requests that wait for an answer to a question."""

REQUESTS_OF_SOURCE_MAX = 8
"""Of these from one address, so that it cannot keep everybody else out."""

NO_INVITATION = (InvitationUnknown, InvitationExpired, InvitationUsed, InvitationWithdrawn)
"""What counts as guessing, like a wrong password."""

ANSWER_TIMEOUT_S = 30.0
TRIES_MAX = 3
"""How often a certificate is made anew because somebody else has taken a name or a Node-ID meanwhile."""

CERTIFICATE_LIFETIME_S = 365 * DAY_S

RENEWED_BEFORE = 1 / 3
"""What is left of a certificate's time when a request for another one is collected."""

_SLOW: dict[type, str] = {CheckPassword: "checking the password", Certify: "signing the certificate"}

Work = Generator[ServerErrand, Any, None]
Asking = Generator[ServerErrand, Any, Known]
Claim = Callable[[Known], "tuple[Account, Invitation | None]"]
"""On whose account a certificate is issued, by which invitation; or raises what to answer instead."""


@dataclass(frozen=True, slots=True)
class EnrollmentPolicy:
    """What the server grants; the first three from the overlay's configuration."""

    overlay: str
    signature_algorithms: frozenset[SignatureAlgorithm]
    node_id_length: int = NODE_ID_LENGTHS[0]
    lifetime_s: float = CERTIFICATE_LIFETIME_S
    begins: float = 0.0
    """When the authority that signs began, in seconds since 1970-01-01 UTC: before that the clock is wrong."""
    is_offline: bool = False
    """Certificates are signed elsewhere, by hand: requests are collected."""
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
    date: float
    work: Work | None = None
    waits_for: type[ServerErrand] | None = None
    account: str = ""
    user: str = ""
    has_heard: type[EnrollmentRejected] | None = None
    """ApprovalPending or WaitingForSignature: of who waits for that, and has been told so."""


class EnrollmentServer:
    """Decides about requests, one effect list at a time. What it asks is for `ServerErrands` to answer."""

    def __init__(
        self, policy: EnrollmentPolicy, rng: random.Random, clock: WallClock, cost: Cost | None = None
    ) -> None:
        self._policy = policy
        self._rng = rng
        self._clock = clock
        self._asks: Asks[_Case] = Asks(REQUESTS_MAX)
        self._open: Counter[str] = Counter()
        self._effects: list[Effect] = []
        # An account that is not there takes as long to check as one that is.
        self._nobody = hash_password(rng.randbytes(16).hex(), rng, cost)

    def handle_clock(self, clock: WallClock) -> None:
        """The date has jumped."""
        self._clock = clock

    def handle_request(self, number: int, post: Post, now: float) -> None:
        """A request has come; `number` comes back in its Respond."""
        case = _Case(number, post.source, self._clock.date(now))
        self._open[source_key(case.source)] += 1
        case.work = self._decide(case, post)
        self._go_on(case, None, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """A question was answered, be it by StoreFailed or SigningFailed."""
        case = self._asks.answered(token)
        if case is not None:
            case.date = self._clock.date(now)
            self._go_on(case, answer, now)

    def handle_timeout(self, now: float) -> None:
        """A deadline has come: answers that took too long."""
        for case in self._asks.expired(now):
            assert case.work is not None, "it has asked something"
            case.work.close()
            assert case.waits_for is not None, "it has asked something"
            what = _SLOW.get(case.waits_for, "the account database")
            self._reject(case, Unavailable(f"{what} took too long"))

    def drain(self) -> list[Effect]:
        """What is to be done, in order."""
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> Deadline | None:
        """When handle_timeout is wanted."""
        return self._asks.next_deadline()

    def _go_on(self, case: _Case, answer: object, now: float) -> None:
        """With a request, until its next question or its end."""
        assert case.work is not None, "it was made with the case"
        try:
            if isinstance(answer, StoreFailed | SigningFailed):
                raise Unavailable(str(answer))
            errand = case.work.send(answer)
        except StopIteration:
            self._end(case)
        except EnrollmentRejected as rejection:
            self._reject(case, rejection)
        else:
            case.waits_for = type(errand)
            self._effects.append(self._asks.ask(errand, case, now + ANSWER_TIMEOUT_S))

    def _end(self, case: _Case) -> None:
        source = source_key(case.source)
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]

    def _decide(self, case: _Case, post: Post) -> Work:
        """By the key of who waits; by the token of an invitation; by password; without all that, by the key."""
        check_accept(post.accept)
        form = read_form(post.content_type, post.body)
        self._check_clock(case)
        request = self._read_csr(form)
        case.user = request.user
        self._check_room(case)
        case.has_heard = _waits_for((yield from self._look_up(case, request)))
        if case.has_heard is not None:
            # Its key proves it, whatever else comes with it.
            yield from self._grant(case, request, form.nodeids, self._returning(case))
        elif form.invitation is not None:
            yield from self._admit(case, form, form.invitation, request)
        elif form.username is None or form.password is None:
            yield from self._grant(case, request, form.nodeids, self._renewing(case))
        else:
            case.account = full_name(form.username, self._policy.overlay)
            yield from self._check_password(case, request, form.password)
            yield from self._grant(case, request, form.nodeids, self._owning(case))

    def _check_clock(self, case: _Case) -> None:
        if not self._clock.is_trusted or case.date < self._policy.begins:
            raise Unavailable("the clock of this server is wrong: set it")

    def _read_csr(self, form: EnrollmentForm) -> CertificateRequest:
        request = read_request(form.csr)
        if request.algorithm not in self._policy.signature_algorithms:
            permitted = " or ".join(sorted(algorithm.name for algorithm in self._policy.signature_algorithms))
            raise BadCsr(f"a key of {request.algorithm.name}; this overlay wants {permitted}")
        return request

    def _check_room(self, case: _Case) -> None:
        """Before its first question."""
        if self._asks.is_full:
            raise Unavailable(f"{REQUESTS_MAX} requests are being served already")
        if self._open[source_key(case.source)] > REQUESTS_OF_SOURCE_MAX:
            raise Unavailable(f"{REQUESTS_OF_SOURCE_MAX} requests from this address are being served already")

    def _look_up(
        self, case: _Case, request: CertificateRequest, token: bytes | None = None, guesser: Guesser | None = None
    ) -> Asking:
        hashed = None if token is None else token_hash(token)
        known: Known = yield LookUp(case.account, request.user, request.key_hash, case.date, hashed, guesser)
        if wait_s := math.ceil(known.wait_s):
            what = "passwords" if token is None else "tokens"
            raise TooManyAttempts(f"too many wrong {what}, {wait_s} s to wait", wait_s)
        return known

    def _check_password(self, case: _Case, request: CertificateRequest, password: str) -> Work:
        """Returns if it is right."""
        guesser = Guesser(case.account, case.source)
        known = yield from self._look_up(case, request, guesser=guesser)
        kept = known.account.password_hash if known.account else ""
        is_right: bool = yield CheckPassword(password, kept or self._nobody)
        if not kept or not is_right:
            refusal = FailedAuthentication("wrong password" if known.account else "no such account")
            yield from self._tell(case, refusal)
            raise refusal
        yield Refund(guesser, case.date)

    def _tell(self, case: _Case, refusal: EnrollmentRejected) -> Work:
        """Whoever may have guessed stands in the audit log: as often as he may guess."""
        yield NoteRefusal(
            AuditEntry("refused", case.date, case.source, case.account, case.user, f"{refusal.token}: {refusal}")
        )

    def _admit(self, case: _Case, form: EnrollmentForm, token: bytes, request: CertificateRequest) -> Work:
        """Whom an invitation lets in; what it let in before, and lost the answer, as a renewal."""
        guesser = Guesser("", case.source)
        claim = self._admitting(case, request)
        try:
            claim((yield from self._look_up(case, request, token, guesser)))
        except NO_INVITATION as refusal:
            yield from self._tell(case, refusal)
            raise
        except UsernameNotAvailable:
            yield Refund(guesser, case.date)
            raise
        yield Refund(guesser, case.date)
        yield from self._grant(case, request, form.nodeids, claim, token)

    def _owning(self, case: _Case) -> Claim:
        """Who has proven the account's password."""

        def claim(known: Known) -> tuple[Account, None]:
            if known.account is None:
                raise FailedAuthentication("no such account")
            self._check_user(case.user, known.account, known)
            return known.account, None

        return claim

    def _renewing(self, case: _Case) -> Claim:
        """Who has proven the key of what was issued."""

        def claim(known: Known) -> tuple[Account, None]:
            if known.holding is None or known.account is None:
                raise FailedAuthentication("no password, and nothing to renew for this user name and key")
            case.account = known.account.name
            return known.account, None

        return claim

    def _returning(self, case: _Case) -> Claim:
        """Who waits, or has waited, for its approval; or for its first certificate, which is its to have."""

        def claim(known: Known) -> tuple[Account, Invitation | None]:
            if not known.is_applicant_s:
                return self._renewing(case)(known)
            applicant, account, invitation = known.standing.applicant, known.account, known.invitation
            assert applicant is not None, "it is who asks"
            case.account = applicant.account
            if invitation is not None:
                # It has come in time; but who was to be let in by nobody is not let in later.
                if invitation.is_withdrawn or not known.is_inviter_there:
                    raise InvitationWithdrawn(f"invitation {invitation.number} of {invitation.inviter}: withdrawn")
                account = self._invited_account(case, known)
            if account is None:
                raise FailedAuthentication("the account has gone")
            return account, invitation

        return claim

    def _admitting(self, case: _Case, request: CertificateRequest) -> Claim:
        """Who has the token of an invitation."""

        def claim(known: Known) -> tuple[Account, Invitation | None]:
            if known.holding is not None:
                return self._renewing(case)(known)
            is_there = known.is_inviter_there
            check_invitation(known.invitation, request.user, request.key_hash, case.date, is_inviter_there=is_there)
            assert known.invitation is not None, "it was just checked"
            check_room(known.invitation, known.standing.by_invitation, request.user, request.key_hash)
            account = self._invited_account(case, known)
            case.account = account.name
            return account, known.invitation

        return claim

    def _invited_account(self, case: _Case, known: Known) -> Account:
        """A person's own, or a new one. A machine's is always new: nobody gets another one's name."""
        user, namesake = case.user, known.namesake
        if not is_user_name(user, self._policy.overlay) or (namesake is not None and is_peer_name(user)):
            raise UsernameNotAvailable(
                "no name of this overlay" if namesake is None else "the name is another account's"
            )
        if known.owner not in (None, user):
            raise UsernameNotAvailable("the name is another account's")
        return namesake or Account(user, "", created=case.date)

    def _check_user(self, user: str, account: Account, known: Known) -> None:
        """ "If the authentication succeeds and the requested user name in the CSR is acceptable"."""
        if user == account.name:
            return
        if not is_user_name(user, self._policy.overlay) or not is_peer_name(user):
            raise UsernameNotAvailable("neither the account's own name nor that of a peer")
        if known.namesake is not None or known.owner not in (None, account.name):
            raise UsernameNotAvailable("the name is another account's")

    def _applicant(
        self, case: _Case, known: Known, account: Account, request: CertificateRequest, invitation: Invitation | None
    ) -> Applicant | None:
        """Who is to wait until the operator approves it; None for who need not. Raises what to answer to who is out."""
        standing = known.standing
        if standing.revoked:
            raise MembershipRevoked(f"{standing.revoked} was revoked")
        if self._policy.waives_approval or known.owner is not None:
            return None
        asked = standing.applicant
        if asked is not None and is_another_s(asked, account.name, request.key_hash):
            raise UsernameNotAvailable("somebody else has asked for the name")
        if not standing.requires_approval or (asked is not None and asked.approved is not None):
            return None
        if standing.waiting >= account.quota:
            raise NodeIdsNotAvailable(f"as many of this account wait for their approval as its quota, {account.quota}")
        number = None if invitation is None else invitation.number
        return Applicant(request.user, account.name, request.key_hash, case.date, case.source, number)

    def _grant(
        self, case: _Case, request: CertificateRequest, nodeids: int, claim: Claim, token: bytes | None = None
    ) -> Work:
        """Everything is proven: choose the Node-IDs, make the certificate, remember it, hand it out.

        Other requests, also of other servers on the same store, go on meanwhile: what is recorded says who came first.
        """
        for _ in range(TRIES_MAX):
            known = yield from self._look_up(case, request, token)
            account, invitation = claim(known)
            if (new := self._applicant(case, known, account, request, invitation)) is not None:
                if (yield Apply(new, account.quota)):
                    raise ApprovalPending(known.standing.administrator)
                continue
            node_ids = self._node_ids(account, known, nodeids)
            validity = Validity.at(case.date, self._policy.lifetime_s)
            who = (account.name, request.user, request.key_hash, node_ids)
            if (ready := self._signed_elsewhere(case, known, node_ids)) is not None:
                self._issued(case, Issue(*who, ready, validity.ends), invitation)
                return
            certificate, collected = b"", request.der
            if not self._policy.is_offline:
                certificate, collected = (yield Certify(request.key, request.user, node_ids, validity)), b""
            issue = Issue(*who, certificate, validity.ends, case.date, collected, case.source)
            if (yield WriteDown(issue, account, invitation)):
                if collected:
                    raise WaitingForSignature("its certificate is to be signed: `p2psip enrollment requests`")
                self._issued(case, issue, invitation)
                return
        raise Unavailable("somebody else has just taken the name, or the account has gone")

    def _signed_elsewhere(self, case: _Case, known: Known, node_ids: Sequence[NodeId]) -> bytes | None:
        """A certificate that was brought back, has these Node-IDs, and is good for a while; None if there is none."""
        if not self._policy.is_offline or known.holding is None or not known.holding.certificate:
            return None
        leaf = read_leaf(known.holding.certificate, self._policy.node_id_length)
        is_old = leaf.not_after < case.date + self._policy.lifetime_s * RENEWED_BEFORE
        return None if is_old or leaf.node_ids != node_ids else known.holding.certificate

    def _issued(self, case: _Case, issue: Issue, invitation: Invitation | None) -> None:
        # "The certificate MUST be returned as type "application/pkix-cert" [...] with an HTTP status code of 200 OK."
        self._effects.append(Respond(case.number, 200, PKIX_CERT, issue.certificate))
        facts: dict[str, Any] = {"node_ids": [str(node_id) for node_id in issue.node_ids]}
        if invitation is not None:
            facts |= {"invitation": invitation.number, "inviter": invitation.inviter}
        self._note(case, "issued", **facts)

    def _node_ids(self, account: Account, known: Known, nodeids: int) -> tuple[NodeId, ...]:
        """Those that this user name and key have already, and new ones for the rest."""
        held = nodeids + known.held_otherwise
        if not 1 <= nodeids <= NODE_IDS_MAX or held > account.quota:
            raise NodeIdsNotAvailable(f"with the {nodeids} asked for {held}, more than the quota of {account.quota}")
        kept = known.holding.node_ids[:nodeids] if known.holding else ()
        return (*kept, *(self._new_node_id() for _ in range(nodeids - len(kept))))

    def _new_node_id(self) -> NodeId:
        """ "Each MUST be chosen by the enrollment server in such a way that it is unpredictable".

        One that somebody else has is not recorded, and another one is drawn.
        """
        while not (node_id := NodeId(self._rng.randbytes(self._policy.node_id_length))).is_valid:
            pass
        return node_id

    def _reject(self, case: _Case, rejection: EnrollmentRejected) -> None:
        self._end(case)
        answer = Respond(case.number, rejection.code, "text/plain", rejection.body, rejection.retry_after_s)
        self._effects.append(answer)
        if case.has_heard is not None and isinstance(rejection, case.has_heard):
            # It asks every few seconds, for days perhaps.
            return
        is_warning = isinstance(rejection, ApprovalPending | TooManyAttempts | Unavailable)
        self._note(case, rejection.token, is_warning=is_warning, reason=str(rejection))

    def _note(self, case: _Case, outcome: str, *, is_warning: bool = False, **facts: object) -> None:
        """One line for the log: who asked for what from where, what came of it and why."""
        asked = {"outcome": outcome, "source": case.source, "account": case.account, "user": case.user}
        self._effects.append(Note("enrollment", asked | facts, is_warning))


def _waits_for(known: Known) -> type[EnrollmentRejected] | None:
    """What who asks, by its key, has been told already that it waits for; None if it does not wait."""
    if known.is_applicant_s:
        return ApprovalPending
    return WaitingForSignature if known.holding is not None and not known.holding.certificate else None
