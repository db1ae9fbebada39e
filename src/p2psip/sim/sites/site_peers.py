"""Sites of one virtual world, with lines and phones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.coupling.line import Line
from p2psip.dundi.values import EntityTerms
from p2psip.reload.node.settings import LentTerms, NodeSettings
from p2psip.reload.paths.values import Purpose
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.sim.signer import SimulatedVerifier
from p2psip.sim.simulated_overlay import EPOCH_S, PORT, SIP_PORT, SimulatedOverlay, simulated_configuration
from p2psip.sim.sites.making import identity_of, line_of, make_peer
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.world import World
from p2psip.sip.entities.gateway.terms import TrunkTerms
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays


class SimulatedPeers:
    """Sites p0, p1, ... in one world; p0 is the bootstrap node."""

    def __init__(
        self,
        seed: int | str,
        count: int = 0,
        *,
        wall: WallClock | None = None,
        numbering: Numbering | None = None,
        latency_s: Callable[[random.Random], float] | None = None,
        is_direct: bool = False,
        carries_media: bool = False,
        world: World | None = None,
        first: int = 0,
        **settings: object,
    ) -> None:
        """The operators of all have set the same `numbering`; `latency_s` and `is_direct` as of a World. With
        `carries_media` agents hear each other. In a `world` that there is already, of another overlay, say, the peers
        are counted from another number than 0, `first`, which is the bootstrap node's.
        """
        self.seed = seed
        self.numbering = numbering
        self._carries_media = carries_media
        self.first = first
        self.world = world or World(seed, latency_s, is_direct=is_direct)
        self.sites: dict[str, Site] = {}
        self.wall = wall or WallClock(EPOCH_S)
        self.configuration = simulated_configuration([SimulatedOverlay.address_of(first)], **settings)
        self.overlay = self.configuration.instance_name
        self.verifier = SimulatedVerifier()
        for number in range(first, first + count):
            self.add(number)
            self.world.run_for(3.0)
        if count:
            self.world.run_for(10.0, stop=lambda: all(s.peer.node.is_serving for s in self.sites.values()))

    def __getitem__(self, number: int) -> Site:
        return self.sites[f"p{number}"]

    def add(
        self,
        number: int,
        store: MemoryStore | None = None,
        *,
        is_client: bool = False,
        is_reachable: bool = True,
        lend_bytes: int = 0,
        trunk: TrunkTerms | None = None,
        provider: Callable[[bytes], list[bytes]] | None = None,
        dundi: EntityTerms | None = None,
        contacts: Sequence[Address] = (),
        numbering: Numbering | None = None,
        overlays: OtherOverlays | None = None,
    ) -> Site:
        """Make a peer and start it; with `store`, one that was there before, and may remember `contacts`.

        It may be a client of the others, which lends so many bytes, and one that is not reachable can only dial. It may
        have a trunk, with the `provider` at its far end, and neighbours by DUNDi, and a `numbering` of its own. Its
        site may be in further `overlays`.
        """
        name, address = f"p{number}", SimulatedOverlay.address_of(number)
        rng = random.Random(f"{self.seed}/{name}/{len(self.world.hosts)}")
        identity, store = identity_of(self.seed, name, overlay=self.overlay), store or MemoryStore()
        local = Address(f"192.{168 + (number >> 8)}.{number & 255}.1", 5060)
        told = address.host if is_reachable else f"192.0.2.{number}"
        peer = make_peer(
            name,
            identity,
            self.configuration,
            self.verifier,
            store,
            self.wall,
            NodeSettings(
                is_client=is_client,
                may_start_alone=number == self.first,
                contacts=contacts,
                addresses={Purpose.RELOAD: (Address(told, PORT),), Purpose.SIP: (Address(told, SIP_PORT),)},
                lent=LentTerms(lend_bytes),
            ),
            rng,
            self.world.now,
            phone_side=[local],
            numbering=numbering or self.numbering,
            trunks=() if trunk is None else (trunk,),
            dundi=dundi,
            overlays=overlays,
        )
        carry = self._carry if self._carries_media else None
        site = Site(name, peer, self.world, local, provider=provider, carry=carry)
        self.sites[name] = site
        self.world.add(name, address, (identity.certificate,), site, store)
        site.call(site.peer.start)
        return site

    def _carry(self, local: Address, remote: Address, data: bytes) -> None:
        """A media datagram, to the agents of whichever site; to phones nobody listens."""
        site = next((each for each in self.sites.values() if each.local.host == remote.host), None)
        if site is not None and site.host.is_alive:
            site.call(lambda now: site.peer.handle_media(remote, local, data, now))

    def restart(self, number: int) -> None:
        """End a peer and start it anew; phones notice nothing."""
        self.world.crash(self[number].host)
        self.run(1.0)
        new = self.begin_again(number)
        # The bootstrap node is alone at first, until the others have found it.
        others = len(self.sites) - 1
        assert self.run(120.0, stop=lambda: len(new.peer.node.neighbors) >= others)

    def begin_again(self, number: int, contacts: Sequence[Address] = ()) -> Site:
        """Start a peer that was there before, with its lines and what it has kept of its phones."""
        old = self[number]
        snapshot = old.peer.server.snapshot(self.world.now)
        new = self.add(number, old.host.store, contacts=contacts)
        for line in old.peer.publisher.lines:
            new.call(lambda now, line=line: new.peer.add_line(line, now))  # type: ignore[misc]
        for each in old.peer.publisher.leaving:
            new.call(lambda now, each=each: new.peer.finish_removal(each, now))  # type: ignore[misc]
        new.call(lambda now: new.peer.restore(snapshot, 1.0, now))
        new.phones = old.phones
        for phone in new.phones.values():
            phone.site = new
        return new

    def line(self, number: int, user: str, *, name: str | None = None) -> Line:
        """Give `user` a line at a peer."""
        line = line_of(self.seed, number, user, name or user, overlay=self.overlay)
        site = self[number]
        site.call(lambda now: site.peer.add_line(line, now))
        return line

    def phone(self, number: int, user: str, which: int = 0, **options: object) -> SitePhone:
        """A phone of a user who has a line, registered."""
        phone = self.begin_phone(number, user, which, **options)
        self.world.run_for(1.0, stop=lambda: phone.is_registered)
        assert phone.is_registered, phone.refusal
        return phone

    def begin_phone(self, number: int, user: str, which: int = 0, **options: object) -> SitePhone:
        """The same, that has begun to register."""
        return SitePhone(self[number], user, which, **options).register()

    def with_phones(self, *users: tuple[int, str], **options: object) -> list[SitePhone]:
        """Lines and registered phones, (peer, user) each; the records are stored."""
        for number, user in users:
            self.line(number, user)
        self.settle_records(number for number, _ in users)
        phones = [self.phone(number, user, which, **options) for which, (number, user) in enumerate(users)]
        self.run(2.0)
        return phones

    def settle_records(self, numbers: Iterable[int]) -> None:
        """Let time go on until the lines of these peers have stored their records."""
        sites = [self[number] for number in set(numbers)]
        stored = self.world.run_for(
            30.0, stop=lambda: all(s.peer.publisher.placed(line.name) for s in sites for line in s.peer.publisher.lines)
        )
        assert stored

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time go on; True as soon as `stop` says so."""
        return self.world.run_for(seconds, stop=stop)

    def look_up(self, number: int, user: str) -> LookedUp:
        """What `p2psip lookup` finds."""
        site = self[number]
        context = object()
        site.call(lambda now: site.peer.look_up(f"{user}@{self.overlay}", context, now))

        def found() -> LookedUp | None:
            return next((e for e in site.host.events if isinstance(e, LookedUp) and e.context is context), None)

        self.run(60.0, stop=lambda: found() is not None)
        result = found()
        assert result is not None
        return result
