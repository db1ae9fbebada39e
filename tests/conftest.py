"""What all tests begin with."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
import structlog
from ci_skips import not_in_ci
from hypothesis import HealthCheck, settings

from p2psip.daemon.log.log import FromLibraries


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what processes that tests start inherit, and have Hypothesis look at no clock."""
    settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("no clock")
    # What is imported stays, and cores leave no cycles behind: there is hardly anything to be found.
    gc.set_threshold(50_000)
    # A shell that runs the tests in the background has SIGINT ignored: examples would not end by Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Hundreds of processes would compile the same modules, each for itself, as would the workers of the next run.
        os.environ["PYTHONPYCACHEPREFIX"] = str(config.rootpath / ".pytest_cache" / "compiled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first: what begins last is what all wait for."""
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    """How long the tests of its file take, one after the other, if it says so."""
    return max((mark.args[0] for mark in item.iter_markers("slow") if mark.args), default=0.0)


def pytest_collection_finish() -> None:
    """The collector does not walk through all objects of the tests to find next to nothing."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What is left out in CI has failed. With a failure stands what the processes of peers have logged."""
    report = not_in_ci((yield))
    if report.failed and (overlay := sys.modules.get("live_overlay")) is not None:
        report.sections += overlay.last_words()
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """As a test, so a whole module."""
    return not_in_ci((yield))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables that tests have recorded as a property of this name."""
    for report in terminalreporter.getreports("passed"):
        for table in (value for name, value in report.user_properties if name == "table"):
            terminalreporter.section(report.nodeid)
            terminalreporter.write_line(str(table))


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """The log is as it is where nobody has set it up, and is left so: one that was captured is closed by now."""
    structlog.reset_defaults()
    yield
    if sys.modules.get("rich", ...) is None:
        # Left out by a command that ran in this process.
        del sys.modules["rich"]
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, FromLibraries)]:
        root.removeHandler(handler)
