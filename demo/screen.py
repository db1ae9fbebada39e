"""The timeline: what happened, when, in words. Coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.text import Text


class Screen:
    """Prints lines with the seconds since the beginning in front."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._began_at = time.monotonic()
        self._steps = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_at

    def step(self, title: str) -> None:
        """A new step begins."""
        self._steps += 1
        self._console.print()
        self._line(f"{self._steps}. {title}", "bold cyan")

    def fact(self, text: str) -> None:
        """Something that happened in this step."""
        self._line(f"   {text}", "")

    def good(self, text: str) -> None:
        """Something that was hoped for."""
        self._line(f"   {text}", "green")

    def bad(self, text: str) -> None:
        """Something that was hoped against."""
        self._line(f"   {text}", "bold red")

    def text(self, text: str) -> None:
        """Lines that belong to no moment."""
        self._console.print(Text(text))

    def _line(self, text: str, style: str) -> None:
        self._console.print(Text.assemble((f"{self.elapsed_s:6.2f} s  ", "dim"), (text, style)))
