"""A site: one peer and the phones on its LAN."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect
from p2psip.base.timers import Deadline
from p2psip.coupling.peer import Peer
from p2psip.media.session import SendRtp
from p2psip.reload.node.effects import LinkUp
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
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendDatagram
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener

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
        """A connection with another peer is up."""
        self.peer.handle_link_up(link, now)

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        """Bytes came over it."""
        self.peer.handle_link_data(number, data, now)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """It is down, or never came up."""
        self.peer.handle_link_down(number, reason, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to a question of the peer."""
        self.peer.handle_answer(token, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.peer.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self.peer.next_deadline()

    def drain(self) -> list[Effect]:
        """Carry to the phones what is for them; the rest is for the world."""
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
        """The machine of the world that it runs on now."""
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
        """Tell the server where it is, from now on."""
        self.run(self.agent.register)
        return self

    def dial(self, target: str) -> int:
        """Call `target`, a URI, or a name at the server that the phone is set to; the number of the call."""
        uri = parse_sip_uri(target if target.startswith("sip:") else f"sip:{target}@{self.site.local.host}")
        numbers: list[int] = []
        self.run(lambda now: numbers.append(self.agent.call(uri, now)))
        return numbers[0]

    def hang_up(self, call: int) -> None:
        """End a call."""
        self.run(lambda now: self.agent.hang_up(call, now))

    def unplug(self) -> None:
        """No power: whatever comes is lost."""
        self.is_plugged_in = False

    def receive(self, data: bytes) -> None:
        """A datagram of the server has come."""
        if self.is_plugged_in:
            self.received.append(data)
            self.run(lambda now: self.agent.handle(Datagram(self.address, self.site.local, data), now))

    def send(self, data: bytes) -> None:
        """Bytes of one's own choice."""
        self.site.call(lambda now: self.site.peer.handle_sip(Datagram(self.site.local, self.address, data), now))

    def run(self, do: Callable[[float], object]) -> None:
        """Give the agent one input, and do what it wants done."""
        do(self.site.world.now)
        for effect in self.agent.drain():
            self._perform(effect)
        self._arm()

    def of(self, kind: type[Effect]) -> list[Effect]:
        """What its user has been told, of one kind."""
        return [effect for _, effect in self.events if isinstance(effect, kind)]

    @property
    def is_registered(self) -> bool:
        """True once the server has taken a registration."""
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
        """How long after `began` a call was answered, in seconds; None if it was not."""
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


def _discard(_: object) -> None:
    return None
