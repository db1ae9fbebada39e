"""What a node wants of its driver, done on real sockets."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from free_ports import free_port
from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.net.node_host import HostSettings, LinkContexts, NodeCore, NodeHost, Store
from p2psip.reload.paths.values import AcceptNarrow, PathEvent


class Wishes:
    """A core that wants what the test says."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []

    def drain(self) -> list[Effect]:
        """Once each."""
        effects, self.effects = self.effects, []
        return effects

    def next_deadline(self) -> None:
        """It waits for nothing."""

    def handle_path(self, event: PathEvent, now: float) -> None:
        """It connects with nobody."""


def test_what_is_accepted_is_narrow_as_long_as_the_core_wants() -> None:
    """By the maximum segment size in the SYN of whoever accepts."""

    async def main() -> None:
        core, address = Wishes(), Address("127.0.0.1", free_port())
        context = SSL.Context(SSL.TLS_METHOD)
        settings = HostSettings(LinkContexts(context), cast(Store, None), 0.0, path_mtu=1280)
        host = NodeHost(cast(NodeCore, core), settings, lambda effect: None)
        await host.listen_links([address])

        def segment_bytes(*wishes: Effect) -> int:
            core.effects = list(wishes)
            host.call(lambda now: None)
            with socket.create_connection(address) as dialled:
                return dialled.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

        wide = segment_bytes()
        assert 536 < wide <= 1240
        assert segment_bytes(AcceptNarrow(True)) <= 536
        assert segment_bytes(AcceptNarrow(False)) == wide
        host.close()
        await host.wait_closed()

    asyncio.run(main())
