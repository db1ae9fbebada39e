"""`p2psip client`: prepare an application to be a client of an overlay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.passwords import FILE_HELP, known_password
from p2psip.cli.terminal.progress import busy, tell_of_waiting

HELP = "Prepare an application to be a client of an overlay: no peer, no phones."

INIT_HELP = """Make the state directory of a new client.

It gets the overlay's configuration, believes it only if its trust anchor has the fingerprint that you were given,
makes a key, and enrolls as USER with the account's password, which is not kept. In the application:
p2psip.connect(STATE_DIR). May be repeated after a failure.

Example:

\b
    p2psip client init ./client --config https://192.168.7.1:8443 --user alice --fingerprint 5f1c...
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=INIT_HELP)
def init(
    directory: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The directory of the new client.")],
    config: Annotated[
        str, typer.Option(metavar="ADDRESS|NAME|FILE", help="A server, the overlay's name, or a document.")
    ],
    fingerprint: Annotated[str, typer.Option(metavar="F", help="SHA-256 of the overlay's trust anchor, in hex.")],
    user: Annotated[str, typer.Option(metavar="USER", help="The account to enroll with, whose name it will have.")],
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    self_signed: Annotated[
        bool, typer.Option("--self-signed", help="Make the certificate here, where the overlay permits that.")
    ] = False,
    dns: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="DNS server to ask for NAME. [the system's]")
    ] = None,
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Address at which others may reach it.")] = "0.0.0.0",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fetch, verify, enroll, write."""
    import asyncio

    from p2psip.cli.overlay.options import dns_server
    from p2psip.daemon.joining.waiting_members import until_enrolled
    from p2psip.daemon.state.client_state import ClientRequest, init_client
    from p2psip.enrollment.client import parse_fingerprint

    if self_signed and password_file is not None:
        raise LocalMisuse("give --password-file to enroll, or --self-signed to make the certificate here, not both")
    password = None if self_signed else known_password(password_file, user)
    busy("getting the configuration and enrolling")
    request = ClientRequest(config, parse_fingerprint(fingerprint), user, password, listen, dns_server(dns))
    told = tell_of_waiting(as_json=as_json)
    made = until_enrolled(lambda: init_client(directory, request), lambda refused: told(refused, user))
    state = asyncio.run(made)
    facts = {
        "overlay": state.configuration.instance_name,
        "user": state.identity.user,
        "node_id": str(state.identity.node_id),
        "directory": str(directory),
    }
    if as_json:
        print(json.dumps(facts))
        return
    print(f"The client is {facts['user']}, Node-ID {facts['node_id']}. In the application:")
    print(f"  async with p2psip.connect({facts['directory']!r}) as overlay: ...")


@app.command(
    help="Renew the certificate of a client that does not run: one that runs does so itself. The key is enough."
)
def renew(
    directory: Annotated[Path, typer.Argument(metavar="STATE_DIR", help="The directory that `client init` made.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the enrollment server, write."""
    import asyncio

    from p2psip.daemon.renewing.renewal import day
    from p2psip.daemon.state.client_state import load_client, renew_client

    state = asyncio.run(renew_client(load_client(directory)))
    until = day(state.identity.not_after)
    print(json.dumps({"user": state.identity.user, "until": until}) if as_json else f"Valid until {until}.")
