"""The phones of the demonstration: `p2psip phone --control`, and what they tell."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from demo.overlay import Overlay, Site
from demo.processes import READY_MAX_S, Actor, Processes, StepFailed

RINGS_MS = 500
REGISTER_MAX_S = 60.0


class Phone:
    """A phone at a site. It answers by itself after half a second of ringing."""

    def __init__(self, user: str, site: Site, tone_hz: int, actor: Actor) -> None:
        self.user = user
        self.site = site
        self.tone_hz = tone_hz
        self._actor = actor
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def switch_on(cls, user: str, site: Site, tone_hz: int, overlay: Overlay, processes: Processes) -> Self:
        """Start it; it does not register yet."""
        actor = await processes.start(
            f"phone-{user}-{site.name}",
            *("phone", "--control", "--no-register", "--server", site.phones_at, "--user", user),
            *("--password-env", "PHONE_PASSWORD", "--tone", tone_hz, "--auto-answer", RINGS_MS),
            environment={"PHONE_PASSWORD": overlay.phone_passwords[user]},
        )
        await actor.line(READY_MAX_S)
        return cls(user, site, tone_hz, actor)

    async def register(self) -> None:
        """Register with the peer of its site."""
        self._actor.tell("register")
        event = await self.event("registered", "registration_failed", patience_s=REGISTER_MAX_S)
        if event["event"] == "registration_failed":
            raise StepFailed(f"{self.user}'s phone could not register at {self.site.name}: {event['reason']}")

    def call(self, uri: str) -> None:
        """Dial."""
        self._actor.tell(f"call {uri}")

    def hang_up(self) -> None:
        """End all calls."""
        self._actor.tell("hangup")

    async def switch_off(self) -> None:
        """Unregister and end."""
        self._actor.is_dismissed = True
        self._actor.tell("quit")
        if await self._actor.gone() != 0:
            raise StepFailed(f"{self.user}'s phone at {self.site.name} did not end well: {self._actor.last_words()}")

    async def event(self, *names: str, patience_s: float) -> dict[str, Any]:
        """The next event of one of these names; those before it do not matter."""
        try:
            async with asyncio.timeout(patience_s):
                while (event := await self._events.get())["event"] not in names:
                    if event["event"] in ("error", "gone"):
                        raise StepFailed(f"{self.user}'s phone: {event['text']}")
        except TimeoutError:
            wanted = " nor ".join(name.replace("_", " ") for name in names)
            raise StepFailed(f"{self.user}'s phone: not {wanted} within {patience_s:g} s") from None
        return event

    async def _read(self) -> None:
        while True:
            try:
                line = await self._actor.line()
            except StepFailed as failure:
                self._events.put_nowait({"event": "gone", "text": str(failure)})
                return
            self._events.put_nowait(json.loads(line))
