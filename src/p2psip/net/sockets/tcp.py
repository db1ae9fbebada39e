"""TCP connections, made and accepted, and where what a machine refuses becomes a value.

Whatever a remote or the machine can make fail raises one of `REFUSALS`; of a connection it ends in `connection_lost` or
in a ConnectionError, in words. What is none of them is a bug of ours, and is left to end the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable
from typing import TypeVar

from p2psip.base.address import Address
from p2psip.net.sockets.addresses import address_of, sockaddr_of, taken, words

REFUSALS = (OSError, UnicodeError, OverflowError)
"""What the system says of a socket, or of an address that is none: an odd name, a port out of range."""

LISTEN_BACKLOG = 100
ACCEPT_PAUSE_S = 1.0
TELL_S = 60.0
"""How often it is said that connections are not accepted."""

SPARED_MAX = 32
"""Descriptors that accepted connections leave to the rest of the program: it dials, opens media and files, forks."""

BUGS = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EINVAL, errno.EFAULT})
"""What accept() says of a socket that was not made right. All else is about the connection, or about this machine."""

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

IP_TCP_BYTES = {socket.AF_INET: 40, socket.AF_INET6: 60}

NARROW_BYTES = 576
"""What every host takes (RFC 1122 section 3.3.2), and every path that carries anything."""

P = TypeVar("P", bound=asyncio.BaseProtocol)
Make = Callable[[], asyncio.BaseProtocol]
Tell = Callable[[str], None]
"""Called with why connections are not accepted."""


def family_of(host: str) -> socket.AddressFamily:
    """Of a numeric address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def limit_packets(sock: socket.socket, path_mtu: int) -> None:
    """Neither end sends packets that are longer than this, IP header included, over connections of this socket."""
    # RFC 9293 3.7.1: what either end offers in its SYN bounds what the other sends; ours bounds what we send as well.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, path_mtu - IP_TCP_BYTES[sock.family])


async def connect_tcp(
    make: Callable[[], P], remote: Address, path_mtu: int | None = None, local: Address | None = None
) -> P:
    """The protocol of a connection that is up. Raises ConnectionError in the words of the system.

    From a `local` port several connections may be made, at which nobody listens; the other end may make the same one at
    the same time (RFC 9293 section 3.5).
    """
    loop = asyncio.get_running_loop()
    try:
        sock = socket.socket(family_of(remote.host), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if path_mtu is not None:
                limit_packets(sock, path_mtu)
            if local is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(sockaddr_of(local))
            await loop.sock_connect(sock, sockaddr_of(remote))
            _, protocol = await loop.create_connection(make, sock=sock)
        except BaseException:
            sock.close()
            raise
    except REFUSALS as error:
        raise ConnectionError(words(error)) from None
    return protocol


class StreamListener:
    """A listening socket. One that a machine in need cannot accept for rests for a second, and says so now and then."""

    def __init__(self, sock: socket.socket, make: Make, tell: Tell, *, spared: int = 0) -> None:
        """`sock` is bound; `make` makes a protocol for each connection. The last `spared` descriptors are not taken."""
        self._socket = sock
        self._make = make
        self._tell = tell
        self._spared = spared
        self._told_at = -TELL_S
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._taking: set[asyncio.Task[None]] = set()
        sock.setblocking(False)
        sock.listen(LISTEN_BACKLOG)
        self._resume()

    @classmethod
    def bind(cls, address: Address, make: Make, tell: Tell, path_mtu: int | None = None) -> StreamListener:
        """Listen at an address. Raises LocalMisuse if it cannot be had."""
        try:
            sock = socket.socket(family_of(address.host), socket.SOCK_STREAM)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if sock.family == socket.AF_INET6:
                    # "::" is every IPv6 address; IPv4 has a socket of its own.
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if path_mtu is not None:
                    limit_packets(sock, path_mtu)
                sock.bind(sockaddr_of(address))
                return cls(sock, make, tell, spared=_spared())
            except BaseException:
                sock.close()
                raise
        except REFUSALS as error:
            raise taken("tcp", address, error) from None

    def limit_packets(self, path_mtu: int) -> None:
        """Of connections that are accepted from now on."""
        with contextlib.suppress(OSError):
            limit_packets(self._socket, path_mtu)

    @property
    def host(self) -> str:
        """By which address it can be dialled; an unspecified one stands for all of this machine."""
        return address_of(self._socket.getsockname()).host

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Give the port back, if it was not yet; what was accepted goes on."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._pause is not None:
            self._pause.cancel()
        for task in self._taking:
            task.cancel()

    def _resume(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        """One at each turn of the loop: who connects without pause keeps nobody waiting."""
        try:
            accepted, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in BUGS:
                raise
            if error.errno in SHORTAGES:
                self._complain(words(error))
                # The next would fail as well, at once.
                self._loop.remove_reader(self._socket)
                self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._resume)
            return
        if accepted.fileno() >= _descriptors_max() - self._spared:
            accepted.close()
            self._complain("descriptors are short")
            return
        task = self._loop.create_task(self._take(accepted))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _take(self, accepted: socket.socket) -> None:
        protocol = self._make()
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, accepted)
        except OSError as error:
            # It never came to be a connection; who made a protocol for it hears that it is none.
            accepted.close()
            assert isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol)
            protocol.connection_lost(error)

    def _complain(self, reason: str) -> None:
        if (now := self._loop.time()) >= self._told_at + TELL_S:
            self._told_at = now
            self._tell(reason)


def _descriptors_max() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _spared() -> int:
    """A quarter where there are few."""
    return min(SPARED_MAX, _descriptors_max() // 4)
