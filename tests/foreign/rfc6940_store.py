"""What a peer keeps for others, from RFC 6940 alone (sections 7.2, 7.3, 7.4.1, 7.4.2)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import rfc6940_bytes as wire
from rfc6940_identity import Configuration, NotBelieved, Trust, data_prefix

ENTRIES_MAX = 1000


class Rejected(Exception):
    """The error that answers a request."""

    def __init__(self, code: int, info: bytes = b"") -> None:
        super().__init__(f"error {code:#x}: {info!r}")
        self.code = code
        self.info = info


def verified(
    trust: Trust, resource: bytes, kind: int, stored: wire.Stored, certificates: Sequence[bytes]
) -> tuple[bytes, str]:
    """Node-ID and user name of who signed a value; NotBelieved if it does not hold."""
    prefix = data_prefix(resource, kind, stored.storage_time, stored.value)
    return trust.author(prefix, stored.signature, certificates)


@dataclass
class _Held:
    stored: wire.Stored
    came_at: float

    def aged(self) -> wire.Stored:
        """7.4.1.1: "it MUST adjust the lifetime value downward to reflect the amount of time the value was stored"."""
        left_s = max(0, self.stored.lifetime - int(time.monotonic() - self.came_at))
        return replace(self.stored, lifetime=left_s)


@dataclass
class _KindState:
    generation: int = 0
    values: dict[int | bytes | None, _Held] = field(default_factory=dict)


class Store:
    """The values that this peer holds, by Resource-ID and Kind, with the certificates of their signers."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._states: dict[tuple[bytes, int], _KindState] = {}
        self._certificates: dict[bytes, None] = {}

    def resources(self) -> set[bytes]:
        """Where something is stored."""
        return {resource for resource, _ in self._states}

    @property
    def certificates(self) -> list[bytes]:
        """6.3.4: "a peer storing data is obligated to retain certificates for the data that it holds"."""
        return list(self._certificates)

    def put(
        self, resource: bytes, replica: int, kinds: Sequence[wire.KindData], certificates: Sequence[bytes], sender: str
    ) -> list[tuple[int, int]]:
        """Check all, then store all; the generation counters. Raises Rejected."""
        changes = [(kind, self._state(resource, kind.kind)) for kind in kinds]
        for kind, state in changes:
            if replica == 0 and kind.generation not in (0, state.generation):
                current = [wire.StoreKindAnswer(each.kind, now.generation, []) for each, now in changes]
                raise Rejected(wire.GENERATION_TOO_LOW, wire.store_answer(current))
            for stored in kind.values:
                self._check(resource, kind.kind, stored, state, certificates, sender if replica == 0 else None)
        for kind, state in changes:
            for stored in kind.values:
                self._place(state, stored)
            state.generation = state.generation + 1 if replica == 0 else max(kind.generation, 1)
            # Only now: what was refused leaves no counter of 0 behind, which "replica Stores MUST NOT use".
            self._states[resource, kind.kind] = state
        self._certificates |= dict.fromkeys(certificates)
        return [(kind.kind, state.generation) for kind, state in changes]

    def get(self, resource: bytes, specifier: wire.Specifier) -> wire.KindData:
        """What a Fetch asks for; gaps are "synthetic" values without a signature."""
        state = self._state(resource, specifier.kind)
        if specifier.generation and specifier.generation == state.generation:
            return wire.KindData(specifier.kind, state.generation)
        model = self.configuration.models[specifier.kind]
        values = [
            state.values[slot].aged() if slot in state.values else _nonexistent(slot)
            for slot in _slots(model, state.values, specifier.wanted)
        ]
        return wire.KindData(specifier.kind, state.generation, values)

    def all_kinds(self, resource: bytes) -> list[wire.KindData]:
        """Everything at a resource, as another peer is to have it."""
        return [
            wire.KindData(kind, state.generation, [held.aged() for held in state.values.values()])
            for (where, kind), state in self._states.items()
            if where == resource
        ]

    def _state(self, resource: bytes, kind: int) -> _KindState:
        return self._states.get((resource, kind), _KindState())

    def _check(
        self,
        resource: bytes,
        kind: int,
        stored: wire.Stored,
        state: _KindState,
        certificates: Sequence[bytes],
        sender: str | None,
    ) -> None:
        try:
            node_id, user = verified(self.configuration.trust, resource, kind, stored, certificates)
        except NotBelieved as error:
            raise Rejected(wire.FORBIDDEN, str(error).encode()) from None
        rule = self.configuration.kinds[kind]
        if not _may_write(rule.access, rule.max_node_multiple, resource, stored.value.slot, node_id, user):
            raise Rejected(wire.FORBIDDEN, rule.access.encode())
        if sender is not None and sender != user:
            raise Rejected(wire.FORBIDDEN, b"the StoreReq is another's")
        if len(stored.value.data) > rule.max_size:
            raise Rejected(wire.DATA_TOO_LARGE)
        old = state.values.get(stored.value.slot)
        if sender is not None and old is not None and stored.storage_time <= old.stored.storage_time:
            raise Rejected(wire.DATA_TOO_OLD)

    def _place(self, state: _KindState, stored: wire.Stored) -> None:
        slot = stored.value.slot
        if slot == wire.APPEND:
            slot = max((index for index in state.values if isinstance(index, int)), default=-1) + 1
            stored = replace(stored, value=replace(stored.value, slot=slot))
        old = state.values.get(slot)
        if old is None or old.stored.storage_time <= stored.storage_time:
            state.values[slot] = _Held(stored, time.monotonic())


def _nonexistent(slot: int | bytes | None) -> wire.Stored:
    return wire.Stored(0, 0, wire.Value(b"", exists=False, slot=slot), wire.NO_SIGNATURE)


def _slots(model: str, held: Iterable[int | bytes | None], wanted: bytes | None) -> list[int | bytes | None]:
    if model == wire.SINGLE or wanted is None:
        return [None]
    if model == wire.DICTIONARY:
        keys = wire.whole(wanted, lambda r: wire.many(r, lambda k: k.vector(2)))
        return list(keys or held)
    end = max((index for index in held if isinstance(index, int)), default=0)
    pairs = wire.whole(wanted, lambda r: wire.many(r, lambda p: (p.number(4), p.number(4))))
    # "0xffffffff is used to indicate the final element."
    numbered = [tuple(end if index == wire.LAST else index for index in pair) for pair in pairs]
    return [index for first, last in numbered for index in range(first, min(last, first + ENTRIES_MAX) + 1)]


def _may_write(
    access: str, node_multiple: int, resource: bytes, slot: int | bytes | None, node_id: bytes, user: str
) -> bool:
    """7.3.1 to 7.3.4."""
    is_user = wire.resource_id(user.encode()) == resource
    match access:
        case "USER-MATCH":
            return is_user
        case "NODE-MATCH":
            return wire.resource_id(node_id) == resource
        case "USER-NODE-MATCH":
            return is_user and slot == node_id
        case _:
            return any(wire.resource_id(node_id + wire.number(i, 1)) == resource for i in range(node_multiple + 1))
