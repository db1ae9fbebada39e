"""What can be punched: RFC 4787's rules on paper, without time, loss, ports that collide, or agents.

Both hosts send to all that they know of each other, and learn from what arrives, until nobody learns anything new.
There is a direct path if then one sends to an address, is seen by the other under a second one, and what is sent back
to the second comes from the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ice_world import Scene

from p2psip.sim.ip.boxes import Hairpin, NatBehaviour

ROUNDS = 6
"""Behind two boxes with a new port for each remote there are new ports for ever, and never a path."""


class At(NamedTuple):
    """An address on paper: a network, a host in it, a port."""

    host: str
    port: object


@dataclass(eq=False)
class Box:
    """A NAT on paper, `outside` in the network around it."""

    behaviour: NatBehaviour
    inner: Net
    outer: Net
    outside: str
    mappings: dict[object, At] = field(default_factory=dict)
    insides: dict[At, At] = field(default_factory=dict)
    permitted: dict[At, set[object]] = field(default_factory=dict)

    def map(self, source: At, destination: At) -> At:
        """The outside address of what goes out, and who may answer from now on."""
        key = (source, self.behaviour.mapping.key(destination))  # type: ignore[arg-type]
        if key not in self.mappings:
            self.mappings[key] = At(self.outside, (self.outside, len(self.mappings)))
            self.insides[self.mappings[key]] = source
        mapped = self.mappings[key]
        self.permitted.setdefault(mapped, set()).add(self.behaviour.filtering.key(destination))  # type: ignore[arg-type]
        return mapped

    def enter(self, source: At, destination: At) -> tuple[str, At] | None:
        """What comes in from outside: who gets it, and from whom."""
        allowed = self.permitted.get(destination, set())
        if self.behaviour.filtering.key(source) not in allowed:  # type: ignore[arg-type]
            return None
        return self.inner.carry(source, self.insides[destination])

    def leave(self, source: At, destination: At) -> tuple[str, At] | None:
        """What comes from inside and is for somewhere else."""
        if destination.host != self.outside:
            return self.outer.carry(self.map(source, destination), destination)
        if self.behaviour.hairpin is Hairpin.EXTERNAL:
            return self.enter(self.map(source, destination), destination)
        if self.behaviour.hairpin is Hairpin.INTERNAL and destination in self.insides:
            return self.inner.carry(source, self.insides[destination])
        return None


@dataclass(eq=False)
class Net:
    """A network on paper: who is in it, and the box by which it reaches others."""

    hosts: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)
    gateway: Box | None = None

    def carry(self, source: At, destination: At) -> tuple[str, At] | None:
        """Who gets it, and from whom it seems to come; None if it is lost."""
        if destination.host in self.hosts:
            return (self.hosts[destination.host], source) if destination.port == PORT else None
        if destination.host in self.boxes:
            return self.boxes[destination.host].enter(source, destination)
        return None if self.gateway is None else self.gateway.leave(source, destination)


PORT = "5000"
SERVER = At("server", "3478")


class Paper:
    """The scene on paper."""

    def __init__(self, scene: Scene) -> None:
        outer = Net(hosts={})
        self._public = outer
        shared = scene.first[len(scene.first) - scene.shared :]
        for depth, behaviour in enumerate(reversed(shared)):
            outer = self._inside(behaviour, outer, f"shared {depth}")
        self.homes: dict[str, tuple[Net, At]] = {}
        for name, boxes in (("first", scene.first), ("second", scene.second)):
            net = outer
            own = boxes[: len(boxes) - scene.shared]
            for depth, behaviour in enumerate(reversed(own)):
                net = self._inside(behaviour, net, f"{name} {depth}")
            host = "the same" if scene.same_lan_prefix and own else name
            net.hosts[host] = name
            self.homes[name] = (net, At(host, PORT))

    def _inside(self, behaviour: NatBehaviour, outer: Net, name: str) -> Net:
        inner = Net()
        inner.gateway = outer.boxes[name] = Box(behaviour, inner, outer, name)
        return inner

    def send(self, name: str, destination: At) -> At | None:
        """One host sends; as who the other one sees it, or None."""
        net, own = self.homes[name]
        if destination == own:
            return None
        came = net.carry(own, destination)
        return came[1] if came is not None and came[0] != name else None

    def reflexive(self, name: str) -> At:
        """As who the server sees a host."""
        net, source = self.homes[name]
        while net is not self._public:
            assert net.gateway is not None, "every LAN has one"
            source = net.gateway.map(source, SERVER)
            net = net.gateway.outer
        return source


def can_be_punched(scene: Scene) -> bool:
    """True if there is a direct path between the two hosts."""
    paper = Paper(scene)
    other = {"first": "second", "second": "first"}
    known: dict[str, list[At]] = {name: [paper.homes[far][1], paper.reflexive(far)] for name, far in other.items()}
    for _ in range(ROUNDS):
        for name, far in other.items():
            for destination in list(known[name]):
                seen = paper.send(name, destination)
                if seen is not None and seen not in known[far]:
                    known[far].append(seen)
    return any(
        (seen := paper.send("first", destination)) is not None and paper.send("second", seen) == destination
        for destination in known["first"]
    )
