"""An rtpengine that talks nonsense: what is asked is answered, once, and what has ended leaves nothing behind."""

from __future__ import annotations

import random

import pytest
from effort import times
from fake_rtpengine import AT, FakeRtpengine
from mutations import mutant

from p2psip.base.effects import AskAnswered, Note
from p2psip.media.relay.description import read
from p2psip.media.relay.relay import CALLEE, CALLER, NoPorts, Relay, RelayedCall, RelayEnded
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.media.relay.rtpengine.limits import EngineLimits
from p2psip.media.relay.sides import Phone

LIMITS = EngineLimits()
ALICE, BOB = Phone("alice", "192.0.2.9", "192.0.2.1"), Phone("bob", "2001:db8::9", "2001:db8::1")
LATE_S = 10.0


def sdp(phone: Phone, rng: random.Random) -> bytes:
    version = 6 if ":" in phone.seen else 4
    media = rng.choice(
        ("audio {} RTP/AVP 0", "audio {} RTP/AVP 0\r\na=sendonly", "image {} udptl t38", "audio 0 RTP/AVP 0")
    )
    head = f"v=0\r\no=- 1 1 IN IP{version} {phone.seen}\r\ns=-\r\nc=IN IP{version} {phone.seen}\r\nt=0 0\r\n"
    return (head + f"m={media.format(rng.randrange(1024, 65000))}\r\n").encode()


class Site:
    """A relay, and an engine whose answers are damaged now and then, late, or missing."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.theirs = FakeRtpengine()
        self.relay = Relay(random.Random(rng.random()), engine=RtpEngine(AT, random.Random(rng.random()), LIMITS))
        self.now = 0.0
        self.asked: set[int] = set()
        self.calls: list[RelayedCall] = []
        self.ended = self.begun = 0
        self.harm = 0.3
        self._late: list[bytes] = []

    def tick(self, for_s: float) -> None:
        end = self.now + for_s
        while (deadline := self.relay.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.relay.handle_timeout(self.now)
            self.settle()
        self.now = end

    def settle(self) -> None:
        while effects := self.relay.drain():
            for effect in effects:
                match effect:
                    case SendToEngine(_, data):
                        self._send(data)
                    case AskAnswered(token, answer):
                        self.asked.remove(token)
                        assert answer is None or isinstance(answer, EngineCall)
                        self._begin(answer)
                    case RelayEnded():
                        self.ended += 1
                    case Note(event):
                        assert event.startswith("media engine")

    def _send(self, data: bytes) -> None:
        answer = self.theirs.answer(data)
        if answer is None or self.rng.random() < self.harm / 3:
            return
        if self.rng.random() < self.harm:
            cookie, _, body = answer.partition(b" ")
            answer = cookie + b" " + mutant([body], self.rng)
        self._late.append(answer)
        if self.rng.random() > self.harm:
            late, self._late = self._late, []
            for each in late:
                self.relay.handle_engine(each, self.now)

    def _begin(self, answer: EngineCall | None) -> None:
        if self.rng.random() < 0.9:
            self.calls.append(self.relay.begin("call", ALICE, BOB, answer))
            self.begun += 1
            self._describe(self.calls[-1], CALLER)

    def _describe(self, call: RelayedCall, which: int) -> None:
        try:
            written = self.relay.describe(call, which, sdp((ALICE, BOB)[which], self.rng), self.now)
        except NoPorts:
            return
        assert read(written)

    def step(self, number: int) -> None:
        """Something that phones do."""
        call = self.rng.choice(self.calls) if self.calls else None
        wish = self.relay.wish("call", ALICE, BOB, sdp(ALICE, self.rng)) if self.rng.random() < 0.5 else None
        if wish is not None:
            self.asked.add(number)
            self.relay.ask_engine(number, wish, self.now)
        elif call is not None:
            match self.rng.randrange(4):
                case 0:
                    self.relay.end(call, "hung up", self.now)
                    self.calls.remove(call)
                case 1:
                    self.relay.answered(call, self.now)
                case _:
                    self._describe(call, self.rng.choice((CALLER, CALLEE)))
        self.settle()
        self.tick(self.rng.choice((0.0, 0.01, 0.3, 4.0)))


@pytest.mark.long
@pytest.mark.parametrize("harm", [0.0, 0.3, 0.8])
def test_whatever_an_engine_says_calls_go_on_and_end(harm: float) -> None:
    carried = 0
    for number in range(times(40)):
        rng = random.Random(f"rtpengine/{harm}/{number}")
        site = Site(rng)
        site.tick(0.0)
        site.harm = harm
        for step in range(60):
            site.step(step)
        engine = site.relay.engine
        assert engine is not None
        carried += len(engine)
        # What is asked still is answered; then all hang up.
        site.harm = 0.0
        site.tick(LATE_S)
        for call in site.calls:
            site.relay.end(call, "hung up", site.now)
        site.settle()
        site.tick(LATE_S)
        assert (len(site.relay), len(engine), site.asked, site.ended) == (0, 0, set(), site.begun)
    assert carried > 0
