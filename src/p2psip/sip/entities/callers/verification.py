"""The verification service: whether whoever a request from another peer names does call (RFC 8224 section 6.2).

Theory of operation. A request outside of a dialog that names a user of the overlay waits until its tokens have been
looked at. What can be compared is compared first: whom the token names, whom it is for, when it was made, whether it
has come before. Then the signature is asked about (`VerifySignature`), which may need a certificate from the overlay;
a request waits `verify_s` for all of it together. The first token that holds proves the caller; those of who has
forwarded the call (RFC 8946) lead from To to whom it has come for. Who has his record say that all his calls are for a
telephone is not there to sign that: before a gateway of ours has him pay for one, the record is read. The verdict is a
`Caller`: what is done with one of whom nothing is proved, `ServerConfig.callers` says.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from p2psip.base.effects import Ask, Asks
from p2psip.base.timers import Deadline, TimerQueue
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.callers.identity_field import IdentityField, date_of, integrity, media_keys, party_of, type_of
from p2psip.sip.entities.callers.passport import DIV, Claims, Party
from p2psip.sip.entities.conference.room_terms import is_for_mixer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.gateway.terms import GATEWAY_PARAM
from p2psip.sip.entities.own import PHONE_PARAM
from p2psip.sip.entities.proxy.routing import undo_strict_routing
from p2psip.sip.entities.questions import TOKEN_STEP, Authentic, Forwarded, LocateUser, NotAuthentic, VerifySignature
from p2psip.sip.message.errors import BadMessage, readable
from p2psip.sip.message.message import Request
from p2psip.sip.message.urgency import is_urgent
from p2psip.sip.message.uri import SipUri, Uri
from p2psip.sip.transactions.events import RequestArrived

ALGORITHMS = frozenset({"ES256", "RS256"})
"""What a token may be signed with: never "none", and nothing with a shared secret."""

FRESH_S = 60
"""Section 6.2 step 4: "meets local policy for freshness (sixty seconds is RECOMMENDED)"; either way: clocks differ."""

IDENTITIES_MAX = 10
"""Identity header fields of one request: the caller's, and those of who has forwarded it."""

SEEN_MAX = 8192
"""Tokens that have held in the last two minutes; of too many the oldest is forgotten."""

_NOBODY = Party("uri", "")

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
    uri: Uri
    """Whom it is for, as it will be routed."""
    user: str
    deadline: float
    left: deque[IdentityField]
    caller: Caller
    check: _Check | None = None
    forwarded: list[tuple[str, frozenset[Party]]] = field(default_factory=list)
    """Who has forwarded it, and to whom, the first first."""
    payer: str = ""
    """Whose record is being read; "" as long as none is."""
    failures: list[Caller] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Identified:
    """A request, and what is known of its sender."""

    arrived: RequestArrived
    caller: Caller


class Verification:
    """Looks at who sends what comes from other peers."""

    def __init__(
        self, config: ServerConfig, is_at_phone: Callable[[SipUri], bool], queue: TimerQueue | None = None
    ) -> None:
        """`is_at_phone` says of a GRUU whether it is that of a phone here, as this peer has made it."""
        self._config = config
        self._is_at_phone = is_at_phone
        self._wall = WallClock(0.0, is_trusted=False)
        limits = config.limits
        self._asks: Asks[_Pending] = Asks(
            limits.questions, first=3, step=TOKEN_STEP, reserved=limits.urgent_questions, queue=queue
        )
        self._open: dict[int, int] = {}
        """By the transaction of a request, the question about it."""
        self._seen: OrderedDict[bytes, tuple[float, str | None, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def use_date(self, wall: WallClock) -> None:
        """What the date is; one that is not to be trusted is held against nobody."""
        self._wall = wall

    def examine(self, arrived: RequestArrived, now: float) -> Identified | Ask:
        """Who sends a request that begins something; an Ask if that must be looked at first."""
        request, realm = arrived.request, self._config.realm
        user = identity.named(request, realm)
        lines = request.fields.lines("identity")
        # 16.4: a Route may have changed places with the Request-URI, which names nobody then.
        uri = undo_strict_routing(request, self._config).uri
        if is_for_mixer(uri):
            # No line sends it, but the other peer itself, which its connection proves.
            return Identified(arrived, UNKNOWN)
        pending = _Pending(arrived, uri, user, now + self._config.limits.verify_s, deque(), UNKNOWN)
        if not lines:
            # Section 6.2: "then a 428 "Use Identity Header" response MUST be sent", where the policy wants one.
            pending.failures.append(Caller(why=f"no Identity of {user} came with it", status=428))
            return self._go_on(pending, now)
        if len(lines) > IDENTITIES_MAX:
            pending.failures.append(Caller(why=f"more than {IDENTITIES_MAX} Identity fields", status=438))
            return self._go_on(pending, now)
        given = [one for line in lines if (one := _parsed(line, pending)) is not None]
        # Step 1: "If a "ppt" parameter value is present and the verifier does not support it, it MUST ignore the
        # Identity header field."
        # A message is forwarded by nobody: who has been sent one passes on none in the sender's name.
        diverted = [one for one in given if one.ppt == DIV and request.method == "INVITE"]
        own = [one for one in given if user and one.ppt == type_of(request)]
        pending.left.extend([*own, *diverted])
        if user and not own and not pending.failures:
            pending.failures.append(Caller(why="its Identity is of no type that is known here", status=428))
        return self._go_on(pending, now)

    def handle_answer(self, token: int, answer: object, now: float) -> Identified | Ask | None:
        """The answer to an Ask; None if nobody waits for it."""
        pending = self._asks.answered(token)
        if pending is None:
            return None
        del self._open[pending.arrived.transaction]
        if pending.payer:
            self._take_record(pending, answer)
            return self._over(pending)
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
            if not pending.payer:
                assert pending.check is not None, "something was asked"
                what = f"the certificate at {pending.check.given.info}"
                why = f"{what} was not to be had in {self._config.limits.verify_s:g} s"
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
            if pending.caller.user and given.ppt != DIV:
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
                return self._ask(question, pending)
        if self._asks.is_full_for(is_urgent=urgent) or not (payer := self._unproved_payer(pending)):
            return self._over(pending)
        pending.payer = payer
        uri = identity.line_uri(payer, self._config.realm)
        return self._ask(LocateUser(uri, payer, "INVITE", request.call_id, None, None, is_about_record=True), pending)

    def _ask(self, question: VerifySignature | LocateUser, pending: _Pending) -> Ask:
        ask = self._asks.ask(question, pending, pending.deadline)
        self._open[pending.arrived.transaction] = ask.token
        return ask

    def _unproved_payer(self, pending: _Pending) -> str:
        """The user who is said to have forwarded a call to a gateway of ours, and has not signed that; "" if nobody."""
        request, uri = pending.arrived.request, pending.uri
        if request.method != "INVITE" or not isinstance(uri, SipUri) or uri.param(GATEWAY_PARAM) is None:
            return ""
        payer = next(iter(readable(lambda: identity.diverted(request), ())), "")
        return "" if self._forwarders(pending)[:1] == (payer,) else payer

    def _take_record(self, pending: _Pending, answer: object) -> None:
        """What the payer's record says, which his key has signed."""
        uri, caller = pending.uri, pending.caller
        assert isinstance(uri, SipUri), "who is called by a gateway has such a URI"
        if isinstance(answer, Forwarded) and answer.uri.user_name == uri.user_name:
            pending.caller = replace(caller, parties=caller.parties | {party_of(uri)})
            pending.forwarded.append((pending.payer, frozenset({party_of(uri)})))

    def _forwarders(self, pending: _Pending) -> tuple[str, ...]:
        """Those who have forwarded it to whom it has come for, the latest first.

        What somebody has forwarded elsewhere is not his: who has had a call from him could have him pay for another.
        """
        to, found = self._meant(pending.uri), list[str]()
        for user, dest in reversed(pending.forwarded):
            if to in dest:
                found.append(user)
                to = party_of(identity.line_uri(user, self._config.realm))
        return tuple(found)

    def _over(self, pending: _Pending) -> Identified:
        caller, uri = pending.caller, pending.uri
        is_meant = self._meant(uri) in caller.parties
        if not caller.user:
            # Section 6.2.1: "only if a verifier determines that all Identity header fields within a message are invalid
            # should the request be considered to have an invalid identity." The caller's own is looked at first.
            unproved = pending.failures[0] if pending.user else UNKNOWN
            return Identified(pending.arrived, replace(unproved, forwarders=self._forwarders(pending)))
        if not is_meant:
            why = f"what proves {caller.user} is for {_names(caller.parties)}, and it came for {uri}"
            return Identified(pending.arrived, Caller(why=why, status=438))
        return Identified(pending.arrived, replace(caller, forwarders=self._forwarders(pending)))

    def _meant(self, uri: Uri) -> Party | None:
        """Whom a request is for by now: the user, or the phone, if its GRUU is as it was made."""
        if not isinstance(uri, SipUri) or not uri.user:
            return None
        return party_of(uri) if uri.param(PHONE_PARAM) is None or self._is_at_phone(uri) else None

    def _claims_hold(self, given: IdentityField, pending: _Pending, now: float) -> _Check | Caller:
        """Whose signature it must be, if all that it says is so."""
        if given.alg not in ALGORITHMS:
            return Caller(why=f"an Identity by {given.alg[:20]!r}, which is not accepted", status=437)
        told = self._told(given, pending.arrived.request, pending.user)
        if isinstance(told, Caller):
            return told
        date = date_of(pending.arrived.request)
        # 12.1: "MUST NOT deem valid a request with an outdated Date header field". Who forwards a call leaves it as it
        # came.
        dates = [told.iat, *([date] if date is not None and given.ppt != DIV else [])]
        if stale := [one for one in dates if not self._is_fresh(one, now)]:
            made_s = self._wall.date(now) - stale[0]
            why = f"its Identity was made {abs(made_s):.0f} s {'ago' if made_s > 0 else 'ahead'} by the clock here"
            return Caller(why=why, status=403)
        if given.ppt == DIV:
            return self._diversion(given, told, pending)
        return _Check(told.orig, given, told)

    def _told(self, given: IdentityField, request: Request, user: str) -> Claims | Caller:
        """The claims of a token, if they are those of the request. That of who has forwarded a call that nobody's name
        is on says nothing of its caller.

        6.2.4: "the verification service MUST NOT treat the value in the "orig" of a full-form PASSporT as the
        originating identity of the call: [it] is always derived from the SIP signaling".
        """
        if given.ppt == DIV and not user:
            return given.passport.claims if given.passport is not None else Claims(_NOBODY, frozenset(), 0)
        try:
            orig, to = party_of(identity.line_uri(user, self._config.realm)), party_of(request.to.uri)
        except BadMessage as error:
            return Caller(why=error.what, status=438)
        keys = media_keys(request)
        if given.passport is None:
            date = date_of(request)
            if date is None:
                return Caller(why="an Identity in compact form, and no Date", status=438)
            return Claims(orig, frozenset({to}), date, keys, msgi=integrity(request))
        claims = given.passport.claims
        if claims.orig != orig:
            return Caller(why=f"its Identity is of {claims.orig.name[:80]}, and it names {user}", status=438)
        if given.ppt == DIV:
            return claims
        if to not in claims.dest:
            why = f"its Identity is for {_names(claims.dest)}, and it is to {to.name}"
            return Caller(why=why, status=438)
        if tuple(sorted(claims.mky)) != tuple(sorted(keys)):
            return Caller(why="its Identity is for other media keys", status=438)
        if claims.msgi != integrity(request):
            return Caller(why="its Identity is for a message that says something else", status=438)
        return claims

    def _diversion(self, given: IdentityField, claims: Claims, pending: _Pending) -> _Check | Caller:
        """Somebody says that he has forwarded the call: it must have been for him."""
        caller = pending.caller
        # A call of which nobody is proved to be the caller is anybody's to forward, and his to pay for.
        if claims.div is None or (caller.user and claims.div not in caller.parties):
            return Caller(why="somebody forwards a call that was not for him", status=438)
        return _Check(claims.div, given, claims)

    def _is_fresh(self, iat: int, now: float) -> bool:
        return not self._wall.is_trusted or iat - FRESH_S <= self._wall.date(now) <= iat + FRESH_S

    def _has_come_before(self, check: _Check, arrived: RequestArrived) -> bool:
        """True if another peer sends what somebody else has sent: who holds a line can sign anew.

        The same request may come again by another peer, where it was forwarded at two.
        """
        _, peer, request = self._seen.get(check.key, (0.0, arrived.source.peer, b""))
        return peer != arrived.source.peer and request != _request_of(arrived.request)

    def _take(self, pending: _Pending, check: _Check, signer: str, now: float) -> None:
        """The signature of a token is that of `signer`."""
        is_of = party_of(identity.line_uri(signer, self._config.realm)) == check.signer
        # 8.5 has names in lower case; where the overlay has two that differ in that alone, they are two people.
        is_diversion = check.given.ppt == DIV
        if not is_of or not (is_diversion or signer == pending.user):
            why = f"its Identity is signed by {signer}, and is to be by {check.signer.name[:80]}"
            pending.failures.append(Caller(why=why, status=438))
        elif self._has_come_before(check, pending.arrived):
            pending.failures.append(Caller(why="its Identity has come before, with another request", status=438))
        else:
            self._remember(check.key, pending.arrived, now)
            if is_diversion:
                caller = pending.caller
                pending.caller = replace(caller, parties=caller.parties | check.claims.dest)
                pending.forwarded.append((signer, check.claims.dest))
            else:
                pending.caller = Caller(pending.user, "", 0, check.claims.dest)

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


def _request_of(request: Request) -> bytes:
    """What is the same in all copies of a request (RFC 3261 section 8.2.2.2), which may be long, by its digest."""
    same = "\0".join((request.call_id, request.from_.tag, str(request.cseq)))
    return hashlib.sha256(same.encode("utf-8", "surrogateescape")).digest()


def _names(parties: Iterable[Party]) -> str:
    return " and ".join(sorted(party.name[:80] for party in parties))
