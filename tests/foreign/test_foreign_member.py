"""A peer written from RFC 6940 alone, in an overlay of real peers: processes that know nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue

import pytest
import rfc6940_bytes as wire
from declared_kinds import (
    ARRAY_KIND,
    DECLARED,
    DICTIONARY_KIND,
    MULTIPLE_KIND,
    NODE_KIND,
    NODE_MULTIPLE_MAX,
    SINGLE_KIND,
    SIZE_MAX,
)
from foreign_member import LIFETIME_S, Stranger, anchor_der, member, member_just_after
from live_overlay import HOST, OVERLAY, LiveOverlay, LivePeer, eventually
from rfc6940_identity import SHA256, Configuration, fetch_configuration
from rfc6940_link import Link
from rfc6940_peer import PATIENCE_S, ErrorAnswer
from rfc6940_ring import SPACE, after
from rfc6940_store import Rejected

pytestmark = pytest.mark.slow(40)

PEERS = 3
USERS = ("alice", "bob", "carol")
NAMES = map("user{}".format, itertools.count())


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    with LiveOverlay(tmp_path_factory.mktemp("foreign"), peers=PEERS, users=USERS, kinds=DECLARED) as live:
        yield live


def configuration_of(overlay: LiveOverlay) -> Configuration:
    """As the well-known URI has it; all that is known beforehand is the trust anchor."""
    anchor = anchor_der(overlay.directory / "overlay" / "anchor.crt")
    return fetch_configuration(overlay.url, OVERLAY, anchor)


def enrolled(overlay: LiveOverlay, user: str) -> Stranger:
    configuration = configuration_of(overlay)
    return Stranger(configuration, member(configuration, user), overlay.directory)


@contextmanager
def joined(stranger: Stranger, overlay: LiveOverlay, *others: Stranger) -> Iterator[Stranger]:
    """A member, until the end; no test passes with a message that it could not read or believe."""
    try:
        stranger.join()
        in_the_ring(overlay, stranger, *others)
        yield stranger
        assert stranger.peer.complaints == []
        if stranger.peer.has_joined:
            stranger.leave()
    finally:
        stranger.close()
        in_the_ring(overlay, *others)


@pytest.fixture(scope="module")
def alice(overlay: LiveOverlay) -> Iterator[Stranger]:
    """A foreign member for those tests that leave the ring as it is; a real peer is responsible for what is hers."""
    configuration = configuration_of(overlay)
    while True:
        identity = member(configuration, "alice")
        where = wire.resource_id(identity.user.encode())
        if any(after(where, other) < after(where, identity.node_id) for other in nodes(overlay)):
            break
    with joined(Stranger(configuration, identity, overlay.directory), overlay) as stranger:
        yield stranger


def in_the_ring(overlay: LiveOverlay, *strangers: Stranger) -> None:
    """Until all real peers have exactly their true neighbours, the strangers among them."""
    ring = sorted([peer.node_id for peer in overlay.running()] + [stranger.hex for stranger in strangers])
    for peer in overlay.running():
        place = ring.index(peer.node_id)
        others = (ring[place + 1 :] + ring[:place])[:5]
        eventually(f"{peer.name} sees the ring as it is", lambda p=peer, o=others: p.status()["successors"] == o)


def resource_of(stranger: Stranger) -> bytes:
    return wire.resource_id(stranger.peer.identity.user.encode())


def refusal(code: int) -> pytest.RaisesExc[ErrorAnswer]:
    return pytest.raises(ErrorAnswer, check=lambda error: error.code == code)


def nodes(overlay: LiveOverlay) -> list[bytes]:
    return [bytes.fromhex(peer.node_id) for peer in overlay.running()]


# Membership


def test_it_is_a_neighbour_like_any_other(alice: Stranger, overlay: LiveOverlay) -> None:
    """Every real peer has it in its place, and its links are acknowledged frame by frame."""
    assert alice.peer.ready == set(nodes(overlay))
    for node_id in alice.peer.ready:
        link = alice.peer.link(node_id)
        assert link is not None
        assert link.round_trips_s


def test_it_is_asked_and_answers_as_a_neighbour(alice: Stranger, overlay: LiveOverlay) -> None:
    for node_id in nodes(overlay):
        assert alice.ping(wire.node(node_id)) == node_id
        assert (wire.UPDATE, node_id) in alice.peer.served
    nearest = alice.peer.successors[0]
    assert alice.ping(wire.node(wire.WILDCARD), through=alice.peer.link(nearest)) == nearest
    assert alice.ping(wire.resource(nearest)) == nearest


def test_a_request_goes_the_way_that_its_destination_list_says(alice: Stranger, overlay: LiveOverlay) -> None:
    """Over two real peers and back: the via list brings the answer home."""
    first, second, third, *_ = nodes(overlay)
    assert alice.ping(wire.node(first), wire.node(second), wire.node(third)) == third
    assert alice.ping(wire.node(first), wire.node(second), wire.node(first)) == first


def test_route_query_names_the_next_peer(alice: Stranger, overlay: LiveOverlay) -> None:
    first, *_, last = sorted(nodes(overlay))
    for target in (wire.node(last), wire.resource(last)):
        body = wire.number(0, 1) + target.encode() + wire.vector(b"", 2)
        message, author = alice.request(wire.ROUTE_QUERY, body, wire.node(first))
        assert (author, message.body) == (first, last)


def test_real_peers_carry_its_opaque_ids_there_and_back(alice: Stranger, overlay: LiveOverlay) -> None:
    """6.1.2: it replaces via lists by IDs that only it understands, of both forms; the answers find back to it."""
    identity = member(alice.peer.configuration, "bob")
    with joined(
        Stranger(alice.peer.configuration, identity, overlay.directory, compresses=True), overlay, alice
    ) as bob:
        first, second, *_ = nodes(overlay)
        for _ in range(8):
            assert alice.ping(wire.node(first), wire.node(bob.node_id), wire.node(second)) == second
            assert (
                alice.ping(wire.node(bob.node_id), wire.node(first), wire.node(bob.node_id), wire.node(second))
                == second
            )
        assert len(bob.peer.forwarded) >= 24


def test_messages_in_fragments_are_put_together(alice: Stranger, overlay: LiveOverlay) -> None:
    """6.7: "Any node along the path can fragment the message, but only the final destination reassembles"."""
    first, second, *_ = nodes(overlay)
    for size in (300, 700):
        header = alice.peer.header([wire.node(first), wire.node(second)])
        whole = alice.peer.identity.message(header, wire.PING, wire.vector(bytes(2000), 2))
        *others, last = wire.fragments(whole, size)
        link = alice.peer.link(first)
        assert link is not None
        # The last one first; all but one of the others; the missing one, by which it is whole.
        for piece in (last, *others[1:]):
            alice.loop.call(link.send, piece)
        answer = alice.loop.do(alice.peer.exchange(header.transaction, others[0], link))
        assert answer.code == wire.PING + 1


def test_options_and_extensions_that_it_has_made_up(alice: Stranger, overlay: LiveOverlay) -> None:
    """6.3.2.3, 6.3.3: critical ones are refused by name, others are passed over, what is to be copied is copied."""
    first, second, *_ = nodes(overlay)
    there, beyond = wire.node(first), wire.node(second)
    forward, destination, copy = 0x01, 0x02, 0x04
    with refusal(wire.UNSUPPORTED_OPTION):
        alice.ping(there, options=(wire.Option(77, destination, b""),))
    with refusal(wire.UNSUPPORTED_OPTION):
        alice.ping(there, beyond, options=(wire.Option(77, forward, b"x"),))
    # Nobody forwards it, and nobody is to understand it.
    assert alice.ping(there, options=(wire.Option(77, forward, b"x"),)) == first
    options = (wire.Option(77, copy, b"copied"), wire.Option(78, 0, b"not copied"))
    message, _ = alice.request(wire.PING, wire.vector(b"", 2), there, beyond, options=options)
    assert message.header.options == (wire.Option(77, 0, b"copied"),)
    for critical in (True, False):
        header = alice.peer.header([there])
        extensions = wire.extension(999, critical=critical, content=b"?")
        data = alice.peer.identity.message(header, wire.PING, wire.vector(b"", 2), extensions=extensions)
        link = alice.peer.link(first)
        assert link is not None
        answer = alice.loop.do(alice.peer.exchange(header.transaction, data, link))
        said = wire.Reader(answer.body).number(2) if answer.code == wire.ERROR else None
        assert said == (wire.UNKNOWN_EXTENSION if critical else None)


def test_an_application_is_attached_to_if_there_is_one(alice: Stranger, overlay: LiveOverlay) -> None:
    """6.5.2: a TLS connection for SIP, and "If the Application ID is not supported, [...] an Error_Not_Found error"."""
    first, *_ = nodes(overlay)
    arrived: Queue[Link] = Queue()

    async def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put(Link(reader, writer, alice.peer.configuration.trust))

    server = alice.loop.do(asyncio.start_server(arrive, HOST, 0, ssl=alice.peer.server_tls))
    port = server.sockets[0].getsockname()[1]
    offer = wire.AttachBody(b"passive", (wire.Candidate(HOST, port),), send_update=False).encode()

    def body(application: int) -> bytes:
        """AppAttachReq: it has the application before the role, and no send_update at the end."""
        return offer[:2] + wire.number(application, 2) + offer[2:-1]

    with refusal(wire.NOT_FOUND):
        alice.request(wire.APP_ATTACH, body(61500), wire.node(first))
    message, _ = alice.request(wire.APP_ATTACH, body(5060), wire.node(first))
    reader = wire.Reader(message.body)
    assert (reader.vector(1), reader.vector(1), reader.number(2), reader.vector(1)) == (b"", b"", 5060, b"active")
    link = arrived.get(timeout=PATIENCE_S)
    assert link.node_id == first
    alice.loop.call(link.close)
    alice.loop.call(server.close)


# Data


def test_a_single_value_is_stored_replaced_fetched_and_removed(alice: Stranger) -> None:
    where = resource_of(alice)
    assert alice.fetch(where, SINGLE_KIND).data == [None]
    first = alice.store(where, SINGLE_KIND, wire.Value(b"one"))
    assert first >= 1
    found = alice.fetch(where, SINGLE_KIND)
    assert (found.data, found.authors, found.generation) == ([b"one"], {f"alice@{OVERLAY}"}, first)
    second = alice.store(where, SINGLE_KIND, wire.Value(b"two"), generation=first)
    assert second > first
    # "If the generation counter in the request matches the stored counter, then [...] no StoredData values."
    assert alice.fetch(where, SINGLE_KIND, generation=second).values == []
    alice.store(where, SINGLE_KIND, wire.Value(b"", exists=False))
    removed = alice.fetch(where, SINGLE_KIND)
    # 7.4.2.2: what was removed has "exists = False, but [has] valid signatures".
    assert (removed.data, removed.authors) == ([None], {f"alice@{OVERLAY}"})


def test_an_answer_is_no_longer_than_it_may_be(alice: Stranger) -> None:
    """6.3.2 names Error_Incompatible_with_Overlay for it, 6.3.3.1 Error_Response_Too_Large: ours is the second."""
    where = resource_of(alice)
    alice.store(where, SINGLE_KIND, wire.Value(bytes(900)))
    body = wire.fetch(where, [wire.Specifier(SINGLE_KIND, 0, None)])
    with refusal(wire.RESPONSE_TOO_LARGE):
        alice.request(wire.FETCH, body, wire.resource(where), max_response=800)
    assert alice.request(wire.FETCH, body, wire.resource(where), max_response=8000)


def test_an_array_is_sparse_appended_to_and_fetched_by_ranges(alice: Stranger) -> None:
    where = resource_of(alice)
    alice.store(where, ARRAY_KIND, wire.Value(b"two", slot=2), wire.Value(b"four", slot=4))
    alice.store(where, ARRAY_KIND, wire.Value(b"five", slot=wire.APPEND))
    alice.store(where, ARRAY_KIND, wire.Value(b"six", slot=wire.APPEND))
    everything = alice.fetch(where, ARRAY_KIND, wire.ranges((0, wire.LAST)))
    assert everything.data == [None, None, b"two", None, b"four", b"five", b"six"]
    assert [value.slot for value in everything.values] == list(range(7))
    assert everything.authors == {f"alice@{OVERLAY}"}
    some = alice.fetch(where, ARRAY_KIND, wire.ranges((1, 2), (5, 5)))
    assert [(value.slot, value.data) for value in some.values] == [(1, b""), (2, b"two"), (5, b"five")]
    assert alice.fetch(where, ARRAY_KIND, wire.ranges((wire.LAST, wire.LAST))).data == [b"six"]
    alice.store(where, ARRAY_KIND, wire.Value(b"", exists=False, slot=4))
    assert alice.fetch(where, ARRAY_KIND, wire.ranges((4, 5))).data == [None, b"five"]


def test_a_dictionary_is_kept_by_key(alice: Stranger, overlay: LiveOverlay) -> None:
    where = resource_of(alice)
    alice.store(where, DICTIONARY_KIND, wire.Value(b"here", slot=alice.node_id))
    for wanted in (b"", wire.keys(alice.node_id)):
        found = alice.fetch(where, DICTIONARY_KIND, wanted)
        assert [(value.slot, value.data) for value in found.values] == [(alice.node_id, b"here")]
        assert found.authors == {f"alice@{OVERLAY}"}
    nobody = bytes.fromhex(overlay.peers[0].node_id)
    assert alice.fetch(where, DICTIONARY_KIND, wire.keys(nobody)).data == [None]
    # 7.3.3: "the dictionary key MUST be equal to the Node-ID in the certificate".
    with refusal(wire.FORBIDDEN):
        alice.store(where, DICTIONARY_KIND, wire.Value(b"elsewhere", slot=nobody))
    alice.store(where, DICTIONARY_KIND, wire.Value(b"", exists=False, slot=alice.node_id))
    assert alice.fetch(where, DICTIONARY_KIND, b"").data in ([], [None])


def test_the_node_policies_go_by_node_id(alice: Stranger) -> None:
    alice.store(wire.resource_id(alice.node_id), NODE_KIND, wire.Value(b"node"))
    assert alice.fetch(wire.resource_id(alice.node_id), NODE_KIND).data == [b"node"]
    # 7.3.4 leaves open how i is written: one byte, as the iteration of the one Kind that has it (section 9).
    for i in (0, 1, NODE_MULTIPLE_MAX):
        where = wire.resource_id(alice.node_id + wire.number(i, 1))
        alice.store(where, MULTIPLE_KIND, wire.Value(b"%d" % i, slot=0))
        assert alice.fetch(where, MULTIPLE_KIND, wire.ranges((0, 0))).data == [b"%d" % i]
    beyond = wire.resource_id(alice.node_id + wire.number(NODE_MULTIPLE_MAX + 1, 1))
    with refusal(wire.FORBIDDEN):
        alice.store(beyond, MULTIPLE_KIND, wire.Value(b"beyond", slot=0))


def test_what_may_not_be_stored_is_refused_with_the_error_that_the_rfc_names(alice: Stranger) -> None:
    where = resource_of(alice)
    # Twice: before the first there is 0, which in a Store is no counter to compare with.
    current = [alice.store(where, SINGLE_KIND, wire.Value(b"mine")) for _ in range(2)][-1]
    with refusal(wire.FORBIDDEN):
        alice.store(wire.resource_id(b"bob@" + OVERLAY.encode()), SINGLE_KIND, wire.Value(b"not mine"))
    with refusal(wire.DATA_TOO_LARGE):
        alice.store(where, SINGLE_KIND, wire.Value(bytes(SIZE_MAX + 1)))
    with refusal(wire.GENERATION_TOO_LOW) as caught:
        alice.store(where, SINGLE_KIND, wire.Value(b"late"), generation=current - 1)
    # "The error_info in the ErrorResponse MUST be a StoreAns response containing the correct generation counter".
    (told,) = wire.whole(caught.value.info, wire.read_store_answer)
    assert (told.kind, told.generation, told.replicas) == (SINGLE_KIND, current, [])
    old = alice.peer.identity.stored(where, SINGLE_KIND, wire.Value(b"old"), 60, 1_000)
    body = wire.store(where, 0, [wire.KindData(SINGLE_KIND, 0, [old])])
    with refusal(wire.DATA_TOO_OLD):
        alice.request(wire.STORE, body, wire.resource(where))
    unknown = 0xF00000FF
    with refusal(wire.UNKNOWN_KIND) as caught:
        alice.request(wire.FETCH, wire.fetch(where, [wire.Specifier(unknown, 0, None)]), wire.resource(where))
    assert wire.whole(caught.value.info, lambda r: r.list(1, lambda k: k.number(4))) == [unknown]
    assert alice.fetch(where, SINGLE_KIND).data == [b"mine"]


def test_a_store_of_two_kinds_is_one_operation(alice: Stranger) -> None:
    """One of them is refused: neither is stored."""
    where = resource_of(alice)
    before = alice.fetch(where, SINGLE_KIND)
    values = [(SINGLE_KIND, wire.Value(b"half")), (ARRAY_KIND, wire.Value(bytes(SIZE_MAX + 1), slot=0))]
    kinds = [
        wire.KindData(kind, 0, [alice.peer.identity.stored(where, kind, value, 60, alice.now_ms())])
        for kind, value in values
    ]
    with refusal(wire.DATA_TOO_LARGE):
        alice.request(wire.STORE, wire.store(where, 0, kinds), wire.resource(where))
    assert alice.fetch(where, SINGLE_KIND) == before


def test_stat_tells_of_values_without_them(alice: Stranger) -> None:
    where = resource_of(alice)
    alice.store(where, SINGLE_KIND, wire.Value(b"to be measured"))
    alice.store(where, ARRAY_KIND, wire.Value(b"last", slot=9))
    specifiers = [
        wire.Specifier(SINGLE_KIND, 0, None),
        wire.Specifier(ARRAY_KIND, 0, wire.ranges((8, 9))),
        wire.Specifier(DICTIONARY_KIND, 0, wire.keys(bytes(16))),
    ]
    message, _ = alice.request(wire.STAT, wire.fetch(where, specifiers), wire.resource(where))
    single, array, dictionary = stat_values(alice, message)
    assert (single[0].exists, single[0].length) == (True, len(b"to be measured"))
    # "A digest using hash_algorithm on the value field of the DataValue, including its 4 leading length bytes."
    assert single[0].hash_algorithm == SHA256
    assert single[0].digest == hashlib.sha256(wire.vector(b"to be measured", 4)).digest()
    assert 0 < single[0].lifetime <= LIFETIME_S
    assert [(meta.slot, meta.exists) for meta in array] == [(8, False), (9, True)]
    assert array[1].digest == hashlib.sha256(wire.vector(b"last", 4)).digest()
    assert [(meta.slot, meta.exists, meta.length) for meta in dictionary] == [(bytes(16), False, 0)]


def stat_values(stranger: Stranger, message: wire.Message) -> list[list[wire.Meta]]:
    """The StoredMetaData of each Kind in a StatAns."""
    models = stranger.peer.configuration.models

    def read_kind(reader: wire.Reader) -> list[wire.Meta]:
        model, generation = models[reader.number(4)], reader.number(8)
        assert model == wire.DICTIONARY or generation >= 1
        return reader.list(4, lambda meta: wire.read_meta(meta, model))

    return wire.whole(message.body, lambda r: r.list(4, read_kind))


def test_find_names_the_closest_resource_of_a_kind(alice: Stranger) -> None:
    where = resource_of(alice)
    alice.store(where, SINGLE_KIND, wire.Value(b"to be found"))
    # A step before it, as one that walks the overlay would ask for: "R_n+1=nearest(1 + R_n)".
    unknown = 0xF00000FF
    near = wire.number(int.from_bytes(where, "big") - 1, 16)
    message, _ = alice.request(wire.FIND, wire.find(near, [SINGLE_KIND, unknown]), wire.resource(near))
    # "If a Kind-ID is not known, then the corresponding Resource-ID MUST be 0."
    assert wire.whole(message.body, wire.read_found) == [(SINGLE_KIND, where), (unknown, bytes(16))]
    with refusal(wire.INVALID_MESSAGE):
        # "Each value MUST appear only once. Otherwise, the request MUST be rejected with an error."
        alice.request(wire.FIND, wire.find(near, [SINGLE_KIND, SINGLE_KIND]), wire.resource(near))


def test_probe_tells_what_it_is_asked_in_that_order(alice: Stranger, overlay: LiveOverlay) -> None:
    uptime, responsible, unknown = 3, 1, 77
    asked = wire.vector(bytes([uptime, unknown, responsible]), 1)
    fractions = []
    for node_id in nodes(overlay):
        message, _ = alice.request(wire.PROBE, asked, wire.node(node_id))
        told = wire.whole(
            message.body, lambda r: r.list(2, lambda i: (i.number(1), int.from_bytes(i.vector(1), "big")))
        )
        assert [kind for kind, _ in told] == [uptime, responsible]
        fractions.append(told[1][1])
    own = after(alice.peer.predecessors[0], alice.node_id) * 10**9 // SPACE
    assert sum(fractions) + own == pytest.approx(10**9, abs=10)


# Being of use to the others


def test_lines_of_real_peers_are_stored_at_it_and_found_there(alice: Stranger, overlay: LiveOverlay) -> None:
    """A phone's record belongs where the foreign peer is: it is stored there, and fetched from there."""
    here = user_held_by(alice, overlay)
    owner, asker = overlay.peers[1], overlay.peers[2]
    owner.add_line(here)
    owner.wait_placed(here)
    assert registration(here) in alice.peer.store.resources()
    fetches = [code for code, _ in alice.peer.served].count(wire.FETCH)
    (entry,) = asker.lookup(here)["entries"]
    assert entry["peer"] == owner.node_id
    assert [code for code, _ in alice.peer.served].count(wire.FETCH) > fetches
    overlay.command("line", "remove", here, "--peer", owner.directory)
    eventually("its removal has come as well", lambda: not asker_finds(asker, here))


def user_held_by(stranger: Stranger, overlay: LiveOverlay, holds: Callable[[bytes], bool] | None = None) -> str:
    """The account of a new user, whose registration belongs where `holds`, or where the stranger is responsible."""
    wanted = holds or stranger.peer.is_responsible
    name = next(name for name in NAMES if wanted(registration(name)))
    overlay.add_user(name)
    return name


def registration(user: str) -> bytes:
    return wire.resource_id(f"{user}@{OVERLAY}".encode())


def asker_finds(peer: LivePeer, user: str) -> bool:
    try:
        return bool(peer.lookup(user)["entries"])
    except AssertionError:
        # Nobody has such a line: the exit status is 1.
        return False


def test_it_admits_a_real_peer_whose_messages_it_forwards(alice: Stranger, overlay: LiveOverlay) -> None:
    """The newcomer's place is before it: Attach, Update, Join, the hand-over, and Attaches of others through it."""
    configuration, ring = alice.peer.configuration, [*nodes(overlay), alice.node_id]
    newcomer = newcomer_with_room_behind(overlay, ring)
    place = bytes.fromhex(newcomer.node_id)
    identity = member_just_after(configuration, place, ring)
    with joined(Stranger(configuration, identity, overlay.directory), overlay, alice) as stranger:
        before = stranger.peer.predecessors[0]
        moving = user_held_by(stranger, overlay, lambda where: after(before, where) <= after(before, place))
        owner = overlay.peers[1]
        owner.add_line(moving)
        owner.wait_placed(moving)
        assert stranger.peer.is_responsible(registration(moving))
        newcomer.run()
        newcomer.wait_joined()
        in_the_ring(overlay, stranger, alice)
        assert (wire.JOIN, place) in stranger.peer.served
        passed = [message.code for message in stranger.peer.forwarded]
        assert wire.ATTACH in passed
        assert wire.ATTACH + 1 in passed
        # What it held for this part of the ring is the newcomer's now.
        assert not stranger.peer.is_responsible(registration(moving))
        (entry,) = overlay.peers[2].lookup(moving)["entries"]
        assert entry["peer"] == owner.node_id
        newcomer.stop()
        in_the_ring(overlay, stranger, alice)
        (entry,) = overlay.peers[2].lookup(moving)["entries"]
        assert entry["peer"] == owner.node_id
        overlay.command("line", "remove", moving, "--peer", owner.directory)


def newcomer_with_room_behind(overlay: LiveOverlay, ring: list[bytes]) -> LivePeer:
    """A peer that does not run yet, and not close before one that does: another has a good chance to come between."""
    while True:
        newcomer = overlay.add_peer()
        if min(after(bytes.fromhex(newcomer.node_id), other) for other in ring) > SPACE // 8:
            return newcomer


def test_its_records_outlive_its_leaving_and_its_crash(alice: Stranger, overlay: LiveOverlay) -> None:
    """What members hold at it is in the ring after it has said goodbye, and after it has just gone."""
    for is_crash, user in ((False, "bob"), (True, "carol")):
        stranger = enrolled(overlay, user)
        try:
            stranger.join()
            in_the_ring(overlay, alice, stranger)
            here = user_held_by(stranger, overlay)
            owner = overlay.peers[1]
            owner.add_line(here)
            owner.wait_placed(here)
            assert registration(here) in stranger.peer.store.resources()
            if not is_crash:
                stranger.leave()
        finally:
            stranger.close()
        in_the_ring(overlay, alice)
        (entry,) = overlay.peers[2].lookup(here)["entries"]
        assert entry["peer"] == owner.node_id
        overlay.command("line", "remove", here, "--peer", owner.directory)


def test_what_it_refuses_as_a_store_it_would_refuse_from_anybody(alice: Stranger) -> None:
    """The foreign peer does check: a value that somebody else has signed is not taken by it."""
    bob = member(alice.peer.configuration, "bob")
    where = resource_of(alice)
    forged = bob.stored(where, SINGLE_KIND, wire.Value(b"forged"), 60, alice.now_ms())
    with pytest.raises(Rejected):
        alice.peer.store.put(
            where, 0, [wire.KindData(SINGLE_KIND, 0, [forged])], [bob.certificate.der], alice.peer.identity.user
        )
