"""Whole peers (`coupling.Peer`) in the virtual world of `p2psip.sim`, with phones that are user agents."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline
from p2psip.base.wallclock import WallClock
from p2psip.coupling.lines import Line
from p2psip.coupling.lookup import Found
from p2psip.coupling.peer import Peer, peer_uri
from p2psip.enrollment.names import typed_names
from p2psip.enrollment.passwords import typed_passwords
from p2psip.media.session import SendRtp
from p2psip.reload.node.effects import LinkUp, Purpose
from p2psip.reload.node.node import Node
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.usages.rules import rules_of
from p2psip.sim.overlay import EPOCH_S, SimulatedOverlay, simulated_configuration
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier
from p2psip.sim.world import Host, World
from p2psip.sip.entities.agents.agent import UserAgent
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    CallEstablished,
    IncomingCall,
    MediaWanted,
    Registered,
    RegistrationFailed,
)
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.message.digest import logins
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.effects import SendDatagram
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener

OVERLAY = "sim.example"
LAN_S = 0.001


@dataclass
class Site:
    """One peer and the LAN that its phones are in: a core for the world, which looks after links and the disk."""

    name: str
    peer: Peer
    world: World
    local: Address
    phones: dict[Address, Phone] = field(default_factory=dict)
    media_towards: list[str | None] = field(default_factory=list)
    """Where media addresses of the echo service were wanted for."""

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        self.peer.handle_link_up(link, now)

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        self.peer.handle_link_data(number, data, now)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        self.peer.handle_link_down(number, reason, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        self.peer.handle_answer(token, answer, now)

    def handle_timeout(self, now: float) -> None:
        self.peer.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        return self.peer.next_deadline()

    def drain(self) -> list[Effect]:
        for_world: list[Effect] = []
        for effect in self.peer.drain():
            match effect:
                case SendDatagram(_, remote, data):
                    self._to_phone(remote, data)
                case Ask(token, MediaWanted(_, towards)):
                    self.media_towards.append(towards)
                    port = 40_000 + 2 * len(self.media_towards)
                    self._later(lambda token=token, port=port: self._media(token, port))  # type: ignore[misc]
                case SendRtp():
                    pass
                case _:
                    for_world.append(effect)
        return for_world

    def call(self, run: Callable[[float], object]) -> None:
        """One input for the peer, from its driver."""
        self.world.call(self.host, lambda now: _discard(run(now)))

    @property
    def host(self) -> Host:
        return self.world.hosts[self.name]

    def carried(self, method: str = "INVITE") -> list[RequestCarried]:
        """What became of the requests that this peer carried."""
        return [e for e in self.host.events if isinstance(e, RequestCarried) and e.method == method]

    def _to_phone(self, remote: Address, data: bytes) -> None:
        phone = self.phones.get(remote)
        if phone is not None:
            self._later(lambda: phone.receive(data))

    def _media(self, token: int, port: int) -> None:
        self.call(lambda now: self.peer.handle_answer(token, Address(self.local.host, port), now))

    def _later(self, run: Callable[[], None]) -> None:
        self.world.clock.at(self.world.now + LAN_S, run)


class Phone:
    """A phone on the LAN of a site: registers, calls, answers after `answer_s`, or rings for ever with None."""

    def __init__(
        self,
        site: Site,
        user: str,
        number: int,
        *,
        password: str = "",
        answer_s: float | None = 0.5,
        server: str = "",
        auth_user: str = "",
    ) -> None:
        self.site = site
        self.user = user
        self.address = Address(site.local.host.rpartition(".")[0] + f".{100 + number}", 5060)
        self.is_plugged_in = True
        self.events: list[tuple[float, Effect]] = []
        self.received: list[bytes] = []
        domain = server or site.local.host
        config = AgentConfig(
            address_of_record=SipUri(domain, user),
            contact=SipUri(self.address.host, user, self.address.port),
            server=UdpHop(site.local),
            listeners=(Listener("UDP", self.address),),
            password=password or f"phone of {user}",
            auth_user=auth_user,
            is_tethered=True,
            auto_answer_s=answer_s,
        )
        self.agent = UserAgent(config, random.Random(f"{user} {number} {site.name}"))
        self._armed_at: float | None = None
        site.phones[self.address] = self

    def register(self) -> Phone:
        self.run(self.agent.register)
        return self

    def dial(self, target: str) -> int:
        """Call `target`, a URI, or a name at the server that the phone is set to; the number of the call."""
        uri = parse_sip_uri(target if target.startswith("sip:") else f"sip:{target}@{self.site.local.host}")
        numbers: list[int] = []
        self.run(lambda now: numbers.append(self.agent.call(uri, now)))
        return numbers[0]

    def hang_up(self, call: int) -> None:
        self.run(lambda now: self.agent.hang_up(call, now))

    def unplug(self) -> None:
        """No power: whatever comes is lost."""
        self.is_plugged_in = False

    def receive(self, data: bytes) -> None:
        if self.is_plugged_in:
            self.received.append(data)
            self.run(lambda now: self.agent.handle_datagram(self.address, self.site.local, data, now))

    def send(self, data: bytes) -> None:
        """Bytes of one's own choice."""
        self.site.call(lambda now: self.site.peer.handle_datagram(self.site.local, self.address, data, now))

    def run(self, do: Callable[[float], object]) -> None:
        do(self.site.world.now)
        for effect in self.agent.drain():
            self._perform(effect)
        self._arm()

    def of(self, kind: type[Effect]) -> list[Effect]:
        return [effect for _, effect in self.events if isinstance(effect, kind)]

    @property
    def is_registered(self) -> bool:
        return bool(self.of(Registered))

    @property
    def refusal(self) -> str:
        """Why it could not register, the last time."""
        failed = self.of(RegistrationFailed)
        return str(failed[-1].reason) if failed else ""  # type: ignore[attr-defined]

    @property
    def talks(self) -> bool:
        """True while a call is up."""
        return any(isinstance(e, CallEstablished) and e.call in self.agent.calls for _, e in self.events)

    @property
    def rang(self) -> int:
        """How many calls have come in."""
        return len(self.of(IncomingCall))

    def ended(self, call: int) -> str | None:
        """How a call ended, in words; None while it lasts."""
        return next((str(e.reason) for e in self.of(CallEnded) if e.call == call), None)  # type: ignore[attr-defined]

    def established_after(self, call: int, began: float) -> float | None:
        return next((at - began for at, e in self.events if isinstance(e, CallEstablished) and e.call == call), None)

    def _perform(self, effect: Effect) -> None:
        world = self.site.world
        match effect:
            case SendDatagram(_, _, data):
                if self.is_plugged_in:
                    world.clock.at(world.now + LAN_S, lambda: self.send(data))
            case Ask(token, MediaWanted()):
                media = Address(self.address.host, 20_000 + 2 * token)
                world.clock.at(world.now, lambda: self.run(lambda now: self.agent.handle_answer(token, media, now)))
            case CancelAsk():
                pass
            case _:
                self.events.append((world.now, effect))

    def _arm(self) -> None:
        deadline = self.agent.next_deadline()
        if deadline is not None and (self._armed_at is None or deadline.at < self._armed_at):
            self._armed_at = deadline.at
            self.site.world.clock.at(deadline.at, lambda at=deadline.at: self._timeout(at))  # type: ignore[misc]

    def _timeout(self, at: float) -> None:
        if self._armed_at == at:
            self._armed_at = None
            self.run(self.agent.handle_timeout)


class SimulatedPeers:
    """Sites p0, p1, ... in one world; p0 is the bootstrap node."""

    def __init__(self, seed: int | str, count: int = 0, *, wall: WallClock | None = None, **settings: object) -> None:
        self.seed = seed
        self.world = World(seed)
        self.sites: dict[str, Site] = {}
        self.wall = wall or WallClock(EPOCH_S)
        self.configuration = simulated_configuration([SimulatedOverlay.address_of(0)], **settings)
        self.verifier = SimulatedVerifier()
        for number in range(count):
            self.add(number)
            self.world.run_for(3.0)
        if count:
            self.world.run_for(10.0, stop=lambda: all(s.peer.node.chord.is_serving for s in self.sites.values()))

    def __getitem__(self, number: int) -> Site:
        return self.sites[f"p{number}"]

    def add(self, number: int, store: MemoryStore | None = None) -> Site:
        """Make a peer and start it; with `store`, one that was there before."""
        name = f"p{number}"
        rng = random.Random(f"{self.seed}/{name}/{len(self.world.hosts)}")
        node_id = NodeId(random.Random(f"{self.seed}/{name}").randbytes(16))
        identity = SimulatedIdentity(f"peer-{name}@{OVERLAY}", node_id)
        now, store = self.world.now, store or MemoryStore()
        rules = rules_of(self.configuration, self.verifier)
        storage = Storage(store, rules, self.wall, now)
        node = Node(
            identity, self.verifier, self.configuration, storage, self.wall, rng, now, may_start_alone=number == 0
        )
        address = SimulatedOverlay.address_of(number)
        node.attaching.addresses = {Purpose.RELOAD: (address,), Purpose.SIP: (address,)}
        local = Address(f"192.168.{number}.1", 5060)
        server = ServerConfig(
            realm=OVERLAY,
            domains=frozenset({OVERLAY, local.host, name}),
            listeners=(Listener("UDP", local),),
            peer_side=peer_uri(f"peer-{name}", OVERLAY, node_id),
            token_secret=f"secret of {name}".encode(),
        )
        site = Site(name, Peer(node, server, rng, now), self.world, local)
        self.sites[name] = site
        self.world.add(name, address, (identity.certificate,), site, store)
        site.call(site.peer.start)
        return site

    def restart(self, number: int) -> None:
        """End a peer and start it anew, with its lines and what it has kept of its phones; they notice nothing."""
        old = self[number]
        snapshot = old.peer.server.snapshot(self.world.now)
        store = old.host.store
        self.world.crash(old.host)
        self.run(1.0)
        new = self.add(number, store)
        for line in old.peer.publisher.lines:
            new.call(lambda now, line=line: new.peer.add_line(line, now))  # type: ignore[misc]
        new.call(lambda now: new.peer.restore(snapshot, 1.0, now))
        new.phones = old.phones
        for phone in new.phones.values():
            phone.site = new
        # The bootstrap node is alone at first, until the others have found it.
        others = len(self.sites) - 1
        assert self.run(120.0, stop=lambda: len(new.peer.node.chord.table.successors) >= others)

    def line(self, number: int, user: str, *, name: str | None = None) -> Line:
        """Give `user` a line at a peer."""
        node_id = NodeId(random.Random(f"{self.seed}/line {user} {number}").randbytes(16))
        identity = SimulatedIdentity(f"{user}@{OVERLAY}", node_id)
        names = typed_names(f"{name or user}@{OVERLAY}")
        line = Line(identity, logins(names, OVERLAY, typed_passwords(f"phone of {user}")))
        site = self[number]
        site.call(lambda now: site.peer.add_line(line, now))
        return line

    def phone(self, number: int, user: str, which: int = 0, **options: object) -> Phone:
        """A phone of a user who has a line, registered."""
        phone = Phone(self[number], user, which, **options).register()  # type: ignore[arg-type]
        self.world.run_for(1.0, stop=lambda: phone.is_registered)
        assert phone.is_registered, phone.refusal
        return phone

    def with_phones(self, *users: tuple[int, str], **options: object) -> list[Phone]:
        """Lines and registered phones, (peer, user) each; the records are stored."""
        for number, user in users:
            self.line(number, user)
        self.settle_records(number for number, _ in users)
        phones = [self.phone(number, user, which, **options) for which, (number, user) in enumerate(users)]
        self.run(2.0)
        return phones

    def settle_records(self, numbers: Iterable[int]) -> None:
        sites = [self[number] for number in set(numbers)]
        stored = self.world.run_for(
            30.0, stop=lambda: all(s.peer.publisher.placed(line.name) for s in sites for line in s.peer.publisher.lines)
        )
        assert stored

    def run(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        return self.world.run_for(seconds, stop=stop)

    def look_up(self, number: int, user: str) -> Found:
        """What `p2psip lookup` finds."""
        site = self[number]
        handles: list[int] = []
        site.call(lambda now: handles.append(site.peer.look_up(f"{user}@{OVERLAY}", now)))

        def found() -> Found | None:
            return next((e for e in site.host.events if isinstance(e, Found) and e.handle == handles[0]), None)

        self.run(60.0, stop=lambda: found() is not None)
        result = found()
        assert result is not None
        return result


def _discard(_: object) -> None:
    return None
