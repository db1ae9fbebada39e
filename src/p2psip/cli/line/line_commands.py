"""`p2psip line add`, `list`, `remove` and `renew`: which lines a peer has."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.base.user_keys import aor_of
from p2psip.cli.terminal.passwords import FILE_HELP, known_password, new_password
from p2psip.cli.terminal.progress import busy, tell_of_waiting
from p2psip.cli.terminal.tables import aligned

if TYPE_CHECKING:
    from p2psip.daemon.state.state import PeerState

ADD_HELP = """Add a line, or give it a new phone password.

It enrolls with the account password of USER (which is used once and not kept) and sets the password that the phone
will use. Without --phone-password-file one is asked for, or made up and shown once: ten letters and digits, which
every phone takes, or sixteen with --long-password. In the phone dashes and case do not matter.

Example:

\b
    p2psip line add alice --peer ./peer
"""

LIST_HELP = "List the lines of a peer, their phones, what becomes of their calls, and where their records are."
REMOVE_HELP = "Remove a line: its phone can no longer register here, its record leaves the overlay."
RENEW_HELP = "Renew the certificate of a line. Its key is enough; a running peer does it by itself in time."

User = Annotated[str, typer.Argument(metavar="USER", help="User name: alice, or alice@OVERLAY.")]
PeerDirectory = Annotated[
    Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(
    user: User,
    peer: PeerDirectory = Path(),
    password_file: Annotated[str | None, typer.Option(metavar="FILE", help=FILE_HELP)] = None,
    phone_password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="File whose first line is the phone's password.")
    ] = None,
    long_password: Annotated[
        bool, typer.Option("--long-password", help="Make up a longer phone password (not every phone takes it).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Enroll, write, tell the running peer."""
    import asyncio

    from p2psip.daemon.joining.waiting_members import until_enrolled
    from p2psip.daemon.lines.line_setup import set_up_line
    from p2psip.daemon.state.line_files import files_of
    from p2psip.daemon.state.state import load_state
    from p2psip.enrollment.passwords import generate_password, generate_phone_password

    state = load_state(peer)
    aor, files = files_of(state, user)
    account_password = None if state.configuration.is_self_signed else known_password(password_file, aor)
    make_up = generate_password if long_password else generate_phone_password
    phone_password, is_made_up = new_password(phone_password_file, f"phone password for {aor}", make_up)
    busy(f"enrolling {aor}")
    told = tell_of_waiting(as_json=as_json)
    made = until_enrolled(
        lambda: set_up_line(state, aor, account_password, phone_password), lambda refused: told(refused, aor)
    )
    identity = asyncio.run(made)
    served = reload_lines(peer)
    facts = {"user": aor, "node_id": str(identity.node_id), "served": served}
    if is_made_up:
        facts["phone_password"] = phone_password
    if as_json:
        print(json.dumps(facts))
        return
    name, _, domain = aor.partition("@")
    server = "server = this machine's address"
    if "@" in files.name:
        server = f"domain = {domain}, outbound proxy = this machine's address"
    print(f"{aor} has a line here, Node-ID {identity.node_id}.")
    print(f"In the phone: {server}, user = {name}, phone password = ", end="")
    print(phone_password if is_made_up else "the one you gave.")
    if not served:
        print(f"The peer does not run now; start it with: p2psip peer run {peer}")


def list_lines(peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Ask the running peer, or read the files."""
    from p2psip.daemon.control_client import ask_peer, is_running
    from p2psip.daemon.state.line_files import line_names
    from p2psip.daemon.state.state import load_state

    if is_running(peer):
        served: Any = ask_peer(peer, "lines")
        lines: Any = [_with_problem(peer, line) for line in served]
    else:
        state = load_state(peer)
        lines = [_on_disk(state, name) for name in line_names(peer)]
    if as_json:
        print(json.dumps(lines))
        return
    for line, row in zip(lines, aligned([_row(line) for line in lines]), strict=True):
        print(row)
        for words in line["calls"]:
            print(f"    {words}")
        for other in line["others"]:
            print(f"    {other} has the same user name: another line of the same person, or a collision")
        if line["problem"]:
            print(f"    problem: {line['problem']}")
    if not lines:
        print("no lines; `p2psip line add USER` adds one")


def _row(line: Any) -> tuple[str, ...]:
    phones = ", ".join(phone["via"] for phone in line["phones"]) or "no phone registered"
    record = line.get("record")
    kept = f"record kept by {record['responsible'][:8]}" if record else "no record in the overlay"
    return line["user"], line["node_id"] or "no certificate", kept, phones


def remove(user: User, peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Remove the files, tell the running peer."""
    from p2psip.daemon.state.line_files import files_of
    from p2psip.daemon.state.state import load_state

    aor, files = files_of(load_state(peer), user)
    if not files.exists:
        raise LocalMisuse(f"{aor} has no line here; `p2psip line list --peer {peer}` lists them")
    files.remove()
    reload_lines(peer)
    print(json.dumps({"user": aor, "removed": True}) if as_json else f"{aor} has no line here any more.")


def renew(user: User, peer: PeerDirectory = Path(), as_json: Json = False) -> None:
    """Ask the enrollment server, tell the running peer."""
    import asyncio

    from p2psip.daemon.lines.line_setup import renew_line
    from p2psip.daemon.renewing.renewal import day
    from p2psip.daemon.state.line_files import files_of
    from p2psip.daemon.state.state import load_state

    state = load_state(peer)
    aor, files = files_of(state, user)
    busy(f"renewing the certificate of {aor}")
    identity = asyncio.run(renew_line(state, files.name))
    reload_lines(peer)
    facts = {"user": aor, "node_id": str(identity.node_id), "until": day(identity.not_after)}
    print(json.dumps(facts) if as_json else f"{aor}: certificate valid until {facts['until']}")


def reload_lines(peer: Path) -> bool:
    """Have the running peer look at its lines; False if none runs."""
    from p2psip.daemon.control_client import ask_peer, is_running

    if not is_running(peer):
        return False
    told: Any = ask_peer(peer, "reload-lines")
    for problem in told["problems"]:
        print(f"p2psip: {problem}", file=sys.stderr)
    return True


def _with_problem(peer: Path, line: dict[str, Any]) -> dict[str, Any]:
    """What a running peer says of a line, and, as it goes on with what it has read, what it cannot read any more."""
    from p2psip.daemon.state.line_files import files_of
    from p2psip.daemon.state.state import load_state

    try:
        files_of(load_state(peer), line["user"])[1].load_handling()
    except LocalMisuse as error:
        return line | {"problem": "; ".join(filter(None, (line["problem"], str(error))))}
    return line


def _on_disk(state: PeerState, name: str) -> dict[str, object]:
    """What the files of a line say, in the words of a running peer."""
    from p2psip.daemon.state.line_files import LineFiles

    aor = aor_of(name, state.configuration.instance_name)
    facts: dict[str, object] = {
        "user": aor,
        "node_id": None,
        "phones": [],
        "record": None,
        "calls": [],
        "others": [],
        "problem": "",
    }
    files = LineFiles(state.directory, name)
    try:
        line = files.load(state.configuration)
        facts["calls"] = files.load_handling().in_words()
    except LocalMisuse as error:
        return facts | {"problem": str(error)}
    return facts | {"node_id": str(line.identity.node_id)}
