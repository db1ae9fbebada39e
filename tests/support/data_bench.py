"""One node of a ring where users store: who they are, what they store, and a bench for the node."""

from __future__ import annotations

import random
from dataclasses import replace

from node_bench import Heard, NodeBench, nid

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.config.configuration import CERTIFICATE_KINDS
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.topology.chord.ring import hash_name, is_between
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchReq,
    StoreAns,
    StoredData,
    StoredDataSpecifier,
    StoreKindData,
    StoreKindResponse,
    StoreReq,
)
from p2psip.reload.wire.usages.sip_registration import SipRegistration
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import EPOCH_S

KIND = 1
LIFETIME_S = 1800
NOW_MS = int(EPOCH_S * 1000)


def user(number: int) -> SimulatedIdentity:
    """Somebody with a line."""
    node_id = NodeId(random.Random(f"line {number}").randbytes(16))
    return SimulatedIdentity(f"user{number}@sim.example", node_id)


def resource_of(who: SimulatedIdentity) -> ResourceId:
    """Where its registration is."""
    return hash_name(who.user.encode())


def users_between(low: int, high: int, count: int) -> list[SimulatedIdentity]:
    """Users whose registrations lie in (low, high]."""
    found = (who for who in map(user, range(100_000)) if is_between(resource_of(who), nid(low), nid(high)))
    return [next(found) for _ in range(count)]


def value_of(who: SimulatedIdentity, time_ms: int = NOW_MS, lifetime_s: int = LIFETIME_S) -> StoredData:
    """Its registration, signed."""
    value = DataValue(True, SipRegistration.route((Destination.node(nid(50)),)).encode())
    entry = DictionaryEntry(bytes(who.node_id), value)
    return sign_value(who, resource_of(who), KIND, entry, time_ms, lifetime_s)


def store_request(who: SimulatedIdentity, replica: int = 0, time_ms: int = NOW_MS, generation: int = 1) -> StoreReq:
    """Its registration, to be stored."""
    data = StoreKindData(KIND, generation if replica else 0, (value_of(who, time_ms),))
    return StoreReq(resource_of(who), replica, (data,))


def fetch_request(who: SimulatedIdentity) -> FetchReq:
    """All values at its resource."""
    return FetchReq(resource_of(who), (StoredDataSpecifier(KIND, 0, DictionarySpecifier(())),))


WHO, OTHER, *MANY = users_between(50, 100, 60)
"""Node 100 is responsible for them, 50 being its predecessor."""


class Bench(NodeBench):
    """Node 100 in a ring with 50, 150, 160 and 170, where users store."""

    def __init__(self, *places: int, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.become_ring(*(places or (150, 50, 160, 170)))
        self.run_for(0.1)

    def store_as(self, who: SimulatedIdentity, by: int = 50, time_ms: int = NOW_MS) -> None:
        """The user's own Store comes over the link to `by`."""
        request = store_request(who, time_ms=time_ms)
        where = [Destination.resource(request.resource)]
        self.send(by, MessageCode.STORE_REQ, request, signer=who, destinations=where)

    def pass_on(
        self, who: SimulatedIdentity, by: int, replica: int = 1, time_ms: int = NOW_MS, generation: int = 1
    ) -> None:
        """The peer `by` passes the user's value on to us."""
        request = store_request(who, replica, time_ms, generation)
        self.send(by, MessageCode.STORE_REQ, request, certificates=who.certificates)

    def stores_heard(self, place: int) -> list[Heard]:
        """What the node stores at `place`."""
        return self.heard(place, MessageCode.STORE_REQ)

    def accept(self, place: int, request: Heard) -> None:
        """`place` took what it was given."""
        answer = StoreAns((StoreKindResponse(KIND, 1, ()),))
        self.answer(place, request, MessageCode.STORE_ANS, answer)

    def refuse(self, place: int, request: Heard, code: ErrorCode) -> None:
        """`place` did not."""
        self.answer(place, request, MessageCode.ERROR, ErrorResponse.of(code, ""))

    def have_certificate_store(self) -> None:
        """From now on the overlay has the Kinds of section 8."""
        rules = self.node.reader.rules
        kinds = {**rules.kinds, **{kind.kind_id: kind for kind in CERTIFICATE_KINDS}}
        self.node._data.use_rules(replace(rules, kinds=kinds), self.now)

    def holds(self, who: SimulatedIdentity) -> bool:
        """True if the user's value is on the disk."""
        return bool(self.store.records(resource_of(who), KIND))


def keys_of(message: Heard) -> list[tuple[ResourceId, int]]:
    """Which resource a Store is for, as which replica."""
    assert isinstance(message.body, StoreReq)
    return [(message.body.resource, message.body.replica_number)]
