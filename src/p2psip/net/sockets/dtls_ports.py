"""One UDP socket for each address of ours, for the DTLS associations of all who dial us and of all whom we dial.

Theory of operation. What a datagram is, and whose, `p2psip.reload.paths.demux` says; STUN is the core's. Who is not
known and says ClientHello gets a cookie and is forgotten; only who comes back with it, and so is where it says it is,
costs memory. The number of handshakes at a time is the core's to bound.

The network's refusals are heard for all remotes. Whoever knows our port can make one up, so only one is believed that
shows a datagram that was sent (RFC 8085 section 5.2), and it ends a link that is up only if it says that nobody has
that port any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net.sockets.addresses import host_towards, words
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.dtls import DtlsAssociation, take_datagrams
from p2psip.net.sockets.tcp import REFUSALS
from p2psip.net.sockets.tls import StreamUser
from p2psip.reload.paths.demux import RECORD_HEADER_BYTES, Associations, DatagramKind, Pair, hello_random, kind_of

RECEIVE_BYTES = 1 << 20
"""How much may wait to be read at one port."""

HELLO_MAX_BYTES = RECORD_HEADER_BYTES + (1 << 14)
"""A longer datagram is no ClientHello: OpenSSL takes no more of one, and what it left would go before the next."""

Stun = Callable[[Address, Address, bytes], None]
"""Called with local address, remote address and data."""

Relayed = Callable[[Address, bytes], None]
"""Called with the remote and what is to go there from a relayed address."""

RELAY_BYTES = 52
"""What a relay's client adds to a datagram at the most: a Send indication with an IPv6 address (RFC 8656)."""

Accept = Callable[[DtlsAssociation, DtlsAssociation | None], None]
"""Told of an association that somebody begins, and of the one of ours whose place it takes, as both dialled at once."""


class DtlsPorts:
    """All DTLS of this machine with other nodes."""

    def __init__(
        self,
        context: Callable[[], SSL.Context],
        user: StreamUser,
        accept: Accept,
        stun: Stun,
        datagram_bytes: int,
    ) -> None:
        """`context` is asked whenever one is wanted; `datagram_bytes` are what others may be sent that dial us."""
        self._context = context
        self._user = user
        self._accept = accept
        self._stun = stun
        self._datagram_bytes = datagram_bytes
        self._sockets: dict[Address, DatagramSocket] = {}
        self._for_calls: set[Address] = set()
        """Those of them from which no link is dialled."""
        self._listening: SSL.Connection | None = None
        self._associations: Associations[DtlsAssociation] = Associations()
        self._relayed: dict[Address, Relayed] = {}

    async def bind(self, address: Address, *, is_for_calls: bool = False) -> Address:
        """Listen; the address that it is. Raises LocalMisuse if it is taken."""
        bound = await DatagramSocket.bind(*address, self.came, refused=self._refused, receive_bytes=RECEIVE_BYTES)
        self._sockets[bound.local] = bound
        if is_for_calls:
            self._for_calls.add(bound.local)
        return bound.local

    def limit_packets(self, datagram_bytes: int) -> None:
        """What others may be sent that dial us from now on."""
        self._datagram_bytes = datagram_bytes
        self._listening = None

    def close(self) -> None:
        """Give the ports back; the associations are their user's to close before."""
        for sock in self._sockets.values():
            sock.close()

    async def connect(self, remote: Address, datagram_bytes: int, local: Address | None = None) -> DtlsAssociation:
        """Say ClientHello to a remote, from `local` if that matters; `answered` tells when anything comes back. Where
        the remote is dialling us just now, that is it. Raises ConnectionError if there is no way, in the words of the
        system.
        """
        try:
            pair = Pair(local or await self._local_towards(remote), remote)
        except REFUSALS as error:
            raise ConnectionError(words(error)) from None
        except LocalMisuse as error:
            raise ConnectionError(str(error)) from None
        if (under_way := self._associations.newcomer(pair)) is not None:
            return under_way
        tls = SSL.Connection(self._context())
        datagram_bytes -= self._overhead(pair)
        tls.set_ciphertext_mtu(datagram_bytes)
        tls.set_connect_state()
        association = DtlsAssociation(tls, self._user, pair, self, datagram_bytes, is_server=False)
        association.start()
        if not association.is_over:
            self._associations.begin(pair, association, association.client_random, is_client=True)
        return association

    def send_datagram(self, local: Address | None, remote: Address, data: bytes) -> None:
        """Send something that is of no association, from `local` or as the machine's routes say; as well as it goes."""
        with contextlib.suppress(*REFUSALS):
            self._send(Pair(local or self._bound_towards(host_towards(remote)), remote), data)

    def move(self, association: DtlsAssociation, pair: Pair) -> None:
        """Its datagrams go between these two from now on."""
        here, association.pair = association.pair, pair
        association.local, association.remote = pair
        self._replace(self._associations.move(association, here, pair))

    def use_relayed(self, relayed: Address, send: Relayed) -> None:
        """An address at a relay is one of ours: what goes from there is `send`'s to do."""
        self._relayed[relayed] = send

    def drop_relayed(self, relayed: Address) -> None:
        """It is ours no more."""
        self._relayed.pop(relayed, None)

    def came(self, local: Address, remote: Address, data: bytes) -> None:
        """A datagram has come, to a port of ours or to a relayed address."""
        kind = kind_of(data)
        if kind in (DatagramKind.STUN, DatagramKind.CHANNEL):
            self._stun(local, remote, data)
        if kind is not DatagramKind.DTLS:
            return
        pair = Pair(local, remote)
        route = self._associations.route(pair, data)
        for association in route.takers:
            association.take(data)
        if route.begins and len(data) <= HELLO_MAX_BYTES:
            self._listen(pair, data)

    # For associations

    def send(self, association: DtlsAssociation, datagram: bytes) -> None:
        """Send to its remote, from its local address."""
        self._send(association.pair, datagram)

    def came_up(self, association: DtlsAssociation) -> None:
        """Its handshake is done."""
        self._replace(self._associations.up(association.pair, association))

    def _replace(self, before: DtlsAssociation | None) -> None:
        if before is not None:
            # After its user has heard of the new one.
            asyncio.get_running_loop().call_soon(before.abort, "the other end has begun anew")

    def forget(self, association: DtlsAssociation) -> None:
        """It is over."""
        self._associations.forget(association.pair, association)

    # Inside

    async def _local_towards(self, remote: Address) -> Address:
        """From where a remote is dialled: a port at which we listen, if one of the right address is there."""
        host = host_towards(remote)
        bound = self._bound_towards(host)
        return bound if bound.port else Address(host, (await self.bind(Address(_everywhere(host), 0))).port)

    def _bound_towards(self, host: str) -> Address:
        """The port at which we listen at one of our hosts; 0 if we do not."""
        ours = [bound for bound in self._sockets if bound not in self._for_calls]
        ports = (bound.port for wanted in (host, _everywhere(host)) for bound in ours if bound.host == wanted)
        return Address(host, next(ports, 0))

    def _send(self, pair: Pair, datagram: bytes) -> None:
        local, remote = pair
        if (relayed := self._relayed.get(local)) is not None:
            relayed(remote, datagram)
            return
        for wanted in (local, Address(_everywhere(local.host), local.port)):
            if (sock := self._sockets.get(wanted)) is not None:
                sock.send(remote, datagram, local.host)
                return

    def _refused(self, remote: Address, error: OSError, shown: bytes) -> None:
        for association in self._associations.towards(remote):
            association.refused(error, shown)

    def _listen(self, pair: Pair, hello: bytes) -> None:
        """Answer a ClientHello with a cookie; begin if it brings one."""
        context = self._context()
        if self._listening is None or self._listening.get_context() is not context:
            self._listening = SSL.Connection(context)
            self._listening.set_ciphertext_mtu(self._datagram_bytes)
            self._listening.set_accept_state()
        tls = self._listening
        tls.set_app_data(pair.remote)
        tls.bio_write(hello)
        try:
            tls.DTLSv1_listen()
        except SSL.WantReadError:
            for datagram in take_datagrams(tls, self._datagram_bytes):
                self._send(pair, datagram)
            return
        except SSL.Error:
            # It is no ClientHello after all; what it did to this connection nobody needs to know.
            self._listening = None
            return
        self._listening = None
        datagram_bytes = self._datagram_bytes - self._overhead(pair)
        tls.set_ciphertext_mtu(datagram_bytes)
        self._begin(DtlsAssociation(tls, self._user, pair, self, datagram_bytes, is_server=True), hello)

    def _overhead(self, pair: Pair) -> int:
        return RELAY_BYTES if pair.local in self._relayed else 0

    def _begin(self, association: DtlsAssociation, hello: bytes) -> None:
        random = hello_random(hello)
        assert random is not None, "such a datagram begins nothing"
        before = self._associations.begin(association.pair, association, random, is_client=False)
        ours = before if before is not None and not before.is_server else None
        self._accept(association, ours)
        if ours is not None:
            ours.give_way()
        else:
            if before is not None:
                before.abort("the other end has begun anew")
            self._user.stream_accepted(association)
        association.start()


def _everywhere(host: str) -> str:
    return "::" if ":" in host else "0.0.0.0"
