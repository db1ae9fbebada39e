"""Calls in an engine, in virtual time: prepared, told anew, counted, ended, refused and lost."""

import random
from typing import TypeVar

import pytest
from fake_rtpengine import AT, FIRST_PORT, FakeRtpengine

from p2psip.base.effects import AskAnswered, Effect, Note
from p2psip.media.relay.description import MediaLine, read
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, EngineCounted, PrepareCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import EngineState, SendToEngine
from p2psip.media.relay.rtpengine.figures import Counted
from p2psip.media.relay.rtpengine.limits import EngineLimits

E = TypeVar("E", bound=Effect)

ALICE, BOB = "192.0.2.1", "2001:db8::2"
LIMITS = EngineLimits()
AUDIO, CHAT, VIDEO = "m=audio {} RTP/AVP 0", "m=message {} TCP/MSRP *", "m=video {} RTP/AVP 31"


def lines(host: str, port: int, *media: str) -> tuple[MediaLine, ...]:
    version = 6 if ":" in host else 4
    head = ["v=0", f"o=- 1 1 IN IP{version} {host}", "s=-", f"c=IN IP{version} {host}", "t=0 0"]
    return read("\r\n".join([*head, *(each.format(port) for each in media), ""]).encode())


class Engine:
    """Ours and theirs: what one says the other hears at once, unless it is to wait."""

    def __init__(self) -> None:
        self.ours = RtpEngine(AT, random.Random(1), LIMITS)
        self.theirs = FakeRtpengine()
        self.waits = False
        self.now = 0.0
        self.told: list[Effect] = []
        self._waiting: list[bytes] = []
        self.run(0.0)
        assert self.ours.state is EngineState.ANSWERS
        self.told.clear()

    def run(self, until: float) -> None:
        while (deadline := self.ours.next_deadline()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.ours.handle_timeout(self.now)
            self.settle()
        self.now = until
        self.settle()

    def settle(self) -> None:
        while effects := self.ours.drain():
            self.told += [each for each in effects if not isinstance(each, SendToEngine)]
            self._waiting += self.theirs.answers(effects)
            while self._waiting and not self.waits:
                self.ours.handle_datagram(self._waiting.pop(0), self.now)

    def goes_on(self) -> None:
        """What waits is heard."""
        self.waits = False
        for each in self._waiting:
            self.ours.handle_datagram(each, self.now)
        self._waiting.clear()
        self.settle()

    def prepare(self, *media: str, token: int = 5) -> EngineCall | None:
        described = lines(ALICE, 4000, *(media or (AUDIO,)))
        carried = tuple(index for index, each in enumerate(described) if each.kind != "message")
        self.ours.prepare(token, PrepareCall("name", (ALICE, BOB), described, carried), self.now)
        self.settle()
        return self.answer(token)

    def answer(self, token: int = 5) -> EngineCall | None:
        (answer,) = self.take(AskAnswered)
        assert answer.token == token
        assert answer.answer is None or isinstance(answer.answer, EngineCall)
        return answer.answer

    def take(self, kind: type[E]) -> list[E]:
        found = [each for each in self.told if isinstance(each, kind)]
        self.told = [each for each in self.told if not isinstance(each, kind)]
        return found

    def call(self, *media: str) -> EngineCall:
        call = self.prepare(*media)
        assert call is not None
        self.ours.claim(call)
        return call

    def describe(self, call: EngineCall, which: int, described: tuple[MediaLine, ...]) -> None:
        self.ours.describe(call, which, described, self.now)
        self.settle()

    def port_told(self, call: EngineCall, tag: str) -> int:
        return self.theirs.told[call.id, tag].media[0].port


def test_a_call_has_ports_for_both_phones_before_one_of_them_hears_of_it() -> None:
    engine = Engine()
    call = engine.call()
    assert engine.theirs.commands() == ["offer", "answer"]
    # Each of its own phone's IP version.
    assert call.address(0, 0) == ("192.0.2.77", FIRST_PORT + 2)
    assert call.address(1, 0) == ("2001:db8::77", FIRST_PORT)
    assert engine.theirs.told[call.id, "caller"].media[0].port == 4000
    assert engine.theirs.told[call.id, "callee"].address == BOB
    for heard in engine.theirs.heard[1:]:
        assert heard["flags"] == ["trust address", "port latching", "strict source", "endpoint-learning-heuristic"]
        assert heard["ICE"] == "remove"


def test_streams_that_are_not_meant_are_not_told() -> None:
    engine = Engine()
    call = engine.call(AUDIO, CHAT, VIDEO)
    assert [each.kind for each in engine.theirs.told[call.id, "caller"].media] == ["audio", "video"]
    assert call.address(0, 2) != call.address(0, 0)
    engine.describe(call, 1, lines(BOB, 6000, AUDIO, CHAT, VIDEO))
    assert [each.port for each in engine.theirs.told[call.id, "callee"].media] == [6000, 6000]
    # An answer that has lost its last line wants nothing of it.
    engine.describe(call, 1, lines(BOB, 6000, AUDIO))
    told = engine.theirs.told[call.id, "callee"].media
    assert [(each.kind, str(each.attributes[0])) for each in told] == [("audio", "sendrecv"), ("video", "inactive")]


def test_two_calls_of_one_name_are_two() -> None:
    engine = Engine()
    assert engine.call().id != engine.call().id
    assert len(engine.theirs.calls) == len(engine.ours) == 2


def test_what_is_said_while_the_engine_is_told_is_told_after() -> None:
    engine = Engine()
    call = engine.call()
    engine.waits = True
    for port in (6000, 6002, 6004):
        engine.describe(call, 1, lines(BOB, port, AUDIO))
    assert engine.theirs.commands() == ["offer", "answer", "offer"]
    engine.goes_on()
    assert engine.theirs.commands() == ["offer", "answer"] * 3
    assert engine.port_told(call, "callee") == 6004
    assert not call.is_lost


def test_what_has_come_is_asked_now_and_then_and_at_the_end() -> None:
    engine = Engine()
    call = engine.call()
    engine.ours.watch(call, 0.0)
    engine.theirs.packets = {"caller": 150, "callee": 149}
    engine.run(LIMITS.query_s)
    assert call.figures == {(0, 0): Counted(150, 25800), (1, 0): Counted(149, 25628)}
    engine.theirs.packets = {"caller": 200, "callee": 199}
    engine.run(2 * LIMITS.query_s - 0.1)
    engine.ours.end(call, engine.now)
    engine.settle()
    assert [each.is_last for each in engine.take(EngineCounted)] == [False, True]
    assert call.figures[0, 0].packets == 200
    assert engine.theirs.commands()[2:] == ["query", "query", "delete"]
    assert (len(engine.theirs.calls), len(engine.ours), engine.take(Note)) == (0, 0, [])
    engine.run(100.0)
    assert engine.theirs.commands()[5:] == []


def test_what_nobody_begins_is_deleted() -> None:
    engine = Engine()
    assert engine.prepare() is not None
    engine.run(LIMITS.claim_s)
    assert (len(engine.theirs.calls), len(engine.ours)) == (0, 0)


@pytest.mark.parametrize("command", ["offer", "answer"])
def test_a_call_that_it_refuses_is_answered_so_and_its_words_are_told(command: str) -> None:
    engine = Engine()
    engine.theirs.refusals = {command: "Ran out of ports"}
    assert engine.prepare() is None
    (note,) = engine.take(Note)
    assert (note.event, note.is_warning) == ("media engine refuses", True)
    assert note.facts == {"call": "name", "command": command, "why": "error: Ran out of ports"}
    assert (len(engine.theirs.calls), len(engine.ours)) == (0, 0)


def test_who_does_not_answer_prepares_nothing_and_that_is_one_line_for_all() -> None:
    engine = Engine()
    engine.theirs.is_silent = True
    described = lines(ALICE, 4000, AUDIO)
    for token in (1, 2, 3):
        engine.ours.prepare(token, PrepareCall("name", (ALICE, BOB), described, (0,)), engine.now)
    engine.run(1.0)
    assert [(each.token, each.answer) for each in engine.take(AskAnswered)] == [(1, None), (2, None), (3, None)]
    assert [each.event for each in engine.take(Note)] == ["media engine does not answer"]
    assert engine.prepare(token=4) is None
    assert len(engine.ours) == 0


def test_a_call_that_it_has_no_more_is_lost_and_is_not_asked_for_again() -> None:
    engine = Engine()
    call = engine.call()
    engine.ours.watch(call, 0.0)
    engine.theirs.restart()
    engine.run(20.0)
    assert call.is_lost
    (note,) = engine.take(Note)
    assert note.facts == {"call": "name", "command": "query", "why": "error: Unknown call-id"}
    engine.ours.end(call, engine.now)
    engine.settle()
    assert [each.is_last for each in engine.take(EngineCounted)] == [False, True]
    assert len(engine.ours) == 0


def test_a_call_that_has_other_ports_than_the_phones_were_told_is_lost() -> None:
    engine = Engine()
    call = engine.call()
    engine.theirs.restart()
    engine.describe(call, 1, lines(BOB, 6000, AUDIO))
    assert call.is_lost
    (note,) = engine.take(Note)
    assert note.facts["why"] == "it has other ports for a call that goes on"
    engine.ours.watch(call, engine.now)
    engine.run(20.0)
    assert call.is_lost


def test_a_call_outlives_a_silence_of_its_engine() -> None:
    engine = Engine()
    call = engine.call()
    engine.ours.watch(call, 0.0)
    engine.theirs.is_silent = True
    engine.run(3.5)
    engine.describe(call, 1, lines(BOB, 6000, AUDIO))
    engine.run(5.0)
    assert call.is_lost
    engine.theirs.is_silent = False
    engine.run(20.0)
    assert not call.is_lost
    # What was said meanwhile it is told then.
    assert engine.port_told(call, "callee") == 6000
    assert [each.event for each in engine.take(Note)] == ["media engine does not answer", "media engine answers"]


def test_a_call_that_ends_while_nobody_answers_ends_with_what_was_known() -> None:
    engine = Engine()
    call = engine.call()
    engine.theirs.is_silent = True
    engine.ours.end(call, 1.0)
    engine.settle()
    engine.run(3.0)
    assert [each.is_last for each in engine.take(EngineCounted)] == [True]
    assert len(engine.ours) == 0


def test_a_call_that_is_over_is_not_told_anything_more() -> None:
    engine = Engine()
    call = engine.call()
    engine.waits = True
    engine.describe(call, 1, lines(BOB, 6000, AUDIO))
    engine.ours.forget(call, engine.now)
    engine.settle()
    engine.goes_on()
    assert engine.theirs.commands() == ["offer", "answer", "offer", "delete"]
    assert (engine.take(Note), engine.take(EngineCounted)) == ([], [])


@pytest.mark.parametrize(
    ("sdp", "why"),
    [
        (7, "its description cannot be read: it is empty"),
        ("v=0", "its description cannot be read: it has no o= line"),
        ("v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\nc=IN IP4 192.0.2.77\r\n", "it describes 0 streams in the place of 1"),
        (
            "v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\nc=IN IP4 192.0.2.77\r\nm=audio 4000 RTP/AVP 0\r\n",
            "it has no address that 2001:db8::2 reaches",
        ),
    ],
)
def test_an_answer_that_names_no_ports_is_a_refusal(sdp: str | int, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    monkeypatch.setattr(engine.theirs, "_done", lambda fields: {"result": "ok", "sdp": sdp})
    assert engine.prepare() is None
    assert [note.facts["why"] for note in engine.take(Note)] == [why]


def test_the_ports_of_its_calls_are_known() -> None:
    engine = Engine()
    call = engine.call()
    assert engine.ours.is_at(call.address(0, 0))
    assert not engine.ours.is_at((ALICE, 4000))
