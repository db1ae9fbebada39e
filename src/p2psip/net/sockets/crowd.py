"""Who may be connected with a server: no address, and not all of them together, keep others from being served.

Theory of operation. A caller counts from the moment that the system has accepted the connection, before TLS has said
a word. For one more than there may be, one that has not said its request yet has to go: of the address with the most
callers, the eldest. Whoever takes too long to say a request goes as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any

import structlog

from p2psip.base.address import source_key
from p2psip.net.sockets.tls import SocketStream

CALLERS_MAX = 128
CALLERS_OF_ADDRESS_MAX = 32
REQUEST_MAX_S = 20.0
"""From being accepted to the last byte of the request, TLS included."""

HANDSHAKES_MAX = 128

NOTE_S = 60.0

log = structlog.get_logger("p2psip.enrollment")


@dataclass(slots=True, eq=False)
class _Caller:
    connection: socket.socket
    source: str
    has_asked: bool = False

    @property
    def is_there(self) -> bool:
        return self.connection.fileno() >= 0

    def hang_up(self) -> None:
        """Its transport notices, and closes it."""
        if self.is_there:
            with contextlib.suppress(OSError):
                # It may have gone by itself.
                self.connection.shutdown(socket.SHUT_RDWR)


class Crowd:
    """The callers of one server, the eldest first."""

    def __init__(self) -> None:
        self._callers: list[_Caller] = []
        self._pushed_out: Counter[str] = Counter()
        self._note: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(caller.is_there for caller in self._callers)

    def add(self, connection: socket.socket, host: str) -> None:
        """Somebody has connected."""
        caller = _Caller(connection, source_key(host))
        self._callers = [known for known in self._callers if known.is_there]
        self._callers.append(caller)
        counts = Counter(known.source for known in self._callers)
        if counts[caller.source] > CALLERS_OF_ADDRESS_MAX:
            self._push_out(caller.source)
        elif len(self._callers) > CALLERS_MAX:
            self._push_out(counts.most_common(1)[0][0])
        asyncio.get_running_loop().call_later(REQUEST_MAX_S, self._look_at, caller)

    def asked(self, connection: int) -> None:
        """The request of the caller with this file descriptor is whole."""
        for caller in self._callers:
            if caller.connection.fileno() == connection:
                caller.has_asked = True

    def close(self) -> None:
        """Say what is still to be said in the log."""
        if self._note is not None:
            self._note.cancel()
            self._tell()

    def _push_out(self, source: str) -> None:
        """The eldest, those that have asked last: they are being answered, and that does not take long."""
        there = [caller for caller in self._callers if caller.source == source]
        goes = min(there, key=lambda caller: caller.has_asked)
        self._callers.remove(goes)
        goes.hang_up()
        self._pushed_out[source] += 1
        if self._note is None:
            self._note = asyncio.get_running_loop().call_later(NOTE_S, self._tell)

    def _tell(self) -> None:
        self._note = None
        pushed_out, self._pushed_out = self._pushed_out, Counter()
        ((source, _),) = pushed_out.most_common(1)
        log.warning("too many connections", most_from=source, ended=pushed_out.total(), seconds=NOTE_S)

    def _look_at(self, caller: _Caller) -> None:
        if not caller.has_asked:
            caller.hang_up()


class Door(socket.socket):
    """A listening socket that tells a crowd of whom it lets in."""

    def __init__(self, listener: socket.socket, crowd: Crowd) -> None:
        """A second name of `listener`, which stays its owner's."""
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.dup().detach())
        self._crowd = crowd

    def accept(self) -> tuple[socket.socket, Any]:
        """As of any socket."""
        connection, address = super().accept()
        self._crowd.add(connection, address[0])
        return connection, address


class Handshakes:
    """Accepted connections whose handshake is not done: for one more than there may be, one has to go.

    That is the oldest of those that come from where most come from. How long one may take, its stream knows.
    """

    def __init__(self) -> None:
        self._streams: dict[SocketStream, None] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def begin(self, stream: SocketStream) -> None:
        """Somebody has connected."""
        self._streams[stream] = None
        if len(self._streams) > HANDSHAKES_MAX:
            crowd = Counter(source_key(each.remote[0]) for each in self._streams)
            ((most, _),) = crowd.most_common(1)
            oldest = next(each for each in self._streams if source_key(each.remote[0]) == most)
            del self._streams[oldest]
            oldest.abort("too many handshakes at once")

    def end(self, stream: SocketStream) -> None:
        """It is done, or the connection is gone."""
        self._streams.pop(stream, None)

    def close(self) -> None:
        """Let none of them be done."""
        for stream in list(self._streams):
            stream.abort("closed by this side")
