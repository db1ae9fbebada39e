"""Where a command gets a password from: a file, the terminal, or, for new ones, chance."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.passwords import as_made_up, check_new_password, generate_password

FILE_HELP = "File whose first line is the password; - is standard input. Without it you are asked."


def known_password(file: str | None, whose: str) -> str:
    """The password of an account that exists; LocalMisuse if it cannot be got.

    Of a made-up one dashes and case do not matter.
    """
    if file is not None:
        return as_made_up(password_in(file))
    if not sys.stdin.isatty():
        raise LocalMisuse(f"give --password-file with the account password of {whose}")
    return as_made_up(str(typer.prompt(f"Account password of {whose}", hide_input=True, err=True)))


def new_password(
    file: str | None, what: str, make_up: Callable[[random.Random], str] = generate_password
) -> tuple[str, bool]:
    """A new password, and whether it was made up here: then it must be shown, once. `what` says which, and whose."""
    if file is not None:
        return as_made_up(check_new_password(password_in(file))), False
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


def password_in(file: str) -> str:
    """The first line of a file, without blanks around it, in the form in which keyboards write it (NFC).

    Editors and `echo` leave blanks that nobody sees; some systems take accents apart. LocalMisuse if there is none.
    """
    from p2psip.net.disk.files import text_of

    try:
        data = sys.stdin.buffer.readline() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise LocalMisuse(f"cannot read {file}: {error.strerror}") from None
    first, *_ = text_of(data, file).splitlines() or [""]
    if not (password := first.strip()):
        raise LocalMisuse(f"{file} holds no password in its first line")
    return normalize("NFC", password)
