"""Which test holds which MUST of RFC 6940, 3261 and others: read from the marks of tests, written to
docs/conformance.md.

`python tests/support/conformance.py` writes the page anew (`make conformance`); with a seed and a number behind it
it prints so many of the clauses that tests hold, chosen by chance, to be broken on purpose (docs/mutations.md): of all
documents, or of those whose numbers follow.
"""

from __future__ import annotations

import ast
import random
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/conformance.md"

DOCUMENTS = {
    "6940": "RELOAD", "8489": "STUN", "8656": "TURN", "8445": "ICE", "7675": "consent", "3261": "SIP",
    "6026": "INVITE transactions", "4320": "other transactions", "5393": "forking", "3581": "rport", "5626": "outbound",
    "5658": "double Record-Route", "3327": "Path", "8760": "digest", "7616": "the Digest scheme",
    "3263": "locating servers", "5627": "GRUU", "7118": "WebSocket", "8224": "authenticated identity",
    "8225": "PASSporT",
}  # fmt: skip

HEAD = """\
# Conformance

Each sentence of these documents that says MUST, and the tests that hold it; or why there is none:

- RELOAD: [RFC 6940](#rfc-6940-reload)
- through NATs: [RFC 8489](#rfc-8489-stun), [RFC 8656](#rfc-8656-turn), [RFC 8445](#rfc-8445-ice),
  [RFC 7675](#rfc-7675-consent)
- SIP: [RFC 3261](#rfc-3261-sip), of which sections 8 to 10, 12, 16 to 18 and 20 to 22, and what has amended it:
  [RFC 6026](#rfc-6026-invite-transactions), [RFC 4320](#rfc-4320-other-transactions), [RFC 5393](#rfc-5393-forking),
  [RFC 3581](#rfc-3581-rport), [RFC 5626](#rfc-5626-outbound), [RFC 5658](#rfc-5658-double-record-route),
  [RFC 3327](#rfc-3327-path), [RFC 8760](#rfc-8760-digest), and of [RFC 7616](#rfc-7616-the-digest-scheme) section 3
- around it: [RFC 3263](#rfc-3263-locating-servers), [RFC 5627](#rfc-5627-gruu), [RFC 7118](#rfc-7118-websocket),
  [RFC 8224](#rfc-8224-authenticated-identity) and [RFC 8225](#rfc-8225-passport)

This page is made by `make conformance` from the marks in [tests](../tests) and the lists in [tests/rfc](../tests/rfc);
do not edit it. A number such as 6.1.1/2 is the section, and which MUST of it. For more than a hundred of them it was
tried whether [their tests notice](mutations.md) that they are broken.
"""

DOCUMENT = """
# RFC {number}: {name}

{tested} of {all} are held by tests; {otherwise} done otherwise, as the row says; {untested} have none, for the reason
given; {absent} are about what is not here; {open} wait for theirs.
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
    absent: str = ""
    """The option, or the other use of the protocol, that it is about and that is not here."""

    @property
    def document(self) -> str:
        """Its RFC. 6940 goes without saying."""
        return self.number.partition(" ")[0] if " " in self.number else "6940"

    @property
    def section(self) -> str:
        """The section that it stands in."""
        return self.number.rpartition(" ")[2].partition("/")[0]


@cache
def catalogue() -> list[Must]:
    """All of them, in the order of the document."""
    found = []
    for document in DOCUMENTS:
        for entry in tomllib.loads((ROOT / f"tests/rfc/musts_{document}.toml").read_text())["must"]:
            reasons = (entry.get(each, "") for each in ("untested", "otherwise", "absent"))
            found.append(Must(entry["id"], entry["text"], *reasons))
    return found


@cache
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


def sample(seed: int, count: int, *documents: int) -> list[Must]:
    """Clauses that tests hold, by chance; for the same seed the same, as long as the same clauses have tests."""
    tests, wanted = held(), {str(number) for number in documents} or set(DOCUMENTS)
    among = [must for must in catalogue() if must.number in tests and must.document in wanted]
    return random.Random(seed).sample(among, count)


def page() -> str:
    """docs/conformance.md."""
    musts, tests = catalogue(), held()
    lines = [HEAD]
    for document, name in DOCUMENTS.items():
        own = [must for must in musts if must.document == document]
        lines.append(DOCUMENT.format(number=document, name=name, **_counts(own, tests)))
        section = ""
        for must in own:
            if must.section != section:
                section = must.section
                lines.append(f"\n## Section {section}\n\n| | what it says | held by |\n|---|---|---|")
            number = must.number.rpartition(" ")[2]
            lines.append(f"| {number} | {_cell(must.text)} | {_held_by(must, tests.get(must.number, []))} |")
    return "\n".join(lines) + "\n"


def _counts(musts: list[Must], tests: dict[str, list[str]]) -> dict[str, int]:
    return {
        "all": len(musts),
        "tested": sum(1 for must in musts if must.number in tests and not must.otherwise),
        "otherwise": sum(1 for must in musts if must.otherwise),
        "untested": sum(1 for must in musts if must.untested),
        "absent": sum(1 for must in musts if must.absent),
        "open": sum(1 for must in musts if must.number not in tests and not (must.untested or must.absent)),
    }


def _held_by(must: Must, tests: list[str]) -> str:
    if tests:
        links = [f"[{test.partition('::')[2]}](../{test.partition('::')[0]})" for test in tests]
        return "<br>".join([f"**otherwise:** {_cell(must.otherwise)}", *links] if must.otherwise else links)
    if must.absent:
        return f"not here: {_cell(must.absent)}"
    return f"no test: {_cell(must.untested)}" if must.untested else "**not yet**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    if sys.argv[1:]:
        for must in sample(*map(int, sys.argv[1:])):
            print(must.number, must.text, *held()[must.number], sep="\n    ")
    else:
        PAGE.write_text(page())
