"""The processes of the demonstration. None of them outlives it, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

P2PSIP = Path(sys.executable).with_name("p2psip")
"""The command, from the same virtual environment."""

T = TypeVar("T")

COMMAND_MAX_S = 120.0
READY_MAX_S = 120.0
STOP_MAX_S = 3.0

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class StepFailed(Exception):
    """A step of the demonstration did not hold; the message says what came instead."""


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Do all at once; if one fails, the others do not go on."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Actor:
    """A process that plays a part: a server, a peer, a phone. What it logs goes to a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self.is_dismissed = False
        self._process = process

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.returncode is None

    async def line(self, patience_s: float | None = None) -> str:
        """The next line that it prints; StepFailed if it ends instead."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), patience_s)
        except TimeoutError:
            raise StepFailed(f"{self.name} said nothing within {patience_s:g} s") from None
        if not line:
            raise StepFailed(f"{self.name} ended: {self.last_words()}")
        return line.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """A line for its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Its log entries of one kind, the latest last."""
        whole_lines = self.log.read_text().rpartition("\n")[0].splitlines()
        entries = [json.loads(line) for line in whole_lines if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text().splitlines()
        return lines[-1] if lines else "it logged nothing"

    def kill(self) -> None:
        """SIGKILL: like a power cut."""
        self.is_dismissed = True
        _signal(self._process, signal.SIGKILL)

    def ask_to_go(self) -> None:
        """SIGTERM."""
        self.is_dismissed = True
        _signal(self._process, signal.SIGTERM)

    async def gone(self) -> int:
        """Wait for its end; its exit status."""
        return await self._process.wait()


class Processes:
    """Starts them, and ends them all."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "logs"
        self.logs.mkdir()
        self._actors: list[Actor] = []
        self._environment = dict(os.environ)
        if self._environment.pop("PYTHONDONTWRITEBYTECODE", ""):
            # Twenty processes would compile the same modules, each for itself: that doubles the time it all takes.
            self._environment["PYTHONPYCACHEPREFIX"] = str(directory / "pycache")

    async def run(self, *arguments: object) -> str:
        """Run a p2psip command to its end; what it prints."""
        process = await _spawn(arguments, self._environment, asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(COMMAND_MAX_S):
                out, complaint = await process.communicate()
        except TimeoutError:
            raise StepFailed(f"p2psip {arguments[0]} did not end within {COMMAND_MAX_S:g} s") from None
        finally:
            _signal(process, signal.SIGKILL)
            await process.wait()
        if process.returncode != 0:
            raise StepFailed(complaint.decode().strip() or f"p2psip {arguments[0]} ended with {process.returncode}")
        return out.decode()

    async def run_json(self, *arguments: object) -> dict[str, Any]:
        """Run a p2psip command that prints a JSON object."""
        facts: dict[str, Any] = json.loads(await self.run(*arguments, "--json"))
        return facts

    async def start(self, name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Actor:
        """Start a p2psip command that stays."""
        log = self.logs / f"{name}.log"
        given = self._environment | dict(environment or {})
        with log.open("wb") as file:
            process = await _spawn(arguments, given, asyncio.subprocess.PIPE, file.fileno())
        actor = Actor(name, process, log)
        self._actors.append(actor)
        return actor

    def casualties(self) -> list[Actor]:
        """Those that ended though nobody told them to."""
        return [actor for actor in self._actors if not actor.is_running and not actor.is_dismissed]

    async def end_all(self) -> None:
        """Ask all to go, the last that came first, and do not wait long."""
        running = [actor for actor in reversed(self._actors) if actor.is_running]
        for actor in running:
            actor.ask_to_go()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_MAX_S):
                await asyncio.gather(*(actor.gone() for actor in running))
        for actor in running:
            actor.kill()
            await actor.gone()


async def _spawn(
    arguments: tuple[object, ...], environment: Mapping[str, str], stdin: int, stderr: int
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(P2PSIP),
        *map(str, arguments),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=environment,
        # A group of its own: Ctrl-C is for the demonstration, which then ends the others in order.
        process_group=0,
        preexec_fn=_die_with_parent,
    )


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    """To its group; Process.kill() would take away the exit status that asyncio waits for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
