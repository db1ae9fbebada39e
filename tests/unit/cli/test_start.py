"""What commands load before they do anything: a Pi takes a second for what a PC does in a fifth of one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
    "cryptography",
    "httpx2",
    "lxml",
    "msgspec",
    "OpenSSL",
    "pydantic",
    "sqlite3",
    "structlog",
    "uvicorn",
}

FOR_COMMANDS = {"httpx2", "pydantic", "starlette", "typer", "uvicorn"}
"""What a running peer has no need of."""


def loaded_by(code: str) -> set[str]:
    """The modules, of the first level, that a process has which did this."""
    shown = "import json, sys; sys.stderr.write(json.dumps([name for name, module in sys.modules.items() if module]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {shown}"], capture_output=True, text=True, timeout=120, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr)}


@pytest.mark.parametrize("arguments", [["status"], ["peer", "run", "--help"], ["line", "list"], ["lookup"]])
def test_a_command_that_only_asks_or_becomes_a_peer_loads_little(arguments: list[str]) -> None:
    code = (
        "import contextlib, p2psip.cli.main as m; import p2psip.daemon.control_client; "
        f"app = m.build({arguments!r})\nwith contextlib.suppress(SystemExit): app({[*arguments, '--help']!r})\npass"
    )
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.long
def test_a_running_peer_has_nothing_that_only_commands_need() -> None:
    code = (
        "import sys; sys.modules['rich'] = None; "
        "import p2psip.cli.run_peer, p2psip.daemon.log.log, p2psip.daemon.service, p2psip.daemon.state.state"
    )
    loaded = loaded_by(code)
    assert "cryptography" in loaded
    assert loaded & FOR_COMMANDS == set()
