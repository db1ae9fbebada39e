"""A node for an application that is no SIP server: a client, the connections that AppAttach gives it, and its services,
as one core.

What the node has to say passes through; the bytes of an application's connections come as `AppData`.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, earliest
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.effects import AppLinkDown, AppLinkUp, LinkUp, Write
from p2psip.reload.node.node import Node
from p2psip.reload.node.service_discovery import ServiceDiscovery
from p2psip.reload.paths.values import HangUp, PathEvent


@dataclass(frozen=True, slots=True)
class AppData(Effect):
    """Bytes came over a connection of the application's."""

    link: int
    data: bytes


class ApplicationNode:
    """A node, and which of its links are the application's."""

    def __init__(self, node: Node) -> None:
        self.services = ServiceDiscovery(node)
        self._node = node
        self._links: set[int] = set()
        self._effects: list[Effect] = []

    @property
    def node(self) -> Node:
        """The node inside."""
        return self._node

    def start(self, now: float) -> None:
        """Go to the overlay, for ever."""
        self._node.start(now)

    def set_wall_clock(self, wall: WallClock, now: float) -> None:
        """The date has jumped, or is trusted now."""
        self._node.set_wall_clock(wall, now)

    def write(self, link: int, data: bytes) -> None:
        """Send bytes over a connection of the application's."""
        if link in self._links:
            self._effects.append(Write(link, data))

    def hang_up(self, link: int, reason: str) -> None:
        """Close a connection of the application's."""
        if link in self._links:
            self._links.discard(link)
            self._node.app_link_down(link)
            self._effects += [HangUp(link, reason), AppLinkDown(link, reason)]

    # From the driver

    def handle_path(self, event: PathEvent, now: float) -> None:
        """Something has happened to a connection, beside that it is up or down."""
        self._node.handle_path(event, now)

    def handle_link_up(self, link: LinkUp, now: float) -> None:
        """A connection with another node is up."""
        self._node.handle_link_up(link, now)
        self._collect()

    def handle_link_data(self, number: int, data: bytes, now: float) -> None:
        """Bytes came over it."""
        if number in self._links:
            self._effects.append(AppData(number, data))
        else:
            self._node.handle_link_data(number, data, now)

    def handle_link_down(self, number: int, reason: str, now: float) -> None:
        """It is down, or never came up."""
        if number in self._links:
            self._links.discard(number)
            self._node.app_link_down(number)
            self._effects.append(AppLinkDown(number, reason))
        else:
            self._node.handle_link_down(number, reason, now)

    def handle_answer(self, token: int, answer: object, now: float) -> None:
        """The answer to an Ask."""
        self._node.handle_answer(token, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        self._node.handle_timeout(now)
        self.services.handle_timeout(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest([self._node.next_deadline(), self.services.next_deadline()])

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        self._collect()
        effects, self._effects = [*self._effects, *self.services.drain()], []
        return effects

    def _collect(self) -> None:
        """At once after a link is up: its first bytes may be the driver's next word."""
        for effect in self._node.drain():
            if isinstance(effect, AppLinkUp):
                self._links.add(effect.link)
            elif isinstance(effect, AppLinkDown):
                self._links.discard(effect.link)
            self._effects.append(effect)
