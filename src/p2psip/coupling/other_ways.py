"""Requests by way of other peers (draft-ietf-p2psip-concepts-01 section 5.2; docs/decisions/ways-of-calls.md).

Theory of operation. Where the overlay's configuration says so, a request goes first to a peer that is to send it on: to
the one that is responsible for the record, or to a home peer. If nobody has rung by that, the caller's peer asks the
overlay itself: so a peer that is dead, that knows nothing of this, or that lies costs time and no call.
"""

from __future__ import annotations

from p2psip.base.ids import NodeId
from p2psip.coupling.gruu import make_gruu, read_gruu
from p2psip.coupling.lines import Publisher
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.node.node import Node
from p2psip.reload.wire.header import Destination
from p2psip.sip.entities.own import BY_HOME, BY_RESPONSIBLE, WAY_PARAM
from p2psip.sip.entities.proxy.resolvers import Asked, Resolution
from p2psip.sip.entities.questions import Located, Target
from p2psip.sip.message.uri import SipUri

UNREACHED = frozenset({404, 408, 430, 480, 500, 503, 504})
"""What says nothing of the user: nobody is there, or somebody on the way could not do it."""


def by_responsible(user: str, overlay: str, node: NodeId) -> Target:
    """The responsible peer as a place to try for a user."""
    return _by(user, overlay, node, BY_RESPONSIBLE, f"responsible peer {node.short}")


def by_home(user: str, overlay: str, node: NodeId) -> Target:
    """A home peer of a user."""
    return _by(user, overlay, node, BY_HOME, f"home peer {node.short}")


def _by(user: str, overlay: str, node: NodeId, way: str, label: str) -> Target:
    gruu = make_gruu(user, overlay, (Destination.node(node),))
    # Who says nothing at all for a while is not waited for.
    return Target(gruu.replace(params=(*gruu.params, (WAY_PARAM, way))), None, label, is_doubtful=True)


class OtherWays:
    """A resolver: who else is asked where nobody has rung by way of another peer."""

    name = "the other ways to a user"

    def __init__(self, node: Node, publisher: Publisher) -> None:
        self._node = node
        self._publisher = publisher

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        calls_by, after = self._node.configuration.calls_by, asked.after
        if calls_by is CallsBy.CALLER or after is None or after.has_rung or asked.rounds != 1:
            return None
        user = asked.uri.user_name
        if not self._sends_on(asked) or self._publisher.get(user.lower()) is not None:
            return None
        if calls_by is CallsBy.REDIRECT and after.contacts:
            targets = [target for uri in after.contacts if (target := self._named(uri, user)) is not None]
            return Located(tuple(targets)) if targets else asked.locate(is_again=True)
        return asked.locate(is_again=True) if after.status in UNREACHED else None

    def _sends_on(self, asked: Asked) -> bool:
        """True for what this peer has sent to somebody who was to send it on."""
        return asked.from_peer is None or asked.uri.param(WAY_PARAM) == BY_RESPONSIBLE

    def _named(self, uri: SipUri, user: str) -> Target | None:
        """Whom a redirecting peer has named: a peer of this overlay, and nothing else of what that URI says."""
        overlay = self._node.configuration.instance_name
        entries = read_gruu(uri.replace(host=overlay, port=None), node_id_length=len(self._node.node_id))
        return None if entries is None else Target(make_gruu(user, overlay, entries), None, f"peer {entries[-1]}")
