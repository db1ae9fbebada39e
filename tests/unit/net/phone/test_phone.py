"""The test phone on loopback sockets: two of them, nothing between."""

import asyncio
import json
import queue
import socket
from collections.abc import Coroutine
from typing import Any, Literal, TextIO, cast

import pytest

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.media.engine import Performance
from p2psip.net.phone.events import PhoneEvent
from p2psip.net.phone.scripts import Wishes, answer, call, controlled, register
from p2psip.net.phone.softphone import PhoneSettings, SoftPhone, resolve, target_uri
from p2psip.net.sockets.datagrams import DatagramSocket

Scheme = Literal["UDP", "TCP"]
NOBODY = Address("127.0.0.1", 9)


def settings(user: str, server: Address = NOBODY, **changes: Any) -> PhoneSettings:
    return PhoneSettings(user, server, **changes)


async def ringing_phone(transport: Scheme = "UDP", **changes: Any) -> tuple[SoftPhone, Address]:
    """Bob's phone, and where it is."""
    changes = {"performance": Performance(550), "auto_answer_s": 0.05, **changes}
    phone = SoftPhone(settings("bob", listen=Address("127.0.0.1", 0), transport=transport, **changes))
    await phone.open()
    return phone, next(iter(phone._sip_sockets))


def events(phone: SoftPhone) -> list[PhoneEvent]:
    return [phone.events.get_nowait() for _ in range(phone.events.qsize())]


async def until(phone: SoftPhone, name: str) -> PhoneEvent:
    """The next event of that name."""
    while (event := await phone.events.get()).event != name:
        pass
    return event


def run(test: Coroutine[None, None, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(limited())


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_call_over_loopback(transport: Scheme) -> None:
    async def test() -> None:
        bob, where = await ringing_phone(transport)
        alice = SoftPhone(settings("alice", where, transport=transport, performance=Performance(440)))
        await alice.open()
        number = alice.call("bob")
        await until(bob, "answered")
        await asyncio.sleep(0.4)
        alice.hang_up(number)
        heard_by_bob = await until(bob, "heard")
        await alice.close()
        await bob.close()
        told = events(alice)
        assert [event.event for event in told] == ["calling", "ringing", "answered", "heard", "ended"]
        assert cast(int, told[2].facts["after_ms"]) >= 50
        assert told[3].facts["frequency_hz"] == pytest.approx(550, abs=2)
        assert heard_by_bob.facts["frequency_hz"] == pytest.approx(440, abs=2)

    run(test())


def test_two_calls_at_once_have_sockets_of_their_own_and_give_them_back() -> None:
    async def test() -> None:
        bob, where = await ringing_phone()
        alice = SoftPhone(settings("alice", where))
        await alice.open()
        alice.call("bob"), alice.call("sip:bob@example.org")
        answered = [await until(phone, "answered") for phone in (alice, bob, alice, bob)]
        locals_ = {event.facts["local"] for event in answered}
        assert len(locals_) == 4
        assert all(int(str(local).rpartition(":")[2]) % 2 == 0 for local in locals_)
        await alice.close()
        await asyncio.sleep(0.05)
        assert bob._media_sockets._sockets == {}
        await bob.close()

    run(test())


def test_nobody_listens_on_tcp() -> None:
    async def test() -> None:
        alice = SoftPhone(settings("alice", transport="TCP"))
        await alice.open()
        alice.call("bob")
        event = await until(alice, "ended")
        assert "cannot connect to tcp 127.0.0.1:9" in str(event.facts["reason"])
        await alice.close()

    run(test())


def test_a_port_that_is_taken_is_a_misuse() -> None:
    async def test() -> None:
        bob, where = await ringing_phone()
        with pytest.raises(LocalMisuse, match="choose another port"):
            await SoftPhone(settings("alice", listen=where)).open()
        await bob.close()

    run(test())


def test_a_wildcard_is_no_address_to_be_called_at() -> None:
    with pytest.raises(LocalMisuse, match="reaches this phone"):
        run(SoftPhone(settings("alice", listen=Address("0.0.0.0", 0))).open())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 5060)),
        ("127.0.0.1:5070", ("127.0.0.1", 5070)),
        ("localhost:5070", ("127.0.0.1", 5070)),
        ("[::1]:5070", ("::1", 5070)),
        ("[::1]", ("::1", 5060)),
    ],
)
def test_how_a_server_is_named(text: str, address: tuple[str, int]) -> None:
    assert resolve(text, 5060) == address


@pytest.mark.parametrize("text", ["", ":5060", "a b", "127.0.0.1:x", "127.0.0.1:70000", "[127.0.0.1", "::1", "a:1:2"])
def test_what_names_no_server(text: str) -> None:
    with pytest.raises(LocalMisuse, match="write HOST"):
        resolve(text, 5060)


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("bob", "sip:bob@127.0.0.1:5070"),
        ("*43", "sip:*43@127.0.0.1:5070"),
        ("Jürg 1", "sip:J%C3%BCrg%201@127.0.0.1:5070"),
        ("bob@example.org", "sip:bob@example.org"),
        ("sip:bob@example.org;transport=tcp", "sip:bob@example.org;transport=tcp"),
    ],
)
def test_whom_a_target_means(target: str, uri: str) -> None:
    assert str(target_uri(target, Address("127.0.0.1", 5070))) == uri


@pytest.mark.parametrize("target", ["", " ", "tel:123", "sip:", "@", "http://example.org"])
def test_what_cannot_be_called(target: str) -> None:
    with pytest.raises(LocalMisuse, match="cannot call"):
        target_uri(target, NOBODY)


# Scripts


def wishes(seconds: float | None = 0.4, expect_tone_hz: float | None = None) -> Wishes:
    return Wishes(seconds, expect_tone_hz, patience_s=1.0, registers=False, as_json=True)


def call_bob(expect_tone_hz: float, **changes: Any) -> None:
    async def test() -> None:
        bob, where = await ringing_phone(**changes)
        try:
            await call(settings("alice", where), "bob", wishes(expect_tone_hz=expect_tone_hz))
        finally:
            await bob.close()

    run(test())


def test_the_expected_tone_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    call_bob(550)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in told] == ["calling", "ringing", "answered", "heard", "ended"]
    assert told[3]["duration_ms"] > 300
    assert all(event["call"] == 1 and event["at_ms"] >= 0 for event in told)


def test_another_tone_is_a_failure() -> None:
    with pytest.raises(RequestFailed, match="expected a tone of 700 Hz, but heard 550 Hz"):
        call_bob(700)


def test_no_tone_is_a_failure() -> None:
    with pytest.raises(RequestFailed, match="but heard no tone"):
        call_bob(550, performance=Performance())


def test_a_call_that_nobody_answers_is_a_failure() -> None:
    with pytest.raises(RequestFailed, match="bob did not answer within 1 s"):
        call_bob(550, auto_answer_s=None)


def test_a_refused_call_is_a_failure() -> None:
    with pytest.raises(RequestFailed, match="the call to bob failed: 486 Busy Here"):
        call_bob(550, calls_max=0)


def test_a_registrar_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(RequestFailed, match=r"not registered at 127\.0\.0\.1:9: cannot connect"):
        run(register(settings("alice", transport="TCP"), as_json=True))


def test_answering_two_calls() -> None:
    async def test() -> None:
        listen = await _free_address()
        bob = settings("bob", listen=listen, performance=Performance(550), auto_answer_s=0.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(answer(bob, 2, wishes(None, 440)))
            await asyncio.sleep(0.1)
            for _ in range(2):
                await call(settings("alice", listen, performance=Performance(440)), "bob", wishes(0.3, 550))

    run(test())


async def _free_address() -> Address:
    probe = await DatagramSocket.bind("127.0.0.1", 0, lambda *_: None)
    probe.close()
    await asyncio.sleep(0)
    return probe.local


class Typed:
    """A standard input that somebody types into."""

    def __init__(self) -> None:
        self.lines: queue.Queue[str] = queue.Queue()

    def __iter__(self) -> "Typed":
        return self

    def __next__(self) -> str:
        return self.lines.get()


def test_control_from_standard_input(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        bob, where = await ringing_phone(calls_max=1)
        typed = Typed()
        phone = asyncio.create_task(controlled(settings("alice", where), cast(TextIO, typed), registers=False))
        for line, seen_by_bob in [
            ("call bob", "answered"),
            ("hold 1", "media_changed"),
            ("resume 1", "media_changed"),
            ("call bob", ""),
            ("hangup 1", "ended"),
            *[(line, "") for line in ("", "dance", "hold x", "call tel:1", "quit")],
        ]:
            typed.lines.put(f"{line}\n")
            if seen_by_bob:
                await until(bob, seen_by_bob)
            await asyncio.sleep(0.15)
        await phone
        await bob.close()

    run(test())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first = [event["event"] for event in told if event.get("call") == 1]
    assert first == ["calling", "ringing", "answered", "media_changed", "media_changed", "heard", "ended"]
    assert [event["status"] for event in told if event.get("call") == 2 and event["event"] == "ended"] == [486]
    errors = [event["text"] for event in told if event["event"] == "error"]
    assert [error.partition(":")[0] for error in errors] == [
        "no command 'dance'",
        "cannot make sense of 'hold x'",
        "cannot call 'tel",
    ]


def test_a_port_that_is_taken_over_tcp_alone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        taken = []
        bind = DatagramSocket.bind

        async def bind_where_tcp_is_taken(host: str, port: int, arrived: Any) -> DatagramSocket:
            bound = await bind(host, port, arrived)
            if not taken:
                taken.append(socket.create_server(bound.local))
            return bound

        monkeypatch.setattr(DatagramSocket, "bind", bind_where_tcp_is_taken)
        phone = SoftPhone(settings("alice", Address("127.0.0.1", 5060), transport="TCP"))
        await phone.open()
        await phone.close()
        taken[0].close()

    run(test())
