"""By which router this machine reaches the world, asked of the Linux kernel (rtnetlink(7)): reading alone."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from p2psip.net.sockets.addresses import host_towards
from p2psip.net.sockets.interfaces import attributes, dump
from p2psip.portmap.values import ROUTER_PORT, HomeRouter

RTM_GETROUTE, RTM_NEWROUTE = 26, 24
RTA_GATEWAY, RTA_PRIORITY = 5, 6
RT_TABLE_MAIN, RTN_UNICAST = 254, 1
ROUTE_MESSAGE: Final = struct.Struct("=BBBBBBBBI")


class DefaultRoute(NamedTuple):
    """A route of IPv4 to wherever no other leads; that with the lowest metric is taken."""

    metric: int
    gateway: str
    """Empty where there is none: a tunnel leads to the world without one."""


def default_router() -> HomeRouter | None:
    """The one that packets to far away go to; None if there is none. Raises OSError if the kernel does not say."""
    request = ROUTE_MESSAGE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    gateway = min(_default_routes(dump(RTM_GETROUTE, request)), default=DefaultRoute(0, "")).gateway
    return HomeRouter(gateway, host_towards((gateway, ROUTER_PORT))) if gateway else None


def _default_routes(messages: Iterable[tuple[int, bytes]]) -> Iterator[DefaultRoute]:
    for kind, body in messages:
        if kind != RTM_NEWROUTE:
            continue
        family, to_bits, _, _, table, _, _, route_type, _ = ROUTE_MESSAGE.unpack_from(body)
        found = dict(attributes(body[ROUTE_MESSAGE.size :]))
        if (family, to_bits, table, route_type) == (socket.AF_INET, 0, RT_TABLE_MAIN, RTN_UNICAST):
            (metric,) = struct.unpack("=I", found.get(RTA_PRIORITY, bytes(4)))
            gateway = found.get(RTA_GATEWAY)
            yield DefaultRoute(metric, "" if gateway is None else str(ipaddress.IPv4Address(gateway)))
