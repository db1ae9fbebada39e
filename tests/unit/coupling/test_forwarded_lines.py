"""Lines whose calls are forwarded: what their records say (RFC 7904 section 3.1), and that it outlives their peers."""

from __future__ import annotations

import pytest

from p2psip.coupling.lines import Publisher
from p2psip.reload.usages.sip_registration import (
    FORWARD_LIFETIME_S,
    LIFETIME_S,
    RegistrationForward,
    RegistrationRoute,
    canonical_aor,
    forward_to,
)
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.handling.handlings import HandlingChanged


def forward(site: Site, user: str, **handling: object) -> None:
    """The owner of a line says so on the machine of its peer."""
    wanted = CallHandling(**handling)  # type: ignore[arg-type]
    site.call(lambda now: site.peer.handle_calls(user, wanted, now))


def leads_to(world: SimulatedPeers, user: str, *, at: int = 0) -> list[str]:
    """Where the entries of a user lead: the name of a peer, or an AoR."""
    found = world.look_up(at, user).registrations
    assert found is not None
    names = {site.peer.node.node_id: site.name for site in world.sites.values()}
    return [
        names[entry.target.peer] if isinstance(entry.target, RegistrationRoute) else entry.target.aor
        for entry in found.entries
    ]


def calls(world: SimulatedPeers, alice: SitePhone, target: str, within_s: float = 5.0) -> bool:
    """True if alice's call is answered in that time; it is hung up again."""
    number = alice.dial(target)
    is_up = world.run(within_s, stop=lambda: alice.talks)
    alice.hang_up(number)
    world.run(1.0)
    return is_up


def test_the_record_leads_on_and_back_again() -> None:
    world = SimulatedPeers("forward/record", 3)
    alice, bob, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    forward(world[1], "bob", always="carol")
    world.run(2.0)
    assert leads_to(world, "bob") == [f"carol@{OVERLAY}"]
    assert calls(world, alice, "bob")
    assert (bob.rang, carol.rang) == (0, 1)
    forward(world[1], "bob")
    world.run(2.0)
    assert leads_to(world, "bob") == ["p1"]
    assert calls(world, alice, "bob")
    assert (bob.rang, carol.rang) == (1, 1)


@pytest.mark.long
@pytest.mark.parametrize("is_clean", [True, False], ids=["stopped", "killed"])
def test_it_is_forwarded_while_the_peer_is_off(*, is_clean: bool) -> None:
    """An hour later, too: what leads on needs no peer that is up."""
    world = SimulatedPeers(f"forward/off {is_clean}", 4)
    alice, _, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    forward(world[1], "bob", always="carol")
    world.run(2.0)
    if is_clean:
        world[1].call(world[1].peer.stop)
        world.run(5.0)
    world.world.crash(world[1].host)
    world.run(30.0)
    assert calls(world, alice, "bob")
    world.run(2.0 * LIFETIME_S)
    assert leads_to(world, "bob") == [f"carol@{OVERLAY}"]
    assert calls(world, alice, "bob")
    assert carol.rang == 2


def test_a_line_that_is_removed_forwards_nothing() -> None:
    world = SimulatedPeers("forward/removed", 3)
    world.with_phones((1, "bob"))
    forward(world[1], "bob", always="carol")
    world.run(2.0)
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.run(2.0)
    assert leads_to(world, "bob") == []


def test_it_is_kept_over_a_restart() -> None:
    """What the files say when the peer begins again; the record never leads back in between."""
    world = SimulatedPeers("forward/restart", 3)
    world.line(1, "bob")
    forward(world[1], "bob", always="carol")
    world.settle_records([1])
    (line,) = world[1].peer.publisher.lines
    store = world[1].host.store
    world.world.crash(world[1].host)
    world.run(5.0)
    site = world.add(1, store)
    site.call(lambda now: site.peer.add_line(line, now, CallHandling(always="carol")))
    world.run(30.0)
    assert site.peer.publisher.placed("bob") is not None
    assert leads_to(world, "bob") == [f"carol@{OVERLAY}"]


def test_who_screens_callers_is_asked_first() -> None:
    """The record leads to the peer, which forwards, or refuses."""
    world = SimulatedPeers("forward/screened", 3)
    alice, zoe, carol = world.with_phones((0, "alice"), (0, "zoe"), (2, "carol"))
    world.with_phones((1, "bob"))
    forward(world[1], "bob", always="carol", deny=("zoe",))
    world.run(2.0)
    assert leads_to(world, "bob") == ["p1"]
    assert calls(world, alice, "bob")
    number = zoe.dial("bob")
    world.run(3.0)
    assert zoe.ended(number) == "603 Decline; bob takes no calls of zoe"
    assert carol.rang == 1


def test_whom_it_is_forwarded_to_has_wishes_of_his_own() -> None:
    """Also at the caller's own peer, where no other one is asked."""
    world = SimulatedPeers("forward/twice", 3)
    alice, carol = world.with_phones((0, "alice"), (0, "carol"))
    world.with_phones((1, "bob"))
    forward(world[1], "bob", always="carol")
    forward(world[0], "carol", do_not_disturb=True)
    world.run(2.0)
    number = alice.dial("bob")
    world.run(3.0)
    assert alice.ended(number) == "486 Busy Here; carol does not want to be disturbed"
    assert carol.rang == 0


def test_busy_and_no_answer_across_peers() -> None:
    world = SimulatedPeers("forward/conditions", 3)
    alice, carol = world.with_phones((0, "alice"), (2, "carol"))
    (bob,) = world.with_phones((1, "bob"), answer_s=None)
    forward(world[1], "bob", no_answer="carol", ring_s=10)
    assert leads_to(world, "bob") == ["p1"]
    assert calls(world, alice, "bob", within_s=15.0)
    assert (bob.rang, carol.rang) == (1, 1)
    bob.unplug()
    forward(world[1], "bob", busy="carol", do_not_disturb=True)
    assert calls(world, alice, "bob")
    assert carol.rang == 2


def test_what_is_dialled_is_recorded_and_kept() -> None:
    """`*72carol` from bob's phone: the overlay knows, and whoever keeps the files is told."""
    world = SimulatedPeers("forward/dialled", 3)
    alice, bob, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    bob.dial("*72carol")
    world.run(8.0)
    kept = [effect for effect in world[1].host.events if isinstance(effect, HandlingChanged)]
    assert kept == [HandlingChanged("bob", CallHandling(always="carol"))]
    assert leads_to(world, "bob") == [f"carol@{OVERLAY}"]
    assert calls(world, alice, "bob")
    assert carol.rang == 1
    bob.dial("*73")
    world.run(8.0)
    assert leads_to(world, "bob") == ["p1"]


def test_what_is_not_forwarded_elsewhere_is_not_stored_again() -> None:
    """Only a change of whom the record leads to is one for the overlay."""
    world = SimulatedPeers("forward/same", 3)
    world.with_phones((1, "bob"))
    publisher: Publisher = world[1].peer.publisher
    before = publisher.placed("bob")
    forward(world[1], "bob", ring_s=30)
    world.run(5.0)
    assert publisher.placed("bob") == before


def test_what_leads_on_stands_for_a_day() -> None:
    world = SimulatedPeers("forward/life", 3)
    world.with_phones((1, "bob"))
    forward(world[1], "bob", always="carol")
    world.run(2.0)
    found = world.look_up(0, "bob").registrations
    assert found is not None
    (entry,) = found.entries
    assert entry.target == RegistrationForward(f"carol@{OVERLAY}")
    assert LIFETIME_S < entry.lifetime_s <= FORWARD_LIFETIME_S


@pytest.mark.parametrize("aor", [f"carol@{OVERLAY}", f"+49#%ü@{OVERLAY}"])
def test_a_registration_leads_to_the_aor_it_was_made_of(aor: str) -> None:
    """7904 section 7: escapes are read before names are compared."""
    data = forward_to(aor).data
    assert canonical_aor(data.uri.decode()) == aor  # type: ignore[union-attr]
