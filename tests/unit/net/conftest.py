"""What tests of drivers begin with."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from driver_bench import HERE


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody else's port, where connections are accepted by hand."""
    with socket.create_server((HERE, 0)) as listening:
        listening.settimeout(60)
        yield listening
