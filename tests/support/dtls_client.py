"""A client of DTLS by itself, at a port of its own."""

from __future__ import annotations

import asyncio

from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.net.sockets.dtls import DtlsAssociation
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.tls import StreamUser


class OwnPort(DtlsPorts):
    """Closed with its only association."""

    def forget(self, association: DtlsAssociation) -> None:
        """It is over."""
        super().forget(association)
        self.close()


async def connect_dtls(
    context: SSL.Context, user: StreamUser, remote: Address, datagram_bytes: int, local: Address | None = None
) -> DtlsAssociation:
    """One that has been answered, and waits for `begin`. Raises ConnectionError if nobody does."""
    port = OwnPort(lambda: context, user, _not_accepted, lambda *_: None, datagram_bytes)
    if local is not None:
        await port.bind(local)
    association = await port.connect(remote, datagram_bytes)
    try:
        await association.answered
    except asyncio.CancelledError:
        association.abort("not wanted any more")
        raise
    return association


def only_one_more(association: DtlsAssociation) -> None:
    """It sends one more datagram, and then nothing."""
    port, left = association._port, 1
    send = port.send

    def once(association: DtlsAssociation, datagram: bytes) -> None:
        nonlocal left
        if left:
            left -= 1
            send(association, datagram)

    port.send = once  # type: ignore[method-assign]


def _not_accepted(association: DtlsAssociation, ours: DtlsAssociation | None) -> None:
    association.abort("this port only dials")
