"""A client's side of lent storage: to whom it lends, and what it keeps for that peer (docs/decisions/lending.md).

draft-ietf-p2psip-concepts-01 section 5.5: "the client contributes its storage capacity to its associated peer".

Theory of operation. It offers its room to the first peer that it is linked with, then to the next, and stays with the
one that has accepted as long as they are linked. From that peer alone, and over their link alone, it takes Stores and
Fetches; a value is kept as a peer keeps one, by the rules of the overlay, until its lifetime is over. A peer that has
nothing of the sort, as it has lost its disk, gets back what is here; each value goes to whoever is responsible for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.data.commits import Commits
from p2psip.reload.node.data.moving import Moving
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.facts import LendingFacts
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.storage_messages import FetchReq, StoreReq
from p2psip.reload.wire.usages.lend_messages import LEND, LendAns, LendReq

LEASE_S = 600
"""For how long it lends at a time; it says so again at half of that."""

LEASE_MIN_S = 20
"""A peer that would be told more often is not lent anything."""

AGAIN_S = 600.0
"""How long a peer that has not accepted is left alone."""

GIVE_BACK_S = 3600.0
"""What is here is not given back more often."""


@dataclass(frozen=True, slots=True)
class OfferContext:
    """The offer of room to a peer."""

    node: NodeId


class Lending:
    """What a client keeps for its peer; without room it keeps nothing."""

    def __init__(self, exchange: Exchange, topology: Topology, commits: Commits, moving: Moving, room: int) -> None:
        """`room` is how many bytes of values it keeps at the most."""
        self._exchange = exchange
        self._topology = topology
        self._commits = commits
        self._moving = moving
        self._room = room
        self._borrower: NodeId | None = None
        self._asked: NodeId | None = None
        self._not_before: dict[NodeId, float] = {}
        """When those that have not accepted are asked again."""
        self._given_back_at = -math.inf
        self._reads = 0
        self._timers: Timers[str] = exchange.queue.scope()
        if room:
            commits.storage.keep_at_most(room)

    @property
    def facts(self) -> LendingFacts:
        """To whom it lends, and what is in it."""
        storage = self._commits.storage
        return LendingFacts(self._room, self._borrower, storage.value_count, storage.size, self._reads)

    def settle(self, now: float) -> None:
        """Lend to a peer that we are linked with."""
        peers = self._topology.neighbors if self._room else ()
        if self._borrower is not None and self._borrower not in peers:
            self._exchange.note("lends no storage", node=self._borrower, why="they are linked no longer")
            self._borrower = None
        if self._asked is not None and self._asked not in peers:
            self._asked = None
        if not peers or self._borrower is not None or self._asked is not None:
            return
        self._not_before = {node: at for node, at in self._not_before.items() if node in peers and at > now}
        if (node := next((each for each in peers if each not in self._not_before), None)) is not None:
            self._offer(node, now)
        elif "again" not in self._timers:
            self._timers.set("again", min(self._not_before.values()), "storage is offered again")

    def _offer(self, node: NodeId, now: float) -> None:
        said = PrivateReq(LEND, LendReq(self._room, LEASE_S).encode())
        self._asked = node
        if self._exchange.to_node(node, MessageCode.PRIVATE_REQ, said, OfferContext(node), now) is None:
            self._not_taken(node, "too many requests under way", now)

    def handle_outcome(self, context: OfferContext, outcome: Outcome, now: float) -> None:
        """A peer has accepted, or goes on to, or does not."""
        if context.node != self._asked:
            return
        if not isinstance(outcome, Answer):
            self._not_taken(context.node, str(failure_of(outcome)), now)
            return
        try:
            answer = LendAns.decode(outcome.body.body if isinstance(outcome.body, PrivateAns) else b"")
        except DecodeError as error:
            self._not_taken(context.node, str(error), now)
            return
        if answer.lifetime < LEASE_MIN_S:
            self._not_taken(context.node, f"it takes storage for {answer.lifetime} s", now)
            return
        is_new = self._borrower != context.node
        self._borrower, self._asked = context.node, None
        self._timers.set("renew", now + min(answer.lifetime, LEASE_S) / 2, "storage is lent on")
        if is_new:
            self._exchange.note("lends storage", node=context.node, bytes=self._room)
        if is_new and answer.wants_back and now >= self._given_back_at + GIVE_BACK_S:
            self._give_back(now)

    def _give_back(self, now: float) -> None:
        if count := self._commits.storage.value_count:
            self._given_back_at = now
            self._exchange.warn("gives back what it keeps", node=self._borrower, values=count)
            # From a place of the ring once round to the same.
            whole = bytes(len(self._exchange.identity.node_id))
            self._moving.hand_over(None, whole, whole, now, is_admission=False)

    def _not_taken(self, node: NodeId, why: str, now: float) -> None:
        self._exchange.note("lends no storage", node=node, why=why)
        self._borrower = self._asked = None
        self._timers.cancel("renew")
        self._not_before[node] = now + AGAIN_S

    # What our peer asks

    def handle_store(self, request: Received, body: StoreReq, now: float) -> None:
        """It places values here. Raises a Rejection."""
        self._check(request)
        if not body.replica_number:
            raise Forbidden("this node is a client, which keeps copies alone")
        certificates = request.message.security_block.certificates
        stored = self._commits.storage.store(body, request.signer, certificates, (), now)
        self._commits.pull()
        self._exchange.answer(request, stored.answer, after=stored.after)

    def handle_fetch(self, request: Received, body: FetchReq, now: float) -> None:
        """It wants some of them back. Raises a Rejection."""
        self._check(request)
        fetched = self._commits.storage.fetch(body, now, size_max=self._exchange.values_size_max)
        self._reads += 1
        self._exchange.answer(request, fetched.answer, certificates=fetched.certificates, after=fetched.after)

    def _check(self, request: Received) -> None:
        sender = request.signer.node_id
        if sender not in (self._borrower, self._asked) or request.previous_hop != sender:
            raise Forbidden("this node is a client, which keeps values for its peer alone")

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Say again that we lend; or to somebody, which `settle` sees to."""
        for what in self._timers.pop_due(now):
            if what == "renew" and self._borrower is not None and self._asked is None:
                self._offer(self._borrower, now)
