"""The command `p2psip`: one file a command, each imported only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import typer

from p2psip import __version__
from p2psip.base.errors import LocalMisuse, P2psipError
from p2psip.cli.terminal.exits import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_MISUSE,
    OutputLost,
    end,
    end_speechless,
    fail,
    prepare_streams,
)
from p2psip.net.disk.home import MachineHome, in_home

COMMANDS: dict[str, str] = {
    "up": "Begin an overlay on this machine, or start what there is.",
    "invite": "Print a code with which a machine or a phone joins.",
    "join": "Join an overlay with such a code.",
    "install-service": "Have systemd run it, as a user without rights.",
    "members": "List, approve and revoke the members of an overlay.",
    "overlay": "Found an overlay, show and change its configuration.",
    "enrollment": "Run the server at which members enroll.",
    "bootstrap": "Run a server at which an overlay is found, that is no peer.",
    "user": "Look after the accounts of an overlay.",
    "peer": "Be a peer: the PBX of the phones at this site.",
    "line": "Look after a peer's lines: who may register a phone.",
    "client": "Prepare an application to be a client of the overlay.",
    "trunk": "Show the telephone lines and PBXs behind a peer.",
    "rooms": "Show who is in the conferences of a peer's phones.",
    "dial": "Say what would become of a call to a number, and why.",
    "directory": "Show who is in the overlay and can be reached; say who the lines here are.",
    "voicemail": "Show, download and delete the messages that wait for a line.",
    "lookup": "Look a user up in the overlay.",
    "services": "Find members that provide a service; announce services.",
    "check": "Check a site, from its files to a call: which step fails, what to do.",
    "nat": "Say what router or firewall a peer is behind, and what that means.",
    "trace": "Trace the way through the overlay, peer by peer.",
    "status": "Show what a running peer says of itself.",
    "phone": "Register, call and answer as a small test phone.",
    "sim": "Play what may happen to an overlay, in virtual time.",
    "decode": "Show what is in RELOAD messages, from hex or binary.",
}
"""Each command of the first level, and what the list of commands says of it; `p2psip.cli.NAME` has its `app`."""

ROOMS = {
    **dict.fromkeys(("nat", "check", "trunk", "rooms", "directory"), "site"),
    **dict.fromkeys(("up", "invite", "join", "members", "install-service"), "joining"),
    "bootstrap": "overlay",
    **dict.fromkeys(("decode", "sim"), "tools"),
    "voicemail": "line",
}
"""Those of them that are in a room of their own."""

PEER_VARIABLE = "P2PSIP_PEER"
"""The variable with the state directory of the peer that commands are about."""

OVERLAY_VARIABLE = "P2PSIP_OVERLAY"
"""The same of the overlay's directory."""

HELP = """Telephones that call each other with no server.

A peer runs beside the phones of a site; ordinary SIP phones register with it; the peers form an overlay
that knows who is where and carries calls between any two peers.

To begin, on one machine: `p2psip up`. For every other one: `p2psip invite` there, and `p2psip join CODE` on that
other one. For each person with a phone: `p2psip invite --phone alice`, and `p2psip join CODE` where the phone is to
be. In the phone: server = that machine, user, password. Dialling *43 echoes. With more choices, and one by one:
`p2psip overlay create`, `enrollment serve`, `user add`; `peer init`, `peer run`, `line add`.

Each command has its own --help, with examples.
"""

# typer carries its own click; its usage errors have one public subclass.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> NoReturn:
    """Run the command line. Exit status: 0 done, 1 it failed, 2 the input is wrong (one line says what to do)."""
    # structlog loads it, if it is there, for coloured tracebacks, which no command prints: a fifth of a second on a Pi.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    prepare_streams()
    try:
        arguments = _at_home()
        status = build(arguments)(arguments, prog_name="p2psip", standalone_mode=False)
    except UsageError as error:
        described = getattr(error, "format_message", error.__str__)()
        fail(f"{described}{'' if described[-1:] in '.?' else '.'} Try --help.", EXIT_MISUSE)
    except LocalMisuse as error:
        fail(str(error), EXIT_MISUSE)
    except P2psipError as error:
        fail(str(error), EXIT_FAILED)
    except (typer.Abort, KeyboardInterrupt):
        fail("interrupted", EXIT_INTERRUPTED)
    except OutputLost as error:
        end_speechless(error)
    end(status if isinstance(status, int) else 0)


def _at_home() -> list[str]:
    """What was typed, with home directories for each `~` that the shell has left, as it does in `--peer=~/peer`.

    Commands are about the current directory, if it is a peer's, and else about what `up` and `join` have made.
    """
    home = MachineHome.usual()
    for variable, usual, mark in (
        (PEER_VARIABLE, home.peer if home.has_peer else None, "peer.toml"),
        (OVERLAY_VARIABLE, home.overlay if home.has_overlay else None, "anchor.crt"),
    ):
        if (said := os.environ.get(variable)) is not None:
            os.environ[variable] = in_home(said)
        elif usual is not None and not os.path.exists(mark):
            os.environ[variable] = str(usual)
    return [in_home(typed) for typed in sys.argv[1:]]


def build(arguments: list[str]) -> typer.Typer:
    """The command line, with only the module of the command that `arguments` name imported."""
    app = typer.Typer(help=HELP, invoke_without_command=True, add_completion=False, rich_markup_mode=None)
    app.callback()(_root)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == wanted:
            place = f"{ROOMS[name]}.{name}" if name in ROOMS else name
            _add(app, importlib.import_module(f"p2psip.cli.{place.replace('-', '_')}").app, name, summary)
        else:
            app.command(name, help=summary)(_not_loaded)
    return app


def _add(app: typer.Typer, command: typer.Typer, name: str, summary: str) -> None:
    """A module with one command is that command; with several, or a callback, it is a group of them."""
    if len(command.registered_commands) > 1 or command.registered_groups or command.registered_callback:
        app.add_typer(command, name=name, help=command.info.help or summary)
        return
    (leaf,) = command.registered_commands
    leaf.name, leaf.short_help = name, summary
    app.registered_commands.append(leaf)


def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        print(f"p2psip {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def _not_loaded() -> None:
    raise AssertionError("only the command that is named on the command line runs")
