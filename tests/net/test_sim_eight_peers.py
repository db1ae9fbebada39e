"""Eight peers, two public and six behind NATs of different kinds, in virtual time: nothing but the eight of them."""

from __future__ import annotations

import ipaddress
import itertools
import random
from collections import Counter

import pytest
from effort import times
from heard_calls import PACKETS_A_STEP, STEP_S, Ears, call_up, heard, pitch
from ice_internet import ice_internet
from ice_oracle import can_be_punched
from ice_world import Scene

from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Dependence, NatBehaviour
from p2psip.sim.ip.packet_tap import PacketTap
from p2psip.sim.sites.internet import NAT_LAN, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

pytestmark = pytest.mark.usefixtures("long_packets")

NATS = (
    None,
    None,
    FULL_CONE,
    NatBehaviour(),
    PORT_RESTRICTED,
    NatBehaviour(Dependence.ADDRESS, Dependence.ADDRESS),
    SYMMETRIC,
    NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT, timeout_s=30.0, preserves_port=False),
)
RELAYS = (0, 1)
PAIRS = list(itertools.combinations(range(len(NATS)), 2))


def grow(seed: str) -> tuple[InternetSites, PacketTap]:
    """All eight, one after another; no other machine is on this Internet. The two that are public relay."""
    world = ice_internet(seed)
    tap = PacketTap(world.internet)
    for number, behaviour in enumerate(NATS):
        if behaviour is None:
            world.add_public(number, relay=RelayWish.YES)
        else:
            world.add_behind_nat(number, behaviour, forwards=False)
        world.run(2.0)
    return world, tap


Eight = tuple[InternetSites, PacketTap, list[MachinePhone]]


def boxes(number: int) -> tuple[NatBehaviour, ...]:
    """Behind what a site is."""
    behaviour = NATS[number]
    return () if behaviour is None else (behaviour,)


def are_linked(world: InternetSites, here: int, there: int) -> bool:
    """True if one has a link with the other."""
    other = world.sites[there].peer.node.node_id
    return other in {link.node for link in world.sites[here].peer.node.links()}


def is_direct(world: InternetSites, here: int, there: int) -> bool:
    """True if neither end of their link is at a relay."""
    sites = world.sites[here], world.sites[there]
    ids = {site.peer.node.node_id for site in sites}
    ends = {link.remote.host for site in sites for link in site.peer.node.links() if link.node in ids}
    relays = {world.public_host(number) for number in RELAYS}
    return not ends & (relays - {sites[0].advertised, sites[1].advertised})


@pytest.fixture(scope="module")
def eight() -> Eight:
    """The eight, made once."""
    return with_phones("eight")


def with_phones(seed: str) -> Eight:
    """The eight, all linked, and a phone at each, which plays a tone of its own."""
    world, tap = grow(seed)
    for site in world.sites:
        world.line(site, f"user{site.number}")
    world.settle(120.0)
    world.run(120.0, stop=lambda: all(are_linked(world, *pair) for pair in PAIRS))
    world.run(60.0)
    phones = [world.phone(site, f"user{site.number}", tone_hz=pitch(site.number)) for site in world.sites]
    return world, tap, phones


def test_it_forms_with_nobody_else_and_nothing_leaves_for_who_is_no_member(eight: Eight) -> None:
    """All 28 pairs are linked, directly where their NATs let them and else over a relay; and no packet, be it of STUN,
    TURN or DTLS, goes anywhere but to the eight, by an address that is theirs or that they say is theirs.
    """
    world, tap, phones = eight
    assert [pair for pair in PAIRS if not are_linked(world, *pair)] == []
    direct = [pair for pair in PAIRS if is_direct(world, *pair)]
    assert direct == [pair for pair in PAIRS if can_be_punched(Scene(*map(boxes, pair)))]
    members = {world.public_host(number) for number in range(len(NATS))}
    assert tap.destinations <= members | {f"{NAT_LAN}.2"} | {phone.address.host for phone in phones}
    assert members <= tap.destinations


def test_all_28_pairs_of_phones_call_each_other(eight: Eight, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever two NATs are between: each hears the other; and nothing leaves but for members and their phones."""
    world, tap, phones = eight
    took, deaf = [], []
    for here, there in PAIRS:
        call, took_s = call_up(world, phones[here], phones[there])
        took.append(took_s)
        world.run(2.0)
        phones[here].hang_up(call)
        world.run(3.0)
        if (heard(phones[here]), heard(phones[there])) != (pitch(there) // 10, pitch(here) // 10):
            deaf.append((here, there))
    with capsys.disabled():
        print(f"\n28 calls, answered after {min(took):.2f} to {max(took):.2f} s, half a second of which the phone rang")
    assert deaf == []
    members = {world.public_host(number) for number in range(len(NATS))} | {f"{NAT_LAN}.2"}
    assert tap.destinations <= members | {phone.address.host for phone in phones}


def nat_reboots(world: InternetSites, here: int) -> None:
    """At once, with other ports."""
    nat = world.sites[here].nat
    assert nat is not None
    nat.reboot(off_s=0.0)


def outside_address_changes(world: InternetSites, here: int) -> None:
    """Its provider gives the router the next one."""
    nat = world.sites[here].nat
    assert nat is not None
    nat.reboot(str(ipaddress.ip_address(nat.outside.hosts[0]) + 70), off_s=0.0)


def uplink_is_switched(world: InternetSites, here: int) -> None:
    """The router's other provider is in use from now on."""
    world.switch_uplink(world.sites[here])


def relay_dies(world: InternetSites, here: int) -> None:
    """The one that carries this call has no power any more."""
    tap = PacketTap(world.internet)
    world.run(1.0)
    from_relays = Counter({relay: packets_of(tap, world, relay, here) for relay in RELAYS})
    ((carrying, packets), *_) = from_relays.most_common(1)
    assert packets > PACKETS_A_STEP / STEP_S
    world.cut_power(world.sites[carrying])


def packets_of(tap: PacketTap, world: InternetSites, one: int, other: int) -> int:
    """How many packets have gone from one site to another."""
    ends = world.sites[one].advertised, world.sites[other].advertised
    return sum(count for passage, count in tap.seen.items() if (passage.source, passage.destination) == ends)


FAULTS = (
    (nat_reboots, (3, 4)),
    (nat_reboots, (7, 2)),
    (outside_address_changes, (3, 4)),
    (outside_address_changes, (4, 6)),
    (uplink_is_switched, (3, 4)),
    (uplink_is_switched, (4, 6)),
    (relay_dies, (6, 4)),
)
"""What happens, in a call between which two."""

BACK_S = 3.0
"""Within so much both hear each other again."""


@pytest.mark.parametrize("seed", [f"eight {number}" for number in range(times(2))])
def test_what_happens_in_the_middle_of_a_call_is_over_in_seconds(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both hear each other again, within the same call: where a check comes through the path moves, also to the other
    relay that both know of; else there is a new AppAttach.
    """
    world, _, phones = with_phones(seed)
    for fault, pair in FAULTS:
        here, there = (phones[number] for number in pair)
        call, _ = call_up(world, here, there)
        world.run(3.0)
        ears = Ears(world, (here, there))
        assert ears.back_after() == 0.0, "they hear each other to begin with"
        fault(world, pair[0])
        took_s = ears.back_after()
        with capsys.disabled():
            print(f"\n{seed}, {fault.__name__}: audio is back after {took_s:.2f} s")
        assert here.ended(call) is None
        assert took_s <= BACK_S
        here.hang_up(call)
        world.run(60.0)


SOON_BACK_S = 5.0
"""The same where the next thing happens before what the last one has left behind is over."""

ONE_AFTER_ANOTHER = ((nat_reboots, 6), (outside_address_changes, 4), (uplink_is_switched, 4), (relay_dies, 6)) * 3
"""In calls between two that need a relay; what happens, and at whose site."""


@pytest.mark.parametrize("seed", [f"one after another {number}" for number in range(times(1))])
def test_one_thing_after_another(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Links whose other end is gone stand in nobody's way: of those between two peers the one that works is used."""
    world, _, phones = with_phones(seed)
    rng, here, there = random.Random(seed), phones[6], phones[4]
    for fault, whose in ONE_AFTER_ANOTHER:
        call, _ = call_up(world, here, there)
        world.run(rng.uniform(2.0, 5.0))
        ears = Ears(world, (here, there))
        assert ears.back_after() == 0.0, "they hear each other to begin with"
        fault(world, whose)
        took_s = ears.back_after()
        with capsys.disabled():
            print(f"\n{seed}, {fault.__name__}: audio is back after {took_s:.2f} s")
        assert here.ended(call) is None
        assert took_s <= SOON_BACK_S
        here.hang_up(call)
        for relay in (world.sites[number] for number in RELAYS):
            if not relay.machine.is_on:
                world.power_up(relay)
        world.run(rng.uniform(2.0, 20.0))
