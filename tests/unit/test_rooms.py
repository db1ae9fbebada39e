"""The house keeps its shape: rooms that one finds one's way in, and tests that are where their code is."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "p2psip"
UNIT = ROOT / "tests" / "unit"

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


def test_unit_tests_are_in_the_folder_of_what_they_test() -> None:
    assert {folder for folder in _folders(UNIT) if folder != "."} <= _folders(SOURCE).keys()
