"""Seed and commit replay a run exactly, whatever the interpreter's hashes are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "support" / "replayed.py"


def runs(seeds: Iterable[tuple[str, str]]) -> list[list[str]]:
    """What processes with these seeds and hash seeds print, all at once."""
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), seed],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, hash_seed in seeds
    ]
    printed = []
    for process in started:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        printed.append(output.split())
    return printed


def test_three_hash_seeds_and_one_transcript_and_another_seed_is_another_run() -> None:
    """Every packet, every sync, everything that a peer tells, with its time: thousands of entries, all the same; and
    the digest is of something that chance decides.
    """
    first, second, third, others = runs([*(("replay", hash_seed) for hash_seed in "123"), ("another", "1")])
    assert first == second == third
    over_ip, _, streams, _, direct, _ = first
    assert int(over_ip) > 5000
    assert int(streams) > 500
    assert int(direct) > 500
    assert all(digest != other for digest, other in zip(first[1::2], others[1::2], strict=True))
