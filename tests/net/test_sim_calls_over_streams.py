"""Calls where UDP does not pass and no relay is there, in virtual time: SIP and voice in records on a stream."""

from __future__ import annotations

import pytest
from heard_calls import Ears, call_up, heard, pitch

from p2psip.coupling.call_paths import NO_AUDIO
from p2psip.coupling.peer_flows import TRY_AGAIN_S
from p2psip.reload.paths.values import Purpose
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.ip.boxes import PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.ip.network import Way
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.machine_phone import MachinePhone

pytestmark = pytest.mark.usefixtures("long_packets")

NO_UDP = frozenset([Protocol.UDP])
ALL = frozenset[Protocol]()
DELAY_S = 0.02
COLD_S = 2.2
"""Of numbers.md, for two NATs and ICE; a stream is tried when a path over datagrams has had its time."""

BACK_S = 3.0
"""Within so much both hear each other again: a path over datagrams is doubted, an AppAttach goes another way, and a
stream is dialled.
"""

SOON_BACK_S = 2.5
"""The same where nothing has to be found out before."""


def grow(
    seed: str,
    *behind: frozenset[Protocol],
    first: frozenset[Protocol] | None = NO_UDP,
    behaviour: NatBehaviour = PORT_RESTRICTED,
) -> tuple[InternetSites, list[MachinePhone]]:
    """A first site that others reach, as its router forwards its ports (or which is public, where `first` is None), and
    one behind a NAT that forwards nothing for each of `behind`; each has a phone. Nobody relays.
    """
    world = InternetSites(seed, no_ice=False, overlay_link_protocols=("DTLS", "TLS"), sip_tunnel=True)
    world.internet.default_way = Way(delay_s=DELAY_S)
    if first is None:
        world.add_public(0)
    else:
        world.add_behind_nat(0, PORT_RESTRICTED, forwards=True, blocks=first, is_told=True)
    for number, blocks in enumerate(behind, start=1):
        world.run(2.0)
        world.add_behind_nat(number, behaviour, forwards=False, blocks=blocks)
    for site in world.sites:
        world.line(site, f"user{site.number}")
    world.settle(180.0)
    world.run(40.0)
    return world, [world.phone(site, f"user{site.number}", tone_hz=pitch(site.number)) for site in world.sites]


def is_streamed(here: InternetSite, there: InternetSite) -> bool:
    """True if audio from one site to the other goes over a stream."""
    return here.peer.flows.calls.is_streamed(there.peer.node.node_id)


def talk(world: InternetSites, caller: MachinePhone, callee: MachinePhone) -> float:
    """A call, in which both hear each other: how long it took to be answered."""
    call, took_s = call_up(world, caller, callee)
    ears = Ears(world, (caller, callee))
    assert ears.back_after() <= 1.0, "they hear each other from the beginning"
    caller.hang_up(call)
    world.run(2.0)
    number = {phone: int(phone.user.removeprefix("user")) for phone in (caller, callee)}
    assert (heard(caller), heard(callee)) == (pitch(number[callee]) // 10, pitch(number[caller]) // 10)
    return took_s


@pytest.mark.parametrize("caller", [0, 1], ids=["who is reached calls", "who is behind a NAT calls"])
def test_both_hear_each_other_over_a_stream(caller: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The one that is reached is dialled over TCP, whoever calls; the next call goes over the same stream at once."""
    world, phones = grow(f"one way {caller}", NO_UDP)
    here, there = phones[caller], phones[1 - caller]
    cold_s, warm_s = talk(world, here, there), talk(world, there, here)
    assert is_streamed(world.sites[0], world.sites[1])
    assert is_streamed(world.sites[1], world.sites[0])
    with capsys.disabled():
        print(f"\na call over a stream: {cold_s:.2f} s cold, {warm_s:.2f} s warm, half a second of ringing in each")
    assert cold_s < COLD_S
    assert warm_s < 1.0


def test_two_behind_nats_open_a_stream_together_though_nobody_relays() -> None:
    """Links and calls alike: a member that both have dialled has said as whom it sees their ports."""
    world, phones = grow("both open", NO_UDP, NO_UDP)
    first, second = world.sites[1:]
    (link,) = first.peer.node.links(second.peer.node.node_id)
    assert (link.kind, link.remote.host) == (OverlayLinkType.TLS_TCP_FH_NO_ICE, world.public_host(2))
    talk(world, phones[1], phones[2])
    talk(world, phones[2], phones[1])
    assert is_streamed(first, second)
    assert is_streamed(second, first)


@pytest.mark.parametrize("seed", [0, 1, 3, 5, 8])
def test_two_that_are_started_at_once_are_linked_as_soon_as_they_know_how(seed: int) -> None:
    """What is under way when UDP is found to be dropped begins anew, with a port for streams, if not the next time."""
    world = InternetSites(f"at once {seed}", no_ice=False, overlay_link_protocols=("DTLS", "TLS"), sip_tunnel=True)
    world.internet.default_way = Way(delay_s=0.001)
    world.add_behind_nat(0, PORT_RESTRICTED, forwards=True, blocks=NO_UDP, is_told=True)
    world.run(0.4)
    first, second = (world.add_behind_nat(number, PORT_RESTRICTED, forwards=False, blocks=NO_UDP) for number in (1, 2))
    assert world.run(40.0, stop=lambda: bool(first.peer.node.links(second.peer.node.node_id)))


def test_where_no_stream_passes_either_sip_goes_alone() -> None:
    """NATs that map by destination: over a third peer's links, and whoever calls is told that there is no audio."""
    world = InternetSites("none", no_ice=False, overlay_link_protocols=("DTLS", "TLS"), sip_tunnel=True)
    for number in range(2):
        world.add_behind_nat(number, PORT_RESTRICTED, forwards=True, blocks=NO_UDP, is_told=True)
        world.run(3.0)
    for number in (2, 3):
        world.add_behind_nat(number, SYMMETRIC, forwards=False, blocks=NO_UDP, is_client=True)
        world.line(world.sites[number], f"user{number}")
        world.run(3.0)
    world.settle(180.0)
    alice, bob = (world.phone(world.sites[number], f"user{number}") for number in (2, 3))
    call_up(world, alice, bob)
    calls = world.sites[2].peer.flows.calls
    assert calls.is_tunnelled(world.sites[3].peer.node.node_id)
    world.run(20.0)
    assert calls.lacks(world.sites[3].peer.node.node_id).startswith(NO_AUDIO)


@pytest.mark.parametrize("dropped_at", [0, 1], ids=["at who is reached", "behind the NAT"])
def test_audio_is_back_over_a_stream_when_udp_is_dropped(dropped_at: int, capsys: pytest.CaptureFixture[str]) -> None:
    """In the middle of a call, with no relay anywhere; a later call goes over datagrams again, when these pass."""
    world, phones = grow(f"dropped {dropped_at}", ALL, first=ALL)
    call, _ = call_up(world, phones[1], phones[0])
    world.run(3.0)
    ears = Ears(world, phones)
    assert ears.back_after() == 0.0, "they hear each other to begin with"
    assert not is_streamed(world.sites[0], world.sites[1])
    nat = world.sites[dropped_at].nat
    assert nat is not None
    nat.blocks = NO_UDP
    took_s = ears.back_after()
    with capsys.disabled():
        print(f"\nUDP dropped, no relay: audio is back after {took_s:.2f} s")
    assert took_s <= SOON_BACK_S
    assert is_streamed(world.sites[1], world.sites[0])
    assert phones[1].ended(call) is None
    phones[1].hang_up(call)
    nat.blocks = ALL
    world.run(TRY_AGAIN_S + 5.0)
    talk(world, phones[0], phones[1])
    world.run(5.0)
    talk(world, phones[1], phones[0])
    assert not is_streamed(world.sites[0], world.sites[1])
    assert not is_streamed(world.sites[1], world.sites[0])


def test_a_call_goes_on_over_the_next_stream() -> None:
    """One end's machine resets it; and then the router forgets it, and nobody says so."""
    world, phones = grow("next", NO_UDP)
    call, _ = call_up(world, phones[1], phones[0])
    world.run(3.0)
    ears, site = Ears(world, phones), world.sites[1]
    assert ears.back_after() == 0.0, "they hear each other to begin with"
    (path,) = site.peer.flows.calls._by_link
    site.driver._connections[path].abort("lost")
    assert ears.back_after() <= 3.0
    assert site.nat is not None
    site.nat.reboot(off_s=0.0)
    assert ears.back_after() <= BACK_S
    assert phones[1].ended(call) is None


def test_streams_are_offered_where_the_configuration_permits_tls() -> None:
    """RFC 6940 11.1; in an overlay of DTLS alone a call has what it had."""
    world = InternetSites("dtls", no_ice=False, overlay_link_protocols=("DTLS",))
    site = world.add_public(0)
    world.settle()
    said = site.peer.node._paths.whereabouts.offering(Purpose.CALLS).candidates
    assert {each.overlay_link for each in said} == {OverlayLinkType.DTLS_UDP_SR}
