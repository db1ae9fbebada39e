"""p2psip.portmap.mapper, in virtual time: a router that reads the RFCs by itself, and who pretends to be it."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from p2psip.base.address import Address
from p2psip.portmap.mapper import AGAIN_S, GREET_S, IMPOSSIBLE, NO_ADDRESS, SILENT, PortMapper
from p2psip.portmap.values import ROUTER_PORT, AskRouter, HomeRouter, PortKind, RouterLeft, WantedPort
from p2psip.sim.ip.port_server import TCP, UDP, PortServer

ROUTER = HomeRouter("192.168.1.1", "192.168.1.2")
ROUTER_AT = Address(ROUTER.host, ROUTER_PORT)
OUTSIDE = "203.0.113.7"
WISHES = (WantedPort(PortKind.UDP, 6084), WantedPort(PortKind.TCP, 6084))
BOTH = {wish: Address(OUTSIDE, 6084) for wish in WISHES}
DAY_S = 86400.0


@dataclass
class Bench:
    """A mapper and its router; `is_deaf`: nothing comes to the router, or comes back."""

    server: PortServer = field(default_factory=lambda: PortServer(OUTSIDE))
    mapper: PortMapper = field(default_factory=lambda: PortMapper(b"secret", random.Random(1)))
    now: float = 1000.0
    is_deaf: bool = False
    sent: list[tuple[float, bytes]] = field(default_factory=list)
    parted: int = 0

    def use(self, router: HomeRouter | None = ROUTER) -> Bench:
        """Begin, and take in what comes at once."""
        self.mapper.use(router, WISHES, self.now)
        return self.settle()

    def settle(self) -> Bench:
        """Carry everything there and back."""
        while effects := self.mapper.drain():
            for effect in effects:
                if isinstance(effect, AskRouter):
                    self._carry(effect)
                else:
                    assert isinstance(effect, RouterLeft)
                    self.parted += 1
        return self

    def _carry(self, asked: AskRouter) -> None:
        data = asked.outgoing.data
        self.sent.append((self.now, data))
        is_heard = not self.is_deaf and asked.outgoing.port == ROUTER_PORT
        answer = self.server.answer(Address(ROUTER.local, 40000), data, self.now) if is_heard else None
        if answer is not None:
            self.mapper.handle_datagram(asked.address, answer, self.now)

    def run(self, seconds: float) -> Bench:
        """Let time go on."""
        end = self.now + seconds
        while (deadline := self.mapper.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.mapper.handle_timeout(self.now)
            self.settle()
        self.now = end
        return self


@pytest.mark.parametrize("languages", [("PCP",), ("NAT-PMP",), ("PCP", "NAT-PMP")])
def test_ports_are_mapped_in_the_first_language_that_the_router_speaks(languages: tuple[str, ...]) -> None:
    bench = Bench(PortServer(OUTSIDE, languages)).use().run(30.0)
    assert bench.mapper.given == BOTH
    assert bench.mapper.language == languages[0]
    assert set(bench.server.living(bench.now).values()) == {Address(ROUTER.local, 6084)}


def test_who_knows_nat_pmp_alone_says_so_at_once() -> None:
    bench = Bench(PortServer(OUTSIDE, ("NAT-PMP",))).use()
    assert bench.mapper.given == BOTH


def test_the_outside_port_may_be_another_one() -> None:
    bench = Bench(PortServer(OUTSIDE, taken={6084})).use()
    assert set(bench.mapper.given.values()) == {Address(OUTSIDE, 6085)}


@pytest.mark.parametrize("language", ["PCP", "NAT-PMP"])
def test_a_mapping_is_renewed_at_half_its_lifetime_and_so_never_ends(language: str) -> None:
    bench = Bench(PortServer(OUTSIDE, (language,), lifetime_max_s=600)).use()
    bench.run(299.0)
    maps = [data for _, data in bench.sent if len(data) > 2 and data[1] != 0]
    assert len(maps) == len(WISHES) + (language == "NAT-PMP"), (
        "nothing is renewed before, the one question of PCP aside"
    )
    for _ in range(100):
        bench.run(60.0)
        assert bench.mapper.given == BOTH
        assert len(bench.server.living(bench.now)) == 2


def test_requests_go_out_again_as_pcp_says_and_then_in_nat_pmp() -> None:
    bench = Bench(is_deaf=True)
    bench.use().run(30.0)
    pcp = [at - 1000.0 for at, data in bench.sent if data[0] == 2]
    nat_pmp = [at for at, data in bench.sent if data[0] == 0]
    searches = [at for at, data in bench.sent if data.startswith(b"M-SEARCH")]
    assert pcp == pytest.approx([0.0, 3.0], abs=0.3)
    waits = [after - before for before, after in itertools.pairwise(nat_pmp)]
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0], rel=0.11)
    assert [after - before for before, after in itertools.pairwise(searches)] == pytest.approx([1.0, 1.0], rel=0.11)
    assert set(bench.mapper.refusals) == {"PCP", "NAT-PMP", "UPnP"}
    assert bench.parted == 1, "whom nobody listens to has no port open"


def test_a_silent_router_is_asked_again_after_a_while_and_seldom() -> None:
    bench = Bench(is_deaf=True)
    bench.use().run(DAY_S)
    assert len(bench.sent) <= 12 * DAY_S / AGAIN_S
    bench.is_deaf = False
    bench.run(AGAIN_S + 30.0)
    assert bench.mapper.given == BOTH


def test_a_router_that_has_restarted_is_asked_at_once_and_may_have_another_address() -> None:
    for language in ("PCP", "NAT-PMP"):
        bench = Bench(PortServer(OUTSIDE, (language,), began_at=0.0)).use()
        bench.run(500.0)
        bench.server.restart(bench.now, "203.0.113.8")
        bench.run(GREET_S + 6.0)
        assert len(bench.server.living(bench.now)) == 2, language
        assert set(bench.mapper.given.values()) == {Address("203.0.113.8", 6084)}


def test_a_router_that_is_off_for_an_hour_has_given_nothing_and_then_gives_again() -> None:
    bench = Bench().use()
    bench.is_deaf = True
    bench.run(3700.0)
    assert bench.mapper.given == {}
    bench.is_deaf = False
    bench.server.restart(bench.now)
    bench.run(AGAIN_S + 30.0)
    assert bench.mapper.given == BOTH


def test_another_router_is_asked_in_the_place_of_the_first() -> None:
    bench = Bench().use()
    other = HomeRouter("10.0.0.1", "10.0.0.2")
    bench.is_deaf = True
    bench.use(other)
    assert bench.mapper.given == {}
    bench.mapper.handle_datagram(
        ROUTER_AT, bench.server.answer(Address("10.0.0.2", 1), bench.sent[-1][1], 0.0) or b"", 0.0
    )
    assert bench.mapper.given == {}, "the first one has nothing to say any more"
    bench.use(None).run(DAY_S)
    assert bench.mapper.next_deadline() is None


def test_nothing_stays_mapped_when_a_peer_ends() -> None:
    for language in ("PCP", "NAT-PMP"):
        bench = Bench(PortServer(OUTSIDE, (language,))).use()
        bench.mapper.withdraw(bench.now)
        bench.settle()
        assert bench.server.living(bench.now) == {}
        assert not bench.mapper.is_asking
        assert bench.parted == 1
        bench.mapper.use(None, (), bench.now)
        assert bench.run(DAY_S).mapper.next_deadline() is None


def test_who_ends_does_not_wait_for_a_silent_router() -> None:
    bench = Bench().use()
    bench.is_deaf = True
    bench.mapper.withdraw(bench.now)
    bench.settle()
    assert bench.mapper.is_asking
    bench.run(2 * 2 * 0.5 * 1.1)
    assert not bench.mapper.is_asking


def test_a_restarted_peer_has_its_ports_of_before() -> None:
    """The nonce is the same, so that the router takes it for the same one."""
    bench = Bench().use()
    again = Bench(bench.server).use()
    assert again.mapper.given == BOTH
    stranger = Bench(bench.server, PortMapper(b"another", random.Random(1)))
    stranger.server.languages = ("PCP",)
    stranger.use().run(20.0)
    assert stranger.mapper.given == {}
    assert "another program has the port" in stranger.mapper.refusals["PCP"]


# What cannot be, and what is forged


def test_a_refusal_is_told_by_language() -> None:
    bench = Bench(PortServer(OUTSIDE, result=2)).use().run(30.0)
    assert bench.mapper.given == {}
    assert "switched off" in bench.mapper.refusals["PCP"]
    assert "switched off" in bench.mapper.refusals["NAT-PMP"]


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_an_outside_address_that_cannot_be_is_a_refusal(host: str) -> None:
    bench = Bench(PortServer(host)).use().run(30.0)
    assert bench.mapper.given == {}
    assert bench.mapper.refusals == {"PCP": IMPOSSIBLE, "NAT-PMP": NO_ADDRESS, "UPnP": SILENT}


@pytest.mark.long
@pytest.mark.parametrize("lifetime_s", [1, 10, 2**32 - 1])
def test_a_lifetime_that_makes_no_sense_is_no_reason_to_ask_all_the_time_or_never(lifetime_s: int) -> None:
    bench = Bench(PortServer(OUTSIDE, lifetime_max_s=lifetime_s))
    original = bench.server._pcp

    def nonsense(source: Address, data: bytes, now: float) -> bytes:
        answer = original(source, data, now)
        return answer[:4] + lifetime_s.to_bytes(4, "big") + answer[8:]

    bench.server._pcp = nonsense  # type: ignore[method-assign]
    bench.use().run(DAY_S)
    maps = [data for _, data in bench.sent if data[1] == 1]
    assert 2 <= len(maps) <= 2 * DAY_S / 30.0
    assert bench.mapper.given == BOTH


def test_a_grant_for_no_time_is_a_refusal() -> None:
    bench = Bench(PortServer(OUTSIDE, lifetime_max_s=0)).use().run(30.0)
    assert bench.mapper.given == {}


def answer_to(bench: Bench, outside: str) -> bytes:
    """What the router would say to the question that it was asked last."""
    forger = PortServer(outside)
    found = forger.answer(Address(ROUTER.local, 40000), bench.sent[-1][1], bench.now)
    assert found is not None
    return found


def test_answers_from_elsewhere_are_dropped() -> None:
    bench = Bench(is_deaf=True)
    bench.use()
    forged = answer_to(bench, "198.51.100.66")
    for source in (Address("192.168.1.66", 5351), Address(ROUTER.host, 5352)):
        bench.mapper.handle_datagram(source, forged, bench.now)
        assert bench.mapper.given == {}
    bench.mapper.handle_datagram(ROUTER_AT, forged, bench.now)
    assert len(bench.mapper.given) == 1, "else it was not the source that it was dropped for"


def test_answers_with_another_nonce_are_dropped() -> None:
    bench = Bench(is_deaf=True)
    bench.use()
    forged = bytearray(answer_to(bench, "198.51.100.66"))
    forged[24] ^= 1
    bench.mapper.handle_datagram(ROUTER_AT, bytes(forged), bench.now)
    assert bench.mapper.given == {}


def test_a_router_may_say_by_itself_that_its_address_is_another_one() -> None:
    """RFC 6887 section 14.2; in NAT-PMP, where anybody might have said it, nothing that was not asked for counts."""
    bench = Bench().use()
    told = bench.server.answer(
        Address(ROUTER.local, 1), next(data for _, data in bench.sent if data[1] == 1), bench.now
    )
    assert told is not None
    moved = told[:56] + bytes((203, 0, 113, 9)) + told[60:]
    bench.mapper.handle_datagram(ROUTER_AT, moved, bench.now)
    assert bench.mapper.given[WISHES[0]] == Address("203.0.113.9", 6084)
    old = Bench(PortServer(OUTSIDE, ("NAT-PMP",))).use()
    old.mapper.handle_datagram(ROUTER_AT, bytes((0, 128, 0, 0, 0, 0, 0, 0, 203, 0, 113, 9)), old.now)
    assert old.mapper.given == BOTH


def test_a_flood_moves_nothing() -> None:
    """Refusals, repetitions, other languages: who was not asked says nothing, and nothing is sent because of it."""
    bench = Bench().use()
    deadline, sent = bench.mapper.next_deadline(), len(bench.sent)
    for number in range(2000):
        for data in (
            b"\0\x80\0\1\0\0\0\0",
            b"\2\x80\0\2" + bytes(20),
            bytes((2, 129, 0, 2)) + bytes(56),
            bytes([number & 255] * 60),
        ):
            bench.mapper.handle_datagram(ROUTER_AT, data, bench.now)
    assert (bench.mapper.given, bench.mapper.next_deadline(), len(bench.settle().sent)) == (BOTH, deadline, sent)


def test_one_port_of_two_is_kept_and_the_other_asked_for_later() -> None:
    bench = Bench(PortServer(OUTSIDE, ("NAT-PMP",)))
    original = bench.server._nat_pmp

    def no_tcp(source: Address, data: bytes, now: float) -> bytes:
        answer = original(source, data, now)
        return answer[:2] + b"\0\4" + answer[4:] if data[1] == 2 else answer

    bench.server._nat_pmp = no_tcp  # type: ignore[method-assign]
    bench.use().run(60.0)
    assert bench.mapper.given == {WISHES[0]: Address(OUTSIDE, 6084)}
    assert "no room" in bench.mapper.refused[WISHES[1]]
    bench.server._nat_pmp = original  # type: ignore[method-assign]
    bench.run(AGAIN_S)
    assert bench.mapper.given == BOTH
    assert bench.mapper.refused == {}
    assert {key[0] for key in bench.server.living(bench.now)} == {UDP, TCP}
