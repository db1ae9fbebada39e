"""The log of a process: one line for each event on standard error, as text (logfmt) or JSON.

What libraries have to say (asyncio, uvicorn, ...) goes the same way. Nobody outside can make it long: lines of a kind
are limited (`log_limits`), and so is each fact in a line.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, WrappedLogger

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.log.limits import FACT_MAX, LogLimits, clean, kind_of, size_of, source_of

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")


def log_to_stderr(
    log_format: str = "text", level: str = "info", *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Set up the log of this process; LocalMisuse for a format or level that there is not."""
    if log_format not in FORMATS:
        raise LocalMisuse(f"--log-format {log_format}: choose one of {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise LocalMisuse(f"--log-level {level}: choose one of {', '.join(LEVELS)}")
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if log_format == "text":
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    limited = Limited(clock)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            limited,
            structlog.processors.TimeStamper(fmt="iso"),
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: StderrLogger(),
    )
    atexit.register(limited.tell_rest)
    logging.basicConfig(handlers=[FromLibraries()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


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


class Limited:
    """A processor that leaves out lines of which there are too many, and tells how many those were."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limits = LogLimits()
        # An enrollment server beside a peer logs from a thread of its own.
        self._lock = threading.Lock()

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Let a line through, or raise DropEvent. Who asks for details is given all of them."""
        now, kind = self._clock(), kind_of(event)
        with self._lock:
            due = self._limits.due(now)
            is_in = method == "debug" or (
                # Who has caused it, and how long it is, takes five times as long to say as its kind.
                not self._limits.leaves_out(kind, now)
                and self._limits.admits(kind, source_of(event), now, size_of(event))
            )
        self._tell(due)
        if not is_in:
            raise structlog.DropEvent
        return event

    def tell_rest(self) -> None:
        """The process ends."""
        self._tell(self._limits.take())

    @staticmethod
    def _tell(left_out: dict[str, int]) -> None:
        for kind, count in left_out.items():
            structlog.get_logger().warning("lines left out", of=kind, count=count)


class FromLibraries(logging.Handler):
    """Carries what libraries log into ours, in a line of the library's name."""

    def emit(self, record: logging.LogRecord) -> None:
        """As one of our lines; that of an exception has the end of its traceback."""
        facts = {"message": record.getMessage()}
        if (source := getattr(record, "source", None)) is not None:
            facts["source"] = str(source)
        if record.exc_info is not None and record.exc_info[1] is not None:
            facts["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-FACT_MAX:]
        log = structlog.get_logger()
        (log.error if record.levelno >= logging.ERROR else log.warning)(record.name, **facts)


def _printable(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """What remotes say goes into the log without control characters, which a terminal would obey, and not at length."""
    return {name: clean(value) if isinstance(value, str) else value for name, value in event.items()}
