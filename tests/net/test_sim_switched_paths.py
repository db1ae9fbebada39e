"""Calls that are picked up and parked while the caller is behind another NAT: both hear each other, in virtual time."""

from __future__ import annotations

import pytest

from p2psip.sim.ip.boxes import PORT_RESTRICTED, NatBehaviour
from p2psip.sim.ip.network import Way
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone
from p2psip.sip.entities.switching.leads import place_uri
from p2psip.sip.entities.switching.switchboard import PARKED_S

TONES_HZ = {"alice": 400.0, "bob": 500.0, "carol": 600.0}


@pytest.fixture
def world() -> InternetSites:
    """A public peer, and two behind NATs that forward nothing."""
    world = InternetSites("switched", no_ice=False, overlay_link_protocols=("DTLS",))
    world.internet.default_way = Way(delay_s=0.03)
    world.add_public(0)
    for number, behaviour in ((1, PORT_RESTRICTED), (2, NatBehaviour())):
        world.run(2.0)
        world.add_behind_nat(number, behaviour, forwards=False)
    return world


def phones(world: InternetSites, *users: tuple[int, str], silent: str = "") -> list[MachinePhone]:
    """Lines and phones, (site, user) each; who is silent lets it ring."""
    for number, user in users:
        world.line(world.sites[number], user)
    world.settle(120.0)
    world.run(30.0)
    return [
        world.phone(world.sites[number], user, tone_hz=TONES_HZ[user], answer_s=None if user == silent else 0.5)
        for number, user in users
    ]


def heard_hz(phone: MachinePhone) -> float:
    """The tone that it heard for longest in its latest call."""
    tone = phone.reports[-1].tone
    assert tone is not None, f"{phone.user} heard nothing"
    return round(tone.frequency_hz, -1)


def test_a_caller_from_behind_another_nat_is_picked_up(world: InternetSites) -> None:
    alice, bob, carol = phones(world, (1, "alice"), (2, "bob"), (2, "carol"), silent="bob")
    call = alice.dial("bob")
    assert world.run(10.0, stop=lambda: bob.rang == 1)
    world.run(1.0)
    carol.dial("**bob")
    assert world.run(5.0, stop=lambda: alice.talks and carol.talks)
    world.run(4.0)
    alice.hang_up(call)
    world.run(3.0)
    assert (heard_hz(alice), heard_hz(carol)) == (TONES_HZ["carol"], TONES_HZ["alice"])
    assert all(len(site.peer.server.relay) == 0 for site in world.sites), "nothing is left of it"


def test_who_has_parked_may_have_gone_to_another_site(world: InternetSites) -> None:
    """The switchboard of valley has alice, calls bob, who is where she is, and carries what both say."""
    world.line(world.sites[2], "bob")
    alice, bob = phones(world, (1, "alice"), (1, "bob"))
    server = world.sites[2].peer.server
    call = alice.dial(str(place_uri("1", "bob", server._config, server._tokens)))
    assert world.run(10.0, stop=lambda: alice.talks)
    assert world.run(PARKED_S + 10.0, stop=lambda: bob.talks)
    world.run(30.0)
    alice.hang_up(call)
    world.run(3.0)
    assert (heard_hz(alice), heard_hz(bob)) == (TONES_HZ["bob"], TONES_HZ["alice"])
