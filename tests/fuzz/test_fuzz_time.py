"""What `make fuzz` runs in CI (tests/support/fuzz_time.py): it is there, and a failure says how to have it again."""

from __future__ import annotations

import fuzz_time
import pytest


def fails(seed: int) -> None:
    """A target of which something does not hold."""
    assert seed != 8, "eight"


def test_every_target_is_there() -> None:
    """STUN, TURN and the demultiplexer; each takes a seed."""
    found = fuzz_time.targets()
    assert {name.partition(":")[0] for name in found} == {"STUN", "TURN", "demultiplexer"}
    assert len(found) == len(fuzz_time.TARGETS) + 1
    for name in ("STUN: parsers", "demultiplexer"):
        found[name](1)


def test_a_failure_says_its_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From FUZZ_SEED on, one after the other."""
    monkeypatch.setattr(fuzz_time, "targets", lambda: {"demultiplexer": fails})
    monkeypatch.setenv("FUZZ_SEED", "7")
    with pytest.raises(AssertionError, match="eight"):
        fuzz_time.main()
    assert capsys.readouterr().err == "fuzz: demultiplexer: FUZZ_SEED=8 has it again\n"


def test_time_is_all_that_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With none nothing is tried."""
    monkeypatch.setenv("FUZZ_S", "0")
    assert fuzz_time.main() == 0
    assert capsys.readouterr().out.startswith("fuzz: 0 s, seeds up to ")
