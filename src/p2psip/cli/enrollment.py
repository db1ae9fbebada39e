"""`p2psip enrollment`: the server at which members enroll."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

HELP = "Run the server at which people and peers become members of an overlay."

SERVE_HELP = """Run the enrollment server of an overlay, in the foreground.

It hands out the configuration document and, to whoever knows an account's password, certificates. Its own
certificate comes from the overlay's trust anchor. When it takes requests it prints one line on standard output:
"ready https://HOST:PORT". Each decision is one line of log on standard error. SIGTERM or Ctrl-C ends it.

Example:

\b
    p2psip enrollment serve ./club --listen 192.168.7.1:8443
"""

DELEGATE_HELP = """Make a directory for an enrollment server that does not have the trust anchor's key.

OUT gets an authority of its own, below the trust anchor, the configuration and the accounts. Carry it to the machine
that is to serve, and keep DIR, whose keys make and end everything, where no network reaches it. `p2psip user` works on
OUT, `p2psip overlay` on DIR, whose config.xml is carried over after each change. Make another one before it ends.

Example:

\b
    p2psip enrollment delegate ./club ./server --days 730
    p2psip enrollment serve ./server
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=SERVE_HELP)
def serve(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")],
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="[every address, the port in the enrollment server's URL]"),
    ] = None,
    certificate_days: Annotated[int, typer.Option(min=1, max=3650, help="How long new certificates are valid.")] = 365,
    log_format: Annotated[str, typer.Option(metavar="text|json", help="How to log.")] = "text",
) -> None:
    """Serve until told to stop."""
    import asyncio

    from p2psip.daemon.enrollment import EnrollmentDaemon
    from p2psip.daemon.log.log import log_to_stderr

    log_to_stderr(log_format)
    asyncio.run(EnrollmentDaemon(directory, listen, certificate_days).run())


@app.command(help=DELEGATE_HELP)
def delegate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A directory that does not exist yet.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long the authority is valid.")] = 730,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make it."""
    import random
    import time

    from p2psip.net.disk.overlay_directory import OverlayDirectory
    from p2psip.reload.security.authority import DAY_S

    made = OverlayDirectory(directory).delegate(out, random.SystemRandom(), time.time(), days * DAY_S)
    facts = {"directory": str(out), "authority": made.anchor().fingerprint, "days": days}
    text = f"{out} is for an enrollment server without the trust anchor's key:\n  p2psip enrollment serve {out}"
    print(json.dumps(facts) if as_json else text)
