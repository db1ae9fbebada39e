"""What happens on stage, step by step, and what must hold in each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.calls import Call, Talk, place
from demo.overlay import NAME, Overlay, Site
from demo.phones import Phone
from demo.processes import Processes, StepFailed, together
from demo.screen import Screen
from p2psip.base.errors import P2psipError

ALICE_HZ, BOB_HZ, BOB_MOVED_HZ = 440, 550, 660
ANSWER_MAX_S = 15.0
REPAIR_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Roles:
    """Which peer plays which part; the phones live on peers that do not keep bob's record and its first copy."""

    keeper: Site
    first_replica: Site
    alice: Site
    bob: Site
    bob_next: Site


class Story:
    """The demonstration from its first step to its last."""

    def __init__(self, directory: Path, processes: Processes, screen: Screen, *, sabotage: bool = False) -> None:
        self.overlay = Overlay(directory, processes)
        self.failed_step = ""
        self._processes = processes
        self._screen = screen
        self._sabotage = sabotage

    async def play(self) -> None:
        """All steps. Raises StepFailed; `failed_step` is then the title of the step."""
        await self._found()
        await self._join()
        self.roles = await self._cast()
        await self._register()
        await self._first_call()
        await self._call_after_crash()
        await self._call_after_move()

    @contextlib.contextmanager
    def _step(self, title: str) -> Iterator[None]:
        self._screen.step(title)
        try:
            yield
            if lost := self._processes.casualties():
                raise StepFailed(f"{lost[0].name} ended by itself: {lost[0].last_words()}")
        except (StepFailed, P2psipError) as failure:
            self.failed_step = title
            raise StepFailed(str(failure)) from failure

    # The overlay

    async def _found(self) -> None:
        with self._step(f"An overlay is founded: {NAME}"):
            await self.overlay.found()
            self._screen.fact(f"trust anchor {self.overlay.fingerprint[:16]}..., accounts of alice and bob")
            self._screen.fact(f"enrollment server at {self.overlay.enrollment_url}; no call goes through it")

    async def _join(self) -> None:
        with self._step("Five peers enroll and join"):
            first, *others = self.overlay.sites
            await together(self._begin(first), *map(self.overlay.enroll, others))
            await together(*map(self.overlay.run, others))
            await self.overlay.settle()
            for site in self.overlay.ring:
                status = await site.ask("status")
                self._screen.good(f"{_peer(site):<18} joined in {_joined_ms(status)}; phones: server {site.phones_at}")
            names = " -> ".join(site.name for site in self.overlay.ring)
            self._screen.fact(f"the ring is closed: {names} -> {self.overlay.ring[0].name}")

    async def _begin(self, first: Site) -> None:
        await self.overlay.enroll(first)
        await self.overlay.run(first)

    # Who plays what

    async def _cast(self) -> Roles:
        with self._step("Where will bob's record live?"):
            report = await self._look_up(self.overlay.sites[0], "bob")
            keeper = self.overlay.site(report["responsible"]["node_id"])
            first_replica = self.overlay.site(report["replicas"][0]["node_id"])
            self._check_keeper(keeper, report["resource_id"])
            others = [site for site in self.overlay.sites if site not in (keeper, first_replica)]
            return Roles(keeper, first_replica, *others)

    def _check_keeper(self, keeper: Site, resource_id: str) -> None:
        """Chord: the first peer at or after the Resource-ID, around the ring."""
        ring = self.overlay.ring
        expected = next((site for site in ring if site.node_id >= resource_id), ring[0])
        if keeper is not expected:
            raise StepFailed(f"{expected.name} comes next after {resource_id[:8]} in the ring, not {keeper.name}")

    async def _look_up(self, asked: Site, user: str) -> dict[str, Any]:
        report: dict[str, Any] = await asked.ask("lookup", uri=f"sip:{user}@{NAME}")
        if report["error"] or not report["responsible"] or not report["replicas"]:
            raise StepFailed(f"lookup of {user} at {asked.name}: {report['error'] or 'nobody keeps copies of it'}")
        hops = [hop for hop in report["path"] if hop["node_id"] != asked.node_id]
        way = [asked.name, *(f"{self._name(hop)} ({hop['rtt_ms']:.1f} ms)" for hop in hops)]
        self._screen.fact(f"lookup of {report['aor']}, Resource-ID {report['resource_id'][:8]}: {' -> '.join(way)}")
        keeper, copies = self._name(report["responsible"]), " and ".join(map(self._name, report["replicas"]))
        if report["entries"]:
            self._screen.good(f"{keeper} keeps the record, {copies} hold copies")
        else:
            self._screen.good(f"it will be kept by {keeper}, with copies at {copies}")
        for entry in report["entries"]:
            self._screen.fact(f"it says: {user} is at {self.overlay.site(entry['peer']).name}")
        return report

    def _name(self, hop: dict[str, Any]) -> str:
        return self.overlay.site(hop["node_id"]).name

    # The phones

    async def _register(self) -> None:
        with self._step("Two phones register with two peers"):
            await together(self._add_lines(), self._switch_phones_on())
            await self._registers(self.alice)
            await self._registers(self.bob)
            self._screen.fact(f"bob has another line at {self.roles.bob_next.name}, without a phone as yet")
            await self._look_up(self.roles.alice, "bob")

    async def _add_lines(self) -> None:
        """A user may have phones where there is a line for him."""
        lines = [("alice", self.roles.alice), ("bob", self.roles.bob), ("bob", self.roles.bob_next)]
        await together(*(self.overlay.add_line(user, site) for user, site in lines))
        await together(*(self._check_stored(user, site) for user, site in lines))

    async def _check_stored(self, user: str, site: Site) -> None:
        """Bob's record must be where the lookup said that it would be: there it will be killed."""
        record = await self.overlay.stored(user, site)
        found = [self.overlay.site(node_id) for node_id in (record["responsible"], *record["replicas"])]
        expected = [self.roles.keeper, self.roles.first_replica]
        if user == "bob" and found[:2] != expected:
            raise StepFailed(f"bob's record is kept by {_names(found)}; it should be by {_names(expected)}")

    async def _switch_phones_on(self) -> None:
        self.alice, self.bob = await together(
            self._phone("alice", self.roles.alice, ALICE_HZ), self._phone("bob", self.roles.bob, BOB_HZ)
        )

    async def _phone(self, user: str, site: Site, tone_hz: int) -> Phone:
        return await Phone.switch_on(user, site, tone_hz, self.overlay, self._processes)

    async def _registers(self, phone: Phone) -> None:
        began_at = time.monotonic()
        await phone.register()
        took_ms = (time.monotonic() - began_at) * 1000
        self._screen.good(f"{phone.user}'s phone registered at {phone.site.name} in {took_ms:.0f} ms")

    # The calls

    async def _first_call(self) -> None:
        with self._step(f"alice calls sip:bob@{NAME}"):
            await self._call(ANSWER_MAX_S)

    async def _call_after_crash(self) -> None:
        with self._step("Two peers die, and alice calls again"):
            killed_at = self._kill()
            call = await self._call(REPAIR_MAX_S)
            took_s = call.answered_at - killed_at
            if took_s > REPAIR_MAX_S:
                raise StepFailed(f"the call went through only {took_s:.1f} s after the crash")
            self._screen.good(f"alice and bob were connected {took_s:.2f} s after the crash, at the first attempt")
            await self._look_up(self.roles.alice, "bob")

    def _kill(self) -> float:
        """All at once; when."""
        victims = [self.roles.keeper, self.roles.first_replica, *([self.roles.bob] if self._sabotage else [])]
        for site in victims:
            assert site.actor is not None
            site.actor.kill()
        names = " and ".join(site.name for site in victims)
        self._screen.bad(f"SIGKILL: {names} are gone, and with them bob's record and its first copy")
        return time.monotonic()

    async def _call_after_move(self) -> None:
        roles = self.roles
        with self._step(f"bob moves to {roles.bob_next.name}, and alice calls again"):
            await self.bob.switch_off()
            self._screen.fact(f"bob's phone at {roles.bob.name} is switched off")
            self.bob = await self._phone("bob", roles.bob_next, BOB_MOVED_HZ)
            await self._registers(self.bob)
            await self._call(ANSWER_MAX_S)

    async def _call(self, patience_s: float) -> Call:
        call = await place(self.alice, self.bob, f"sip:bob@{NAME}", patience_s)
        self._screen.good(f"bob's phone rang {call.rang_ms:.0f} ms after alice dialled; bob answered")
        self._screen.fact("from hop to hop, the INVITE there and the ringing back:")
        for hop in call.hops:
            self._screen.fact(f"  {hop}")
        for talk in await call.talk():
            self._tell_heard(talk)
        self._screen.fact("alice hung up")
        return call

    def _tell_heard(self, talk: Talk) -> None:
        packets = f"{talk.received} packets" + (f", {talk.lost} lost" if talk.lost else "")
        self._screen.good(f"{talk.user} heard {talk.frequency_hz:.0f} Hz for {talk.duration_s:.1f} s ({packets})")


def _names(sites: list[Site]) -> str:
    return ", ".join(site.name for site in sites)


def _peer(site: Site) -> str:
    return f"{site.name} ({site.node_id[:8]})"


def _joined_ms(status: dict[str, Any]) -> str:
    return f"{status['joined_after_ms']:.0f} ms"
