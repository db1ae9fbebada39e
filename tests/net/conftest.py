"""What tests of whole peers have in common."""

from __future__ import annotations

import pytest
from heard_calls import PTIME_MS

from p2psip.media import negotiation


@pytest.fixture
def long_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones in virtual time speak in packets that are as long as they may be: when audio is there, and when it is not,
    is the same, and a third of the packets cross a simulated Internet.
    """
    monkeypatch.setattr(negotiation, "PTIME_MS", PTIME_MS)
