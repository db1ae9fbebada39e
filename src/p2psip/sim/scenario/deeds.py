"""What a happening does to a stage, and what undoes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from msgspec.structs import replace

from p2psip.sim.scenario.internet_stage import InternetStage
from p2psip.sim.scenario.scenario_terms import Happening
from p2psip.sim.scenario.stage import Stage

DATE_ERROR_S = -86_400.0
TALK_S = 5.0
"""How long people talk if nobody says how long."""

Undo: TypeAlias = Callable[[], str | None]
Later: TypeAlias = Callable[[float, Undo], None]


SHAKING = ("sleep", "reboot_router", "switch_uplink")


class Deeds:
    """Each says what it has done, or nothing if there was nobody to do it to."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.moves = False
        """The last one has changed who is there, or who reaches whom."""
        self.shaken: list[int] = []
        """Peers whose links may work no more since the last one, which nobody can know yet."""

    def do(self, happening: Happening, later: Later) -> str | None:
        """Do it; `later` has what undoes it done, after so many seconds."""
        numbers = [int(name[1:]) for name in happening.who]
        match happening.what:
            case "join":
                touched = [number for number in numbers if self._joins(number)]
            case "crash":
                touched = self._each_up(numbers, self._stage.crash)
            case "power":
                touched = self._each_up(numbers, self._stage.cut_power)
            case "leave":
                touched = self._each_up(numbers, self._stage.leave)
            case "part":
                touched = [number for number in numbers if number in self._stage.up]
                if touched:
                    self._stage.part(touched)
            case "call" | "lookup" | "move" | "remove":
                return self._of_users(happening, later)
            case _:
                touched = [
                    number for number in numbers if number in self._stage.up and self._machine(happening, number)
                ]
                if happening.what in SHAKING:
                    self.shaken = touched
        if not touched:
            return None
        self.moves = True
        if happening.for_s is not None:
            later(happening.for_s, lambda: self._undo(happening, touched))
        return str(_about(happening, "p", touched))

    def _undo(self, happening: Happening, numbers: list[int]) -> str | None:
        self.moves = True
        match happening.what:
            case "crash" | "power" | "leave":
                down = [number for number in numbers if number not in self._stage.up]
                for number in down:
                    self._stage.start(number)
                return f"{_names('p', down)}: back" if down else None
            case "part":
                self._stage.heal()
                return "all reach each other"
            case "sleep":
                awake = [number for number in numbers if number in self._stage.up]
                for number in awake:
                    self._internet.wake(number)
                self.shaken = awake
                return f"{_names('p', awake)}: awake" if awake else None
            case "wrong_date":
                for number in (number for number in numbers if number in self._stage.up):
                    self._internet.set_date(number, 0.0)
                return f"{_names('p', numbers)}: the right date"
            case "full_disk":
                for number in numbers:
                    self._internet.fill_disk(number, is_full=False)
                return f"{_names('p', numbers)}: room on the disk"
            case _:
                raise AssertionError(f"{happening.what} has no end")

    def _joins(self, number: int) -> bool:
        if number in self._stage.known:
            return False
        self._stage.add(number)
        return True

    def _each_up(self, numbers: list[int], do: Callable[[int], None]) -> list[int]:
        """The last one stays: without it there is nothing to come back to."""
        touched = []
        for number in numbers:
            if number in self._stage.up and len(self._stage.up) > 1:
                do(number)
                touched.append(number)
        return touched

    def _of_users(self, happening: Happening, later: Later) -> str | None:
        done = []
        for name in happening.who:
            match happening.what:
                case "call":
                    call = self._stage.call(name, happening.to)
                    if call is not None:
                        talk_s = TALK_S if happening.for_s is None else happening.for_s
                        later(talk_s, partial(call.phone.hang_up, call.number))
                    is_done = call is not None
                case "lookup":
                    is_done = self._stage.look_up(name, int(happening.to[1:])) is not None
                case "move":
                    is_done = self._stage.move(name, int(happening.to[1:]))
                case _:
                    is_done = self._stage.remove(name)
            if is_done:
                done.append(int(name[1:]))
        return str(_about(happening, "u", done)) if done else None

    def _machine(self, happening: Happening, number: int) -> bool:
        match happening.what:
            case "sleep":
                self._internet.sleep(number)
            case "reboot_router":
                return self._internet.reboot_router(number)
            case "switch_uplink":
                return self._internet.switch_uplink(number)
            case "wrong_date":
                self._internet.set_date(number, DATE_ERROR_S)
            case _:
                self._internet.fill_disk(number, is_full=True)
        return True

    @property
    def _internet(self) -> InternetStage:
        assert isinstance(self._stage, InternetStage), "a scenario that was checked"
        return self._stage


def _about(happening: Happening, letter: str, numbers: list[int]) -> Happening:
    return replace(happening, who=tuple(f"{letter}{number}" for number in numbers))


def _names(letter: str, numbers: list[int]) -> str:
    return ", ".join(f"{letter}{number}" for number in numbers)
