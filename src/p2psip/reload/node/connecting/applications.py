"""Connections that applications want, by AppAttach (RFC 6940 section 6.5.2; RFC 7904 section 5.1).

Of each kind one at a time to each node: nothing in a connection says for which application it is. For the same reason
the next waits while one that was given up for another application may still come.

There are two kinds. A stream of TLS is for any application, and has no ICE. Records of DTLS, by ICE, are for calls: SIP
and media. 6.5.1.1 has no request with candidates of both, so whoever would have either sends one for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.base.errors import Cause, RequestFailed
from p2psip.base.ids import NodeId
from p2psip.reload.node.connecting.attach import (
    APPLICATION_SIP,
    SIP_APPLICATIONS,
    Answering,
    AttachContext,
    Attaching,
    Offered,
)
from p2psip.reload.node.effects import AppLinkFailed
from p2psip.reload.node.exchange import Exchange, causes_of
from p2psip.reload.node.limits import APP_ATTACHES_MAX
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.values import Ended, Lapsed, Parameters, Purpose
from p2psip.reload.transport.outcome import Answer, Outcome, Refused
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import ErrorCode
from p2psip.reload.wire.header import Destination, Entry
from p2psip.reload.wire.link_messages import AppAttachReq
from p2psip.reload.wire.rejections import NotFound


class Applications:
    """The attempts of one node to be connected for applications.

    `served` are the Application-IDs (14.5) of which others may ask us for a connection.
    """

    def __init__(self, exchange: Exchange, paths: Paths, attaching: Attaching) -> None:
        self.served: set[int] = set()
        self._exchange = exchange
        self._whereabouts, self._offers = paths.whereabouts, paths.offers
        self._attaching = attaching
        self._held: dict[NodeId, tuple[tuple[Entry, ...], int]] = {}
        """What is asked of a node for another application when that is over."""

    def attach(
        self,
        destination_list: Sequence[Entry],
        node: NodeId,
        now: float,
        application: int = APPLICATION_SIP,
        *,
        kind: Purpose = Purpose.SIP,
        is_second: bool = False,
        is_anew: bool = False,
    ) -> None:
        """Ask `node`, the last of `destination_list`, for a connection for `application`: AppLinkUp or AppLinkFailed
        follows.
        """
        if self._offers.is_awaited(kind, node) or (kind is Purpose.SIP and node in self._held):
            return
        given_up = self._offers.lingering(kind, node)
        if isinstance(given_up, AttachContext) and given_up.application != application:
            self._held[node] = (tuple(destination_list), application)
            return
        if not self._whereabouts.has_room(kind):
            self._failed(node, kind, "too many connections are being made", ())
            return
        wanted = AttachContext(
            self._offers.session(kind, node), application=application, is_second=is_second, is_anew=is_anew
        )
        is_full = self._offers.count(kind) >= APP_ATTACHES_MAX
        if is_full or self._attaching.ask(wanted, destination_list, now) is None:
            self._failed(node, kind, "too many connections are being made", ())

    def ask_anew(self, now: float) -> None:
        """None of the addresses that are in AppAttaches for calls, and in answers to them, can be reached any more, and
        there are others: what is under way begins once more, with these.
        """
        asked, answered = self._attaching.give_all_up(Purpose.CALLS)
        others = {each.node for each in answered}
        wanted = {each.node: each.application for each in asked} | {each.node: each.application for each in answered}
        for node, application in wanted.items():
            assert node is not None, "an AppAttach is to a node"
            route, is_anew = [Destination.node(node)], node in others
            self.attach(route, node, now, application, kind=Purpose.CALLS, is_anew=is_anew)

    def handle_outcome(self, wanted: AttachContext, outcome: Outcome, now: float) -> None:
        """An AppAttach of ours was answered, or not."""
        node, kind = wanted.node, wanted.purpose
        assert node is not None, "an AppAttach is to a node"
        is_crossed = isinstance(outcome, Refused) and outcome.code is ErrorCode.IN_PROGRESS and kind is Purpose.CALLS
        # The other end's that is in progress is the one that nothing will come of, as it has not our answer yet.
        is_crossed = is_crossed and not wanted.is_anew
        if isinstance(outcome, Answer) or (is_crossed and isinstance(outcome, Refused)):
            self._attaching.answered(wanted, node, outcome, now)
            return
        if not isinstance(outcome, Refused):
            self._offers.linger(wanted.session, wanted, now)
        self._offers.withdraw(kind, node)
        self._failed(node, kind, "AppAttach failed", causes_of(outcome))

    def handle_ended(self, ended: Ended, wanted: AttachContext, now: float) -> None:
        """It was answered, and its connection did not come."""
        node = ended.session.peer
        assert node is not None, "it was answered"
        if wanted.purpose is Purpose.CALLS:
            # Its agent is gone: what comes later is of the next one.
            self._failed(node, wanted.purpose, ended.reason, tuple(pair.cause(now) for pair in ended.tried))
            return
        self._offers.linger(ended.session, wanted, now)
        causes = tuple(pair.cause(now) for pair in ended.tried)
        self._failed(node, wanted.purpose, "it answered, but its connection did not come", causes)

    def handle_dial_failed(self, answering: Answering, reason: str) -> None:
        """What `node` asked us for did not come about, and we may have wanted it as well."""
        if answering.purpose is Purpose.CALLS:
            self._failed(answering.node, answering.purpose, reason, ())

    def handle_unawaited(self, node: NodeId, now: float) -> None:
        """A connection has come that is not taken: the one that was given up, if there was one."""
        self._offers.lapse(Purpose.SIP, node)
        self._ask_held(node, now)

    def handle_lapsed(self, lapsed: Lapsed, now: float) -> None:
        """The one that was given up will not come any more."""
        if lapsed.session.peer is not None:
            self._ask_held(lapsed.session.peer, now)

    def _ask_held(self, node: NodeId, now: float) -> None:
        if (held := self._held.pop(node, None)) is not None:
            route, application = held
            self.attach(route, node, now, application)

    def _failed(self, node: NodeId, kind: Purpose, what: str, causes: tuple[Cause, ...]) -> None:
        error = RequestFailed(f"no connection to {node.short}: {what}", causes)
        self._exchange.emit(AppLinkFailed(node, error, is_stream=kind is Purpose.SIP))

    def handle_request(self, request: Received, body: AppAttachReq, now: float) -> None:
        """6.5.2.2: "If the Application ID is not supported, the peer MUST reply with an Error_Not_Found error"."""
        if body.application not in self.served:
            raise NotFound(f"application {body.application} does not run here")
        is_of_calls = body.application in SIP_APPLICATIONS and Parameters.of(body).has_ice
        kind = Purpose.CALLS if is_of_calls and self._whereabouts.link_types(Purpose.CALLS) else Purpose.SIP
        session = self._attaching.require_session(request, kind, body)
        if kind is Purpose.CALLS:
            self._attaching.break_tie(kind, request, Parameters.of(body), now)
        answering = Answering(request.signer.node_id, kind, application=body.application)
        self._attaching.answer(request, session, answering, now)

    def handle_stalled(self, host: str, now: float) -> None:
        """A connection came from there, and its handshake stood still.

        Who dialled may have got through it and not know: of a link it finds out by itself. For a connection of an
        application, which need not say anything, it is asked once more.
        """
        for offered in self._offers.expected_from(host):
            if (
                not isinstance(offered, Offered)
                or offered.wanted.purpose is not Purpose.SIP
                or offered.wanted.is_second
            ):
                continue
            node = offered.wanted.node
            assert node is not None, "an AppAttach is to a node"
            self._attaching.give_up(Purpose.SIP, node)
            self.attach([Destination.node(node)], node, now, offered.wanted.application, is_second=True)

    def awaited(self, kind: Purpose, node: NodeId) -> int | None:
        """For which application we asked `node` for a connection of a kind."""
        offered = self._attaching.offered(kind, node)
        return None if offered is None else offered.wanted.application
