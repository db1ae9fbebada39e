"""What a network consists of, before any of it exists."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from netlab.namespaces import LabError
from p2psip.sim.ip.boxes import NatBehaviour

INTERNET: Final = "internet"
IPV4, IPV6, DUAL = (4,), (6,), (4, 6)
PUBLIC: Final = {4: "198.51.100.0/24", 6: "2001:db8::/64"}
MTU: Final = 1500
IPV6_MTU: Final = 1280
"""RFC 8200 section 5: no link with IPv6 has less."""

FIRST_PLACE: Final = 9
"""The place of a node in a network is its number above this."""


@dataclass(frozen=True)
class LabNode:
    """A host: one interface, eth0, on the internet or in the LAN of a router."""

    name: str
    number: int
    uplink: str
    versions: tuple[int, ...] = DUAL
    addresses: tuple[str, ...] = ()
    mtu: int = MTU
    """Of its cable, in both directions."""
    hides_mtu: bool = False
    """Nobody is told that a packet was too big for the cable (RFC 2923: a black hole)."""

    @property
    def port(self) -> str:
        """The device at the other end of its cable."""
        return f"p-{self.name}"

    def address(self, version: int = 4) -> str | None:
        """Its first address of a version."""
        return next((each for each in self.addresses if ipaddress.ip_address(each).version == version), None)


@dataclass(frozen=True)
class LabRouter(LabNode):
    """A node with a LAN behind it. IPv6 is not translated: it is let in as an answer, and else dropped."""

    nat: NatBehaviour = field(default_factory=NatBehaviour)
    blocks_udp: bool = False
    """Over IPv6 as well."""
    lan4: str = ""
    lan6: str = ""


class Plan:
    """Hosts and routers: a tree whose root is the internet."""

    def __init__(self) -> None:
        self.nodes: dict[str, LabNode] = {}

    def host(
        self,
        name: str,
        uplink: str = INTERNET,
        versions: tuple[int, ...] = DUAL,
        addresses: Sequence[str] = (),
        *,
        mtu: int = MTU,
        hides_mtu: bool = False,
    ) -> str:
        """Add a host, with these addresses and one of each version that is not among them."""
        number = len(self.nodes) + 1
        return self._add(LabNode(name, number, uplink, versions, tuple(addresses), mtu, hides_mtu))

    def router(
        self,
        name: str,
        nat: NatBehaviour,
        uplink: str = INTERNET,
        *,
        lan4: str = "",
        addresses: Sequence[str] = (),
        blocks_udp: bool = False,
        mtu: int = MTU,
        hides_mtu: bool = False,
    ) -> str:
        """Add a router, with these addresses and one of each version that is not among them. Two of them may have the
        same LAN.
        """
        number = len(self.nodes) + 1
        lans = lan4 or f"10.{number}.0.0/24", f"2001:db8:{number:x}::/64"
        versions = DUAL if mtu >= IPV6_MTU else IPV4
        return self._add(
            LabRouter(name, number, uplink, versions, tuple(addresses), mtu, hides_mtu, nat, blocks_udp, *lans)
        )

    def _add(self, node: LabNode) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,12}", node.name) or node.name == INTERNET:
            raise LabError(f"{node.name!r} is no name of a node: a device is called by it")
        if node.name in self.nodes:
            raise LabError(f"two nodes are called {node.name!r}")
        self.nodes[node.name] = self.addressed(node)
        return node.name

    def addressed(self, node: LabNode) -> LabNode:
        """A node with the addresses that it lacks."""
        if node.uplink != INTERNET and node.uplink not in self.routers():
            raise LabError(f"{node.name!r} is behind {node.uplink!r}, which is no router")
        versions = {ipaddress.ip_address(address).version for address in node.addresses}
        place = FIRST_PLACE + node.number
        more = [str(self.prefix(node.uplink, each)[place]) for each in node.versions if each not in versions]
        return replace(node, addresses=(*node.addresses, *more))

    def prefix(self, segment: str, version: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """That of the internet or of a router's LAN; the first address in it is the gateway's."""
        router = self.routers().get(segment)
        if router is None:
            return ipaddress.ip_network(PUBLIC[version])
        return ipaddress.ip_network(router.lan4 if version == 4 else router.lan6)

    def routers(self) -> dict[str, LabRouter]:
        """All routers, by name."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, LabRouter)}

    def way(self, name: str) -> list[str]:
        """A node, its router, the router of that, and so on; the internet is the last."""
        return [name] if name == INTERNET else [name, *self.way(self.nodes[name].uplink)]

    def behind(self, name: str) -> list[LabNode]:
        """A node and all that reach the internet through it, from outside to inside."""
        return [node for node in self.nodes.values() if name in self.way(node.name)]

    def routes_to(self, node: LabNode) -> Iterator[tuple[str, str]]:
        """How the segments above a node find it, and its LAN: in which, and the route."""
        if node.uplink == INTERNET:
            for address in node.addresses:
                yield INTERNET, f"{address} dev {node.port}"
        if isinstance(node, LabRouter) and node.address(6):
            for child, segment in itertools.pairwise(self.way(node.name)):
                device = self.nodes[child].port if segment == INTERNET else "lan"
                yield segment, f"{node.lan6} via {self.nodes[child].address(6)} dev {device}"
