"""A phone over WebSocket on a real socket, for tests that need no browser."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from web_client import PageAgent, WebEnd

from p2psip.net.sockets.addresses import join_host_port
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Message, Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.transports.own_addresses import as_host

LIMIT_S = 60.0


class WebPhone(PageAgent):
    """One connection, which reads when somebody waits for something."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        super().__init__(user, as_host(host), password)
        self._host, self._port = host, port
        self._end = WebEnd()
        self._waiting: list[Message] = []

    def __enter__(self) -> Self:
        self._socket = socket.create_connection((self._host, self._port), timeout=LIMIT_S)
        self._socket.sendall(self._end.handshake(join_host_port(self._host, self._port)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def register(self) -> None:
        """With its password."""
        request = self.registration()
        challenge = self._ask(request)
        assert challenge.status == 401
        assert self._ask(self.answered(request, challenge)).status == 200

    def wait_request(self, method: str) -> Request:
        """The next one that is asked of it."""
        found = self._wait(lambda message: isinstance(message, Request) and message.method == method)
        assert isinstance(found, Request)
        return found

    def answer(self, request: Request, status: int) -> None:
        """With nothing but that."""
        self._say(make_response(request, status, to_tag="t").encode().decode())

    def _ask(self, request: Request) -> Response:
        self._say(self.text(request))
        found = self._wait(lambda message: isinstance(message, Response))
        assert isinstance(found, Response)
        return found

    def _say(self, text: str) -> None:
        while not self._end.events:
            # The handshake is to be answered first.
            self._read()
        self._socket.sendall(self._end.say(text))

    def _wait(self, is_meant: Callable[[Message], bool]) -> Message:
        deadline = time.monotonic() + LIMIT_S
        while not (found := [message for message in self._waiting if is_meant(message)]):
            assert time.monotonic() < deadline, f"{self._waiting} is all that has come"
            self._read()
        self._waiting.remove(found[0])
        return found[0]

    def _read(self) -> None:
        data = self._socket.recv(65536)
        assert data, "the peer has closed the connection"
        self._waiting += [parse(message) for message in self._end.hear(data) if message.strip()]
