"""The questions of the enrollment server, and who answers them: the store, the trust anchor, scrypt.

The server itself calls none of these, so that a slow one keeps nobody else waiting: it asks (`Ask`), and its driver has
`ServerErrands.run` answer in a thread. What fails is an answer, too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, AccountStore, Holding, Issue, StoreFailed
from p2psip.enrollment.admission import AdmissionStore, Applicant, MemberStanding, standing_of
from p2psip.enrollment.asked.audit import AuditEntry, AuditStore
from p2psip.enrollment.asked.guesses import Guesser, GuessStore
from p2psip.enrollment.invitations import Invitation, InvitationStore
from p2psip.enrollment.passwords import is_password
from p2psip.reload.security.authority import TrustAnchor, Validity
from p2psip.reload.security.keys import PublicKey
from p2psip.reload.security.signing_keys import SigningFailed


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """Is this the password? The answer is a bool."""

    password: str = field(repr=False)
    kept: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LookUp:
    """What is known of who asks for `user` with this key? The answer is a Known."""

    account: str
    """On whose account; "": of whoever has got it already, or waits for it, or of `user`."""
    user: str
    key_hash: bytes
    date: float
    token_hash: bytes | None = None
    """Of an invitation."""
    guesser: Guesser | None = None
    """Whom this attempt is charged to."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows at one moment."""

    account: Account | None = None
    """The one that is asked about."""
    namesake: Account | None = None
    """That of the user name."""
    owner: str | None = None
    """The account that the user name belongs to, once a certificate was issued for it."""
    holding: Holding | None = None
    held_otherwise: int = 0
    """How many Node-IDs the account holds beside those for this user name and key."""
    invitation: Invitation | None = None
    """That of the token; or else that by which it waits who asks."""
    is_inviter_there: bool = False
    standing: MemberStanding = field(default_factory=MemberStanding)
    is_applicant_s: bool = False
    """True if it is who waits, or has waited, for its approval that asks, by its key."""
    wait_s: float = 0.0
    """If not 0, too many attempts were wrong, and nothing else was looked up."""


@dataclass(frozen=True, slots=True)
class Refund:
    """An attempt was right. The answer is None."""

    guesser: Guesser
    date: float


@dataclass(frozen=True, slots=True)
class Certify:
    """Make a certificate. The answer is its DER."""

    key: PublicKey
    user: str
    node_ids: Sequence[NodeId]
    validity: Validity


@dataclass(frozen=True, slots=True)
class WriteDown:
    """Write down what is about to be handed out. The answer is a bool: False if it is no longer to be had."""

    issue: Issue
    account: Account
    invitation: Invitation | None
    """Which is used up by it."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Write down who waits for its approval. The answer is a bool: False if somebody else came first."""

    applicant: Applicant
    quota: int
    """How many may wait on its account."""


@dataclass(frozen=True, slots=True)
class NoteRefusal:
    """Write a refusal into the audit log. The answer is None."""

    entry: AuditEntry


ServerErrand = CheckPassword | LookUp | Refund | Certify | WriteDown | Apply | NoteRefusal


class MembershipStore(AccountStore, InvitationStore, AdmissionStore, GuessStore, AuditStore, Protocol):
    """All that the server remembers."""

    def moment(self) -> AbstractContextManager[None]:
        """What is read inside it is of one moment."""
        ...


class ServerErrands:
    """Answers, in whatever thread it is called; several may be at it at once."""

    def __init__(self, store: MembershipStore, anchor: TrustAnchor, rng: random.Random) -> None:
        self._store = store
        self._anchor = anchor
        self._rng = rng

    def run(self, errand: ServerErrand) -> object:
        """The answer; StoreFailed or SigningFailed, as a value, if there is none."""
        try:
            return self._answer(errand)
        except (StoreFailed, SigningFailed) as error:
            return error

    def _answer(self, errand: ServerErrand) -> object:
        match errand:
            case CheckPassword(password, kept):
                return is_password(password, kept)
            case LookUp():
                return self._look_up(errand)
            case Refund(guesser, date):
                self._store.refund(guesser, date)
                return None
            case NoteRefusal(entry):
                self._store.refused(entry)
                return None
            case Certify(key, user, node_ids, validity):
                return self._anchor.issue(key, user, node_ids, self._rng, validity)
            case WriteDown(issue, account, invitation):
                if invitation is None:
                    return self._store.record(issue)
                return self._store.redeem(invitation, account, issue, issue.issued)
            case Apply(applicant, quota):
                return self._store.apply(applicant, quota)

    def _look_up(self, asked: LookUp) -> Known:
        store, user = self._store, asked.user
        if asked.guesser is not None and (wait_s := store.charge(asked.guesser, asked.date)):
            return Known(wait_s=wait_s)
        with store.moment():
            holding, waiting = store.holding(user, asked.key_hash), store.applicant(user)
            back = waiting if holding is None and waiting is not None and waiting.key_hash == asked.key_hash else None
            name = asked.account or (holding.account if holding else back.account if back else user)
            invitation = None if asked.token_hash is None else store.invitation(asked.token_hash)
            if invitation is None and back is not None and back.invitation is not None:
                invitation = store.invitation_numbered(back.invitation)
            return Known(
                store.account(name),
                store.account(user),
                store.owner(user),
                holding,
                store.held_otherwise(name, user, asked.key_hash, asked.date),
                invitation,
                invitation is not None and store.account(invitation.inviter) is not None,
                standing_of(store, user, name, invitation),
                back is not None,
            )
