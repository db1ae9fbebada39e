"""Commands as somebody types them: each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

P2PSIP = [sys.executable, "-c", "from p2psip.cli.main import main; main()"]


def p2psip(*arguments: object, status: int = 0) -> str:
    """Run the command to its end; what it prints."""
    command = [*P2PSIP, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def as_account(name: str, password_file: Path, *, url: str, fingerprint: str) -> list[str]:
    """What `peer init` wants to know of the overlay and of the account with which it enrolls."""
    overlay = ["--config", url, "--fingerprint", fingerprint]
    return [*overlay, "--user", name, "--password-file", str(password_file)]
