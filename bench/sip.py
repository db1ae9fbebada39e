"""Processor time of the SIP server of a peer, in memory: a registration, and a call between two of its phones.

The phones are user agents beside it, in virtual time, whose work is not counted. Every request proves its sender by
digest, as it does in a real peer.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from bench.results import Result, result
from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.timers import earliest
from p2psip.sip.entities.agents.types import AgentConfig, CallEnded, CallEstablished, MediaWanted
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.questions import Answer, Credential, FindCredential, Located, LocateUser
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.digest import ha1_by_algorithm
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener

OVERLAY = "bench.example"
SERVER = Address("192.0.2.1", 5060)
ALICE, BOB = Address("192.0.2.11", 5060), Address("192.0.2.12", 5060)

NAMES = {ALICE: "alice", BOB: "bob"}
EXPIRES_S = 3600

GROUPS, PER_GROUP = 25, 20
"""Readings, and how many registrations or calls each is the mean of."""


def measure() -> Iterator[Result]:
    """A registration, then a call: INVITE, 100, 180, 200, ACK, BYE, 200."""
    site = _Site()
    site.register(ALICE)
    site.register(BOB)
    for name, work in (("sip.register", partial(site.register, ALICE)), ("sip.call", site.call)):
        for _ in range(PER_GROUP):
            work()
        yield result(name, "us", [_reading_us(site, work) for _ in range(GROUPS)])


def _reading_us(site: _Site, work: Callable[[], None]) -> float:
    before = site.server_s
    for _ in range(PER_GROUP):
        work()
    return (site.server_s - before) / PER_GROUP * 1e6


class _Site:
    """A SIP server and two phones."""

    def __init__(self) -> None:
        self.server_s = 0.0
        self.now = 0.0
        listener = Listener("UDP", SERVER)
        config = ServerConfig(OVERLAY, frozenset({OVERLAY, SERVER.host}), (listener,), SipUri(OVERLAY, "peer"))
        self._server = SipServer(config, random.Random(1))
        self._phones = {address: _phone(name, address) for address, name in NAMES.items()}
        self._on_the_way: deque[tuple[Address, Address, bytes]] = deque()
        self._events: list[Effect] = []

    def register(self, phone: Address) -> None:
        """One registration, or its refresh."""
        self._go_on(1.0)
        self._phones[phone].register(self.now)
        self._settle()
        granted = [binding.expires_at for binding in self._server.bindings(NAMES[phone], self.now)]
        assert granted == [self.now + EXPIRES_S], granted

    def call(self) -> None:
        """alice calls bob, who answers at once; alice hangs up. Then time goes on, and transactions end."""
        alice = self._phones[ALICE]
        call = alice.call(SipUri(SERVER.host, "bob"), self.now)
        self._wait_for(CallEstablished)
        self._go_on(0.1)
        alice.hang_up(call, self.now)
        self._wait_for(CallEnded)
        self._go_on(1.0)

    def _wait_for(self, kind: type[Effect]) -> None:
        self._events.clear()
        until = self.now + 5.0
        while not any(isinstance(event, kind) for event in self._events):
            assert self.now < until, f"no {kind.__name__}: {self._events}"
            self._go_on(0.01)

    def _go_on(self, seconds: float) -> None:
        until = self.now + seconds
        self._settle()
        parts: list[SipServer | UserAgent] = [self._server, *self._phones.values()]
        while (deadline := earliest(part.next_deadline() for part in parts)) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self._serve(lambda: self._server.handle_timeout(self.now))
            for phone in self._phones.values():
                phone.handle_timeout(self.now)
            self._settle()
        self.now = until

    def _settle(self) -> None:
        """Carry datagrams until none is on the way."""
        while True:
            for address, phone in self._phones.items():
                for effect in phone.drain():
                    self._of_phone(address, phone, effect)
            if not self._on_the_way:
                return
            source, target, data = self._on_the_way.popleft()
            if target == SERVER:
                arrive = partial(self._server.handle, Datagram(SERVER, source, data), self.now)
                self._serve(arrive)
            else:
                self._phones[target].handle(Datagram(target, source, data), self.now)

    def _of_phone(self, address: Address, phone: UserAgent, effect: Effect) -> None:
        match effect:
            case SendUdp(_, _, data):
                self._on_the_way.append((address, SERVER, data))
            case Ask(token, MediaWanted()):
                phone.handle_answer(token, Address(address.host, 20_000), self.now)
            case _:
                self._events.append(effect)

    def _serve(self, work: Callable[[], None]) -> None:
        """What the server does counts, answers to its questions included."""
        began = time.process_time()
        work()
        while effects := self._server.drain():
            for effect in effects:
                match effect:
                    case SendUdp(_, remote, data):
                        self._on_the_way.append((SERVER, remote, data))
                    case Ask(token, question):
                        self._server.handle_answer(token, self._answer(question), self.now)
        self.server_s += time.process_time() - began

    def _answer(self, question: object) -> Answer:
        match question:
            case FindCredential(user, _):
                return Credential(user, (HA1S[user],))
            case LocateUser(_, user):
                return Located(self._server.targets(user, self.now))
        raise AssertionError(f"no answer to {question}")


HA1S = {user: ha1_by_algorithm(user, OVERLAY, "secret") for user in NAMES.values()}


def _phone(user: str, address: Address) -> UserAgent:
    config = AgentConfig(
        address_of_record=SipUri(SERVER.host, user),
        contact=SipUri(address.host, user, address.port),
        server=UdpHop(SERVER),
        listeners=(Listener("UDP", address),),
        password="secret",
        is_tethered=True,
        auto_answer_s=0.0,
        register_expires_s=EXPIRES_S,
    )
    return UserAgent(config, random.Random(user))
