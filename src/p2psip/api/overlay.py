"""An overlay as an application sees it: store, fetch, stat, find, ping, app_attach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar, overload

from p2psip.api.app_streams import Stream
from p2psip.api.client_session import ClientSession
from p2psip.api.kinds import AnyKind, ArrayKind, DictionaryKind, Name, Receipt, SingleKind, specifier, value_at
from p2psip.api.services import Services
from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.verified import Value, Verified, read_answer, read_find
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import (
    ArrayEntryMeta,
    DictionaryEntryMeta,
    FetchAns,
    FetchReq,
    FindAns,
    FindReq,
    MetaData,
    StatAns,
    StatKindResponse,
    StatReq,
    StoreAns,
    StoredMetaData,
    StoreKindData,
    StoreReq,
)

T = TypeVar("T")

LIFETIME_S = 86400


@dataclass(frozen=True, slots=True)
class Pong:
    """Who answered a Ping, after how many milliseconds, over how many hops."""

    node: NodeId
    user: str
    rtt_ms: float
    hops: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """About a value (RFC 6940 section 7.4.3), as the peer says that keeps it; a value is signed, this is not."""

    length: int
    digest: bytes
    storage_time_ms: int
    lifetime_s: int


class Overlay:
    """What `p2psip.connect` gives. Methods raise RequestFailed with its causes, or RequestRefused with the code."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self.services = Services(session)

    @property
    def name(self) -> str:
        """The overlay's name."""
        return self._session.configuration.instance_name

    @property
    def node_id(self) -> NodeId:
        """By which others reach this application."""
        return self._session.node.node_id

    @property
    def user(self) -> str:
        """The user name in this application's certificate."""
        return self._session.node.user

    def resource(self, name: Name) -> ResourceId:
        """Where the values of a Resource Name are; a ResourceId is taken as it is."""
        if isinstance(name, ResourceId):
            return name
        return self._session.node.hash_name(name.encode() if isinstance(name, str) else name)

    # Data

    async def store(
        self,
        name: Name,
        kind: AnyKind,
        data: bytes,
        *,
        key: bytes | None = None,
        index: int | None = None,
        lifetime_s: int = LIFETIME_S,
        generation: int = 0,
    ) -> Receipt:
        """Store a value, signed by this application.

        In a dictionary it goes under `key`, which is our own Node-ID if none is given; in an array to `index`, or to
        the end. With a `generation` it is stored only if nobody has stored anything since that one was fetched
        (RequestRefused with GENERATION_COUNTER_TOO_LOW otherwise).
        """
        return await self._store(name, kind, data, key, index, lifetime_s, generation)

    async def remove(
        self,
        name: Name,
        kind: AnyKind,
        *,
        key: bytes | None = None,
        index: int | None = None,
        lifetime_s: int | None = None,
    ) -> Receipt:
        """Store in the place of a value that there is none.

        That is to live as long as the value might, wherever it is still kept; without `lifetime_s` whoever keeps the
        value is asked how long that is.
        """
        value_at(kind, None, key, index, self.node_id)
        if lifetime_s is None:
            lifetime_s = await self._lifetime_left_s(name, kind, key, index)
        return await self._store(name, kind, None, key, index, lifetime_s, 0)

    @overload
    async def fetch(self, name: Name, kind: SingleKind) -> Value | None: ...

    @overload
    async def fetch(
        self, name: Name, kind: ArrayKind, *, ranges: Sequence[tuple[int, int]] = ()
    ) -> dict[int, Value]: ...

    @overload
    async def fetch(self, name: Name, kind: DictionaryKind, *, keys: Sequence[bytes] = ()) -> dict[bytes, Value]: ...

    async def fetch(
        self, name: Name, kind: AnyKind, *, keys: Sequence[bytes] = (), ranges: Sequence[tuple[int, int]] = ()
    ) -> Value | dict[int, Value] | dict[bytes, Value] | None:
        """The values that are there, each by a signer who may write it there. What cannot be proved is left out."""
        kind_id = kind.kind_id(self._session.configuration)
        verified = await self._fetch(name, kind, kind_id, keys, ranges)
        if isinstance(kind, SingleKind):
            return next(iter(verified.of(kind_id)), None)
        return {value.key: value for value in verified.of(kind_id)}  # type: ignore[return-value]

    @overload
    async def stat(self, name: Name, kind: SingleKind) -> Metadata | None: ...

    @overload
    async def stat(
        self, name: Name, kind: ArrayKind, *, ranges: Sequence[tuple[int, int]] = ()
    ) -> dict[int, Metadata]: ...

    @overload
    async def stat(self, name: Name, kind: DictionaryKind, *, keys: Sequence[bytes] = ()) -> dict[bytes, Metadata]: ...

    async def stat(
        self, name: Name, kind: AnyKind, *, keys: Sequence[bytes] = (), ranges: Sequence[tuple[int, int]] = ()
    ) -> Metadata | dict[int, Metadata] | dict[bytes, Metadata] | None:
        """Lengths, digests and ages in place of the values."""
        found = await self._stat(name, kind, keys, ranges)
        return found.get(None) if isinstance(kind, SingleKind) else found  # type: ignore[return-value]

    async def find(self, name: Name, *kinds: AnyKind) -> dict[AnyKind, ResourceId | None]:
        """For each Kind the closest resource at or after this one of which the responsible peer keeps values."""
        numbers = {kind.kind_id(self._session.configuration): kind for kind in kinds}
        request = FindReq(self.resource(name), tuple(numbers))
        answer = await self._session.request(_at_resource(MessageCode.FIND_REQ, request))
        closest = read_find(request, _body(answer, FindAns))
        return {kind: closest.get(number) for number, kind in numbers.items()}

    async def _stat(
        self, name: Name, kind: AnyKind, keys: Sequence[bytes], ranges: Sequence[tuple[int, int]]
    ) -> Mapping[int | bytes | None, Metadata]:
        kind_id = kind.kind_id(self._session.configuration)
        request = StatReq(self.resource(name), (specifier(kind, kind_id, keys, ranges),))
        answer = await self._session.request(_at_resource(MessageCode.STAT_REQ, request))
        return _metadata(_body(answer, StatAns), kind_id)

    async def _lifetime_left_s(self, name: Name, kind: AnyKind, key: bytes | None, index: int | None) -> int:
        """7.4.1.3: "The owner SHOULD use a lifetime for the nonexistent value that is at least as long as the remainder
        of the lifetime of the value it is replacing".
        """
        keys = [bytes(self.node_id if key is None else key)] if isinstance(kind, DictionaryKind) else []
        found = await self._stat(name, kind, keys, [] if index is None else [(index, index)])
        return max([LIFETIME_S, *(about.lifetime_s for about in found.values())])

    async def _store(
        self,
        name: Name,
        kind: AnyKind,
        data: bytes | None,
        key: bytes | None,
        index: int | None,
        lifetime_s: int,
        generation: int,
    ) -> Receipt:
        kind_id = kind.kind_id(self._session.configuration)
        resource = self.resource(name)
        value = value_at(kind, data, key, index, self.node_id)
        identity, node = self._session.identity, self._session.node
        stored_ms = 0

        def begin(context: object, now: float) -> None:
            nonlocal stored_ms
            issued = node.issue_storage_time(identity.node_id, now)
            stored_ms = issued.storage_time_ms
            signed = sign_value(identity, resource, kind_id, value, stored_ms, lifetime_s)
            request = StoreReq(resource, 0, (StoreKindData(kind_id, generation, (signed,)),))
            node.store(identity, request, context, now, after=issued.after)

        try:
            answer = await self._session.run(begin)
        except Rejection as error:
            raise RequestFailed("not stored", (Cause("this node", str(error), 0.0),)) from None
        response = next((entry for entry in _body(answer, StoreAns).kind_responses if entry.kind == kind_id), None)
        if response is None:
            raise _nonsense(answer)
        return Receipt(resource, stored_ms, response.generation_counter, answer.signer.node_id, response.replicas)

    async def _fetch(
        self, name: Name, kind: AnyKind, kind_id: int, keys: Sequence[bytes], ranges: Sequence[tuple[int, int]]
    ) -> Verified:
        request = FetchReq(self.resource(name), (specifier(kind, kind_id, keys, ranges),))
        answer = await self._session.request(_at_resource(MessageCode.FETCH_REQ, request))
        body, reader = _body(answer, FetchAns), self._session.node.reader
        return read_answer(request.resource, body, answer.certificates, reader, self._session.now())

    # Nodes

    async def ping(self, target: NodeId | Name, *, via: Sequence[NodeId] = ()) -> Pong:
        """Ask a node, or whoever is responsible for a name, for a sign of life (6.5.3)."""
        last = Destination.node(target) if isinstance(target, NodeId) else Destination.resource(self.resource(target))
        route = [*map(Destination.node, via), last]
        answer = await self._session.request(OverlayRequest(route, MessageCode.PING_REQ, PingReq()))
        _body(answer, PingAns)
        return Pong(answer.signer.node_id, answer.signer.user, answer.rtt_s * 1000, answer.hops)

    async def app_attach(self, node: NodeId, application: int, *, via: Sequence[NodeId] = ()) -> Stream:
        """A connection with `node`, if `application` (a port number, 14.5) runs there (6.5.2).

        `via` is the way to a node that its Node-ID alone does not lead to.
        """
        if node == self.node_id:
            raise LocalMisuse("app_attach goes to another node")
        if not 0 < application < 1 << 16:
            raise LocalMisuse("an application is a port number")
        return await self._session.app_attach([*map(Destination.node, via), Destination.node(node)], application)

    @asynccontextmanager
    async def listen(self, application: int) -> AsyncIterator[AsyncIterator[Stream]]:
        """While this lasts, other nodes may connect to us for `application`; gives their streams, one by one.

        One that nobody takes while BACKLOG others wait is closed.
        """
        if not 0 < application < 1 << 16:
            raise LocalMisuse("an application is a port number")
        with self._session.listening(application) as waiting:
            yield _each(waiting)


async def _each(waiting: asyncio.Queue[Stream]) -> AsyncIterator[Stream]:
    while True:
        yield await waiting.get()


def _at_resource(code: MessageCode, body: FetchReq | StatReq | FindReq) -> OverlayRequest:
    return OverlayRequest([Destination.resource(body.resource)], code, body)


def _body(answer: Answer, wanted: type[T]) -> T:
    if not isinstance(answer.body, wanted):
        raise _nonsense(answer)
    return answer.body


def _nonsense(answer: Answer) -> RequestFailed:
    who = f"peer {answer.signer.node_id.short}"
    return RequestFailed("the answer cannot be read", (Cause(who, type(answer.body).__name__, 0.0),))


def _metadata(answer: StatAns, kind_id: int) -> Mapping[int | bytes | None, Metadata]:
    found: dict[int | bytes | None, Metadata] = {}
    for response in answer.kind_responses:
        if isinstance(response, StatKindResponse) and response.kind == kind_id:
            found.update(filter(None, map(_one_metadata, response.values)))
    return found


def _one_metadata(stored: StoredMetaData) -> tuple[int | bytes | None, Metadata] | None:
    key: int | bytes | None = None
    match stored.metadata:
        case ArrayEntryMeta(key, about) | DictionaryEntryMeta(key, about):
            pass
        case MetaData() as about:
            pass
    if not about.exists:
        return None
    return key, Metadata(about.value_length, about.hash_value, stored.storage_time, stored.lifetime)
