"""ACKs to a 2xx: requests that nothing answers, carried without state (RFC 3261 section 16.11)."""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.effects import Asks, Effect
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.proxy import routing
from p2psip.sip.entities.proxy.edge import Edge
from p2psip.sip.entities.proxy.resolvers import Asked, Given, Resolver
from p2psip.sip.entities.proxy.waiting import ResolvingAck, Waiting
from p2psip.sip.entities.questions import Hops, NotLocated, ResolveUri, Target
from p2psip.sip.entities.registrar.tokens import Tokens
from p2psip.sip.entities.registrar.ways import Ways
from p2psip.sip.message.message import Request
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.hops import Hop, Source


class Acks:
    """Carries them for one proxy, whose questions it shares."""

    def __init__(
        self,
        config: ServerConfig,
        layer: TransactionLayer,
        tokens: Tokens,
        ways: Ways,
        resolvers: Sequence[Resolver],
        edge: Edge,
        asks: Asks[Waiting],
    ) -> None:
        self._config = config
        self._layer = layer
        self._tokens = tokens
        self._ways = ways
        self._resolvers = tuple(resolvers)
        self._edge = edge
        self._asks = asks
        self._effects: list[Effect] = []

    def forward(self, ack: Request, source: Source, now: float) -> None:
        """Pass it on, or drop it."""
        if ack.max_forwards == 0 or not self._may_send(ack, source):
            return
        routed = self._edge.routed(ack, source, None, self._edge.sender(ack, source, None))
        asked = Asked(routed, routed.request.sip_uri, source, None)
        said = (resolver.resolve(asked, now) for resolver in self._resolvers)
        # It belongs to a dialog: where that is, the ACK says itself, or nobody does.
        known = next((one for one in said if isinstance(one, Given | NotLocated)), None)
        if not isinstance(known, Given):
            return
        target = known.target
        copy = routing.forwarded(routed.request, target.uri, (), [], routing.breadth_of(ack))
        hops = self._ways.of_target(target, now)
        if hops:
            self._send_first(copy, target, hops, now)
        elif not self._asks.is_full:
            deadline = now + self._config.limits.resolve_s
            question = ResolveUri(target.lead, target.is_outside)
            self._effects.append(self._asks.ask(question, ResolvingAck(copy, target), deadline))

    def resolved(self, waiting: ResolvingAck, answer: object, now: float) -> None:
        """The answer to a question for the way of one."""
        if isinstance(answer, Hops):
            self._send_first(waiting.ack, waiting.target, answer.hops, now)

    def drain(self) -> list[Effect]:
        """Questions since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def _may_send(self, ack: Request, source: Source) -> bool:
        return (
            source.is_trusted
            or self._ways.has_proved(source.remote.host)
            or routing.sender_token(ack, source, self._config, self._tokens) is not None
        )

    def _send_first(self, ack: Request, target: Target, hops: tuple[Hop, ...], now: float) -> None:
        """Send without a transaction on the first hop that can be sent to."""
        for hop in hops:
            if "sips" in (ack.sip_uri.scheme, target.uri.scheme) and not self._layer.transport.is_secure(hop):
                continue
            bound = self._layer.transport.bind(hop, now)
            if bound is not None and self._layer.send(self._edge.ack_for(ack, bound, target, now), bound, now):
                return
