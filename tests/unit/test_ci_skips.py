"""What is left out in CI has failed (tests/support/ci_skips.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ci_skips import not_in_ci

ROOT = Path(__file__).parents[2]


def left_out(reason: str) -> pytest.TestReport:
    """What pytest makes of a test that was skipped."""
    return pytest.TestReport("one", ("a.py", 1, "one"), {}, "skipped", ("a.py", 1, f"Skipped: {reason}"), "setup")


@pytest.mark.parametrize(
    ("ci", "lacks", "outcome"),
    [
        ("", "", "skipped"),
        ("false", "", "skipped"),
        ("true", "", "failed"),
        ("1", "", "failed"),
        ("true", "Chromium, JsSIP", "skipped"),
        ("true", "sipp", "failed"),
    ],
)
def test_what_a_machine_lacks_fails_ci(ci: str, lacks: str, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what `.ci/run` says it could not get."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("CI_LACKS", lacks)
    report = not_in_ci(left_out("JsSIP is not installed"))
    assert report.outcome == outcome
    assert "JsSIP is not installed" in str(report.longrepr)


def test_what_no_machine_has_and_what_is_known_to_fail_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that left Python; a test that is expected to fail."""
    monkeypatch.setenv("CI", "true")
    assert not_in_ci(left_out("audioop left Python with 3.13")).outcome == "skipped"
    expected = left_out("it fails")
    expected.wasxfail = "it fails"  # type: ignore[attr-defined]
    assert not_in_ci(expected).outcome == "skipped"


@pytest.mark.long
def test_a_run_where_a_program_is_lacking() -> None:
    """A real file of tests, on a machine without the program that it is about."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    environment = {**os.environ, "CI": "true", "CI_LACKS": "", "PATH": "/nowhere"}
    wanted = [*command, "-k", "options_of", ROOT / "tests/interop/test_sipsak.py"]
    run = subprocess.run(wanted, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "sipsak (Debian: sipsak) is not installed" in run.stdout
    assert run.returncode == 1, run.stdout
