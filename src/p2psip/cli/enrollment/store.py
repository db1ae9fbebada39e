"""`p2psip enrollment backup`, `restore` and `move`: where the accounts are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from p2psip.base.errors import LocalMisuse

BACKUP_HELP = """Write all accounts, invitations and Node-IDs into a new file, as they are at this moment.

The server may run meanwhile, and the accounts may be in the directory or in PostgreSQL. FILE is an SQLite database, for
its owner only. Keys and config.xml are not in it: keep a copy of the whole directory beside it.

Example:

\b
    p2psip enrollment backup ./club ./club-2026-12-01.db
"""

RESTORE_HELP = """Put what `backup` has written back in the place of the accounts.

Stop the server first. Where the accounts are in PostgreSQL, or are to be (--database), give an empty database. Where
they are in the directory, what was there stays beside it as accounts.db.before. Who got a certificate after the backup
was made is not in it: such certificates stay valid, and their names could be had by others. Look at the server's log.

Example:

\b
    p2psip enrollment restore ./club ./club-2026-12-01.db
"""

MOVE_HELP = """Move the accounts into an empty PostgreSQL database, for several servers that have the same accounts.

DATABASE is a URL as PostgreSQL's own programs take it; leave the password out of it, and write it into ~/.pgpass.
`directory` moves them back into accounts.db. Stop the server first. Then copy the directory to the other machines, and
run a server on each: what is a member at one is a member at all, and any of them may stop.

Example:

\b
    p2psip enrollment move ./server postgresql://enrollment@db.club.example/club
"""

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

IN_DIRECTORY = "directory"


def backup(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that does not exist yet.")],
    as_json: Json = False,
) -> None:
    """Copy."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    OverlayDirectory(directory).back_up(file)
    print(json.dumps({"file": str(file)}) if as_json else f"The accounts are in {file}, too.")


def restore(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` has written.")],
    database: Annotated[
        str | None,
        typer.Option(metavar="DATABASE", help="An empty PostgreSQL database, or `directory`. [where they were]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put back."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    where = None if database is None else _where(database)
    OverlayDirectory(directory).restore(file, where)
    print(json.dumps({"file": str(file)}) if as_json else f"The accounts are those of {file}.")


def move(
    directory: Directory,
    database: Annotated[str, typer.Argument(metavar="DATABASE", help="postgresql://USER@HOST/NAME, or `directory`.")],
    as_json: Json = False,
) -> None:
    """Move."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    OverlayDirectory(directory).move(_where(database))
    where = "in the directory" if database == IN_DIRECTORY else "in PostgreSQL"
    print(json.dumps({"moved": True}) if as_json else f"The accounts of {directory} are {where} now.")


def _where(database: str) -> str:
    """ "" for the directory."""
    if database == IN_DIRECTORY:
        return ""
    if not database.startswith(("postgresql://", "postgres://")):
        raise LocalMisuse(f"{database!r} is no database: write postgresql://USER@HOST/NAME, or {IN_DIRECTORY}")
    return database
