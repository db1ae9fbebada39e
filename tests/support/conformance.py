"""Which test holds which MUST of RFC 6940: read from the marks in tests/rfc, written to docs/conformance.md.

`python tests/support/conformance.py` writes the page anew (`make conformance`); with a seed and a number behind it
it prints so many of the clauses that tests hold, chosen by chance, to be broken on purpose (docs/mutations.md).
"""

from __future__ import annotations

import ast
import random
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "tests/rfc/musts_6940.toml"
PAGE = ROOT / "docs/conformance.md"

HEAD = """\
# Conformance with RFC 6940

Each sentence of RFC 6940 that says MUST, and the tests that hold it; or why there is none. This page is made by
`make conformance` from the marks in [tests/rfc](../tests/rfc); do not edit it. A number such as 6.1.1/2 is the
section, and which MUST of it.

{tested} of {all} are held by tests; {otherwise} is done otherwise, as its row says; {untested} have none, for the
reason given; {open} wait for theirs. For thirty of them it was tried whether [their tests notice](mutations.md) that
they are broken.
"""


@dataclass(frozen=True, slots=True)
class Must:
    """One sentence of the document."""

    number: str
    text: str
    untested: str
    """Why no test can hold it; empty if one can."""
    otherwise: str
    """What is done that is not what it says, and why; empty where it is kept."""

    @property
    def section(self) -> str:
        """The section that it stands in."""
        return self.number.partition("/")[0]


def catalogue() -> list[Must]:
    """All of them, in the order of the document."""
    entries = tomllib.loads(CATALOGUE.read_text())["must"]
    return [
        Must(entry["id"], entry["text"], entry.get("untested", ""), entry.get("otherwise", "")) for entry in entries
    ]


def held() -> dict[str, list[str]]:
    """The tests of each MUST, as "file::test"."""
    tests: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "mark.must" in (text := path.read_text()):
            for name, numbers in _marked(ast.parse(text)):
                for number in numbers:
                    tests[number].append(f"{path.relative_to(ROOT)}::{name}")
    return dict(tests)


def _marked(module: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.must":
                    yield node.name, [str(ast.literal_eval(number)) for number in mark.args]


def sample(seed: int, count: int) -> list[Must]:
    """Clauses that tests hold, by chance; for the same seed the same, as long as the same clauses have tests."""
    tests = held()
    return random.Random(seed).sample([must for must in catalogue() if must.number in tests], count)


def page() -> str:
    """docs/conformance.md."""
    musts, tests = catalogue(), held()
    counts = {
        "all": len(musts),
        "tested": sum(1 for must in musts if must.number in tests and not must.otherwise),
        "otherwise": sum(1 for must in musts if must.otherwise),
        "untested": sum(1 for must in musts if must.untested),
        "open": sum(1 for must in musts if must.number not in tests and not must.untested),
    }
    lines = [HEAD.format(**counts)]
    section = ""
    for must in musts:
        if must.section != section:
            section = must.section
            lines.append(f"\n## Section {section}\n\n| | what it says | held by |\n|---|---|---|")
        lines.append(f"| {must.number} | {_cell(must.text)} | {_held_by(must, tests.get(must.number, []))} |")
    return "\n".join(lines) + "\n"


def _held_by(must: Must, tests: list[str]) -> str:
    if tests:
        links = [f"[{test.partition('::')[2]}](../{test.partition('::')[0]})" for test in tests]
        return "<br>".join([f"**otherwise:** {_cell(must.otherwise)}", *links] if must.otherwise else links)
    return f"no test: {_cell(must.untested)}" if must.untested else "**not yet**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    if sys.argv[1:]:
        for must in sample(*map(int, sys.argv[1:])):
            print(must.number, must.text, *held()[must.number], sep="\n    ")
    else:
        PAGE.write_text(page())
