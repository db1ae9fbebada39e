"""The verification service: whether whoever a request from another peer names does call (RFC 8224 section 6.2).

Theory of operation. A request outside of a dialog that names a user of the overlay waits until its tokens have been
looked at. What can be compared is compared first: whom the token names, whom it is for, when it was made, whether it
has come before. Then the signature is asked about (`VerifySignature`), which may need a certificate from the overlay;
a request waits `verify_s` for all of it together. The first token that holds proves the caller; those of who has
forwarded the call (RFC 8946) lead from To to whom it has come for. The verdict is a `Caller`: what is done with one
of whom nothing is proved, `ServerConfig.callers` says.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from p2psip.base.effects import Ask, Asks
from p2psip.base.timers import Deadline, TimerQueue
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.callers.identity_field import IdentityField, date_of, media_keys, party_of
from p2psip.sip.entities.callers.passport import DIV, Claims, Party
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.questions import TOKEN_STEP, Authentic, NotAuthentic, VerifySignature
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_urgent
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived

ALGORITHMS = frozenset({"ES256", "RS256"})
"""What a token may be signed with: never "none", and nothing with a shared secret."""

FRESH_S = 60
"""Section 6.2 step 4: "meets local policy for freshness (sixty seconds is RECOMMENDED)"; either way: clocks differ."""

IDENTITIES_MAX = 10
"""Identity header fields of one request: the caller's, and those of who has forwarded it."""

SEEN_MAX = 8192
"""Tokens that have held in the last two minutes; of too many the oldest is forgotten."""

_STATUSES = {403: "Stale Date", 428: "Use Identity Header", 436: "Bad Identity Info", 437: "Unsupported Credential"}


@dataclass(frozen=True, slots=True)
class _Check:
    """A token whose claims are right, and whose signature it must be."""

    signer: Party
    given: IdentityField
    claims: Claims

    @property
    def key(self) -> bytes:
        """Which token it is: its signature may be written in more than one way."""
        return hashlib.sha256(self.given.signing_input(self.claims)).digest()


@dataclass(slots=True)
class _Pending:
    """A request that waits: what is left to be looked at, and what has come of it so far."""

    arrived: RequestArrived
    user: str
    deadline: float
    left: deque[IdentityField]
    caller: Caller
    check: _Check | None = None
    failures: list[Caller] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Identified:
    """A request, and what is known of its sender."""

    arrived: RequestArrived
    caller: Caller


class Verification:
    """Looks at who sends what comes from other peers."""

    def __init__(self, config: ServerConfig, queue: TimerQueue | None = None) -> None:
        self._config = config
        self._wall = WallClock(0.0, is_trusted=False)
        limits = config.limits
        self._asks: Asks[_Pending] = Asks(
            limits.questions, first=3, step=TOKEN_STEP, reserved=limits.urgent_questions, queue=queue
        )
        self._open: dict[int, int] = {}
        """By the transaction of a request, the question about it."""
        self._seen: OrderedDict[bytes, tuple[float, str | None, tuple[str, ...]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def use_date(self, wall: WallClock) -> None:
        """What the date is; one that is not to be trusted is held against nobody."""
        self._wall = wall

    def examine(self, arrived: RequestArrived, now: float) -> Identified | Ask:
        """Who sends a request that begins something; an Ask if that must be looked at first."""
        request, realm = arrived.request, self._config.realm
        user = identity.named(request, realm)
        if not user:
            return Identified(arrived, UNKNOWN)
        lines = request.fields.lines("identity")
        if not lines:
            # Section 6.2: "then a 428 "Use Identity Header" response MUST be sent", where the policy wants one.
            return Identified(arrived, Caller(why=f"no Identity of {user} came with it", status=428))
        if len(lines) > IDENTITIES_MAX:
            return Identified(arrived, Caller(why=f"more than {IDENTITIES_MAX} Identity fields", status=438))
        pending = _Pending(arrived, user, now + self._config.limits.verify_s, deque(), UNKNOWN)
        given = [one for line in lines if (one := _parsed(line, pending)) is not None]
        # Step 1: "If a "ppt" parameter value is present and the verifier does not support it, it MUST ignore the
        # Identity header field."
        pending.left.extend([*(one for one in given if not one.ppt), *(one for one in given if one.ppt == DIV)])
        if not pending.left and not pending.failures:
            pending.failures.append(Caller(why="its Identity is of no type that is known here", status=428))
        return self._go_on(pending, now)

    def handle_answer(self, token: int, answer: object, now: float) -> Identified | Ask | None:
        """The answer to an Ask; None if nobody waits for it."""
        pending = self._asks.answered(token)
        if pending is None:
            return None
        del self._open[pending.arrived.transaction]
        assert pending.check is not None, "something was asked"
        if isinstance(answer, NotAuthentic):
            pending.failures.append(Caller(why=answer.reason, status=answer.status))
        else:
            assert isinstance(answer, Authentic), f"VerifySignature is not answered by {answer}"
            self._take(pending, pending.check, answer.user, now)
        return self._go_on(pending, now)

    def cancel(self, transaction: int) -> RequestArrived | None:
        """The caller has given up: the request, if it still waits here."""
        token = self._open.pop(transaction, None)
        pending = None if token is None else self._asks.answered(token)
        return None if pending is None else pending.arrived

    def handle_timeout(self, now: float) -> list[Identified]:
        """Those that have waited long enough."""
        over = []
        for pending in self._asks.expired(now):
            del self._open[pending.arrived.transaction]
            assert pending.check is not None, "something was asked"
            why = (
                f"the certificate at {pending.check.given.info} was not to be had in {self._config.limits.verify_s:g} s"
            )
            pending.failures.append(Caller(why=why, status=436))
            over.append(self._over(pending))
        return over

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._asks.next_deadline()

    def refusal(self, found: Identified) -> tuple[int, str] | None:
        """Status and phrase, where the policy is that a request of whom nothing is proved does not come in."""
        status, request = found.caller.status, found.arrived.request
        if self._config.callers != "required" or not status:
            return None
        if is_urgent(request, self._config.numbering.emergency.numbers):
            return None
        return status, f"{_STATUSES.get(status, 'Invalid Identity Header')} ({found.caller.why})"

    # Inside

    def _go_on(self, pending: _Pending, now: float) -> Identified | Ask:
        """Look at the next token, or be done."""
        request = pending.arrived.request
        urgent = is_urgent(request, self._config.numbering.emergency.numbers)
        while pending.left:
            given = pending.left.popleft()
            if pending.caller.user and not given.ppt:
                continue
            check = self._claims_hold(given, pending, now)
            if isinstance(check, Caller):
                pending.failures.append(check)
            elif self._asks.is_full_for(is_urgent=urgent):
                pending.failures.append(Caller(why="too many callers are being looked at", status=436))
            else:
                pending.check = check
                question = VerifySignature(
                    given.info,
                    given.alg,
                    given.signing_input(check.claims),
                    given.signature,
                    pending.arrived.source.peer or "",
                    given.certificate,
                )
                ask = self._asks.ask(question, pending, pending.deadline)
                self._open[pending.arrived.transaction] = ask.token
                return ask
        return self._over(pending)

    def _over(self, pending: _Pending) -> Identified:
        caller = pending.caller
        if not caller.user:
            # Section 6.2.1: "only if a verifier determines that all Identity header fields within a message are invalid
            # should the request be considered to have an invalid identity." The caller's own is looked at first.
            return Identified(pending.arrived, pending.failures[0])
        uri = pending.arrived.request.uri
        meant = party_of(uri) if isinstance(uri, SipUri) and uri.user else None
        if meant not in caller.parties:
            why = f"what proves {caller.user} is for {_names(caller.parties)}, and it came for {uri}"
            return Identified(pending.arrived, Caller(why=why, status=438))
        return Identified(pending.arrived, caller)

    def _claims_hold(self, given: IdentityField, pending: _Pending, now: float) -> _Check | Caller:
        """Whose signature it must be, if all that it says is so."""
        request = pending.arrived.request
        if given.alg not in ALGORITHMS:
            return Caller(why=f"an Identity by {given.alg[:20]!r}, which is not accepted", status=437)
        told = self._told(given, request, pending.user)
        if isinstance(told, Caller):
            return told
        if not self._is_fresh(told.iat, now):
            made_s = self._wall.date(now) - told.iat
            why = f"its Identity was made {abs(made_s):.0f} s {'ago' if made_s > 0 else 'ahead'} by the clock here"
            return Caller(why=why, status=403)
        if given.ppt:
            return self._diversion(given, told, pending)
        return _Check(told.orig, given, told)

    def _told(self, given: IdentityField, request: Request, user: str) -> Claims | Caller:
        """The claims of a token, if they are those of the request.

        6.2.4: "the verification service MUST NOT treat the value in the "orig" of a full-form PASSporT as the
        originating identity of the call: [it] is always derived from the SIP signaling".
        """
        try:
            orig, to = party_of(identity.line_uri(user, self._config.realm)), party_of(request.to.uri)
        except BadMessage as error:
            return Caller(why=error.what, status=438)
        keys = media_keys(request)
        if given.passport is None:
            date = date_of(request)
            if date is None:
                return Caller(why="an Identity in compact form, and no Date", status=438)
            return Claims(orig, frozenset({to}), date, keys)
        claims = given.passport.claims
        if claims.orig != orig:
            return Caller(why=f"its Identity is of {claims.orig.name[:80]}, and it names {user}", status=438)
        if given.ppt:
            return claims
        if to not in claims.dest:
            why = f"its Identity is for {_names(claims.dest)}, and it is to {to.name}"
            return Caller(why=why, status=438)
        if tuple(sorted(claims.mky)) != tuple(sorted(keys)):
            return Caller(why="its Identity is for other media keys", status=438)
        return claims

    def _diversion(self, given: IdentityField, claims: Claims, pending: _Pending) -> _Check | Caller:
        """Somebody says that he has forwarded the call: it must have been for him."""
        if claims.div is None or claims.div not in pending.caller.parties:
            return Caller(why="somebody forwards a call that was not for him", status=438)
        return _Check(claims.div, given, claims)

    def _is_fresh(self, iat: int, now: float) -> bool:
        return not self._wall.is_trusted or iat - FRESH_S <= self._wall.date(now) <= iat + FRESH_S

    def _has_come_before(self, check: _Check, arrived: RequestArrived) -> bool:
        """True if another peer sends what somebody else has sent: who holds a line can sign anew.

        The same request may come again by another peer, where it was forwarded at two.
        """
        _, peer, request = self._seen.get(check.key, (0.0, arrived.source.peer, ()))
        return peer != arrived.source.peer and request != _request_of(arrived.request)

    def _take(self, pending: _Pending, check: _Check, signer: str, now: float) -> None:
        """The signature of a token is that of `signer`."""
        is_of = party_of(identity.line_uri(signer, self._config.realm)) == check.signer
        # 8.5 has names in lower case; where the overlay has two that differ in that alone, they are two people.
        if not is_of or not (check.given.ppt or signer == pending.user):
            why = f"its Identity is signed by {signer}, and is to be by {check.signer.name[:80]}"
            pending.failures.append(Caller(why=why, status=438))
        elif check.given.ppt:
            pending.caller = replace(pending.caller, parties=pending.caller.parties | check.claims.dest)
        elif self._has_come_before(check, pending.arrived):
            pending.failures.append(Caller(why="its Identity has come before, with another request", status=438))
        else:
            pending.caller = Caller(pending.user, "", 0, check.claims.dest)
            self._remember(check.key, pending.arrived, now)

    def _remember(self, key: bytes, arrived: RequestArrived, now: float) -> None:
        self._seen.setdefault(key, (now, arrived.source.peer, _request_of(arrived.request)))
        while len(self._seen) > SEEN_MAX or next(iter(self._seen.values()))[0] + 2 * FRESH_S < now:
            self._seen.popitem(last=False)


def _parsed(line: str, pending: _Pending) -> IdentityField | None:
    try:
        return IdentityField.parse(line)
    except BadMessage as error:
        pending.failures.append(Caller(why=error.what, status=438))
        return None


def _request_of(request: Request) -> tuple[str, ...]:
    """What is the same in all copies of a request (RFC 3261 section 8.2.2.2)."""
    return request.call_id, request.from_.tag, str(request.cseq)


def _names(parties: Iterable[Party]) -> str:
    return " and ".join(sorted(party.name[:80] for party in parties))
