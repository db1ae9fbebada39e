"""The peer's side of lent storage: what it places with its clients, and reads from there (docs/decisions/lending.md).

draft-ietf-p2psip-concepts-01 section 5.5: "A peer which needs to store a resource record may elect to store this on one
or more of its associated clients instead, thus boosting its effective storage capacity."

Theory of operation. A client says that it lends, over its own link, and says it again (a lease). What this peer is
responsible for, of Kinds whose values may be large, it stores there as well, as at a replica; its own copy stays where
it was, and so do those of its replicas. Of what a client has acknowledged it remembers a digest. A Fetch for values
that one client has is passed on to that client: what comes back has to be, byte for byte, what was placed there, and to
have a good signature. Whatever else happens (no answer within a moment, a lost link, an error, a value too few, another
value) the Fetch is answered from the own copy, and the client is left alone for a while.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.reload.link.link import LinkLost
from p2psip.reload.node.data.commits import Commits
from p2psip.reload.node.data.lending.lenders import Lenders, Location
from p2psip.reload.node.data.lending.placing import LentStoreContext, Placing
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.node.facts import LenderFacts
from p2psip.reload.node.limits import LENT_READS_MAX
from p2psip.reload.storage.outline import GivenBack, LentValueChanged, LentValueMissing, Outline, Outlined
from p2psip.reload.storage.reading import Fetched
from p2psip.reload.storage.store.records import Place
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage, Rejection
from p2psip.reload.wire.storage_messages import FetchAns, FetchReq, StoredDataSpecifier
from p2psip.reload.wire.usages.lend_messages import LendAns, LendReq

LEASE_MAX_S = 600
"""For how long a client's word is taken."""

PATIENCE_S = 1.0
"""How long a Fetch waits for what a client gives back."""


@dataclass(frozen=True, slots=True)
class LentFetchContext:
    """A Fetch that was passed on to a client."""

    serial: int


BorrowingContext = LentStoreContext | LentFetchContext


@dataclass(frozen=True, slots=True)
class _Read:
    """The Fetch of somebody that waits for a client."""

    node: NodeId
    request: Received
    body: FetchReq
    outlines: Mapping[int, Outline]
    size_max: int


class Borrowing:
    """What a peer has of its clients' storage; a client has none, and lets it be."""

    def __init__(
        self, exchange: Exchange, linked: Container[NodeId], topology: Topology, commits: Commits, size_max: int
    ) -> None:
        """`linked` are the nodes that we are linked with; `size_max` is how many bytes clients keep for this peer at
        the most, all together, 0 for none.
        """
        self._exchange = exchange
        self._topology = topology
        self._storage = commits.storage
        self._size_max = size_max
        self._lenders = Lenders(linked, size_max)
        self._placing = Placing(exchange, topology, commits.storage, self._lenders)
        self._reads: dict[int, _Read] = {}
        self._serial = 0
        self._timers: Timers[NodeId | int] = exchange.queue.scope()
        """Of each client its lease, of each read its patience."""

    def facts(self, now: float) -> tuple[LenderFacts, ...]:
        """Who lends, and what came of it."""
        return self._lenders.facts(now)

    # What clients say

    def handle(self, request: Received, body: bytes, now: float) -> None:
        """A client lends, or goes on to. Raises a Rejection."""
        node = request.signer.node_id
        if request.previous_hop != node:
            raise Forbidden("the message did not come over a link from its signer")
        try:
            offer = LendReq.decode(body)
        except DecodeError as error:
            raise InvalidMessage(str(error)) from None
        lifetime_s = min(offer.lifetime, LEASE_MAX_S)
        if not lifetime_s or not offer.room:
            raise InvalidMessage("no room is lent, or for no time")
        if not self._size_max or not self._topology.is_serving:
            raise Forbidden("this node borrows no storage")
        is_new = self._lenders.lends(node, offer.room, now + lifetime_s, now)
        if is_new:
            self._exchange.note("storage lent to this peer", node=node, bytes=offer.room)
        self._timers.set(node, now + lifetime_s, "a client lends no longer")
        self._exchange.answer(request, PrivateAns(LendAns(lifetime_s, self._has_nothing()).encode()))
        self._placing.look_at_all(now, at_once=is_new)

    def _has_nothing(self) -> bool:
        """True for a peer without a single value of the sort, as one that has lost its disk."""
        return not any(self._storage.resources_of(kind, b"", 1) for kind in self._placing.lendable_kinds)

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """What waits for this client is answered from here; what it has counts again when it is back in time."""
        for serial, read in list(self._reads.items()):
            if read.node == lost.node:
                self._fail(serial, "its link was lost", now)

    def _forget(self, node: NodeId, why: str) -> None:
        self._timers.cancel(node)
        if self._lenders.remove(node):
            self._exchange.note("storage lent no longer", node=node, why=why)
        if not len(self._lenders):
            self._placing.forget()

    # What changes here

    def changed(self, places: Iterable[Place], now: float) -> None:
        """There are new values at these places."""
        self._placing.changed(places, now)

    def use_rules(self) -> None:
        """There are others: values may not be shown any more that were before."""
        self._lenders.outlines.clear()

    # Reading

    def passes_on(self, request: Received, body: FetchReq, size_max: int, now: float) -> bool:
        """True if a client is asked for what a Fetch is about; whoever sent it is answered then, from here if need be.

        Raises InvalidMessage for one that does not fit a Kind.
        """
        if not len(self._lenders) or len(self._reads) >= LENT_READS_MAX:
            return False
        outlines = {each.kind: self._lenders.outlines.get((body.resource, each.kind)) for each in body.specifiers}
        known = {kind: outline for kind, outline in outlines.items() if outline is not None}
        node = self._who_has(body, known, now) if len(known) == len(body.specifiers) else None
        if node is None:
            return False
        specifiers = tuple(StoredDataSpecifier(each.kind, 0, each.model_specifier) for each in body.specifiers)
        passed = FetchReq(body.resource, specifiers)
        asked = OverlayRequest([Destination.node(node)], MessageCode.FETCH_REQ, passed, transmissions_max=1)
        self._serial += 1
        if self._exchange.request(asked, LentFetchContext(self._serial), now) is None:
            return False
        self._reads[self._serial] = _Read(node, request, body, known, size_max)
        self._timers.set(self._serial, now + PATIENCE_S, "a client does not give back what it has")
        return True

    def _who_has(self, body: FetchReq, outlines: Mapping[int, Outline], now: float) -> NodeId | None:
        """The client that has all that is asked for, if a Fetch would be answered with just that."""
        chosen: dict[Location, list[Outlined]] = {}
        for specifier in body.specifiers:
            outline = outlines[specifier.kind]
            if specifier.generation == outline.generation or not self._storage.is_current(outline, now):
                return None
            kind = self._storage.rules.kinds[specifier.kind]
            chosen[body.resource, specifier.kind] = outline.selected(kind, specifier)
        return self._lenders.who_has(chosen, now) if any(chosen.values()) else None

    def handle_outcome(self, context: BorrowingContext, outcome: Outcome, now: float) -> None:
        """A client has answered, or has not."""
        if isinstance(context, LentStoreContext):
            self._placing.handle_outcome(context, outcome, now)
        elif context.serial not in self._reads:
            # It is answered already, from here.
            pass
        elif not isinstance(outcome, Answer):
            self._fail(context.serial, str(failure_of(outcome)), now)
        elif not isinstance(outcome.body, FetchAns):
            self._fail(context.serial, "its answer cannot be read", now)
        else:
            self._given_back(context.serial, GivenBack(outcome.body, outcome.certificates), now)

    def _given_back(self, serial: int, given: GivenBack, now: float) -> None:
        read = self._reads[serial]
        if not all(self._storage.is_current(outline, now) for outline in read.outlines.values()):
            # There is something newer by now.
            self._answer_from_own_copy(self._taken_out(serial), now)
            return
        try:
            fetched = self._storage.fetch_from(read.body, read.outlines, given, now, size_max=read.size_max)
        except LentValueMissing as error:
            for kind in read.outlines:
                self._lenders.drop((read.body.resource, kind))
            self._fail(serial, str(error), now)
        except LentValueChanged as error:
            self._exchange.warn("lent storage gave back something else", node=read.node, why=str(error))
            self._lenders.distrust(read.node, now)
            self._forget(read.node, "it is not trusted")
            self._answer_from_own_copy(self._taken_out(serial), now)
        except Rejection as error:
            self._exchange.reject(self._taken_out(serial).request, error.response)
        else:
            self._answer(self._taken_out(serial), fetched)
            if (lender := self._lenders.get(read.node)) is not None:
                lender.has_served()

    def _fail(self, serial: int, why: str, now: float) -> None:
        """Answer from here, and leave the client alone for a while."""
        read = self._taken_out(serial)
        if (lender := self._lenders.get(read.node)) is not None:
            lender.leave_alone(now)
            self._exchange.note("lent storage did not serve", node=read.node, why=why)
        self._answer_from_own_copy(read, now)

    def _taken_out(self, serial: int) -> _Read:
        self._timers.cancel(serial)
        return self._reads.pop(serial)

    def _answer_from_own_copy(self, read: _Read, now: float) -> None:
        try:
            self._answer(read, self._storage.fetch(read.body, now, size_max=read.size_max))
        except Rejection as error:
            self._exchange.reject(read.request, error.response)

    def _answer(self, read: _Read, fetched: Fetched) -> None:
        self._exchange.answer(read.request, fetched.answer, certificates=fetched.certificates, after=fetched.after)

    # Time

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._timers.next_deadline(), self._placing.timers.next_deadline()))

    def handle_timeout(self, now: float) -> None:
        """A lease is over, a client did not answer in time, or there is something to be placed."""
        self._placing.handle_timeout(now)
        for key in self._timers.pop_due(now):
            if isinstance(key, int):
                self._fail(key, f"no answer within {PATIENCE_S:g} s", now)
            else:
                self._forget(key, "it has not said so again")
