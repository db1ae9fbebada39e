"""Links whose path does not answer are made anew, while they are up (RFC 6940 section 6.5.1).

Theory of operation. RELOAD knows no restart of ICE (6.5.1.12): an end that has another address, or whose NAT has, makes
another Attach, which goes by another way: over a node with which we are linked, to whom the path answers; and where
there is none, over a bootstrap node, which is dialled. The link that comes of it takes the place of the one in doubt,
and what that has not brought over. Both ends may do so at once; section 6.5.1.2 says which Attach goes on.

     in doubt ---Attach over one---> no answer yet ---over another---> ... ---> another link is up
        |                                                                            |
        '--- it answers, or is over -------------------------------------------------+--> done
"""

from __future__ import annotations

import random
from typing import Final

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, Timers
from p2psip.reload.node.connecting.bootstrap import Bootstrap
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.connecting.intents import Intents
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import LinkDoubted, Purpose
from p2psip.reload.wire.link_messages import OverlayLinkType

ANOTHER_WAY_S: Final = 1.0
"""How long an Attach has over one node before it is sent over another as well."""

STREAM: Final = (OverlayLinkType.TLS_TCP_FH_NO_ICE,)

RENEWALS_MAX: Final = 30
"""How often that is tried: as long as RFC 7675 leaves a path that does not answer."""


class DoubtedLinks:
    """The links of one node that are in doubt."""

    def __init__(
        self,
        exchange: Exchange,
        connections: ConnectionTable,
        paths: Paths,
        intents: Intents,
        bootstrap: Bootstrap,
        rng: random.Random,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._paths = paths
        self._intents = intents
        self._bootstrap = bootstrap
        self._rng = rng
        self._tried: dict[NodeId, list[NodeId]] = {}
        """Over whom, by whose link is in doubt; it itself where nobody else could be asked."""
        self._timers: Timers[NodeId] = exchange.queue.scope()

    def doubted(self, doubted: LinkDoubted, now: float) -> NodeId | None:
        """A link does not answer; with whom it is, if that was not known yet."""
        connection = self._connections.by_number(doubted.link)
        if connection is None or connection.node in self._tried:
            return None
        self._exchange.note("link in doubt", node=connection.node, reason=doubted.reason)
        self._tried[connection.node] = []
        self._renew(connection.node, now)
        return connection.node

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Try another way."""
        for node in self._timers.pop_due(now):
            self._renew(node, now)

    def _renew(self, node: NodeId, now: float) -> None:
        connection, tried = self._connections.get(node), self._tried[node]
        if connection is None or not self._paths.is_doubted(connection.number) or len(tried) >= RENEWALS_MAX:
            del self._tried[node]
            return
        self._timers.set(node, now + ANOTHER_WAY_S, "a link in doubt is made anew")
        others = self._connections.ways_round(node)
        if others:
            via = self._rng.choice([each for each in others if each not in tried] or others)
            self._intents.renew(node, via, now)
            tried.append(via)
        else:
            self._bootstrap.find_way(now)
            if not tried and self._paths.whereabouts.opens_streams(Purpose.RELOAD):
                # Datagrams may not pass any more, to nobody.
                self._intents.dial_over(node, connection.remote, STREAM, now)
            tried.append(node)
        is_dialled = connection.number % 2 == 0 and not self._paths.is_opened_by_both(connection.number)
        if is_dialled and not self._paths.is_checked(connection.number):
            # There was no Attach before it, and so nothing of ICE that could move it.
            self._intents.dial_again(node, connection.remote, now)
