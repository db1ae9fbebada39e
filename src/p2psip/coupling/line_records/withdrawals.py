"""Records of lines that are no more are taken out of the overlay (design decision 5).

Theory of operation. A removal is a Store of its own, later than all that the line has ever stored. It is made as soon
as the overlay can be reached, and again, more and more seldom, until a peer has taken it; or until the record that it
is of has died by itself. A peer that is killed before has something left to do when it comes back: `LineWithdrawn` says
that it is done, and until then its driver keeps what that takes, the key and the certificate of the line.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.node.node import Node
from p2psip.reload.security.roles import Identity
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.sip_registration import FORWARD_LIFETIME_S, LIFETIME_S, store_request
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import StoreAns

RETRY_FIRST_S = 2.0
RETRY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class LineWithdrawn(Effect):
    """The record of a line that is no more is out of the overlay, or has died there; `node` is the line's."""

    node: NodeId


@dataclass(slots=True, eq=False)
class Withdrawal:
    """A line that is no more, and what is known of its record."""

    identity: Identity
    lifetime_s: int
    ends_at: float
    """When what was stored last has died by itself."""
    is_asking: bool = False
    retry_s: float = RETRY_FIRST_S


@dataclass(frozen=True, slots=True)
class RemovalContext:
    """The Store by which the record of a line is removed."""

    withdrawal: Withdrawal


class Withdrawals:
    """Those of one peer, by the Node-IDs of lines."""

    def __init__(self, node: Node, queue: TimerQueue | None = None) -> None:
        self._node = node
        self._open: dict[NodeId, Withdrawal] = {}
        self._timers: Timers[NodeId] = Timers(queue)
        self._asking = 0
        self._is_over = False

    def __contains__(self, node: NodeId) -> bool:
        return node in self._open

    @property
    def identities(self) -> list[Identity]:
        """Whose records are on their way out, in the order in which that began."""
        return [withdrawal.identity for withdrawal in self._open.values()]

    @property
    def is_asking(self) -> bool:
        """True while a peer has still to answer."""
        return self._asking > 0

    def begin(self, identity: Identity, now: float, *, is_long_lived: bool) -> list[NodeId]:
        """Take a record out: also one that may be on its way, or that is there from before a restart. Returns who is
        done with: a peer that stops does not wait for what it cannot ask for.
        """
        lifetime_s = FORWARD_LIFETIME_S if is_long_lived else LIFETIME_S
        withdrawal = self._open[identity.node_id] = Withdrawal(identity, lifetime_s, now + lifetime_s)
        return self._ask(withdrawal, now)

    def forget(self, node: NodeId) -> None:
        """A line is there again: what it stores from now on is the later word."""
        self._open.pop(node, None)
        self._timers.cancel(node)

    def stop(self) -> None:
        """Nothing is tried again from now on; what is not done is left to the next start."""
        self._is_over = True
        self._timers.clear()

    def joined(self, now: float) -> list[NodeId]:
        """The overlay can be reached. Returns who is done with."""
        return [done for withdrawal in list(self._open.values()) for done in self._ask(withdrawal, now)]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> list[NodeId]:
        """Try again. Returns who is done with."""
        return [done for node in self._timers.pop_due(now) for done in self._ask(self._open[node], now)]

    def handle_done(self, withdrawal: Withdrawal, result: Answer | RequestFailed, now: float) -> list[NodeId]:
        """What became of a Store; of a line that may be there again meanwhile. Returns who is done with."""
        self._asking -= 1
        withdrawal.is_asking = False
        if self._open.get(withdrawal.identity.node_id) is not withdrawal:
            return []
        if isinstance(result, Answer) and isinstance(result.body, StoreAns):
            return self._end(withdrawal)
        return self._later(withdrawal, now)

    def _ask(self, withdrawal: Withdrawal, now: float) -> list[NodeId]:
        identity = withdrawal.identity
        if withdrawal.is_asking:
            return []
        if now >= withdrawal.ends_at:
            return self._end(withdrawal)
        if not self._node.is_connected:
            # `joined` goes on; who stops does not wait for that.
            return self._end(withdrawal) if self._is_over else []
        try:
            issued = self._node.issue_storage_time(identity.node_id, now)
        except Rejection:
            # The disk is overwhelmed.
            return self._later(withdrawal, now)
        ms, lifetime_s = issued.storage_time_ms, withdrawal.lifetime_s
        request = store_request(identity, None, ms, self._node.hash_name, lifetime_s)
        withdrawal.is_asking = True
        self._asking += 1
        self._node.store(identity, request, RemovalContext(withdrawal), now, after=issued.after)
        return []

    def _later(self, withdrawal: Withdrawal, now: float) -> list[NodeId]:
        if self._is_over:
            return self._end(withdrawal)
        at = min(withdrawal.ends_at, now + withdrawal.retry_s)
        self._timers.set(withdrawal.identity.node_id, at, "remove a line's record again")
        withdrawal.retry_s = min(RETRY_MAX_S, 2 * withdrawal.retry_s)
        return []

    def _end(self, withdrawal: Withdrawal) -> list[NodeId]:
        node = withdrawal.identity.node_id
        self.forget(node)
        return [node]
