"""Peers in virtual time of which some mix rooms, phones that go into them, and who is in."""

from __future__ import annotations

from p2psip.reload.config.configuration import REDIR_KIND, SIP_REGISTRATION_KIND, ServicePermission
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.conference.room_terms import RoomTerms
from p2psip.sip.entities.numbers.numbering import Numbering

KINDS = (SIP_REGISTRATION_KIND, REDIR_KIND)
EVERY_PEER = (ServicePermission("conference", (f"peer-*@{OVERLAY}",)),)
MIXES = Numbering(rooms=RoomTerms(("30XX",), 8))
ROOM = "3001"


def rooms_overlay(
    seed: str,
    *mixing: bool,
    services: tuple[ServicePermission, ...] = EVERY_PEER,
    numbering: Numbering = MIXES,
) -> SimulatedPeers:
    """A peer for each; whether it mixes rooms, as `numbering` says."""
    world = SimulatedPeers(seed, carries_media=True, required_kinds=KINDS, services=services)
    for number, mixes in enumerate(mixing):
        world.add(number, numbering=numbering if mixes else None)
        world.run(3.0)
    assert world.run(30.0, stop=lambda: all(site.peer.node.is_serving for site in world.sites.values()))
    return world


def phones(world: SimulatedPeers, *users: tuple[int, str]) -> list[SitePhone]:
    """Registered, and the overlay has had time to find who mixes."""
    made = world.with_phones(*users)
    world.run(10.0)
    return made


def enter(world: SimulatedPeers, phone: SitePhone, room: str = ROOM, limit_s: float = 8.0) -> int:
    """A phone goes in; its call."""
    call = phone.dial(room)
    world.run(limit_s, stop=lambda: phone.talks or phone.ended(call) is not None)
    assert phone.talks, phone.ended(call)
    return call


def mixers(world: SimulatedPeers, room: str = ROOM) -> dict[str, list[str]]:
    """Who is in, at each peer that mixes the room."""
    alive = [site for site in world.sites.values() if site.host.is_alive]
    return {site.name: sorted(site.peer.rooms.mixed[room]) for site in alive if room in site.peer.rooms.mixed}


def mixer(world: SimulatedPeers, room: str = ROOM) -> Site:
    """The one that mixes it."""
    (name,) = mixers(world, room)
    return world.sites[name]


def people(site: Site) -> list[tuple[str, ...]]:
    """Who is in, as the phones' own peer knows."""
    return [tuple(sorted(seen.people)) for seen, _ in site.peer.rooms.seen]
