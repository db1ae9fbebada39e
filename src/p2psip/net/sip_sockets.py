"""The sockets of phones, ours and those that a peer serves: SIP over UDP and TCP, one UDP socket a call for RTP."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from functools import partial
from typing import cast

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net.sockets.addresses import address_of, sockaddr_of, words
from p2psip.net.sockets.datagrams import Arrived, DatagramSocket
from p2psip.net.sockets.tcp import REFUSALS, StreamListener, connect_tcp, family_of
from p2psip.sip.transports.arrivals import FlowArrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendDatagram, SendFlow

CONNECT_S_MAX = 8.0
GOODBYE_MAX_S = 5.0
WRITE_BUFFER_MAX = 1024 * 1024


class _Flow(asyncio.Protocol):
    def __init__(self, number: int, flows: Flows) -> None:
        self.number = number
        self._flows = flows
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        names = [transport.get_extra_info(name) for name in ("sockname", "peername")]
        if None in names:
            # A connection that was reset before we could look at it.
            self.transport.abort()
        else:
            self._flows.opened(self, *(address_of(name) for name in names))

    def write(self, data: bytes) -> None:
        """Send; who does not read what we send is cut off."""
        if self.transport is not None:
            self.transport.write(data)
            if self.transport.get_write_buffer_size() > WRITE_BUFFER_MAX:
                self.transport.abort()

    def close(self) -> None:
        """Close when what was written is out, or after a while."""
        if self.transport is not None:
            self.transport.close()
            asyncio.get_running_loop().call_later(GOODBYE_MAX_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self._flows.arrived(FlowData(self.number, data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._flows.lost(self, words(exc) if exc else "closed by the other side")


class Flows:
    """SIP over TCP: the connections that the core opens, and those that are accepted."""

    def __init__(self, arrived: Callable[[FlowArrival], None], tell: Callable[[Address, str], None]) -> None:
        """`arrived` is called with what comes; `tell` with where connections are not accepted, and why."""
        self.arrived = arrived
        self._tell = tell
        self._open: dict[int, _Flow] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._accepted = itertools.count(1, 2)
        self._servers: list[StreamListener] = []

    def listen(self, local: Address) -> None:
        """Accept connections at one more address. Raises LocalMisuse if it cannot be had."""
        self._servers.append(
            StreamListener.bind(local, lambda: _Flow(next(self._accepted), self), partial(self._tell, local))
        )

    def do(self, effect: OpenFlow | SendFlow | CloseFlow) -> None:
        """Do what the core wants."""
        match effect:
            case OpenFlow(flow, "TLS", remote):
                # There is no TLS towards phones, and what is to go over TLS never goes in clear.
                why = f"no TLS to {remote}: phones are reached over UDP and TCP only"
                asyncio.get_running_loop().call_soon(self.arrived, FlowDown(flow, why))
            case OpenFlow(flow, _, remote):
                self._opening[flow] = asyncio.get_running_loop().create_task(self._connect(flow, remote))
            case SendFlow(flow, data):
                if flow in self._open:
                    self._open[flow].write(data)
            case CloseFlow(flow):
                self._close(flow)

    def opened(self, flow: _Flow, local: Address, remote: Address) -> None:
        """A connection is made."""
        self._open[flow.number] = flow
        self.arrived(FlowUp(flow.number, "TCP", local, remote))

    def lost(self, flow: _Flow, reason: str) -> None:
        """A connection is gone."""
        if self._open.pop(flow.number, None) is not None or flow.number in self._opening:
            self.arrived(FlowDown(flow.number, reason))

    def close(self) -> None:
        """Close all of it."""
        for server in self._servers:
            server.close()
        for flow in [*self._open, *self._opening]:
            self._close(flow)

    async def _connect(self, flow: int, remote: Address) -> None:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await connect_tcp(lambda: _Flow(flow, self), remote)
        except (ConnectionError, TimeoutError) as error:
            self.arrived(FlowDown(flow, f"cannot connect to tcp {remote}: {words(error)}"))
        finally:
            self._opening.pop(flow, None)

    def _close(self, number: int) -> None:
        flow, task = self._open.pop(number, None), self._opening.pop(number, None)
        if flow is not None:
            flow.close()
        if task is not None:
            task.cancel()


class MediaSockets:
    """One UDP socket a call."""

    def __init__(self, host: str, arrived: Arrived) -> None:
        """`host` is where they are opened unless somebody says otherwise."""
        self.host = host
        self._arrived = arrived
        self._sockets: dict[Address, DatagramSocket] = {}

    async def open(self, host: str | None = None) -> Address:
        """A new address for media, at `host` if given."""
        opened = await DatagramSocket.bind_even(host or self.host, self._arrived)
        self._sockets[opened.local] = opened
        return opened.local

    def send(self, local: tuple[str, int], remote: tuple[str, int], data: bytes) -> None:
        """Send from one of our addresses."""
        sender = self._sockets.get(Address(*local))
        if sender is not None:
            sender.send(remote, data)

    def close(self, local: tuple[str, int]) -> None:
        """The call is over."""
        closed = self._sockets.pop(Address(*local), None)
        if closed is not None:
            closed.close()

    def close_all(self) -> None:
        """The phone goes."""
        for local in list(self._sockets):
            self.close(local)


def send_datagram(sockets: dict[Address, DatagramSocket], effect: SendDatagram) -> None:
    """Do what the core wants: from the socket at that address, or from there by the one that listens everywhere."""
    everywhere = Address("::" if ":" in effect.local.host else "0.0.0.0", effect.local.port)
    sender = sockets.get(effect.local) or sockets.get(everywhere)
    if sender is not None:
        sender.send(effect.remote, effect.data, None if effect.local == everywhere else effect.local.host)


def local_host_towards(server: Address) -> str:
    """Our address as the server sees it, on this host's own word: no packet is sent."""
    try:
        with socket.socket(family_of(server.host), socket.SOCK_DGRAM) as probe:
            probe.connect(sockaddr_of(server))
            return address_of(probe.getsockname()).host
    except REFUSALS as error:
        raise LocalMisuse(f"no way to {server}: {words(error)}") from None
