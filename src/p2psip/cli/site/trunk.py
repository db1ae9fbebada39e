"""`p2psip trunk`: the telephone lines and PBXs behind a peer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.tables import aligned

HELP = """Show the trunks of a running peer: accounts at a telephone provider, or at a PBX, through which lines call.

They are set up in trunks.toml in the state directory of the peer, which reads it when it starts.
"""

STATUS_HELP = """Show how one trunk does: since when it is registered, its calls, what has failed last.

Exit status 1 if it is down.

Example:

\b
    p2psip trunk status provider --peer ./peer
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)

PeerDirectory = Annotated[
    Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list", help="List the trunks of a running peer, and whether each is there.")
def list_(peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Ask the running peer."""
    trunks = _trunks(peer)
    if as_json:
        print(json.dumps(trunks))
        return
    rows = [(t["name"], t["state"], f"{t['calls']} of {t['calls_max']} calls", " ".join(_reaches(t))) for t in trunks]
    for row in aligned(rows) if rows else ["no trunks"]:
        print(row)


@app.command(help=STATUS_HELP)
def status(
    name: Annotated[str, typer.Argument(metavar="TRUNK", help="Its name.")],
    peer: PeerDirectory = Path(),
    as_json: Json = False,
) -> int:
    """Ask the running peer."""
    trunks = _trunks(peer)
    trunk = next((each for each in trunks if each["name"] == name), None)
    if trunk is None:
        raise LocalMisuse(f"there is no trunk {name}: there are {', '.join(t['name'] for t in trunks) or 'none'}")
    print(json.dumps(trunk)) if as_json else _print(trunk)
    return 0 if trunk["up"] else 1


def _trunks(peer: Path) -> Any:
    from p2psip.daemon.control_client import ask_peer

    return ask_peer(peer, "trunks")


def _reaches(trunk: Any) -> list[str]:
    return [*trunk["prefixes"], *(f"sos={number}" for number in trunk["emergency"])]


def _print(trunk: Any) -> None:
    where = f"{trunk['server']} ({trunk['address'] or 'not found'}, {trunk['transport']}) as {trunk['user']}"
    print(f"{trunk['name']}: {trunk['state']} for {trunk['since_s']:.0f} s, {where}")
    print(f"  calls {trunk['calls']} of {trunk['calls_max']}, {trunk['served']} since the start")
    print(f"  reaches {' '.join(_reaches(trunk)) or 'nothing'}, preference {trunk['preference']}")
    if trunk["last_failure"]:
        print(f"  last failure, {trunk['last_failure_s_ago']:.0f} s ago: {trunk['last_failure']}")
    if trunk["strangers"]:
        print(f"  {trunk['strangers']} messages from elsewhere were dropped")
