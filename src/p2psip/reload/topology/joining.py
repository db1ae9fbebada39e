"""How a node becomes a member of the overlay (RFC 6940 section 10.5, 11.4); a topology may need fewer of the steps.

Theory of operation. Each state is left by an event or, after its time, by starting again from OUTSIDE.

    OUTSIDE --bootstrap node linked--> SEEKING    Attach toward n+1, with send_update
    SEEKING --Admitting Peer's Update--> MEETING  Attach to all that should be our neighbours
    MEETING --no Attach outstanding----> ASKING   Join to the closest successor
    ASKING  --JoinAns------------------> RECEIVING  the Admitting Peer stores what becomes ours; each Store gives time
    RECEIVING --Update that names us its predecessor--> MEMBER
"""

from __future__ import annotations

import enum
import random

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, TimerQueue, Timers

STEP_MAX_S = {"SEEKING": 12.0, "MEETING": 20.0, "ASKING": 16.0, "RECEIVING": 60.0}
LET_IN_PAUSE_S = 3.0
"""How long nothing may come from an Admitting Peer that has called us its predecessor before it answered our Join."""

HURRIED_STEP_S = 1.0
RETRY_FIRST_S = 0.4
RETRY_MAX_S = 4.0
"""How long the pauses grow, on average: whoever has lost everybody is back 10 s after there is a path again. What it
sends meanwhile are the first packets of a few handshakes.
"""


def place_of(node_id: NodeId) -> ResourceId:
    """Where a node is to look for its place.

    11.4: "with the destination Resource-ID set to the Joining Node's Node-ID plus 1".
    """
    return ResourceId(((int.from_bytes(node_id, "big") + 1) % (1 << 8 * len(node_id))).to_bytes(len(node_id), "big"))


class JoinState(enum.Enum):
    """Where in the join a node stands."""

    OUTSIDE = "outside"
    SEEKING = "seeking"
    MEETING = "meeting"
    ASKING = "asking"
    RECEIVING = "receiving"
    MEMBER = "member"


class Joining:
    """The state of a join and when to give the present step up."""

    def __init__(self, rng: random.Random, queue: TimerQueue | None = None) -> None:
        self.state = JoinState.OUTSIDE
        self.admitting_peer: NodeId | None = None
        self.gateway: NodeId | None = None
        self._rng = rng
        self._retry_s = RETRY_FIRST_S
        self._timers: Timers[None] = Timers(queue)
        self._is_over = False

    @property
    def is_member(self) -> bool:
        """True once we are part of the overlay."""
        return self.state is JoinState.MEMBER

    @property
    def is_being_let_in(self) -> bool:
        """True from our Join until we are part of the overlay."""
        return self.state in (JoinState.ASKING, JoinState.RECEIVING)

    def enter(self, state: JoinState, now: float, limit_s: float | None = None) -> None:
        """Go to a state; a step in between gets its time limit, or another, MEMBER resets the patience."""
        self.state = state
        limit_s = STEP_MAX_S.get(state.name) if limit_s is None else limit_s
        self._timers.cancel(None)
        if limit_s is not None:
            self._set(now + limit_s, f"join: {state.value}")
        if state is JoinState.MEMBER:
            self._retry_s = RETRY_FIRST_S

    def retry_later(self, now: float) -> None:
        """Be OUTSIDE, and look for a bootstrap node after a pause by chance, which grows where we find none."""
        if self.admitting_peer is not None:
            self._retry_s = RETRY_FIRST_S
        self.state = JoinState.OUTSIDE
        self.admitting_peer = self.gateway = None
        self._set(now + self._retry_s * self._rng.uniform(0.5, 1.5), "join: try again")
        self._retry_s = min(RETRY_MAX_S, 2 * self._retry_s)

    def retry_now(self, now: float) -> None:
        """Be OUTSIDE, and look for a bootstrap node at once."""
        self.state = JoinState.OUTSIDE
        self.admitting_peer = self.gateway = None
        self._set(now, "join: begin")

    def end(self) -> None:
        """Look for the overlay no more: we leave it."""
        self._is_over = True
        self._timers.cancel(None)

    def hurry(self, now: float) -> None:
        """End a pause at once, and a step that waits for an answer soon: it may have gone to another."""
        deadline = self.next_deadline()
        if deadline is not None and self.state in (JoinState.OUTSIDE, JoinState.SEEKING, JoinState.ASKING):
            wait_s = 0.0 if self.state is JoinState.OUTSIDE else HURRIED_STEP_S
            self._set(min(deadline.at, now + wait_s), "join: hurry")

    def next_deadline(self) -> Deadline | None:
        """When the present step is given up, or the next attempt begins."""
        return self._timers.next_deadline()

    def take_due(self, now: float) -> bool:
        """True, once, if the deadline has come."""
        return bool(list(self._timers.pop_due(now)))

    def _set(self, at: float, reason: str) -> None:
        if not self._is_over:
            self._timers.set(None, at, reason)
