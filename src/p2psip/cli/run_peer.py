"""`python -m p2psip.cli.run_peer`: what `p2psip peer run` becomes once its command line has been read.

A peer runs for months on a small computer. The libraries of the command line, which it would keep in memory, go with
the process image that `exec` replaces.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from p2psip.base.errors import LocalMisuse, P2psipError
from p2psip.cli.terminal.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_MISUSE, fail


def replace_process(
    directory: Path,
    flags: Mapping[str, object],
    *,
    as_json: bool,
    overlay: Path | None = None,
    enrollment_port: int | None = None,
) -> None:
    """Become a running peer; `flags` are settings that go before those in peer.toml. With the directory of an overlay
    its enrollment server runs beside the peer, at the port that the overlay's configuration has, or at another one.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    arguments = [str(directory), json.dumps(given), "json" if as_json else "text"]
    if overlay is not None:
        arguments += [str(overlay), str(enrollment_port or "")]
    os.execv(sys.executable, [sys.executable, "-m", __name__, *arguments])


def main(arguments: list[str]) -> None:
    """Run the peer until it is told to stop; the exit status as of any command."""
    # structlog loads it, if it is there, for coloured tracebacks, which no daemon prints: six megabytes.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from p2psip.daemon.log.log import log_to_stderr
    from p2psip.daemon.overlays.several import run_site
    from p2psip.daemon.renewing.readmission import state_to_run
    from p2psip.daemon.service import StartAnew

    directory, flags, form, *overlay = arguments
    try:
        state = state_to_run(Path(directory), json.loads(flags))
        log_to_stderr(state.settings.log_format, state.settings.log_level)
        with _enrollment(overlay, state.settings.listen, is_json=form == "json"):
            asyncio.run(run_site(state, _say_json if form == "json" else _say_text))
    except StartAnew:
        os.execv(sys.executable, sys.orig_argv)
    except LocalMisuse as error:
        fail(str(error), EXIT_MISUSE)
    except P2psipError as error:
        fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        fail("interrupted", EXIT_INTERRUPTED)


def _enrollment(overlay: list[str], listen: Sequence[str], *, is_json: bool) -> AbstractContextManager[object]:
    """The enrollment server beside the peer, if there is to be one, at the peer's address: `overlay` is the directory,
    and a port if it was said.
    """
    if not overlay:
        return nullcontext()
    from p2psip.daemon.joining.beside import EnrollmentBeside
    from p2psip.daemon.log.log import say
    from p2psip.net.sockets.addresses import bracketed

    directory, port = overlay
    everywhere = {"0.0.0.0", "::"}.intersection(listen)
    at = None if everywhere else f"{bracketed(listen[0])}{f':{port}' if port else ''}"

    def ready(url: str) -> None:
        say(json.dumps({"ready": True, "enrollment": url}) if is_json else f"ready {url}")

    return EnrollmentBeside(Path(directory), at, ready)


def _say_json(facts: Mapping[str, object]) -> None:
    from p2psip.daemon.log.log import say

    say(json.dumps({"ready": True, **facts}))


def _say_text(facts: Mapping[str, object]) -> None:
    phones = facts["phones"]
    assert isinstance(phones, list), "a list of addresses"
    from p2psip.daemon.log.log import say

    say(f"ready {facts['user']} {facts['node_id']}; phones: server {' or '.join(phones)}")


if __name__ == "__main__":
    main(sys.argv[1:])
