"""`p2psip enrollment serve` and `delegate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from p2psip.base.errors import LocalMisuse

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

With --key the authority's key is in a token (PKCS#11), where it is made, unless it is there; OUT says where, and in
which file the PIN is. With --offline there is no such authority: OUT collects requests, `enrollment requests` writes
them into a file, `enrollment sign` signs them, on DIR, and `enrollment return` takes the certificates back.

Examples:

\b
    p2psip enrollment delegate ./club ./server --days 730
    p2psip enrollment delegate ./club ./server --password-file /etc/p2psip/pin \\
        --key 'pkcs11:token=club;object=server?module-path=/usr/lib/softhsm/libsofthsm2.so'
    p2psip enrollment delegate ./club ./server --offline
    p2psip enrollment serve ./server
"""


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


def delegate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the overlay.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A directory that does not exist yet.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long the authority is valid.")] = 730,
    key: Annotated[str, typer.Option(metavar="pkcs11:...", help="The token that has its key (RFC 7512).")] = "",
    password_file: Annotated[str, typer.Option(metavar="FILE", help="File whose first line is the token's PIN.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Sign what is requested in DIR, by hand.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make it."""
    import random
    import time

    from p2psip.net.disk.enrollment_file import OFFLINE
    from p2psip.net.disk.overlay_directory import OverlayDirectory
    from p2psip.reload.security.authority import DAY_S

    if offline and key:
        raise LocalMisuse("--offline goes without --key")
    now, lifetime_s = time.time(), days * DAY_S
    key = OFFLINE if offline else key
    overlay = OverlayDirectory(directory)
    made = overlay.delegate(out, random.SystemRandom(), now, lifetime_s, key=key, password_file=password_file)
    facts = {"directory": str(out), "authority": made.anchor().fingerprint, "days": days}
    text = f"{out} is for an enrollment server without the trust anchor's key:\n  p2psip enrollment serve {out}"
    print(json.dumps(facts) if as_json else text)
