"""The foreign peer is foreign: it imports nothing of the program under test."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

HERE = Path(__file__).parent
ALLOWED = {"cryptography", *sys.stdlib_module_names}


def imported(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, wherever in it."""
    found = set()
    for part in ast.walk(ast.parse(path.read_text())):
        if isinstance(part, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in part.names}
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0
            found.add((part.module or "").partition(".")[0])
    return found


def test_the_foreign_peer_imports_nothing_from_src() -> None:
    modules = {path.stem: path for path in HERE.glob("rfc6940_*.py")}
    assert "rfc6940_peer" in modules
    for path in [*modules.values(), HERE / "foreign_member.py"]:
        assert imported(path) <= ALLOWED | modules.keys(), path.name
        text = path.read_text()
        assert "p2psip." not in text, path.name
        assert not any(way in text for way in ("importlib", "__import__", "runpy", "exec(", "eval(")), path.name
