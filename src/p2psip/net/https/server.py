"""The enrollment and configuration server over HTTPS (RFC 6940 section 11.2, 11.3): the shell of EnrollmentServer.

GET /.well-known/reload-config: the configuration document, as it is on disk now.
GET /authority.cer: the certificate of who issues certificates, where that is not the trust anchor itself.
POST /enroll, or to /: a certificate request.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from p2psip.base.address import unmapped
from p2psip.base.effects import Ask, Note
from p2psip.base.wallclock import WallClock
from p2psip.enrollment.asked.server_errands import CheckPassword, ServerErrand, ServerErrands
from p2psip.enrollment.form import FORM_SIZE_MAX
from p2psip.enrollment.protocol import AUTHORITY_PATH, DOCUMENT_TYPE, ENROLL_PATH, PKIX_CERT, WELL_KNOWN_PATH
from p2psip.enrollment.refusals import Unavailable
from p2psip.enrollment.server import EnrollmentServer, Post, Respond
from p2psip.net.sockets.crowd import Crowd, Door

HASHING_THREADS = 2
ERRAND_THREADS = 4
"""For the database and who signs: one that is slow does not take a password's turn."""

CONNECTION_LIFETIME_S = 90.0
STOP_TIMEOUT_S = 3

SOCKET = "socket"
"""What asyncio calls the socket of a transport."""

log = structlog.get_logger("p2psip.enrollment")


class EnrollmentService:
    """The HTTP application around the core: one future for each request that waits."""

    def __init__(
        self,
        core: EnrollmentServer,
        errands: ServerErrands,
        document: Path,
        welcome: str,
        authority: bytes | None = None,
    ) -> None:
        self._core = core
        self._errands = errands
        self._document = document
        self._welcome = welcome
        self._authority = authority
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Respond]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._hashing = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="password")
        self._others = ThreadPoolExecutor(ERRAND_THREADS, thread_name_prefix="errand")
        self.app = Starlette(
            routes=[
                Route(WELL_KNOWN_PATH, self._get_configuration, methods=["GET"]),
                Route(AUTHORITY_PATH, self._get_authority, methods=["GET"]),
                Route("/", self._get_welcome, methods=["GET"]),
                Route("/", self._post, methods=["POST"]),
                Route(ENROLL_PATH, self._post, methods=["POST"]),
            ]
        )

    def close(self) -> None:
        """No more requests."""
        if self._timer is not None:
            self._timer.cancel()
        self._hashing.shutdown(wait=False, cancel_futures=True)
        self._others.shutdown(wait=False, cancel_futures=True)

    async def _get_configuration(self, request: Request) -> Response:
        try:
            body = await asyncio.to_thread(self._document.read_bytes)
        except OSError as error:
            log.warning("the configuration cannot be read", file=str(self._document), reason=error.strerror)
            return PlainTextResponse("unavailable", 503, {"Retry-After": str(Unavailable.retry_after_s)})
        return Response(body, media_type=DOCUMENT_TYPE, headers={"Cache-Control": "no-cache"})

    async def _get_authority(self, request: Request) -> Response:
        if self._authority is None:
            return PlainTextResponse("the trust anchor, which the configuration has, issues certificates", 404)
        return Response(self._authority, media_type=PKIX_CERT)

    async def _get_welcome(self, request: Request) -> Response:
        return PlainTextResponse(self._welcome)

    async def _post(self, request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return PlainTextResponse("bad_form", 408)
        answer = await self._decide(
            Post(
                request.headers.get("content-type", ""),
                body,
                request.headers.get("accept", ""),
                unmapped(request.client.host) if request.client else "",
            )
        )
        headers = {} if answer.retry_after_s is None else {"Retry-After": str(answer.retry_after_s)}
        return Response(answer.body, answer.status, headers, answer.content_type)

    async def _decide(self, post: Post) -> Respond:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            # The date may have jumped since the last request.
            self._core.handle_clock(WallClock(time.time() - time.monotonic()))
            self._core.handle_request(number, post, time.monotonic())
            self._drain()
            return await self._waiting[number]
        finally:
            del self._waiting[number]

    def _drain(self) -> None:
        for effect in self._core.drain():
            match effect:
                case Respond():
                    self._respond(effect)
                case Ask(token, errand, _) if isinstance(errand, ServerErrand):
                    task = asyncio.create_task(self._run(token, errand))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                case Note(event, facts, is_warning):
                    (log.warning if is_warning else log.info)(event, **facts)
        self._arm()

    def _respond(self, answer: Respond) -> None:
        future = self._waiting.get(answer.number)
        # The requester may have gone.
        if future is not None and not future.done():
            future.set_result(answer)

    async def _run(self, token: int, errand: ServerErrand) -> None:
        """scrypt takes a tenth of a second and more, a database as long as it wants: in threads of their own."""
        threads = self._hashing if isinstance(errand, CheckPassword) else self._others
        answer = await asyncio.get_running_loop().run_in_executor(threads, self._errands.run, errand)
        self._core.handle_answer(token, answer, time.monotonic())
        self._drain()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._core.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline.at - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._core.handle_timeout(time.monotonic())
        self._drain()


async def _body(request: Request) -> bytes:
    """The body, or a little more than the core will read of one that is too long."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_SIZE_MAX:
            break
    return body


class _SourcedLogger(logging.LoggerAdapter[logging.Logger]):
    """uvicorn's logger, whose records have a `source`."""

    @property
    def level(self) -> int:
        """uvicorn looks at it."""
        return self.logger.level


class BriefConnection(H11Protocol):
    """A connection that ends by itself, and says when it has brought a whole request."""

    def handle_events(self) -> None:
        """As in uvicorn, and then look."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.more_body:
            self.app_state["crowd"].asked(self.transport.get_extra_info(SOCKET).fileno())

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As in uvicorn, with an end in view."""
        super().connection_made(transport)
        # What uvicorn has to say of this connection says whose it is.
        source = {"source": unmapped(self.client[0]) if self.client else ""}
        self.logger = _SourcedLogger(self.logger, source)  # type: ignore[assignment]
        self._end = self.loop.call_later(CONNECTION_LIFETIME_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._end.cancel()
        super().connection_lost(exc)


class HttpsServer(uvicorn.Server):
    """uvicorn in somebody else's loop, which keeps its signals to itself."""

    def __init__(self, app: Starlette, context: ssl.SSLContext) -> None:
        config = uvicorn.Config(
            app,
            http=BriefConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # The source of a request counts, so nobody may claim another.
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        config.load()
        config.ssl = context
        super().__init__(config)
        self._crowd = Crowd()
        self._task: asyncio.Task[None] | None = None
        self._is_up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not here."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As in uvicorn, and then say so."""
        # uvicorn gives each connection this.
        self.lifespan.state["crowd"] = self._crowd
        await super().startup(sockets)
        self._is_up.set()

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on these sockets; returns when requests are taken."""
        self._task = asyncio.create_task(self.serve([Door(listener, self._crowd) for listener in sockets]))
        await self._is_up.wait()

    async def stop(self) -> None:
        """Finish what has begun, and end."""
        self.should_exit = True
        if self._task is not None:
            await self._task
        self._crowd.close()


def server_context(certificate: Path) -> ssl.SSLContext:
    """TLS with the key and the certificate in one PEM file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    return context
