"""Who may come in: digest authentication of phones (RFC 3261 section 22, RFC 7616, RFC 8760).

Other peers have proved themselves by their connection, agents inside the process need no proof. A phone proves for
each request outside a dialog that it knows the password of the line that its From names.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from p2psip.base.effects import Ask, Asks
from p2psip.base.timers import Deadline
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import is_own_domain
from p2psip.sip.entities.questions import Credential, FindCredential, NoCredential
from p2psip.sip.message.digest import Authenticator, Verdict
from p2psip.sip.message.headers import AuthParams
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived


@dataclass(frozen=True, slots=True)
class Admitted:
    """The sender is the line `user`."""

    arrived: RequestArrived
    user: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Answer this instead."""

    arrived: RequestArrived
    status: int
    phrase: str | None = None
    extra: tuple[tuple[str, object], ...] = ()


Outcome: TypeAlias = Admitted | Refused


@dataclass(frozen=True, slots=True)
class _Pending:
    arrived: RequestArrived
    user: str
    credentials: AuthParams


class Gate:
    """Challenges phones and checks what they answer."""

    def __init__(self, config: ServerConfig, rng: random.Random) -> None:
        self._config = config
        self._authenticator = Authenticator(config.realm, rng, config.algorithms)
        self._asks: Asks[_Pending] = Asks(config.limits.questions, first=1, step=2)
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def examine(self, arrived: RequestArrived, now: float) -> Outcome | Ask:
        """Whether the phone may come in; an Ask if its password must be looked up first."""
        request = arrived.request
        user = self._claimed_user(request)
        if user is None:
            return Refused(arrived, 403, f"{_role(request)} must name a user of {self._config.realm}")
        if self._is_locked_out(arrived, now):
            return Refused(arrived, 403, "Too many wrong passwords, wait a minute")
        credentials = self._authenticator.find(request.fields.lines(_request_field(request)))
        if credentials is None:
            return self._challenge(arrived, now)
        if credentials.get("username") != user:
            return Refused(arrived, 403, f"{_role(request)} names {user}, the password is for another user")
        if not self._authenticator.is_fresh(credentials, now):
            return self._challenge(arrived, now, stale=True)
        if self._asks.is_full:
            return Refused(arrived, 503, "Overloaded", (("Retry-After", 5),))
        question = FindCredential(user, self._config.realm)
        deadline = now + self._config.limits.credential_s
        return self._asks.ask(question, _Pending(arrived, user, credentials), deadline)

    def handle_answer(self, token: int, answer: object, now: float) -> Outcome | None:
        """The answer to an Ask of `examine`; None if nobody waits for it."""
        pending = self._asks.answered(token)
        if pending is None:
            return None
        if isinstance(answer, NoCredential):
            return Refused(pending.arrived, 403, answer.reason)
        assert isinstance(answer, Credential), f"FindCredential is answered by Credential or NoCredential, not {answer}"
        request = pending.arrived.request
        verdict = self._authenticator.check(request, pending.credentials, answer.ha1s, now)
        if verdict is Verdict.STALE:
            return self._challenge(pending.arrived, now, stale=True)
        if verdict is Verdict.WRONG:
            self._note_wrong(pending.arrived, now)
            return Refused(pending.arrived, 403, f"Wrong password for {pending.user}")
        return Admitted(pending.arrived, pending.user)

    def handle_timeout(self, now: float) -> list[Outcome]:
        """Refuse those whose password could not be looked up in time."""
        return [
            Refused(pending.arrived, 500, "Passwords cannot be looked up now", (("Retry-After", 5),))
            for pending in self._asks.expired(now)
        ]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._asks.next_deadline()

    def _claimed_user(self, request: Request) -> str | None:
        """The line that the sender says it is: To of a REGISTER (section 10.3 step 3), else From."""
        uri = (request.to if request.method == "REGISTER" else request.from_).uri
        if not isinstance(uri, SipUri) or not is_own_domain(uri, self._config):
            return None
        return uri.user_name or None

    def _challenge(self, arrived: RequestArrived, now: float, *, stale: bool = False) -> Refused:
        is_register = arrived.request.method == "REGISTER"
        name = "WWW-Authenticate" if is_register else "Proxy-Authenticate"
        challenges = self._authenticator.challenges(now, stale=stale)
        return Refused(arrived, 401 if is_register else 407, None, tuple((name, one) for one in challenges))

    def _is_locked_out(self, arrived: RequestArrived, now: float) -> bool:
        limits = self._config.limits
        count, since = self._wrong.get(arrived.source.remote.host, (0, now))
        return count >= limits.wrong_passwords and now < since + limits.wrong_passwords_s

    def _note_wrong(self, arrived: RequestArrived, now: float) -> None:
        host = arrived.source.remote.host
        limits = self._config.limits
        count, since = self._wrong.get(host, (0, now))
        if now >= since + limits.wrong_passwords_s:
            count, since = 0, now
        self._wrong[host] = (count + 1, since)
        self._wrong.move_to_end(host)
        if len(self._wrong) > limits.phones:
            self._wrong.popitem(last=False)


def _role(request: Request) -> str:
    return "To" if request.method == "REGISTER" else "From"


def _request_field(request: Request) -> str:
    return "authorization" if request.method == "REGISTER" else "proxy-authorization"
