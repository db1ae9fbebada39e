"""Copies that are compared: what is taken, and what is refused and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from spreading_peers import DATE_MS, PEER, SpreadingPeers, entry, line

from p2psip.reload.config.configuration import DIRECTORY_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.node.spreading.kept_copies import read_copies, write_copies
from p2psip.reload.node.spreading.spread_set import SpreadCopy, SpreadSet, children
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.usages.directory_usage import ENTRY_LIFETIME_S, sign_reached
from p2psip.reload.wire.kinds import DIRECTORY_ENTRY, LINES_REACHED
from p2psip.reload.wire.storage_messages import DataValue, DictionaryEntry
from p2psip.reload.wire.usages.directory_values import DirectoryEntry
from p2psip.reload.wire.usages.spread_messages import RangePart
from p2psip.sim.simulated_overlay import SimulatedOverlay


def test_what_one_has_the_other_has_soon_and_the_newest_of_it() -> None:
    pair = SpreadingPeers("both")
    pair.put(0, line(1), entry("Alice"))
    pair.put(1, line(2), entry("Bob"))
    pair.run(90.0)
    assert len(pair.spreading(0).copies) == len(pair.spreading(1).copies) == 2
    pair.put(0, line(1), entry("Alice Hill"))
    pair.run(90.0)
    said = {copy.user: copy.stored.data_value.value for copy in pair.spreading(1).copies}
    assert said["user1@sim.example"] == entry("Alice Hill").encode()


def test_an_entry_that_somebody_else_has_signed_is_refused_with_the_reason() -> None:
    pair = SpreadingPeers("forged")
    mallory, alice = line(1, "mallory"), line(2, "alice")
    honest = pair.copy(alice, entry("Alice"))
    keyed = DictionaryEntry(bytes(alice.node_id), honest.stored.data_value)
    signed = sign_value(mallory, honest.resource, DIRECTORY_ENTRY, keyed, pair.now_ms, ENTRY_LIFETIME_S)
    pair.plant(replace(honest, stored=signed, certificates=mallory.certificates))
    pair.run(200.0)
    assert not pair.spreading(1).copies
    assert pair.spreading(1).refused[0].startswith("USER-NODE-MATCH keeps mallory@sim.example from writing")
    assert len(pair.spreading(1).refused) == 1, "it is not asked for again"


def test_an_entry_that_was_changed_on_its_way_is_refused() -> None:
    pair = SpreadingPeers("changed")
    honest = pair.copy(line(1), entry("Alice"))
    keyed = DictionaryEntry(bytes(line(1).node_id), DataValue(True, entry("Mallory").encode()))
    pair.plant(replace(honest, stored=replace(honest.stored, value=keyed)))
    pair.run(200.0)
    assert not pair.spreading(1).copies
    assert "signature" in pair.spreading(1).refused[0]


def test_an_entry_that_has_expired_is_refused_whatever_its_lifetime_says() -> None:
    pair = SpreadingPeers("expired")
    pair.plant(pair.copy(line(1), entry("Alice"), pair.now_ms - 15 * 24 * 3600 * 1000))
    pair.run(200.0)
    assert not pair.spreading(1).copies
    assert "a value that was signed at" in pair.spreading(1).refused[0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (bytes(401), "401 bytes, where a value of Kind 0xf0d10001 has at most 400"),
        (b"\x00\x01", "this overlay takes no values of Kind 0xf0d10001 for user1@sim.example"),
        (DirectoryEntry(b"x\n", b"", b"", b"", PEER).encode(), "takes no values"),
        (DirectoryEntry(b"\xff", b"", b"", b"", PEER).encode(), "takes no values"),
        (DirectoryEntry(b"x" * 65, b"", b"", b"", PEER).encode(), "takes no values"),
    ],
)
def test_an_entry_that_is_too_large_or_cannot_be_read_is_refused(value: bytes, reason: str) -> None:
    pair = SpreadingPeers("size")
    who = line(1)
    honest = pair.copy(who, entry("Alice"))
    keyed = DictionaryEntry(bytes(who.node_id), DataValue(True, value))
    signed = sign_value(who, honest.resource, DIRECTORY_ENTRY, keyed, pair.now_ms, ENTRY_LIFETIME_S)
    pair.plant(replace(honest, stored=signed))
    pair.run(200.0)
    assert not pair.spreading(1).copies
    assert reason in pair.spreading(1).refused[0]


def test_one_member_has_room_for_so_many_lines() -> None:
    pair = SpreadingPeers("quota")
    for number in range(1, 20):
        pair.plant(pair.copy(line(number, "alice"), entry(f"Alice {number}")))
    pair.run(200.0)
    assert len(pair.spreading(1).copies) == 16
    reason = "alice@sim.example has 16 values of Kind 0xf0d10001 already"
    assert list(pair.spreading(1).refused) == [reason] * 3


def test_one_peer_speaks_of_its_own_phones_only() -> None:
    pair = SpreadingPeers("reached")
    hash_name = pair.overlay.node(pair.hosts[0]).hash_name
    mallory, victim = line(1, "peer-m"), line(2, "peer-v")
    resource, stored = sign_reached(mallory, (line(3).node_id,), pair.now_ms, hash_name)
    ends_at = pair.overlay.world.now + 1000.0
    honest = SpreadCopy(resource, LINES_REACHED, stored, mallory.user, mallory.node_id, mallory.certificates, ends_at)
    pair.plant(replace(honest, resource=hash_name(victim.node_id)))
    pair.plant(honest)
    pair.run(200.0)
    assert [copy.signer for copy in pair.spreading(1).copies] == [mallory.node_id]
    assert "peer-m@sim.example" in pair.spreading(1).refused[0] or "signature" in pair.spreading(1).refused[0]


def test_who_has_no_copy_says_so_and_is_left_alone() -> None:
    overlay = SimulatedOverlay("alone", required_kinds=(SIP_REGISTRATION_KIND, *DIRECTORY_KINDS))
    hosts = [overlay.add_peer(number) for number in range(2)]
    overlay.world.run_for(60.0)
    overlay.world.call(hosts[0], overlay.node(hosts[0]).spreading.joined)
    overlay.world.run_for(600.0)
    spreading = overlay.node(hosts[0]).spreading
    assert spreading._left_alone[overlay.node(hosts[1]).node_id] > overlay.world.now + 1800.0


def test_what_is_kept_over_a_restart_is_there_again_with_what_is_left_of_its_lifetime() -> None:
    pair = SpreadingPeers("kept", 1)
    pair.put(0, line(1), entry("Alice"))
    now = pair.overlay.world.now
    written = write_copies(pair.spreading(0).copies, now)
    models = pair.overlay.configuration.models
    (copy,) = read_copies(written, models, 16, 3600.0, 50_000.0)
    assert copy.expires_at == 50_000.0 + ENTRY_LIFETIME_S - 3600.0
    (known,) = pair.spreading(0).copies
    assert (copy.user, copy.signer, copy.certificates) == (known.user, known.signer, known.certificates)
    pair.spreading(0).copies.remove(known.position)
    pair.spreading(0).restore([copy, replace(copy, kind=7)], 50_000.0)
    assert len(pair.spreading(0).copies) == 1


def test_digests_of_ranges_say_where_two_sets_differ() -> None:
    ours, theirs = SpreadSet(), SpreadSet()
    pair = SpreadingPeers("sets", 1)
    copies = [pair.copy(line(number), entry("x"), DATE_MS) for number in range(200)]
    for copy in copies:
        ours.put(copy)
        theirs.put(copy)
    assert ours.digest(0, 0) == theirs.digest(0, 0) != 0
    theirs.remove(copies[17].position)
    differing = [each for each in children(0, 0) if ours.digest(*each) != theirs.digest(*each)]
    assert len(differing) == 1
    assert copies[17].position in ours.positions(*differing[0])
    assert sum(len(ours.positions(*each)) for each in children(0, 0)) == 200
    theirs.put(copies[17])
    assert ours.digest(0, 0) == theirs.digest(0, 0)
    assert ours.count_at(copies[17].resource, DIRECTORY_ENTRY) == 1


def test_who_has_us_ask_without_end_keeps_us_from_asking_others_no_longer_than_a_round_may_be() -> None:
    """It says of each range that all of its parts are other than ours."""
    pair = SpreadingPeers("endless", 3)
    liar = pair.spreading(0)
    liar._part = lambda asked: RangePart(asked.depth, asked.start, tuple(range(1, 17)), ())  # type: ignore[method-assign]
    pair.put(1, line(1), entry("Alice"))
    pair.run(1200.0)
    assert [copy.user for copy in pair.spreading(2).copies] == ["user1@sim.example"]
    assert max(len(each.spreading.copies) for each in pair.overlay.nodes.values()) == 1


def test_who_is_asked_by_one_who_has_something_else_asks_back_soon() -> None:
    """And does not wait until its own minute is over, though it has just found that nothing was new."""
    for number in range(5):
        pair = SpreadingPeers(f"soon {number}")
        pair.put(0, line(1), entry("Alice"))
        pair.run(30.0)
        assert len(pair.spreading(1).copies) == 1


def test_what_is_older_than_what_is_here_does_not_come_back() -> None:
    pair = SpreadingPeers("older", 1)
    pair.put(0, line(1), entry("Alice Hill"))
    pair.put(0, line(1), entry("Alice"), pair.now_ms - 60_000)
    (copy,) = pair.spreading(0).copies
    assert copy.stored.data_value.value == entry("Alice Hill").encode()
