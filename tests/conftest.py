"""Each test begins and ends with the log as it is where nobody has set it up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
