"""What phones made elsewhere do through peers, and which test shows it: read from tests/interop/phone_features.toml,
written into docs/phones.md (`make phone-table`).
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
INTEROP = ROOT / "tests" / "interop"
FEATURES = INTEROP / "phone_features.toml"
PAGE = ROOT / "docs" / "phones.md"
BEGIN, END = "<!-- made by `make phone-table` -->\n", "<!-- until here -->\n"
NONE = "no: "


def features() -> tuple[Sequence[str], Mapping[str, Mapping[str, str]]]:
    """The phones, and by feature what is said of each."""
    read = tomllib.loads(FEATURES.read_text())
    return read["phones"], read["features"]


def names_in(file: str) -> set[str]:
    """The tests of a file of tests/interop."""
    found = ast.walk(ast.parse((INTEROP / file).read_text()))
    return {each.name for each in found if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")}


def table() -> str:
    """As it stands in the page."""
    phones, said = features()
    notes: list[str] = []
    lines = [f"| | {' | '.join(phones)} |", f"|{'---|' * (len(phones) + 1)}"]
    for feature, by_phone in said.items():
        lines.append(f"| {feature} | {' | '.join(_cell(by_phone[phone], notes) for phone in phones)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""])


def _cell(word: str, notes: list[str]) -> str:
    if not word.startswith(NONE):
        file, _, test = word.partition("::")
        return f'[yes](../tests/interop/{file} "{test}")'
    why = word.removeprefix(NONE)
    if why not in notes:
        notes.append(why)
    return f"– ({notes.index(why) + 1})"


def main() -> None:
    """Write the table anew."""
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
