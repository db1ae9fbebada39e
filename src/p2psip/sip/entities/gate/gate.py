"""Who may come in: digest authentication of phones (RFC 3261 section 22, RFC 7616, RFC 8760).

Other peers have proved themselves by their connection, agents inside the process need no proof. A phone proves for
each request outside a dialog that it knows the password of a line. Which line it is, its digest user name says; From is
what its owner, or his wish not to be known, has put there.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import TypeAlias

from p2psip.base.effects import Ask, Asks
from p2psip.base.timers import Deadline, TimerQueue, Timers, earliest
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.hosted import domain_of, inward_alone
from p2psip.sip.entities.gate.lockout import Key, LockOut
from p2psip.sip.entities.gate.scanners import Scanners
from p2psip.sip.entities.numbers.telephone import user_meant
from p2psip.sip.entities.own import is_own_domain, is_same_place
from p2psip.sip.entities.questions import TOKEN_STEP, Credential, FindCredential, NoCredential
from p2psip.sip.message.digest import Authenticator, Worth
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import AuthParams
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_urgent
from p2psip.sip.message.uri import SipUri, parse_uri
from p2psip.sip.transactions.events import RequestArrived


@dataclass(frozen=True, slots=True)
class Admitted:
    """The sender is the line `user`."""

    arrived: RequestArrived
    user: str


@dataclass(frozen=True, slots=True)
class AnswerInstead:
    """Answer this instead."""

    arrived: RequestArrived
    status: int
    phrase: str | None = None
    extra: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Waits:
    """Its password is looked at later; another outcome follows."""

    arrived: RequestArrived


Outcome: TypeAlias = Admitted | AnswerInstead | Waits


@dataclass(frozen=True, slots=True)
class _Pending:
    arrived: RequestArrived
    credentials: AuthParams


@dataclass(frozen=True, slots=True)
class _Held:
    """A password that is looked at when its turn comes."""

    pending: _Pending
    credential: Credential
    lock_out: LockOut
    key: Key


class Gate:
    """Challenges phones and checks what they answer."""

    def __init__(self, config: ServerConfig, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self._config = config
        self._authenticator = Authenticator(config.realm, rng, config.algorithms)
        self._asks: Asks[_Pending] = Asks(
            config.limits.questions, first=1, step=TOKEN_STEP, reserved=config.limits.urgent_questions, queue=queue
        )
        self._lock_out = LockOut(config.limits)
        self._open: dict[int, int] = {}
        """By the transaction of a request, the question for its password."""
        self._scanners = Scanners(config.limits, rng)
        self._held: dict[int, _Held] = {}
        self._turns: Timers[int] = Timers(queue)
        self._numbers = itertools.count()

    def examine(self, arrived: RequestArrived, now: float) -> Outcome | Ask:
        """Whether the phone may come in; an Ask if its password must be looked up first."""
        request = arrived.request
        credentials = self._authenticator.find(request.fields.lines(_request_field(request)))
        if credentials is None:
            return self._challenge(arrived, now)
        if not self._authenticator.is_fresh(credentials, arrived.source.remote.host, now):
            return self._challenge(arrived, now, stale=True)
        if not self._is_for(credentials, request):
            # RFC 7616 3.4.6: "the server SHOULD return a 400 Bad Request error".
            return AnswerInstead(arrived, 400, "Bad Request (the uri of the credentials is not the Request-URI)")
        urgent = is_urgent(request, self._config.numbering.emergency.numbers)
        if self._asks.is_full_for(is_urgent=urgent):
            return AnswerInstead(arrived, 503, "Overloaded", (("Retry-After", 5),))
        domain = domain_of(request, self._config)
        question = FindCredential(credentials.get("username"), self._config.realm, domain)
        deadline = now + self._config.limits.credential_s
        ask = self._asks.ask(question, _Pending(arrived, credentials), deadline)
        self._open[arrived.transaction] = ask.token
        return ask

    def handle_answer(self, token: int, answer: object, now: float) -> Outcome | None:
        """The answer to an Ask of `examine`; None if nobody waits for it."""
        pending = self._asks.answered(token)
        if pending is None:
            return None
        del self._open[pending.arrived.transaction]
        if isinstance(answer, Credential):
            return self._check_in_turn(pending, answer, self._lock_out, now)
        assert isinstance(answer, NoCredential), (
            f"FindCredential is answered by Credential or NoCredential, not {answer}"
        )
        if self._scanners.may_be_told(pending.arrived.source, now):
            return AnswerInstead(pending.arrived, 403, answer.reason)
        nobody = self._scanners.nobody(pending.credentials.get("username"))
        return self._check_in_turn(pending, nobody, self._scanners.lock_out, now)

    def cancel(self, transaction: int) -> AnswerInstead | None:
        """The caller has given up: what becomes of its INVITE, if that still waits here for its password."""
        if (token := self._open.get(transaction)) is not None:
            pending = self._asks.answered(token)
            assert pending is not None, "what is open can be closed"
            del self._open[transaction]
            return AnswerInstead(pending.arrived, 487)
        for number, held in self._held.items():
            if held.pending.arrived.transaction == transaction:
                del self._held[number]
                self._turns.cancel(number)
                return AnswerInstead(held.pending.arrived, 487)
        return None

    def handle_timeout(self, now: float) -> list[Outcome]:
        """Look at the passwords whose turn it is; refuse those that could not be looked up in time."""
        outcomes: list[Outcome] = []
        for pending in self._asks.expired(now):
            del self._open[pending.arrived.transaction]
            phrase = "Passwords cannot be looked up now"
            outcomes.append(AnswerInstead(pending.arrived, 500, phrase, (("Retry-After", 5),)))
        for number in self._turns.pop_due(now):
            held = self._held.pop(number)
            outcome, is_wrong = self._check(held, now)
            if not is_wrong:
                held.lock_out.refund(held.key, now)
            outcomes.append(outcome)
        return outcomes

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._asks.next_deadline(), self._turns.next_deadline()))

    def _check_in_turn(self, pending: _Pending, credential: Credential, lock_out: LockOut, now: float) -> Outcome:
        key = lock_out.key(credential.user, pending.arrived.source)
        held = _Held(pending, credential, lock_out, key)
        wait_s = lock_out.wait_s(key, now)
        if not wait_s:
            outcome, is_wrong = self._check(held, now)
            if is_wrong:
                lock_out.charge(key, now)
            return outcome
        limits = self._config.limits
        if wait_s > limits.guess_wait_s or len(self._held) >= limits.questions:
            phrase = f"Too many wrong passwords for {credential.user}, wait a minute"
            return AnswerInstead(pending.arrived, 503, phrase, (("Retry-After", 60),))
        lock_out.charge(key, now)
        number = next(self._numbers)
        self._held[number] = held
        self._turns.set(number, now + wait_s, "a password's turn")
        return Waits(pending.arrived)

    def _check(self, held: _Held, now: float) -> tuple[Outcome, bool]:
        """What the credentials are worth, and whether their password is wrong."""
        arrived, user = held.pending.arrived, held.credential.user
        request, client = arrived.request, arrived.source.remote.host
        verdict = self._authenticator.check(request.method, held.pending.credentials, held.credential.ha1s, client, now)
        if verdict is Worth.STALE:
            return self._challenge(arrived, now, stale=True), False
        if verdict is Worth.WRONG:
            return AnswerInstead(arrived, 403, f"Wrong password for {user}"), True
        self._lock_out.note_right(user, arrived.source)
        return self._authorise(arrived, user), False

    def _authorise(self, arrived: RequestArrived, user: str) -> Outcome:
        """Whether the line `user` may do this: any request but a REGISTER for somebody else."""
        request = arrived.request
        if request.method != "REGISTER" or not is_own_domain(request.sip_uri, self._config):
            return Admitted(arrived, user)
        uri = request.to.uri
        if not isinstance(uri, SipUri):
            # 10.2: "This address-of-record MUST be a SIP URI or SIPS URI." RFC 4475 3.3.4: a registrar answers 400.
            return AnswerInstead(arrived, 400, "Bad Request (To is not a SIP URI)")
        if not is_own_domain(uri, self._config) or not uri.user:
            # 10.3 step 5: "If the address-of-record is not valid for the domain in the Request-URI, the registrar MUST
            # send a 404 (Not Found) response".
            return AnswerInstead(arrived, 404, f"To must name a user of {self._config.realm}")
        if user not in (uri.user_name, uri.user_name.lower()):
            # 10.3 step 4: "If the authenticated user is not authorized to modify bindings, the registrar MUST return
            # a 403 (Forbidden)".
            return AnswerInstead(arrived, 403, f"To names {uri.user_name}, the password is of {user}")
        return Admitted(arrived, user)

    def _is_for(self, credentials: AuthParams, request: Request) -> bool:
        """True if the resource that the credentials were made for is the one asked for, by any of its names."""
        try:
            uri = parse_uri(inward_alone(credentials.get("uri"), self._config))
        except BadMessage:
            return False
        meant, asked = (user_meant(one, self._config) for one in (uri, request.uri))
        return is_same_place(meant, asked, self._config)

    def _challenge(self, arrived: RequestArrived, now: float, *, stale: bool = False) -> AnswerInstead:
        is_register = arrived.request.method == "REGISTER"
        name = "WWW-Authenticate" if is_register else "Proxy-Authenticate"
        challenges = self._authenticator.challenges(arrived.source.remote.host, now, stale=stale)
        return AnswerInstead(arrived, 401 if is_register else 407, None, tuple((name, one) for one in challenges))


def _request_field(request: Request) -> str:
    return "authorization" if request.method == "REGISTER" else "proxy-authorization"
