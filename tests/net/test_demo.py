"""`make demo ONCE=1`, as its user has it: every step holds, or the one that does not is named; nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_overlay import eventually

ROOT = Path(__file__).parents[2]
LIMIT_S = 400

STEPS = """\
1. An overlay is founded: demo.example
2. Five peers enroll and join
3. Where will bob's record live?
4. Two phones register with two peers
5. alice calls sip:bob@demo.example
6. Two peers die, and alice calls again
7. bob moves to
8. Every step held
""".splitlines()


def start(directory: Path, *options: str) -> subprocess.Popen[str]:
    """The demonstration, with all that it makes in `directory`."""
    command = [sys.executable, "-m", "demo", "--once", *options]
    environment = {**os.environ, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


def processes_of(directory: Path) -> list[str]:
    """The command lines of processes that still have to do with `directory`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = entry.read_bytes()
        except OSError:
            continue
        if f"TMPDIR={directory}".encode() in environment.split(b"\0"):
            found.append(entry.parent.name)
    return found


@pytest.mark.slow(90)
def test_every_step_holds_and_nothing_stays_behind(tmp_path: Path) -> None:
    story, _ = (demo := start(tmp_path)).communicate(timeout=LIMIT_S)
    assert demo.returncode == 0, story
    assert [step for step in STEPS if step not in story] == []
    # Each call had its own tones: 550 Hz from bob, 660 Hz from his phone at the other peer, 440 Hz from alice.
    heard = [line.partition(" s ")[2].partition(" for ")[0].strip() for line in story.splitlines() if " heard " in line]
    first_two = ["alice heard 550 Hz", "bob heard 440 Hz"] * 2
    assert heard == [*first_two, "alice heard 660 Hz", "bob heard 440 Hz"]
    assert story.count("joined in") == 5
    assert "at the first attempt" in story
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.slow(90)
def test_a_step_that_does_not_hold_is_named_and_its_logs_are_kept(tmp_path: Path) -> None:
    """With the peer of bob's phone dead as well, nobody can reach him."""
    story, _ = (demo := start(tmp_path, "--sabotage")).communicate(timeout=LIMIT_S)
    assert demo.returncode == 1
    # Where bob's peer had the last copy of his record, nobody knows him any more.
    assert re.search(r"FAILED: the call ended unanswered: (480 Temporarily Unavailable|404 Not Found)", story)
    assert "The step that failed: Two peers die, and alice calls again" in story
    (kept,) = tmp_path.iterdir()
    assert f"the logs in {kept}/logs" in story
    assert "enrollment.log" in {log.name for log in (kept / "logs").iterdir()}
    assert processes_of(tmp_path) == []


@pytest.mark.slow(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_its_processes_end_with_it(tmp_path: Path, number: signal.Signals) -> None:
    """However it is ended; after Ctrl-C and SIGTERM what it made is gone as well."""
    demo = start(tmp_path)
    assert demo.stdout is not None
    story = ""
    while "4. Two phones" not in (line := demo.stdout.readline()):
        assert line, f"it has ended before: {story}"
        story += line
    assert len(processes_of(tmp_path)) > 6
    demo.send_signal(number)
    demo.communicate(timeout=LIMIT_S)
    eventually("its processes have ended", lambda: not processes_of(tmp_path))
    assert demo.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert bool(list(tmp_path.iterdir())) == (number == signal.SIGKILL)
