"""Eight peers, two public and six behind NATs of different kinds, in virtual time: nothing but the eight of them."""

from __future__ import annotations

import itertools

import pytest
from ice_oracle import can_be_punched
from ice_world import Scene

from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND, TURN_SERVICE_KIND
from p2psip.reload.node.relays.relay_terms import RelayWish
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Dependence, NatBehaviour
from p2psip.sim.ip.packet_tap import PacketTap
from p2psip.sim.sites.internet import NAT_LAN, InternetSites

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
    kinds = SIP_REGISTRATION_KIND, TURN_SERVICE_KIND
    world = InternetSites(seed, no_ice=False, overlay_link_protocols=("DTLS",), turn_density=3, required_kinds=kinds)
    tap = PacketTap(world.internet)
    for number, behaviour in enumerate(NATS):
        if behaviour is None:
            world.add_public(number, relay=RelayWish.YES)
        else:
            world.add_behind_nat(number, behaviour, forwards=False)
        world.run(2.0)
    return world, tap


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


@pytest.mark.long
def test_it_forms_with_nobody_else_and_nothing_leaves_for_who_is_no_member() -> None:
    """All 28 pairs are linked, directly where their NATs let them and else over a relay; and no packet, be it of STUN,
    TURN or DTLS, goes anywhere but to the eight, by an address that is theirs or that they say is theirs.
    """
    world, tap = grow("eight")
    world.settle(120.0)
    world.run(120.0, stop=lambda: all(are_linked(world, *pair) for pair in PAIRS))
    assert [pair for pair in PAIRS if not are_linked(world, *pair)] == []
    world.run(60.0)
    direct = [pair for pair in PAIRS if is_direct(world, *pair)]
    assert direct == [pair for pair in PAIRS if can_be_punched(Scene(*map(boxes, pair)))]
    members = {world.public_host(number) for number in range(len(NATS))}
    assert tap.destinations <= members | {f"{NAT_LAN}.2"}
    assert members <= tap.destinations


@pytest.mark.long
def test_all_28_pairs_of_phones_call_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever two NATs are between: each call is answered; and nothing leaves but for members and their phones."""
    world, tap = grow("calls")
    for site in world.sites:
        world.line(site, f"user{site.number}")
    world.settle(120.0)
    world.run(60.0)
    phones = [world.phone(site, f"user{site.number}") for site in world.sites]
    took = []
    for here, there in PAIRS:
        caller, callee, began = phones[here], phones[there], phones[here].now
        call = caller.dial(callee.user)
        world.run(16.0, stop=lambda call=call, caller=caller: caller.talks or caller.ended(call) is not None)  # type: ignore[misc]
        answered_s = caller.established_after(call, began)
        assert answered_s is not None, f"{here} to {there}: {caller.ended(call)}"
        took.append(answered_s)
        caller.hang_up(call)
        world.run(3.0)
    with capsys.disabled():
        print(f"\n28 calls, answered after {min(took):.2f} to {max(took):.2f} s, half a second of which the phone rang")
    members = {world.public_host(number) for number in range(len(NATS))} | {f"{NAT_LAN}.2"}
    assert tap.destinations <= members | {phone.address.host for phone in phones}
