"""A relay at real sockets, with the driver that peers have, and no node around it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline
from p2psip.net.node_host import HostSettings, LinkContexts, NodeCore, NodeHost, Store, boot_time
from p2psip.reload.node.effects import LinkUp
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import PathEvent
from p2psip.stun.credentials import StunCredential
from p2psip.turn.limits import TurnLimits
from p2psip.turn.values import RelaySettings

HOST = "127.0.0.1"


class RelayCore:
    """What a host drives: the core that makes paths, alone."""

    def __init__(self) -> None:
        self.paths = Paths(random.Random(boot_time()))
        self.node = SimpleNamespace(own_relay=self.paths.own_relay)
        self.links: list[LinkUp] = []

    def handle_path(self, event: PathEvent, now: float) -> None:
        """Something has happened to a connection."""
        self.paths.handle(event, now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        """It is a link, which nobody here uses."""
        self.links.append(link)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """A connection is down."""
        self.paths.down(number, reason, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self.paths.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """When that is."""
        return self.paths.next_deadline()

    def drain(self) -> list[Effect]:
        """What is to be done."""
        return self.paths.drain()


@dataclass(frozen=True)
class RelayAtWork:
    """The relay, where it is, and what it lends."""

    core: RelayCore
    host: NodeHost
    address: Address

    @property
    def streams(self) -> int:
        """How many clients have one."""
        return len(self.core.paths.own_relay.streams)

    def credential(self, member: str) -> StunCredential:
        """What a member is to say."""
        issued = self.core.paths.own_relay.issue(member, 600, boot_time())
        assert issued is not None
        return issued


@contextlib.asynccontextmanager
async def relay_at_work(tls: SSL.Context, limits: TurnLimits | None = None) -> AsyncIterator[RelayAtWork]:
    """A relay that listens on a TCP port of loopback; peers there may be reached by its clients."""
    core = RelayCore()
    settings = HostSettings(LinkContexts(tls), cast(Store, None), 0.0)
    host = NodeHost(cast(NodeCore, core), settings, lambda effect: None)
    (port,) = await host.listen_links([Address(HOST, 0)])
    address = Address(HOST, port)
    relay = RelaySettings("overlay", (HOST,), frozenset((HOST,)), frozenset((address,)))
    core.paths.own_relay.offer(relay, limits or TurnLimits(allocations_per_user=8), boot_time())
    try:
        yield RelayAtWork(core, host, address)
    finally:
        host.close()
        await host.wait_closed()
