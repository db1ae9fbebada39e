"""A conference of phones behind NATs, in virtual time: both hear each other, also after the peer that mixes has no
power.
"""

from __future__ import annotations

import pytest
from rooms_world import EVERY_PEER, KINDS, MIXES, ROOM

from p2psip.sim.ip.boxes import PORT_RESTRICTED, NatBehaviour
from p2psip.sim.ip.network import Way
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

TONES_HZ = {"alice": 400.0, "bob": 500.0}
BACK_S = 5.0


def mixing(world: InternetSites) -> list[InternetSite]:
    """At which peers somebody is in the room."""
    return [site for site in world.running() if ROOM in site.peer.rooms.mixed]


def is_whole(world: InternetSites) -> bool:
    return [sorted(site.peer.rooms.mixed[ROOM]) for site in mixing(world)] == [["alice", "bob"]]


def heard_hz(phone: MachinePhone) -> float:
    tone = phone.reports[-1].tone
    return 0.0 if tone is None else round(tone.frequency_hz, -1)


@pytest.mark.long
def test_phones_behind_two_nats_meet_and_meet_again_elsewhere() -> None:
    world = InternetSites(
        "conference", no_ice=False, overlay_link_protocols=("DTLS",), required_kinds=KINDS, services=EVERY_PEER
    )
    world.internet.default_way = Way(delay_s=0.03)
    world.add_public(0)
    for number in (1, 2):
        world.run(2.0)
        world.add_public(number, numbering=MIXES)
    for number, behaviour in ((3, PORT_RESTRICTED), (4, NatBehaviour())):
        world.run(2.0)
        world.add_behind_nat(number, behaviour, forwards=False)
    places = {"alice": world.sites[3], "bob": world.sites[4]}
    for user, site in places.items():
        world.line(site, user)
    world.settle(120.0)
    world.run(30.0)
    phones = [world.phone(site, user, tone_hz=TONES_HZ[user]) for user, site in places.items()]
    calls = [phone.dial(ROOM) for phone in phones]
    assert world.run(15.0, stop=lambda: all(phone.talks for phone in phones)), [
        phone.ended(call) for phone, call in zip(phones, calls, strict=True)
    ]
    world.run(2.0)
    assert is_whole(world)
    (mixer,) = mixing(world)
    world.cut_power(mixer)
    began = world.internet.now
    assert world.run(BACK_S, stop=lambda: is_whole(world))
    took_s = world.internet.now - began
    assert took_s > 1.0
    world.run(5.0)
    for phone, call in zip(phones, calls, strict=True):
        assert phone.ended(call) is None
        phone.hang_up(call)
    world.run(3.0)
    alice, bob = phones
    assert (heard_hz(alice), heard_hz(bob)) == (TONES_HZ["bob"], TONES_HZ["alice"])
    assert not mixing(world)
