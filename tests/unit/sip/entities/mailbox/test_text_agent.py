"""The agent of texts, alone: what it is asked to keep, and what it has delivered."""

from __future__ import annotations

import random

import pytest

from p2psip.base.effects import Ask, Effect
from p2psip.sip.entities.agents.types import ToServer
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.mailbox.mailbox_questions import KeepMessage, Kept, NotKept, TextDelivered, TextWaiting
from p2psip.sip.entities.mailbox.text_agent import TEXT_BYTES_MAX, TextAgent, unpacked
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

REALM = "club.example"


class Bench:
    def __init__(self) -> None:
        self.agent = TextAgent(ServerConfig(REALM, frozenset(), (), SipUri(REALM, "peer")), random.Random(1))
        self.said: list[Request | Response] = []
        self.asked: list[Ask] = []
        self._branch = 0

    def send(
        self, method: str = "MESSAGE", params: tuple[tuple[str, str], ...] = (("ticket", "7"),), body: bytes = b"hi"
    ) -> None:
        self._branch += 1
        alice, uri = NameAddr(SipUri(REALM, "alice")).with_tag("a"), SipUri(REALM, "bob", None, params)
        extra = [("Content-Type", "text/plain;charset=UTF-8")]
        request = make_request(
            method, uri, from_=alice, to=NameAddr(uri), call_id=f"c{self._branch}", cseq=1, extra=extra, body=body
        )
        via = Via("UDP", "127.0.0.1", 5060, (("branch", f"z9hG4bKx{self._branch}"),))
        self.agent.handle_message(request.with_new_via(via).encode(), 0.0)
        self.drain()

    def drain(self) -> None:
        for effect in self.agent.drain():
            self._take(effect)

    def _take(self, effect: Effect) -> None:
        if isinstance(effect, ToServer):
            message = parse(effect.data)
            assert isinstance(message, Request | Response)
            self.said.append(message)
        else:
            assert isinstance(effect, Ask)
            self.asked.append(effect)

    def answer(self, answer: object) -> None:
        self.agent.handle_answer(self.asked[-1].token, answer, 1.0)
        self.drain()

    @property
    def statuses(self) -> list[int]:
        return [said.status for said in self.said if isinstance(said, Response) and not said.is_provisional]


def test_a_text_is_accepted_once_it_is_kept() -> None:
    bench = Bench()
    bench.send()
    (asked,) = bench.asked
    assert isinstance(asked.question, KeepMessage)
    assert (asked.question.ticket, asked.question.is_text) == (7, True)
    assert unpacked(asked.question.content) == ("text/plain;charset=UTF-8", b"hi")
    assert bench.statuses == []
    bench.answer(Kept())
    assert bench.statuses == [202]


def test_what_is_not_kept_is_refused_with_why() -> None:
    bench = Bench()
    bench.send()
    bench.answer(NotKept("no room"))
    (refused,) = bench.said
    assert isinstance(refused, Response)
    assert (refused.status, refused.reasons[0].text) == (480, "no room")
    bench.send()
    bench.agent.handle_timeout(100.0)
    bench.drain()
    assert bench.statuses == [480, 480]


@pytest.mark.parametrize(
    ("method", "params", "body", "status"),
    [
        ("MESSAGE", (), b"hi", 405),
        ("OPTIONS", (), b"", 405),
        ("INFO", (("ticket", "7"),), b"", 481),
        ("MESSAGE", (("ticket", "7"),), b"x" * (TEXT_BYTES_MAX + 1), 413),
    ],
)
def test_nothing_else_is_kept(method: str, params: tuple[tuple[str, str], ...], body: bytes, status: int) -> None:
    bench = Bench()
    bench.send(method, params, body)
    assert (bench.statuses, bench.asked) == ([status], [])


def test_a_flood_is_refused_beyond_a_bound() -> None:
    bench = Bench()
    for _ in range(100):
        bench.send()
    assert len(bench.asked) == 32
    assert bench.statuses == [480] * 68


def deliver(status: int | None, caller: str = "alice") -> tuple[Request, TextDelivered]:
    bench = Bench()
    bench.agent.handle_order(TextWaiting("bob", b"k", caller, "Alice", 0, "text/html", b"<b>hi"), 0.0)
    bench.drain()
    sent = bench.said[0]
    assert isinstance(sent, Request)
    if status is None:
        bench.agent.handle_timeout(3600.0)
    else:
        bench.agent.handle_message(make_response(sent, status, to_tag="b").encode(), 1.0)
    bench.drain()
    told = bench.asked[-1].question
    assert isinstance(told, TextDelivered)
    return sent, told


def test_what_has_waited_is_sent_as_it_was_written() -> None:
    sent, told = deliver(200)
    assert (sent.method, str(sent.uri), sent.body) == ("MESSAGE", f"sip:bob@{REALM}", b"<b>hi")
    assert (sent.from_.sip_uri.user_name, sent.from_.display_name) == ("alice", "Alice")
    assert "alice@" in (sent.fields.first("p-asserted-identity") or "")
    assert sent.fields.first("date") == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert told == TextDelivered("bob", b"k", True)


@pytest.mark.parametrize(
    ("caller", "user", "name"), [("?0049", "0049", "Not verified: 0049"), ("", "anonymous", "Anonymous")]
)
def test_who_is_not_proved_is_not_asserted(caller: str, user: str, name: str) -> None:
    sent, _ = deliver(200, caller)
    assert (sent.from_.sip_uri.user_name, sent.from_.display_name) == (user, name)
    assert "p-asserted-identity" not in sent.fields


@pytest.mark.parametrize(
    ("status", "is_over"),
    [(202, True), (405, True), (415, True), (603, True), (480, False), (503, False), (None, False)],
)
def test_what_nobody_takes_waits_on_unless_it_is_refused_for_good(status: int | None, is_over: bool) -> None:
    assert deliver(status)[1].is_over is is_over
