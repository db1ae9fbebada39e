"""How commands end, and where what they say goes (this module imports nothing large)."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import NoReturn

EXIT_FAILED = 1
EXIT_MISUSE = 2
EXIT_INTERRUPTED = 130

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


class OutputLost(OSError):
    """What a command had to say could not be written: its reader has gone, or the disk is full."""


class Output(io.TextIOWrapper):
    """Standard output whose failures are told from those of other files."""

    def write(self, text: str) -> int:
        """As of any stream; raises OutputLost."""
        try:
            return super().write(text)
        except OSError as error:
            raise _lost(error) from None

    def flush(self) -> None:
        """As of any stream; raises OutputLost."""
        try:
            super().flush()
        except OSError as error:
            raise _lost(error) from None


def prepare_streams() -> None:
    """Have all three standard streams lead somewhere, and know when output is lost.

    Where one is closed, the next file that is opened would take its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        # Not what a caller of `main` has put in its place.
        old = sys.stdout
        is_lines, encoding, errors = old.line_buffering, old.encoding, old.errors
        sys.stdout = Output(old.detach(), encoding=encoding, errors=errors, line_buffering=is_lines)


def end(status: int) -> NoReturn:
    """End, when everything that was said is out."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OutputLost as error:
        end_speechless(error)
    sys.exit(status)


def end_speechless(error: OutputLost) -> NoReturn:
    """End a command whose output could not be written. A reader that has seen enough (`| head`) need not be told."""
    if isinstance(error.__context__, BrokenPipeError):
        sys.exit(EXIT_FAILED)
    fail(f"cannot write the output: {error.strerror}", EXIT_FAILED)


def fail(message: str, status: int) -> NoReturn:
    """Say in one line on stderr what is wrong, and end."""
    try:
        print(f"p2psip: {' '.join(message.split())}", file=sys.stderr, flush=True)
    except OSError:
        _silence(STANDARD_ERROR)
    sys.exit(status)


def _lost(error: OSError) -> OutputLost:
    # What is still in the buffer would fail once more when Python ends.
    _silence(STANDARD_OUTPUT)
    return OutputLost(error.errno, error.strerror)


def _silence(number: int) -> None:
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
