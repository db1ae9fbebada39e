"""The sockets of phones, ours and those that a peer serves: SIP over UDP, TCP, TLS and WebSocket; RTP."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TypeAlias, cast

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net.sockets.addresses import address_of, host_towards, words
from p2psip.net.sockets.crowd import Handshakes
from p2psip.net.sockets.datagrams import Arrived, DatagramSocket
from p2psip.net.sockets.server_names import is_named, is_of_domain
from p2psip.net.sockets.tcp import REFUSALS, StreamListener, connect_tcp
from p2psip.net.sockets.tls import SocketStream, TlsStream
from p2psip.sip.transports.arrivals import FlowArrival, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow, SendUdp
from p2psip.sip.transports.hops import AcceptedTransport
from p2psip.sip.transports.own_addresses import as_numeric

CONNECT_S_MAX = 8.0
GOODBYE_MAX_S = 5.0
WRITE_BUFFER_MAX = 1024 * 1024


def _nobody_listens(remote: Address, reason: str) -> None:
    raise AssertionError("who listens for TLS hears of handshakes that fail")


class _TcpFlow(asyncio.Protocol):
    def __init__(self, number: int, flows: Flows, carries: AcceptedTransport = "TCP") -> None:
        self.number = number
        self._flows = flows
        self._carries = carries
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        names = [transport.get_extra_info(name) for name in ("sockname", "peername")]
        if None in names:
            # A connection that was reset before we could look at it.
            self.transport.abort()
        else:
            self._flows.opened(self, self._carries, *(address_of(name) for name in names))

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


class _TlsFlow:
    """The user of one TLS stream (net.sockets.tls.StreamUser): whatever comes before it is up is told to nobody above.

    Who connects is asked for no certificate: a phone proves itself by its password. Whom we connect to must have one.
    """

    def __init__(
        self,
        number: int,
        flows: Flows,
        *,
        carries: AcceptedTransport = "TLS",
        domain: str = "",
    ) -> None:
        """`domain` is whose server the other end must prove to be; "" if only where it is."""
        self.number = number
        self._domain = domain
        self._carries = carries
        self.stream: TlsStream
        self.settled: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why it has not come up; "" once it has. (Not as an exception, which would lead back to who waits for it.)"""
        self._flows = flows

    def over(self, context: SSL.Context, *, is_server: bool) -> TlsStream:
        """The stream of a connection that there is: it says when it is down, and knows this user until then."""
        # RFC 6066 section 3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."
        name = self._domain or self._flows.server_name
        asks_for = "" if as_numeric(name) else name
        self.stream = TlsStream(context, self, is_server=is_server, asks_for=asks_for)
        return self.stream

    def write(self, data: bytes) -> None:
        """Send; who does not read what we send is cut off."""
        self.stream.write(data)
        if self.stream.backlog_bytes > WRITE_BUFFER_MAX:
            self.stream.abort("the other side does not read")

    def close(self) -> None:
        """Close when what was written is out, or after a while."""
        self.stream.close("closed by this side")

    def stream_accepted(self, stream: SocketStream) -> None:
        self._flows.handshakes.begin(stream)

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        self._flows.handshakes.end(stream)
        looks_at_name = not stream.is_server and self._flows.looks_at_names and not self._domain
        if self._domain and not is_of_domain(certificates[0], self._domain):
            stream.abort(f"its certificate is not for {self._domain}")
            return
        name = self._flows.server_name or stream.remote[0]
        if looks_at_name and not is_named(certificates[0], name):
            # RFC 3261 26.3.1: who is connected to "MUST" be who its certificate says: of that name, or at that address.
            stream.abort(f"its certificate is not for {name}")
            return
        if self.settled.cancelled():
            # Closed, or given up, in this very moment.
            stream.abort("too late")
            return
        self.settled.set_result("")
        self._flows.opened(self, self._carries, Address(*stream.local), Address(*stream.remote))

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        if self.settled.done():
            self._flows.arrived(FlowData(self.number, data))

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        self._flows.handshakes.end(stream)
        if self.settled.cancelled():
            return
        if self.settled.done():
            self._flows.lost(self, reason)
        elif stream.is_server:
            self.settled.cancel()
            self._flows.not_secured(Address(*stream.remote), reason)
        else:
            self.settled.set_result(reason)


_Flow: TypeAlias = _TcpFlow | _TlsFlow


class Flows:
    """SIP over TCP and TLS, and the same with WebSocket: connections that the core opens, and that are accepted."""

    def __init__(
        self,
        arrived: Callable[[FlowArrival], None],
        tell: Callable[[Address, str], None],
        not_secured: Callable[[Address, str], None] = _nobody_listens,
    ) -> None:
        """`arrived` is called with what comes; `tell` with where connections are not accepted, and why; `not_secured`
        with who has connected and did not get through the handshake of TLS, and why.
        """
        self.arrived = arrived
        self.handshakes = Handshakes()
        self.not_secured = not_secured
        self.looks_at_names = True
        self.server_name = ""
        """Whose certificate must be shown, where we connect to one server alone that has a name."""
        self._tell = tell
        self._server: SSL.Context | None = None
        self._client: SSL.Context | None = None
        self._domains: SSL.Context | None = None
        self._open: dict[int, _Flow] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._accepted = itertools.count(1, 2)
        self._listeners: list[StreamListener] = []

    def use_tls(self, server: SSL.Context, client: SSL.Context) -> None:
        """What to show who connects from now on, and whom to believe where we connect."""
        self._server, self._client = server, client

    def trust_domains(self, context: SSL.Context) -> None:
        """Whom to believe where we connect with other domains."""
        self._domains = context

    def trust_server(self, client: SSL.Context) -> None:
        """We connect with a peer alone, as its phone: its certificate says which peer it is, and not where."""
        self._client, self.looks_at_names = client, False

    def trust_named(self, client: SSL.Context, name: str) -> None:
        """We connect with one server alone, of this name."""
        self._client, self.server_name = client, name

    def listen(self, transport: AcceptedTransport, local: Address) -> None:
        """Accept connections at one more address. Raises LocalMisuse if it cannot be had."""
        accept = self._accept_tls if transport in ("TLS", "WSS") else self._accept_tcp
        self._listeners.append(StreamListener.bind(local, partial(accept, transport), partial(self._tell, local)))

    def do(self, effect: OpenFlow | SendFlow | CloseFlow) -> None:
        """Do what the core wants."""
        match effect:
            case OpenFlow(flow, transport, remote, name):
                connect = partial(self._connect_tls, name) if transport == "TLS" else self._connect_tcp
                what = f"{transport.lower()} {remote}"
                self._opening[flow] = asyncio.get_running_loop().create_task(
                    self._connect(flow, what, partial(connect, flow, remote))
                )
            case SendFlow(flow, data):
                if flow in self._open:
                    self._open[flow].write(data)
            case CloseFlow(flow):
                self._close(flow)

    def opened(self, flow: _Flow, transport: AcceptedTransport, local: Address, remote: Address) -> None:
        """A connection is made, and secured where it shall be."""
        self._open[flow.number] = flow
        self.arrived(FlowUp(flow.number, transport, local, remote))

    def lost(self, flow: _Flow, reason: str) -> None:
        """A connection is gone."""
        if self._open.pop(flow.number, None) is not None or flow.number in self._opening:
            self.arrived(FlowDown(flow.number, reason))

    def close(self) -> None:
        """Close all of it."""
        for listener in self._listeners:
            listener.close()
        for flow in [*self._open, *self._opening]:
            self._close(flow)
        self.handshakes.close()

    def _accept_tcp(self, carries: AcceptedTransport) -> _TcpFlow:
        return _TcpFlow(next(self._accepted), self, carries)

    def _accept_tls(self, carries: AcceptedTransport) -> TlsStream:
        assert self._server is not None, "nobody listens without a certificate"
        return _TlsFlow(next(self._accepted), self, carries=carries).over(self._server, is_server=True)

    async def _connect(self, flow: int, what: str, connect: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await connect()
        except (ConnectionError, TimeoutError) as error:
            self.arrived(FlowDown(flow, f"cannot connect to {what}: {words(error)}"))
        finally:
            self._opening.pop(flow, None)

    async def _connect_tcp(self, flow: int, remote: Address) -> None:
        await connect_tcp(lambda: _TcpFlow(flow, self), remote)

    async def _connect_tls(self, name: str, flow: int, remote: Address) -> None:
        """What is to go over TLS never goes in clear."""
        context = self._domains if name else self._client
        if context is None:
            raise ConnectionError("there is no TLS here")
        secured = _TlsFlow(flow, self, domain=name)
        stream = await connect_tcp(lambda: secured.over(context, is_server=False), remote)
        stream.begin()
        try:
            if why_not := await secured.settled:
                raise ConnectionError(why_not)
        except asyncio.CancelledError:
            stream.abort("too late")
            raise

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


def send_datagram(sockets: dict[Address, DatagramSocket], effect: SendUdp) -> None:
    """Do what the core wants: from the socket at that address, or from there by the one that listens everywhere."""
    everywhere = Address("::" if ":" in effect.local.host else "0.0.0.0", effect.local.port)
    sender = sockets.get(effect.local) or sockets.get(everywhere)
    if sender is not None:
        sender.send(effect.remote, effect.data, None if effect.local == everywhere else effect.local.host)


def local_host_towards(server: Address) -> str:
    """Our address as the server sees it; LocalMisuse if there is no way to it."""
    try:
        return host_towards(server)
    except REFUSALS as error:
        raise LocalMisuse(f"no way to {server}: {words(error)}") from None
