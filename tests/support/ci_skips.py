"""In CI a test is not left out because a program, a right or a network is lacking: there that is a failure.

Tests say themselves what they need (`pytest.mark.skipif`, `pytest.skip`); this is the one place that knows of CI, which
is wherever the variable CI is set: by services that run such things, and by `.ci/run`.
"""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)

PERMITTED = ("audioop left Python with 3.13",)
"""Reasons that no machine can do anything about."""


def in_ci() -> bool:
    """True if this run is to leave nothing out."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def not_in_ci(report: _Report) -> _Report:
    """The same report; in CI a failure, if the test or its module was left out.

    CI_LACKS holds words, with commas between: what `.ci/run` could not get, and has said so. A reason that names one of
    them is one.
    """
    if not (report.skipped and in_ci()) or hasattr(report, "wasxfail"):
        return report
    _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    lacks = [word.strip() for word in os.environ.get("CI_LACKS", "").split(",")]
    if any(word and word in reason for word in (*PERMITTED, *lacks)):
        return report
    report.outcome = "failed"
    report.longrepr = f"left out in CI, where nothing may be lacking: {reason}"
    return report
