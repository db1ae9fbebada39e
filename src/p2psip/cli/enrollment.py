"""`p2psip enrollment`: the server at which members enroll."""

from __future__ import annotations

import asyncio
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

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.callback()
def enrollment() -> None:
    """So that `serve` stays a command of its own while there is no other."""


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
    from p2psip.daemon.enrollment import EnrollmentDaemon

    asyncio.run(EnrollmentDaemon(directory, listen, certificate_days, log_format).run())
