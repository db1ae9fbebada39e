"""What this node has done for others that come in, and they for it (concepts draft, RFC 7890 sections 2 and 5.4).

Joining Peer, Bootstrap Peer and Admitting Peer are roles of a moment, which any peer has. Who is at the other end has
proved its certificate in the handshake of the link (RFC 6940 section 6.5.1.11), and signs what it asks for (10.5).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

from p2psip.base.ids import NodeId
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import ROLES_PLAYED_MAX


class PeerRole(enum.Enum):
    """What a peer was to another; the values are words for people."""

    JOINING = "joining peer"
    BOOTSTRAP = "bootstrap peer"
    ADMITTING = "admitting peer"


@dataclass(frozen=True, slots=True)
class RolePlayed:
    """One role towards one other node, and what came of it last."""

    role: PeerRole
    node: NodeId
    user: str
    """The user name in its certificate."""
    began_at: float
    at: float
    did: str
    """In words."""


class RolesPlayed:
    """The last of them; each is told to the log when it happens."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._played: dict[tuple[PeerRole, NodeId], RolePlayed] = {}

    def __iter__(self) -> Iterator[RolePlayed]:
        return iter(self._played.values())

    def joined(self, gateway: tuple[NodeId, str] | None, admitted_by: list[tuple[NodeId, str]], now: float) -> None:
        """We have come in: over which node, and let in by whom, if there was anybody."""
        overlay, facts = self._exchange.configuration.instance_name, dict[str, object]()
        if gateway is not None:
            facts |= {"bootstrap_peer": gateway[0], "bootstrap_user": gateway[1]}
        if admitted_by:
            facts["admitted_by"] = tuple(node for node, _ in admitted_by)
            facts["admitted_by_users"] = tuple(user for _, user in admitted_by)
        self._exchange.note("joined", overlay=overlay, **facts)
        by_way_of = "" if gateway is None else f", found by way of {gateway[1].partition('@')[0] or gateway[0].short}"
        for node, user in admitted_by:
            self._enter(RolePlayed(PeerRole.JOINING, node, user, now, now, f"was let in{by_way_of}"))

    def led_in(self, node: NodeId, user: str, remote: str, now: float) -> None:
        """A node that is none of our neighbours has linked itself with us, to find its place through us (11.4)."""
        self._exchange.note("bootstrap peer for", node=node, user=user, remote=remote)
        self._enter(RolePlayed(PeerRole.BOOTSTRAP, node, user, now, now, f"looks for its place through us, {remote}"))

    def admitting(self, node: NodeId, user: str, now: float) -> None:
        """Its Join is for us, and signed by it: it gets what becomes its own (10.5 steps 5 and 6)."""
        self._exchange.note("admitting peer for", node=node, user=user)
        self._enter(RolePlayed(PeerRole.ADMITTING, node, user, now, now, "is given what becomes its own"))

    def admitted(self, node: NodeId, user: str, now: float) -> None:
        """It is in."""
        began = self._played.get((PeerRole.ADMITTING, node))
        asked = RolePlayed(PeerRole.ADMITTING, node, user, now, now, "") if began is None else began
        took_ms = round((now - asked.began_at) * 1000, 1)
        self._exchange.note("admitted", node=node, user=user, ms=took_ms)
        self._enter(replace(asked, user=user or asked.user, at=now, did=f"let in after {took_ms:g} ms"))

    def _enter(self, played: RolePlayed) -> None:
        self._played.pop((played.role, played.node), None)
        self._played[played.role, played.node] = played
        if len(self._played) > ROLES_PLAYED_MAX:
            del self._played[next(iter(self._played))]
