"""ReDiR: finding members that provide a service (RFC 7374), on the overlay's side.

Theory of operation. Each service has a tree whose nodes are resources of the overlay; a node holds, in a dictionary,
some of the providers whose Node-IDs fall into its part of the ring. A walk through the tree is a generator: it yields
what is to be fetched or stored, is sent what was there, and returns what came of it. It knows neither time nor sockets.

    FetchNode(level, node) -> the providers there        StoreAt(level, node) -> None
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.roles import Identity, Signer
from p2psip.reload.storage.access import Hash, WantedWrite
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.verified import Verified
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.kinds import REDIR
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchReq,
    StoredData,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.redir import (
    RedirServiceProvider,
    RedirServiceProviderExtType,
    ServiceOffer,
    Tree,
    tree_node_name,
)

START_LEVEL = 2
"""4.2: "It is RECOMMENDED that Lstart is set to 2"."""

LOOKUPS_REMEMBERED = 16
"""4.2: "record the levels at which the last 16 service lookups completed and take Lstart to be the mode"."""

LIFETIME_S = 600
"""4.4: "a default value of 10 minutes is RECOMMENDED"."""

AGE_MAX_S = 24 * 3600
"""By a trusted date no record counts that was signed longer ago than this, unless it says itself how long it holds."""

REFRESH_AT = 0.9
"""4.4: "when 90% of the refresh interval has passed"."""

NAME_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class Provider:
    """A member that provides a service: how to reach it, and what it says of itself, if it does."""

    node: NodeId
    user: str
    destination_list: tuple[Destination | CompressedDestination, ...]
    offer: ServiceOffer | None = None


@dataclass(frozen=True, slots=True)
class FetchNode:
    """Fetch all providers in a tree node; the walk is sent them."""

    level: int
    node: int


@dataclass(frozen=True, slots=True)
class StoreAt:
    """Store our own record in a tree node."""

    level: int
    node: int


Providers = dict[NodeId, Provider]
RegisterWalk = Generator[FetchNode | StoreAt, Providers, int]
LookupWalk = Generator[FetchNode, Providers, Provider | None]


def register(tree: Tree, own: NodeId, start: int) -> RegisterWalk:
    """4.3: store our record in the tree nodes that it belongs in. Returns the level at which the walk ended."""
    # "2. Node n MUST send a RELOAD Fetch request to fetch the contents of the tree node responsible for
    # I(level,n.id)."
    first = yield FetchNode(start, tree.node(start, own))
    # "3. Node n MUST send a RELOAD Store request to add its RedirServiceProvider entry"; "always [...] regardless of
    # the contents of the dictionary."
    yield StoreAt(start, tree.node(start, own))
    # "4. If n.id is the lowest or highest Node-ID stored in the tree node responsible for I(Lstart,n.id), node n MUST
    # reduce the current level by one"; then "until it reaches either the root of the tree or a level at which n.id is
    # not the lowest or highest Node-ID in the interval I(level,n.id)."
    level, goes_on = start, _is_extreme(own, first)
    while goes_on and level > 0:
        level -= 1
        there = yield FetchNode(level, tree.node(level, own))
        yield StoreAt(level, tree.node(level, own))
        goes_on = _is_extreme(own, _in_interval(tree, level, own, there))
    # "5. Node n MUST also perform a downward walk"; it "MUST end this downward walk as soon as it reaches a level l at
    # which it is the only service provider in its interval I(l,n.id)."
    level, here = start, _in_interval(tree, start, own, first)
    while set(here) - {own} and tree.has_level(level + 1):
        level += 1
        here = _in_interval(tree, level, own, (yield FetchNode(level, tree.node(level, own))))
        if _is_extreme(own, here):
            yield StoreAt(level, tree.node(level, own))
    return level


def lookup(tree: Tree, key: bytes, start: int, seen: Providers) -> LookupWalk:
    """4.5: the provider that comes first at or after `key`; None if there is none up to the end of the numbers.

    `seen` collects all providers that were met: 4.5's cache, for walks that end between two levels.
    """
    level, asked = start, set[int]()
    while level not in asked:
        asked.add(level)
        there = yield FetchNode(level, tree.node(level, key))
        seen.update(there)
        # "Condition 1: If there is no successor of node n present in the just-fetched ReDiR tree node [...] node n MUST
        # reduce the current level by one".
        if _successor(key, there) is None:
            if level == 0 or level - 1 in asked:
                # From the root there is no further up, and from further up we came.
                break
            level -= 1
            continue
        # "Condition 2: If n.id is neither the lowest nor the highest Node-ID within the interval [...] I(level,n.id), n
        # MUST next check the tree node responsible for n.id at the next level down the tree."
        here = _in_interval(tree, level, key, there)
        is_between = any(node < key for node in here) and any(node > key for node in here)
        if not (is_between and tree.has_level(level + 1)):
            # "Condition 3: [...] the service lookup has finished successfully".
            break
        level += 1
    return _successor(key, seen)


def _in_interval(tree: Tree, level: int, identifier: bytes, providers: Providers) -> Providers:
    interval = tree.interval(level, identifier)
    return {node: provider for node, provider in providers.items() if tree.interval(level, node) == interval}


def _is_extreme(own: NodeId, nodes: Iterable[NodeId]) -> bool:
    """True if we are the lowest or the highest, were we there."""
    others = set(nodes) - {own}
    return not others or own < min(others) or own > max(others)


def _successor(key: bytes, providers: Providers) -> Provider | None:
    after = [node for node in providers if node >= key]
    return providers[min(after)] if after else None


class StartLevel:
    """4.2: where lookups start: where most of the last ones ended."""

    def __init__(self) -> None:
        self._ended: deque[int] = deque(maxlen=LOOKUPS_REMEMBERED)

    def ended_at(self, level: int) -> None:
        """A lookup has completed at this level."""
        self._ended.append(level)

    @property
    def level(self) -> int:
        """The mode, or 2."""
        return Counter(self._ended).most_common(1)[0][0] if self._ended else START_LEVEL


# Requests and answers


@dataclass(frozen=True, slots=True)
class Announcement:
    """A service of our own, as it is announced."""

    name: str
    destination_list: tuple[Destination | CompressedDestination, ...]
    offer: ServiceOffer | None
    lifetime_s: int = LIFETIME_S

    @property
    def namespace(self) -> bytes:
        """The name as it stands in records: "a UTF-8-encoded text string"."""
        return self.name.encode()

    def until(self, expires_ms: int) -> Announcement:
        """The same, with the word that it holds until then."""
        return self if self.offer is None else replace(self, offer=replace(self.offer, expires_ms=expires_ms))

    def record(self, level: int, node: int) -> RedirServiceProvider:
        """What is stored in a tree node."""
        if self.offer is None:
            none = RedirServiceProviderExtType.NONE
            return RedirServiceProvider(none, self.destination_list, self.namespace, level, node, b"")
        kind = RedirServiceProviderExtType.OFFER
        return RedirServiceProvider(kind, self.destination_list, self.namespace, level, node, self.offer)


def span(start: bytes, end: bytes) -> int:
    """How far it is from one number of the trees to another, going up, and beyond the last again from the first."""
    return (int.from_bytes(end, "big") - int.from_bytes(start, "big")) % (1 << 8 * len(start))


def beyond(node: NodeId) -> bytes:
    """The number that comes next."""
    return ((int.from_bytes(node, "big") + 1) % (1 << 8 * len(node))).to_bytes(len(node), "big")


def resource_of(name: str, level: int, node: int, hash_name: Hash) -> ResourceId:
    """Where a tree node is: at H(namespace, level, node)."""
    return hash_name(tree_node_name(name.encode(), level, node))


def fetch_request(name: str, wanted: FetchNode, hash_name: Hash) -> FetchReq:
    """4.3: "The fetch MUST be a wildcard fetch."."""
    resource = resource_of(name, wanted.level, wanted.node, hash_name)
    return FetchReq(resource, (StoredDataSpecifier(REDIR, 0, DictionarySpecifier(())),))


def store_request(
    identity: Identity, announced: Announcement, place: StoreAt, storage_time_ms: int, hash_name: Hash
) -> StoreReq:
    """The Store of our record in a tree node."""
    value = DataValue(exists=True, value=announced.record(place.level, place.node).encode())
    return _store(identity, announced, place, value, storage_time_ms, hash_name)


def remove_request(
    identity: Identity, announced: Announcement, place: StoreAt, storage_time_ms: int, hash_name: Hash
) -> StoreReq:
    """4.6: "a service provider SHOULD remove the RedirServiceProvider records it has stored by storing exists=False
    values in their place".
    """
    return _store(identity, announced, place, DataValue.nonexistent(), storage_time_ms, hash_name)


def _store(
    identity: Identity, announced: Announcement, place: StoreAt, value: DataValue, storage_time_ms: int, hash_name: Hash
) -> StoreReq:
    resource = resource_of(announced.name, place.level, place.node, hash_name)
    entry = DictionaryEntry(bytes(identity.node_id), value)
    stored = sign_value(identity, resource, REDIR, entry, storage_time_ms, announced.lifetime_s)
    return StoreReq(resource, 0, (StoreKindData(REDIR, 0, (stored,)),))


def read_providers(verified: Verified, date_ms: int | None) -> Providers:
    """The providers in a tree node whose records are good; whose offer has ended is left out, if the date is known."""
    found: Providers = {}
    for value in verified.of(REDIR):
        node = value.signer.node_id
        try:
            record = RedirServiceProvider.decode(value.data or b"", node_id_length=len(node))
        except DecodeError:
            continue
        offer = record.extension if isinstance(record.extension, ServiceOffer) else None
        is_over = offer is not None and date_ms is not None and offer.expires_ms <= date_ms
        if not is_over and record.destination_list:
            found[node] = Provider(node, value.signer.user, record.destination_list, offer)
    return found


class Permissions:
    """Who may announce what (a UsageRule): the signed configuration says so."""

    def __init__(self, configuration: OverlayConfiguration) -> None:
        self._configuration = configuration

    def permits(self, write: WantedWrite, signer: Signer) -> bool:
        """True if this member may announce that service; it may always take its word back."""
        if not write.value.exists:
            return True
        try:
            record = RedirServiceProvider.decode(write.value.value, node_id_length=len(signer.node_id))
            name = record.namespace.decode()
        except (DecodeError, UnicodeDecodeError):
            return False
        return self._configuration.permits_service(name, signer.user)

    def ends_ms(self, stored: StoredData, signer: Signer) -> int:
        """When the offer ends; announcements without one are refreshed."""
        if stored.data_value.exists:
            record = RedirServiceProvider.decode(stored.data_value.value, node_id_length=len(signer.node_id))
            if isinstance(record.extension, ServiceOffer):
                return record.extension.expires_ms
        return stored.storage_time + 1000 * AGE_MAX_S


def require_discovery(configuration: OverlayConfiguration) -> Tree:
    """The trees of this overlay. Raises LocalMisuse if it has no service discovery."""
    kind = configuration.kinds.get(REDIR)
    if kind is None:
        overlay = configuration.instance_name
        raise LocalMisuse(f"{overlay} has no service discovery: `p2psip overlay set DIR kind+=REDIR:100:512` adds it")
    return Tree(kind.branching_factor)


def check_name(name: str) -> None:
    """Raise LocalMisuse for what cannot be the name of a service."""
    if not name or len(name.encode()) > NAME_BYTES_MAX or not name.isprintable():
        raise LocalMisuse(f"{name[:40]!r} cannot be the name of a service: 1 to {NAME_BYTES_MAX} bytes of text")
