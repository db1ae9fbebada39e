"""Keeps the certificates of this node and of the lines in its process in the overlay (RFC 6940 section 8).

Theory of operation. Each identity has an entry under its Node-ID and one under its user name, where the overlay has
the Kinds for it. An entry is looked for before it is stored: if it is there it is stored anew in its place, so that
arrays do not grow. That is repeated at half of its lifetime, at once when a certificate is renewed, and after a pause
that grows when it fails. The entries of an identity that goes for good are taken out
again, if that can be done at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.data.own_data import Data
from p2psip.reload.node.effects import UserNameTaken
from p2psip.reload.node.exchange import Exchange, failure_of
from p2psip.reload.security.roles import Identity
from p2psip.reload.storage.access import Hash
from p2psip.reload.storage.verified import Believer, Verified
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.certificate_store import (
    KINDS,
    REFRESH_S,
    Slot,
    choose_slot,
    fetch_request,
    own_slots,
    read_certificates,
    remove_request,
    resource_id,
    store_request,
)
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import CERTIFICATE_BY_USER
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import FetchAns, StoreAns, StoreReq

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 600.0

Entry = tuple[NodeId, int]
"""Whose certificate, and under which of the two Kinds."""


@dataclass(frozen=True, slots=True)
class CertificateContext:
    """A Fetch or Store of ours."""

    entry: Entry


class CertificateKeeper:
    """The entries of this node's own identities."""

    def __init__(self, exchange: Exchange, data: Data, topology: Topology) -> None:
        self._exchange = exchange
        self._data = data
        self._topology = topology
        self._fresh: dict[Entry, None] = {}
        self._retry_s: dict[Entry, float] = {}
        self._going: dict[NodeId, set[Entry]] = {}
        self._timers: Timers[Entry] = exchange.queue.scope()
        self.add(exchange.identity.node_id)

    def add(self, node: NodeId) -> None:
        """An identity of ours is new, or has a new certificate."""
        self._going.pop(node, None)
        self._fresh.update(dict.fromkeys((node, kind) for kind in KINDS))

    def withdraw(self, node: NodeId, now: float) -> None:
        """An identity goes for good: take its entries out of the overlay; it is one of `drain()` afterwards."""
        self.remove(node)
        is_connected, kinds = self._topology.is_connected, self._data.storage.rules.kinds
        self._going[node] = {(node, kind) for kind in KINDS if kind in kinds and is_connected}
        for entry in sorted(self._going[node]):
            self._look(entry, now)

    def drain(self) -> list[NodeId]:
        """The identities whose entries are out, or could not be taken out: those die by themselves."""
        if not self._going:
            return []
        gone = [node for node, entries in self._going.items() if not entries]
        for node in gone:
            del self._going[node]
        return gone

    def remove(self, node: NodeId) -> None:
        """An identity is ours no more; its entries die by themselves."""
        self._going.pop(node, None)
        for kind in KINDS:
            self._fresh.pop((node, kind), None)
            self._retry_s.pop((node, kind), None)
            self._timers.cancel((node, kind))

    def begin(self, now: float) -> None:
        """Store what is new, if the overlay can be reached and has the Kinds."""
        if not self._fresh or not self._topology.is_connected:
            return
        kinds = self._data.storage.rules.kinds
        ready = [entry for entry in self._fresh if entry[1] in kinds]
        for entry in ready:
            del self._fresh[entry]
            self._look(entry, now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Store what is due."""
        self._fresh.update(dict.fromkeys(self._timers.pop_due(now)))
        self.begin(now)

    def handle_outcome(self, context: CertificateContext, outcome: Outcome, now: float) -> None:
        """What became of a Fetch or Store."""
        entry = context.entry
        if self._identity(entry) is None:
            return
        match outcome:
            case Answer(body=FetchAns()):
                self._found(entry, outcome, now)
            case Answer(body=StoreAns()) if self._is_going(entry):
                self._going[entry[0]].discard(entry)
            case Answer(body=StoreAns()):
                self._retry_s.pop(entry, None)
                self._timers.set(entry, now + REFRESH_S, "a certificate is stored anew")
            case _:
                self._failed(entry, str(failure_of(outcome)), now)

    def _identity(self, entry: Entry) -> Identity | None:
        own = self._exchange.identity
        return own if entry[0] == own.node_id else self._exchange.clients.get(entry[0])

    def _is_going(self, entry: Entry) -> bool:
        return entry in self._going.get(entry[0], ())

    def _look(self, entry: Entry, now: float) -> None:
        """What is there already?"""
        identity = self._identity(entry)
        if identity is None:
            return
        resource = resource_id(entry[1], identity.user, identity.node_id, self._data.storage.rules.hash_name)
        body = fetch_request(entry[1], resource)
        asked = OverlayRequest([Destination.resource(resource)], MessageCode.FETCH_REQ, body)
        if self._exchange.request(asked, CertificateContext(entry), now) is None:
            self._failed(entry, "too many requests under way", now)

    def _found(self, entry: Entry, answer: Answer, now: float) -> None:
        identity, rules = self._identity(entry), self._data.storage.rules
        kind = rules.kinds.get(entry[1])
        if identity is None or kind is None or not isinstance(answer.body, FetchAns):
            return
        resource = resource_id(entry[1], identity.user, identity.node_id, rules.hash_name)
        reader = Believer(rules, self._exchange.transport.wall)
        present = read_certificates(resource, answer.body, answer.certificates, reader, now)
        if self._is_going(entry):
            self._take_out(entry, identity, own_slots(identity, present, entry[1]), now)
            return
        if entry[1] == CERTIFICATE_BY_USER and (other := self._earlier_holder(identity, present)) is not None:
            self._exchange.emit(UserNameTaken(identity.user, identity.node_id, other))
            if identity is self._exchange.identity:
                # It is to come again with another name; a line may well be the same person's as the other one.
                return
        self._store(entry, identity, choose_slot(identity, present, entry[1], kind.max_count), now)

    def _earlier_holder(self, identity: Identity, present: Verified) -> NodeId | None:
        """11.3.1: a node with a certificate of its own making "SHOULD look to see if the user name is already taken".

        It is if somebody else's certificate is there and none of ours: then they came first.
        """
        if not self._exchange.configuration.is_self_signed:
            return None
        holders = [value.signer.node_id for value in present.of(CERTIFICATE_BY_USER)]
        return None if set(holders) & set(identity.node_ids) else next(iter(holders), None)

    def _take_out(self, entry: Entry, identity: Identity, slots: Sequence[Slot], now: float) -> None:
        if slots:
            above_ms = max(slot.above_ms for slot in slots)
            self._send(entry, identity, above_ms, lambda *at: remove_request(identity, entry[1], slots, *at), now)
        else:
            self._going[entry[0]].discard(entry)

    def _store(self, entry: Entry, identity: Identity, slot: Slot, now: float) -> None:
        self._send(entry, identity, slot.above_ms, lambda *at: store_request(identity, entry[1], slot.index, *at), now)

    def _send(
        self, entry: Entry, identity: Identity, above_ms: int, make: Callable[[int, Hash], StoreReq], now: float
    ) -> None:
        """Store what `make` makes of a storage_time."""
        try:
            issued = self._data.issue_storage_time(identity.node_id, now, above_ms=above_ms)
        except Rejection as error:
            self._failed(entry, str(error), now)
            return
        request = make(issued.storage_time_ms, self._data.storage.rules.hash_name)
        route = [Destination.resource(request.resource)]
        asked = OverlayRequest(route, MessageCode.STORE_REQ, request, identity, after=issued.after)
        if self._exchange.request(asked, CertificateContext(entry), now) is None:
            self._failed(entry, "too many requests under way", now)

    def _failed(self, entry: Entry, why: str, now: float) -> None:
        if self._is_going(entry):
            self._going[entry[0]].discard(entry)
            self._exchange.note("certificate not removed", node=entry[0], kind=entry[1], why=why)
            return
        pause_s = self._retry_s.get(entry, RETRY_FIRST_S)
        self._retry_s[entry] = min(RETRY_MAX_S, 2 * pause_s)
        self._exchange.note("certificate not stored", node=entry[0], kind=entry[1], why=why)
        self._timers.set(entry, now + pause_s, "a certificate is stored again")
