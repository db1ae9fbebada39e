"""Services of members: announced, refreshed, withdrawn, found (RFC 7374 section 4), over a node's data.

Theory of operation. A walk (usages/redir.py) says what it wants from the overlay; here each wish is a Fetch or a Store
of the node's, and `handle_done` lets the walk go on. A search for several providers is one lookup after the other, each
beginning behind the provider before, round the ring; what one of them has fetched, the next one need not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from p2psip.base.effects import Effect
from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.reload.node.limits import SEARCHES_MAX, SERVICES_MAX
from p2psip.reload.node.node import Node
from p2psip.reload.storage.verified import read_answer
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.redir import (
    LIFETIME_S,
    REFRESH_AT,
    START_LEVEL,
    Announcement,
    FetchNode,
    LookupWalk,
    Provider,
    Providers,
    RegisterWalk,
    StartLevel,
    StoreAt,
    beyond,
    check_name,
    fetch_request,
    lookup,
    read_providers,
    register,
    remove_request,
    require_discovery,
    resource_of,
    span,
    store_request,
)
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.storage_messages import FetchAns
from p2psip.reload.wire.usages.redir import ServiceOffer, Tree

WANT_MAX = 100
RETRY_FIRST_S = 5.0
RETRY_MAX_S = 60.0
LOAD_STEP = 20
"""Percent of the capacity: a load that has changed by so much since it was told is told anew."""

LOAD_AGAIN_S = 15.0
"""Not more often than this: each time costs a walk, and who chooses reads once a minute."""

NO_TREES = "the overlay has no service discovery any more"


@dataclass(frozen=True, slots=True)
class ServiceRegistered(Effect):
    """Our announcement of a service is in the overlay, anew; in so many nodes of its tree."""

    name: str
    places: int


@dataclass(frozen=True, slots=True)
class ServiceFailed(Effect):
    """Our announcement of a service could not be stored; it is tried again."""

    name: str
    error: RequestFailed


@dataclass(frozen=True, slots=True)
class ServicesWithdrawn(Effect):
    """All announcements that were taken back are, or could not be."""


@dataclass(frozen=True, slots=True)
class ServicesFound(Effect):
    """A search is over, of which `context` was given. `providers` come in the order of the ring from where it began."""

    context: object
    providers: tuple[Provider, ...]
    error: RequestFailed | None


@dataclass(slots=True)
class _Registration:
    """A service of our own: what we say of it, and where that is stored."""

    announced: Announcement
    walk: RegisterWalk | None = None
    places: set[StoreAt] = field(default_factory=set)
    retry_s: float = RETRY_FIRST_S
    told_load: int = 0
    """As it stands in the overlay, or will by the walk under way."""
    told_at: float = 0.0


@dataclass(slots=True)
class _Search:
    """A search under way: the walk of the present lookup, and what was fetched so far."""

    context: object
    name: str
    near: bytes
    want: int
    walk: LookupWalk
    key: bytes
    level: int = START_LEVEL
    has_wrapped: bool = False
    seen: Providers = field(default_factory=dict)
    fetched: dict[FetchNode, Providers] = field(default_factory=dict)
    found: dict[NodeId, Provider] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """A request of a walk; of none, where a record is taken back."""

    owner: _Registration | _Search | None
    step: FetchNode | StoreAt


class ServiceDiscovery:
    """The services that one node announces, and its searches."""

    def __init__(self, node: Node, queue: TimerQueue | None = None) -> None:
        self._effects: list[Effect] = []
        self._node = node
        self._registrations: dict[str, _Registration] = {}
        self._withdrawing = 0
        self._searches = 0
        self._start = StartLevel()
        self._timers: Timers[str] = Timers(queue)

    @property
    def is_withdrawing(self) -> bool:
        """True while records are being taken back."""
        return self._withdrawing > 0

    @property
    def names(self) -> list[str]:
        """The services that we announce."""
        return sorted(self._registrations)

    @property
    def announcements(self) -> list[Announcement]:
        """What we say of them."""
        return [self._registrations[name].announced for name in self.names]

    # Commands

    def register(
        self, name: str, now: float, *, capacity: int = 0, load: int = 0, policy: str = "", lifetime_s: int = LIFETIME_S
    ) -> None:
        """Announce a service, or announce it with other words; until `unregister`. Raises LocalMisuse."""
        check_name(name)
        configuration = self._node.configuration
        require_discovery(configuration)
        if not configuration.permits_service(name, self._node.user):
            raise LocalMisuse(f"{configuration.instance_name} does not permit {self._node.user} to announce {name!r}")
        if len(self._registrations) >= SERVICES_MAX and name not in self._registrations:
            raise LocalMisuse(f"one member announces at most {SERVICES_MAX} services")
        if not 0 <= load <= 100:
            raise LocalMisuse("the load of a service is in percent of its capacity")
        try:
            offer = ServiceOffer(capacity, load, 0, policy.encode())
        except ValueError as error:
            raise LocalMisuse(f"the offer of {name!r}: {error}") from None
        route = (Destination.node(self._node.node_id),)
        known = self._registrations.get(name)
        announced = Announcement(name, route, offer, lifetime_s)
        if known is None:
            self._registrations[name] = _Registration(announced)
        else:
            known.announced = announced
        self._timers.set(name, now, "announce the service")

    def tell_load(self, name: str, load: int, now: float) -> None:
        """So much of the capacity of a service of ours is taken, in percent; nothing happens if we announce none.

        Others are told where that is much more or less than they have been told, or all, and not too often.
        """
        registration = self._registrations.get(name)
        if registration is None or (offer := registration.announced.offer) is None or offer.load == load:
            return
        registration.announced = replace(registration.announced, offer=replace(offer, load=load))
        told = registration.told_load
        if abs(load - told) >= LOAD_STEP or (load >= 100) != (told >= 100):
            at = max(now, registration.told_at + LOAD_AGAIN_S)
            self._timers.set(name, at, "tell how much of the service is taken")

    def unregister(self, name: str, now: float) -> None:
        """4.6: take the announcement back."""
        registration = self._registrations.pop(name, None)
        self._timers.cancel(name)
        if registration is not None:
            for place in sorted(registration.places, key=lambda place: place.level):
                self._store(None, registration.announced, place, now)

    def unregister_all(self, now: float) -> None:
        """4.6: "Before leaving the RELOAD Overlay Instance"."""
        for name in self.names:
            self.unregister(name, now)

    def find(self, name: str, near: bytes, want: int, context: object, now: float) -> None:
        """Search the `want` providers that come first at or after `near` on the ring; `ServicesFound(context, ...)`
        follows. Raises LocalMisuse.
        """
        check_name(name)
        tree = require_discovery(self._node.configuration)
        if not 1 <= want <= WANT_MAX:
            raise LocalMisuse(f"want 1 to {WANT_MAX} providers")
        seen: Providers = {}
        walk = lookup(tree, near, self._start.level, seen)
        if self._searches >= SEARCHES_MAX:
            self._effects.append(ServicesFound(context, (), RequestFailed("too many searches under way")))
        else:
            self._searches += 1
            self._go_on(_Search(context, name, near, want, walk, near, seen=seen), None, now)

    def joined(self, now: float) -> None:
        """The overlay can be reached: what has waited for that is announced at once."""
        for name, registration in self._registrations.items():
            if registration.walk is None and not registration.places:
                registration.retry_s = RETRY_FIRST_S
                self._timers.set(name, now, "announce the service")

    # Time and answers

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """4.4: "Every service provider MUST repeat the entire registration process periodically"."""
        for name in self._timers.pop_due(now):
            registration = self._registrations[name]
            if registration.walk is not None:
                self._timers.set(name, now + RETRY_FIRST_S, "the walk before is not over")
            elif not self._node.is_connected:
                self._retry(registration, now)
            elif (tree := self._tree()) is None:
                self._failed(registration, RequestFailed(NO_TREES), now)
            else:
                registration.walk = register(tree, self._node.node_id, START_LEVEL)
                offer = registration.announced.offer
                registration.told_load, registration.told_at = 0 if offer is None else offer.load, now
                self._go_on(registration, None, now)

    def drain(self) -> list[Effect]:
        """What became of announcements and searches since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def handle_done(self, request: ServiceContext, result: Answer | RequestFailed, now: float) -> None:
        """The end of a request of a walk."""
        owner = request.owner
        if owner is None:
            self._withdrawing -= 1
            if not self.is_withdrawing:
                self._effects.append(ServicesWithdrawn())
            return
        if isinstance(owner, _Registration) and owner.walk is None:
            return
        there = self._providers(owner, request.step, result, now)
        if there is None:
            assert isinstance(result, RequestFailed), "an answer can be read"
            self._failed(owner, result, now)
        else:
            if isinstance(owner, _Search) and isinstance(request.step, FetchNode):
                owner.fetched[request.step] = there
            elif isinstance(owner, _Registration) and isinstance(request.step, StoreAt):
                owner.places.add(request.step)
            self._go_on(owner, there, now)

    def _providers(
        self, owner: _Registration | _Search, step: FetchNode | StoreAt, result: Answer | RequestFailed, now: float
    ) -> Providers | None:
        """What a walk is to be sent; None if its request failed."""
        if isinstance(result, RequestFailed):
            return None
        if isinstance(step, StoreAt) or not isinstance(result.body, FetchAns):
            return {}
        name = owner.name if isinstance(owner, _Search) else owner.announced.name
        resource, reader = resource_of(name, step.level, step.node, self._node.hash_name), self._node.reader
        verified = read_answer(resource, result.body, result.certificates, reader, now)
        return read_providers(verified, reader.wall.date_ms(now) if reader.wall.is_trusted else None)

    # Walks

    def _go_on(self, owner: _Registration | _Search, there: Providers | None, now: float) -> None:
        """Let a walk take its next step; `there` is None at its beginning."""
        walk = owner.walk
        assert walk is not None, "it is under way"
        try:
            step = next(walk) if there is None else walk.send(there)
            while isinstance(owner, _Search) and isinstance(step, FetchNode) and step in owner.fetched:
                step = walk.send(owner.fetched[step])
        except StopIteration as end:
            if isinstance(owner, _Search):
                self._looked_up(owner, end.value, now)
            else:
                self._registered(owner, now)
            return
        if isinstance(step, StoreAt):
            assert isinstance(owner, _Registration), "a lookup stores nothing"
            self._store(owner, owner.announced, step, now)
        else:
            name = owner.name if isinstance(owner, _Search) else owner.announced.name
            if isinstance(owner, _Search):
                owner.level = step.level
            self._node.fetch(fetch_request(name, step, self._node.hash_name), ServiceContext(owner, step), now)

    def _store(self, owner: _Registration | None, announced: Announcement, place: StoreAt, now: float) -> None:
        """Store our record, or take it back."""
        node, identity = self._node, self._node.identity
        try:
            issued = node.issue_storage_time(identity.node_id, now)
        except Rejection as error:
            if owner is not None:
                self._failed(owner, RequestFailed("not stored", (Cause("this node", str(error), now),)), now)
            return
        if owner is None:
            self._withdrawing += 1
            request = remove_request(identity, announced, place, issued.storage_time_ms, self._node.hash_name)
        else:
            expires_ms = issued.storage_time_ms + 1000 * announced.lifetime_s
            told = announced.until(expires_ms)
            request = store_request(identity, told, place, issued.storage_time_ms, self._node.hash_name)
        node.store(identity, request, ServiceContext(owner, place), now, after=issued.after)

    def _registered(self, registration: _Registration, now: float) -> None:
        registration.walk, registration.retry_s = None, RETRY_FIRST_S
        announced = registration.announced
        if self._registrations.get(announced.name) is not registration:
            # It was withdrawn while the walk went on: what it has stored meanwhile goes as well.
            for place in registration.places:
                self._store(None, announced, place, now)
            return
        self._effects.append(ServiceRegistered(announced.name, len(registration.places)))
        if announced.name not in self._timers:
            self._timers.set(announced.name, now + REFRESH_AT * announced.lifetime_s, "refresh the announcement")

    def _looked_up(self, search: _Search, provider: Provider | None, now: float) -> None:
        """One lookup of a search is over: begin the next one behind what it found."""
        self._start.ended_at(search.level)
        if provider is None and not search.has_wrapped:
            # Nobody up to the end of the numbers: go on where they begin.
            search.has_wrapped, search.key = True, bytes(len(search.near))
        elif provider is None or provider.node in search.found or not self._is_on_the_way(search, provider):
            self._end(search, None)
            return
        else:
            search.found[provider.node] = provider
            search.key = beyond(provider.node)
            search.has_wrapped = search.has_wrapped or not any(search.key)
        if len(search.found) >= search.want:
            self._end(search, None)
            return
        tree = self._tree()
        if tree is None:
            self._end(search, RequestFailed(NO_TREES))
            return
        search.walk = lookup(tree, search.key, self._start.level, search.seen)
        self._go_on(search, None, now)

    def _tree(self) -> Tree | None:
        """The trees of the overlay; None if a new configuration has taken the Kind away while we were at work."""
        try:
            return require_discovery(self._node.configuration)
        except LocalMisuse:
            return None

    @staticmethod
    def _is_on_the_way(search: _Search, provider: Provider) -> bool:
        """False for one beyond where the search began, once round."""
        latest = next(reversed(search.found), None)
        return latest is None or span(search.near, provider.node) > span(search.near, latest)

    def _end(self, search: _Search, error: RequestFailed | None) -> None:
        self._searches -= 1
        self._effects.append(ServicesFound(search.context, tuple(search.found.values()), error))

    def _failed(self, owner: _Registration | _Search, error: RequestFailed, now: float) -> None:
        if isinstance(owner, _Search):
            self._end(owner, error)
            return
        owner.walk = None
        if self._registrations.get(owner.announced.name) is owner:
            self._effects.append(ServiceFailed(owner.announced.name, error))
            self._retry(owner, now)

    def _retry(self, registration: _Registration, now: float) -> None:
        self._timers.set(registration.announced.name, now + registration.retry_s, "announce the service again")
        registration.retry_s = min(RETRY_MAX_S, 2 * registration.retry_s)
