"""What `p2psip phone` does: register, call, answer, or what standard input says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TextIO

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.net.phone.events import PhoneEvent
from p2psip.net.phone.softphone import PhoneSettings, SoftPhone

REGISTER_S_MAX = 35.0
ENDING_S_MAX = 3.0
TONE_TOLERANCE_HZ = 10.0
TONE_SHARE_MIN = 0.5
"""Of the time that was talked, how much must have been the expected tone."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a call is to be like."""

    seconds: float | None
    expect_tone_hz: float | None
    patience_s: float | None
    registers: bool
    as_json: bool


class _Listener:
    """Prints a phone's events as they come, unless `as_json` is None, and waits for the one that is wanted."""

    def __init__(self, phone: SoftPhone, *, as_json: bool | None) -> None:
        self.phone = phone
        self._as_json = as_json

    async def next(self) -> PhoneEvent:
        event = await self.phone.events.get()
        if self._as_json is not None:
            print(event.json if self._as_json else event.line, flush=True)
        return event

    async def until(self, *names: str, patience_s: float | None, what: str) -> PhoneEvent:
        """The next event of one of these names."""
        try:
            async with asyncio.timeout(patience_s):
                while (event := await self.next()).event not in names:
                    pass
        except TimeoutError:
            raise RequestFailed(f"{what} within {patience_s:g} s") from None
        return event

    async def register(self) -> None:
        self.phone.register()
        event = await self.until(
            "registered", "registration_failed", patience_s=REGISTER_S_MAX, what="no answer to REGISTER"
        )
        if event.event == "registration_failed":
            raise RequestFailed(f"not registered at {self.phone.settings.server}: {event.facts['reason']}")


@contextlib.asynccontextmanager
async def _opened(settings: PhoneSettings, *, as_json: bool | None) -> AsyncIterator[_Listener]:
    """A phone that is told to go at the end, and what it says then."""
    phone = SoftPhone(settings)
    await phone.open()
    listener = _Listener(phone, as_json=as_json)
    try:
        yield listener
    finally:
        phone.unregister()
        await phone.close()
        while not phone.events.empty():
            await listener.next()


async def register(settings: PhoneSettings, *, as_json: bool) -> None:
    """Register and unregister."""
    async with _opened(settings, as_json=as_json) as listener:
        await listener.register()


async def call(settings: PhoneSettings, target: str, wishes: Wishes) -> None:
    """Call somebody, talk for a while, hang up."""
    async with _opened(settings, as_json=wishes.as_json) as listener:
        if wishes.registers:
            await listener.register()
        number = listener.phone.call(target)
        event = await listener.until("answered", "ended", patience_s=wishes.patience_s, what=f"{target} did not answer")
        if event.event == "ended":
            raise RequestFailed(f"the call to {target} failed: {event.facts['reason']}")
        await _talk(listener, number, wishes)


async def listen_in(settings: PhoneSettings, target: str, seconds: float, patience_s: float) -> PhoneEvent:
    """Register, call somebody, play a tone for a while, and say nothing; what was heard. Raises RequestFailed."""
    async with _opened(settings, as_json=None) as listener:
        await listener.register()
        number = listener.phone.call(target)
        event = await listener.until("answered", "ended", patience_s=patience_s, what=f"{target} did not answer")
        if event.event == "ended":
            raise RequestFailed(f"the call to {target} failed: {event.facts['reason']}")
        asyncio.get_running_loop().call_later(seconds, listener.phone.hang_up, number)
        return await listener.until("heard", patience_s=seconds + ENDING_S_MAX, what="the call did not end")


async def answer(settings: PhoneSettings, calls: int, wishes: Wishes) -> None:
    """Answer calls, one after the other."""
    async with _opened(replace(settings, calls_max=1), as_json=wishes.as_json) as listener:
        if wishes.registers:
            await listener.register()
        for _ in range(calls):
            event = await listener.until("answered", patience_s=wishes.patience_s, what="nobody called")
            await _talk(listener, event.call or 0, wishes)


async def _talk(listener: _Listener, number: int, wishes: Wishes) -> None:
    """Let the tones play; fail if the call ends too early or the tone is not there."""
    began_s = asyncio.get_running_loop().time()
    timer = None
    if wishes.seconds is not None:
        timer = asyncio.get_running_loop().call_later(wishes.seconds, listener.phone.hang_up, number)
    patience_s = None if wishes.seconds is None else wishes.seconds + ENDING_S_MAX
    tone = await listener.until("heard", patience_s=patience_s, what="the call did not end")
    ended = await listener.until("ended", patience_s=ENDING_S_MAX, what="the call did not end")
    talked_s = asyncio.get_running_loop().time() - began_s
    if timer is not None:
        timer.cancel()
        if ended.facts["by"] != "us":
            raise RequestFailed(f"the call ended after {talked_s:.1f} s: {ended.facts['reason']}")
    if wishes.expect_tone_hz is not None:
        _check_tone(tone, wishes.expect_tone_hz, talked_s)


def _check_tone(heard: PhoneEvent, expected_hz: float, talked_s: float) -> None:
    frequency_hz, duration_ms = heard.facts["frequency_hz"], heard.facts["duration_ms"]
    assert isinstance(duration_ms, int)
    if not isinstance(frequency_hz, float) or abs(frequency_hz - expected_hz) > TONE_TOLERANCE_HZ:
        raise RequestFailed(f"expected a tone of {expected_hz:g} Hz, but {heard.text}")
    if duration_ms < TONE_SHARE_MIN * talked_s * 1000:
        raise RequestFailed(f"expected a tone of {expected_hz:g} Hz for {talked_s:.1f} s, but {heard.text}")


# Control from standard input


async def controlled(settings: PhoneSettings, commands: TextIO, *, registers: bool) -> None:
    """Do what `commands` says, one a line, until `quit` or its end; print every event."""
    lines = _read_lines(commands)
    async with _opened(settings, as_json=True) as listener:
        print(json.dumps({"event": "ready"}), flush=True)
        if registers:
            listener.phone.register()
        printing = asyncio.create_task(_print_all(listener))
        printing.add_done_callback(lambda _: lines.put_nowait(None))
        try:
            while (line := await lines.get()) is not None and line.split() != ["quit"]:
                _obey(listener.phone, line.split())
        finally:
            printing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            # Nobody hears what it says any more.
            await printing


async def _print_all(listener: _Listener) -> None:
    while True:
        await listener.next()


def _read_lines(commands: TextIO) -> asyncio.Queue[str | None]:
    """The lines, read by a thread: a standard input may be a pipe, a terminal or a file."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before its input
            for line in commands:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _obey(phone: SoftPhone, words: list[str]) -> None:
    """One command. What is wrong with it is an event too: the program that drives us reads nothing else."""
    if not words:
        return
    try:
        _command(phone, words[0], words[1:])
    except (LocalMisuse, ValueError, IndexError) as error:
        what = str(error) if isinstance(error, LocalMisuse) else f"cannot make sense of {' '.join(words)!r}"
        print(json.dumps({"event": "error", "text": what}), flush=True)


def _command(phone: SoftPhone, name: str, arguments: list[str]) -> None:
    plain: dict[str, Callable[[], object]] = {"register": phone.register, "unregister": phone.unregister}
    if name in plain:
        plain[name]()
    elif name == "call":
        phone.call(arguments[0])
    elif name in ("answer", "hangup", "hold", "resume", "reject"):
        _command_call(phone, name, arguments)
    else:
        raise LocalMisuse(
            f"no command {name!r}: register, call, answer, reject, hold, resume, hangup, unregister, quit"
        )


def _command_call(phone: SoftPhone, name: str, arguments: list[str]) -> None:
    """A command about one call: the one named, else all there are."""
    for call in [int(arguments[0])] if arguments else phone.agent.calls:
        if name == "answer":
            phone.answer(call)
        elif name == "hangup":
            phone.hang_up(call)
        elif name == "reject":
            phone.reject(call, int(arguments[1]) if len(arguments) > 1 else 486)
        else:
            phone.hold(call, name == "hold")
