"""Where a command gets a password from: a file, the terminal, or, for new ones, chance."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.passwords import as_made_up, check_new_password, generate_password

FILE_HELP = "File whose first line is the password; - is standard input. Without it you are asked."


def known_password(file: str | None, whose: str) -> str:
    """The password of an account that exists; LocalMisuse if it cannot be got.

    Of a made-up one dashes and case do not matter.
    """
    if file is not None:
        return as_made_up(_from_file(file))
    if not sys.stdin.isatty():
        raise LocalMisuse(f"give --password-file with the account password of {whose}")
    return as_made_up(str(typer.prompt(f"Account password of {whose}", hide_input=True, err=True)))


def new_password(
    file: str | None, what: str, make_up: Callable[[random.Random], str] = generate_password
) -> tuple[str, bool]:
    """A new password, and whether it was made up here: then it must be shown, once. `what` says which, and whose."""
    if file is not None:
        return as_made_up(check_new_password(_from_file(file))), False
    if sys.stdin.isatty():
        typed = _typed(f"New {what} (empty: make one up)")
        if typed and _typed("The same once more") != typed:
            raise LocalMisuse("these were two different passwords: try again")
        if typed:
            return as_made_up(check_new_password(typed)), False
    return make_up(random.SystemRandom()), True


def _typed(prompt: str) -> str:
    """What somebody types without its being shown; it may be nothing."""
    return str(typer.prompt(prompt, hide_input=True, default="", show_default=False, err=True))


def _from_file(file: str) -> str:
    """The first line, as it is but for its end."""
    try:
        data = sys.stdin.buffer.readline() if file == "-" else Path(file).read_bytes()
        lines = data.decode().splitlines()
    except OSError as error:
        raise LocalMisuse(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LocalMisuse(f"the password in {file} is not UTF-8") from None
    if not lines or not lines[0]:
        raise LocalMisuse(f"{file} holds no password")
    return lines[0]
