"""sipvicious (from PyPI) as those who scan the Internet for PBXs use it: svmap, svwar, svcrack.

It is under the GPL, so it is a program that is run, in a virtual environment of its own, and nothing of it is imported.
`.ci/run` makes that environment; by hand: python3 -m venv .tools/sipvicious && .tools/sipvicious/bin/pip install
sipvicious.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from free_ports import free_port

PROGRAMS = Path(__file__).parents[2] / ".tools/sipvicious/bin"

needs_sipvicious = pytest.mark.skipif(
    not (PROGRAMS / "sipvicious_svwar").exists(), reason="sipvicious (PyPI) is not installed in .tools/sipvicious"
)

_ROW = re.compile(r"^\|\s*([^|]+?)\s*\|\s*([^|]+?)\s*\|", re.MULTILINE)


def scan(program: str, server: str, *arguments: str, timeout_s: float = 120.0) -> tuple[dict[str, str], str]:
    """What it has found: the first two columns of its table, without the heading; and all that it says."""
    host, _, port = server.rpartition(":")
    command = [str(PROGRAMS / f"sipvicious_{program}"), *arguments, "-p", port, "-P", str(free_port()), host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    said = done.stdout + done.stderr
    return dict(_ROW.findall(done.stdout)[1:]), said
