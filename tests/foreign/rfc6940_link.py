"""TLS over TCP with the Framing Header, No-ICE, from RFC 6940 alone (sections 6.6.2, 6.6.5)."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator

import rfc6940_bytes as wire
from rfc6940_identity import Certificate, Trust


class Link:
    """One connection, and who is at its other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trust: Trust) -> None:
        tls = writer.get_extra_info("ssl_object")
        assert isinstance(tls, ssl.SSLObject)
        der = tls.getpeercert(binary_form=True)
        assert der is not None, "both contexts demand a certificate"
        self.certificate: Certificate = trust.check(der)
        self.node_id = self.certificate.node_ids[0]
        self.unacknowledged: dict[int, float] = {}
        self.round_trips_s: list[float] = []
        self._reader = reader
        self._writer = writer
        assert isinstance(writer.transport, asyncio.Transport)
        self._transport = writer.transport
        self._sequence = 0
        self._recent: deque[int] = deque(maxlen=32)

    @property
    def is_open(self) -> bool:
        return not self._writer.is_closing() and not self._reader.at_eof()

    def send(self, message: bytes) -> None:
        """ "Initially, the value is zero, and it increments by exactly one for each message sent"."""
        self.unacknowledged[self._sequence] = asyncio.get_running_loop().time()
        self.write(wire.data_frame(self._sequence, message))
        self._sequence += 1

    def write(self, data: bytes) -> None:
        """Bytes as they are, framed or not."""
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[bytes]:
        """Each message that comes, acknowledged at once; ends with the connection."""
        try:
            while True:
                if (frame := (await self._reader.readexactly(1))[0]) == 128:
                    sequence = int.from_bytes(await self._reader.readexactly(4), "big")
                    size = int.from_bytes(await self._reader.readexactly(3), "big")
                    message = await self._reader.readexactly(size)
                    self._acknowledge(sequence)
                    yield message
                elif frame == 129:
                    self._acknowledged(int.from_bytes((await self._reader.readexactly(8))[:4], "big"))
                else:
                    raise wire.Malformed(f"a frame of type {frame}")
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._writer.close()

    def _acknowledge(self, sequence: int) -> None:
        """ "if the sequence number M is less than N but greater than N-32, the N-M bit [...] is set to one"."""
        received = 0
        for earlier in self._recent:
            if sequence - 32 < earlier < sequence:
                received |= 1 << (sequence - earlier)
        self._recent.append(sequence)
        if not self._writer.is_closing():
            self.write(wire.ack_frame(sequence, received))

    def _acknowledged(self, sequence: int) -> None:
        if sequence not in self.unacknowledged:
            raise wire.Malformed(f"an ACK of {sequence}, which was not sent")
        self.round_trips_s.append(asyncio.get_running_loop().time() - self.unacknowledged.pop(sequence))

    def pause(self) -> None:
        """Read nothing more from the socket."""
        self._transport.pause_reading()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """As a crash would."""
        self._transport.abort()


async def dial(host: str, port: int, context: ssl.SSLContext, trust: Trust) -> Link:
    """A link that we open: we are the TLS client."""
    return believed(*await asyncio.open_connection(host, port, ssl=context, server_hostname=""), trust)


def believed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trust: Trust) -> Link:
    """The link on a connection; it is closed if its other end is not believed."""
    try:
        return Link(reader, writer, trust)
    except BaseException:
        writer.close()
        raise
