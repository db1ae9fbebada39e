"""Calls through a relay, in virtual time: who is heard where, who is not, and what is said of it."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psip.base.effects import Effect
from p2psip.media.negotiation import Address
from p2psip.media.relay.description import read
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.multiplex import RTP, Frame
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, NoPorts, NothingToCarry, Relay, RelayedCall, RelayEnded
from p2psip.media.relay.relayed_stream import SideHeard, SideSilent
from p2psip.media.relay.sides import FarPeer, Party, Phone, PhoneSide, SendFrame, SendFrom
from p2psip.media.rtp import RtpPacket

ALICE: Address = ("192.0.2.1", 4000)
BOB: Address = ("2001:db8::2", 5000)
STRANGER: Address = ("198.51.100.9", 666)
ALICES = Phone("alice", "192.0.2.99", ALICE[0])
BOBS = Phone("bob", "2001:db8::99", BOB[0])
NATTED = Phone("carol", "192.0.2.99", "192.0.2.50")
LIMITS = RelayLimits()


def sdp(address: Address, *lines: str, media: str = "audio {} RTP/AVP 0") -> bytes:
    version = 6 if ":" in address[0] else 4
    head = ("v=0", f"o=- 1 1 IN IP{version} {address[0]}", "s=-", f"c=IN IP{version} {address[0]}", "t=0 0")
    return "\r\n".join([*head, f"m={media.format(address[1])}", *lines, ""]).encode()


def rtp(n: int, ssrc: int = 1) -> bytes:
    return RtpPacket(0, n % 65536, n * 160, ssrc, bytes(160)).encode()


@dataclass
class World:
    """A relay on a machine where every port can be opened."""

    relay: Relay
    closed: list[int]
    told: list[Effect]

    @classmethod
    def make(cls, limits: RelayLimits = LIMITS, seed: int = 3) -> "World":
        world = cls(Relay(random.Random(seed), limits), [], [])
        world.relay.start()
        world.settle()
        return world

    def settle(self) -> list[Effect]:
        """Open and close what is wanted; what is sent."""
        sent: list[Effect] = []
        while effects := self.relay.drain():
            for effect in effects:
                match effect:
                    case OpenPorts(_, port):
                        self.relay.handle_ports(port, True, 0.0)
                    case ClosePorts(port):
                        self.closed.append(port)
                    case SendFrom() | SendFrame():
                        sent.append(effect)
                    case _:
                        self.told.append(effect)
        return sent

    def describe(self, call: RelayedCall, which: int, body: bytes, now: float = 0.0) -> tuple[Address, bytes]:
        """Where the other side is told to send, and the description that tells it."""
        written = self.relay.describe(call, which, body, now)
        self.settle()
        (described,) = read(written)
        assert described.rtp is not None
        return described.rtp, written

    def send(self, port: int, source: Address, data: bytes, now: float = 0.0) -> list[Effect]:
        self.relay.handle_datagram(port, source, data, now)
        return self.settle()


def call_of(
    world: World, caller: Party = ALICES, callee: Party = BOBS, offer: bytes | None = None
) -> tuple[RelayedCall, int, int]:
    """An answered call: our port that alice sends to, our port that bob sends to."""
    call = world.relay.begin("call-1", caller, callee)
    towards_bob, _ = world.describe(call, CALLER, offer or sdp(ALICE))
    towards_alice, _ = world.describe(call, CALLEE, sdp(BOB))
    world.relay.answered(call, 0.0)
    assert towards_bob[0] == BOBS.host
    return call, towards_alice[1], towards_bob[1]


def test_both_hear_each_other_and_one_has_ipv4_and_the_other_ipv6() -> None:
    world = World.make()
    _, alices, bobs = call_of(world)
    assert world.send(alices, ALICE, rtp(1)) == [SendFrom(bobs, BOBS.host, BOB, rtp(1))]
    assert world.send(bobs, BOB, rtp(9, ssrc=2)) == [SendFrom(alices, ALICES.host, ALICE, rtp(9, ssrc=2))]


def test_rtcp_goes_from_port_to_port_or_with_rtp_where_the_phones_have_agreed_on_that() -> None:
    world = World.make()
    _, alices, bobs = call_of(world)
    report = bytes([0x80, 200, 0, 1, 0, 0, 0, 1])
    alice_rtcp, bob_rtcp = (ALICE[0], ALICE[1] + 1), (BOB[0], BOB[1] + 1)
    assert world.send(alices + 1, alice_rtcp, report) == [SendFrom(bobs + 1, BOBS.host, bob_rtcp, report)]
    assert world.send(alices, ALICE, report) == [SendFrom(bobs, BOBS.host, BOB, report)]


def test_srtp_and_what_agrees_on_its_keys_pass_as_they_come() -> None:
    world = World.make()
    _, alices, bobs = call_of(world, offer=sdp(ALICE, media="audio {} UDP/TLS/RTP/SAVP 0"))
    rng = random.Random(1)
    for first in (0x80, 0xBF, 22, 63, 16):
        data = bytes([first, 0]) + rng.randbytes(60)
        assert world.send(alices, ALICE, data) == [SendFrom(bobs, BOBS.host, BOB, data)]


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x01" + bytes(18), b"REGISTER sip:x", b"\x80\x00short", b"\x40" + bytes(30)]
)
def test_what_is_no_media_is_dropped(data: bytes) -> None:
    world = World.make()
    _, alices, _ = call_of(world)
    assert world.send(alices, ALICE, data) == []


def test_a_stranger_is_neither_heard_nor_sent_to() -> None:
    """RTP bleed and RTP inject: before the phone has sent, and after."""
    world = World.make()
    _, alices, bobs = call_of(world)
    assert world.send(alices, STRANGER, rtp(1)) == []
    assert world.send(bobs, BOB, rtp(1)) == [SendFrom(alices, ALICES.host, ALICE, rtp(1))]
    world.send(alices, ALICE, rtp(2))
    assert world.send(alices, STRANGER, rtp(3)) == []
    assert world.send(alices, (ALICE[0], 9999), rtp(3)) != []


def test_a_phone_behind_a_nat_of_the_site_is_answered_where_it_speaks_from() -> None:
    world = World.make()
    _, carols, bobs = call_of(world, caller=NATTED, offer=sdp(("10.0.0.7", 4000)))
    mapped = (NATTED.seen, 31000)
    assert world.send(carols, mapped, rtp(1)) != []
    assert world.send(bobs, BOB, rtp(1)) == [SendFrom(carols, NATTED.host, mapped, rtp(1))]


def test_nobody_is_sent_media_for_long_who_does_not_ask_for_it() -> None:
    """A phone that names a third host in its SDP cannot have the other phone's media sent there (voice hammer)."""
    world = World.make()
    _, carols, bobs = call_of(world, caller=NATTED, offer=sdp(STRANGER))
    assert world.send(bobs, BOB, rtp(1), 1.0) == [SendFrom(carols, NATTED.host, STRANGER, rtp(1))]
    assert world.send(bobs, BOB, rtp(2), LIMITS.unproven_s) == []
    world.send(carols, STRANGER, rtp(1), 11.0)
    assert world.send(bobs, BOB, rtp(3), 12.0) != []


def test_a_listening_phone_that_never_speaks_is_served_as_long_as_the_call_lasts() -> None:
    world = World.make()
    _, _, bobs = call_of(world)
    assert world.send(bobs, BOB, rtp(1), 3000.0) != []


def test_early_media_comes_before_any_answer() -> None:
    world = World.make()
    call = world.relay.begin("call-1", ALICES, BOBS)
    towards_bob, _ = world.describe(call, CALLER, sdp(ALICE))
    (sent,) = world.send(towards_bob[1], BOB, rtp(1))
    assert isinstance(sent, SendFrom)
    assert sent.remote == ALICE


def test_a_late_offer_comes_from_the_callee() -> None:
    world = World.make()
    call = world.relay.begin("call-1", ALICES, BOBS)
    towards_alice_port, _ = world.describe(call, CALLEE, sdp(BOB))
    towards_bob_port, _ = world.describe(call, CALLER, sdp(ALICE))
    assert (towards_alice_port[0], towards_bob_port[0]) == (ALICES.host, BOBS.host)
    assert world.send(towards_alice_port[1], ALICE, rtp(1)) == [SendFrom(towards_bob_port[1], BOBS.host, BOB, rtp(1))]


def test_the_same_ports_for_the_whole_call_and_for_what_is_said_twice() -> None:
    world = World.make()
    call, alices, bobs = call_of(world)
    for _ in range(3):
        assert world.describe(call, CALLEE, sdp(BOB))[0][1] == alices
        assert world.describe(call, CALLER, sdp(ALICE, "a=sendonly"))[0][1] == bobs


def test_a_hold_by_0_0_0_0_sends_nothing_there_and_a_resume_does() -> None:
    world = World.make()
    call, alices, bobs = call_of(world)
    held = world.relay.describe(call, CALLER, sdp(("0.0.0.0", ALICE[1])), 1.0)
    assert b"0.0.0.0" in held
    assert world.send(bobs, BOB, rtp(1), 1.0) == []
    assert world.send(alices, ALICE, rtp(1), 1.0) != []
    world.describe(call, CALLER, sdp(ALICE), 2.0)
    assert world.send(bobs, BOB, rtp(2), 2.0) != []


def test_a_reinvite_moves_the_phone_and_a_refused_one_moves_it_back() -> None:
    world = World.make()
    call, alices, bobs = call_of(world)
    world.send(alices, ALICE, rtp(1))
    before = call.last[CALLER]
    world.describe(call, CALLER, sdp((ALICE[0], 7000)), 1.0)
    (sent,) = world.send(bobs, BOB, rtp(1), 1.0)
    assert isinstance(sent, SendFrom)
    assert sent.remote == (ALICE[0], 7000)
    world.relay.undo(call, CALLER, before, 2.0)
    (sent,) = world.send(bobs, BOB, rtp(2), 2.0)
    assert isinstance(sent, SendFrom)
    assert sent.remote == ALICE


def test_audio_and_video_have_ports_of_their_own_and_fax_takes_the_place_of_audio() -> None:
    world = World.make()
    call = world.relay.begin("call-1", ALICES, BOBS)
    both = read(world.relay.describe(call, CALLER, sdp(ALICE, "m=video 4002 RTP/AVP 96"), 0.0))
    assert None not in (both[0].rtp, both[1].rtp)
    assert both[0].rtp != both[1].rtp
    world.settle()
    fax = world.relay.describe(call, CALLER, sdp(ALICE, "m=video 0 RTP/AVP 96", media="image {} udptl t38"), 1.0)
    world.relay.describe(call, CALLEE, sdp(BOB, "m=video 0 RTP/AVP 96", media="image {} udptl t38"), 1.0)
    assert read(fax)[0].rtp == both[0].rtp
    assert read(fax)[1].is_refused
    alices = call.carried[0].sides[CALLER]
    assert isinstance(alices, PhoneSide)
    (sent,) = world.send(alices.port, ALICE, b"\x00\x01fax", 1.0)
    assert isinstance(sent, SendFrom)
    assert (sent.remote, sent.data) == (BOB, b"\x00\x01fax")


def test_what_cannot_be_carried_is_refused_beside_what_can_and_alone_it_refuses_the_call() -> None:
    world = World.make()
    call = world.relay.begin("call-1", ALICES, BOBS)
    audio, chat = read(world.relay.describe(call, CALLER, sdp(ALICE, "m=message 9 TCP/MSRP *"), 0.0))
    assert not audio.is_refused
    assert chat.is_refused
    with pytest.raises(NothingToCarry, match="message"):
        world.relay.describe(call, CALLER, sdp(ALICE, media="message {} TCP/MSRP *"), 0.0)


def test_streams_calls_and_ports_are_bounded() -> None:
    world = World.make(RelayLimits(calls=2, streams=2, first_port=20000, last_port=20031, spare_pairs=8))
    call = world.relay.begin("call-1", ALICES, ALICES)
    many = read(world.relay.describe(call, CALLER, sdp(ALICE, *["m=audio 4002 RTP/AVP 0"] * 9), 0.0))
    assert [each.is_refused for each in many] == [False, False] + [True] * 8
    world.settle()
    world.relay.begin("call-2", ALICES, ALICES)
    with pytest.raises(NoPorts, match="2 calls are relayed already"):
        world.relay.begin("call-3", ALICES, ALICES)
    world.relay.end(call, "over", 0.0)
    world.settle()
    assert len(world.closed) == 4
    world.relay.begin("call-3", ALICES, ALICES)


def test_without_ports_nothing_is_begun_by_halves() -> None:
    world = World.make(RelayLimits(first_port=20000, last_port=20007, spare_pairs=2))
    call = world.relay.begin("call-1", ALICES, ALICES)
    with pytest.raises(NoPorts, match="no UDP port for media is free on"):
        world.relay.describe(call, CALLER, sdp(ALICE, "m=video 4002 RTP/AVP 96"), 0.0)
    assert call.carried == []
    world.settle()
    assert len(world.closed) == 2
    world.describe(call, CALLER, sdp(ALICE))


def test_the_end_gives_the_ports_back_and_tells_what_there_was() -> None:
    world = World.make()
    call, alices, bobs = call_of(world)
    for n in (1, 2, 4):
        world.send(alices, ALICE, rtp(n), n * 0.02)
    world.send(bobs, STRANGER, rtp(1))
    world.relay.end(call, "hung up", 0.0)
    world.relay.end(call, "hung up twice", 0.0)
    world.settle()
    assert sorted(world.closed) == sorted([alices, bobs])
    (ended,) = world.told
    assert isinstance(ended, RelayEnded)
    assert (ended.call, ended.reason) == ("call-1", "hung up")
    assert [(s.side, s.packets, s.lost, s.dropped) for s in ended.sides] == [("alice", 3, 1, 0), ("bob", 0, 0, 1)]
    assert str(ended.sides[0]) == "audio of alice: 3 packets, 1 lost, jitter 0.0 ms, 0 dropped"
    assert world.send(alices, ALICE, rtp(5)) == []
    assert world.relay.dropped == 1


def test_a_call_of_which_nothing_comes_is_over_and_one_on_hold_later() -> None:
    world = World.make()
    call, alices, _ = call_of(world)
    world.send(alices, ALICE, rtp(1), 100.0)
    deadline = world.relay.next_deadline()
    assert deadline is not None
    assert deadline.at == LIMITS.idle_s
    world.relay.handle_timeout(LIMITS.idle_s)
    assert call in world.relay
    world.describe(call, CALLER, sdp(ALICE, "a=inactive"), 300.0)
    world.describe(call, CALLEE, sdp(BOB, "a=inactive"), 300.0)
    world.relay.handle_timeout(100.0 + LIMITS.idle_s)
    assert call in world.relay
    world.relay.handle_timeout(100.0 + LIMITS.held_s)
    assert call not in world.relay
    assert world.relay.next_deadline() is None
    world.settle()
    (ended,) = world.told
    assert isinstance(ended, RelayEnded)
    assert ended.reason == "nothing has come from either side for 14400 s"


def test_a_flood_is_cut_to_what_streams_need() -> None:
    world = World.make()
    _, alices, _ = call_of(world)
    passed = sum(bool(world.send(alices, ALICE, rtp(n), n / 10_000)) for n in range(20_000))
    assert passed == pytest.approx(LIMITS.packets_burst + 2 * LIMITS.packets_per_s, abs=5)


# Silence


def talk(world: World, port: int, source: Address, begin: float, end: float, ssrc: int = 1) -> None:
    for n in range(round((end - begin) * 50)):
        world.send(port, source, rtp(n, ssrc), begin + n * 0.02)


def test_silence_in_one_direction_is_told_once_and_so_is_its_end() -> None:
    world = World.make()
    _, alices, bobs = call_of(world)
    talk(world, alices, ALICE, 0.0, 2.99)
    assert world.told == []
    talk(world, alices, ALICE, 3.0, 20.0)
    (silent,) = world.told
    assert isinstance(silent, SideSilent)
    assert (silent.side, silent.other, silent.port, silent.was_heard) == ("bob", "alice", bobs, False)
    assert silent.words.startswith(f"no audio from bob: nothing has come to UDP port {bobs} of this peer yet, while")
    assert "firewall" in silent.words
    talk(world, bobs, BOB, 20.0, 20.1, ssrc=2)
    assert world.told[1:] == [SideHeard("call-1", "bob")]
    talk(world, alices, ALICE, 20.0, 25.0)
    assert isinstance(world.told[2], SideSilent)
    assert "for 3 s" in world.told[2].words


def test_who_sends_from_elsewhere_is_named() -> None:
    world = World.make()
    _, alices, bobs = call_of(world)
    world.send(bobs, STRANGER, rtp(1), 0.5)
    talk(world, alices, ALICE, 0.0, 3.5)
    (silent,) = world.told
    assert isinstance(silent, SideSilent)
    assert "1 packets came from 198.51.100.9 port 666" in silent.words


def test_no_silence_where_nothing_is_to_come() -> None:
    world = World.make()
    call = world.relay.begin("call-1", ALICES, BOBS)
    world.describe(call, CALLER, sdp(ALICE))
    towards_alice, _ = world.describe(call, CALLEE, sdp(BOB))
    talk(world, towards_alice[1], ALICE, 0.0, 10.0)  # it rings
    assert world.told == []
    world.relay.answered(call, 10.0)
    world.describe(call, CALLER, sdp(ALICE, "a=sendonly"), 10.0)  # music on hold
    world.describe(call, CALLEE, sdp(BOB, "a=recvonly"), 10.0)
    talk(world, towards_alice[1], ALICE, 10.0, 20.0)
    assert world.told == []


def test_two_that_were_both_quiet_have_their_time_when_one_begins() -> None:
    world = World.make()
    _, alices, bobs = call_of(world)
    talk(world, alices, ALICE, 0.0, 1.0)
    talk(world, bobs, BOB, 0.0, 1.0, ssrc=2)
    talk(world, alices, ALICE, 60.0, 62.9)
    assert world.told == []
    talk(world, alices, ALICE, 62.9, 63.2)
    assert len(world.told) == 1


# Over a path


def two_peers() -> tuple[World, RelayedCall, World, RelayedCall, bytes, bytes]:
    """alice at one peer, bob at another, a path between them: an offer and an answer through both."""
    here, there = World.make(seed=1), World.make(seed=2)
    out = here.relay.begin("call-1", ALICES, FarPeer("bob at valley", "path"))
    into = there.relay.begin("call-1", FarPeer("alice at hill", "path"), BOBS)
    offer = there.relay.describe(into, CALLER, here.relay.describe(out, CALLER, sdp(ALICE), 0.0), 0.0)
    answer = here.relay.describe(out, CALLEE, there.relay.describe(into, CALLEE, sdp(BOB), 0.0), 0.0)
    for world, call in ((here, out), (there, into)):
        world.settle()
        world.relay.answered(call, 0.0)
    return here, out, there, into, offer, answer


def test_two_peers_carry_a_call_between_them() -> None:
    here, _, there, _, offer, answer = two_peers()
    (told_bob,), (told_alice,) = read(offer), read(answer)
    assert told_bob.rtp is not None
    assert told_alice.rtp is not None
    assert (told_bob.rtp[0], told_alice.rtp[0]) == (BOBS.host, ALICES.host)
    assert b"p2psip-stream" not in offer + answer
    (frame,) = here.send(told_alice.rtp[1], ALICE, rtp(1))
    assert isinstance(frame, SendFrame)
    assert len(frame.frame) == len(rtp(1)) + 3
    there.relay.handle_frame("path", frame.frame, 0.0)
    assert there.settle() == [SendFrom(told_bob.rtp[1], BOBS.host, BOB, rtp(1))]
    (frame,) = there.send(told_bob.rtp[1], BOB, rtp(7, ssrc=2))
    assert isinstance(frame, SendFrame)
    here.relay.handle_frame("path", frame.frame, 0.0)
    assert here.settle() == [SendFrom(told_alice.rtp[1], ALICES.host, ALICE, rtp(7, ssrc=2))]


def test_where_the_other_peer_carries_nothing_all_is_put_back() -> None:
    """An overlay without this still works with us: the phones have each other's addresses."""
    here = World.make()
    call = here.relay.begin("call-1", ALICES, FarPeer("bob at valley", "path"))
    offer = here.relay.describe(call, CALLER, sdp(ALICE), 0.0)
    assert read(offer)[0].rtp == ALICE
    assert here.relay.describe(call, CALLEE, sdp(BOB), 0.0) == sdp(BOB)
    assert call.carried == []
    here.settle()
    assert len(here.closed) == 1


@pytest.mark.parametrize("comes", [False, True])
def test_why_nothing_comes_from_another_peer_is_told_when_that_is_known(comes: bool) -> None:
    """After three seconds, and with the end of the call, unless something has come after all."""
    here, call, _, _, _, answer = two_peers()
    (told_alice,) = read(answer)
    assert told_alice.rtp is not None
    here.relay.explain(call, "no path: no relay")
    (side,) = call.path_sides
    talk(here, told_alice.rtp[1], ALICE, 0.0, 4.0)
    (silent,) = here.told
    assert isinstance(silent, SideSilent)
    assert silent.words == "no audio from bob at valley: no path: no relay"
    if comes:
        here.relay.handle_frame("path", Frame(RTP, side.number, rtp(1, ssrc=2)).encode(), 4.0)
    here.relay.end(call, "hung up", 5.0)
    (ended,) = [effect for effect in here.relay.drain() if isinstance(effect, RelayEnded)]
    assert ended.lacks == ("" if comes else "no path: no relay")


def test_a_frame_of_another_path_or_number_is_dropped() -> None:
    here, _, there, _, _, answer = two_peers()
    (told,) = read(answer)
    assert told.rtp is not None
    (frame,) = here.send(told.rtp[1], ALICE, rtp(1))
    assert isinstance(frame, SendFrame)
    _, number, data = Frame.decode(frame.frame)
    for path, wrong in (
        ("other path", frame.frame),
        ("path", Frame(RTP, (number + 1) % 65536, data).encode()),
        ("path", b"\x01"),
    ):
        there.relay.handle_frame(path, wrong, 0.0)
        assert there.settle() == []
    assert there.relay.dropped == 3


# Whatever comes

sources = st.sampled_from([ALICE, BOB, STRANGER, (ALICE[0], 1), ("2001:db8::2", 2)])
datagrams = st.one_of(st.binary(max_size=40), st.builds(rtp, st.integers(0, 70000), st.integers(1, 3)))
bodies = st.sampled_from(
    [
        *(sdp(ALICE), sdp(BOB), sdp(("0.0.0.0", 9)), sdp(ALICE, "a=inactive"), sdp(ALICE, media="image {} udptl t38")),
        *(sdp(ALICE, "m=video 4002 RTP/AVP 96"), sdp(ALICE, media="audio 0 RTP/AVP 0"), sdp(STRANGER)),
    ]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3), sources, datagrams),
        st.tuples(st.just("describe"), st.integers(0, 1), bodies, st.none()),
    ),
    max_size=40,
)


@pytest.mark.long
@settings(max_examples=200)
@given(steps)
def test_whatever_comes_goes_to_the_other_side_or_nowhere(steps: list[tuple[str, int, object, object]]) -> None:
    world = World.make()
    call, alices, bobs = call_of(world)
    ports = {alices, alices + 1, bobs, bobs + 1}
    named = {ALICE[0], BOB[0]}
    for n, (what, which, first, second) in enumerate(steps):
        if what == "describe":
            assert isinstance(first, bytes)
            named |= {each.rtp[0] for each in read(first) if each.rtp}
            world.relay.describe(call, which, first, n * 0.1)
            world.settle()
            continue
        assert isinstance(first, tuple)
        assert isinstance(second, bytes)
        port = sorted(ports)[which]
        for sent in world.send(port, first, second, n * 0.1):
            assert isinstance(sent, SendFrom)
            assert sent.data == second
            assert sent.port in ports - {port}
            assert (sent.port in (alices, alices + 1)) != (port in (alices, alices + 1))
            assert sent.remote[0] in named
            assert first[0] in named
    world.relay.end(call, "over", 0.0)
    world.settle()
    assert {alices, bobs} <= set(world.closed)
    assert world.send(alices, ALICE, rtp(1)) == []
