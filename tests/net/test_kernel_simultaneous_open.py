"""Two hosts behind routers of Linux that open a TCP connection to each other: what docs/decisions/tcp-beside-ice.md
rests on, and what p2psip.sim has in their place.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterator

import pytest
from kernel_nat import needs_nft, within
from nat_sites import OUTSIDE, PORT_RESTRICTED, NatSites, inside, nat_sites
from networks import needs_networks

from p2psip.base.address import Address

pytestmark = [pytest.mark.slow, needs_networks, needs_nft]

FORGOTTEN_S = 11.0
"""nf_conntrack_tcp_timeout_close, and a second."""

LEFT_S = 0.2
"""How long a SYN may take out of its router."""

PORT = 50001
CONNECTED, PENDING = 0, errno.EINPROGRESS


class Opens:
    """A host's attempts to open a connection from one port of its own to one of the other router."""

    def __init__(self, world: NatSites, number: int) -> None:
        self._name = world.sites[number].name
        self._local = Address(inside(number), PORT)
        self._remote = Address(OUTSIDE.format(place=11 - number), PORT)
        self._sockets: list[socket.socket] = []

    def make(self) -> None:
        """Have a socket ready."""

        def bound() -> socket.socket:
            made = socket.socket()
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(self._local)
            return made

        self._sockets.append(within(self._name, bound))

    def open(self) -> None:
        """Send a SYN."""
        assert self._sockets[-1].connect_ex(self._remote) == errno.EINPROGRESS

    def result(self, limit_s: float) -> int:
        """What has become of it: CONNECTED, PENDING, or why not."""
        _, ready, _ = select.select([], [self._sockets[-1]], [], limit_s)
        return self._sockets[-1].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if ready else PENDING

    def close(self) -> None:
        """All of them."""
        for each in self._sockets:
            each.close()


class Ends:
    """Both hosts."""

    def __init__(self, world: NatSites) -> None:
        self._world = world
        self.both = self.first, self.second = Opens(world, 0), Opens(world, 1)

    def cross(self) -> list[int]:
        """Send both SYNs before one of them arrives; what becomes of it."""
        for each in self.both:
            each.make()
        self._world.cut()
        for each in self.both:
            each.open()
        time.sleep(LEFT_S)
        self._world.mend()
        return [each.result(30.0) for each in self.both]


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """Both; the parameter says whether their routers refuse what nobody has asked for."""
    with nat_sites(PORT_RESTRICTED, PORT_RESTRICTED, is_refusing=request.param) as world:
        found = Ends(world)
        yield found
        for each in found.both:
            each.close()


DROPPING = pytest.mark.parametrize("ends", [False], indirect=True, ids=["dropping"])
REFUSING = pytest.mark.parametrize("ends", [True], indirect=True, ids=["refusing"])
EITHER = pytest.mark.parametrize("ends", [False, True], indirect=True, ids=["dropping", "refusing"])


@EITHER
def test_two_syns_that_cross_are_a_connection(ends: Ends) -> None:
    assert ends.cross() == [CONNECTED, CONNECTED]


@DROPPING
def test_where_routers_drop_the_early_one_has_opened_the_way_for_the_late_one(ends: Ends) -> None:
    for each in ends.both:
        each.make()
    ends.first.open()
    assert ends.first.result(1.5) == PENDING
    ends.second.open()
    assert [each.result(30.0) for each in ends.both] == [CONNECTED, CONNECTED]


@REFUSING
def test_a_router_that_refuses_keeps_the_port_and_forgets_it(ends: Ends) -> None:
    """The late one goes out from another port, at which nobody expects it; after ten seconds both may try anew."""
    for each in ends.both:
        each.make()
    ends.first.open()
    assert ends.first.result(5.0) == errno.ECONNREFUSED
    ends.second.open()
    assert ends.second.result(5.0) == errno.ECONNREFUSED
    time.sleep(FORGOTTEN_S)
    assert ends.cross() == [CONNECTED, CONNECTED]
