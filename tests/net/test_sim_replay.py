"""Seed and commit replay a run exactly, whatever the interpreter's hashes are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "replayed.py"


def runs(seed: str, hash_seeds: Iterable[str]) -> list[list[str]]:
    """What processes with these hash seeds print, all at once."""
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), seed],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for hash_seed in hash_seeds
    ]
    printed = []
    for process in started:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        printed.append(output.split())
    return printed


@pytest.mark.long
def test_three_hash_seeds_and_one_transcript() -> None:
    """Every packet, every sync, everything that a peer tells, with its time: thousands of entries, all the same."""
    first, second, third = runs("replay", ("1", "2", "3"))
    assert first == second == third
    over_ip, _, streams, _, direct, _ = first
    assert int(over_ip) > 5000
    assert int(streams) > 500
    assert int(direct) > 500


@pytest.mark.long
def test_another_seed_is_another_run() -> None:
    """The digest is of something that chance decides."""
    (printed,) = runs("replay", ("1",))
    (others,) = runs("another", ("1",))
    assert all(digest != other for digest, other in zip(printed[1::2], others[1::2], strict=True))
