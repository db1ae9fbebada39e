"""`p2psip phone`: a small headless phone for tests and demonstrations."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.cli.terminal.passwords import password_in

if TYPE_CHECKING:
    from p2psip.net.phone.softphone import PhoneSettings

HELP = """A small headless phone that registers, calls or answers, plays a tone and checks what it hears.

Like any SIP phone it is told a server (the peer beside it), a user and a password:

\b
    p2psip phone --server 192.0.2.10 --user alice --password-env SECRET register
    p2psip phone --server 192.0.2.10 --user bob --password-file bob.txt answer --tone 550
    p2psip phone --server 192.0.2.10 --user alice --password-file alice.txt call bob --expect-tone 550
    p2psip phone --server 192.0.2.10 --user alice --password-file alice.txt call '*43' --expect-tone 440
    p2psip phone --server 192.0.2.10 --user alice --password-file alice.txt --tls club.pem call sips:bob@192.0.2.10

The one with *43 needs no second phone: it echoes. club.pem is what `p2psip peer trust` prints. The exit status is 0 if
everything asked for held, 1 if not (one line says why, in the words that SIP used), 2 if the command line is wrong.

With --control it reads commands from standard input, one a line, and prints one JSON object an event: register,
call TARGET, answer [CALL], reject [CALL] [STATUS], hold CALL, resume CALL, hangup [CALL], unregister, quit.
"""

app = typer.Typer(help=HELP, invoke_without_command=True, add_completion=False, rich_markup_mode=None)

DEFAULT_TONE_HZ = 440.0


@dataclass(slots=True)
class _Common:
    """The options before the subcommand, not looked at yet, so that `p2psip phone call --help` needs none."""

    server: str
    user: str
    password_file: Path | None
    password_env: str
    transport: str
    tls: Path | None
    listen: str
    expires_s: int
    as_json: bool
    registers: bool


@app.callback()
def phone(
    context: typer.Context,
    server: Annotated[str, typer.Option(metavar="HOST[:PORT]", help="The peer beside this phone.")] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="The line's user name.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="The phone password is this file's first line.")] = None,
    password_env: Annotated[str, typer.Option(metavar="VAR", help="It is the value of this variable.")] = "",
    transport: Annotated[str, typer.Option(metavar="udp|tcp", help="How SIP travels to the server.")] = "udp",
    tls: Annotated[Path | None, typer.Option(metavar="FILE", help="Over TLS, with whom this file vouches for.")] = None,
    listen: Annotated[str, typer.Option(metavar="HOST[:PORT]", help="Own address; by default a free port.")] = "",
    expires: Annotated[int, typer.Option(min=10, max=7200, help="Seconds a registration is to last.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
    no_register: Annotated[bool, typer.Option("--no-register", help="Call or answer without registering.")] = False,
    control: Annotated[bool, typer.Option("--control", help="Read commands from standard input.")] = False,
    tone: Annotated[float, typer.Option(help="With --control: Hz of the tone that calls play.")] = DEFAULT_TONE_HZ,
    auto_answer: Annotated[int | None, typer.Option(metavar="MS", help="With --control: answer after MS.")] = None,
) -> int:
    """Take the common options; without a subcommand, run by commands from standard input."""
    common = _Common(
        server, user, password_file, password_env, transport, tls, listen, expires, as_json or control, not no_register
    )
    context.obj = common
    if context.invoked_subcommand is not None:
        if control:
            raise LocalMisuse(
                f"--control takes its commands from standard input: leave out {context.invoked_subcommand}"
            )
        return 0
    if not control:
        raise LocalMisuse("say what the phone shall do: register, call TARGET or answer; or --control")
    from p2psip.net.phone import scripts

    return _run(scripts.controlled(_settings(common, tone, auto_answer), sys.stdin, registers=common.registers))


@app.command()
def register(context: typer.Context) -> int:
    """Register, say so, unregister: is the password right, does the server answer?"""
    from p2psip.net.phone import scripts

    common: _Common = context.obj
    return _run(scripts.register(_settings(common, None, None), as_json=common.as_json))


@app.command()
def call(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="sip:NAME@HOST, or a number or name at the server.")],
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long to talk.")] = 2.0,
    tone: Annotated[float, typer.Option(min=50, max=3800, help="Hz of the tone to play.")] = DEFAULT_TONE_HZ,
    expect_tone: Annotated[float | None, typer.Option(metavar="HZ", help="Fail unless this tone is heard.")] = None,
    patience: Annotated[float, typer.Option(metavar="S", help="Give up if nobody answers in time.")] = 30.0,
) -> int:
    """Call somebody, play a tone, listen, hang up."""
    from p2psip.net.phone import scripts

    common: _Common = context.obj
    wishes = scripts.Wishes(seconds, expect_tone, patience, common.registers, common.as_json)
    return _run(scripts.call(_settings(common, tone, None), target, wishes))


@app.command()
def answer(
    context: typer.Context,
    calls: Annotated[int, typer.Option(min=1, help="End after this many calls.")] = 1,
    seconds: Annotated[float | None, typer.Option(help="Hang up after this; by default the caller does.")] = None,
    tone: Annotated[float, typer.Option(min=50, max=3800, help="Hz of the tone to play.")] = 550.0,
    expect_tone: Annotated[float | None, typer.Option(metavar="HZ", help="Fail unless this tone is heard.")] = None,
    after: Annotated[int, typer.Option(metavar="MS", min=0, help="Let it ring for so long.")] = 300,
    patience: Annotated[float | None, typer.Option(metavar="S", help="Give up if nobody calls in time.")] = None,
) -> int:
    """Wait for calls and answer them."""
    from p2psip.net.phone import scripts

    common: _Common = context.obj
    wishes = scripts.Wishes(seconds, expect_tone, patience, common.registers, common.as_json)
    return _run(scripts.answer(_settings(common, tone, after), calls, wishes))


def _run(script: Coroutine[None, None, None]) -> int:
    import asyncio
    import signal

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        # Whoever is told to go hangs up and unregisters first.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await script

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    return 0


def _password(file: Path | None, variable: str) -> str:
    if file is not None and variable:
        raise LocalMisuse("--password-file and --password-env exclude each other: keep one of them")
    if variable:
        if variable not in os.environ:
            raise LocalMisuse(f"--password-env {variable}: no such environment variable; export it first")
        return os.environ[variable]
    if file is None:
        return ""
    return password_in(str(file))


def _settings(common: _Common, tone_hz: float | None, auto_answer_ms: int | None) -> PhoneSettings:
    from p2psip.media.engine import Performance
    from p2psip.net.disk.pem_files import read_chain
    from p2psip.net.phone.softphone import PhoneSettings, resolve

    if not common.server or not common.user:
        raise LocalMisuse("say --server HOST[:PORT] and --user NAME before the command: p2psip phone --help")
    if common.transport not in ("udp", "tcp"):
        raise LocalMisuse(f"--transport {common.transport}: write udp or tcp, or --tls FILE for TLS")
    is_tls = common.tls is not None
    return PhoneSettings(
        user=common.user,
        server=resolve(common.server, default_port=5061 if is_tls else 5060),
        password=_password(common.password_file, common.password_env),
        transport="TLS" if is_tls else "TCP" if common.transport == "tcp" else "UDP",
        trusts=() if common.tls is None else tuple(read_chain(common.tls)),
        listen=resolve(common.listen, default_port=0) if common.listen else None,
        performance=Performance(tone_hz),
        auto_answer_s=None if auto_answer_ms is None else auto_answer_ms / 1000,
        expires_s=common.expires_s,
    )
