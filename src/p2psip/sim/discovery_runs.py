"""Simulated peers that announce and find services."""

from __future__ import annotations

import random
from typing import Any

from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.base.timers import is_due
from p2psip.reload.config.configuration import (
    ANY_SERVICE,
    REDIR_KIND,
    SIP_REGISTRATION_KIND,
    OverlayConfiguration,
    ServicePermission,
)
from p2psip.reload.node.effects import Done
from p2psip.reload.node.service_discovery import ServiceContext, ServiceDiscovery, ServicesFound
from p2psip.reload.usages.redir import span
from p2psip.sim.registrations import grow
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host

STEP_S = 0.1
SETTINGS: dict[str, Any] = {
    "required_kinds": (SIP_REGISTRATION_KIND, REDIR_KIND),
    "services": (ServicePermission(ANY_SERVICE, ("*@sim.example",)),),
}


def grow_with_services(seed: str, peers: int, **settings: Any) -> ServiceBench:
    """An overlay with the Kind REDIR."""
    return ServiceBench(grow(seed, peers, **(SETTINGS | settings)))


class ServiceBench:
    """The `ServiceDiscovery` of the peers that have any, driven in steps."""

    def __init__(self, overlay: SimulatedOverlay) -> None:
        self.overlay = overlay
        self.effects: dict[str, list[Effect]] = {}
        self._services: dict[str, ServiceDiscovery] = {}
        self._taken: dict[str, int] = {}

    @property
    def configuration(self) -> OverlayConfiguration:
        """Of the overlay."""
        return self.overlay.configuration

    def services(self, host: Host) -> ServiceDiscovery:
        """Of the peer on a host."""
        return self._services.setdefault(host.name, ServiceDiscovery(self.overlay.node(host)))

    def register(self, host: Host, name: str, **offer: object) -> None:
        """A peer announces a service."""
        self.overlay.world.call(host, lambda now: self.services(host).register(name, now, **offer))  # type: ignore[arg-type]

    def run_for(self, seconds: float) -> None:
        """Let time go on."""
        until = self.overlay.world.now + seconds
        while self.overlay.world.now < until:
            self.overlay.world.run_for(STEP_S)
            for name in self._services:
                self._drive(self.overlay.world.hosts[name])

    def find(self, host: Host, name: str, near: bytes, want: int = 1) -> ServicesFound:
        """What a search comes to."""
        context = object()
        self.overlay.world.call(host, lambda now: self.services(host).find(name, near, want, context, now))
        for _ in range(600):
            for effect in self.effects.get(host.name, []):
                if isinstance(effect, ServicesFound) and effect.context is context:
                    return effect
            self.run_for(STEP_S)
        raise AssertionError("the search is not over after a minute")

    def _drive(self, host: Host) -> None:
        if not host.is_alive:
            return
        services, world = self._services[host.name], self.overlay.world
        fresh = host.events[self._taken.get(host.name, 0) :]
        self._taken[host.name] = len(host.events)

        def step(now: float) -> None:
            for effect in fresh:
                if isinstance(effect, Done) and isinstance(effect.context, ServiceContext):
                    services.handle_done(effect.context, effect.result, now)
            services.handle_timeout(now)

        if fresh or is_due(services, world.now):
            world.call(host, step)
        self.effects.setdefault(host.name, []).extend(services.drain())


def closest(nodes: list[NodeId], near: bytes, want: int) -> list[NodeId]:
    """Those that come first at or after `near`, as it should be."""
    return sorted(nodes, key=lambda node: span(near, node))[:want]


def choose(bench: ServiceBench, count: int) -> list[Host]:
    """So many peers, by chance."""
    return random.Random(f"providers {count}").sample(bench.overlay.alive(), count)
