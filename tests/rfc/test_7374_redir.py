"""RFC 7374 by its sections: the tree, registration, lookup, the access policy, the record."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from storage_bench import Bench, member, signer

from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import REDIR_KIND, OverlayConfiguration, ServicePermission
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.access import WantedWrite, node_id_match
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.storing import CLOCK_SKEW_S
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.usages.redir import (
    AGE_MAX_S,
    Announcement,
    FetchNode,
    Permissions,
    Provider,
    Providers,
    StartLevel,
    StoreAt,
    lookup,
    register,
    remove_request,
    resource_of,
    store_request,
)
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import REDIR
from p2psip.reload.wire.rejections import DataTooLarge, DataTooOld, Forbidden
from p2psip.reload.wire.storage_messages import DataValue, StoreKindData, StoreReq
from p2psip.reload.wire.usages.redir import RedirServiceProvider, RedirServiceProviderExtType, ServiceOffer, Tree

BINARY = Tree(2)


def of_16(number: int) -> NodeId:
    """A number of the RFC's ring of 16 identifiers, on ours."""
    return NodeId((number << 124).to_bytes(16, "big"))


class Stored:
    """The tree nodes of one service, as the overlay would keep them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.nodes: dict[tuple[int, int], Providers] = {}
        self.fetched: list[FetchNode] = []

    def register(self, own: NodeId, start: int = 2) -> list[StoreAt]:
        """A provider registers; where it has stored its record."""
        walk = register(self.tree, own, start)
        stored, step = [], next(walk)
        try:
            while True:
                there: Providers = {}
                if isinstance(step, FetchNode):
                    there = dict(self.nodes.get((step.level, step.node), {}))
                else:
                    stored.append(step)
                    self.nodes.setdefault((step.level, step.node), {})[own] = Provider(own, "", ())
                step = walk.send(there)
        except StopIteration:
            return stored

    def lookup(self, key: bytes, start: int = 2) -> NodeId | None:
        """Who a lookup finds."""
        self.fetched = []
        walk = lookup(self.tree, key, start, {})
        try:
            step = next(walk)
            while True:
                self.fetched.append(step)
                step = walk.send(self.nodes.get((step.level, step.node), {}))
        except StopIteration as end:
            provider: Provider | None = end.value
            return None if provider is None else provider.node


def figure_4() -> Stored:
    """Section 7.1: peers 2, 3, 7 and 4 register, in this order."""
    stored = Stored(BINARY)
    for number in (2, 3, 7, 4):
        stored.register(of_16(number))
    return stored


def test_3_intervals() -> None:
    """Figure 2 and 3, and "In such a tree, level 1 contains 10 nodes and 100 intervals."."""
    assert [BINARY.node(0, of_16(k)) for k in (0, 15)] == [0, 0]
    assert [BINARY.interval(0, of_16(k)) for k in (0, 7, 8, 15)] == [0, 0, 1, 1]
    assert [BINARY.node(1, of_16(k)) for k in (0, 7, 8, 15)] == [0, 0, 1, 1]
    assert [BINARY.interval(1, of_16(k)) for k in (0, 3, 4, 7, 8, 11, 12, 15)] == [0, 0, 1, 1, 2, 2, 3, 3]
    ten = Tree(10)
    last = NodeId(b"\xff" * 16)
    assert [(ten.node(level, last), ten.interval(level, last)) for level in (1, 2, 3)] == [
        (9, 99),
        (99, 999),
        (999, 9999),
    ]


def test_4_1_positions_have_16_bits() -> None:
    """Levels with more nodes than the record's `node` can name do not exist."""
    for branching_factor, level_max in ((2, 16), (10, 4), (256, 2), (0xFFFFFFFF, 0)):
        tree = Tree(branching_factor)
        assert tree.level_max == level_max
        assert tree.node(level_max, b"\xff" * 16) <= 0xFFFF
        assert not tree.has_level(level_max + 1)


def test_4_2_where_lookups_start() -> None:
    """ "It is RECOMMENDED that Lstart is set to 2"; later "the mode of those depths"."""
    start = StartLevel()
    assert start.level == 2
    for level in (3, 3, 1):
        start.ended_at(level)
    assert start.level == 3
    for _ in range(16):
        start.ended_at(0)
    assert start.level == 0


def test_4_3_registration_as_in_7_1() -> None:
    """What each of the four peers stores, and Figure 4, which is the result."""
    stored = Stored(BINARY)
    assert stored.register(of_16(2)) == [StoreAt(2, 0), StoreAt(1, 0), StoreAt(0, 0)]
    assert stored.register(of_16(3)) == [StoreAt(2, 0), StoreAt(1, 0), StoreAt(0, 0), StoreAt(3, 1)]
    assert stored.register(of_16(7)) == [StoreAt(2, 1), StoreAt(1, 0), StoreAt(0, 0)]
    assert stored.register(of_16(4)) == [StoreAt(2, 1), StoreAt(1, 0), StoreAt(0, 0)]
    shown = {place: sorted(node[0] >> 4 for node in providers) for place, providers in stored.nodes.items()}
    assert shown == {(0, 0): [2, 3, 4, 7], (1, 0): [2, 3, 4, 7], (2, 0): [2, 3], (2, 1): [4, 7], (3, 1): [3]}


def test_4_3_a_provider_between_others_does_not_go_up() -> None:
    """It is "not the lowest or highest Node-ID stored in the tree node"."""
    stored = Stored(Tree(2))
    own = NodeId(b"\x28" + bytes(15))
    for first in (b"\x20", b"\x30"):
        stored.register(NodeId(first + bytes(15)))
    assert stored.register(own)[0] == StoreAt(2, 0)
    assert own not in stored.nodes[1, 0]


def test_4_5_lookup_as_in_7_2() -> None:
    """Peer 5 finds peer 7 with one Fetch; from level 3 with one more."""
    stored = figure_4()
    assert stored.lookup(of_16(5)) == of_16(7)
    assert stored.fetched == [FetchNode(2, 1)]
    assert stored.lookup(of_16(5), start=3) == of_16(7)
    assert stored.fetched == [FetchNode(3, 2), FetchNode(2, 1)]


def test_4_5_no_successor() -> None:
    """ "the upward walk of the service lookup will reach the root of the tree without encountering a successor"."""
    stored = figure_4()
    assert stored.lookup(of_16(9)) is None
    assert stored.fetched[-1] == FetchNode(0, 0)
    assert Stored(BINARY).lookup(of_16(0)) is None


@pytest.mark.parametrize("branching_factor", [2, 3, 10])
def test_4_5_lookups_find_the_closest_successor(branching_factor: int) -> None:
    """Wherever they start, in trees of one to 200 providers."""
    rng = random.Random(branching_factor)
    for count in (1, 2, 7, 40, 200):
        stored = Stored(Tree(branching_factor))
        nodes = [NodeId(rng.randbytes(16)) for _ in range(count)]
        before = -1
        while before != (before := sum(map(len, stored.nodes.values()))):
            # "Every service provider MUST repeat the entire registration process periodically".
            for node in nodes:
                stored.register(node)
        for _ in range(50):
            key = rng.randbytes(16)
            after = [node for node in nodes if node >= key]
            expected = min(after) if after else None
            for start in (0, 2, stored.tree.level_max):
                assert stored.lookup(key, start) == expected
                assert len(stored.fetched) <= stored.tree.level_max + 1
        assert min(nodes) in stored.nodes[0, 0]


# Section 5

ALICE, BOB = member("alice@example.org", 0xA1 << 120), member("bob@example.org", 0xB1 << 120)
TREE = Tree(REDIR_KIND.branching_factor)
VOICE_MAIL = Announcement("voice-mail", (Destination.node(ALICE.node_id),), None)


def bench(*permissions: ServicePermission) -> Bench:
    """A storing peer."""
    services = permissions or (ServicePermission("*", ("*@example.org",)),)
    configuration = OverlayConfiguration("example.org", required_kinds=(REDIR_KIND,), services=services)
    return Bench(kinds={REDIR: REDIR_KIND}, usage_rules={REDIR: Permissions(configuration)}, wall=WallClock(0.0))


def place(level: int = 2) -> StoreAt:
    """Where alice belongs."""
    return StoreAt(level, TREE.node(level, ALICE.node_id))


@pytest.mark.parametrize("level", [0, 2])
def test_5_the_key_is_the_signers_node_id(level: int) -> None:
    """ "a given value MUST be written and overwritten only if the request is signed with a key associated with a
    certificate whose Node-ID is equal to the dictionary key."; nor does anybody else remove it. At level 0 one tree
    node has the intervals of all.
    """
    peer, removed = bench(), remove_request(ALICE, VOICE_MAIL, place(level), 3000, hash_name)
    request = store_request(ALICE, VOICE_MAIL, place(level), 1000, hash_name)
    peer.send(request, requester=ALICE)
    for written in (request, removed):
        entry = written.kind_data[0].values[0].value  # type: ignore[union-attr]
        forged = sign_value(BOB, request.resource, REDIR, entry, 2000, 600)  # type: ignore[arg-type]
        with pytest.raises(Forbidden, match="NODE-ID-MATCH"):
            peer.send(StoreReq(request.resource, 0, (StoreKindData(REDIR, 0, (forged,)),)), requester=BOB)
    peer.send(removed, requester=ALICE)


def match(record: RedirServiceProvider, resource: bytes, who: Signer, *, exists: bool = True) -> bool:
    """What the policy says of alice's record."""
    write = WantedWrite(REDIR_KIND, resource, ALICE.node_id, DataValue(exists, record.encode()))  # type: ignore[arg-type]
    return node_id_match(write, who, hash_name)


def test_5_the_tree_node_is_the_right_one() -> None:
    """ "the Node-ID MUST belong to one of the intervals associated with the tree node"; "H(namespace,level,node) [...]
    MUST be equal to the Resource-ID for the resource."
    """
    at, alice = place(), signer(ALICE)
    record = VOICE_MAIL.record(at.level, at.node)
    resource = resource_of("voice-mail", at.level, at.node, hash_name)
    assert match(record, resource, alice)
    elsewhere = at.node + 1
    other = VOICE_MAIL.record(at.level, elsewhere)
    assert not match(other, resource_of("voice-mail", at.level, elsewhere, hash_name), alice)
    assert not match(record, resource_of("voice-mail", at.level, elsewhere, hash_name), alice)
    assert not match(record, resource_of("turn-server", at.level, at.node, hash_name), alice)
    deep = VOICE_MAIL.record(TREE.level_max + 1, 0)
    assert not match(deep, resource_of("voice-mail", TREE.level_max + 1, 0, hash_name), alice)
    assert match(other, resource, alice, exists=False)
    assert not match(record, resource, signer(BOB))
    garbage = WantedWrite(REDIR_KIND, resource, ALICE.node_id, DataValue(True, b"?"))
    assert not node_id_match(garbage, alice, hash_name)


def test_5_with_another_branching_factor() -> None:
    """ "the number of intervals each tree node has is determined by the branching-factor parameter"."""
    at = StoreAt(2, Tree(3).node(2, ALICE.node_id))
    assert at.node != place().node
    record = DataValue(True, VOICE_MAIL.record(at.level, at.node).encode())
    resource = resource_of("voice-mail", at.level, at.node, hash_name)
    for factor, expected in ((3, True), (10, False)):
        kind = replace(REDIR_KIND, branching_factor=factor)
        assert node_id_match(WantedWrite(kind, resource, ALICE.node_id, record), signer(ALICE), hash_name) is expected


def test_only_whom_the_configuration_permits_may_announce() -> None:
    """Our own rule: the signed configuration says who may announce what; removing is always permitted."""
    peer = bench(ServicePermission("voice-mail", ("bob@example.org", "peer-*@example.org")))
    with pytest.raises(Forbidden, match="takes no values of Kind 0x104 for alice"):
        peer.send(store_request(ALICE, VOICE_MAIL, place(), 1000, hash_name), requester=ALICE)
    peer.send(remove_request(ALICE, VOICE_MAIL, place(), 2000, hash_name), requester=ALICE)
    at = StoreAt(2, TREE.node(2, BOB.node_id))
    peer.send(store_request(BOB, VOICE_MAIL, at, 1000, hash_name), requester=BOB)
    turn = replace(VOICE_MAIL, name="turn-server")
    with pytest.raises(Forbidden):
        peer.send(store_request(BOB, turn, at, 1000, hash_name), requester=BOB)
    assert not OverlayConfiguration("example.org").permits_service("voice-mail", "bob@example.org")


def test_what_is_announced_ends_with_the_offer_or_with_its_age() -> None:
    """The lifetime is not signed: an announcement of long ago, stored again with a long one, is none."""
    day_s, now_s = AGE_MAX_S, 10 * AGE_MAX_S
    peer = bench()
    peer.storage.handle_wall_clock(WallClock(now_s), 0.0)
    held = replace(VOICE_MAIL, offer=ServiceOffer(1, 0, 0, b""), lifetime_s=0xFFFFFFFF)
    over = [(VOICE_MAIL, now_s - 2 * day_s), (held.until(1000 * (now_s - 1000)), now_s - 1001)]
    for announced, signed_s in over:
        with pytest.raises(DataTooOld):
            peer.send(store_request(ALICE, announced, place(), 1000 * signed_s, hash_name), requester=ALICE)
    peer.send(store_request(ALICE, held.until(1000 * (now_s + 500)), place(), 1000, hash_name), requester=ALICE)
    (record,) = peer.store.records(resource_of("voice-mail", place().level, place().node, hash_name), REDIR)
    assert record.expires_at == 500 + CLOCK_SKEW_S


def test_4_1_extensions_of_unknown_types_are_allowed() -> None:
    """ "Unknown types are allowed."; ours is one for others."""
    at = place()
    offer = ServiceOffer(capacity=30, load=50, expires_ms=1_800_000_000_000, policy=b"members")
    record = replace(VOICE_MAIL, offer=offer).record(at.level, at.node)
    assert RedirServiceProvider.decode(record.encode()) == record
    foreign = replace(record, type=RedirServiceProviderExtType(0x11), extension=b"anything")
    assert RedirServiceProvider.decode(foreign.encode()).extension == b"anything"
    assert match(foreign, resource_of("voice-mail", at.level, at.node, hash_name), signer(ALICE))
    huge = replace(VOICE_MAIL, offer=replace(offer, policy=b"x" * 600))
    with pytest.raises(DataTooLarge):
        bench().send(store_request(ALICE, huge, at, 1000, hash_name), requester=ALICE)
