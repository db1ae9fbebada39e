"""One call from alice to bob: placed, followed from hop to hop, listened to, ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from demo.overlay import POLL_S
from demo.phones import Phone
from demo.processes import StepFailed, together
from p2psip.net.phone.scripts import TONE_TOLERANCE_HZ

TALK_S = 2.0
HEARD_SHARE_MIN = 0.75
"""How much of the talk must have been the other's tone."""
ENDING_MAX_S = 5.0
LOG_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Hop:
    """How long it took from one to the other and back: the INVITE there, the ringing back."""

    sender: str
    receiver: str
    took_ms: float
    also: str = ""

    def __str__(self) -> str:
        # A phone tells whole milliseconds, a peer tenths of them: the difference may be a little less than nothing.
        return f"{f'{self.sender} -> {self.receiver}':<28} {max(0.0, self.took_ms):7.1f} ms{self.also}"


@dataclass(frozen=True, slots=True)
class Talk:
    """What somebody heard."""

    user: str
    frequency_hz: float
    duration_s: float
    received: int
    lost: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was answered."""

    caller: Phone
    callee: Phone
    answered_at: float
    rang_ms: float
    hops: tuple[Hop, ...]

    async def talk(self) -> list[Talk]:
        """Let both talk, hang up, and say what they heard; StepFailed if it was not the other's tone."""
        await asyncio.sleep(TALK_S)
        self.caller.hang_up()
        heard = [await _heard(self.caller, self.callee.tone_hz), await _heard(self.callee, self.caller.tone_hz)]
        for phone, by in ((self.caller, "us"), (self.callee, "them")):
            await _ended(phone, by)
        return heard


async def place(caller: Phone, callee: Phone, uri: str, patience_s: float) -> Call:
    """Dial, and wait until it is answered. A call that fails is not tried again."""
    earlier = [len(_carried(phone)) for phone in (caller, callee)]
    caller.call(uri)
    ringing: dict[str, Any] = {}
    while (event := await caller.event("ringing", "answered", "ended", patience_s=patience_s))["event"] != "answered":
        if event["event"] == "ended":
            raise StepFailed(f"the call ended unanswered: {event['reason']}")
        ringing = ringing or event
    answered_at = time.monotonic()
    await callee.event("answered", patience_s=ENDING_MAX_S)
    rang_ms = (ringing or event)["after_ms"]
    here, there = await together(_rang_ms(caller, earlier[0]), _rang_ms(callee, earlier[1]))
    hops = (
        Hop(f"{caller.user}'s phone", caller.site.name, rang_ms - here),
        Hop(caller.site.name, callee.site.name, here - there, ", looking bob up and connecting the two included"),
        Hop(callee.site.name, f"{callee.user}'s phone", there),
    )
    return Call(caller, callee, answered_at, rang_ms, hops)


def _carried(phone: Phone) -> list[float]:
    """Of each answered INVITE that the peer of this phone carried, how long after it the peer passed ringing back."""
    assert phone.site.actor is not None
    entries = phone.site.actor.logged("request carried")
    return [entry["rang_after_ms"] for entry in entries if (entry["method"], entry["status"]) == ("INVITE", 200)]


async def _rang_ms(phone: Phone, earlier: int) -> float:
    """The same of the INVITE after the `earlier` ones; the peer logs it when it has passed the answer on."""
    carried: list[float] = []
    try:
        async with asyncio.timeout(LOG_MAX_S):
            while len(carried) <= earlier:
                carried = _carried(phone)
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise StepFailed(f"the log of {phone.site.name} does not tell of the INVITE") from None
    return carried[-1]


async def _heard(phone: Phone, tone_hz: int) -> Talk:
    event = await phone.event("heard", patience_s=ENDING_MAX_S)
    frequency_hz, duration_s = event["frequency_hz"] or 0.0, event["duration_ms"] / 1000
    if abs(frequency_hz - tone_hz) > TONE_TOLERANCE_HZ or duration_s < HEARD_SHARE_MIN * TALK_S:
        raise StepFailed(
            f"{phone.user} should have heard {tone_hz} Hz for {TALK_S:g} s, and heard {frequency_hz:g} Hz"
            f" for {duration_s:.1f} s ({event['received']} packets, {event['lost']} lost)"
        )
    return Talk(phone.user, frequency_hz, duration_s, event["received"], event["lost"])


async def _ended(phone: Phone, by: str) -> None:
    event = await phone.event("ended", patience_s=ENDING_MAX_S)
    if event["by"] != by:
        raise StepFailed(f"the call of {phone.user} was ended by {event['by']}: {event['reason']}")
