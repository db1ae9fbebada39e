"""The house keeps its shape: rooms that one finds one's way in, and tests that are where their code is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "p2psip"
TESTS = ROOT / "tests"
UNIT = TESTS / "unit"

FILES_MAX = 14
"""About a dozen; then a folder has rooms of its own."""

LINES_MAX = 600

FUNCTION_LINES_MAX = 60


def _folders(root: Path) -> dict[str, list[Path]]:
    """The Python files of each folder, by its path from the root."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.py")):
        found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    return found


def test_no_folder_of_the_program_holds_more_than_about_a_dozen_files() -> None:
    counts = {folder: sum(path.stem != "__init__" for path in files) for folder, files in _folders(SOURCE).items()}
    assert len(counts) > 40
    assert {folder: count for folder, count in counts.items() if count > FILES_MAX} == {}


def test_no_file_of_the_program_is_longer_than_its_limit() -> None:
    files = [path for found in _folders(SOURCE).values() for path in found]
    lines = {path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}


def test_no_file_of_the_tests_is_longer_than_its_limit() -> None:
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in TESTS.rglob("*.py")}
    assert len(lines) > 300
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}


def test_no_function_of_the_program_is_longer_than_its_limit() -> None:
    long = {
        f"{path.relative_to(SOURCE).as_posix()}: {node.name}": length
        for found in _folders(SOURCE).values()
        for path in found
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_slow_tests_are_where_make_looks_for_them() -> None:
    """Not even to read the others takes less time, in each of its processes."""
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("SLOW := ")]
    folders = {ROOT / name for name in line.partition(" := ")[2].split()}
    slow = [path for path in TESTS.rglob("test_*.py") if "pytest.mark.slow" in path.read_text()]
    assert len(slow) > 60
    assert [path for path in slow if folders.isdisjoint(path.parents)] == [Path(__file__)]


SAME_CLASS = {"Message": "the word of RFC 3261 and of RFC 6940 for what each is about"}
"""Public classes of one name, and why."""

SAME_MODULE = {
    "effects": "what a core wants done: one table a core",
    "errors": "what goes wrong in a layer: one outline a layer",
    "limits": "the bounds of a layer: one table a layer",
    "settings": "what is set: of a peer, of a node, of a Chord",
    "values": "what goes in and out of a core",
    "events": "what a core tells who stands above it",
    "layer": "RFC 3261 calls two of its parts that, and nothing else",
    "message": "each protocol has its messages",
    "framing": "each transport that carries messages has to say where one ends; `wire` declares those of RELOAD",
    "identity": "the word of RFC 3325 and of RFC 6940",
    "plugin": "a topology has one (docs/topologies.md)",
    "topology": "a topology has one (docs/topologies.md)",
    "messages": "a topology has its own (docs/topologies.md)",
    "client": "one end of enrollment: the core, and its shell in `net`",
    "server": "the other end: the core, and its shell in `net`; and the server of RFC 3261",
    "datagrams": "those of this machine, and of one in the simulator",
    "diagnostics": "`wire` declares what the node tells of itself",
    "kinds": "`wire` declares those of which applications make their own",
    "redir": "`wire` declares what the usage stores",
    "sip_registration": "`wire` declares what the usage stores",
}
"""Modules of one name, and why."""


def test_no_two_public_classes_have_one_name() -> None:
    """One noun is one thing: who reads a name need not ask which."""
    where: dict[str, list[str]] = {}
    for path in (path for found in _folders(SOURCE).values() for path in found):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(path.relative_to(SOURCE).as_posix())
    assert len(where) > 500
    twice = {name: paths for name, paths in where.items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in SAME_CLASS} == {}
    assert twice.keys() == SAME_CLASS.keys(), "the list is no longer than need be"


def test_no_two_modules_have_one_name() -> None:
    """But for those of commands, which are called as their users call them."""
    where: dict[str, list[str]] = {}
    for path in (path for found in _folders(SOURCE).values() for path in found):
        name = path.relative_to(SOURCE)
        if path.stem != "__init__" and name.parts[0] != "cli":
            where.setdefault(path.stem, []).append(name.as_posix())
    twice = {name: paths for name, paths in where.items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in SAME_MODULE} == {}
    assert twice.keys() == SAME_MODULE.keys(), "the list is no longer than need be"


def test_unit_tests_are_in_the_folder_of_what_they_test() -> None:
    assert {folder for folder in _folders(UNIT) if folder != "."} <= _folders(SOURCE).keys()
