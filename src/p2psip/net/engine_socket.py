"""The UDP socket by which a media engine is commanded: connected, so that what comes to it comes from there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.net.sockets.addresses import sockaddr_of
from p2psip.net.sockets.datagrams import READ_BYTES
from p2psip.net.sockets.tcp import family_of


class EngineSocket:
    """Open from the first command on; `took` is called with what the engine says."""

    def __init__(self, took: Callable[[bytes], None]) -> None:
        self._took = took
        self._socket: socket.socket | None = None
        self._loop = asyncio.get_running_loop()

    def send(self, command: SendToEngine) -> None:
        """Send, as well as it goes: that nobody is there the core finds out by its timers."""
        try:
            if self._socket is None:
                self._socket = self._connected(command)
            self._socket.send(command.data)
        except BlockingIOError:
            return
        except OSError:
            # Nobody listens there, or this machine has lost the address by which it was reached: anew next time.
            self.close()

    def close(self) -> None:
        """Give the port back."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _connected(self, command: SendToEngine) -> socket.socket:
        sock = socket.socket(family_of(command.remote.host), socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            sock.connect(sockaddr_of(command.remote))
        except OSError:
            sock.close()
            raise
        self._loop.add_reader(sock, self._read, sock)
        return sock

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(READ_BYTES)
        except OSError:
            # What became of something that was sent.
            return
        self._took(data)
