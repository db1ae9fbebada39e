"""Calls of a relay that an engine carries: which, with what ports, and what becomes of them without it."""

import random
from dataclasses import replace

import pytest
from fake_rtpengine import AT, FakeRtpengine

from p2psip.base.effects import AskAnswered, Effect
from p2psip.media.negotiation import Address
from p2psip.media.relay.description import read
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, NoPorts, Relay, RelayedCall, RelayEnded
from p2psip.media.relay.relayed_stream import SideSilent
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.media.relay.sides import FarPeer, Phone

ALICE, BOB = Phone("alice", "192.0.2.99", "192.0.2.1"), Phone("bob", "192.0.2.99", "192.0.2.2")
ENGINE, OURS = "192.0.2.77", "192.0.2.99"
LIMITS = RelayLimits()
AUDIO, VIDEO = "audio {} RTP/AVP 0", "video {} RTP/AVP 31"


def sdp(phone: Phone, *media: str, port: int = 4000) -> bytes:
    head = ["v=0", f"o=- 1 1 IN IP4 {phone.seen}", "s=-", f"c=IN IP4 {phone.seen}", "t=0 0"]
    return "\r\n".join([*head, *(f"m={each.format(port)}" for each in media or (AUDIO,)), ""]).encode()


class Site:
    """A relay where every port can be opened, and its engine, which answers at once."""

    def __init__(self, limits: RelayLimits = LIMITS) -> None:
        self.theirs = FakeRtpengine()
        self.relay = Relay(random.Random(1), limits, RtpEngine(AT, random.Random(2)))
        self.relay.start()
        self.told: list[Effect] = []
        self.now = 0.0
        self.run(0.0)

    def run(self, until: float) -> None:
        while (deadline := self.relay.next_deadline()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.relay.handle_timeout(self.now)
            self.settle()
        self.now = until
        self.settle()

    def settle(self) -> None:
        while effects := self.relay.drain():
            for effect in effects:
                match effect:
                    case OpenPorts(_, port):
                        self.relay.handle_ports(port, True, self.now)
                    case SendToEngine(_, data):
                        if (answer := self.theirs.answer(data)) is not None:
                            self.relay.handle_engine(answer, self.now)
                    case ClosePorts():
                        pass
                    case _:
                        self.told.append(effect)

    def prepared(self, body: bytes) -> EngineCall:
        wish = self.relay.wish("call", ALICE, BOB, body)
        assert wish is not None
        self.relay.ask_engine(5, wish, self.now)
        self.settle()
        answer = self.told.pop()
        assert isinstance(answer, AskAnswered)
        assert isinstance(answer.answer, EngineCall)
        return answer.answer

    def call(self, body: bytes) -> RelayedCall:
        """One that bob has answered with the streams that alice has offered."""
        call = self.relay.begin("call", ALICE, BOB, self.prepared(body))
        self.described(call, CALLER, body)
        self.described(call, CALLEE, body.replace(ALICE.seen.encode(), BOB.seen.encode()))
        self.relay.answered(call, self.now)
        return call

    def described(self, call: RelayedCall, which: int, body: bytes) -> list[Address | None]:
        written = self.relay.describe(call, which, body, self.now)
        self.settle()
        return [each.rtp for each in read(written)]

    def hosts(self, call: RelayedCall, which: int, body: bytes) -> list[str | None]:
        return [None if each is None else each[0] for each in self.described(call, which, body)]


def test_a_call_that_was_prepared_needs_no_port_of_ours() -> None:
    site = Site(replace(LIMITS, calls=1))
    for _ in range(3):
        site.call(sdp(ALICE))
    site.relay.begin("call", ALICE, BOB)
    with pytest.raises(NoPorts):
        site.relay.begin("call", ALICE, BOB)


@pytest.mark.parametrize(
    ("caller", "callee", "body"),
    [
        (ALICE, FarPeer("bob", "path"), sdp(ALICE)),
        (FarPeer("alice", "path"), BOB, sdp(ALICE)),
        (ALICE, Phone("bob", "fe80::9", "fe80::2%eth0"), sdp(ALICE)),
        (ALICE, BOB, b""),
        (ALICE, BOB, sdp(ALICE, "audio 0 RTP/AVP 0")),
        (ALICE, BOB, sdp(ALICE, "message {} TCP/MSRP *")),
    ],
)
def test_the_engine_is_not_asked_for_what_it_cannot_do(
    caller: Phone | FarPeer, callee: Phone | FarPeer, body: bytes
) -> None:
    assert Site().relay.wish("call", caller, callee, body) is None


def test_it_is_not_asked_for_more_than_there_may_be() -> None:
    site = Site(replace(LIMITS, engine_calls=1, streams=1))
    call = site.call(sdp(ALICE, AUDIO, VIDEO))
    assert call.engine_call is not None
    assert call.engine_call.wanted.carried == (0,)
    assert site.relay.wish("call", ALICE, BOB, sdp(ALICE)) is None


def test_what_was_prepared_for_another_way_to_a_phone_is_not_used_and_is_deleted() -> None:
    site = Site()
    prepared = site.prepared(sdp(ALICE))
    call = site.relay.begin("call", ALICE, replace(BOB, seen="192.0.2.3"), prepared)
    assert site.hosts(call, CALLER, sdp(ALICE)) == [OURS]
    site.run(10.0)
    assert site.theirs.calls == {}


def test_a_stream_that_comes_later_goes_through_us() -> None:
    site = Site()
    call = site.call(sdp(ALICE))
    both = sdp(ALICE, AUDIO, VIDEO)
    assert site.hosts(call, CALLER, both) == [ENGINE, OURS]
    assert site.hosts(call, CALLEE, sdp(BOB, AUDIO, VIDEO)) == [ENGINE, OURS]
    site.relay.end(call, "hung up", site.now)
    site.settle()
    (ended,) = [each for each in site.told if isinstance(each, RelayEnded)]
    assert [side.kind for side in ended.sides] == ["audio", "audio", "video", "video"]
    assert ended.engine == f"rtpengine at {AT}"


def test_what_is_refused_is_as_before_in_the_engine_too() -> None:
    site = Site()
    call = site.call(sdp(ALICE))
    assert call.engine_call is not None
    before = call.last[CALLER]
    site.described(call, CALLER, sdp(ALICE, port=4444))
    told = site.theirs.told
    assert told[call.engine_call.id, "caller"].media[0].port == 4444
    site.relay.undo(call, CALLER, before, site.now)
    site.settle()
    assert told[call.engine_call.id, "caller"].media[0].port == 4000


def test_who_is_not_heard_is_told() -> None:
    site = Site()
    site.call(sdp(ALICE))
    site.theirs.packets = {"caller": 150}
    site.run(4.0)
    (silent,) = [each for each in site.told if isinstance(each, SideSilent)]
    assert (silent.side, silent.owner) == ("bob", f"the media engine at {ENGINE}")


def test_a_call_of_which_nothing_comes_is_over_and_deleted() -> None:
    site = Site()
    site.call(sdp(ALICE))
    site.run(LIMITS.idle_s + 5.0)
    (ended,) = [each for each in site.told if isinstance(each, RelayEnded)]
    assert ended.reason == "nothing has come from either side for 300 s"
    assert (site.theirs.calls, len(site.relay)) == ({}, 0)


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_call_that_it_does_not_have_any_more_has_our_ports_with_the_next_offer_and_answer(is_silent: bool) -> None:
    site = Site()
    call = site.call(sdp(ALICE))
    site.theirs.is_silent = is_silent
    site.theirs.restart()
    site.run(5.0)
    assert site.hosts(call, CALLER, sdp(ALICE)) == [OURS]
    assert site.hosts(call, CALLEE, sdp(BOB)) == [OURS]
    site.relay.end(call, "hung up", site.now)
    site.settle()
    (ended,) = [each for each in site.told if isinstance(each, RelayEnded)]
    assert ended.engine is None
    assert len(ended.sides) == 2
    assert site.relay.engine is not None
    assert len(site.relay.engine) == 0
