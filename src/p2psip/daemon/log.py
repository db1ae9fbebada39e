"""The log of a process: one line for each event on standard error, as text (logfmt) or JSON."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from p2psip.base.errors import LocalMisuse

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


def log_to_stderr(log_format: str = "text", level: str = "info") -> None:
    """Set up the log of this process; LocalMisuse for a format or level that there is not."""
    if log_format not in FORMATS:
        raise LocalMisuse(f"--log-format {log_format}: choose one of {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise LocalMisuse(f"--log-level {level}: choose one of {', '.join(LEVELS)}")
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if log_format == "text":
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: StderrLogger(),
    )


def say(line: str) -> None:
    """One line on standard output, for whoever waits for it: that nobody can read it keeps no service from running."""
    try:
        print(line, flush=True)
    except OSError:
        # What is still in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class StderrLogger:
    """Prints lines on standard error.

    A line that cannot be written is lost: a full disk, or a journal that has ended, must not end whom it reports on.
    """

    def msg(self, line: str) -> None:
        """One line; that it cannot be written can be told to nobody."""
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)

    debug = info = warning = error = msg


def _printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """What remotes say goes into the log without control characters: a terminal would obey them."""
    return {name: _clean(value) if isinstance(value, str) else value for name, value in event.items()}


def _clean(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
