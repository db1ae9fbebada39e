"""`p2psip up`: begin an overlay on this machine, or start what there is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.cli.joining import settings_of, with_port
from p2psip.cli.terminal.progress import busy
from p2psip.net.disk.home import MachineHome

if TYPE_CHECKING:
    from p2psip.daemon.state.state import PeerState
    from p2psip.net.disk.overlay_directory import OverlayDirectory

HELP = """Begin an overlay on this machine, and run its first peer and its enrollment server, in the foreground.

NAME is what the overlay is called; like a DNS name, but it need not exist in the DNS. Without it one is made up. Where
there is an overlay or a peer already, that is started: so also after `p2psip join`, which it goes on with if that was
still waiting to be approved. When all sockets are open, lines
that begin with "ready" say so. SIGTERM or Ctrl-C ends it. `p2psip invite` lets other machines in.

Examples:

\b
    p2psip up club.example
    p2psip up
    p2psip up --listen 192.168.7.1:9443
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Directory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where all of it is kept. [.p2psip in the home directory]")
]
Listen = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS[:PORT]",
        help="The address for peers and phones, and the port of the enrollment server. [every address, 8443]",
    ),
]


@app.command(help=HELP)
def up(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the overlay: club.example.")] = None,
    directory: Directory = None,
    listen: Listen = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Found what is missing, become what runs."""
    from p2psip.cli.run_peer import replace_process
    from p2psip.daemon.control_client import is_running

    home = MachineHome(directory) if directory is not None else MachineHome.usual()
    host, port = with_port(listen)
    settings = settings_of(host)
    _go_on_joining(home, name, as_json=as_json)
    overlay = _overlay(home, name, host, port, as_json=as_json)
    state = _peer(home, overlay, settings)
    _check_name(state.configuration.instance_name, name, home)
    if is_running(home.peer):
        raise LocalMisuse(f"it runs already: `p2psip status --peer {home.peer}` shows how it does")
    if port is not None and overlay is None:
        raise LocalMisuse(f"--listen {listen}: no enrollment server runs here that could have the port {port}")
    beside = None if overlay is None else overlay.path
    replace_process(home.peer, settings, as_json=as_json, overlay=beside, enrollment_port=port)


def _go_on_joining(home: MachineHome, name: str | None, *, as_json: bool) -> None:
    """A machine that was waiting to be let in when it was switched off; does not return if there is one."""
    from p2psip.daemon.joining.waiting_members import load_pending

    if home.has_peer or home.has_overlay or (pending := load_pending(home.peer)) is None:
        return
    from p2psip.cli.joining.join import join_with
    from p2psip.enrollment.client import EnrollmentRefused
    from p2psip.enrollment.join_codes import JoinCode

    code = JoinCode.parse(pending.code)
    _check_name(code.overlay, name, home)
    try:
        join_with(home.peer, code, pending.name, pending.settings, as_json=as_json)
    except EnrollmentRefused as refused:
        raise RequestFailed(f"{refused}; `p2psip join` with another code, or delete {home.peer}") from None


def _overlay(
    home: MachineHome, name: str | None, host: str | None, port: int | None, *, as_json: bool
) -> OverlayDirectory | None:
    """The overlay that begins here, or began here; None where a peer of another machine's is."""
    from p2psip.net.disk.overlay_directory import OverlayDirectory

    if home.has_overlay:
        return OverlayDirectory(home.overlay)
    if home.has_peer:
        return None
    import random

    from p2psip.cli.overlay.create import founding_date
    from p2psip.cli.peer import host_name
    from p2psip.daemon.joining.first_machine import found_here, made_up_name
    from p2psip.enrollment.protocol import ENROLLMENT_PORT

    rng = random.SystemRandom()
    called = name or made_up_name(host_name(), rng)
    overlay = found_here(home.overlay, called, host, rng, founding_date(), port or ENROLLMENT_PORT)
    called = overlay.document().configuration.instance_name
    if as_json:
        facts = {"overlay": called, "directory": str(overlay.path), "fingerprint": overlay.anchor().fingerprint}
        print(json.dumps(facts), flush=True)
    else:
        print(f"The overlay {called} is in {overlay.path}. Keep a copy in a safe place.", flush=True)
    return overlay


def _peer(home: MachineHome, overlay: OverlayDirectory | None, settings: Mapping[str, object]) -> PeerState:
    from p2psip.daemon.renewing.readmission import state_to_run

    if home.has_peer or overlay is None:
        return state_to_run(home.peer)
    import asyncio

    from p2psip.cli.peer import host_name
    from p2psip.daemon.joining.first_machine import make_first_peer

    busy("enrolling this machine's peer")
    return asyncio.run(make_first_peer(home.peer, overlay, host_name(), settings))


def _check_name(called: str, name: str | None, home: MachineHome) -> None:
    if name is not None and name.lower() != called:
        raise LocalMisuse(
            f"this machine is of {called} already: leave the name out, or begin {name} in another --directory than"
            f" {home.directory}"
        )
