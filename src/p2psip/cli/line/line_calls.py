"""`p2psip line forward` and `p2psip line calls`: what the owner of a line wants of the calls to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p2psip.base.errors import LocalMisuse

if TYPE_CHECKING:
    from p2psip.daemon.state.line_files import LineFiles
    from p2psip.sip.entities.handling.call_handling import CallHandling

FORWARD_HELP = """Forward the calls to a line, as its phone does by *72 and a number, and *73.

WHEN is always, busy or no-answer; TO is a user or a number, as USER would dial it. With --off calls are not forwarded
any more. Always: the line's record in the overlay says so, and callers get there also while this peer is off. No
answer: after so many seconds as `p2psip line calls USER --ring` says, 25 if it says nothing, and where no phone is on.

Examples:

\b
    p2psip line forward carol always bob --peer ./peer
    p2psip line forward carol no-answer 42 --peer ./peer
    p2psip line forward carol always --off --peer ./peer
"""

CALLS_HELP = """Show or set what becomes of the calls to a line: for how long it rings, who gets through, and when.

Without an option it shows what is set. Each list is given anew as a whole, of 64 names at most; "" empties it.
--reset forgets all that is set, and what stands beside it is set then. Emergency calls always ring. Quiet hours are by
the clock of this machine, and while that is not known to be right, calls ring. A home peer has calls go by it, where
the overlay has that: docs/ways-of-calls.md.

Examples:

\b
    p2psip line calls carol --ring 40 --peer ./peer
    p2psip line calls carol --quiet 22:00-07:00 --allow bob --allow 112 --peer ./peer
    p2psip line calls carol --deny anonymous --peer ./peer
    p2psip line calls carol --do-not-disturb --peer ./peer
    p2psip line calls carol --home 2026b1b92203f350713c9f92defde47d --peer ./peer
    p2psip line calls carol --pick-up bob --intercom bob --peer ./peer
    p2psip line calls carol --mailbox --ring 20 --peer ./peer
    p2psip line calls carol --reset --peer ./peer
    p2psip line calls carol --reset --ring 40 --peer ./peer
"""

User = Annotated[str, typer.Argument(metavar="USER", help="User name: alice, or alice@OVERLAY.")]
PeerDirectory = Annotated[
    Path, typer.Option("--peer", metavar="DIR", envvar="P2PSIP_PEER", help="The state directory of the peer.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def forward(
    user: User,
    when: Annotated[str, typer.Argument(metavar="WHEN", help="always, busy or no-answer.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="Who is called instead.")] = "",
    off: Annotated[bool, typer.Option("--off", help="Forward no more.")] = False,
    peer: PeerDirectory = Path(),
    as_json: Json = False,
) -> None:
    """Write, tell the running peer."""
    from p2psip.sip.entities.handling.call_handling import WHENS

    meant = next((each for each in WHENS if each == when), None)
    if meant is None:
        raise LocalMisuse(f"{when!r} is none of {', '.join(WHENS)}")
    if to and off:
        raise LocalMisuse(f"--off forwards to nobody: leave {to} out, or --off")
    if not to and not off:
        raise LocalMisuse("say to whom calls are forwarded, as bob or 42, or --off")
    files = _files(peer, user)
    target = "" if off else _target(peer, files.name, to)
    _change(peer, files, files.load_handling().forwarded(meant, target), as_json=as_json)


def calls(
    user: User,
    peer: PeerDirectory = Path(),
    ring: Annotated[int | None, typer.Option(metavar="SECONDS", help="How long it rings; 0: as usual.")] = None,
    do_not_disturb: Annotated[bool | None, typer.Option("--do-not-disturb/--disturb", help="Whether it rings.")] = None,
    quiet: Annotated[list[str] | None, typer.Option(metavar="FROM-TO", help="Hours, as 22:00-07:00.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="USER", help="Who gets through also when it is quiet.")
    ] = None,
    only_allowed: Annotated[
        bool | None, typer.Option("--only-allowed/--all", help="Whether nobody else gets through, ever.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option(metavar="USER", help='Who never gets through; "anonymous": who hides.')
    ] = None,
    home: Annotated[list[str] | None, typer.Option(metavar="NODE-ID", help="A home peer, the preferred first.")] = None,
    pick_up: Annotated[
        list[str] | None,
        typer.Option(metavar="USER", help='Who answers calls that ring here; "*": every member. [lines of this peer]'),
    ] = None,
    intercom: Annotated[
        list[str] | None,
        typer.Option(metavar="USER", help='For whom the phone may answer by itself; "*": every member. [nobody]'),
    ] = None,
    mailbox: Annotated[
        bool | None, typer.Option("--mailbox/--no-mailbox", help="Whether callers who do not get through may speak.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget all of it, forwarding as well.")] = False,
    as_json: Json = False,
) -> None:
    """Show, or write and tell the running peer."""
    from p2psip.sip.entities.handling.call_handling import ANYBODY, CallHandling

    files = _files(peer, user)
    changes: dict[str, object] = {
        "ring_s": None if ring is None else _ring_s(ring),
        "do_not_disturb": do_not_disturb,
        "quiet": None if quiet is None else _hours(quiet),
        "allow": None if allow is None else _names(allow),
        "only_allowed": only_allowed,
        "deny": None if deny is None else _names(deny),
        "homes": None if home is None else _homes(peer, home),
        "pick_up": None if pick_up is None else _names(pick_up, ANYBODY),
        "intercom": None if intercom is None else _names(intercom, ANYBODY),
        "mailbox": mailbox,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    before = CallHandling() if reset else files.load_handling()
    if not given and not reset:
        _print(files.name, before, as_json=as_json)
        return
    _change(peer, files, replace(before, **given), as_json=as_json)  # type: ignore[arg-type]


def _change(peer: Path, files: LineFiles, handling: CallHandling, *, as_json: bool) -> None:
    from p2psip.cli.line.line_commands import reload_lines

    files.save_handling(handling)
    reload_lines(peer)
    _print(files.name, handling, as_json=as_json)


def _print(name: str, handling: CallHandling, *, as_json: bool) -> None:
    words = handling.in_words()
    if as_json:
        print(json.dumps({"user": name, "calls": words}))
    else:
        print(f"{name}: {'; '.join(words) or 'all calls ring'}")


def _files(peer: Path, user: str) -> LineFiles:
    """Raises LocalMisuse if the user has no line here."""
    from p2psip.daemon.state.line_files import files_of
    from p2psip.daemon.state.state import load_state

    aor, files = files_of(load_state(peer), user)
    if not files.exists:
        raise LocalMisuse(f"{aor} has no line here; `p2psip line list --peer {peer}` lists them")
    return files


def _target(peer: Path, name: str, to: str) -> str:
    """Who is meant, by the dial plan of this peer, however it is written. Raises LocalMisuse."""
    from p2psip.daemon.dial_words import offline_config, uri_dialled
    from p2psip.daemon.state.state import load_state
    from p2psip.sip.entities.handling.forward_target import NobodyMeant, forward_target
    from p2psip.sip.entities.numbers.telephone import user_meant
    from p2psip.sip.entities.own import is_own_domain

    config = offline_config(load_state(peer))
    meant = uri_dialled(to, lambda uri: user_meant(uri, config), config.realm)
    if not is_own_domain(meant, config):
        raise LocalMisuse(f"{to} is not of {config.realm}, within which calls are forwarded: write bob, or 42")
    try:
        return forward_target(config, meant.user_name, name)
    except NobodyMeant as error:
        raise LocalMisuse(str(error)) from None


def _ring_s(seconds: int) -> int:
    from p2psip.sip.entities.handling.call_handling import RING_S_LEAST, RING_S_MOST

    if seconds and not RING_S_LEAST <= seconds <= RING_S_MOST:
        raise LocalMisuse(f"--ring takes {RING_S_LEAST} to {RING_S_MOST} s, or 0 for as usual")
    return seconds


def _hours(texts: list[str]) -> tuple[object, ...]:
    from p2psip.sip.entities.handling.call_handling import QuietHours

    try:
        return tuple(QuietHours.parse(text) for text in texts if text)
    except ValueError as error:
        raise LocalMisuse(f"--quiet: {error}") from None


def _homes(peer: Path, texts: list[str]) -> tuple[str, ...]:
    """Node-IDs of this overlay. Raises LocalMisuse."""
    from p2psip.base.ids import NodeId
    from p2psip.daemon.state.state import load_state
    from p2psip.sip.entities.handling.call_handling import HOMES_MAX

    digits = 2 * load_state(peer).configuration.node_id_length
    wanted = tuple(dict.fromkeys(text.strip().lower() for text in texts if text))
    for text in wanted:
        if len(text) != digits or set(text) - set("0123456789abcdef") or not NodeId.fromhex(text).is_valid:
            raise LocalMisuse(
                f"--home: {text!r} is no Node-ID: write its {digits} hex digits, as that peer's status says"
            )
    if len(wanted) > HOMES_MAX:
        raise LocalMisuse(f"a line has {HOMES_MAX} homes at most")
    return wanted


def _names(names: list[str], *further: str) -> tuple[str, ...]:
    """User names, or `further` words. Raises LocalMisuse."""
    from p2psip.enrollment.user_names import RULE, is_user_key
    from p2psip.sip.entities.handling.call_handling import NAMES_MAX

    wanted = tuple(dict.fromkeys(name.lower() for name in names if name))
    for name in wanted:
        if name not in further and not is_user_key(name):
            raise LocalMisuse(f"{name!r} is no user's name: write {RULE}")
    if len(wanted) > NAMES_MAX:
        raise LocalMisuse(f"a list has {NAMES_MAX} names at most")
    return wanted
