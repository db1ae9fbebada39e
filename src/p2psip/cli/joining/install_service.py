"""`p2psip install-service`: have systemd run what runs all the time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse, RequestFailed

if TYPE_CHECKING:
    from p2psip.daemon.joining.service_units import ServiceKind, ServicePlan

HELP = """Have systemd run the peer, at each start of the machine, as a user without any rights, shut in.

What `p2psip up` or `p2psip join` have made in your home directory is run from there, as you; else what is in
/var/lib/p2psip, as the user p2psip, who is made. WHAT is `up`: the peer, and the enrollment server if the overlay began
here; or `peer` or `enrollment` alone, with --directory. `p2psip status`, `invite` and `members` are typed as that user
then. Needs root: type it with sudo. --print shows the unit, and does nothing.

Examples:

\b
    p2psip install-service --print
    p2psip install-service --now
    p2psip install-service enrollment --directory /srv/club
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def install_service(
    what: Annotated[str, typer.Argument(metavar="[WHAT]", help="up, peer or enrollment.")] = "up",
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="What is to run. [~/.p2psip, or /var/lib/p2psip]")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="USER", help="As whom. [whose the directory is, or p2psip]")
    ] = None,
    is_shown: Annotated[bool, typer.Option("--print", "--dry-run", help="Print the unit, do nothing.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Start it at once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look what is there, write the unit, tell systemd."""
    from p2psip.daemon.joining.service_units import MARK, UNITS, unit_of
    from p2psip.net.disk.files import write_file

    kind = _kind(what)
    plan = _plan(kind, directory, user)
    unit, path = unit_of(plan), UNITS / kind.unit
    if is_shown:
        print(json.dumps({"unit": unit, "path": str(path), "user": plan.user}) if as_json else unit, end="")
        return
    if os.geteuid() != 0:
        raise LocalMisuse("this needs root: type it with sudo; --print shows what it would write")
    if not MARK.is_dir():
        raise LocalMisuse("this machine is not run by systemd; --print shows the unit, for whatever runs it")
    _make_user(plan)
    write_file(path, unit.encode())
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", *(["--now"] if now else []), kind.unit)
    if as_json:
        print(json.dumps({"path": str(path), "user": plan.user, "started": now}))
        return
    print(f"{path}: systemd runs {' '.join(plan.command)} as {plan.user}, from the next start of this machine on.")
    if not now:
        print(f"To start it now: systemctl start {kind.unit}")
    print(f"Its log: journalctl -u {kind.unit.partition('.')[0]}")


def _kind(what: str) -> ServiceKind:
    from p2psip.daemon.joining.service_units import ServiceKind

    try:
        return ServiceKind(what)
    except ValueError:
        raise LocalMisuse(f"{what!r} cannot be a service: up, peer or enrollment can") from None


def _plan(kind: ServiceKind, directory: Path | None, user: str | None) -> ServicePlan:
    """What is there, and whose it is. Raises LocalMisuse if it cannot be run."""
    import pwd

    from p2psip.daemon.joining.service_units import STATE_DIRECTORY, USER, ServiceKind, ServicePlan, program_roots

    if directory is None and kind is not ServiceKind.UP:
        raise LocalMisuse(f"say which with --directory DIR: install-service {kind.value} has no usual place")
    where = (directory if directory is not None else _usual()).expanduser().absolute()
    _check_there(kind, where)
    uid = where.stat().st_uid
    owner = pwd.getpwuid(uid).pw_name if uid and user is None and where != STATE_DIRECTORY else USER
    if (chosen := user or owner) == "root" or (user is None and uid == 0 and where != STATE_DIRECTORY):
        raise LocalMisuse(
            f"{where} is root's: give it to the user who is to run it (chown -R USER {where}), or move it to"
            f" {STATE_DIRECTORY}"
        )
    return ServicePlan(kind, where, chosen, _program(), program_roots())


def _usual() -> Path:
    """What whoever types this has in the home directory, also if that is with sudo; else what is the service's own."""
    import pwd

    from p2psip.daemon.joining.service_units import STATE_DIRECTORY

    try:
        home = Path(pwd.getpwnam(os.environ.get("SUDO_USER", "")).pw_dir)
    except KeyError:
        home = Path.home()
    return home / ".p2psip" if (home / ".p2psip").is_dir() else STATE_DIRECTORY


def _check_there(kind: ServiceKind, where: Path) -> None:
    """A service that would begin an overlay that nobody wanted, or fail for ever, is none. Raises LocalMisuse."""
    from p2psip.daemon.joining.service_units import ServiceKind
    from p2psip.daemon.state.kept import JOINING_FILE
    from p2psip.daemon.state.settings import SETTINGS_FILE
    from p2psip.net.disk.overlay_directory import ANCHOR_KEY

    marks = {
        ServiceKind.UP: (f"overlay/{ANCHOR_KEY}", f"peer/{SETTINGS_FILE}", f"peer/{JOINING_FILE}"),
        ServiceKind.PEER: (SETTINGS_FILE,),
        ServiceKind.ENROLLMENT: (ANCHOR_KEY,),
    }[kind]
    if not any((where / mark).exists() for mark in marks):
        made_by = {
            ServiceKind.UP: f"`p2psip up --directory {where}` or `p2psip join CODE --peer {where}/peer`",
            ServiceKind.PEER: f"`p2psip peer init {where}`",
            ServiceKind.ENROLLMENT: "`p2psip overlay create`",
        }[kind]
        raise LocalMisuse(f"there is nothing to run in {where}: make it first ({made_by}), or say --directory")


def _program() -> Path:
    """The command as it was typed, by its whole path."""
    found = shutil.which(sys.argv[0])
    beside = Path(sys.executable).with_name("p2psip")
    return Path(found).absolute() if found is not None and Path(found).name == "p2psip" else beside


def _make_user(plan: ServicePlan) -> None:
    """Whom nobody can log in as."""
    import pwd

    from p2psip.daemon.joining.service_units import USER

    try:
        pwd.getpwnam(plan.user)
    except KeyError:
        if plan.user != USER:
            raise LocalMisuse(f"this machine has no user {plan.user}: make it first, or leave --user out") from None
        options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
        _run("useradd", *options, "--home-dir", str(plan.directory), plan.user)


def _run(*command: str) -> None:
    """Raises RequestFailed in its words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RequestFailed(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise RequestFailed(f"{' '.join(command)}: {said}")
