"""Values on their way between peers, as the ring changes (RFC 6940 section 7.4.1.1, 10.4-10.7).

What moves between peers (replicas, hand-overs, data that landed on the wrong side of a partition) travels in Store
requests with a replica_number that is not zero: they are signed by the peer that passes the values on, while the values
keep the signatures of those who stored them.

While two parts of an overlay become one, peers differ for some seconds about who is responsible, and refuse what comes
to the wrong one, or from one that they do not know yet. What was refused is offered again, to whoever is right by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.link.link import LinkLost
from p2psip.reload.node.data.commits import Commits
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.limits import HANDOVER_WINDOW
from p2psip.reload.storage.fetching import all_values
from p2psip.reload.storage.store.records import Place
from p2psip.reload.storage.transfer import Transfer
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused, Unanswered
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq

FORGET_AT_ONCE = 64

OFFER_AGAIN_S = 5.0
"""How long after a refusal values are offered again: the ring has settled by then, mostly."""

OFFERS_MAX = 6
"""How often in all: some values are taken by nobody, as those whose signer is no member any more."""

OF_ONE_VALUE = (ErrorCode.FORBIDDEN, ErrorCode.DATA_TOO_LARGE)
"""What may be wrong with one value of several: its signer is no member there any more; there are too many with it."""


@dataclass(frozen=True, slots=True)
class TransferContext:
    """A Store that passes values on to another peer; `task` is the hand-over that it is part of, if any."""

    resource: ResourceId
    node: NodeId | None
    number: int
    places: tuple[Place, ...]
    task: int | None


@dataclass(frozen=True, slots=True)
class AdoptContext:
    """A Fetch of what `node` has newer than we, which was to get our values by the Store `offered`."""

    offered: TransferContext
    node: NodeId


MovingContext = TransferContext | AdoptContext


@dataclass(slots=True)
class _HandOver:
    """Resources on their way to another peer: what is still to be sent, and how much is under way."""

    node: NodeId | None
    number: int
    resources: Iterator[ResourceId]
    is_admission: bool
    region: tuple[bytes, bytes] | None = None
    """What it is for; None if nobody can ask for the same again."""
    offers_before: int = 0
    """How often these were refused, or did not arrive, already."""
    ready: deque[Transfer] = field(default_factory=deque)
    under_way: int = 0
    failures: int = 0
    first_failure: str = ""
    is_incomplete: bool = False
    """Something did not arrive that would arrive another time."""

    def fail(self, why: str, *, may_succeed_later: bool) -> None:
        """A part of it came to nothing."""
        self.first_failure = self.first_failure or why
        self.failures += 1
        self.is_incomplete = self.is_incomplete or may_succeed_later

    def begin_anew(self, resources: Iterator[ResourceId]) -> None:
        """From the first on; what is under way counts."""
        self.resources = resources
        self.ready.clear()
        self.failures, self.first_failure, self.is_incomplete = 0, "", False

    def give_up(self) -> None:
        """Send no more."""
        self.resources = iter(())
        self.region = None
        self.ready.clear()

    def is_same(self, other: _HandOver) -> bool:
        """True if the same is to go to the same node."""
        if self.region is None or self.node is None or self.node != other.node:
            return False
        if self.is_admission or other.is_admission:
            return self.is_admission and other.is_admission
        return (self.number, self.region) == (other.number, other.region)


class Moving:
    """What of a node's data is to be elsewhere as well, or instead."""

    def __init__(self, exchange: Exchange, topology: Topology, commits: Commits) -> None:
        self._exchange = exchange
        self._topology = topology
        self._storage = commits.storage
        self._commits = commits
        self._hand_overs: dict[int, _HandOver] = {}
        self._serial = 0
        self._again: dict[tuple[ResourceId, NodeId | None], int] = {}
        """What is to be offered again, whom it was offered to, and how often."""
        self._timers: Timers[None] = exchange.queue.scope()

    @property
    def is_handing_over(self) -> bool:
        """True while values are on their way to other peers."""
        return bool(self._hand_overs)

    # New values

    def spread(self, resource: ResourceId, places: tuple[Place, ...], now: float) -> None:
        """10.4: "It MUST then send a Store request to its successor in the Neighbor Table and to that peer's
        successor".

        A node that is being let in gets what becomes its own as well.
        """
        if not places or not self._topology.is_responsible(resource):
            return
        replicas = self._topology.replicas_for(resource)
        joining = [node for node in self._topology.admitting_for(resource) if node not in replicas]
        targets = [*enumerate(replicas, start=1), *((1, node) for node in joining)]
        for number, node in targets:
            for transfer in self._transfers(resource, number, now, places):
                if not self._send(transfer, node, None, now):
                    self._topology.handle_copy_failed(node, now)

    def pass_on(self, resource: ResourceId, places: tuple[Place, ...], now: float) -> None:
        """Send values on to whoever is responsible for them."""
        for transfer in self._transfers(resource, 1, now, places):
            self._send(transfer, None, None, now)

    def _transfers(
        self, resource: ResourceId, number: int, now: float, places: Collection[Place] | None = None
    ) -> list[Transfer]:
        return self._storage.transfers(resource, number, now, size_max=self._exchange.values_size_max, places=places)

    def _send(self, transfer: Transfer, node: NodeId | None, task: int | None, now: float) -> bool:
        resource = transfer.request.resource
        destination = Destination.resource(resource) if node is None else Destination.node(node)
        context = TransferContext(resource, node, transfer.request.replica_number, transfer.places, task)
        asked = OverlayRequest(
            [destination], MessageCode.STORE_REQ, transfer.request, certificates=transfer.certificates
        )
        return self._exchange.request(asked, context, now) is not None

    # What the topology wants moved

    def hand_over(self, node: NodeId | None, low: bytes, high: bytes, now: float, *, is_admission: bool) -> None:
        """Pass all resources in (low, high] on to `node`, or each to whoever is responsible for it now."""
        self._begin(_HandOver(node, 1, self._storage.resources_in(low, high, now), is_admission, (low, high)), now)

    def replicate(self, node: NodeId, number: int, low: bytes, high: bytes, now: float) -> None:
        """Pass all resources in (low, high] on to a replica."""
        resources = self._storage.resources_in(low, high, now)
        self._begin(_HandOver(node, number, resources, is_admission=False, region=(low, high)), now)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """What was still to be sent to this node is for others to have; the topology says for whom."""
        for task in self._hand_overs.values():
            if task.node == lost.node:
                task.give_up()
                # What becomes of it says nothing of the next attempt.
                task.is_admission = False

    def forget(self, low: bytes, high: bytes, now: float) -> None:
        """10.7.3: "it SHOULD delete all data associated with R from its local store", some at a time.

        Not while anything is on its way: it may be what others do not have yet.
        """
        if self.is_handing_over or self._again:
            return
        for resource in list(islice(self._storage.resources_in(low, high, now), FORGET_AT_ONCE)):
            try:
                self._storage.drop(resource, now)
            except Rejection:
                # The disk is busy with what others wait for; the next stabilization goes on from here.
                break
        self._commits.pull()

    def _begin(self, task: _HandOver, now: float) -> None:
        """Who joins over and over, or comes and goes, has no more sent to it at once than who does once."""
        for number, known in self._hand_overs.items():
            if known.is_same(task):
                known.begin_anew(task.resources)
                self._go_on(number, now)
                return
        self._serial += 1
        self._hand_overs[self._serial] = task
        self._go_on(self._serial, now)

    def _go_on(self, number: int, now: float) -> None:
        """Keep a window of Stores under way; the end of a hand-over to a joining node lets it in."""
        task = self._hand_overs[number]
        while task.under_way < HANDOVER_WINDOW and (transfer := self._next_transfer(task, now)) is not None:
            if not self._send(transfer, task.node, number, now):
                task.fail("too many requests under way", may_succeed_later=True)
                task.give_up()
                break
            task.under_way += 1
        if not task.under_way:
            del self._hand_overs[number]
            self._conclude(task, now)

    def _next_transfer(self, task: _HandOver, now: float) -> Transfer | None:
        """The next Store of a hand-over, with the lifetimes as they are now."""
        while not task.ready and (resource := next(task.resources, None)) is not None:
            task.ready += self._transfers(resource, task.number, now)
        return task.ready.popleft() if task.ready else None

    def _conclude(self, task: _HandOver, now: float) -> None:
        if task.failures:
            self._exchange.warn("hand-over incomplete", node=task.node, failed=task.failures, why=task.first_failure)
        if task.node is None:
            return
        if task.is_incomplete:
            self._topology.handle_copy_failed(task.node, now)
        if task.is_admission and task.is_incomplete:
            self._topology.handle_admission_failed(task.node)
        elif task.is_admission:
            self._topology.handle_handed_over(task.node, now)

    # Outcomes

    def handle_outcome(self, context: MovingContext, outcome: Outcome, now: float) -> None:
        """A request that was made here is over."""
        match context:
            case TransferContext():
                self._transferred(context, outcome, now)
            case AdoptContext():
                if isinstance(outcome, Answer) and isinstance(outcome.body, FetchAns):
                    self._adopt(context, outcome.body, outcome, now)

    def _transferred(self, context: TransferContext, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Refused) and outcome.code in (
            ErrorCode.DATA_TOO_OLD,
            ErrorCode.GENERATION_COUNTER_TOO_LOW,
        ):
            self._fetch_newer(context, outcome.signer.node_id, now)
        elif isinstance(outcome, Refused) and outcome.code in OF_ONE_VALUE and len(context.places) > 1:
            self._offer_singly(context, now)
        elif not isinstance(outcome, Answer):
            self._transfer_failed(context, outcome, now)
        if context.task is not None and context.task in self._hand_overs:
            self._hand_overs[context.task].under_way -= 1
            self._go_on(context.task, now)

    def _offer_singly(self, context: TransferContext, now: float) -> None:
        """A Store is taken as a whole or not at all: for what is wrong with one value the others shall not suffer."""
        singly = [
            transfer
            for place in context.places
            for transfer in self._transfers(context.resource, context.number, now, [place])
        ]
        if context.task is not None and (task := self._hand_overs.get(context.task)) is not None:
            task.ready.extend(singly)
            return
        for transfer in singly:
            self._send(transfer, context.node, None, now)

    def _transfer_failed(self, context: TransferContext, outcome: Refused | Unanswered, now: float) -> None:
        why = str(failure_of(outcome))
        task = None if context.task is None else self._hand_overs.get(context.task)
        self._exchange.note("transfer failed", resource=context.resource, node=context.node, why=why)
        may_succeed_later = isinstance(outcome, Unanswered) or outcome.code is ErrorCode.REQUEST_TIMEOUT
        is_replica = context.node in self._topology.replicas_for(context.resource)
        if not is_replica or (isinstance(outcome, Refused) and outcome.code is ErrorCode.FORBIDDEN):
            self._offer_later(context, 1 if task is None else task.offers_before + 1, now)
        if task is not None:
            task.fail(why, may_succeed_later=may_succeed_later)
        elif context.node is not None and may_succeed_later:
            self._topology.handle_copy_failed(context.node, now)

    # What was refused

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Offer again what was refused: copies to those who are still to have them, all else to whoever is responsible
        by now (6.4.2.3: "it MUST attempt to Store a copy to the correct node").
        """
        for _ in self._timers.pop_due(now):
            again, self._again = self._again, {}
            tasks: dict[tuple[NodeId | None, int, int], list[ResourceId]] = {}
            for (resource, node), offers in again.items():
                if not self._topology.is_responsible(resource):
                    tasks.setdefault((None, 1, offers), []).append(resource)
                elif node in (nodes := self._topology.replicas_for(resource)):
                    tasks.setdefault((node, 1 + nodes.index(node), offers), []).append(resource)
            for (node, number, offers), resources in tasks.items():
                self._begin(_HandOver(node, number, iter(resources), is_admission=False, offers_before=offers), now)

    def _offer_later(self, context: TransferContext, offers: int, now: float) -> None:
        if offers >= OFFERS_MAX:
            return
        self._again[context.resource, context.node] = offers
        if None not in self._timers:
            self._timers.set(None, now + OFFER_AGAIN_S, "offer again what was refused")

    def _fetch_newer(self, context: TransferContext, node: NodeId, now: float) -> None:
        """7.4.1.1: "the peer MUST fetch the newer data from the peer generating the error and use that to replace
        its own copy."
        """
        kinds = self._storage.rules.kinds
        specifiers = tuple(
            all_values(kinds[kind]) for kind in dict.fromkeys(place.kind for place in context.places) if kind in kinds
        )
        if specifiers:
            request = FetchReq(context.resource, specifiers)
            self._exchange.to_node(node, MessageCode.FETCH_REQ, request, AdoptContext(context, node), now)

    def _adopt(self, context: AdoptContext, body: FetchAns, outcome: Answer, now: float) -> None:
        resource = context.offered.resource
        try:
            adopted = self._storage.adopt(resource, body, outcome.certificates, now)
        except Rejection as error:
            self._exchange.note("newer values not taken over", resource=resource, why=str(error))
            return
        self._commits.pull()
        self.spread(resource, adopted.places, now)
        if adopted.places:
            # A Store is taken as a whole or not at all: what of ours is newer than theirs has not arrived yet.
            for transfer in self._transfers(resource, 1, now):
                self._send(transfer, context.node, None, now)
        elif len(context.offered.places) > 1:
            # There is one that they do not take and have nothing better for.
            self._offer_singly(context.offered, now)
