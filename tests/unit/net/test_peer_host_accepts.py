"""The driver of a peer on loopback sockets: what it accepts, and how much of that."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest
from candidates import tls
from driver_bench import HERE, context
from free_ports import free_port
from host_bench import Bench, Other, run, until

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net import node_host
from p2psip.net.node_host import BACKLOG_FRESH_BYTES
from p2psip.net.sockets.tls import TlsStream
from p2psip.reload.node.effects import Write
from p2psip.reload.paths import dialling
from p2psip.reload.paths.values import CALL_RECORDS


@pytest.mark.must("6.5.1.13/1", "6.5.1.13/2")
def test_no_more_than_so_many_handshakes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects and says nothing costs others nothing: the oldest goes."""
    monkeypatch.setattr(dialling, "HANDSHAKES_MAX", 3)

    async def test(bench: Bench) -> None:
        silent = [await asyncio.open_connection(*bench.overlay) for _ in range(5)]
        reader, _ = silent[0]
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        other = Other()
        _, stream = await asyncio.get_running_loop().create_connection(
            lambda: TlsStream(context(2), other, is_server=False), *bench.overlay
        )
        stream.begin()
        ((_, number, _),) = await bench.core.hears("up")
        assert cast(int, number) % 2 == 1
        stream.close("done")
        assert await bench.core.hears("down") == [("down", number, "closed by the other end")]
        for _, writer in silent:
            writer.close()

    run(test)


def test_a_crowd_of_handshakes_pushes_out_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens one connection after the other from one place keeps nobody else from getting in, however slow."""
    monkeypatch.setattr(dialling, "HANDSHAKES_MAX", 3)

    async def test(bench: Bench) -> None:
        other = Other()
        _, slow = await asyncio.get_running_loop().create_connection(
            lambda: TlsStream(context(2), other, is_server=False), *bench.overlay
        )
        crowd = [await asyncio.open_connection(*bench.overlay, local_addr=("127.0.0.2", 0)) for _ in range(12)]
        async with asyncio.timeout(60):
            for reader, _ in crowd[:9]:
                assert await reader.read() == b""
        slow.begin()
        await bench.core.hears("up")
        slow.close("done")
        await bench.core.hears("down")
        for _, writer in crowd:
            writer.close()

    run(test)


def test_of_many_that_do_not_read_the_worst_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is within its bound, all together are not: it is the one that has left the most."""
    monkeypatch.setattr(node_host, "BACKLOGS_MAX_BYTES", 2_000_000)

    async def test(bench: Bench) -> None:
        others = [Other() for _ in range(3)]
        numbers = [2 * rank for rank in range(1, 4)]
        for number, other in zip(numbers, others, strict=True):
            bench.dial(number, tls(await other.listen()))
            await bench.core.hears("up", number // 2)
            await other.up.wait()
            other.pause()
        for _ in range(400):
            bench.do(*(Write(number, bytes(20_000 * (1 + (number == 4)))) for number in numbers))
            await asyncio.sleep(0)
            if bench.core.told[-1][0] == "down":
                break
        assert [each for each in bench.core.told if each[0] == "down"] == [("down", 4, "the other end does not read")]
        for other in others:
            other.close()

    run(test)


def test_of_a_connection_that_never_came_up_the_core_knows_nothing() -> None:
    async def test(bench: Bench) -> None:
        _, writer = await asyncio.open_connection(*bench.overlay)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        writer.close()
        await asyncio.sleep(0.1)
        assert bench.core.told == [("accepted", 1)]
        assert bench.faults == []

    run(test)


@pytest.mark.parametrize("which", ["overlay", "sip", "phone_udp", "phone_tcp"])
def test_an_address_that_is_taken_is_named(which: str) -> None:
    port = free_port()
    kind = socket.SOCK_DGRAM if which == "phone_udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((HERE, port))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        transport = "udp" if which == "phone_udp" else "tcp"
        with pytest.raises(
            LocalMisuse, match=rf"^cannot listen on {transport} 127.0.0.1:{port}: Address already in use;"
        ):
            run(_nothing, **{which: (Address(HERE, port),)})


async def _nothing(bench: Bench) -> None:
    pass


def test_ipv6_listeners() -> None:
    async def test(bench: Bench) -> None:
        _, writer = await asyncio.open_connection("::1", sip.port)
        assert await bench.core.hears("flow")
        writer.close()
        assert await bench.core.hears("flow closed")

    sip = Address("::1", free_port())
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    run(test, phone_tcp=(sip,), phone_udp=(sip,))


def test_over_a_stream_of_calls_what_is_to_be_fresh_is_lost_where_the_other_end_does_not_read() -> None:
    """Late voice is of no use; what is SIP's waits, and comes."""

    async def test(bench: Bench) -> None:
        other = Other()
        _, stream = await asyncio.get_running_loop().create_connection(
            lambda: TlsStream(context(2), other, is_server=False, protocol=CALL_RECORDS), *bench.overlay
        )
        stream.begin()
        ((_, number, _),) = await bench.core.hears("up")
        assert isinstance(number, int)
        assert bench.core.protocol == CALL_RECORDS
        await other.up.wait()
        stream.write(b"question")
        assert await bench.core.hears("data") == [("data", number, b"question")]
        stream.pause_reading()
        voice, count = b"v" * 1000, 20_000
        bench.do(*[Write(number, voice, is_to_be_fresh=True)] * count, Write(number, b"word of SIP"))
        assert bench.host._streams[number].backlog_bytes <= 2 * BACKLOG_FRESH_BYTES
        stream.resume_reading()
        await until(lambda: other.data.endswith(b"word of SIP"))
        assert 0 < other.data.count(b"v") < count * len(voice)
        stream.close("done")
        await bench.core.hears("down")

    run(test)
