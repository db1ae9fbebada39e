"""`p2psip join`: take up an invitation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.joining import settings_of
from p2psip.cli.terminal.progress import busy, tell_of_waiting
from p2psip.net.disk.home import MachineHome

if TYPE_CHECKING:
    from p2psip.daemon.state.state import PeerState
    from p2psip.enrollment.join_codes import JoinCode

HELP = """Join an overlay with the code that `p2psip invite` has printed on one of its machines.

A code for a machine makes this one a peer, and runs it, in the foreground: it gets the overlay's configuration from
the machine that has invited, believes it only if it has the trust anchor of the code, and enrolls. Later `p2psip up`
starts it again. Where the operator approves new members, or signs their certificates by hand, it says what it waits
for, and goes on by itself; after a restart `p2psip up` does. A code for a phone (carol@club.example/...) adds a line to
the peer that is here, and prints what to type into the phone. May be repeated after a failure: that uses nothing up.

Example:

\b
    p2psip join club.example/08k3f-...
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


# A code that a mail program has broken into lines, or a person has typed in groups, has words that begin with a dash.
@app.command(help=HELP, context_settings={"ignore_unknown_options": True})
def join(
    code: Annotated[list[str], typer.Argument(metavar="CODE", help="What `p2psip invite` has printed.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call this peer. [the host name]")] = None,
    peer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="P2PSIP_PEER",
            help="The state directory of the peer. [.p2psip/peer in the home directory]",
        ),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The address for other peers and phones. [every address]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Make what the code is for; become the peer."""
    from p2psip.enrollment.join_codes import JoinCode

    if options := [word for word in code if word.startswith("--")]:
        raise LocalMisuse(f"there is no option {options[0].partition('=')[0]}. Try --help.")
    settings, said = settings_of(listen), JoinCode.parse("".join(code))
    directory = peer if peer is not None else MachineHome.usual().peer
    join_with(directory, said, name, settings, as_json=as_json)


def join_with(
    directory: Path, code: JoinCode, name: str | None, settings: Mapping[str, object], *, as_json: bool
) -> None:
    """Do what the code is for, and become the peer if it is for a machine; without a name it is the host's."""
    from p2psip.daemon.control_client import is_running

    state = _machine(directory, code, name, settings, as_json=as_json)
    if code.user:
        _line(state, code, as_json=as_json)
    if not code.admits_machine or (code.user and is_running(directory)):
        return
    if is_running(directory):
        raise LocalMisuse(f"this machine is in {code.overlay} already, and its peer runs")
    from p2psip.cli.run_peer import replace_process

    replace_process(directory, {}, as_json=as_json)


def _machine(
    directory: Path, code: JoinCode, name: str | None, settings: Mapping[str, object], *, as_json: bool
) -> PeerState:
    """The peer of this machine; a new one, if there is none."""
    import asyncio

    from p2psip.cli.peer import host_name
    from p2psip.daemon.joining.joiner import check_overlay, join_overlay
    from p2psip.daemon.state.state import CERTIFICATE_FILE, load_state

    if (directory / CERTIFICATE_FILE).exists():
        state = load_state(directory)
        check_overlay(state, code)
        return state
    if not code.admits_machine:
        raise LocalMisuse(
            f"the code is for a line at a peer, and there is none in {directory}: type it where one is, or say --peer"
        )
    busy("getting the configuration and enrolling")
    wanted = name if name is not None else host_name()
    told = tell_of_waiting(as_json=as_json)
    state = asyncio.run(join_overlay(directory, code, wanted, settings, told, may_count=name is None))
    facts: dict[str, Any] = {
        "overlay": state.configuration.instance_name,
        "user": state.identity.user,
        "node_id": str(state.identity.node_id),
        "directory": str(directory),
    }
    text = f"This machine is {facts['user']}, Node-ID {facts['node_id']}, with its files in {directory}."
    print(json.dumps(facts) if as_json else text, flush=True)
    return state


def _line(state: PeerState, code: JoinCode, *, as_json: bool) -> None:
    """Add the line, and say what to type into the phone."""
    import asyncio
    import random

    from p2psip.cli.line.line_commands import reload_lines
    from p2psip.daemon.joining.joiner import join_line
    from p2psip.enrollment.passwords import generate_phone_password

    password = generate_phone_password(random.SystemRandom())
    busy(f"enrolling {code.user}@{code.overlay}")
    identity = asyncio.run(join_line(state, code, password, tell_of_waiting(as_json=as_json)))
    is_served = reload_lines(state.directory)
    server = _server(state)
    facts = {
        "user": identity.user,
        "node_id": str(identity.node_id),
        "server": server,
        "phone_password": password,
        "served": is_served,
    }
    if as_json:
        print(json.dumps(facts), flush=True)
        return
    print(f"{identity.user} has a line here, Node-ID {identity.node_id}.")
    print(f"In the phone: server = {server}, user = {code.user}, phone password = {password}", flush=True)
    if not is_served and not code.admits_machine:
        print("The peer does not run now; start it with: p2psip up")


def _server(state: PeerState) -> str:
    """What a phone here has as its server."""
    from p2psip.net.sockets.addresses import join_host_port, own_address

    listen, port = state.settings.phone_listen[0], state.settings.phone_port
    host = own_address() if listen in ("0.0.0.0", "::") else listen
    return host if port == 5060 else join_host_port(host, port)
