"""The response context: what became of the branches of one request (RFC 3261 section 16.7)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from p2psip.base.errors import Cause
from p2psip.base.timers import Timers
from p2psip.media.relay.rtpengine.engine_calls import EngineCall
from p2psip.sip.entities.callers.caller import UNKNOWN, Caller
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.proxy.anchoring import Carried
from p2psip.sip.entities.proxy.resolvers import After, Asked
from p2psip.sip.entities.questions import NotLocated, Signed, Target, Tried
from p2psip.sip.entities.registrar.tokens import TokenPlace
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.errors import readable
from p2psip.sip.message.headers import Reason
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.urgency import is_marked
from p2psip.sip.message.uri import SipUri, Uri, default_port
from p2psip.sip.transports.hops import Hop, Source

Prepared: TypeAlias = EngineCall | Signed

UNREACHABLE = 480
"""What a target that cannot be reached counts as. 16.9 says 503, which no phone should see: it would take its own
peer for overloaded, and some look for another server then."""

STAGGER = -1
NO_ANSWER = -2
"""Timers of a context: for its next target, and to ask again; timers C have the number of their branch."""

ContextTimers: TypeAlias = Timers[tuple[int, int]]
"""Of all contexts: each key is a context's server transaction, and which of its timers."""

# 16.7 step 6: "should give preference to responses that provide information affecting resubmission of this request,
# such as 401, 407, 415, 420, and 484 if the 4xx class is chosen" (of these 401 and 407 do not go on); after those what
# a person said, and last what only says that nobody was there.
_PREFERRED = (415, 420, 484, 486)
_VAGUE = (404, 480, 408, 487)


@dataclass(slots=True, eq=False)
class Branch:
    """One target that is being tried."""

    target: Target
    hops: deque[Hop] = field(default_factory=deque)
    hop: Hop | None = None
    side: Source | None = None
    """Who is at the other end of `hop`."""
    place: TokenPlace | None = None
    """The phone that it was sent to; None if a peer."""
    transaction: int = 0
    """The client transaction; 0 while there is none."""
    question: int = 0
    """The open question for hops, of the media engine, or for a signature; 0 if there is none."""
    prepared: Prepared | None = None
    """What was asked for before it is sent, where that is answered."""
    breadth: int = 1
    """The Max-Breadth that it has been given (RFC 5393)."""
    is_prepared: bool = False
    """True once that is answered: with `prepared`, or that there is nothing."""
    is_alive: bool = False
    """True once any response has come."""
    is_ringing: bool = False
    may_be_resolved_again: bool = True
    """False where the way was known beforehand, or has been asked for a second time."""
    is_expired: bool = False
    """True once timer C has fired or the caller has cancelled: what comes then is no failure of its own."""
    is_followed: bool = False
    """True for a 3xx of which those are tried that it has named."""
    ending: BranchEnding | None = None
    carried: Carried | None = None
    """What it has to do with a call whose media goes through here."""

    @property
    def label(self) -> str:
        """The target, for people."""
        return self.target.label or str(self.target.uri)

    @property
    def way(self) -> Hop | None:
        """The connection or address that it went to; `hop` may only say where one was to be made to."""
        return None if self.side is None else self.side.hop

    @property
    def is_to_peer(self) -> bool:
        """True for what was sent to another peer."""
        return self.side is not None and self.side.peer is not None

    @property
    def has_another_way(self) -> bool:
        """True for a way that gets little patience, since there is another to the same phone or it may be stale."""
        return bool(self.target.others) or self.target.is_doubtful

    @property
    def has_reached(self) -> bool:
        """True if a phone rings or has answered; a peer that has not reached it says why, with a Reason."""
        if self.ending is None:
            return self.is_ringing
        response = self.ending.response
        # RFC 5626 section 7: "a final response from a branch other than a 408 (Request Timeout) or a 430".
        return response is not None and response.status not in (408, 430) and "reason" not in response.fields

    def prepare(self, answer: object) -> None:
        """What was asked for is answered."""
        self.question, self.is_prepared = 0, True
        self.prepared = answer if isinstance(answer, EngineCall | Signed) else None

    def take_prepared(self) -> Prepared | None:
        """What was asked for; if it is sent once more, it is asked for once more."""
        prepared, self.prepared, self.is_prepared = self.prepared, None, False
        return prepared

    def give_up(self) -> None:
        """It is cancelled: however it ends, no other way to the target is tried."""
        self.is_expired, self.may_be_resolved_again = True, False
        self.hops.clear()
        self.target = self.target.with_others(())


@dataclass(frozen=True, slots=True)
class BranchEnding:
    """How a branch ended: with a response, or with a status of our own and the reason for it."""

    status: int
    response: Response | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """What the other side said, or why nothing came of it."""
        return self.reason if self.response is None else self.response.phrase


@dataclass(frozen=True, slots=True)
class Result:
    """A branch that ends now. It keeps its ending and not this: what leads to itself, the collector alone can free."""

    branch: Branch
    ending: BranchEnding

    @property
    def is_silence(self) -> bool:
        """True if nothing at all has come of what was sent."""
        return self.ending.response is None and self.ending.status == 408 and not self.branch.is_alive

    @property
    def is_unreached(self) -> bool:
        """True if a request has not come to the phone, so that another way to it may be tried."""
        # RFC 5626 section 7: "If the proxy receives a final response from a branch other than a 408 (Request Timeout)
        # or a 430 (Flow Failed) response, the proxy MUST NOT forward the same request to another target representing
        # the same AOR and instance-id."
        return (self.ending.response is None or self.ending.status == 408) and not self.branch.is_ringing


@dataclass(slots=True, eq=False)
class Context:
    """One request that is being proxied."""

    server: int
    request: Request
    source: Source
    user: str | None
    began_at: float
    suffix: str
    """The loop-detecting end of our branches."""
    breadth: int
    original: Request
    """As it came, in the sender's own terms; `request` is in the overlay's."""
    place: TokenPlace | None
    """Who has sent it; None if a peer."""
    caller: Caller = UNKNOWN
    """Whom a peer that has sent it has proved to call."""
    forwarded_before: int = 0
    """How many had forwarded it when it came here, by its Diversion fields."""
    waiting: deque[Target] = field(default_factory=deque)
    branches: list[Branch] = field(default_factory=list)
    stagger_s: float = 1.0
    question: int = 0
    """The open LocateUser; 0 if there is none."""
    asked: Asked | None = None
    """What the resolvers were asked, where they may be asked again; None where the request itself says its place."""
    since: float = 0.0
    """When they were asked last."""
    turns: int = 0
    """How often the request was sent elsewhere."""
    enough: str = ""
    """Why it rings no more, where whoever was called wants that."""
    is_cancelled: bool = False
    is_closed: bool = False
    """True if no further target is tried: cancelled, or somebody has answered for all."""
    final: int = 0
    """The final status that has gone back; 0 while none has."""
    rang_at: float | None = None
    causes: list[Cause] = field(default_factory=list)

    @property
    def is_invite(self) -> bool:
        """True for the one method that is ringing, cancelled and acknowledged."""
        return self.request.method == "INVITE"

    @property
    def is_urgent(self) -> bool:
        """True for what is of an emergency."""
        return is_marked(self.request)

    @property
    def open_branches(self) -> list[Branch]:
        """The branches that go on."""
        return [branch for branch in self.branches if branch.ending is None]

    @property
    def free_breadth(self) -> int:
        """RFC 5393 5.3.3: the sum of what branches without a final response have must not "exceed the Incoming
        Max-Breadth"; what others had may be used again (5.3.3.1).
        """
        return self.breadth - sum(branch.breadth for branch in self.open_branches)

    def key_of(self, branch: Branch) -> tuple[int, int]:
        """The key of a branch's timer."""
        return (self.server, self.branches.index(branch))

    def failed(self, branch: Branch, status: int, what: str) -> Result:
        """The result of a branch that has ended without a response."""
        return Result(branch, BranchEnding(487 if self.is_cancelled else status, None, what))

    @property
    def reached_phones(self) -> frozenset[str]:
        """Those that ring, or have said what they have to say."""
        return frozenset().union(*(branch.target.phones for branch in self.branches if branch.has_reached))

    def pause_s(self, tried: Target, following: Target, limits: ServerLimits) -> float:
        """How long the next target waits for the one before it.

        RFC 5626 section 7: "The proxy MUST NOT populate the target set with more than one contact with the same AOR and
        instance-id at a time": what is another way to the same phone waits until this one is silent for too long.

        16.6: "one approach is to process them by q-values": phones of one user here that are as good as each other ring
        together, one that is less good, or has said nothing lately, when the others have had their time; of other peers
        the next after `stagger_s`.
        """
        if following.phones and following.phones <= tried.phones:
            return max(self.stagger_s, limits.flow_silence_s)
        if tried.registered is None or following.registered is None:
            return self.stagger_s
        is_as_good = tried.q == following.q and tried.has_missed == following.has_missed
        return 0.0 if is_as_good else max(self.stagger_s, limits.serial_s)

    def asks_for_tls(self, branch: Branch) -> bool:
        """26.2.2: "sips" as the Request-URI that came, as the next hop, or as the target means TLS on the way there."""
        uris = (self.request.uri, branch.target.lead, branch.target.uri)
        return any(isinstance(uri, SipUri) and uri.scheme == "sips" for uri in uris)

    def without_sender(self, user: str, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """The places of `user` without the sender's own phone: who calls himself means the other phones that he has."""
        if self.user is None or user.lower() != self.user.lower():
            return targets
        # Several phones may share one socket, so what a phone calls itself comes first.
        contacts = {_by_contact(contact.uri) for contact in self.original.contacts}
        own = [target for target in targets if _by_contact(target.uri) in contacts]
        own = own or [target for target in targets if target.hops and target.hops[0] == self.source.hop]
        return tuple(target for target in targets if target not in own)

    def follow(self) -> None:
        """Whom a 3xx has named is tried instead, and what comes of that counts (16.7 step 4)."""
        for branch in self.branches:
            branch.is_followed |= branch.ending is not None and 300 <= branch.ending.status < 400

    def turn(self, most: int) -> NotLocated | None:
        """It is sent elsewhere once more; a refusal if that was too often."""
        self.turns += 1
        if self.turns <= most:
            return None
        return NotLocated(482, phrase_of(482), f"sent on {self.turns - 1} times")

    def note(self, branch: Branch, what: str, now: float) -> None:
        """Nothing has come of one way: why, for whoever wants to know it in the end."""
        self.causes.append(Cause(branch.label, what, now, str(branch.hop) if branch.hop else ""))

    def report(self, status: int, phrase: str, label: str, now: float) -> RequestCarried:
        """What became of it, for whoever keeps the log; `label` names who has answered."""
        return RequestCarried(
            self.request.method,
            self.request.call_id,
            self.user or str(self.source),
            self.original.uri_text,
            status,
            phrase,
            label,
            None if self.rang_at is None else self.rang_at - self.began_at,
            now - self.began_at,
            tuple(self.causes) if status >= 300 else (),
            self.caller.words if self.source.peer is not None and self.request.begins else "",
        )

    @property
    def tried(self) -> tuple[Tried, ...]:
        """The places that it has gone to in vain, in order."""
        return tuple(
            Tried(branch.target.uri, ending.status, ending.response is not None, branch.target.is_gateway)
            for branch in self.branches
            if (ending := branch.ending) is not None
        )

    def after(self, best: BranchEnding) -> After:
        """What has become of it, in the words of the best ending."""
        response = best.response
        contacts = () if response is None or best.status >= 400 else readable(lambda: response.contacts, ())
        uris = tuple(contact.uri for contact in contacts if isinstance(contact.uri, SipUri))
        return After(best.status, best.words, self.rang_at is not None, uris, self.tried)

    def best(self) -> Result | None:
        """Step 6: the ending that goes back, when all branches have one; and whose it is."""
        ended = [(each, each.ending) for each in self.branches if not each.is_followed]
        results = [Result(branch, ending) for branch, ending in ended if ending is not None]
        return min(results, key=_rank, default=None)


def reason_field(status: int, text: str) -> tuple[str, object]:
    """A Reason header that explains a response of ours in words (RFC 3326)."""
    return ("Reason", Reason("SIP", status, text))


def _by_contact(uri: Uri) -> tuple[str, str, int] | None:
    return (uri.user_name, uri.host, default_port(uri)) if isinstance(uri, SipUri) else None


def _rank(result: Result) -> tuple[int, int, int]:
    status = result.ending.status
    family = 0 if status >= 600 else status // 100
    if status in _PREFERRED:
        return (family, 0, _PREFERRED.index(status))
    if status in _VAGUE:
        return (family, 2, _VAGUE.index(status))
    return (family, 1, status)
