"""The file with a line of JSON for each seed that was played, by which a long run goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.sim.scenario.scenario_terms import Scenario

Figures = dict[str, Any]


class SeedResults:
    """All that is in it counts. It is of one scenario: where that has changed nothing that was played says anything."""

    def __init__(self, path: Path | None, scenario: Scenario) -> None:
        """Raises LocalMisuse for a file that cannot be read or written, or is none of this scenario's. With no path
        nothing is kept.
        """
        self.failed: dict[int, str] = {}
        """What was wrong, by seed."""
        self.known: set[int] = set()
        self._path = path
        self._scenario = hashlib.sha256(msgspec.json.encode(scenario)).hexdigest()[:16]
        if path is not None:
            if path.exists():
                self._read(path)
            # That it cannot be written is said before the first run, and not after it.
            self._append(path, "")

    def add(self, figures: Figures) -> str:
        """One more; its line. Raises LocalMisuse if it cannot be written."""
        line = json.dumps({"scenario": self._scenario, **figures})
        self._take(figures)
        if self._path is not None:
            self._append(self._path, f"{line}\n")
        return line

    def _append(self, path: Path, text: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise LocalMisuse(f"cannot write {path}: {error.strerror}") from None

    def _take(self, figures: Figures) -> None:
        seed = int(figures["seed"])
        self.known.add(seed)
        if figures["failure"]:
            self.failed[seed] = str(figures["failure"]["why"])

    def _read(self, path: Path) -> None:
        """Line by line: there may be a hundred thousand. A last one that was cut off has not been played."""
        whole = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break
                    self._read_line(line, f"{path}: line {number}")
                    whole += len(line)
            if whole < path.stat().st_size:
                os.truncate(path, whole)
        except OSError as error:
            raise LocalMisuse(f"cannot read {path}: {error.strerror}") from None

    def _read_line(self, line: bytes, where: str) -> None:
        try:
            figures = json.loads(line)
            scenario = figures["scenario"]
            self._take(figures)
        except (ValueError, KeyError, TypeError):
            raise LocalMisuse(f"{where} is no result of a seed: remove it, or take another file") from None
        if scenario != self._scenario:
            raise LocalMisuse(
                f"{where} is of another scenario, or of this one before it was changed: take another file"
            )
