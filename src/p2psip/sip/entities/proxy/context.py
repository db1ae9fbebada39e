"""The response context: what became of the branches of one request (RFC 3261 section 16.7)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from p2psip.base.errors import Cause
from p2psip.sip.entities.questions import Target
from p2psip.sip.entities.registrar.tokens import Place
from p2psip.sip.message.headers import Reason
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import Hop, Source

UNREACHABLE = 480
"""What a target that cannot be reached counts as. 16.9 says 503, which no phone should see: it would take its own
peer for overloaded, and some look for another server then."""

# 16.7 step 6: "should give preference to responses that provide information affecting resubmission of this request,
# such as 401, 407, 415, 420, and 484 if the 4xx class is chosen" (of these 401 and 407 do not go on); after those what
# a person said, and last what only says that nobody was there.
_PREFERRED = (415, 420, 484, 486)
_VAGUE = (404, 480, 408, 487)


@dataclass(slots=True, eq=False)
class Branch:
    """One target that is being tried."""

    target: Target
    lead: SipUri | None
    """What is resolved to find the hops, where the target has none."""
    hops: deque[Hop] = field(default_factory=deque)
    hop: Hop | None = None
    side: Source | None = None
    """Who is at the other end of `hop`."""
    place: Place | None = None
    """The phone that it was sent to; None if a peer."""
    transaction: int = 0
    """The client transaction; 0 while there is none."""
    question: int = 0
    """The open question for hops; 0 if there is none."""
    is_alive: bool = False
    """True once any response has come."""
    is_ringing: bool = False
    may_be_resolved_again: bool = True
    """False where the way was known beforehand, or has been asked for a second time."""
    is_expired: bool = False
    """True once timer C has fired or the caller has cancelled: what comes then is no failure of its own."""
    result: Result | None = None

    @property
    def label(self) -> str:
        """The target, for people."""
        return self.target.label or str(self.target.uri)


@dataclass(frozen=True, slots=True)
class Result:
    """How a branch ended: with a response, or with a status of our own and the reason for it."""

    status: int
    branch: Branch
    response: Response | None = None
    reason: str = ""


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
    place: Place | None
    """Who has sent it; None if a peer."""
    waiting: deque[Target] = field(default_factory=deque)
    branches: list[Branch] = field(default_factory=list)
    stagger_s: float = 1.0
    share: int = 1
    """The Max-Breadth that each branch gets."""
    question: int = 0
    """The open LocateUser; 0 if there is none."""
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
    def open_branches(self) -> list[Branch]:
        """The branches without a result."""
        return [branch for branch in self.branches if branch.result is None]

    def best(self) -> Result | None:
        """Step 6: the result that goes back, when all branches have one."""
        results = [branch.result for branch in self.branches if branch.result is not None]
        return min(results, key=_rank, default=None)


def reason_field(status: int, text: str) -> tuple[str, object]:
    """A Reason header that explains a response of ours in words (RFC 3326)."""
    return ("Reason", Reason("SIP", status, text))


def _rank(result: Result) -> tuple[int, int, int]:
    status = result.status
    family = 0 if status >= 600 else status // 100
    if status in _PREFERRED:
        return (family, 0, _PREFERRED.index(status))
    if status in _VAGUE:
        return (family, 2, _VAGUE.index(status))
    return (family, 1, status)
