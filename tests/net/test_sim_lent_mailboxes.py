"""Voicemail where there is one public peer, and one of its clients lends it storage (docs/decisions/lending.md)."""

from __future__ import annotations

from typing import cast

import pytest
from mailbox_calls import KINDS, contents, heard, leave, open_mailbox

from p2psip.daemon.report import status_of
from p2psip.reload.wire.kinds import MAIL, MAIL_PART
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers

pytestmark = pytest.mark.long


def one_public_peer(seed: str, lend_bytes: int) -> tuple[SimulatedPeers, SitePhone, SitePhone]:
    """alice and bob at two clients; bob has a mailbox, and a message that alice has left."""
    world = SimulatedPeers(seed, 1, required_kinds=KINDS)
    world.add(1, is_client=True)
    world.add(2, is_client=True, lend_bytes=lend_bytes)
    assert world.run(60.0, stop=lambda: all(site.peer.node.is_connected for site in world.sites.values()))
    alice, bob = world.with_phones((1, "alice"), (2, "bob"))
    open_mailbox(world, bob)
    bob.unplug()
    leave(world, alice, "bob")
    assert len(contents(world[2], "bob").messages) == 1
    world.run(30.0)
    return world, alice, bob


def lose_disk(world: SimulatedPeers) -> None:
    """The one public peer starts again, on a new card."""
    world.world.crash(world[0].host, is_silent=True)
    world.run(5.0)
    world.add(0)
    assert world.run(300.0, stop=lambda: all(world[number].peer.node.is_connected for number in (1, 2)))
    world.run(120.0)


def listen(world: SimulatedPeers, bob: SitePhone) -> float:
    """Which tone bob hears when he dials his mailbox."""
    bob.is_plugged_in = True
    call = bob.dial("*97")
    assert world.run(20.0, stop=lambda: bob.talks), bob.ended(call)
    world.run(6.0)
    tone = heard(world[2], 2.0)
    assert tone is not None
    return tone.frequency_hz


def test_messages_are_read_at_the_client_that_lends() -> None:
    world, _, bob = one_public_peer("lent", 1 << 20)
    assert {MAIL, MAIL_PART} <= set(world[2].host.store.stored_kinds())
    before = world[2].peer.node.lending.reads
    assert listen(world, bob) == pytest.approx(700, abs=5)
    (lender,) = world[0].peer.node.lenders(world.world.now)
    assert world[2].peer.node.lending.reads > before
    assert (lender.answered, lender.failed) == (world[2].peer.node.lending.reads, 0)
    now = world.world.now
    lends = status_of(world[2].peer, "", (), now)["lends"]
    (lender_said,) = cast("list[object]", status_of(world[0].peer, "", (), now)["lenders"])
    assert lends == {
        "room_bytes": 1 << 20,
        "to": str(world[0].peer.node.node_id),
        "user": world[0].peer.node.user,
        "records": lender.count,
        "bytes": lender.size_bytes,
        "reads": lender.answered,
    }
    assert lender_said == {
        "node_id": str(world[2].peer.node.node_id),
        "user": world[2].peer.node.user,
        "room_bytes": 1 << 20,
        "records": lender.count,
        "bytes": lender.size_bytes,
        "answered": lender.answered,
        "failed": 0,
        "asked": True,
    }
    assert status_of(world[1].peer, "", (), now)["lends"] is None


def test_a_message_survives_the_disk_of_the_only_peer() -> None:
    world, _, bob = one_public_peer("lent", 1 << 20)
    lose_disk(world)
    (message,) = contents(world[2], "bob").messages
    assert (message.caller, message.is_new) == ("alice", True)
    assert listen(world, bob) == pytest.approx(700, abs=5)


def test_without_a_client_that_lends_it_does_not() -> None:
    world, _, _ = one_public_peer("lent", 0)
    lose_disk(world)
    assert contents(world[2], "bob").messages == ()
