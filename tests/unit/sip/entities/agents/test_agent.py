"""The user agent: two of them back to back, or one against messages made by hand, all in virtual time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.base.errors import LocalMisuse
from p2psip.media.negotiation import Direction
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    CallEstablished,
    EndedBy,
    IncomingCall,
    MediaChanged,
    MediaWanted,
    Registered,
    RegistrationFailed,
    Ringing,
    Unregistered,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.build import make_response
from p2psip.sip.message.digest import Authenticator, Worth, ha1_by_algorithm
from p2psip.sip.message.headers import AuthParams
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import StreamHop, UdpHop
from p2psip.sip.transports.layer import Listener

ALICE, BOB, SERVER = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060), Address("192.0.2.9", 5060)
DELAY_S = 0.01


def config(name: str, at: Address, server_at: Address, **changes: object) -> AgentConfig:
    base = AgentConfig(
        address_of_record=SipUri("example.org", name),
        contact=SipUri(at.host, name, at.port),
        server=UdpHop(server_at),
        listeners=(Listener("UDP", at),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Seen:
    """A message on the wire."""

    at: float
    sender: Address
    message: Message

    @property
    def line(self) -> str:
        m = self.message
        return f"{m.status} {m.cseq.method}" if isinstance(m, Response) else m.start_line().split()[0]


class Wire:
    """Agents, and places played by the test, on one network; `lose` says what does not arrive."""

    def __init__(self, agents: dict[Address, UserAgent]) -> None:
        self.agents = agents
        self.now = 0.0
        self.seen: list[Seen] = []
        self.events: dict[Address, list[tuple[float, Effect]]] = {at: [] for at in agents}
        self.lose: Callable[[Seen], bool] = lambda _: False
        self.places: dict[Address, Callable[[Request], Response | None]] = {}
        self._flying: list[tuple[float, int, Address, Address, bytes]] = []
        self._has_media = True

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._collect()
            times = [d.at for agent in self.agents.values() if (d := agent.next_deadline())]
            times += [self._flying[0][0]] if self._flying else []
            if min(times, default=end) >= end:
                self.now = end
                return
            self.now = max(self.now, min(times))
            self._deliver()
            for agent in self.agents.values():
                agent.handle_timeout(self.now)

    def send(self, sender: Address, to: Address, message: Message | bytes) -> None:
        """A message made by hand."""
        data = message if isinstance(message, bytes) else message.encode()
        self._flying.append((self.now + DELAY_S, len(self.seen), sender, to, data))
        self._flying.sort()

    def lines(self, sender: Address | None = None) -> list[str]:
        return [seen.line for seen in self.seen if sender in (None, seen.sender)]

    def last(self, line: str) -> Message:
        return [seen.message for seen in self.seen if seen.line == line][-1]

    def told(self, at: Address, kind: type[Effect] = Effect) -> list[Effect]:
        return [effect for _, effect in self.events[at] if isinstance(effect, kind)]

    def endings(self, at: Address) -> list[tuple[EndedBy, str]]:
        return [(e.reason.by, str(e.reason)) for e in self.told(at, CallEnded) if isinstance(e, CallEnded)]

    def _collect(self) -> None:
        while effects := [(at, effect) for at, agent in self.agents.items() for effect in agent.drain()]:
            for at, effect in effects:
                self._take(at, effect)

    def _take(self, at: Address, effect: Effect) -> None:
        if isinstance(effect, SendUdp):
            self._fly(effect)
        elif isinstance(effect, Ask):
            assert isinstance(effect.question, MediaWanted)
            address = (at.host, 4000 + 2 * effect.question.call) if self._has_media else None
            self.agents[at].handle_answer(effect.token, address, self.now)
        else:
            self.events[at].append((self.now, effect))

    def no_media(self) -> None:
        self._has_media = False

    def _fly(self, send: SendUdp) -> None:
        seen = Seen(self.now, send.local, parse(send.data))
        self.seen.append(seen)
        if not self.lose(seen):
            self._flying.append((self.now + DELAY_S, len(self.seen), send.local, send.remote, send.data))
            self._flying.sort()

    def _deliver(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, sender, to, data = self._flying.pop(0)
            if to in self.agents:
                self.agents[to].handle(Datagram(to, sender, data), self.now)
            elif to in self.places:
                request = parse(data)
                answer = self.places[to](request) if isinstance(request, Request) else None
                if answer is not None:
                    self.seen.append(Seen(self.now, to, answer))
                    self.send(to, sender, answer)


def pair(*, auto_answer_s: float | None = 0.1, **changes: object) -> tuple[Wire, UserAgent, UserAgent]:
    """Alice's server is Bob's phone and the other way round: a call without anything between."""
    alice = UserAgent(config("alice", ALICE, BOB, **changes), random.Random(1))
    bob = UserAgent(config("bob", BOB, ALICE, auto_answer_s=auto_answer_s, **changes), random.Random(2))
    return Wire({ALICE: alice, BOB: bob}), alice, bob


def call_bob(alice: UserAgent, now: float = 0.0) -> int:
    return alice.call(parse_sip_uri("sip:bob@example.org"), now)


def talking() -> tuple[Wire, UserAgent, UserAgent, int]:
    wire, alice, bob = pair()
    number = call_bob(alice)
    wire.run(1.0)
    wire.seen.clear()
    return wire, alice, bob, number


# Calls


def test_a_call_from_ringing_to_bye() -> None:
    wire, alice, _ = pair()
    number = call_bob(alice)
    wire.run(2.0)
    alice.hang_up(number, wire.now)
    wire.run(0.1)
    assert wire.lines() == ["INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"]
    ringing, established, ended = wire.events[ALICE]
    assert ringing == (pytest.approx(0.02), Ringing(number, 180, "Ringing"))
    assert established[0] == pytest.approx(0.12)
    assert isinstance(established[1], CallEstablished)
    assert established[1].local == ("192.0.2.1", 4002)
    assert established[1].agreement.remote == ("192.0.2.2", 4002)
    assert isinstance(ended[1], CallEnded)
    assert wire.endings(ALICE) == [(EndedBy.US, "hung up")]
    incoming, picked_up, _ = wire.told(BOB)
    assert isinstance(incoming, IncomingCall)
    assert incoming.caller.uri == SipUri("example.org", "alice")
    assert isinstance(picked_up, CallEstablished)
    assert wire.endings(BOB) == [(EndedBy.THEM, "hung up")]


def test_when_all_is_over_nothing_is_left() -> None:
    wire, alice, bob = pair()
    number = call_bob(alice)
    wire.run(2.0)
    alice.hang_up(number, wire.now)
    wire.run(70.0)
    assert (alice.next_deadline(), bob.next_deadline()) == (None, None)
    assert (alice._calls, bob._calls, alice._wiring._pending, bob._wiring._pending) == ({}, {}, set(), set())


def test_either_side_may_hang_up() -> None:
    wire, _, bob, number = talking()
    bob.hang_up(bob.calls[0], wire.now)
    wire.run(0.1)
    assert wire.lines() == ["BYE", "200 BYE"]
    assert wire.endings(ALICE) == [(EndedBy.THEM, "hung up")]
    assert number == 1


def test_answered_by_hand() -> None:
    wire, alice, bob = pair(auto_answer_s=None)
    call_bob(alice)
    wire.run(30.0)
    assert wire.lines() == ["INVITE", "180 INVITE"]
    bob.answer(bob.calls[0], wire.now)
    wire.run(1.0)
    assert len(wire.told(ALICE, CallEstablished)) == 1


@pytest.mark.parametrize(("status", "phrase"), [(486, "Busy Here"), (603, "Decline")])
def test_refused(status: int, phrase: str) -> None:
    wire, alice, bob = pair(auto_answer_s=None)
    call_bob(alice)
    wire.run(1.0)
    bob.reject(bob.calls[0], status, wire.now)
    wire.run(1.0)
    assert wire.endings(ALICE) == [(EndedBy.THEM, f"{status} {phrase}")]
    assert wire.endings(BOB) == [(EndedBy.US, f"{status} {phrase}")]
    assert wire.lines()[-2:] == [f"{status} INVITE", "ACK"]


def test_13_3_1_1_a_phone_that_rings_says_so_every_minute_and_not_for_ever() -> None:
    wire, alice, _ = pair(auto_answer_s=None)
    call_bob(alice)
    wire.lose = lambda seen: seen.sender == ALICE and seen.line == "CANCEL"
    wire.run(200.0)
    assert [seen.at for seen in wire.seen if seen.line == "180 INVITE"] == pytest.approx([0.01, 60.01, 120.01])
    assert wire.endings(BOB) == [(EndedBy.NOBODY, "nobody answered in 180 s")]
    assert wire.endings(ALICE) == [(EndedBy.NOBODY, "nobody answered in 180 s")]
    assert "480 INVITE" in wire.lines()


def test_15_cancelled_while_ringing() -> None:
    wire, alice, bob = pair(auto_answer_s=None)
    number = call_bob(alice)
    wire.run(1.0)
    alice.hang_up(number, wire.now)
    wire.run(1.0)
    assert wire.lines() == ["INVITE", "180 INVITE", "CANCEL", "200 CANCEL", "487 INVITE", "ACK"]
    assert wire.endings(ALICE) == [(EndedBy.US, "hung up")]
    assert wire.endings(BOB) == [(EndedBy.THEM, "cancelled")]
    assert bob.calls == []


def test_15_a_cancel_that_meets_the_answer_becomes_a_bye() -> None:
    wire, alice, _ = pair(auto_answer_s=0.0)
    number = call_bob(alice)
    wire.run(0.0105)
    alice.hang_up(number, wire.now)
    wire.run(2.0)
    assert wire.lines(ALICE) == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert wire.endings(BOB) == [(EndedBy.THEM, "hung up")]
    assert wire.told(ALICE, CallEstablished) == []


def test_a_call_that_is_hung_up_before_its_media_address_came_was_never_placed() -> None:
    alice = UserAgent(config("alice", ALICE, BOB), random.Random(1))
    number = call_bob(alice)
    ask = alice.drain()[0]
    assert isinstance(ask, Ask)
    alice.hang_up(number, 0.1)
    alice.handle_answer(ask.token, ("192.0.2.1", 4000), 0.2)
    assert [type(effect) for effect in alice.drain()] == [CallEnded]


def test_no_media_address() -> None:
    wire, alice, _ = pair()
    wire.no_media()
    call_bob(alice)
    wire.run(1.0)
    assert wire.endings(ALICE) == [(EndedBy.NOBODY, "no address for media")]


def test_a_question_that_nobody_answers_ends_the_call() -> None:
    alice = UserAgent(config("alice", ALICE, BOB), random.Random(1))
    call_bob(alice)
    alice.drain()
    deadline = alice.next_deadline()
    assert deadline
    alice.handle_timeout(deadline.at)
    assert [type(effect) for effect in alice.drain()] == [CallEnded]


def test_nobody_there() -> None:
    wire, alice, _ = pair()
    wire.lose = lambda _: True
    call_bob(alice)
    wire.run(40.0)
    assert wire.lines() == ["INVITE"] * 7
    (by, what), *_ = wire.endings(ALICE)
    assert (by, "no answer to INVITE" in what) == (EndedBy.NOBODY, True)


def test_calls_are_limited() -> None:
    wire, alice, bob = pair(auto_answer_s=None, calls_max=2)
    carol = UserAgent(config("carol", SERVER, BOB), random.Random(3))
    wire.agents[SERVER], wire.events[SERVER] = carol, []
    call_bob(alice), call_bob(alice)
    with pytest.raises(LocalMisuse, match="2 calls already"):
        call_bob(alice)
    wire.run(1.0)
    call_bob(carol, wire.now)
    wire.run(1.0)
    assert len(bob.calls) == 2
    assert wire.endings(SERVER) == [(EndedBy.THEM, "486 Busy Here")]


def test_no_call_lasts_for_ever() -> None:
    wire, alice, bob = pair(call_s_max=60.0)
    call_bob(alice)
    wire.run(70.0)
    assert "no call lasts longer than 60 s" in str(wire.endings(BOB))
    assert (alice.calls, bob.calls) == ([], [])


# Loss


@pytest.mark.parametrize("lost", ["INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"])
def test_any_one_message_may_be_lost(lost: str) -> None:
    wire, alice, _ = pair()
    wire.lose = lambda seen: seen.line == lost and wire.lines().count(lost) == 1
    number = call_bob(alice)
    wire.run(5.0)
    assert len(wire.told(ALICE, CallEstablished)) == len(wire.told(BOB, CallEstablished)) == 1
    alice.hang_up(number, wire.now)
    wire.run(5.0)
    assert wire.endings(BOB) == [(EndedBy.THEM, "hung up")]
    assert lost == "180 INVITE" or wire.lines().count(lost) == 2


@pytest.mark.parametrize("seed", range(8))
def test_a_third_of_all_messages_may_be_lost(seed: int) -> None:
    wire, alice, bob = pair()
    rng = random.Random(seed)
    wire.lose = lambda _: rng.random() < 0.33
    number = call_bob(alice)
    wire.run(30.0)
    assert len(wire.told(ALICE, CallEstablished)) == len(wire.told(BOB, CallEstablished)) == 1
    alice.hang_up(number, wire.now)
    wire.run(40.0)
    assert (alice.calls, bob.calls) == ([], [])


def test_13_3_1_4_a_2xx_is_repeated_until_it_is_given_up_with_a_bye() -> None:
    wire, alice, _ = pair(auto_answer_s=0.0)
    wire.lose = lambda seen: seen.line == "ACK"
    call_bob(alice)
    wire.run(40.0)
    at = [seen.at for seen in wire.seen if seen.line == "200 INVITE"]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert gaps == pytest.approx([0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4])
    assert wire.lines().count("ACK") == len(at)
    assert "never acknowledged" in str(wire.endings(BOB))
    assert wire.endings(ALICE) == [(EndedBy.THEM, "hung up")]


def test_15_a_callee_that_hangs_up_early_waits_for_the_ack() -> None:
    wire, alice, bob = pair(auto_answer_s=0.0)
    wire.lose = lambda seen: seen.line == "ACK" and wire.lines().count("ACK") < 3
    call_bob(alice)
    wire.run(0.1)
    bob.hang_up(bob.calls[0], wire.now)
    wire.run(5.0)
    lines = wire.lines()
    assert lines.index("BYE") > max(n for n, line in enumerate(lines) if line == "ACK")
    assert wire.endings(ALICE) == [(EndedBy.THEM, "hung up")]


# Hold


def test_hold_and_resume() -> None:
    wire, alice, _, number = talking()
    alice.hold(number, True, wire.now)
    wire.run(1.0)
    alice.hold(number, False, wire.now)
    wire.run(1.0)
    assert wire.lines() == ["INVITE", "200 INVITE", "ACK"] * 2
    changes = [e.agreement.direction for e in wire.told(ALICE, MediaChanged) if isinstance(e, MediaChanged)]
    assert changes == [Direction.SENDONLY, Direction.SENDRECV]
    changes = [e.agreement.direction for e in wire.told(BOB, MediaChanged) if isinstance(e, MediaChanged)]
    assert changes == [Direction.RECVONLY, Direction.SENDRECV]


def test_14_1_two_that_hold_at_once_try_again() -> None:
    wire, alice, bob, number = talking()
    alice.hold(number, True, wire.now)
    bob.hold(bob.calls[0], True, wire.now)
    wire.run(0.1)
    assert wire.lines().count("491 INVITE") == 2
    wire.run(10.0)
    last = [wire.told(at, MediaChanged)[-1] for at in (ALICE, BOB)]
    assert [e.agreement.direction for e in last if isinstance(e, MediaChanged)] == [Direction.INACTIVE] * 2
    assert wire.told(ALICE, CallEnded) == []


def test_14_1_a_refused_hold_changes_nothing() -> None:
    wire, alice, bob, number = talking()
    bob._calls[1]._negotiation.answer = lambda _: None  # type: ignore[union-attr, method-assign]
    alice.hold(number, True, wire.now)
    wire.run(1.0)
    assert wire.lines() == ["INVITE", "488 INVITE", "ACK"]
    assert (wire.told(ALICE, MediaChanged), wire.told(ALICE, CallEnded)) == ([], [])
    assert alice._calls[number]._negotiation.direction is Direction.SENDRECV  # type: ignore[union-attr]


def test_a_dead_partner_is_noticed_by_a_hold() -> None:
    wire, alice, bob, number = talking()
    wire.lose = lambda seen: seen.sender == BOB
    alice.hold(number, True, wire.now)
    wire.run(70.0)
    assert "no answer to INVITE" in str(wire.endings(ALICE))
    assert alice._calls == {}
    assert bob.calls == []


# Registration


class Registrar:
    """A registrar that wants a password, by hand."""

    def __init__(self, password: str = "secret", expires: str = "60") -> None:
        self.authenticator = Authenticator("example.org", random.Random(4), ("SHA-256", "MD5"))
        self.ha1s = ha1_by_algorithm("alice", "example.org", password)
        self.expires = expires
        self.contacts: list[str] = []
        self.statuses: list[int] = []
        self.now = 0.0

    def __call__(self, request: Request) -> Response:
        assert request.method == "REGISTER"
        credentials = self.authenticator.find(request.fields.lines("authorization"))
        verdict = credentials and self.authenticator.check(request.method, credentials, (self.ha1s,), "", self.now)
        if verdict is not Worth.VALID:
            challenges = self.authenticator.challenges("", self.now, stale=verdict is Worth.STALE)
            return self._answer(request, 401, [("WWW-Authenticate", challenge) for challenge in challenges])
        self.contacts.append(request.fields.first("contact") or "")
        contact = request.contacts[0].with_param("expires", self.expires)
        return self._answer(request, 200, [("Contact", "<sip:other@192.0.2.77>;expires=5"), ("Contact", contact)])

    def _answer(self, request: Request, status: int, extra: list[tuple[str, object]]) -> Response:
        self.statuses.append(status)
        return make_response(request, status, to_tag="r", extra=extra)


def registering(place: Callable[[Request], Response | None], **changes: object) -> tuple[Wire, UserAgent]:
    alice = UserAgent(config("alice", ALICE, SERVER, **{"password": "secret", **changes}), random.Random(1))
    wire = Wire({ALICE: alice})
    wire.places[SERVER] = place
    return wire, alice


def test_registers_with_digest_and_refreshes_at_half_of_the_time() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar)
    alice.register(0.0)
    wire.run(1.0)
    assert (registrar.statuses, wire.told(ALICE)) == ([401, 200], [Registered(60)])
    assert registrar.contacts == ["<sip:alice@192.0.2.1:5060>;expires=300"]
    wire.run(70.0)
    assert [round(seen.at) for seen in wire.seen if seen.line == "200 REGISTER"] == [0, 30, 60]
    assert wire.told(ALICE) == [Registered(60)]
    requests = [seen.message for seen in wire.seen if seen.line == "REGISTER"]
    assert len({request.call_id for request in requests}) == 1
    assert [request.cseq.number for request in requests] == list(range(1, 7))


def test_unregisters() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar)
    alice.register(0.0)
    wire.run(1.0)
    alice.unregister(wire.now)
    wire.run(100.0)
    assert registrar.contacts[-1].endswith(";expires=0")
    assert [type(effect) for effect in wire.told(ALICE)] == [Registered, Unregistered]
    assert alice.next_deadline() is None


def test_22_1_a_wrong_password_is_tried_once_and_then_slowly() -> None:
    registrar = Registrar(password="other")
    wire, alice = registering(registrar)
    alice.register(0.0)
    wire.run(1.0)
    assert registrar.statuses == [401, 401]
    (failed,) = wire.told(ALICE)
    assert isinstance(failed, RegistrationFailed)
    assert (str(failed.reason), 1.5 <= failed.retry_s <= 2) == ("401 Unauthorized", True)
    wire.run(300.0)
    assert len(wire.told(ALICE)) == pytest.approx(10, abs=2)
    registrar.ha1s = ha1_by_algorithm("alice", "example.org", "secret")
    wire.run(70.0)
    assert wire.told(ALICE)[-1] == Registered(60)


def test_22_1_a_stale_nonce_is_no_wrong_password() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar)
    find = registrar.authenticator.find
    registrar.authenticator.find = lambda lines: _aged(registrar, find(lines))  # type: ignore[method-assign]
    alice.register(0.0)
    wire.run(1.0)
    assert registrar.statuses == [401, 401, 200]


def _aged(registrar: Registrar, credentials: object) -> object:
    """The first credentials come when their nonce is too old."""
    registrar.now = 1000.0 if registrar.statuses == [401] else registrar.now
    return credentials


def test_no_password_no_credentials() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar, password="")
    alice.register(0.0)
    wire.run(1.0)
    assert registrar.statuses == [401]


def test_10_2_8_interval_too_brief() -> None:
    def place(request: Request) -> Response:
        if request.contacts[0].param("expires") == "300":
            return make_response(request, 423, extra=[("Min-Expires", 1800)], to_tag="t")
        return make_response(request, 200, extra=[("Expires", 1800)], to_tag="t")

    wire, alice = registering(place)
    alice.register(0.0)
    wire.run(1.0)
    assert wire.told(ALICE) == [Registered(1800)]


def test_10_2_7_a_silent_registrar_is_tried_for_ever() -> None:
    wire, alice = registering(lambda _: None)
    alice.register(0.0)
    wire.run(600.0)
    failed = wire.told(ALICE)
    assert all(isinstance(effect, RegistrationFailed) for effect in failed)
    assert 6 <= len(failed) <= 12
    wire.places[SERVER] = Registrar()
    wire.run(100.0)
    assert wire.told(ALICE)[-1] == Registered(60)


def test_a_server_that_asks_for_patience_gets_it() -> None:
    wire, alice = registering(lambda request: make_response(request, 503, extra=[("Retry-After", "120")], to_tag="t"))
    alice.register(0.0)
    wire.run(119.0)
    assert wire.lines().count("503 REGISTER") == 1
    wire.run(10.0)
    assert wire.lines().count("503 REGISTER") == 2


@pytest.mark.parametrize("contact", ["", "<tel:1>", "<<", "<sip:alice@192.0.2.1:5060>;expires=x"])
def test_a_registrar_that_answers_nonsense_is_not_hammered(contact: str) -> None:
    wire, alice = registering(lambda request: make_response(request, 200, extra=[("Contact", contact)], to_tag="t"))
    alice.register(0.0)
    wire.run(60.0)
    assert wire.lines(ALICE).count("REGISTER") <= 10


# Digest in calls


class Proxy:
    """A proxy that wants a password for everything but ACK and CANCEL, and then plays Bob."""

    def __init__(self) -> None:
        self.authenticator = Authenticator("example.org", random.Random(4))
        self.ha1s = ha1_by_algorithm("alice", "example.org", "secret")
        self.served: list[str] = []
        self.body = b"v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 7000 RTP/AVP 8\n"

    def __call__(self, request: Request) -> Response | None:
        if request.method in ("ACK", "CANCEL"):
            self.served += [request.method] if request.to.tag == "b" else []
            return None
        credentials = self.authenticator.find(request.fields.lines("proxy-authorization"))
        if credentials is None or self._verdict(request, credentials) is not Worth.VALID:
            challenge = self.authenticator.challenges("", 0.0)[0]
            return make_response(request, 407, to_tag="p", extra=[("Proxy-Authenticate", challenge)])
        self.served.append(request.method)
        extra = [("Contact", "<sip:bob@192.0.2.9>"), ("Content-Type", "application/sdp")]
        return make_response(request, 200, to_tag="b", extra=extra, body=self.body)

    def _verdict(self, request: Request, credentials: AuthParams) -> Worth:
        return self.authenticator.check(request.method, credentials, (self.ha1s,), "", 0.0)


def test_22_3_challenged_by_a_proxy() -> None:
    proxy = Proxy()
    wire, alice = registering(proxy)
    number = call_bob(alice)
    wire.run(1.0)
    (established,) = wire.told(ALICE, CallEstablished)
    assert isinstance(established, CallEstablished)
    assert (established.agreement.remote, established.agreement.codec.name) == (("192.0.2.9", 7000), "PCMA")
    alice.hang_up(number, wire.now)
    wire.run(1.0)
    assert proxy.served == ["INVITE", "ACK", "BYE"]
    numbers = [(seen.line, seen.message.cseq.number) for seen in wire.seen if seen.sender == ALICE]
    # The ACK to the 407 has the number of the INVITE that was refused.
    assert numbers == [("INVITE", 1), ("ACK", 1), ("INVITE", 2), ("ACK", 2), ("BYE", 3), ("BYE", 4)]


def test_a_call_that_is_hung_up_while_it_is_challenged_is_cancelled() -> None:
    wire, alice = registering(Proxy())
    number = call_bob(alice)
    wire.run(0.015)
    alice.hang_up(number, wire.now)
    wire.run(2.0)
    assert wire.told(ALICE, CallEstablished) == []
    assert wire.lines(ALICE)[-1] == "BYE" or "CANCEL" in wire.lines(ALICE)


@pytest.mark.parametrize(
    ("body", "what"), [(b"", "malformed"), (b"v=0\no=- 1 1 IN IP4 192.0.2.9\nm=audio 0 RTP/AVP 0\n", "no audio")]
)
def test_an_answer_without_audio_is_acknowledged_and_hung_up(body: bytes, what: str) -> None:
    proxy = Proxy()
    proxy.body = body
    wire, alice = registering(proxy)
    call_bob(alice)
    wire.run(1.0)
    assert proxy.served == ["INVITE", "ACK", "BYE"]
    assert what in str(wire.endings(ALICE))


def test_3326_the_reason_of_a_failure_is_told() -> None:
    reason = 'SIP ;cause=480 ;text="bob\'s phone has not registered for 2 h"'
    wire, alice = registering(lambda request: make_response(request, 480, to_tag="x", extra=[("Reason", reason)]))
    call_bob(alice)
    wire.run(1.0)
    assert wire.endings(ALICE) == [
        (EndedBy.THEM, "480 Temporarily Unavailable; bob's phone has not registered for 2 h")
    ]


def test_13_2_2_4_of_two_that_answer_the_second_is_hung_up() -> None:
    wire, alice = registering(lambda request: answers(request) if request.method == "INVITE" else None)

    def answers(request: Request) -> Response | None:
        if request.method == "INVITE":
            for tag in ("b1", "b2"):
                extra = [("Contact", f"<sip:{tag}@192.0.2.9>"), ("Content-Type", "application/sdp")]
                wire.send(SERVER, ALICE, make_response(request, 200, to_tag=tag, extra=extra, body=Proxy().body))
        return None

    call_bob(alice)
    wire.run(0.2)
    uris = [(s.line, s.message.uri_text) for s in wire.seen if isinstance(s.message, Request)]
    assert uris[1:] == [("ACK", "sip:b1@192.0.2.9"), ("ACK", "sip:b2@192.0.2.9"), ("BYE", "sip:b2@192.0.2.9")]
    assert len(wire.told(ALICE, CallEstablished)) == 1
    assert alice.calls == [1]


# Requests by hand


INVITE = """INVITE sip:bob@192.0.2.2 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK{branch}
Max-Forwards: 70
From: <sip:carol@example.org>;tag=c
To: <sip:bob@example.org>
Call-ID: x{branch}
CSeq: 1 INVITE
Contact: <sip:carol@192.0.2.9>
Content-Type: application/sdp

v=0
o=- 1 1 IN IP4 192.0.2.9
c=IN IP4 192.0.2.9
m=audio 7000 RTP/AVP 0
"""


def invite(*changes: tuple[str, str], branch: str = "1") -> bytes:
    text = INVITE.format(branch=branch)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    head, _, body = text.partition("\n\n")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


def bob_alone(**changes: object) -> tuple[Wire, UserAgent]:
    bob = UserAgent(config("bob", BOB, SERVER, **{"auto_answer_s": 0.0, **changes}), random.Random(2))
    return Wire({BOB: bob}), bob


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("RTP/AVP 0", "RTP/AVP 9"), "488 INVITE"),
        (("v=0", "v=1"), "400 INVITE"),
        (("application/sdp", "text/plain"), "415 INVITE"),
        (("application/sdp", "application/sdp\nContent-Encoding: gzip"), "415 INVITE"),
        (("application/sdp", "application/sdp\nContent-Disposition: icon"), "415 INVITE"),
        (("Max-Forwards", "Require: 100rel\nMax-Forwards"), "420 INVITE"),
        (("<sip:carol@192.0.2.9>", "<tel:1>"), "400 INVITE"),
        (("sip:bob@192.0.2.2", "tel:+1"), "416 INVITE"),
        (("To: <sip:bob@example.org>", "To: <sip:bob@example.org>;tag=q"), "481 INVITE"),
        (("INVITE", "MESSAGE"), "405 MESSAGE"),
        (("INVITE", "OPTIONS"), "200 OPTIONS"),
        (("INVITE", "BYE"), "405 BYE"),
        (("INVITE", "CANCEL"), "481 CANCEL"),
    ],
)
def test_8_2_requests_that_start_no_call(change: tuple[str, str], line: str) -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite(change))
    wire.run(0.2)
    assert wire.lines()[-1] == line
    assert (bob.calls, bob._asks.is_full) == ([], False)
    assert not any(isinstance(effect, IncomingCall) for effect in wire.told(BOB))


@pytest.mark.parametrize("optional", ["render;handling=optional", 'x ; Handling = "Optional"'])
def test_8_2_3_a_body_that_may_be_left_out_is_none(optional: str) -> None:
    """The INVITE is one without an offer then, and the 2xx has ours."""
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite(("application/sdp", f"text/html\nContent-Disposition: {optional}")))
    wire.run(0.2)
    assert b"m=audio" in wire.last("200 INVITE").body
    assert len(bob.calls) == 1


def test_8_2_3_what_can_be_read_is_named() -> None:
    wire, _ = bob_alone()
    wire.send(SERVER, BOB, invite(("application/sdp", "text/plain\nContent-Encoding: gzip")))
    wire.run(0.2)
    refusal = wire.last("415 INVITE").fields
    assert (refusal.first("accept"), refusal.first("accept-encoding")) == ("application/sdp", "identity")


def test_26_2_2_no_call_to_sips_without_tls() -> None:
    _, bob = bob_alone()
    with pytest.raises(LocalMisuse, match="dial sip: in place of sips:"):
        bob.call(parse_sip_uri("sips:alice@example.org"), 0.0)


@pytest.mark.parametrize("scheme", ["sip", "sips"])
def test_8_1_1_8_who_calls_sips_is_sips_himself(scheme: str) -> None:
    """ "If the Request-URI or top Route header field value contains a SIPS URI, the Contact header field MUST contain a
    SIPS URI as well."
    """
    local, server = Address("192.0.2.7", 5060), Address("192.0.2.10", 5061)
    contact = SipUri("192.0.2.7", "bob", 5060, (("transport", "tls"),))
    config = AgentConfig(
        SipUri("192.0.2.10", "bob"), contact, StreamHop("TLS", server), (Listener("UDP", local), Listener("TLS", local))
    )
    bob = UserAgent(config, random.Random(1))
    bob.call(parse_sip_uri(f"{scheme}:alice@192.0.2.10"), 0.0)
    [ask] = [effect for effect in bob.drain() if isinstance(effect, Ask)]
    bob.handle_answer(ask.token, Address("192.0.2.7", 4000), 0.0)
    [opened] = [effect for effect in bob.drain() if isinstance(effect, OpenFlow)]
    assert (opened.transport, opened.remote) == ("TLS", server)
    bob.handle(FlowUp(opened.flow, "TLS", local, server), 0.1)
    [sent] = [effect.data for effect in bob.drain() if isinstance(effect, SendFlow)]
    [own] = parse(sent).contacts
    assert str(own.uri) == {"sip": "sip:bob@192.0.2.7:5060;transport=tls", "sips": "sips:bob@192.0.2.7:5060"}[scheme]


def test_8_2_2_3_what_is_not_supported_is_named() -> None:
    wire, _ = bob_alone()
    wire.send(SERVER, BOB, invite(("Max-Forwards", "Require: 100rel, timer\nMax-Forwards")))
    wire.run(0.2)
    assert wire.last("420 INVITE").fields.first("unsupported") == "100rel, timer"


def test_8_2_2_2_the_same_invite_by_another_path_is_merged() -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite())
    wire.send(SERVER, BOB, invite(("z9hG4bK1", "z9hG4bK2")))
    wire.run(0.2)
    assert "482 INVITE" in wire.lines()
    assert len(bob.calls) == 1


def test_13_3_1_an_invite_without_an_offer_gets_one() -> None:
    wire, _ = bob_alone()
    offerless = invite().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    wire.send(SERVER, BOB, offerless)
    wire.run(0.2)
    ok = wire.last("200 INVITE")
    assert b"m=audio 4002 RTP/AVP 0 8 101" in ok.body
    assert wire.told(BOB, CallEstablished) == []
    to = ok.fields.first("to") or ""
    ack = invite(("INVITE", "ACK"), ("z9hG4bK1", "z9hG4bK2"), ("To: <sip:bob@example.org>", f"To: {to}"))
    wire.send(SERVER, BOB, ack)
    wire.run(0.2)
    assert len(wire.told(BOB, CallEstablished)) == 1


def test_13_3_1_an_ack_without_the_answer_ends_the_call() -> None:
    wire, _ = bob_alone()
    head = invite().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    wire.send(SERVER, BOB, head)
    wire.run(0.2)
    to = (wire.last("200 INVITE").fields.first("to") or "").encode()
    ack = head.replace(b"INVITE", b"ACK").replace(b"z9hG4bK1", b"z9hG4bK2")
    wire.send(SERVER, BOB, ack.replace(b"To: <sip:bob@example.org>", b"To: " + to))
    wire.run(0.2)
    assert wire.lines()[-1] == "BYE"
    assert "malformed session description" in str(wire.endings(BOB))


def test_15_1_2_a_bye_before_the_answer() -> None:
    wire, bob = bob_alone(auto_answer_s=None)
    wire.send(SERVER, BOB, invite())
    wire.run(0.2)
    to = wire.last("180 INVITE").fields.first("to") or ""
    bye = invite(
        ("INVITE", "BYE"), ("1 BYE", "2 BYE"), ("z9hG4bK1", "z9hG4bK2"), ("To: <sip:bob@example.org>", f"To: {to}")
    )
    wire.send(SERVER, BOB, bye)
    wire.run(0.2)
    assert sorted(wire.lines()[-2:]) == ["200 BYE", "487 INVITE"]
    assert bob.calls == []


@pytest.mark.parametrize(("method", "cseq", "line"), [("INFO", 2, "200 INFO"), ("PRACK", 2, "405 PRACK")])
def test_12_2_2_other_requests_in_a_call(method: str, cseq: int, line: str) -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite())
    wire.run(0.2)
    to = wire.last("200 INVITE").fields.first("to") or ""
    in_call = [("z9hG4bK1", "z9hG4bK2"), ("To: <sip:bob@example.org>", f"To: {to}"), ("INVITE", method)]
    wire.send(SERVER, BOB, invite(*in_call, (f"1 {method}", f"{cseq} {method}")))
    wire.run(0.1)
    assert wire.lines()[-1] == line
    wire.send(SERVER, BOB, invite(*in_call[1:], (f"1 {method}", f"0 {method}"), ("z9hG4bK1", "z9hG4bK3")))
    wire.run(0.1)
    assert wire.lines()[-1] == f"500 {method}"
    assert len(bob.calls) == 1


def test_12_2_1_1_requests_in_a_call_follow_its_record_route() -> None:
    wire, bob = bob_alone()
    wire.send(SERVER, BOB, invite(("Max-Forwards", "Record-Route: <sip:192.0.2.7:5070;lr>\nMax-Forwards")))
    wire.run(0.2)
    for number in bob.calls:
        bob.hang_up(number, wire.now)
    bye = [effect for effect in bob.drain() if isinstance(effect, SendUdp)]
    assert bye == []  # it waits for the ACK
    wire, bob = bob_alone(is_tethered=True)
    assert bob._wiring.hop_to(parse_sip_uri("sip:192.0.2.7:5070;lr")) == UdpHop(SERVER)


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:192.0.2.7:5070;lr", UdpHop(Address("192.0.2.7", 5070))),
        ("sip:x@[2001:db8::1]", UdpHop(Address("2001:db8::1", 5060))),
        ("sip:192.0.2.7;transport=tcp", StreamHop("TCP", Address("192.0.2.7", 5060))),
        ("sips:192.0.2.7", StreamHop("TLS", Address("192.0.2.7", 5061))),
        ("sips:proxy.example.org", StreamHop("TLS", SERVER)),
        ("sip:proxy.example.org", UdpHop(SERVER)),
    ],
)
def test_where_requests_in_a_call_go(uri: str, hop: object) -> None:
    assert bob_alone()[1]._wiring.hop_to(parse_sip_uri(uri)) == hop


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([invite(), invite(branch="2")])), max_size=6), st.data()
)
def test_any_bytes_are_survived(datagrams: list[bytes], data: st.DataObject) -> None:
    """Garbage, and messages with one line cut out or doubled."""
    wire, bob = bob_alone(calls_max=2)
    for datagram in datagrams:
        lines = datagram.split(b"\r\n")
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at : at + 1] = lines[at : at + 1] * data.draw(st.integers(0, 2))
        wire.send(SERVER, BOB, b"\r\n".join(lines))
        wire.run(0.05)
    assert len(bob.calls) <= 2
    wire.run(200.0)
    assert bob.calls == []


@given(st.data())
def test_any_answer_is_survived(data: st.DataObject) -> None:
    """Answers to REGISTER, INVITE and BYE with one line cut out, doubled or garbled."""
    wire, alice = registering(lambda request: None)

    def place(request: Request) -> None:
        status = data.draw(st.sampled_from([100, 180, 200, 200, 302, 401, 407, 423, 491, 503]))
        extra = [("Contact", "<sip:bob@192.0.2.9>"), ("Record-Route", "<sip:192.0.2.9;lr>"), ("Min-Expires", "900")]
        extra.append(("WWW-Authenticate", 'Digest realm="a", nonce="b", stale=true'))
        lines = make_response(request, status, to_tag="b", extra=extra, body=Proxy().body).encode().split(b"\r\n")
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from([0, 1, 2, 3]))
        lines[at : at + 1] = [lines[at][:-3]] if change == 3 else [lines[at]] * change
        wire.send(SERVER, ALICE, b"\r\n".join(lines))

    wire.places[SERVER] = lambda request: place(request) if request.method not in ("ACK", "CANCEL") else None
    alice.register(0.0)
    number = call_bob(alice)
    wire.run(1.0)
    alice.hang_up(number, wire.now)
    wire.run(0.5)
    assert alice.calls == []


# Connections


def test_over_tcp_one_connection_carries_all_and_its_loss_registers_anew() -> None:
    hop = StreamHop("TCP", SERVER)
    alice = UserAgent(config("alice", ALICE, SERVER, server=hop, listeners=(Listener("TCP", ALICE),)), random.Random(1))
    alice.register(0.0)
    (opening,) = [effect for effect in alice.drain() if isinstance(effect, OpenFlow)]
    alice.handle(FlowUp(opening.flow, "TCP", ALICE, SERVER), 0.1)
    (sent,) = [effect for effect in alice.drain() if isinstance(effect, SendFlow)]
    request = parse(sent.data)
    assert isinstance(request, Request)
    assert request.via.transport == "TCP"
    alice.handle(
        FlowData(opening.flow, make_response(request, 200, extra=[("Expires", 100)], to_tag="t").encode()), 0.2
    )
    assert alice.drain() == [Registered(100)]
    alice.handle(FlowDown(opening.flow, "reset"), 5.0)
    deadline = alice.next_deadline()
    assert deadline
    assert 5.0 < deadline.at <= 6.0
    alice.handle_timeout(deadline.at)
    assert [type(effect) for effect in alice.drain()] == [OpenFlow]


def test_a_connection_that_does_not_come_about_fails_the_call_at_once() -> None:
    alice = UserAgent(
        config("alice", ALICE, SERVER, server=StreamHop("TCP", SERVER), listeners=(Listener("TCP", ALICE),)),
        random.Random(1),
    )
    call_bob(alice)
    (ask,) = alice.drain()
    assert isinstance(ask, Ask)
    alice.handle_answer(ask.token, ("192.0.2.1", 4000), 0.0)
    (opening,) = alice.drain()
    assert isinstance(opening, OpenFlow)
    alice.handle(FlowDown(opening.flow, "connection refused"), 0.1)
    (ended,) = [effect for effect in alice.drain() if isinstance(effect, CallEnded)]
    assert "connection refused" in str(ended.reason)
