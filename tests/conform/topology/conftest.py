"""Each test here is run with every topology plug-in."""

from __future__ import annotations

import pytest

from p2psip.sim.topologies import CASES, Case


@pytest.fixture(params=CASES.values(), ids=CASES)
def topology(request: pytest.FixtureRequest) -> Case:
    """A topology plug-in that is to do."""
    case = request.param
    assert isinstance(case, Case)
    return case
