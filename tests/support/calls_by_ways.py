"""An overlay of whole peers in virtual time whose calls go by one of the ways, each part played by another peer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from watching import LampPhone

from p2psip.reload.config.calls_by import CallsBy
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling

PEERS = 6


class TalkingPhone(LampPhone):
    """A phone that knows whether its calls are held."""

    def is_held(self, call: int = 1) -> bool:
        """True if the other side has put a call on hold."""
        return any(b"INVITE " in data[:7] and b"a=sendonly" in data for data in self.received)


@dataclass
class Cast:
    """Who plays which part; `alice` is at the caller's peer, `bob` at the callee's."""

    world: SimulatedPeers
    way: CallsBy
    caller: Site
    callee: Site
    responsible: Site
    home: Site
    second_home: Site
    other: Site
    alice: TalkingPhone
    bob: TalkingPhone

    @property
    def on_the_way(self) -> list[Site]:
        """Those that have the call pass through them, in order, when all is well."""
        parts = [self.responsible] if self.way in (CallsBy.RESPONSIBLE, CallsBy.BOTH) else []
        return [*parts, *([self.home] if self.way in (CallsBy.HOME, CallsBy.BOTH) else [])]

    def number(self, site: Site) -> int:
        """Of a site in its world."""
        return int(site.name[1:])

    def use_homes(self, site: Site, *homes: Site) -> None:
        """bob's line at a site has these homes."""
        wanted = CallHandling(homes=tuple(home.peer.node.node_id.hex() for home in homes))
        site.call(lambda now: site.peer.handle_calls("bob", wanted, now))
        self.world.run(4.0)

    def phone(self, site: Site, user: str, **options: Any) -> TalkingPhone:
        """One more phone of a user who has a line there, registered."""
        phone = TalkingPhone(site, user, len(site.phones), **options)
        phone.register()
        assert self.world.run(3.0, stop=lambda: phone.is_registered), phone.refusal
        return phone

    def call(self, limit_s: float = 40.0) -> tuple[str, float]:
        """alice calls bob: how that ends, or that they talk, and after how long."""
        began = self.world.world.now
        number = self.alice.dial("bob")
        self.world.run(limit_s, stop=lambda: self.alice.ended(number) is not None or self.alice.talks)
        return self.alice.ended(number) or "talks", self.world.world.now - began

    def ring(self, phone: SitePhone | None = None, limit_s: float = 12.0) -> int:
        """alice calls bob, until a phone rings; the number of the call."""
        callee = phone or self.bob
        rang, number = callee.rang, self.alice.dial("bob")
        assert self.world.run(limit_s, stop=lambda: callee.rang > rang), self.alice.ended(number)
        return number

    def ended(self, number: int, limit_s: float = 12.0) -> str | None:
        """How a call of alice ends."""
        self.world.run(limit_s, stop=lambda: self.alice.ended(number) is not None)
        return self.alice.ended(number)


def cast(way: CallsBy, seed: str = "ways", **options: Any) -> Cast:
    """A world whose peers are members; bob's line has a home and a second one, where the way has homes."""
    world = SimulatedPeers(seed, PEERS, calls_by=way)
    where = world[0].peer.node.hash_name(f"bob@{OVERLAY}".encode())
    responsible = next(site for site in world.sites.values() if site.peer.node.is_responsible(where))
    others = [site for site in world.sites.values() if site is not responsible]
    # With nobody between the caller and the record whose death would be that of the lookup.
    others.sort(key=lambda site: site.peer.node.next_peer(where) != responsible.peer.node.node_id)
    caller, callee, home, second, other = others
    world.line(int(caller.name[1:]), "alice")
    world.line(int(callee.name[1:]), "bob")
    world.settle_records((int(caller.name[1:]), int(callee.name[1:])))
    alice, bob = TalkingPhone(caller, "alice", 0), TalkingPhone(callee, "bob", 1, **options)
    made = Cast(world, way, caller, callee, responsible, home, second, other, alice, bob)
    for phone in (alice, bob):
        phone.register()
    world.run(3.0)
    assert alice.is_registered
    assert bob.is_registered
    if way.has_homes:
        made.use_homes(callee, home, second)
    return made
