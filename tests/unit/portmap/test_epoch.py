"""p2psip.portmap.epoch: RFC 6887 section 8.5, in numbers."""

from __future__ import annotations

import pytest

from p2psip.portmap.epoch import Epoch


@pytest.mark.parametrize(
    ("epoch_s", "later_s", "is_new"),
    [
        (160, 60.0, False),
        (99, 0.1, False),
        (98, 0.1, True),
        (0, 60.0, True),
        (100 + 3600 - 220, 3600.0, False),
        (100 + 3600 - 240, 3600.0, True),
        (100 + 3600 + 220, 3600.0, False),
        (100 + 3600 + 260, 3600.0, True),
        (103, 60.0, True),
    ],
)
def test_a_clock_of_a_router_may_be_wrong_by_a_sixteenth(epoch_s: int, later_s: float, is_new: bool) -> None:
    epoch = Epoch()
    assert not epoch.has_restarted(100, 1000.0), "the first one says nothing"
    assert epoch.has_restarted(epoch_s, 1000.0 + later_s) is is_new
    assert not epoch.has_restarted(epoch_s + 60, 1060.0 + later_s), "and the next is held against that one"
