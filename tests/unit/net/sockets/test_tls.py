"""TLS between peers on loopback sockets: whoever is at the other end, and whatever it does."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache

import pytest
from OpenSSL import SSL, crypto

from p2psip.net.sockets import tls
from p2psip.net.sockets.tls import TlsStream, make_context
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.errors import SecurityError
from p2psip.sim.membership import DATE, OVERLAY, Club, key, node_id
from p2psip.turn.values import STUN_TURN


@dataclass
class End:
    """What one end of a stream heard."""

    up: asyncio.Future[tuple[bytes, ...]]
    down: asyncio.Future[str]
    data: bytearray = field(default_factory=bytearray)
    streams: list[TlsStream] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def new(cls) -> End:
        loop = asyncio.get_running_loop()
        return cls(loop.create_future(), loop.create_future())

    def stream_accepted(self, stream: TlsStream) -> None:
        pass

    def stream_up(self, stream: TlsStream, certificates: tuple[bytes, ...]) -> None:
        self.up.set_result(certificates)

    def stream_data(self, stream: TlsStream, data: bytes) -> None:
        self.data += data
        self.more.set()

    def stream_down(self, stream: TlsStream, reason: str) -> None:
        self.down.set_result(reason)

    async def has(self, size: int) -> bytes:
        async with asyncio.timeout(60):
            while len(self.data) < size:
                self.more.clear()
                await self.more.wait()
        return bytes(self.data)


@cache
def certificate(number: int) -> bytes:
    """The client's is number 1, the server's number 2."""
    return Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)


def context(number: int = 1, chain: tuple[bytes, ...] | None = None) -> SSL.Context:
    return make_context(chain or (certificate(number),), key(number=number))


def run(test: Callable[[End, int], Awaitable[None]], server_context: SSL.Context | None = None) -> None:
    """Run a test against a TLS server on loopback; it gets the server's end, and the port."""

    async def main() -> None:
        end = End.new()
        ours = server_context or context(2)

        def accept() -> TlsStream:
            end.streams.append(TlsStream(ours, end, is_server=True))
            return end.streams[-1]

        server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        try:
            async with asyncio.timeout(120):
                await test(end, server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for stream in [*end.streams, *clients]:
                stream.abort("the test is over")
            clients.clear()
            await asyncio.sleep(0.02)

    asyncio.run(main())


clients: list[TlsStream] = []
"""Those of the running test."""


async def connect(port: int, ours: SSL.Context | None = None) -> tuple[TlsStream, End]:
    """A client that begins its handshake."""
    end = End.new()
    _, stream = await asyncio.get_running_loop().create_connection(
        lambda: TlsStream(ours or context(), end, is_server=False), "127.0.0.1", port
    )
    clients.append(stream)
    stream.begin()
    return stream, end


def test_both_ends_show_their_certificates_and_talk() -> None:
    async def test(server: End, port: int) -> None:
        stream, client = await connect(port)
        assert await server.up == (certificate(1),)
        assert await client.up == (certificate(2),)
        stream.write(b"ping")
        assert await server.has(4) == b"ping"
        server.streams[0].write(b"pong")
        assert await client.has(4) == b"pong"
        assert (stream.remote, stream.is_server) == (("127.0.0.1", port), False)
        stream.close("enough")
        assert await client.down == "enough"
        assert await server.down == "closed by the other end"
        stream.write(b"nobody hears this")

    run(test)


def test_intermediate_certificates_travel_with_the_own_one() -> None:
    """Both ways: what the other end needs to verify is there, each certificate once, the own one first."""
    club = Club.of()
    chain = (
        certificate(1),
        club.anchor.issue(
            key(number=5).public_key(), f"ca@{OVERLAY}", [node_id(5)], random.Random(5), Validity(DATE - DAY_S, DATE)
        ),
    )

    async def test(server: End, port: int) -> None:
        _, client = await connect(port, context(chain=chain))
        assert await server.up == chain
        assert await client.up == chain

    run(test, make_context(chain, key(number=1)))


def malformed() -> SSL.Context:
    """A context that shows a certificate which OpenSSL takes and `cryptography` does not: X.509 of version 8."""
    version = certificate(1).index(b"\xa0\x03\x02\x01\x02") + 4
    patched = certificate(1)[:version] + b"\x07" + certificate(1)[version + 1 :]
    made = context()
    made.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, patched))
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_certificate_that_cannot_be_read_is_for_the_core_to_refuse() -> None:
    """Anybody may send anything: it must not be an exception in the middle of the event loop."""
    strange = malformed()

    async def test(server: End, port: int) -> None:
        await connect(port, strange)
        certificates = await server.up
        with pytest.raises(SecurityError):
            Club.of().verifier.check(certificates, DATE, True)

    run(test)


@pytest.mark.must("6.5.1.13/3")
def test_a_client_without_a_certificate_is_not_let_in() -> None:
    async def test(server: End, port: int) -> None:
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=bare)
        assert "certificate" in await server.down
        assert not server.up.done()
        writer.close()

    run(test)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(400), b"\x16\x03\x01\xff\xff" + bytes(70_000)])
def test_garbage_is_no_handshake(garbage: bytes) -> None:
    async def test(server: End, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        assert (await server.down).startswith("TLS: ")
        assert not server.up.done()
        writer.close()

    run(test)


def test_garbage_after_the_handshake_ends_the_stream() -> None:
    async def test(server: End, port: int) -> None:
        stream, client = await connect(port)
        await server.up
        await client.up
        transport = stream._transport
        assert transport is not None
        transport.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert (await server.down).startswith("TLS: ")

    run(test)


def test_whoever_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_MAX_S", 0.1)

    async def test(server: End, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await server.down == "TLS handshake timed out"
        writer.close()

    run(test)


def test_whoever_does_not_read_is_cut_off() -> None:
    async def test(server: End, port: int) -> None:
        stream, _ = await connect(port)
        await server.up
        assert stream._transport is not None
        stream._transport.pause_reading()
        for _ in range(400):
            server.streams[0].write(bytes(65536))
            await asyncio.sleep(0)
        assert await server.down == "the other end does not read"

    run(test)


def test_who_sends_without_end_keeps_nobody_waiting() -> None:
    """Each connection gets a turn of some kilobytes, then it is the next one's: a word comes through a flood."""

    async def test(server: End, port: int) -> None:
        flood, _ = await connect(port)
        await server.up
        server.up = asyncio.get_running_loop().create_future()
        word, _ = await connect(port)
        await server.up
        heard: list[int] = []
        everything = asyncio.Event()

        def hear(_: TlsStream, data: bytes) -> None:
            heard.append(len(data))
            if sum(heard) == 3_000_004:
                everything.set()

        server.stream_data = hear  # type: ignore[method-assign]
        flood.write(bytes(3_000_000))
        word.write(b"word")
        async with asyncio.timeout(60):
            await everything.wait()
        # A turn may complete a record that has begun in the one before it.
        assert max(heard) <= tls.TURN_BYTES + 16384
        assert sum(heard[: heard.index(4)]) < 1_000_000

    run(test)


def test_connections_of_two_threads_do_not_share_where_they_read() -> None:
    """As of a program with a loop, and a connection to an overlay, in each of two threads."""
    stream = TlsStream(context(), End(None, None), is_server=False)  # type: ignore[arg-type]
    buffers = [stream.get_buffer(-1)]
    thread = threading.Thread(target=lambda: buffers.append(stream.get_buffer(-1)))
    thread.start()
    thread.join()
    assert buffers[0] is stream.get_buffer(-1)
    assert buffers[0] is not buffers[1]


def test_nothing_is_written_to_a_socket_that_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    """The loop says that a connection is gone in its next turn; until then it complains of every write."""

    async def test(server: End, port: int) -> None:
        stream, client = await connect(port)
        await client.up
        await server.up
        assert stream._transport is not None
        plain = stream._transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream._transport.abort()
        await client.down
        for _ in range(50):
            server.streams[0].write(b"is anybody there?")
        await server.down
        assert caplog.records == []

    run(test)


def test_what_was_written_before_the_close_arrives() -> None:
    async def test(server: End, port: int) -> None:
        stream, client = await connect(port)
        await client.up
        stream.write(bytes(2_000_000))
        stream.close("done")
        assert await server.down == "closed by the other end"
        assert len(server.data) == 2_000_000
        assert await client.down == "done"

    run(test)


def test_a_closed_stream_does_not_wait_for_a_reader_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "GOODBYE_MAX_S", 0.1)
    monkeypatch.setattr(tls, "WRITE_BUFFER_MAX", 1 << 30)

    async def test(server: End, port: int) -> None:
        stream, _ = await connect(port)
        await server.up
        assert stream._transport is not None
        stream._transport.pause_reading()
        server.streams[0].write(bytes(30_000_000))
        began = time.monotonic()
        server.streams[0].close("superseded")
        assert await server.down == "superseded"
        assert time.monotonic() - began < 60.0

    run(test)


def test_a_half_closed_connection_is_closed() -> None:
    """The other end says nothing more, not even goodbye: that is an end."""

    async def test(server: End, port: int) -> None:
        stream, _ = await connect(port)
        await server.up
        assert stream._transport is not None
        stream._transport.write_eof()
        assert await server.down == "closed by the other end"

    run(test)


def test_a_reset_is_told_in_the_system_s_words_without_its_number() -> None:
    async def test(server: End, port: int) -> None:
        stream, client = await connect(port)
        await server.up
        await client.up
        stream._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.abort("enough")
        assert await server.down == "Connection reset by peer"

    run(test)


def test_a_reset_while_connecting_is_an_end_and_no_exception() -> None:
    """Also where the connection is gone before anybody has looked who is at its other end."""

    async def main() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            for _ in range(20):
                connecting = asyncio.ensure_future(connect(port))
                await asyncio.sleep(0.001)
                accepted, _ = await asyncio.to_thread(listener.accept)
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()
                stream, client = await connecting
                assert await client.down
                assert not stream.is_connected
        assert not faults

    asyncio.run(main())


def test_a_connection_that_was_gone_at_once() -> None:
    class Gone(asyncio.Transport):
        is_aborted = False

        def get_extra_info(self, name: str, default: object = None) -> object:
            return None

        def abort(self) -> None:
            self.is_aborted = True

        def is_closing(self) -> bool:
            return self.is_aborted

    async def main() -> None:
        end = End.new()
        stream = TlsStream(context(), end, is_server=True)
        gone = Gone()
        stream.connection_made(gone)
        stream.connection_lost(None)
        assert gone.is_aborted
        assert await end.down == "closed by the other end"

    asyncio.run(main())


def hello() -> bytes:
    """What a client says first."""
    client = SSL.Connection(context())
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def test_who_answers_and_says_no_more_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the server's flight is too large for the path: the client hears nothing at all."""
    monkeypatch.setattr(tls, "STALL_S", 0.1)

    async def test(server: End, port: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            stream, client = await connect(nobody.getsockname()[1])
            assert await client.down == "TLS handshake stalled"
            assert stream.is_stalled

    run(test)


def test_a_client_of_which_the_last_flight_does_not_come_has_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not said a word, and was not said one to, is no sign of anything."""
    monkeypatch.setattr(tls, "STALL_S", 0.1)
    monkeypatch.setattr(tls, "HANDSHAKE_MAX_S", 0.2)

    async def test(server: End, port: int) -> None:
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        assert await server.down == "TLS handshake timed out"
        assert not server.streams[0].is_stalled
        server.down = asyncio.get_running_loop().create_future()
        _, talking = await asyncio.open_connection("127.0.0.1", port)
        talking.write(hello())
        assert await server.down == "TLS handshake stalled"
        assert server.streams[1].is_stalled
        for writer in (silent, talking):
            writer.close()

    run(test)


def test_as_long_as_something_comes_a_handshake_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not for ever: whoever says it byte by byte is cut off as well."""
    monkeypatch.setattr(tls, "STALL_S", 0.5)
    monkeypatch.setattr(tls, "HANDSHAKE_MAX_S", 1.0)

    async def test(server: End, port: int) -> None:
        _, slow = await asyncio.open_connection("127.0.0.1", port)
        slow.write(hello())
        # A record, of which there is always one byte more to come.
        slow.write(b"\x17\x03\x03\x40\x00")
        while not server.down.done():
            slow.write(b"x")
            await asyncio.sleep(0.05)
        assert await server.down == "TLS handshake timed out"
        assert not server.streams[0].is_stalled
        slow.close()

    run(test)


def test_what_the_system_gives_up_has_stalled() -> None:
    """TCP's user timeout (RFC 5482); that packets vanish is for tests/net/test_black_hole_processes.py to try."""

    async def test(server: End, port: int) -> None:
        stream, client = await connect(port)
        await asyncio.gather(server.up, client.up)
        stream.cut_if_silent(3.0)
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000
        assert stream._transport is not None
        stream._transport._fatal_error(TimeoutError(110, "Connection timed out"))  # type: ignore[attr-defined]
        assert await client.down == "Connection timed out"
        assert stream.is_stalled
        await server.down
        assert not server.streams[0].is_stalled

    run(test)


def test_what_a_client_has_come_for_is_agreed_in_the_handshake() -> None:
    """RFC 7301, RFC 7443: for a relay, or for a link, which says nothing; what is not known is taken for a link."""

    async def test(server: End, port: int) -> None:
        for offered, agreed in ((STUN_TURN, STUN_TURN), (b"", b"")):
            end = End.new()
            _, stream = await asyncio.get_running_loop().create_connection(
                lambda offered=offered, end=end: TlsStream(context(), end, is_server=False, protocol=offered),  # type: ignore[misc]
                "127.0.0.1",
                port,
            )
            clients.append(stream)
            stream.begin()
            await end.up
            assert (stream.protocol, stream.is_up) == (agreed, True)
            stream.write(b"x")
            await server.has(1)
            assert server.streams[-1].protocol == agreed

    run(test)


def test_a_relay_that_takes_no_streams_is_none() -> None:
    """Its server is one of links, and says nothing: who has come for a relay does not go on."""
    ignorant = context(2)
    ignorant.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)  # type: ignore[arg-type,return-value]

    async def test(server: End, port: int) -> None:
        end = End.new()
        _, stream = await asyncio.get_running_loop().create_connection(
            lambda: TlsStream(context(), end, is_server=False, protocol=STUN_TURN), "127.0.0.1", port
        )
        clients.append(stream)
        stream.begin()
        assert await end.down == "the other end does not take stun.turn"
        assert not end.up.done()

    run(test, ignorant)


@pytest.mark.parametrize("first", [b"\x00\x03", b"\x00\x01\x00\x00"])
def test_turn_in_clear_where_it_is_taken_and_there_alone(first: bytes) -> None:
    """RFC 8656 section 3.1: TCP as well as TLS; a stream of anything else is one of TLS."""

    async def dial(takes: bool) -> None:
        end, accepted = End.new(), []

        def accept() -> TlsStream:
            accepted.append(TlsStream(context(2), end, is_server=True, takes_turn_in_clear=takes))
            return accepted[-1]

        server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(first)
        if takes:
            assert await end.up == ()
            assert accepted[0].protocol == STUN_TURN
            assert await end.has(len(first)) == first
            accepted[0].write(b"answer")
            assert await reader.readexactly(6) == b"answer"
            accepted[0].close("enough")
            assert await reader.read() == b""
            writer.close()
            await end.down
        else:
            writer.write(bytes(8))
            await end.down
            assert not end.up.done()
            writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    async def main() -> None:
        async with asyncio.timeout(60):
            await dial(True)
            await dial(False)

    asyncio.run(main())


class Unasked(End):
    """Remembers what was accepted."""

    def stream_accepted(self, stream: TlsStream) -> None:
        self.streams.append(stream)


class Beginning(TlsStream):
    """A client whose user chooses it as soon as it is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.begin()


def test_who_has_dialled_may_be_the_server() -> None:
    """Both ends have opened the stream: nobody has accepted it, and an Attach says who is what (6.5.1.13)."""

    async def main() -> None:
        client, server = Unasked.new(), Unasked.new()
        accepted = Beginning(context(), client, is_server=False, is_dialled=True)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: accepted, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        _, stream = await loop.create_connection(
            lambda: TlsStream(context(2), server, is_server=True, is_dialled=True), "127.0.0.1", port
        )
        stream.begin()
        async with asyncio.timeout(60):
            assert await server.up == (certificate(1),)
            assert await client.up == (certificate(2),)
        assert (server.streams, client.streams) == ([], [])
        for each in (stream, accepted):
            each.abort("the test is over")
        listener.close()
        await asyncio.sleep(0.02)

    asyncio.run(main())
