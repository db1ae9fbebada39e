"""In which further overlays a site is: `overlays.toml` in the state directory of the peer that has its phones.

Every mistake in it is one line that says in which line of the file it is, and what to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.toml_lines import Mistake, TomlLines, described, parse_toml
from p2psip.net.disk.files import read_text
from p2psip.reload.config.configuration import is_dns_name
from p2psip.sip.entities.numbers.dial_plan import BadRule, Rule
from p2psip.sip.entities.overlays.other_overlays import OverlayRule

OVERLAYS_FILE = "overlays.toml"

OVERLAYS_MAX = 8
"""Each is a peer with its links and records, on a machine that may be small."""


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An `[[ask]]`."""

    pattern: str
    overlays: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    default: tuple[str, ...] = ()
    overlays: dict[str, str]
    ask: tuple[_Ask, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteOverlays:
    """What the file says: the state directories of the other overlays by their names, and who is asked for what."""

    path: Path
    directories: dict[str, Path]
    rules: tuple[OverlayRule, ...]
    order: tuple[str, ...]


_WANTED = {
    "overlays": 'a section [overlays] with lines as "mesh.example" = "../peer-of-mesh", the directory of its peer',
    "default": 'a list of overlays, as default = ["club.example", "mesh.example"]',
    "ask": "a section [[ask]], with two brackets, for each rule",
    "pattern": 'a pattern in quotes, as "7XXX" or "dl."',
}


def load_overlays(state_dir: Path, own: str) -> SiteOverlays | None:
    """What the file says in the directory of a peer of the overlay `own`; None if there is none. Raises LocalMisuse."""
    path = state_dir / OVERLAYS_FILE
    if not path.exists():
        return None
    try:
        return _read(path, read_text(path), own)
    except Mistake as mistake:
        raise LocalMisuse(f"{path}: {mistake}") from None


def _read(path: Path, text: str, own: str) -> SiteOverlays:
    lines = TomlLines(text)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except msgspec.ValidationError as error:
        raise Mistake(described(str(error), lines, _WANTED, {"": _File, "ask": _Ask})) from None
    where = lines.words("overlays")
    if not 0 < len(file.overlays) < OVERLAYS_MAX:
        raise Mistake(f"{where}there are {len(file.overlays)} overlays: write 1 to {OVERLAYS_MAX - 1}")
    directories: dict[str, Path] = {}
    for name, directory in file.overlays.items():
        at = lines.words("overlays", 0, name)
        if not is_dns_name(name) or name != name.lower():
            raise Mistake(f'{at}{name!r} is no name of an overlay: write it in quotes, as "mesh.example"')
        if name == own:
            raise Mistake(f"{at}{own} is this peer's own overlay: leave it out, the others stand here")
        resolved = (path.parent / directory).resolve()
        if resolved in (path.parent.resolve(), *directories.values()):
            raise Mistake(f"{at}{directory} is the directory of another overlay's peer: each has one of its own")
        directories[name] = resolved
    known = (own, *directories)
    order = file.default or known
    _check_order(order, known, lines.words("", 0, "default"), "default")
    return SiteOverlays(path, directories, _rules(file, known, lines), order)


def _rules(file: _File, known: tuple[str, ...], lines: TomlLines) -> tuple[OverlayRule, ...]:
    made: list[OverlayRule] = []
    for index, ask in enumerate(file.ask):
        _check_order(ask.overlays, known, lines.words("ask", index, "overlays"), "overlays")
        at = lines.words("ask", index, "pattern")
        if any(each.rule.pattern == ask.pattern for each in made):
            raise Mistake(f"{at}there is a rule for {ask.pattern} already, and the first counts: leave one of them out")
        try:
            made.append(OverlayRule(Rule(ask.pattern, at.rstrip(": ")), ask.overlays))
        except BadRule as error:
            raise Mistake(f"{at}{error}") from None
    return tuple(made)


def _check_order(order: tuple[str, ...], known: tuple[str, ...], where: str, setting: str) -> None:
    """Who is asked, in this order: the own overlay is the first or the last, since only then it is known what its turn
    has come to.
    """
    if not order:
        raise Mistake(f"{where}{setting} is empty: name who is asked, of {', '.join(known)}")
    for name in order:
        if name not in known:
            raise Mistake(f"{where}this site is not in {name}: write some of {', '.join(known)}")
        if order.count(name) > 1:
            raise Mistake(f"{where}{name} is there twice: leave one out")
    if known[0] in order[1:-1]:
        raise Mistake(f"{where}{known[0]}, where the phones are, is between others: write it first or last")
