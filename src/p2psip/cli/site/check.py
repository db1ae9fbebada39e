"""`p2psip check`: a site from its files to a call, step by step."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psip.base.errors import LocalMisuse, P2psipError, RequestFailed
from p2psip.cli.terminal.passwords import password_in
from p2psip.cli.terminal.progress import busy

if TYPE_CHECKING:
    from p2psip.daemon.site_check import CheckedStep

HELP = """Check a site from phone to far phone, step by step, and say which step fails and what to do.

Looked at are the files of the peer, its certificate, the clock, the network, the way into the overlay, the router,
relays, and for each line its record and its phone. With --user it registers as a phone of that line and calls *43,
which echoes, and whom --call names: somebody at another site, who has to answer. Exit status 1 if a step fails.

Examples:

\b
    p2psip check --peer ./peer
    p2psip check --peer ./peer --user alice --password-file alice.txt --call bob
"""

TONE_HZ = 440.0
TONE_WITHIN_HZ = 10.0
TALK_S = 3.0
PATIENCE_S = 40.0

MARKS = {True: "ok  ", False: "FAIL", None: " -  "}

app = typer.Typer(add_completion=False, rich_markup_mode=None, help=HELP)


@app.command(help=HELP)
def check(
    peer: Annotated[
        Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
    ] = Path(),
    user: Annotated[str, typer.Option(metavar="USER", help="A line of this peer, as whose phone to call.")] = "",
    password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The phone password of USER is this file's first line.")
    ] = None,
    call: Annotated[str, typer.Option(metavar="TARGET", help="Whom to call at another site.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Go from step to step."""
    if (call or password_file) and not user:
        raise LocalMisuse("calls are made as a line of this peer: give --user and --password-file")
    if user and password_file is None:
        raise LocalMisuse(f"give --password-file with the phone password of {user}")
    password = "" if password_file is None else password_in(password_file)
    done: list[CheckedStep] = []
    for step in _steps(peer, user, password, call):
        done.append(step)
        if not as_json:
            _print(step)
    failed = sum(step.is_good is False for step in done)
    if as_json:
        print(json.dumps({"steps": [step.facts for step in done], "failed": failed}))
    else:
        print(f"\n{failed} of {len(done)} steps fail" if failed else "\nall is well")
    return 1 if failed else 0


def _print(step: CheckedStep) -> None:
    print(f"{MARKS[step.is_good]}  {step.name}: {step.found}", flush=True)
    if step.todo and not step.is_good:
        print(f"      -> {step.todo}", flush=True)


def _steps(directory: Path, user: str, password: str, call: str) -> Iterator[CheckedStep]:
    from p2psip.daemon.control_client import ask_peer, is_running
    from p2psip.daemon.site_check import CheckedStep, certificate_step, clock_step, network_step, overlay_steps
    from p2psip.daemon.state.dial_plan_file import load_numbering
    from p2psip.daemon.state.state import load_state
    from p2psip.net.sockets.addresses import machine_hosts
    from p2psip.sip.entities.handling.star_codes import ECHO

    try:
        state, numbering = load_state(directory), load_numbering(directory)
    except LocalMisuse as error:
        yield CheckedStep("configuration", False, str(error), "put that right; p2psip peer init makes a peer anew")
        return
    overlay = state.configuration.instance_name
    yield CheckedStep("configuration", True, f"{overlay}, number {state.configuration.sequence}")
    yield certificate_step(state.identity.not_after, time.time())
    yield network_step([host for host in machine_hosts() if not host.startswith(("127.", "::1"))])
    if not is_running(directory):
        yield CheckedStep("peer", False, "it does not run", f"p2psip peer run {directory}")
        return
    status: Any = ask_peer(directory, "status")
    yield CheckedStep("peer", True, f"runs, for {status['up_s']:.0f} s")
    yield clock_step(status)
    yield from overlay_steps(status)
    if status["member"]:
        yield from _inside(directory, status)
        port = state.settings.phone_port
        if user:
            server = f"{_phone_host(state.settings.phone_listen)}:{port}"
            code = numbering.codes.codes[ECHO]
            yield from (_echo(server, user, password, code) if code else ())
            yield from (_far_call(server, user, password, call) if call else ())


def _inside(directory: Path, status: Any) -> Iterator[CheckedStep]:
    from p2psip.daemon.control_client import ask_peer
    from p2psip.daemon.site_check import line_steps, nat_step, relay_step

    busy("asking other members about the router")
    nat: Any = ask_peer(directory, "nat")
    yield nat_step(status, nat)
    yield relay_step(status, nat)
    found: dict[str, bool] = {}
    for line in status["lines"]:
        try:
            looked_up: Any = ask_peer(directory, "lookup", uri=line["user"])
        except RequestFailed:
            continue
        entries = looked_up["entries"]
        # A line whose calls are all forwarded leads to somebody else.
        found[line["user"]] = any("aor" in entry or entry["peer"] == status["node_id"] for entry in entries)
    yield from line_steps(status, found)


def _phone_host(listens: tuple[str, ...]) -> str:
    """Where a phone on this machine reaches the peer."""
    first = listens[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)
    return f"[{host}]" if ":" in host else host


def _echo(server: str, user: str, password: str, code: str) -> Iterator[CheckedStep]:
    from p2psip.daemon.site_check import CheckedStep

    step, echo = f"echo ({code})", _call(server, user, password, code)
    if isinstance(echo, str):
        yield CheckedStep(step, False, echo, "is the phone password right, and is USER a line of this peer?")
    elif echo["is_own_tone"]:
        yield CheckedStep(step, True, f"registered and heard itself, {echo['received']} packets")
    else:
        todo = "a firewall on this machine may drop RTP: UDP from and to any port, between the phone and the peer"
        yield CheckedStep(step, False, "answered, but no voice came back", todo)


def _far_call(server: str, user: str, password: str, target: str) -> Iterator[CheckedStep]:
    from p2psip.daemon.site_check import CheckedStep

    busy(f"calling {target}")
    far = _call(server, user, password, target)
    name = f"call to {target}"
    if isinstance(far, str):
        todo = f"is {target} registered there? p2psip lookup {target}; and run p2psip check at that site"
        yield CheckedStep(name, False, far, todo)
    elif far["is_own_tone"]:
        yield CheckedStep(name, True, f"voice both ways: what was sent came back, {far['received']} packets")
    elif far["received"]:
        yield CheckedStep(name, True, f"{far['received']} packets of voice came; ask them whether they heard a tone")
    else:
        todo = "voice is dropped on the way: see `p2psip nat` at both sites, and voice in one direction in the logs"
        yield CheckedStep(name, False, "answered, but no voice came", todo)


def _call(server: str, user: str, password: str, target: str) -> Any:
    """What was heard, or why there was no call."""
    import asyncio

    from p2psip.media.engine import Performance
    from p2psip.net.phone.scripts import listen_in
    from p2psip.net.phone.softphone import PhoneSettings, resolve

    settings = PhoneSettings(
        user=user, server=resolve(server, default_port=5060), password=password, performance=Performance(TONE_HZ)
    )
    try:
        heard = asyncio.run(listen_in(settings, target, TALK_S, PATIENCE_S))
    except P2psipError as error:
        return str(error)
    tone_hz = heard.facts["frequency_hz"]
    is_own_tone = isinstance(tone_hz, float) and abs(tone_hz - TONE_HZ) < TONE_WITHIN_HZ
    return {"is_own_tone": is_own_tone, "received": heard.facts["received"]}
