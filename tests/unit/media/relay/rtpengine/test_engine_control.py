"""Commands to an engine, in virtual time: what is sent when, what comes of it, and when nobody is taken to be there."""

import random
from dataclasses import replace

import pytest
from fake_rtpengine import AT, FakeRtpengine

from p2psip.base.effects import Effect, Note
from p2psip.media.relay.rtpengine.bencode import encode
from p2psip.media.relay.rtpengine.engine_control import EngineControl, EngineState, Reply, SendToEngine
from p2psip.media.relay.rtpengine.limits import EngineLimits

LIMITS = EngineLimits()
QUERY = {"command": "query", "call-id": "one"}


class Commander:
    """A control, and its engine, which answers at once."""

    def __init__(self, limits: EngineLimits = LIMITS) -> None:
        self.control: EngineControl[str] = EngineControl(AT, random.Random(1), limits)
        self.engine = FakeRtpengine()
        self.sent: list[tuple[float, bytes]] = []
        self.notes: list[Note] = []

    def run(self, until: float) -> list[tuple[str, Reply]]:
        """Let time pass; what has come of requests."""
        now = 0.0
        while (deadline := self.control.next_deadline()) is not None and deadline.at <= until:
            now = max(now, deadline.at)
            self.control.handle_timeout(now)
            self.settle(now)
        return self.control.replies()

    def settle(self, now: float) -> None:
        while effects := self.control.drain():
            self.notes += [each for each in effects if isinstance(each, Note)]
            self.sent += [(round(now, 3), each.data) for each in effects if isinstance(each, SendToEngine)]
            self._answer(effects, now)

    def _answer(self, effects: list[Effect], now: float) -> None:
        for answer in self.engine.answers(effects):
            self.control.handle_datagram(answer, now)

    def request(self, context: str, now: float) -> None:
        self.control.request(QUERY, context, now)
        self.settle(now)

    def times(self) -> list[float]:
        times, self.sent = [when for when, _ in self.sent], []
        return times


def test_nothing_is_asked_until_it_has_answered_a_ping() -> None:
    commander = Commander()
    commander.request("early", 0.0)
    assert commander.control.replies() == [("early", Reply({}, "it has not been heard yet"))]
    commander.run(0.0)
    assert commander.control.state is EngineState.ANSWERS
    assert [(note.event, note.is_warning) for note in commander.notes] == [("media engine answers", False)]
    assert commander.engine.commands() == []
    commander.request("later", 1.0)
    ((context, reply),) = commander.control.replies()
    assert (context, reply.refusal) == ("later", "error: Unknown call-id")


def test_it_is_pinged_where_nothing_else_was_heard_for_a_while() -> None:
    commander = Commander()
    commander.run(0.0)
    commander.request("one", 4.0)
    commander.run(20.0)
    assert commander.times() == [0.0, 4.0, 9.0, 14.0, 19.0]


def test_a_request_goes_out_three_times_and_then_all_fail_at_once() -> None:
    commander = Commander()
    commander.run(0.0)
    commander.times(), commander.notes.clear()
    commander.engine.is_silent = True
    commander.request("one", 2.0)
    commander.request("two", 2.9)
    silent = Reply({}, "it does not answer")
    assert commander.run(3.0) == [("one", silent), ("two", silent)]
    assert commander.times() == [2.0, 2.9, 2.2, 2.5]
    assert [(note.event, note.is_warning) for note in commander.notes] == [("media engine does not answer", True)]
    commander.request("three", 3.1)
    assert commander.control.replies() == [("three", silent)]
    commander.run(20.0)
    assert commander.times() == [8.0, 8.2, 8.5, 14.0, 14.2, 14.5, 20.0]
    assert len(commander.notes) == 1


def test_who_answers_again_is_asked_again_and_that_is_told() -> None:
    commander = Commander()
    commander.engine.is_silent = True
    commander.run(7.0)
    commander.engine.is_silent = False
    commander.run(12.0)
    assert [note.event for note in commander.notes] == ["media engine does not answer", "media engine answers"]
    commander.request("one", 13.0)
    assert len(commander.control.replies()) == 1


def test_a_machine_that_slept_waits_for_answers_as_long_as_any_other() -> None:
    commander = Commander()
    commander.run(0.0)
    commander.engine.is_silent = True
    commander.request("one", 1.0)
    commander.control.handle_timeout(7200.0)
    commander.engine.is_silent = False
    commander.settle(7200.0)
    ((context, _),) = commander.control.replies()
    assert context == "one"
    assert commander.control.is_answering


def test_what_answers_nothing_that_is_open_is_dropped() -> None:
    commander = Commander()
    commander.run(0.0)
    commander.engine.is_silent = True
    commander.request("one", 1.0)
    _, datagram = commander.sent[-1]
    commander.run(2.0)
    cookie = datagram.partition(b" ")[0]
    good = encode({"result": "ok"})
    for odd in (b"", b" ", b"\xff " + good, b"0 " + good, cookie + b" " + good, b" " + good):
        commander.control.handle_datagram(odd, 3.0)
    assert commander.control.dropped == 6
    assert not commander.control.is_answering
    commander.engine.is_silent = False
    commander.run(7.0)
    commander.request("two", 8.0)
    assert len(commander.control.replies()) == 1


@pytest.mark.parametrize("body", [b"", b"le", b"i1e", b"d6:result2:ok"])
def test_an_answer_that_cannot_be_read_is_none(body: bytes) -> None:
    commander = Commander()
    commander.run(0.0)
    commander.engine.is_silent = True
    commander.request("one", 1.0)
    _, datagram = commander.sent[-1]
    commander.control.handle_datagram(datagram.partition(b" ")[0] + b" " + body, 1.0)
    assert (commander.control.dropped, commander.control.replies()) == (1, [])


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"result": "error", "error-reason": "Ran out of ports"}, "error: Ran out of ports"),
        ({"result": "load limit", "message": "Maximum number of sessions"}, "load limit: Maximum number of sessions"),
        ({"result": "error"}, "error"),
        ({}, "it says no result"),
        ({"result": ["ok"]}, "['ok']"),
        ({"result": "ok", "warning": "no such tag"}, ""),
    ],
)
def test_what_it_does_not_do_is_told_in_its_words(fields: dict[str, object], refusal: str) -> None:
    commander = Commander()
    commander.run(0.0)
    commander.engine.is_silent = True
    commander.request("one", 1.0)
    _, datagram = commander.sent[-1]
    commander.control.handle_datagram(datagram.partition(b" ")[0] + b" " + encode(fields), 1.0)  # type: ignore[arg-type]
    assert commander.control.replies() == [("one", Reply(fields, refusal))]  # type: ignore[arg-type]


def test_no_more_requests_are_open_than_there_may_be() -> None:
    commander = Commander(replace(LIMITS, requests=2))
    commander.run(0.0)
    commander.engine.is_silent = True
    for context in ("one", "two", "three"):
        commander.request(context, 1.0)
    assert commander.control.replies() == [("three", Reply({}, "2 requests are open already"))]
