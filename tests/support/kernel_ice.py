"""Agents of ICE at real sockets in the nodes of a lab, and the STUN and TURN server that they use, all in one thread.

Everything is made of the cores as they are: `Agents`, `TurnClient`, `TurnService`. What is here only carries bytes, as
`ice_world` does in virtual time.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from netlab import Lab

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import Deadline, earliest
from p2psip.reload.paths.demux import DatagramKind, kind_of
from p2psip.reload.paths.ice.agents import Agents
from p2psip.reload.paths.ice.candidate_addresses import Mapped, encoded, gathered
from p2psip.reload.paths.ice.values import PathChanged, PathChosen, PathDoubted, PathHolds, PathLost
from p2psip.reload.paths.values import Parameters, SendStun
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS, Family
from p2psip.stun.binding import answer_binding
from p2psip.stun.credentials import StunGate
from p2psip.stun.message import BINDING, MessageClass, StunMessage, decode
from p2psip.turn.client import TurnClient
from p2psip.turn.client_values import Allocated, NotPermitted, Permitted, RelayedData, RelayLost
from p2psip.turn.limits import TurnLimits
from p2psip.turn.member_credentials import MemberCredentials
from p2psip.turn.server import TurnService
from p2psip.turn.values import CloseRelay, CloseStream, Flow, OpenRelay, RelaySettings, Transmit, TurnRelay

DATA: Final = b"\x17data"
GATHER_AGAIN_S: Final = 0.5
STUN_PORT, TURN_PORT = 3478, 3479
LONGEST = 65_535
Came = Callable[[socket.socket], None]


class SocketLoop:
    """All sockets of a test, and whose timers run."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.members: list[IceEnd | RelayHost] = []

    @property
    def now(self) -> float:
        """The cores' clock."""
        return time.monotonic()

    def add(self, made: socket.socket, came: Came) -> socket.socket:
        """Call `came` when a socket can be read."""
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ, came)
        return made

    def remove(self, made: socket.socket) -> None:
        """Close one."""
        self._selector.unregister(made)
        made.close()

    def run(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Let everything go on until something holds; False if it does not in time."""
        give_up_at = self.now + limit_s
        while not until():
            deadline = earliest(each.next_deadline() for each in self.members)
            wake_at = give_up_at if deadline is None else min(give_up_at, deadline.at)
            for key, _ in self._selector.select(max(0.0, wake_at - self.now)):
                key.data(key.fileobj)
            now = self.now
            if now >= give_up_at:
                return until()
            for each in self.members:
                due = each.next_deadline()
                if due is not None and due.at <= now:
                    each.handle_timeout(now)
        return True

    def close(self) -> None:
        """Close all that are open."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


class RelayHost:
    """The one server of a lab: it says who one is, at `stun`, and relays, at `turn`."""

    def __init__(self, loop: SocketLoop, lab: Lab, node: str, hosts: Sequence[str], relays: Sequence[str]) -> None:
        """`hosts` are where it is asked, `relays` what it relays from."""
        self._loop, self._lab, self._node = loop, lab, node
        self.members = MemberCredentials(b"sixteen bytes at least")
        self.relayed_bytes = 0
        listening = frozenset(Address(host, TURN_PORT) for host in hosts)
        settings = RelaySettings("overlay", tuple(relays), frozenset((*hosts, *relays)), listening)
        limits = TurnLimits(
            allocations=1000, allocations_per_user=1000, bytes_per_s_per_user=10**7, surplus_bytes_per_s=10**6
        )
        gate = StunGate("overlay", self.members, b"sixteen bytes at least")
        self._server = TurnService(settings, limits, gate, random.Random(time.monotonic_ns()), loop.now)
        self._flows: dict[Flow, socket.socket] = {}
        self._relays: dict[Address, socket.socket] = {}
        self._udp: dict[Address, socket.socket] = {}
        for host in hosts:
            loop.add(lab.udp(node, host, STUN_PORT), self._asked)
            self._udp[Address(host, TURN_PORT)] = loop.add(lab.udp(node, host, TURN_PORT), self._came)
            loop.add(self._listener(host), self._accept)
        loop.members.append(self)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._server.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Allocations end."""
        self._server.handle_timeout(now)
        self._do()

    def _listener(self, host: str) -> socket.socket:
        with self._lab.inside(self._node):
            return socket.create_server(
                (host, TURN_PORT), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64
            )

    def _accept(self, listener: socket.socket) -> None:
        stream, remote = listener.accept()
        flow = Flow(_address(stream.getsockname()), _address(remote), is_stream=True)
        self._flows[flow] = self._loop.add(stream, lambda made: self._read(flow, made))

    def _read(self, flow: Flow, stream: socket.socket) -> None:
        data = stream.recv(LONGEST)
        if data:
            self._server.handle_data(flow, data, self._loop.now)
        else:
            self._server.handle_flow_down(flow)
            self._loop.remove(self._flows.pop(flow))
        self._do()

    def _asked(self, made: socket.socket) -> None:
        data, remote = made.recvfrom(LONGEST)
        if (answer := answer_binding(data, _address(remote))) is not None:
            made.sendto(answer, remote)

    def _came(self, made: socket.socket) -> None:
        data, remote = made.recvfrom(LONGEST)
        self._server.handle_data(Flow(_address(made.getsockname()), _address(remote)), data, self._loop.now)
        self._do()

    def _came_to_relay(self, made: socket.socket) -> None:
        data, remote = made.recvfrom(LONGEST)
        self.relayed_bytes += len(data)
        self._server.handle_relayed(_address(made.getsockname()), _address(remote), data, self._loop.now)
        self._do()

    def _do(self) -> None:
        while effects := self._server.drain():
            for effect in effects:
                self._do_one(effect)

    def _do_one(self, effect: Effect) -> None:
        match effect:
            case Transmit(flow, data) if flow.is_stream:
                if flow in self._flows:
                    self._flows[flow].sendall(data)
            case Transmit(flow, data):
                self._udp[flow.local].sendto(data, flow.remote)
            case TurnRelay(relayed, peer, data):
                self._relays[relayed].sendto(data, peer)
            case CloseRelay(relayed):
                self._loop.remove(self._relays.pop(relayed))
            case CloseStream(flow):
                self._loop.remove(self._flows.pop(flow))
            case Ask(token=token, question=OpenRelay(relayed=relayed)):
                self._server.handle_answer(token, self._opened(relayed), self._loop.now)
            case _:
                raise AssertionError(effect)

    def _opened(self, relayed: Address) -> bool:
        try:
            self._relays[relayed] = self._loop.add(self._lab.udp(self._node, *relayed), self._came_to_relay)
        except OSError:
            return False
        return True


@dataclass(eq=False)
class IceEnd:
    """One end of one session: a node's sockets, its agent, and its allocation at the relay."""

    loop: SocketLoop
    lab: Lab
    node: str
    relay: RelayHost
    server: str
    """The host of STUN and TURN that it can reach."""
    is_over_tcp: bool = False
    """How it reaches the relay."""
    path: tuple[Address, Address, bool] | None = None
    path_at: float = 0.0
    lost: PathLost | None = None
    got: list[bytes] = field(default_factory=list)
    _reflexive: dict[Address, Address] = field(default_factory=dict)
    _relayed: tuple[Address, ...] = ()
    _questions: dict[bytes, Address] = field(default_factory=dict)
    _ask_at: float | None = None
    is_relay_lost: bool = False

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.node}/{time.monotonic_ns()}")
        self._agents = Agents(self._rng)
        self._sockets = {
            _address(made.getsockname()): self.loop.add(made, self._came)
            for made in (self.lab.udp(self.node, host) for host in self.lab.addresses(self.node))
        }
        host = next(each for each in self.lab.addresses(self.node) if (":" in each) == (":" in self.server))
        self._to_relay = self._connected(host)
        flow = Flow(_address(self._to_relay.getsockname()), Address(self.server, TURN_PORT), self.is_over_tcp)
        credential = self.relay.members.issue(self.node, 100_000, self.loop.now)
        self._turn = TurnClient(flow, credential, self._rng, (Family.IPV4, Family.IPV6))
        self.loop.members.append(self)

    def _connected(self, host: str) -> socket.socket:
        if not self.is_over_tcp:
            made = self.lab.udp(self.node, host)
        else:
            with self.lab.inside(self.node):
                made = socket.create_connection((self.server, TURN_PORT), timeout=30.0)
        return self.loop.add(made, self._came_from_relay)

    # Gathering

    def gather(self) -> None:
        """Ask both servers until they have answered."""
        self._turn.allocate(self.loop.now)
        self._ask()
        self._settle()

    def _ask(self) -> None:
        self._ask_at = None
        missing = [local for local in self._sockets if self._may_ask(local) and local not in self._reflexive]
        for local in missing:
            number = self._rng.randbytes(12)
            self._questions[number] = local
            request = StunMessage(MessageClass.REQUEST, BINDING, number).encode()
            self._sockets[local].sendto(request, (self.server, STUN_PORT))
            self._ask_at = self.loop.now + GATHER_AGAIN_S

    def _may_ask(self, local: Address) -> bool:
        return (":" in local.host) == (":" in self.server) and not self.is_over_tcp

    @property
    def is_ready(self) -> bool:
        """True when it knows what others have for it."""
        return bool(self._relayed) and self._ask_at is None

    def open(self, *, is_controlling: bool) -> Parameters:
        """Its words in an Attach."""
        server = Address(self.server, STUN_PORT)
        reflexive = [Mapped(address, local, server) for local, address in self._reflexive.items()]
        relayed = [Mapped(address, self._turn_local, server) for address in self._relayed]
        candidates = gathered(list(self._sockets), reflexive, relayed)
        own = self._agents.open(candidates, is_controlling=is_controlling)
        self.ufrag = own.ufrag
        return Parameters(own.ufrag, own.password, b"passive" if is_controlling else b"active", encoded(candidates))

    @property
    def _turn_local(self) -> Address:
        return _address(self._to_relay.getsockname())

    def begin(self, theirs: Parameters) -> None:
        """The other end's words have come."""
        families = {Family.of(each.host) for each in self._relayed}
        self._turn.permit([host for host in theirs.hosts if Family.of(host) in families], self.loop.now)
        self._agents.begin(self.ufrag, theirs, self.loop.now)
        self._settle()

    def say(self, data: bytes = DATA) -> None:
        """Send data on the path."""
        assert self.path is not None, self.lost
        if self._agents.sent(self.ufrag, self.loop.now):
            self._send(self.path[0], self.path[1], data)
        self._settle()

    def reports(self) -> list[str]:
        """What has become of the pairs."""
        return [str(each) for each in self._agents.reports(self.ufrag)]

    # From the loop

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        asking = None if self._ask_at is None else Deadline(self._ask_at, "no word on our address")
        return earliest((self._agents.next_deadline(), self._turn.next_deadline(), asking))

    def handle_timeout(self, now: float) -> None:
        """Check, repeat, refresh."""
        if self._ask_at is not None and now >= self._ask_at:
            self._ask()
        self._agents.handle_timeout(now)
        self._turn.handle_timeout(now)
        self._settle()

    def close(self) -> None:
        """Its sockets."""
        self.loop.members.remove(self)
        for made in (*self._sockets.values(), self._to_relay):
            self.loop.remove(made)

    def _came(self, made: socket.socket) -> None:
        data, source = made.recvfrom(LONGEST)
        local, remote = _address(made.getsockname()), _address(source)
        if remote == Address(self.server, STUN_PORT):
            answer = decode(data)
            mapped = XOR_MAPPED_ADDRESS.first(answer)
            assert mapped is not None
            if self._questions.pop(answer.transaction, None) is not None:
                self._reflexive[local] = mapped
            if all(each in self._reflexive for each in self._sockets if self._may_ask(each)):
                self._ask_at = None
        else:
            self._arrived(local, remote, data)

    def _came_from_relay(self, made: socket.socket) -> None:
        data = made.recv(LONGEST)
        if not data and self.is_over_tcp:
            self._turn.handle_unreachable("the stream has ended")
        else:
            self._turn.handle_data(data, self.loop.now)
        self._settle()

    def _arrived(self, local: Address, remote: Address, data: bytes) -> None:
        if kind_of(data) is DatagramKind.STUN:
            self._agents.handle_datagram(local, remote, data, self.loop.now)
            self._settle()
        else:
            self.got.append(data)

    # What the cores want

    def _send(self, local: Address | None, remote: Address, data: bytes) -> None:
        if local in self._relayed:
            self._turn.send(remote, data, self.loop.now)
            return
        assert local is not None, "agents say from where"
        with contextlib.suppress(OSError):  # No route: a check that is not answered.
            self._sockets[local].sendto(data, remote)

    def _settle(self) -> None:
        while effects := [*self._agents.drain(), *self._turn.drain()]:
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendStun(local, remote, data):
                self._send(local, remote, data)
            case Transmit(_, data) if self.is_over_tcp:
                self._to_relay.sendall(data)
            case Transmit(flow, data):
                self._to_relay.sendto(data, flow.remote)
            case Allocated(relayed):
                self._relayed = relayed
            case RelayedData(peer, data):
                own = next(each for each in self._relayed if Family.of(each.host) is Family.of(peer.host))
                self._arrived(own, peer, data)
            case RelayLost():
                self.is_relay_lost = True
            case Permitted() | NotPermitted() | PathDoubted() | PathHolds():
                pass
            case PathChosen(_, local, remote, is_relayed) | PathChanged(_, local, remote, is_relayed):
                self.path, self.path_at = (local, remote, is_relayed), self.loop.now
            case PathLost() as lost:
                self.lost, self.path = lost, None
            case _:
                raise AssertionError(effect)


def _address(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    return Address(name[0], name[1])
