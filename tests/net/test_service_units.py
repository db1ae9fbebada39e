"""The units of `p2psip install-service`: run by a real systemd, under all of their restrictions; its tools judge them.

That systemd is PID 1 of namespaces of its own (own_systemd.py).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from own_systemd import STARTED_MAX_S, lacking, main_process, systemd_with

from p2psip.base.errors import P2psipError
from p2psip.daemon.control_client import ask_peer
from p2psip.daemon.joining.service_units import ServiceKind, ServicePlan, program_roots, unit_of

pytestmark = pytest.mark.slow(60)

EXPOSURE_MAX = 2.0
"""Of 10, as systemd-analyze counts: what is below is "OK"; a unit without any of this has 9.2."""


def eventually(what: str, is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + STARTED_MAX_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.fixture
def program() -> Path:
    """The command as it is installed beside this Python."""
    found = Path(sys.executable).with_name("p2psip")
    assert found.exists()
    return found


@pytest.fixture
def machine(tmp_path: Path, program: Path) -> Path:
    """What `p2psip up` has made there, and whoever is to run it owns."""
    state = tmp_path / "state"
    host = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.7"
    command = [program, "up", "club.example", "--directory", state, "--listen", host, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "node_id" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 0
    owner = pwd.getpwnam("nobody").pw_uid
    for path in (state, *state.rglob("*")):
        os.chown(path, owner, owner)
    return state


def status(machine: Path) -> dict[str, object]:
    """What the peer says of itself; nothing if it does not run."""
    try:
        answer = ask_peer(machine / "peer", "status")
    except P2psipError:
        return {}
    assert isinstance(answer, dict)
    return answer


@pytest.mark.skipif(bool(lacking()), reason=f"no systemd of one's own: {lacking()}")
def test_it_runs_under_its_restrictions_and_comes_back(machine: Path, program: Path) -> None:
    plan = ServicePlan(ServiceKind.UP, Path("/var/lib/p2psip"), "p2psip", program, program_roots())
    with systemd_with(unit_of(plan), machine, program_roots()) as log:
        eventually("it is in its overlay", lambda: status(machine).get("member") is True)
        assert status(machine)["memory_kb"] is not None
        pid = main_process("p2psip.cli.run_peer /var/lib/p2psip")
        facts = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
        assert facts["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        assert {int(facts[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {0}
        mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        writable = [line.split()[4] for line in mounts if line.split()[5].startswith("rw")]
        assert "/" not in writable
        assert "/var/lib/p2psip" in writable
        assert not any(place.startswith(("/etc", "/usr", "/boot")) for place in writable)
        # Nothing that it does meets a wall: every line that the kernel refuses would be a warning, or its end.
        assert "ended" not in log.read_text()
        assert "Traceback" not in log.read_text()
        assert "nobody can be enrolled now" not in log.read_text()
        # Its children too: what it fetches anew, it fetches in a process of its own.
        before = status(machine)["up_s"]
        os.kill(pid, signal.SIGKILL)
        eventually("it has gone", lambda: not Path(f"/proc/{pid}").exists())
        eventually("it is back", lambda: status(machine).get("member") is True)
        assert main_process("p2psip.cli.run_peer /var/lib/p2psip") != pid
        assert isinstance(before, float)
    assert not Path("/var/lib/p2psip").exists() or not any(Path("/var/lib/p2psip").glob("service.log"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("kind", ServiceKind)
def test_systemd_understands_it_and_has_little_to_say(kind: ServiceKind, tmp_path: Path, program: Path) -> None:
    plan = ServicePlan(kind, Path("/srv/two words/50%"), "daemon", program, program_roots())
    unit = tmp_path / kind.unit
    unit.write_text(unit_of(plan))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    about = [line for line in verified.stderr.splitlines() if kind.unit in line]
    assert (verified.returncode, about) == (0, [])
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for .*: ([0-9.]+)", judged.stdout)
    assert found, judged.stderr
    print(f"{kind.unit}: exposure {found[1]}")
    assert float(found[1]) <= EXPOSURE_MAX
