"""`p2psip directory`: who is in the overlay, who can be reached now, and what is said of one's own lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.tables import aligned

HELP = """Show who has a line in the overlay, who can be reached now, and say who the lines of this peer are.

Each line says of itself, signed with its key, what is shown; every peer has all of it, also with the network down.
"""

LIST_HELP = """List everybody, by name.

Asked is the running peer, which answers from its own copy. Whether somebody can be reached is what the peer of that
line said last, at most half an hour ago: "yes" is a registered phone, "?" a peer of which nothing was heard since.

Examples:

\b
    p2psip directory list --peer ./peer
    p2psip directory list --csv --peer ./peer >directory.csv
    p2psip directory list --vcard --peer ./peer >directory.vcf
"""

SEARCH_HELP = """List those of whom all the words are said: in name, number, user, site or callsign.

Exit status 1 if there is nobody.

Example:

\b
    p2psip directory search hill alice --peer ./peer
"""

CARD_HELP = """Say who the line of USER is: what all directories of the overlay show. Without options show it.

Nobody checks it; beside it stands the name of the line, which is proven. A phone dials the number only where its own
peer's dial plan leads it to that line.

Examples:

\b
    p2psip directory card alice --name "Alice Hill" --number 200 --callsign DL1ABC --peer ./peer
    p2psip directory card alice --number "" --peer ./peer
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

PeerDirectory = Annotated[
    Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, with a line of headings.")]
Vcard = Annotated[bool, typer.Option("--vcard", help="Print vCards, version 4.0.")]
Lines = Annotated[bool, typer.Option("--lines", help="Show each line of one user by itself.")]


@app.command("list", help=LIST_HELP)
def list_(
    peer: PeerDirectory = Path(),
    lines: Lines = False,
    as_json: Json = False,
    as_csv: Csv = False,
    as_vcard: Vcard = False,
) -> int:
    """Ask the running peer."""
    _show(peer, "", lines, as_json=as_json, as_csv=as_csv, as_vcard=as_vcard)
    return 0


@app.command(help=SEARCH_HELP)
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="What is searched for; case does not matter.")],
    peer: PeerDirectory = Path(),
    lines: Lines = False,
    as_json: Json = False,
    as_csv: Csv = False,
    as_vcard: Vcard = False,
) -> int:
    """Ask the running peer."""
    return 0 if _show(peer, " ".join(words), lines, as_json=as_json, as_csv=as_csv, as_vcard=as_vcard) else 1


@app.command(help=CARD_HELP)
def card(
    user: Annotated[str, typer.Argument(metavar="USER", help="User name: alice, or alice@OVERLAY.")],
    peer: PeerDirectory = Path(),
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="The name that is shown.")] = None,
    number: Annotated[str | None, typer.Option(metavar="TEXT", help="The number.")] = None,
    site: Annotated[str | None, typer.Option(metavar="TEXT", help="Where; without it the name of the peer.")] = None,
    callsign: Annotated[str | None, typer.Option(metavar="TEXT", help="The callsign.")] = None,
    as_json: Json = False,
) -> None:
    """Write it, tell the running peer."""
    from dataclasses import asdict, replace

    from p2psip.cli.line.line_commands import reload_lines
    from p2psip.daemon.state.line_files import files_of
    from p2psip.daemon.state.state import load_state
    from p2psip.directory.listing import Card

    aor, files = files_of(load_state(peer), user)
    if not files.exists:
        raise LocalMisuse(f"{aor} has no line here; `p2psip line list --peer {peer}` lists them")
    said = {"name": name, "number": number, "site": site, "callsign": callsign}
    changes = {word: text.strip() for word, text in said.items() if text is not None}
    try:
        known = files.load_card()
    except LocalMisuse:
        if not changes:
            raise
        known = Card()
    if changes:
        try:
            known = replace(known, **changes)
        except ValueError as error:
            raise LocalMisuse(str(error)) from None
        files.save_card(known)
        if not reload_lines(peer):
            print(f"The peer does not run now; start it with: p2psip peer run {peer}", file=sys.stderr)
    if as_json:
        print(json.dumps({"user": aor, **asdict(known)}))
        return
    print(aor)
    for word, text in asdict(known).items():
        print(f"  {word + ':':<10} {text or '-'}")


def _show(peer: Path, text: str, lines: bool, *, as_json: bool, as_csv: bool, as_vcard: bool) -> bool:
    """Print them; True if there is anybody."""
    from p2psip.daemon.control_client import ask_peer
    from p2psip.directory.text_formats import write_csv, write_vcards

    if as_json + as_csv + as_vcard > 1:
        raise LocalMisuse("give one of --json, --csv and --vcard")
    found: Any = ask_peer(peer, "directory", search=text, lines=lines)
    if as_json:
        print(json.dumps(found))
    elif as_csv:
        print(write_csv(found["entries"]), end="")
    elif as_vcard:
        print(write_vcards(found["entries"]), end="")
    else:
        _print(found, text)
    return bool(found["entries"])


def _print(found: Any, text: str) -> None:
    for row in aligned([_row(entry) for entry in found["entries"]]):
        print(row)
    if not found["entries"]:
        print(f"nobody: no line in the directory has {text!r}" if text else "nobody is in the directory yet")
    for reason in found["refused"]:
        print(f"not taken: {reason}")
    if not found["connected"]:
        print("This peer is in no overlay now: this is what it had before.", file=sys.stderr)


def _row(entry: Any) -> tuple[str, ...]:
    return (
        entry["name"],
        entry["number"],
        entry["user"],
        entry["site"] or "-",
        entry["callsign"] or "-",
        _reach(entry),
    )


def _reach(entry: Any) -> str:
    if entry["reachable"] is None:
        return "? its peer was not heard of for half an hour"
    word = "yes" if entry["reachable"] else "no phone"
    return f"{word}, said {_ago(entry['heard_s'])}" if entry["heard_s"] else f"{word}, here"


def _ago(seconds: int) -> str:
    return f"{seconds} s ago" if seconds < 100 else f"{seconds // 60} min ago"
