"""A running lab: the namespaces, cables and routers of a Plan.

A node is a namespace whose one interface is eth0; a router has besides the bridge `lan`, to which its LAN is plugged.
The internet is a namespace that routes between the cables of the public nodes, with its own address on `lo`: no public
node sees what another one says to a third.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from network_namespace import NETNS, inside
from networks import Host

from netlab import namespaces
from netlab.box_rules import firewall_of, rules_of, silence_of, timeouts_of
from netlab.namespaces import LabError, forget_flows, ip_batch, sh
from netlab.plan import INTERNET, LabNode, LabRouter, Plan
from p2psip.base.address import Address

NODE_SETTINGS: Final = {
    name.format(scope): 0
    for scope in ("all", "default")
    for name in (
        "ipv4/conf/{}/rp_filter",
        "ipv4/conf/{}/send_redirects",
        "ipv6/conf/{}/accept_dad",
        "ipv6/conf/{}/accept_ra",
    )
}
ROUTER_SETTINGS: Final = NODE_SETTINGS | {
    "ipv4/ip_forward": 1,
    "ipv6/conf/all/forwarding": 1,
    "bridge/bridge-nf-call-iptables": 0,  # Neighbours in a LAN reach each other without the NAT.
    "bridge/bridge-nf-call-ip6tables": 0,
}
_numbers = itertools.count(1)


class Lab:
    """Builds a plan, and takes it down whatever happens. Its namespaces have names of their own: several may be up."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._prefix = f"p2psip-lab-{os.getpid()}-{next(_numbers)}-"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """End all that runs in the lab, and remove its namespaces."""
        names = [path.name for path in NETNS.glob(f"{self._prefix}*")]
        namespaces.kill_in(names)
        ip_batch(*(f"netns del {name}" for name in names))

    # Use

    def netns(self, name: str) -> str:
        """The namespace of a node."""
        return self._prefix + name

    def host(self, name: str) -> Host:
        """A node, for who runs programs in it."""
        return Host(self.netns(name))

    def inside(self, name: str) -> contextlib.AbstractContextManager[None]:
        """This thread is in a node for a while: sockets that it makes there stay there."""
        return inside(self.netns(name))

    def addresses(self, name: str) -> tuple[str, ...]:
        """Those of a node."""
        return self.plan.nodes[name].addresses

    def udp(self, name: str, host: str, port: int = 0) -> socket.socket:
        """A socket in a node at one of its addresses; it does not block."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self.inside(name):
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        made.bind(Address(host, port))
        return made

    # What happens to networks

    def reboot(self, router: str, address: str = "") -> None:
        """A router forgets all mappings and flows, and may come back with another outside address of IPv4."""
        node = self._router(router)
        if address:
            self.move(router, addresses=(address,))
        else:
            # What passed meanwhile by an old flow would be learnt anew, with the address that the router had.
            namespaces.sysctl(self.netns(router), {"ipv4/ip_forward": 0})
            self._load_rules(node)
            forget_flows(self.netns(router))
            namespaces.sysctl(self.netns(router), ROUTER_SETTINGS)

    def block_udp(self, router: str, *, blocks: bool) -> None:
        """Its firewall drops UDP from now on, or does no more; no address is another, and no mapping is forgotten."""
        self.plan.nodes[router] = replace(self._router(router), blocks_udp=blocks)
        self._nft(router, firewall_of(self._router(router)))

    def move(self, name: str, uplink: str = "", addresses: Sequence[str] = ()) -> None:
        """Unplug a node, and plug it in elsewhere, or with other addresses, or both."""
        node = self.plan.nodes[name]
        self._route("del", name)
        ip_batch("link del eth0", namespace=self.netns(name))
        node = replace(node, uplink=uplink or node.uplink, addresses=tuple(addresses))
        self.plan.nodes[name] = self.plan.addressed(node)
        self._plug(self.plan.nodes[name])
        for behind in self.plan.behind(name):
            self._route("replace", behind.name)
        if isinstance(self.plan.nodes[name], LabRouter):
            self.reboot(name)

    # Building

    def _build(self) -> None:
        nodes = self.plan.nodes.values()
        ip_batch(*(f"netns add {self.netns(name)}" for name in (INTERNET, *self.plan.nodes)))
        self._make_router(INTERNET, f"address add {self.plan.prefix(INTERNET, 4)[1]} dev lo")
        for node in nodes:
            if isinstance(node, LabRouter):
                self._make_router(node.name, "link add lan type bridge mcast_snooping 0")
                self._load_rules(node)
            else:
                settings = NODE_SETTINGS | {"ipv6/conf/default/disable_ipv6": int(6 not in node.versions)}
                namespaces.sysctl(self.netns(node.name), settings)
            self._plug(node)
            self._route("replace", node.name)

    def _make_router(self, name: str, device: str) -> None:
        namespaces.sysctl(self.netns(name), ROUTER_SETTINGS)
        ip_batch("link set lo up", device, namespace=self.netns(name))

    def _load_rules(self, router: LabRouter) -> None:
        self._nft(router.name, rules_of(router))
        namespaces.sysctl(self.netns(router.name), timeouts_of(router))

    def _plug(self, node: LabNode) -> None:
        """Lay the cable between a node and its uplink, and set up both ends."""
        here, there = self.netns(node.name), self.netns(node.uplink)
        ip_batch(f"link add netns {here} name eth0 type veth peer netns {there} name {node.port}")
        mac = f"02:00:00:00:{node.number >> 8:02x}:{node.number & 255:02x}"
        # A segment larger than the MTU, which one driver hands to the next, would not be too big for any cable.
        lines = ["link set lo up", f"link set eth0 address {mac} mtu {node.mtu} gso_max_segs 1 up"]
        for address in map(ipaddress.ip_address, node.addresses):
            prefix = self.plan.prefix(node.uplink, address.version)
            length = prefix.max_prefixlen if node.uplink == INTERNET else prefix.prefixlen
            gateway = prefix[1] if address.version == 4 else "fe80::1"
            lines.append(f"address replace {address}/{length} dev eth0")
            lines.append(f"route replace default via {gateway} dev eth0 onlink")
        if isinstance(node, LabRouter):
            lines += ["link set lan up", "address replace fe80::1/64 dev lan"]
            for lan in (self.plan.prefix(node.name, version) for version in (4, 6)):
                lines.append(f"address replace {lan[1]}/{lan.prefixlen} dev lan")
        ip_batch(*lines, namespace=here)
        gateway6 = (
            [f"address replace fe80::1/64 dev {node.port}"] if node.uplink == INTERNET and node.address(6) else []
        )
        master = [] if node.uplink == INTERNET else [f"link set {node.port} master lan"]
        ip_batch(f"link set {node.port} mtu {node.mtu} up", *master, *gateway6, namespace=there)
        if node.hides_mtu:
            for end in (node.name, node.uplink):
                self._nft(end, silence_of(node))

    def _route(self, verb: str, name: str) -> None:
        """The routes by which the segments above a node find it."""
        for segment, route in self.plan.routes_to(self.plan.nodes[name]):
            ip_batch(f"route {verb} {route}", namespace=self.netns(segment))

    def _nft(self, name: str, rules: str) -> None:
        sh("ip", "netns", "exec", self.netns(name), "nft", "-f", "-", said=rules)

    def _router(self, name: str) -> LabRouter:
        node = self.plan.nodes[name]
        if not isinstance(node, LabRouter):
            raise LabError(f"{name!r} is no router")
        return node
