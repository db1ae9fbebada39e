"""The lines of others that this node is the home peer of: where their phones are (draft-ietf-p2psip-concepts-01 5.2).

Theory of operation. A line says it itself, by a message that it has signed, and again before that runs out. What it has
said last counts: each says when, so that what comes twice changes nothing. It is kept in memory alone; after a restart
the lines say it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import HOME_LIFETIME_MAX_S, HOME_LINES_MAX, HOME_LINES_PER_USER_MAX
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.private_messages import PrivateAns
from p2psip.reload.wire.rejections import DataTooLarge, DataTooOld, Forbidden, InvalidMessage
from p2psip.reload.wire.usages.home_registration import HomeAns, HomeReq


@dataclass(frozen=True, slots=True)
class _AtHome:
    """What a line has said last: where, when by its own clock, until when by ours; nowhere, if it has taken it back."""

    peer: NodeId | None
    storage_time_ms: int
    until: float


class HomeTable:
    """Who has registered with this node."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._users: dict[str, dict[NodeId, _AtHome]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._users.values()))

    def of(self, user: str, now: float) -> tuple[NodeId, ...]:
        """The peers where the phones of a user are, the latest word first."""
        lines = sorted(self._users.get(user, {}).values(), key=lambda line: -line.storage_time_ms)
        return tuple(dict.fromkeys(line.peer for line in lines if line.peer is not None and line.until > now))

    def handle(self, request: Received, body: bytes, now: float) -> None:
        """A line registers, or takes it back. Raises a Rejection."""
        if not self._exchange.configuration.calls_by.has_homes:
            raise Forbidden("the configuration of this overlay has no home peers")
        try:
            asked = HomeReq.decode(body, node_id_length=len(self._exchange.identity.node_id))
        except DecodeError as error:
            raise InvalidMessage(str(error)) from None
        if not asked.peer.is_valid:
            raise InvalidMessage("a line is registered at no node")
        user, line = request.signer.user, request.signer.node_id
        self._make_room(user, line, now)
        known = self._users.get(user, {}).get(line)
        if known is not None and asked.storage_time <= known.storage_time_ms:
            raise DataTooOld("the line has said something later")
        lifetime = min(asked.lifetime, HOME_LIFETIME_MAX_S)
        peer = asked.peer if lifetime else None
        entry = _AtHome(peer, asked.storage_time, now + (lifetime or HOME_LIFETIME_MAX_S))
        self._users.setdefault(user, {})[line] = entry
        self._exchange.answer(request, PrivateAns(HomeAns(lifetime).encode()))

    def _make_room(self, user: str, line: NodeId, now: float) -> None:
        """Raise DataTooLarge if a line is one too many: of its user, or of all."""
        if line in self._users.get(user, {}):
            return
        if len(self) >= HOME_LINES_MAX or len(self._users.get(user, {})) >= HOME_LINES_PER_USER_MAX:
            alive = {each: {n: at for n, at in of.items() if at.until > now} for each, of in self._users.items()}
            self._users = {each: lines for each, lines in alive.items() if lines}
        if len(self) >= HOME_LINES_MAX:
            raise DataTooLarge(f"this peer is home to {HOME_LINES_MAX} lines already")
        if len(self._users.get(user, {})) >= HOME_LINES_PER_USER_MAX:
            raise DataTooLarge(f"{user} has {HOME_LINES_PER_USER_MAX} lines here already")
