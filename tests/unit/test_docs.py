"""The documents do not lie: commands parse, links lead somewhere, quoted messages are in the source."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from p2psip.cli.main import build

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CHECKED_FOR_PATHS = [
    path
    for folder in ("src", "tests", "docs", "demo", "bench", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in ("", ".md", ".py", ".sh", ".toml", ".txt", ".rng", ".rnc")
] + [*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]

CODE_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ |ExecStart=)?(?:[A-Z_]+=\S+ )*(?:/[\w./-]*/)?p2psip( .*)?$")


def name_of(path: Path) -> str:
    """A page as a person would name it."""
    return str(path.relative_to(ROOT))


# Commands


def blocks(page: Path) -> Iterator[str]:
    """The lines of the code blocks of a page, continued lines joined."""
    for block in CODE_BLOCK.findall(page.read_text()):
        yield from re.sub(r"\\\n\s*", "", block).splitlines()


def spans(page: Path) -> Iterator[str]:
    """The code in the running text of a page."""
    yield from CODE_SPAN.findall(CODE_BLOCK.sub("", page.read_text()))


def examples() -> Iterator[tuple[str, str]]:
    """The indented examples in the help texts."""
    for source in (ROOT / "src/p2psip/cli").glob("*.py"):
        for line in re.sub(r"\\\\\n\s*", "", source.read_text()).splitlines():
            if re.match(r" +p2psip [a-z]", line):
                yield name_of(source), line.strip().removesuffix('"""')


def arguments_of(line: str) -> list[str] | None:
    """What follows `p2psip` in a shell line, without the pipe after it; None if it is another command."""
    for part in re.split(r" \| ", line.strip()):
        if found := COMMAND.match(part.strip()):
            return shlex.split(found[1] or "", comments=True)
    return None


@functools.cache
def command_line(wanted: str) -> Any:
    """The real parser, with the command of this name."""
    return typer.main.get_command(build([wanted]))


def parse(arguments: list[str], *, is_complete: bool) -> None:
    """Have the real parser look at a command line; where it is a mention only, at its words and options."""
    command = command_line(next((word for word in arguments if not word.startswith("-")), ""))
    context, name = None, "p2psip"
    while True:
        if not is_complete:
            known = {option for parameter in command.params for option in parameter.opts}
            known |= {option for parameter in command.params for option in parameter.secondary_opts} | {"--help"}
            arguments = [word for word in arguments if not (word.startswith("-") and word in known)]
        if not hasattr(command, "commands"):
            break
        if not is_complete:
            word = next((word for word in arguments if not word.startswith("-")), None)
            if word not in command.commands:
                assert word is None or not word.islower(), f"there is no command {word}"
                break
            arguments.remove(word)
            command = command.commands[word]
            continue
        context = command.make_context(name, arguments, parent=context)
        rest = [*context._protected_args, *context.args]
        assert rest, "a command is missing"
        name, command, arguments = command.resolve_command(context, rest)
    if is_complete:
        command.make_context(name, arguments, parent=context)
    else:
        assert not [word for word in arguments if word.startswith("--")], f"no such option: {arguments}"


COMMAND_LINES = [
    *((name_of(page), line, True) for page in PAGES for line in blocks(page) if arguments_of(line)),
    *((name_of(page), code, False) for page in PAGES for code in spans(page) if arguments_of(code)),
    *((source, line, True) for source, line in examples()),
]


@pytest.mark.parametrize(("where", "line", "is_complete"), COMMAND_LINES)
def test_commands_in_documents_parse(where: str, line: str, is_complete: bool) -> None:
    arguments = arguments_of(line)
    assert arguments
    parse(arguments, is_complete=is_complete)


def test_there_are_commands_to_look_at() -> None:
    assert sum(where == "README.md" for where, _, _ in COMMAND_LINES) >= 12
    assert sum(where == "docs/operating.md" for where, _, _ in COMMAND_LINES) >= 25


@pytest.mark.parametrize(
    "line",
    ["p2psip peer innit ./peer", "p2psip peer init ./peer --konfig x", "p2psip status --peer", "p2psip overlay create"],
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises(typer.BadParameter.__mro__[1]):
        parse(arguments_of(line) or [], is_complete=True)


@pytest.mark.parametrize("mention", ["p2psip pear run", "p2psip overlay set --sing"])
def test_a_wrong_mention_is_found(mention: str) -> None:
    with pytest.raises(AssertionError):
        parse(arguments_of(mention) or [], is_complete=False)


# Links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts of repositories make them."""
    text = CODE_BLOCK.sub("", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE_BLOCK.sub("", page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{target}: there is no {goal}"
        assert goal.is_relative_to(ROOT), f"{target} leads out of the project"
        assert not anchor or anchor in anchors(goal), f"{target}: no such heading"


def test_every_page_can_be_found() -> None:
    """From the README or the index of the decisions."""
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if "://" not in target and not target.startswith("#")
    }
    assert [name_of(page) for page in PAGES if page not in linked and page.name != "README.md"] == []


# Words that the software prints

VARIABLE = re.compile(
    r"\.\.\.|`|: |; |, |\b(?:40[0-9]|428|43[0-9]|480|503|To|OTHER|INVITE|BYE)\b|bob@club\.example|club\.example"
    r"|\b[Bb]ob\b|\b[Aa]lice\b"
    r"|\b2026b1b9\b|\bce64\b|\btcp 0\.0\.0\.0:6084|peer\.toml|p2psip peer run peer starts it|\bin peer\b|[()]"
)
"""Where a message has something of its own in each case, or is put together of parts."""

FOREIGN = {"Address already in use", "Connection refused"}
"""Words of the operating system and of libraries."""


def quoted() -> Iterator[str]:
    """The messages in the first columns of the log's and the troubleshooting tables."""
    text = (ROOT / "docs/operating.md").read_text()
    for row in re.findall(r"^\| (.*?) \|", text[text.index("\n## The log") :], re.MULTILINE):
        yield from CODE_SPAN.findall(row)


QUOTED = sorted(set(quoted()))
SOURCE_TEXT = " ".join(" ".join(path.read_text() for path in SOURCES).split())
"""All of the source in one line, strings that are continued on the next line joined."""

for seam in ('" "', '" f"'):
    SOURCE_TEXT = SOURCE_TEXT.replace(seam, "")


@pytest.mark.parametrize("message", QUOTED)
def test_quoted_messages_are_in_the_source(message: str) -> None:
    for piece in map(str.strip, VARIABLE.split(message)):
        assert piece in SOURCE_TEXT or len(piece) <= 3 or piece in FOREIGN, f"nothing prints {piece!r}"


def test_every_event_of_the_log_is_explained() -> None:
    """In docs/operating.md: what can stand in the log of a peer or of the enrollment server."""
    noted = re.compile(r'(?:note|warn|info|warning|Note)\(\s*"([a-z][^"]+)"')
    events = {
        event for path in SOURCES if not {"cli", "sim"} & set(path.parts) for event in noted.findall(path.read_text())
    }
    assert len(events) > 20
    assert sorted(events - set(CODE_SPAN.findall((ROOT / "docs/operating.md").read_text()))) == []


def test_there_are_messages_to_look_at() -> None:
    assert len(QUOTED) > 50


# Machines


def test_no_file_names_a_development_machine() -> None:
    """Paths that exist for somebody only."""
    private = re.compile(r"(?<![\w.~/-])/(?:work|root|Users|home/(?!you/)\w+|tmp/\w+_try)/")
    found = [
        f"{name_of(path)}:{number}"
        for path in CHECKED_FOR_PATHS
        if "__pycache__" not in path.parts and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if private.search(line)
    ]
    assert found == []
