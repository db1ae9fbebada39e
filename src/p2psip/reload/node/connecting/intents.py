"""Links that the topology wants, by Attach (RFC 6940 section 6.5.1): to a node, or to whoever is at a place.

Both ends may want the link at once; section 6.5.1.2 says which of the two Attaches goes on.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.link.link import LinkLost
from p2psip.reload.node.connecting.attach import Answering, AttachContext, Attaching, Offered
from p2psip.reload.node.connecting.attempts import in_words
from p2psip.reload.node.connecting.connection_table import ConnectionTable
from p2psip.reload.node.connecting.contacts import Contacts
from p2psip.reload.node.exchange import Exchange, causes_of
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import NOTHING_SAID, Candidate, Ended, Parameters, Purpose, Session
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import AttachReqAns, OverlayLinkType

OURS = Purpose.RELOAD

WHEREABOUTS = "whereabouts"
"""The key of an Attach to a node that we are linked with, to learn where it can be dialled; no topology wants it."""

RENEWAL = "renewal"
"""That of an Attach to a node that we are linked with, as that link is in doubt; no topology hears of it either."""


class Intents:
    """The attempts of one node to be linked with others, as its topology intends."""

    def __init__(
        self,
        exchange: Exchange,
        connections: ConnectionTable,
        paths: Paths,
        attaching: Attaching,
        contacts: Contacts,
        topology: Topology,
    ) -> None:
        self._exchange = exchange
        self._connections = connections
        self._whereabouts, self._offers = paths.whereabouts, paths.offers
        self._attaching = attaching
        self._contacts = contacts
        self._topology = topology
        self._seeking: dict[Hashable, int] = {}
        """The open Attach requests to places, by the keys of their intents."""
        self._early: set[NodeId] = set()
        """Nodes that nobody has asked by name, whose link came while a place was sought: one may be who is there."""

    # Our own

    def connect(self, intent: Connect, now: float) -> None:
        """Attach to a node or a place, source-routed through another if the topology says so (10.5, 10.6, 11.4)."""
        target, via = intent.target, intent.via
        if isinstance(target, NodeId):
            self._attaching.give_up(OURS, target)
            via = via if via != target and via in self._connections else None
            node, destination = target, Destination.node(target)
        else:
            self._forget(intent.key)
            node, destination = None, Destination.resource(target)
        route = [destination] if via is None else [Destination.node(via), destination]
        wanted = AttachContext(self._offers.session(OURS, node), intent.key)
        transaction_id = self._attaching.ask(wanted, route, now)
        if transaction_id is not None:
            if node is None:
                self._seeking[intent.key] = transaction_id
        elif node is None:
            self._topology.handle_unanswered(intent.key, "too many requests under way", now)
        else:
            self._topology.handle_unreachable(node, now)

    def ask_whereabouts(self, node: NodeId, now: float) -> None:
        """Ask a node that has dialled us where it can be dialled; its answer says, be the link that follows there first
        or not, and nothing else depends on it.
        """
        wanted = AttachContext(self._offers.session(OURS, node), WHEREABOUTS)
        if (
            not self._offers.is_awaited(OURS, node)
            and self._attaching.ask(wanted, [Destination.node(node)], now) is not None
        ):
            # As one whose answer has come already: it is not to be given up when the link has.
            self._offers.answered(wanted.session, node, NOTHING_SAID, Offered(wanted), now)

    def renew(self, node: NodeId, via: NodeId, now: float) -> None:
        """Attach to a node anew over another; where that is under way already, but not answered, send it there too."""
        route = [Destination.node(via), Destination.node(node)]
        offered = self._attaching.offered(OURS, node)
        if offered is None:
            self._attaching.ask(AttachContext(self._offers.session(OURS, node), RENEWAL), route, now)
        elif offered.transaction_id is not None:
            self._exchange.transport.reroute(offered.transaction_id, route, now)

    def ask_anew(self, now: float) -> None:
        """None of the addresses that are in Attaches to nodes, and in answers to them, can be reached any more, and
        there are others: what is under way begins once more, with these.
        """
        asked, answered = self._attaching.give_all_up(OURS)
        others = dict.fromkeys((each.node for each in answered), RENEWAL)
        wanted = others | {each.node: each.key for each in asked if each.node is not None}
        for node, key in wanted.items():
            anew = AttachContext(self._offers.session(OURS, node), key, is_anew=node in others)
            is_asked = key != WHEREABOUTS and self._attaching.ask(anew, [Destination.node(node)], now) is not None
            if not is_asked and key not in (WHEREABOUTS, RENEWAL):
                self._topology.handle_unreachable(node, now)

    def _forget(self, key: Hashable) -> None:
        """Seek a place no more."""
        if (transaction_id := self._seeking.pop(key, None)) is not None:
            self._exchange.transport.cancel(transaction_id)
        if not self._seeking:
            self._early.clear()

    def came_round(self, transaction_id: int, now: float) -> None:
        """An Attach of ours has come back to us as a request: whoever is sought, it is nobody else."""
        self._exchange.transport.cancel(transaction_id)
        for key in [key for key, sought in self._seeking.items() if sought == transaction_id]:
            self._forget(key)
            self._topology.handle_unanswered(key, "the Attach came back to us", now)

    def handle_outcome(self, wanted: AttachContext, outcome: Outcome, now: float) -> None:
        """An Attach of ours was answered, or not."""
        if wanted.key == WHEREABOUTS:
            if isinstance(outcome, Answer):
                self._learn_offered(outcome.signer.node_id, outcome.body)
        elif isinstance(outcome, Answer):
            self._answered(wanted, outcome, now)
        elif isinstance(outcome, Refused) and outcome.code is ErrorCode.IN_PROGRESS and not wanted.is_anew:
            # What is in progress where we begin anew is what nothing will come of.
            self._answered(wanted, outcome, now)
        elif wanted.node is not None:
            self._offers.withdraw(OURS, wanted.node)
            self._exchange.note("attach failed", node=wanted.node, causes=causes_of(outcome))
            if wanted.key != RENEWAL:
                self._topology.handle_unreachable(wanted.node, now)
        else:
            reason = "; ".join(map(str, causes_of(outcome))) or "nobody answered the Attach"
            self._topology.handle_unanswered(wanted.key, reason, now)
        if wanted.node is None:
            self._seeking.pop(wanted.key, None)
            if not self._seeking:
                self._early.clear()

    def _answered(self, wanted: AttachContext, outcome: Answer | Refused, now: float) -> None:
        node = wanted.node or outcome.signer.node_id
        self._learn_offered(node, outcome.body if isinstance(outcome, Answer) else None)
        is_linked, is_to_place = node in self._connections, wanted.node is None
        has_come = is_to_place and is_linked and node in self._early
        is_needed = isinstance(outcome, Answer) and self._offers.is_checked(wanted.session)
        if is_linked and not is_needed and (not is_to_place or isinstance(outcome, Refused)):
            self._offers.withdraw(OURS, node)
        elif not has_come:
            # It may be a peer that we are linked with, where it is at a place: it dials all the same.
            self._attaching.answered(wanted, node, outcome, now)
        if wanted.key != RENEWAL:
            self._topology.handle_answered(wanted.key, node, now)
        if has_come:
            # 6.5.1.14: the link came before the answer.
            self._topology.handle_linked(node, now)

    def handle_ended(self, ended: Ended, now: float) -> None:
        """The connection that was announced did not come."""
        node = ended.session.peer
        # Who answered for a place may have been linked with us already: that link is enough.
        if node is not None and node not in self._connections:
            self._exchange.note("attach failed", node=node, reason=ended.reason, **in_words(ended.tried))
            self._topology.handle_unreachable(node, now)

    # Others'

    def handle_request(self, request: Received, body: AttachReqAns, now: float) -> None:
        """6.5.1.2: what to do with an Attach request. Raises a Rejection."""
        node = request.signer.node_id
        session = self._attaching.require_session(request, OURS, body)
        self._attaching.break_tie(OURS, request, Parameters.of(body), now)
        self._learn_offered(node, body)
        self._attaching.answer(request, session, Answering(node, OURS, body.send_update), now)

    # Links

    def may_be_sought(self, node: NodeId) -> bool:
        """True for a link to a node that we know already, while a place is sought, where that one may be.

        A link to another node at that time is a stranger's until the answer says that it is not.
        """
        if not self._seeking:
            return False
        if node not in self._connections:
            self._early.add(node)
        return node in self._connections

    def handle_link_lost(self, lost: LinkLost, now: float) -> None:
        """The link is gone beside which another was announced, by an answer for a place: whoever comes back asks anew,
        and is not to wait for that one.
        """
        if (offered := self._attaching.offered(OURS, lost.node)) is not None and offered.transaction_id is None:
            self._attaching.give_up(OURS, lost.node)

    def handle_dial_failed(self, answering: Answering, now: float) -> None:
        """We could not dial a node that asked us to."""
        if answering.node not in self._connections:
            self._topology.handle_unreachable(answering.node, now)

    def dial_again(self, node: NodeId, dialled: Address | None, now: float) -> None:
        """A link fell silent: try once more, in the way that is best by what was seen."""
        if (address := dialled or self._contacts.get(node)) is not None:
            self.dial_over(node, address, self._whereabouts.dialled_types(OURS), now)

    def dial_over(self, node: NodeId, address: Address, link_types: Sequence[OverlayLinkType], now: float) -> None:
        """A further link to a node, over these."""
        candidates = tuple(Candidate(address, link_type) for link_type in link_types)
        self._connections.dial(Session(OURS, candidates, peer=node), Answering(node, OURS), now)

    def _learn_offered(self, node: NodeId, body: object) -> None:
        if isinstance(body, AttachReqAns) and (found := self._whereabouts.dialable(OURS, Parameters.of(body))):
            self._contacts.learn(node, found[0].address)
