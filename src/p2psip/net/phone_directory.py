"""The directory on real sockets: phones of this site have it by HTTP and by LDAP, from the peer's own copy."""

from __future__ import annotations

import asyncio
import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from p2psip.base.address import Address, unmapped, without_zone
from p2psip.directory.http_conversation import HttpConversation
from p2psip.directory.ldap_conversation import LdapConversation
from p2psip.directory.listing import Listed
from p2psip.directory.phone_pages import page_for
from p2psip.net.sockets.tcp import StreamListener

CONNECTIONS_MAX = 128
CONNECTIONS_OF_ADDRESS_MAX = 8
"""A phone has one or two."""

QUIET_S = 60.0
"""A connection on which nothing comes for so long is closed."""

UNREAD_MAX = 8 << 20
"""Who does not read what we send is cut off: more than a directory of 10,000 in any format."""

REMOTE = "peername"
"""What asyncio calls the other end's address."""

Entries: TypeAlias = Callable[[], Sequence[Listed]]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class PhoneDirectory:
    """Serves the directory to whoever connects from one of `networks`; `entries` says what there is now."""

    def __init__(
        self, overlay: str, networks: Sequence[str], entries: Entries, tell: Callable[[Address, str], None]
    ) -> None:
        """`tell` is called with where connections are not accepted, and why."""
        self.overlay = overlay
        self.entries = entries
        self._networks: list[Network] = [ipaddress.ip_network(network) for network in networks]
        self._tell = tell
        self._listeners: list[StreamListener] = []
        self._open: dict[_Connection, str] = {}

    def listen(self, http: Sequence[Address], ldap: Sequence[Address]) -> None:
        """Accept connections. Raises LocalMisuse if an address cannot be had."""
        for make, addresses in ((_HttpConnection, http), (_LdapConnection, ldap)):
            for local in addresses:
                accept = partial(make, self)
                self._listeners.append(StreamListener.bind(local, accept, partial(self._tell, local)))

    def close(self) -> None:
        """Close all of it."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self._open):
            connection.abort()

    def admits(self, connection: _Connection, host: str) -> bool:
        """False for one from elsewhere, or one too many."""
        try:
            ip = ipaddress.ip_address(without_zone(unmapped(host)))
        except ValueError:
            return False
        source = str(ip)
        is_near = any(ip in network for network in self._networks)
        of_source = sum(each == source for each in self._open.values())
        if not is_near or of_source >= CONNECTIONS_OF_ADDRESS_MAX or len(self._open) >= CONNECTIONS_MAX:
            return False
        self._open[connection] = source
        return True

    def gone(self, connection: _Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol, ABC):
    """One connection of a phone."""

    def __init__(self, server: PhoneDirectory) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._quiet: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info(REMOTE)
        if not peer or not self._server.admits(self, peer[0]):
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.gone(self)
        if self._quiet is not None:
            self._quiet.cancel()

    def data_received(self, data: bytes) -> None:
        self._wait()
        if self._transport is not None and not self._transport.is_closing():
            self._converse(self._transport, data)

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    @abstractmethod
    def _converse(self, transport: asyncio.Transport, data: bytes) -> None:
        """Bytes came: answer what is asked for by them."""

    def _send(self, transport: asyncio.Transport, out: bytes, *, is_over: bool) -> None:
        if out:
            transport.write(out)
        if transport.get_write_buffer_size() > UNREAD_MAX:
            transport.abort()
        elif is_over:
            transport.close()

    def _wait(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self.abort)


class _HttpConnection(_Connection):
    def __init__(self, server: PhoneDirectory) -> None:
        super().__init__(server)
        self._conversation = HttpConversation()

    def _converse(self, transport: asyncio.Transport, data: bytes) -> None:
        asked = self._conversation.receive(data)
        while asked:
            asked = self._conversation.answer(page_for(asked[0], self._server.entries(), self._server.overlay))
        self._send(transport, self._conversation.take(), is_over=self._conversation.is_over)


class _LdapConnection(_Connection):
    def __init__(self, server: PhoneDirectory) -> None:
        super().__init__(server)
        self._conversation = LdapConversation(server.overlay)

    def _converse(self, transport: asyncio.Transport, data: bytes) -> None:
        for search in self._conversation.receive(data):
            self._conversation.answer(search, self._server.entries())
        self._send(transport, self._conversation.take(), is_over=self._conversation.is_over)
