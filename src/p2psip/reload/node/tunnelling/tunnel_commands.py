"""What the layer above asks of a node's tunnels, and what it is told of them beside AppLinkUp and AppLinkDown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from p2psip.base.effects import Effect
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.reload.wire.header import Entry

FIRST_TUNNEL: Final = 1 << 62
"""Tunnels are numbered from here on, all other connections below."""


def is_tunnel(link: int) -> bool:
    """True for the number of a tunnel: what goes there is no Write, and what ends it no HangUp."""
    return link >= FIRST_TUNNEL


@dataclass(frozen=True, slots=True)
class OpenTunnel:
    """A tunnel to `node`, the last of `route`, is wanted: AppLinkUp or TunnelFailed follows."""

    route: Sequence[Entry]
    node: NodeId
    application: int = 5060


@dataclass(frozen=True, slots=True)
class WriteTunnel:
    """Send a record through it, which may be lost."""

    link: int
    record: bytes


@dataclass(frozen=True, slots=True)
class CloseTunnel:
    """It is not wanted any more; no AppLinkDown follows."""

    link: int
    reason: str


TunnelCommand: TypeAlias = OpenTunnel | WriteTunnel | CloseTunnel


@dataclass(frozen=True, slots=True)
class TunnelledRecord(Effect):
    """A record came through a tunnel."""

    link: int
    record: bytes


@dataclass(frozen=True, slots=True)
class TunnelFailed(Effect):
    """No tunnel to `node` came about; why."""

    node: NodeId
    error: RequestFailed
