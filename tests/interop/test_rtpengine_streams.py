"""Our relay core with Debian's rtpengine: what packets two phones get that are sockets here, and who else is heard."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from rtpengine import HOST, PATIENCE_S, RtpengineProcess, needs_rtpengine

from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.media.negotiation import Address
from p2psip.media.relay.description import read
from p2psip.media.relay.ports import OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, Relay, RelayedCall, RelayEnded
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import EngineState, SendToEngine
from p2psip.media.relay.sides import Phone
from p2psip.media.rtp import RtpPacket

pytestmark = [pytest.mark.slow, needs_rtpengine]

AUDIO = "audio {} RTP/AVP 0 96"
SRTP = "audio {} RTP/SAVP 0 96"
FAX = "image {} udptl t38"

LEARNT_S = 4.5
"""So long, at most, an engine learns where a phone's packets come from: three of its whole seconds."""

ELSEWHERE = "127.0.0.2"


def bound(host: str = HOST) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.setblocking(False)
    return made


def sdp(phone: Address, media: str, *lines: str, host: str = HOST) -> bytes:
    head = ("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0")
    return "\r\n".join([*head, f"m={media.format(phone[1])}", *lines, ""]).encode()


def rtp(n: int, ssrc: int, payload_type: int = 0) -> bytes:
    return RtpPacket(payload_type, n % 65536, n * 160, ssrc, bytes([ssrc]) * 160).encode()


class Site:
    """A relay whose engine is a process, and two phones of one audio stream."""

    def __init__(self, engine: RtpengineProcess) -> None:
        self.relay = Relay(random.Random(1), engine=RtpEngine(engine.address, random.SystemRandom()))
        self.engine = engine
        self.told: list[Effect] = []
        self.sockets = [*(bound() for _ in range(4)), bound(ELSEWHERE)]
        self.alice, self.bob, self.moved, self._socket, self.stranger = self.sockets
        self._socket.connect(engine.address)
        self.until(lambda: self.relay.engine is not None and self.relay.engine.state is EngineState.ANSWERS)

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    def until(self, holds: Callable[[], object]) -> None:
        """Have the relay and its engine talk until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, self.told
            self.pump()

    def pump(self) -> None:
        try:
            self.relay.handle_engine(self._socket.recv(1 << 16), time.monotonic())
        except BlockingIOError:
            time.sleep(0.005)
        self.relay.handle_timeout(time.monotonic())
        for effect in self.relay.drain():
            if isinstance(effect, SendToEngine):
                self._socket.send(effect.data)
            elif isinstance(effect, OpenPorts):
                self.relay.handle_ports(effect.port, True, time.monotonic())
            else:
                self.told.append(effect)

    def call(self, media: str = AUDIO) -> tuple[RelayedCall, Address, Address]:
        """An answered call, and where alice is to send, and bob."""
        parties = (Phone("alice", HOST, HOST), Phone("bob", HOST, HOST))
        offer = sdp(self.alice.getsockname(), media)
        wish = self.relay.wish("call", *parties, offer)
        assert wish is not None
        self.relay.ask_engine(7, wish, time.monotonic())
        self.until(lambda: any(isinstance(each, AskAnswered) for each in self.told))
        (answered,) = [each for each in self.told if isinstance(each, AskAnswered)]
        assert isinstance(answered.answer, EngineCall), self.told
        call = self.relay.begin("call", *parties, answered.answer)
        bobs = self.describe(call, CALLER, offer)
        alices = self.describe(call, CALLEE, sdp(self.bob.getsockname(), media))
        self.relay.answered(call, time.monotonic())
        return call, alices, bobs

    def describe(self, call: RelayedCall, which: int, body: bytes) -> Address:
        """Where the other side is told to send; then the engine has been told, too."""
        written = self.relay.describe(call, which, body, time.monotonic())
        self.until(lambda: call.engine_call is None or not call.engine_call.is_telling)
        (described,) = read(written)
        assert described.rtp is not None
        return described.rtp

    def hang_up(self, call: RelayedCall) -> RelayEnded:
        """What became of the call, which the engine has forgotten then."""
        self.relay.end(call, "hung up", time.monotonic())
        self.until(lambda: [each for each in self.told if isinstance(each, RelayEnded)] and not self.engine.calls())
        (ended,) = [each for each in self.told if isinstance(each, RelayEnded)]
        return ended

    def arrives(self, source: socket.socket, to: Address, sink: socket.socket, data: bytes) -> bool:
        """True if the datagram comes out as it went in."""
        source.sendto(data, to)
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            try:
                if sink.recv(1 << 16) == data:
                    return True
            except BlockingIOError:
                time.sleep(0.002)
        return False


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtpengineProcess]:
    with RtpengineProcess(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.fixture
def site(engine: RtpengineProcess) -> Iterator[Site]:
    made = Site(engine)
    yield made
    # What an engine refuses without being asked for something odd is a mistake of ours.
    warnings = [each for each in made.told if isinstance(each, Note) and each.is_warning]
    made.close()
    assert not warnings


@pytest.mark.parametrize("media", [AUDIO, SRTP])
def test_all_that_belongs_to_a_stream_passes_as_it_came(site: Site, media: str) -> None:
    call, alices, bobs = site.call(media)
    keys = bytes([22]) + b"a handshake of DTLS, by which phones agree on keys"
    stun = bytes.fromhex("000100002112a442") + bytes(12)
    for n in range(20):
        assert site.arrives(site.alice, alices, site.bob, rtp(n, 1))
        assert site.arrives(site.bob, bobs, site.alice, rtp(n, 2, 96))
    for data in (keys, rtp(30, 1, 33), stun):
        assert site.arrives(site.alice, alices, site.bob, data)
    site.hang_up(call)


def test_fax_passes(site: Site) -> None:
    call, alices, bobs = site.call(FAX)
    assert site.arrives(site.alice, alices, site.bob, b"\x00\x01\x01\xc0")
    assert site.arrives(site.bob, bobs, site.alice, b"\x00\x02\x01\xc0")
    site.hang_up(call)


def test_ports_stay_whatever_the_phones_say(site: Site) -> None:
    call, alices, bobs = site.call()
    for which, body in [
        (CALLER, sdp(site.alice.getsockname(), AUDIO, "a=sendonly")),
        (CALLEE, sdp(site.bob.getsockname(), AUDIO, "a=recvonly")),
        (CALLER, sdp(site.alice.getsockname(), AUDIO, "a=inactive")),
        (CALLER, sdp(site.alice.getsockname(), "audio {} RTP/AVP 8")),
        (CALLER, sdp(site.moved.getsockname(), AUDIO)),
        (CALLEE, sdp(site.bob.getsockname(), AUDIO)),
    ]:
        assert site.describe(call, which, body) == (bobs if which == CALLER else alices)
    held = sdp(site.bob.getsockname(), AUDIO, host="0.0.0.0")
    assert b"c=IN IP4 0.0.0.0" in site.relay.describe(call, CALLEE, held, time.monotonic())
    assert site.describe(call, CALLEE, sdp(site.bob.getsockname(), AUDIO)) == alices
    for n in range(5):
        assert site.arrives(site.moved, alices, site.bob, rtp(n, 1))
        assert site.arrives(site.bob, bobs, site.moved, rtp(n, 2))
    site.hang_up(call)


def test_a_stranger_takes_no_call_over_and_is_not_heard(site: Site) -> None:
    call, alices, bobs = site.call()
    ends = time.monotonic() + LEARNT_S
    n = 0
    while time.monotonic() < ends:
        site.stranger.sendto(rtp(n, 3), alices)
        assert site.arrives(site.alice, alices, site.bob, rtp(n, 1))
        assert site.arrives(site.bob, bobs, site.alice, rtp(n, 2))
        n += 1
        time.sleep(0.02)
    assert not site.arrives(site.stranger, alices, site.bob, rtp(n, 3))
    assert site.arrives(site.alice, alices, site.bob, rtp(n, 1))
    assert site.arrives(site.bob, bobs, site.alice, rtp(n, 2))
    with pytest.raises(BlockingIOError):
        site.stranger.recv(1 << 16)
    site.hang_up(call)


def test_a_call_that_the_engine_has_lost_goes_through_us_from_the_next_description_on(
    site: Site, engine: RtpengineProcess
) -> None:
    call, _, _ = site.call()
    engine.kill()
    engine.start()
    site.until(lambda: call.engine_call is not None and call.engine_call.is_lost)
    (why,) = [each.facts["why"] for each in site.told if isinstance(each, Note) and each.is_warning]
    assert why == "error: Unknown call-id"
    site.told.clear()
    site.relay.start()
    site.pump()
    for which, phone in ((CALLER, site.alice), (CALLEE, site.bob)):
        host, port = site.describe(call, which, sdp(phone.getsockname(), AUDIO))
        assert host == HOST
        assert site.relay.has_port(port)
    site.hang_up(call)
