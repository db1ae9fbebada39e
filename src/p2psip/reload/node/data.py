"""Store and Fetch: serving them, making them, and moving data as the ring changes (RFC 6940 section 7.4, 10.4-10.7).

What moves between peers (replicas, hand-overs, data that landed on the wrong side of a partition) travels in Store
requests with a replica_number that is not zero: they are signed by the peer that passes the values on, while the values
keep the signatures of those who stored them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from p2psip.base.effects import Ask
from p2psip.base.errors import RequestFailed
from p2psip.base.gate import Gate
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.attach import causes_of
from p2psip.reload.node.effects import Done, RequestRefused
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import COMMANDS_MAX, HANDOVER_WINDOW
from p2psip.reload.security.roles import Identity
from p2psip.reload.storage.records import CommitFailed, Committed, Place
from p2psip.reload.storage.storage import Storage, StorageTime
from p2psip.reload.storage.transfer import Transfer
from p2psip.reload.topology.chord import Chord
from p2psip.reload.transport.outcome import Answer, Outcome, Refused, Unanswered
from p2psip.reload.transport.transport import Entry, Originate, Received
from p2psip.reload.wire.codec import Struct
from p2psip.reload.wire.contents import ErrorCode, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Forbidden, NotFound, Rejection
from p2psip.reload.wire.storage_messages import (
    DictionarySpecifier,
    FetchAns,
    FetchReq,
    StoredDataSpecifier,
    StoreReq,
)

MESSAGE_OVERHEAD = 1024
"""Bytes of a message that are not its values: header, lists, the signer's certificate and signature."""

VALUES_BYTES_MAX = 0xFFFF
"""The bucket of certificates has a length of 16 bits (6.3.4); no message has more values than fit there either."""

FORGET_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class CommandContext:
    """A Store or Fetch of the layer above."""

    handle: int


@dataclass(frozen=True, slots=True)
class TransferContext:
    """A Store that passes values on to another peer; `task` is the hand-over that it is part of, if any."""

    resource: ResourceId
    node: NodeId | None
    kinds: tuple[int, ...]
    task: int | None


@dataclass(frozen=True, slots=True)
class AdoptContext:
    """A Fetch of what `node` has newer than we, at a resource of which it was to get our values."""

    resource: ResourceId
    node: NodeId


DataContext = CommandContext | TransferContext | AdoptContext


@dataclass(slots=True)
class _HandOver:
    """Resources on their way to another peer: what is still to be sent, and how much is under way."""

    node: NodeId | None
    number: int
    resources: Iterator[ResourceId]
    is_admission: bool
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

    def give_up(self) -> None:
        """Send no more."""
        self.resources = iter(())
        self.ready.clear()


class Data:
    """The data of one node, its own and that which it keeps for the overlay."""

    def __init__(
        self, exchange: Exchange, chord: Chord, storage: Storage, gate: Gate[Originate], message_bytes_max: int
    ) -> None:
        self.storage = storage
        self._exchange = exchange
        self._chord = chord
        self._gate = gate
        self._size_max = min(message_bytes_max, VALUES_BYTES_MAX) - MESSAGE_OVERHEAD
        self._hand_overs: dict[int, _HandOver] = {}
        self._commits: Timers[int] = Timers()
        self._serial = 0
        self._commands = 0

    @property
    def is_handing_over(self) -> bool:
        """True while values are on their way to other peers."""
        return bool(self._hand_overs)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self.storage.next_deadline(), self._commits.next_deadline()])

    # Commands of the layer above

    def issue_storage_time(self, signer: NodeId, now: float, *, above_ms: int = 0) -> StorageTime:
        """A storage_time for one of our own identities, greater than all that it has used and than `above_ms`."""
        issued = self.storage.issue_storage_time(signer, now, above_ms=above_ms)
        self._pull()
        return issued

    def store(self, identity: Identity, request: StoreReq, now: float, *, after: int | None = None) -> int:
        """Store as one of our own identities, once `after` is committed. Returns the handle that `Done` will carry."""
        destinations = [Destination.resource(request.resource)]
        return self._command(identity, destinations, MessageCode.STORE_REQ, request, now, after=after)

    def fetch(self, request: FetchReq, now: float) -> int:
        """Fetch from whoever is responsible. Returns the handle that `Done` will carry."""
        return self.ask([Destination.resource(request.resource)], MessageCode.FETCH_REQ, request, now)

    def ask(self, destinations: Sequence[Entry], code: MessageCode, body: Struct, now: float) -> int:
        """Any other request of the layer above. Returns the handle that `Done` will carry."""
        return self._command(self._exchange.identity, destinations, code, body, now)

    def _command(
        self,
        identity: Identity,
        destinations: Sequence[Entry],
        code: MessageCode,
        body: Struct,
        now: float,
        *,
        after: int | None = None,
    ) -> int:
        self._serial += 1
        handle = self._serial
        begun = None
        if self._commands < COMMANDS_MAX:
            context = CommandContext(handle)
            begun = self._exchange.request(destinations, code, body, context, now, identity=identity, after=after)
        if begun is None:
            failure = RequestFailed("too many requests under way")
            self._exchange.effects.append(Done(handle, failure))
        else:
            self._commands += 1
        return handle

    # Requests of others

    def handle_store(self, request: Received, body: StoreReq, now: float) -> None:
        """7.4.1.2, 10.4: keep it, answer when it is safe on disk, pass it on to the replicas. Raises a Rejection."""
        self._check_place(request, body)
        holders = self._chord.replicas.nodes
        certificates = request.message.security_block.certificates
        stored = self.storage.store(body, request.signer, certificates, holders, now)
        self._pull()
        self._exchange.answer(request, stored.answer, after=stored.after)
        self._spread(body.resource, stored.places, now)
        sender = request.signer.node_id
        if body.replica_number:
            self._chord.handle_value_received(sender, now)
        if stored.places and not self._chord.is_from_responsible(sender, body.resource):
            # The rings of two islands grow together: who sent this did not know yet who is responsible.
            for transfer in self._transfers(body.resource, 1, now, stored.places):
                self._send(transfer, None, None, now)

    def handle_fetch(self, request: Received, body: FetchReq, now: float) -> None:
        """7.4.2. Raises a Rejection."""
        asked_max = request.message.header.max_response_length
        size_max = min(self._size_max, asked_max - MESSAGE_OVERHEAD) if asked_max else self._size_max
        fetched = self.storage.fetch(body, now, size_max=max(0, size_max))
        self._exchange.answer(request, fetched.answer, certificates=fetched.certificates, after=fetched.after)

    def _check_place(self, request: Received, body: StoreReq) -> None:
        is_responsible = self._chord.is_responsible(body.resource)
        if body.replica_number == 0:
            # 7.4.1.1: "If the replica number is zero, then the peer MUST check that it is responsible for the
            # resource and, if not, reject the request."
            if not is_responsible:
                raise NotFound("this peer is not responsible for the resource")
            return
        sender = request.signer.node_id
        # "it MUST check that it expects to be a replica for the resource and that the request sender is consistent
        # with being the responsible node". A peer that knows better passes on to us what is ours.
        if not (is_responsible or sender in self._chord.table or sender == self._chord.joining.admitting_peer):
            raise Forbidden("the sender is no peer from which values come here")

    def _spread(self, resource: ResourceId, places: tuple[Place, ...], now: float) -> None:
        """10.4: "It MUST then send a Store request to its successor in the Neighbor Table and to that peer's
        successor".

        A node that is being let in gets what becomes its own as well.
        """
        if not places or not self._chord.is_responsible(resource):
            return
        joining = [node for node in self._chord.admitting_for(resource) if node not in self._chord.replicas.nodes]
        targets = [*enumerate(self._chord.replicas.nodes, start=1), *((1, node) for node in joining)]
        for number, node in targets:
            for transfer in self._transfers(resource, number, now, places):
                if not self._send(transfer, node, None, now):
                    self._chord.replicas.lacks(node, now)

    def _transfers(
        self, resource: ResourceId, number: int, now: float, places: Collection[Place] | None = None
    ) -> list[Transfer]:
        return self.storage.transfers(resource, number, now, size_max=self._size_max, places=places)

    def _send(self, transfer: Transfer, node: NodeId | None, task: int | None, now: float) -> bool:
        resource = transfer.request.resource
        destination = Destination.resource(resource) if node is None else Destination.node(node)
        kinds = tuple(kind_data.kind for kind_data in transfer.request.kind_data)
        context = TransferContext(resource, node, kinds, task)
        begun = self._exchange.request(
            [destination],
            MessageCode.STORE_REQ,
            transfer.request,
            context,
            now,
            certificates=transfer.certificates,
        )
        return begun is not None

    # What the topology wants moved

    def hand_over(self, node: NodeId | None, low: bytes, high: bytes, now: float, *, is_admission: bool) -> None:
        """Pass all resources in (low, high] on to `node`, or each to whoever is responsible for it now."""
        self._begin(_HandOver(node, 1, self.storage.resources_in(low, high, now), is_admission), now)

    def replicate(self, node: NodeId, number: int, low: bytes, high: bytes, now: float) -> None:
        """Pass all resources in (low, high] on to a replica."""
        self._begin(_HandOver(node, number, self.storage.resources_in(low, high, now), is_admission=False), now)

    def handle_link_lost(self, node: NodeId) -> None:
        """What was still to be sent to this node is for others to have; the topology says for whom."""
        for task in self._hand_overs.values():
            if task.node == node:
                task.give_up()

    def hand_all_to_successor(self, now: float) -> None:
        """Before we go: our successor becomes responsible for all that we are responsible for."""
        table = self._chord.table
        if table.successors:
            self.hand_over(table.successors[0], table.range_low, table.node_id, now, is_admission=False)

    def forget(self, low: bytes, high: bytes, now: float) -> None:
        """10.7.3: "it SHOULD delete all data associated with R from its local store", some at a time."""
        for resource in list(islice(self.storage.resources_in(low, high, now), FORGET_AT_ONCE)):
            try:
                self.storage.drop(resource, now)
            except Rejection:
                # The disk is busy with what others wait for; the next stabilization goes on from here.
                break
        self._pull()

    def _begin(self, task: _HandOver, now: float) -> None:
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
            self._chord.replicas.lacks(task.node, now)
        if task.is_admission and task.is_incomplete:
            self._chord.handle_admission_failed(task.node)
        elif task.is_admission:
            self._chord.handle_handed_over(task.node, now)

    # Outcomes

    def handle_outcome(self, context: DataContext, outcome: Outcome, now: float) -> None:
        """A request that was made here is over."""
        match context:
            case CommandContext(handle):
                self._commands -= 1
                result = outcome if isinstance(outcome, Answer) else _failure(outcome)
                self._exchange.effects.append(Done(handle, result))
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
        elif not isinstance(outcome, Answer):
            self._transfer_failed(context, outcome, now)
        if context.task is not None and context.task in self._hand_overs:
            self._hand_overs[context.task].under_way -= 1
            self._go_on(context.task, now)

    def _transfer_failed(self, context: TransferContext, outcome: Refused | Unanswered, now: float) -> None:
        why = str(_failure(outcome))
        self._exchange.note("transfer failed", resource=context.resource, node=context.node, why=why)
        may_succeed_later = isinstance(outcome, Unanswered) or outcome.code is ErrorCode.REQUEST_TIMEOUT
        if context.task is not None and (task := self._hand_overs.get(context.task)) is not None:
            task.fail(why, may_succeed_later=may_succeed_later)
        elif context.node is not None and may_succeed_later:
            self._chord.replicas.lacks(context.node, now)

    def _fetch_newer(self, context: TransferContext, node: NodeId, now: float) -> None:
        """7.4.1.1: "the peer MUST fetch the newer data from the peer generating the error and use that to replace
        its own copy."
        """
        specifiers = tuple(
            StoredDataSpecifier(kind, 0, DictionarySpecifier(()))
            for kind in context.kinds
            if self.storage.rules.kinds[kind].data_model.value == "DICTIONARY"
        )
        if specifiers:
            request = FetchReq(context.resource, specifiers)
            self._exchange.to_node(node, MessageCode.FETCH_REQ, request, AdoptContext(context.resource, node), now)

    def _adopt(self, context: AdoptContext, body: FetchAns, outcome: Answer, now: float) -> None:
        resource = context.resource
        try:
            adopted = self.storage.adopt(resource, body, outcome.certificates, now)
        except Rejection as error:
            self._exchange.note("newer values not taken over", resource=resource, why=str(error))
            return
        self._pull()
        self._spread(resource, adopted.places, now)
        if adopted.places:
            # A Store is taken as a whole or not at all: what of ours is newer than theirs has not arrived yet.
            for transfer in self._transfers(resource, 1, now):
                self._send(transfer, context.node, None, now)

    # Commits

    def handle_answer(self, token: int, answer: Committed | CommitFailed, now: float) -> list[Originate]:
        """A commit is answered: what may leave now."""
        self.storage.handle_answer(token, answer, now)
        self._pull()
        self._commits.cancel(token)
        if isinstance(answer, Committed):
            return self._gate.release(token)
        self._commit_failed(token, answer.reason, now)
        return []

    def _commit_failed(self, token: int, reason: str, now: float) -> None:
        held = self._gate.release(token)
        self._exchange.transport.handle_commit_failed(token, now)
        self._exchange.warn("commit failed", reason=reason, held_back=len(held))

    def handle_timeout(self, now: float) -> None:
        """Let what has expired go."""
        self.storage.handle_timeout(now)
        self._pull()
        for token in self._commits.pop_due(now):
            self._commit_failed(token, "the disk does not answer", now)

    def set_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date is another."""
        self.storage.handle_wall_clock(wall, now)
        self._pull()

    def _pull(self) -> None:
        """Pass the storage's questions up; from now on what depends on their answers is held back."""
        for effect in self.storage.drain():
            if isinstance(effect, Ask):
                self._gate.expect(effect.token)
                self._commits.set(effect.token, effect.deadline, "commit overdue")
            self._exchange.effects.append(effect)


def _failure(outcome: Outcome) -> RequestFailed:
    if isinstance(outcome, Refused):
        return RequestRefused("refused", causes_of(outcome), outcome.code)
    return RequestFailed("nobody answered", causes_of(outcome))
