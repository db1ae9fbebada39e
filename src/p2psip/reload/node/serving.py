"""What is done with a request that is for us: is it for our configuration, do we understand it, who serves it."""

from __future__ import annotations

import random
from collections.abc import Callable

from p2psip.reload.node.keeping.config_updates import check_sequence
from p2psip.reload.node.parts import ConnectingRoom, DataRoom, Ground, KeepingRoom
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.transport.transport import Received
from p2psip.reload.wire.contents import MessageCode, UnknownBody
from p2psip.reload.wire.diagnostics import PathTrackReq
from p2psip.reload.wire.extensions.tunnel_messages import TUNNEL
from p2psip.reload.wire.link_messages import AppAttachReq, AttachReqAns, ConfigUpdateReq, PingReq, ProbeReq
from p2psip.reload.wire.message import BODIES, TOPOLOGY_REQUESTS
from p2psip.reload.wire.private_messages import REACH, ROUTER, PrivateReq
from p2psip.reload.wire.rejections import Forbidden, InvalidMessage, Rejection, RequestTimeout
from p2psip.reload.wire.storage_messages import FetchReq, FindReq, StatReq, StoreReq
from p2psip.reload.wire.usages.home_registration import HOME
from p2psip.reload.wire.usages.lend_messages import LEND
from p2psip.reload.wire.usages.spread_messages import SPREAD

DUTIES = frozenset(
    {
        MessageCode.JOIN_REQ,
        MessageCode.ROUTE_QUERY_REQ,
        MessageCode.STORE_REQ,
        MessageCode.FETCH_REQ,
        MessageCode.STAT_REQ,
        MessageCode.FIND_REQ,
    }
)
"""4.2: "nodes that do not have routing or storage responsibilities" serve no such request."""

ROUTER_DUTIES = frozenset({MessageCode.FETCH_REQ, MessageCode.STAT_REQ, MessageCode.FIND_REQ})
"""A router says that it has nothing, to whoever asks it."""

LENDER_DUTIES = frozenset({MessageCode.STORE_REQ, MessageCode.FETCH_REQ})
"""A client that lends storage keeps values for one peer."""

NAME_BYTES_SHOWN = 32

PrivateHandler = Callable[[Received, bytes, float], None]
"""Answers a private message with this body, or raises a Rejection."""


class Serving:
    """Answers the requests of others."""

    def __init__(
        self,
        ground: Ground,
        connecting: ConnectingRoom,
        room: DataRoom,
        keeping: KeepingRoom,
        rng: random.Random,
        settings: NodeSettings,
    ) -> None:
        self._exchange, self._upkeep, self._data = ground.exchange, ground.upkeep, room.data
        self._topology = ground.topology
        self._intents, self._applications, self._twins = connecting.intents, connecting.applications, connecting.twins
        self._config_updates, self._diagnostics = keeping.config_updates, keeping.diagnostics
        self.private: dict[bytes, PrivateHandler] = {
            REACH: connecting.surveying.serve,
            TUNNEL: connecting.tunnels.handle_request,
            HOME: room.homes.handle,
            SPREAD: keeping.spreading.handle_request,
            ROUTER: ground.upkeep.handle_router,
            LEND: room.borrowing.handle,
        }
        """Who answers private messages of a name."""
        self._rng = rng
        lends, is_router = settings.lend_bytes > 0, settings.is_router
        refused = DUTIES - ROUTER_DUTIES if is_router else DUTIES - LENDER_DUTIES if lends else DUTIES
        self._keeper = room.lending if lends else room.data
        self._refused = refused if settings.is_client else frozenset()
        self._what = "passes messages on and keeps nothing" if is_router else "is a client"

    def serve(self, request: Received | None, now: float) -> None:
        """Answer it, with an error if need be; nothing if None."""
        if request is None:
            return
        self._config_updates.heard(request)
        try:
            check_sequence(request, self._exchange.configuration.sequence)
            request.require_understood()
            self._dispatch(request, now)
        except Rejection as error:
            self._exchange.reject(request, error.response)
            self._config_updates.tell_if_old(request, now)

    def _dispatch(self, request: Received, now: float) -> None:
        if request.code in self._refused:
            raise Forbidden(f"this node {self._what}")
        match request.body:
            case AttachReqAns() if self._topology.is_leaving:
                # 6.5.1.2: "If the peer is overloaded or detects some other kind of error, it MAY generate an error".
                raise RequestTimeout("this node is leaving")
            case AttachReqAns() as body if request.signer.node_id == self._exchange.identity.node_id:
                self._twins.handle_attach(request, body, now)
            case AttachReqAns() as body:
                self._intents.handle_request(request, body, now)
            case AppAttachReq() as body:
                self._applications.handle_request(request, body, now)
            case PingReq():
                extensions, date_ms = (
                    self._diagnostics.ping_extensions(request, now),
                    self._exchange.transport.wall.date_ms(now),
                )
                self._upkeep.handle_ping(request, self._rng.getrandbits(64), date_ms, extensions)
            case PathTrackReq() as body:
                self._diagnostics.handle_path_track(request, body, now)
            case ProbeReq() as body:
                self._upkeep.handle_probe(request, body, self._data.storage.census.resources, now)
            case StoreReq() as body:
                self._keeper.handle_store(request, body, now)
            case FetchReq() as body:
                self._keeper.handle_fetch(request, body, now)
            case StatReq() as body:
                self._data.handle_stat(request, body, now)
            case FindReq() as body:
                self._data.handle_find(request, body, now)
            case ConfigUpdateReq() as body:
                self._config_updates.handle(request, body, now)
            case PrivateReq(name, body):
                self._serve_private(request, name, body, now)
            case body if request.code in TOPOLOGY_REQUESTS and not isinstance(body, UnknownBody):
                self._upkeep.handle(request, now)
            case _:
                is_known = request.code in BODIES or request.code in TOPOLOGY_REQUESTS
                what = "cannot be read" if is_known else "is not served here"
                raise InvalidMessage(f"{request.code.rfc_name} {what}")

    def _serve_private(self, request: Received, name: bytes, body: bytes, now: float) -> None:
        handler = self.private.get(name)
        if handler is None:
            raise InvalidMessage(f"private messages about {name[:NAME_BYTES_SHOWN]!r} are not served here")
        handler(request, body, now)
