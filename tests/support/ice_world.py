"""A virtual world for two agents of ICE: boxes of all kinds, a STUN server, a relay."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import earliest
from p2psip.reload.paths.demux import DatagramKind, kind_of
from p2psip.reload.paths.ice.agents import Agents
from p2psip.reload.paths.ice.candidate_addresses import Mapped, encoded, gathered
from p2psip.reload.paths.ice.values import PathChanged, PathChosen, PathDoubted, PathLost
from p2psip.reload.paths.relays.relay_values import RelayedCame, RelayGone, RelayTaken
from p2psip.reload.paths.relays.relayed_addresses import RelayedAddresses
from p2psip.reload.paths.values import Parameters, SendStun, StunArrived
from p2psip.sim.ip.boxes import Nat, NatBehaviour
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet, Network, Way
from p2psip.sim.ip.packet import SocketRefused
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS
from p2psip.stun.binding import answer_binding
from p2psip.stun.credentials import StunCredential, StunGate
from p2psip.stun.message import BINDING, MessageClass, StunMessage, decode
from p2psip.turn.limits import TurnLimits
from p2psip.turn.member_credentials import MemberCredentials
from p2psip.turn.server import TurnService
from p2psip.turn.values import CloseRelay, Flow, OpenRelay, RelaySettings, Transmit, TurnRelay

SERVER = Address("198.51.100.3", 3478)
RELAY = Address("198.51.100.4", 3478)
PORT = 5000
DATA = b"\x17data"
GATHER_AGAIN_S = 0.3


class RelayMachine:
    """A relay: the TURN server of a peer, at a machine of its own."""

    def __init__(self, machine: Machine) -> None:
        self.relayed = 0
        """How many datagrams went out of its ports."""
        self.sent_to: set[str] = set()
        self._machine = machine
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Begin, knowing nothing of whom it knew."""
        self._starts += 1
        rng = random.Random(f"relay {self._starts}")
        self.members = MemberCredentials(rng.randbytes(16))
        settings = RelaySettings("relays", (RELAY.host,), frozenset((RELAY.host,)), frozenset((RELAY,)))
        gate = StunGate("relays", self.members, rng.randbytes(16))
        self._server = TurnService(settings, TurnLimits(), gate, rng, self._machine.now)
        self._socket = self._machine.udp(RELAY, self._asked)
        self._ports: dict[Address, UdpSocket] = {}
        self._settle()

    def die(self) -> None:
        """Its ports are closed, and nobody answers."""
        self._machine.kill()

    def _asked(self, socket: UdpSocket, client: Address, data: bytes) -> None:
        self._server.handle_data(Flow(RELAY, client), data, self._machine.now)
        self._settle()

    def _came(self, socket: UdpSocket, remote: Address, payload: bytes) -> None:
        self._server.handle_relayed(socket.local, remote, payload, self._machine.now)
        self._settle()

    def _settle(self) -> None:
        while effects := self._server.drain():
            for effect in effects:
                match effect:
                    case Ask(token, OpenRelay(relayed)):
                        self._ports[relayed] = self._machine.udp(relayed, self._came)
                        self._server.handle_answer(token, True, self._machine.now)
                    case Transmit(flow, data):
                        self._socket.send(flow.remote, data)
                    case TurnRelay(relayed, peer, data):
                        self.relayed += 1
                        self.sent_to.add(peer.host)
                        self._ports[relayed].send(peer, data)
                    case CloseRelay(relayed):
                        self._ports.pop(relayed).close()
        if (deadline := self._server.next_deadline()) is not None:
            server = self._server
            self._machine.at(deadline.at, lambda: self._due(server))

    def _due(self, server: TurnService) -> None:
        if server is self._server:
            server.handle_timeout(self._machine.now)
            self._settle()


@dataclass(eq=False)
class Host:
    """A machine with the agents of one node, driven as a node is; it remembers what was said of its one session."""

    machine: Machine
    rng: random.Random
    uses_relay: bool = True
    reflexive: dict[Address, Address] = field(default_factory=dict)
    news: list[RelayTaken | RelayGone] = field(default_factory=list)
    credential: StunCredential = field(init=False)
    path: tuple[Address, Address, bool] | None = None
    chosen: PathChosen | None = None
    lost: PathLost | None = None
    doubted: list[float] = field(default_factory=list)
    """When it said that a new Attach might help."""
    stun_sent: int = 0
    ufrag: bytes = b""
    """Of the session that was begun last."""
    using: bytes = b""
    """Of the one whose path is used: a new one takes its place when it has a path."""
    came_at: float = -1.0
    """When data came last."""
    path_times: list[float] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    sent_bytes: int = 0
    """Of UDP, with the headers of IPv4."""
    came_bytes: int = 0

    def __post_init__(self) -> None:
        self.agents = Agents(self.rng)
        self.relayed = RelayedAddresses(self.rng)
        self._sockets = {
            Address(host, PORT): self.machine.udp(Address(host, PORT), self._came) for host in self.machine.hosts
        }
        self._armed_at: float | None = None
        self._taken: list[tuple[Address, Address]] = []
        """Between which addresses data is taken, as an association's: the path, and the one before."""
        self._talks = 0

    @property
    def addresses(self) -> list[Address]:
        """Its own."""
        return list(self._sockets)

    def gather(self) -> None:
        """Ask the servers until they have answered."""
        for local in self.addresses:
            if local not in self.reflexive:
                request = StunMessage(MessageClass.REQUEST, BINDING, self.rng.randbytes(12)).encode()
                self._send(local, SERVER, request)
        if self.uses_relay and not self.news:
            self.relayed.allocate(self.addresses[-1], RELAY, self.credential, self.machine.now)
            self._settle()
        if not self.is_ready:
            self.machine.at(self.machine.now + GATHER_AGAIN_S, self.gather)

    @property
    def is_ready(self) -> bool:
        """True when it knows what others have for it."""
        return self.addresses[-1] in self.reflexive and (bool(self.news) or not self.uses_relay)

    def open(self, *, is_controlling: bool) -> Parameters:
        """Its words in an Attach."""
        reflexive = [Mapped(address, local, SERVER) for local, address in self.reflexive.items()]
        candidates = gathered(self.addresses, reflexive, self.relayed.mapped(self.addresses))
        own = self.agents.open(candidates, is_controlling=is_controlling)
        self.ufrag = own.ufrag
        return Parameters(own.ufrag, own.password, b"passive" if is_controlling else b"active", encoded(candidates))

    def begin(self, theirs: Parameters) -> None:
        """The other end's words have come."""
        self.relayed.permit(theirs.hosts, self.machine.now)
        self.agents.begin(self.ufrag, theirs, self.machine.now)
        self._settle()

    def say(self, data: bytes = DATA) -> bool:
        """Send data on the path; False if that is not allowed."""
        assert self.path is not None, "no path"
        may_send = self.agents.sent(self.using, self.machine.now)
        if may_send:
            self._send(self.path[0], self.path[1], data)
        self._settle()
        return may_send

    def talk(self, period_s: float = 0.1) -> None:
        """Say data all the time from now on, or as often as this."""
        self._talks += 1
        self._go_on(self._talks, period_s)

    def fall_silent(self) -> None:
        """Say no more."""
        self._talks += 1

    def _go_on(self, talk: int, period_s: float) -> None:
        if talk == self._talks:
            if self.path is not None:
                self.say()
            self.machine.at(self.machine.now + period_s, lambda: self._go_on(talk, period_s))

    def move(self, host: str) -> None:
        """It has another address, and knows it."""
        interface = self.machine.interfaces[0]
        for socket in self._sockets.values():
            socket.close()
        for old in list(interface.hosts):
            interface.remove(old)
        interface.add(host)
        self._sockets = {Address(host, PORT): self.machine.udp(Address(host, PORT), self._came)}
        self.reflexive.clear()
        self.agents.use_candidates(gathered(self.addresses), self.machine.now)
        self._settle()

    def _came(self, socket: UdpSocket, remote: Address, data: bytes) -> None:
        self.came_bytes += len(data) + 28
        if self.relayed.handle(StunArrived(socket.local, remote, data), self.machine.now):
            self._settle()
        elif remote == SERVER:
            message = decode(data)
            mapped = XOR_MAPPED_ADDRESS.first(message)
            assert mapped is not None
            self.reflexive[socket.local] = mapped
        else:
            self._arrived(socket.local, remote, data)

    def _arrived(self, local: Address, remote: Address, data: bytes) -> None:
        if kind_of(data) is DatagramKind.STUN:
            self.agents.handle_datagram(local, remote, data, self.machine.now)
            self._settle()
        else:
            self._data_came(local, remote, data)

    def _data_came(self, local: Address, remote: Address, data: bytes) -> None:
        if (local, remote) in self._taken:
            self.got.append(data)
            self.came_at = self.machine.now
            self.agents.heard(self.using, self.machine.now)

    def _send(self, local: Address, remote: Address, data: bytes) -> None:
        if local in self.relayed:
            self.relayed.send(local, remote, data, self.machine.now)
            return
        self.sent_bytes += len(data) + 28
        if local not in self._sockets:
            return
        try:
            self._sockets[local].send(remote, data)
        except SocketRefused:
            return

    def _settle(self) -> None:
        self._take_relayed()
        while effects := [*self.agents.drain(), *self.relayed.drain()]:
            for effect in effects:
                self._do(effect)
            self._take_relayed()
        self._arm()

    def _take_relayed(self) -> None:
        for each in self.relayed.take():
            self.agents.handle_datagram(each.local, each.remote, each.data, self.machine.now)

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendStun(local, remote, data):
                self.stun_sent += 1
                assert local is not None, "an agent says from where"
                self._send(local, remote, data)
            case RelayedCame(local, remote, data):
                self._data_came(local, remote, data)
            case RelayTaken():
                self.news.append(effect)
            case RelayGone():
                self.news.append(effect)
                for address in effect.relayed:
                    self.agents.lose_local(address, effect.reason, self.machine.now)
            case PathChosen(ufrag, local, remote, is_relayed) as chosen:
                self.agents.close(self.using)
                self.using, self.lost = ufrag, None
                self.relayed.use_path(local, remote, self.machine.now)
                self.chosen, self.path = chosen, (local, remote, is_relayed)
                self.path_times.append(self.machine.now)
                self._taken = [(local, remote)]
            case PathChanged(ufrag, local, remote, is_relayed) if ufrag == self.using:
                self.path = (local, remote, is_relayed)
                self._taken = [*self._taken[-1:], (local, remote)]
                self.path_times.append(self.machine.now)
            case PathLost() as lost:
                self.lost = lost
                if lost.ufrag == self.using:
                    self.path = None
            case PathDoubted(ufrag) if ufrag == self.using:
                self.doubted.append(self.machine.now)

    def _arm(self) -> None:
        deadline = earliest((self.agents.next_deadline(), self.relayed.next_deadline()))
        if deadline is not None and (self._armed_at is None or deadline.at < self._armed_at):
            at = self._armed_at = deadline.at
            self.machine.at(at, lambda: self._due(at))

    def _due(self, at: float) -> None:
        if self._armed_at == at:
            self._armed_at = None
            self.agents.handle_timeout(self.machine.now)
            self.relayed.handle_timeout(self.machine.now)
            self._settle()


@dataclass(frozen=True)
class Scene:
    """Behind which boxes two hosts are, the inner first. The last `shared` of them are the same boxes for both.

    `same_lan_prefix`: both LANs have the same addresses, and so have the hosts.
    """

    first: tuple[NatBehaviour, ...] = ()
    second: tuple[NatBehaviour, ...] = ()
    shared: int = 0
    same_lan_prefix: bool = False
    way: Way = field(default_factory=Way)


class IceWorld:
    """Two hosts in a scene; `hosts` are the one that asks for the connection, and the other."""

    def __init__(self, seed: int | str, scene: Scene, *, uses_relay: bool = True, interfaces: int = 1) -> None:
        """All `interfaces` of a host but the last are plugged into networks that lead nowhere."""
        self.internet = Internet(seed)
        self.internet.default_way = scene.way
        self.scene = scene
        public = self.internet.network("servers", "198.51.100.0/24")
        self.nats: list[list[Nat]] = [[], []]
        server, relay = Machine(self.internet, "server"), Machine(self.internet, "relay")
        server.plug(public, SERVER.host)
        relay.plug(public, RELAY.host)
        server.udp(SERVER, _answer)
        self.relay = RelayMachine(relay)
        machines = self._build()
        for side, machine in enumerate(machines):
            for number in range(interfaces - 1):
                prefix = f"172.{16 + side}.{number}"
                machine.plug(self.internet.lan(f"nowhere {side} {number}", f"{prefix}.0/24"), f"{prefix}.1")
            machine.interfaces.append(machine.interfaces.pop(0))
        rng = random.Random(f"{seed}/agents")
        self.hosts = [Host(machine, random.Random(rng.random()), uses_relay) for machine in machines]
        for host in self.hosts:
            host.credential = self.relay.members.issue(host.machine.name, 3600, relay.now)

    def _build(self) -> list[Machine]:
        """The last boxes first; each has a network of its own inside."""
        scene = self.scene
        outer: Network = self.internet.network("isp", "203.0.113.0/24")
        gateway: tuple[str, ...] = ()
        numbers = iter(range(1, 200))
        for depth, behaviour in enumerate(reversed(scene.first[len(scene.first) - scene.shared :])):
            nat, outer, gateway = self._nat(behaviour, outer, gateway, f"shared {depth}", next(numbers))
            for each in self.nats:
                each.insert(0, nat)
        machines = []
        for side, boxes in enumerate((scene.first, scene.second)):
            network, way = outer, gateway
            own = boxes[: len(boxes) - scene.shared]
            for depth, behaviour in enumerate(reversed(own)):
                is_last = depth == len(own) - 1
                number = 99 if is_last and scene.same_lan_prefix else next(numbers)
                nat, network, way = self._nat(behaviour, network, way, f"nat {side} {depth}", number, next(numbers))
                self.nats[side].insert(0, nat)
            machine = Machine(self.internet, f"host {side}")
            prefix = str(network.prefixes[0].network_address).rpartition(".")[0]
            place = 200 if own else 200 + side
            machine.plug(network, f"{prefix}.{place}", gateways=way)
            machines.append(machine)
        return machines

    def _nat(
        self, behaviour: NatBehaviour, outer: Network, way: tuple[str, ...], name: str, number: int, place: int = 100
    ) -> tuple[Nat, Network, tuple[str, ...]]:
        nat = Nat(self.internet, name, behaviour)
        prefix = str(outer.prefixes[0].network_address).rpartition(".")[0]
        nat.plug(outer, f"{prefix}.{place}", gateways=way)
        lan = self.internet.lan(f"inside {name}", f"10.0.{number}.0/24")
        nat.plug(lan, f"10.0.{number}.1", is_inside=True)
        return nat, lan, (f"10.0.{number}.1",)

    def connect(self, *, answer_s: float = 0.1, patience_s: float = 20.0) -> None:
        """Gather, and exchange words: the second host begins at once, the first when the answer has come."""
        for host in self.hosts:
            host.gather()
        assert self.internet.run_for(30.0, stop=lambda: all(host.is_ready for host in self.hosts)), "no servers"
        first, second = self.hosts
        offer = first.open(is_controlling=True)
        answer = second.open(is_controlling=False)
        second.begin(offer)
        first.machine.at(first.machine.now + answer_s, lambda: first.begin(answer))
        self.began_at = self.internet.now + answer_s
        self.internet.run_for(patience_s, stop=lambda: all(host.path or host.lost for host in self.hosts))

    def wait_direct(self, patience_s: float = 45.0) -> None:
        """Let what is better than a relay be found."""
        self.internet.run_for(patience_s, stop=lambda: self.is_direct)

    @property
    def is_connected(self) -> bool:
        """True if both ends have a path."""
        return all(host.path is not None for host in self.hosts)

    @property
    def is_direct(self) -> bool:
        """True if both have one that no relay is on."""
        return all(host.path is not None and not host.path[2] for host in self.hosts)

    def data_passes(self) -> bool:
        """True if data arrives both ways; lost ones are sent again."""
        for host in self.hosts:
            host.got.clear()
        for _ in range(20):
            for host in self.hosts:
                host.say()
            self.internet.run_for(0.5)
            if all(host.got for host in self.hosts):
                return True
        return False


def _answer(socket: UdpSocket, remote: Address, data: bytes) -> None:
    if (answer := answer_binding(data, remote)) is not None:
        socket.send(remote, answer)
