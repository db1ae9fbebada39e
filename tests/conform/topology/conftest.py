"""Each test here is run with every topology plug-in, over direct links: no frames, no acknowledgements.

What a topology does is the same over either; how links come and go over frames is held by the tests of links, of the
RFC and of peers with phones.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.sim.topologies import CASES, Case


@pytest.fixture(params=CASES.values(), ids=CASES)
def topology(request: pytest.FixtureRequest) -> Case:
    """A topology plug-in that is to do."""
    case = request.param
    assert isinstance(case, Case)
    return replace(case, settings={**case.settings, "is_direct": True})
