"""`p2psip enrollment protect`, `requests`, `sign` and `return`: the key that makes certificates, and where it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.passwords import FILE_HELP, new_password
from p2psip.cli.terminal.tables import aligned

if TYPE_CHECKING:
    from p2psip.enrollment.asked.offline import CollectedRequest

PROTECT_HELP = """Encrypt anchor.key, with which certificates are made.

Without --password-file you are asked for a password, or one is made up and shown once. Who starts the server afterwards
is asked for it; so is who makes another server's directory. Where nobody sits when it starts, write it into a file for
the server's user only, and key_password_file = "FILE" into enrollment.toml in DIR. Copies that you have made of
anchor.key before are not encrypted.

Example:

\b
    p2psip enrollment protect ./club
"""

REQUESTS_HELP = """Write what is to be signed into a file, for the machine that has the key.

This is for a directory that `delegate --offline` has made. Its server grants requests, gives each a Node-ID, and has
who asks wait; until the certificate is there, nobody else gets the name. Do it as often as you like: what is
not back yet is in the file again.

Example:

\b
    p2psip enrollment requests ./server requests.json
"""

SIGN_HELP = """Sign the requests that were carried here, with the key of this directory.

Each is shown, and you are asked, unless you say --yes. What is made are certificates of members for names and Node-IDs
of this overlay, and nothing else, whatever is in the file.

Example:

\b
    p2psip enrollment sign ./club requests.json signed.json
"""

RETURN_HELP = """Take certificates back that `sign` has made: who waits for one gets it within seconds.

Example:

\b
    p2psip enrollment return ./server signed.json
"""

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def protect(
    directory: Directory,
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    as_json: Json = False,
) -> None:
    """Encrypt it."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    password, is_made_up = new_password(password_file, f"password of {directory}/anchor.key")
    overlay.protect(password)
    shown = {"password": password} if is_made_up else {}
    words = f" Its password: {password} (shown only now: note it)" if is_made_up else ""
    print(
        json.dumps({"directory": str(directory)} | shown) if as_json else f"{directory}/anchor.key is encrypted.{words}"
    )


def requests(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write them.")],
    as_json: Json = False,
) -> None:
    """Collect."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    overlay = OverlayDirectory(directory)
    found = overlay.write_requests(file)
    if as_json:
        print(json.dumps({"file": str(file), "requests": [_facts(each) for each in found.requests]}))
        return
    for row in aligned([_row(each) for each in found.requests]):
        print(row)
    print(
        f"{len(found.requests)} to be signed are in {file}. Where the key is: p2psip enrollment sign DIR {file} SIGNED"
    )


def sign(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `requests` has written.")],
    signed: Annotated[Path, typer.Argument(metavar="SIGNED", help="Where to write the certificates.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they are valid.")] = 365,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Show, ask, sign."""
    import random
    import time

    from p2psip.net.disk.overlay_directory import OverlayDirectory
    from p2psip.reload.security.authority import DAY_S, Validity

    overlay = OverlayDirectory(directory)
    asked = overlay.read_requests(file)
    if asked.requests and not yes:
        for row in aligned([_row(each) for each in asked.requests]):
            print(row, file=sys.stderr)
        if not sys.stdin.isatty():
            raise LocalMisuse(f"say --yes to sign these {len(asked.requests)} without being asked")
        if not typer.confirm(f"Sign these {len(asked.requests)}?", err=True):
            raise LocalMisuse("nothing was signed")
    made = overlay.sign_requests(asked, signed, random.SystemRandom(), Validity.at(time.time(), days * DAY_S))
    facts = {"file": str(signed), "signed": len(made.certificates)}
    print(
        json.dumps(facts)
        if as_json
        else f"{facts['signed']} are signed. At the server: p2psip enrollment return DIR {signed}"
    )


def return_(
    directory: Directory,
    signed: Annotated[Path, typer.Argument(metavar="SIGNED", help="What `sign` has written.")],
    as_json: Json = False,
) -> None:
    """Take them back."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    users = OverlayDirectory(directory).take_certificates(signed)
    words = f"{len(users)} certificates are there for who waits: {', '.join(users) or 'none'}"
    print(json.dumps({"returned": users}) if as_json else words)


def _facts(asked: CollectedRequest) -> dict[str, object]:
    return {"number": asked.number, "account": asked.account, "user": asked.user, "node_ids": list(asked.node_ids)}


def _row(asked: CollectedRequest) -> tuple[str, ...]:
    return (str(asked.number), asked.user, f"account {asked.account}", " ".join(asked.node_ids))
