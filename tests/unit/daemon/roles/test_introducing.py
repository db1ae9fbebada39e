"""p2psip.daemon.roles.introducing: a bootstrap server as a process."""

from __future__ import annotations

import asyncio

import pytest

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.roles.introducing import serve_bootstrap


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_it_is_not_led_to_itself(host: str) -> None:
    """Also where it listens at every address, as it does unless it is told."""
    with pytest.raises(LocalMisuse, match="name the peers, not the server itself"):
        asyncio.run(serve_bootstrap(Address(host, 6084), [Address("127.0.0.1", 6084)]))
