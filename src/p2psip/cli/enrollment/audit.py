"""`p2psip enrollment audit`: what happened."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from p2psip.cli.terminal.tables import aligned

AUDIT_HELP = """Print the audit log: who became a member, from where and by whose word; who was refused; what was done.

It is with the accounts, so that all servers that share them write into one. Refusals are those that may have been
guesses; of them the last 100,000 are kept, of all else everything.

Examples:

\b
    p2psip enrollment audit ./club --last 20
    p2psip enrollment audit ./club --about alice
"""


def audit(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")],
    about: Annotated[str, typer.Option(metavar="NAME", help="Of this user or account only: alice.")] = "",
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="The last so many. [all]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print it."""
    import contextlib

    from p2psip.enrollment.user_names import full_name
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    name = about and full_name(about, overlay.document().configuration.instance_name)
    with contextlib.closing(overlay.accounts()) as accounts:
        found = accounts.audit(name, last)
    if as_json:
        print(json.dumps([asdict(entry) | {"date": _minute(entry.date)} for entry in found]))
        return
    rows = [
        (_minute(each.date), each.event, each.account, each.user, f"from {each.actor or '-'}", each.details)
        for each in found
    ]
    for row in aligned([tuple(map(_shown, row)) for row in rows]):
        print(row)


def _shown(text: str) -> str:
    """What a requester has made up does not write on the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _minute(date: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(date))
