"""The driver of a peer on loopback sockets: what it dials."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

import pytest
from candidates import dtls, tls
from driver_bench import HERE, context, datagram_context
from dtls_client import connect_dtls, only_one_more
from free_ports import free_port
from host_bench import Bench, End, Other, Pair, nobody, run, shake, until
from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.net import node_host
from p2psip.net.sockets.dtls import IP_UDP_BYTES
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.tls import TlsStream
from p2psip.reload.node.effects import Write
from p2psip.reload.paths import dialling
from p2psip.reload.paths.values import HangUp, Open
from p2psip.sim.membership import OVERLAY, Club, node_id


@pytest.mark.must("6.5.1.13/1", "6.5.1.13/2")
def test_dial_write_hear_and_hang_up() -> None:
    """ "The node that sent the Attach request MUST be the TLS server. The other node MUST be the TLS client.": that is
    who dials.
    """

    async def test(bench: Bench) -> None:
        other = Other()
        bench.dial(2, tls(await other.listen()))
        ((_, number, _),) = await bench.core.hears("up")
        assert number == 2
        await other.up.wait()
        bench.do(Write(2, b"question"))
        other.streams[0].write(b"answer")
        assert await bench.core.hears("data") == [("data", 2, b"answer")]
        # Who hangs up is not told of the end; what it wrote before arrives.
        bench.do(Write(2, b"last word"), HangUp(2, "enough"))
        await other.down.wait()
        assert bytes(other.data) == b"questionlast word"
        assert not [each for each in bench.core.told if each[0] == "down"]
        other.close()

    run(test)


def test_links_over_dtls_beside_those_over_tls() -> None:
    """On the same port number; whoever dials, of a DTLS link it is said what a datagram carries."""

    async def test(bench: Bench) -> None:
        other = End()
        association = await connect_dtls(datagram_context(2), other, bench.overlay, 1232)
        association.begin()
        ((_, number, _),) = await bench.core.hears("up")
        assert cast(int, number) % 2 == 1
        assert bench.core.datagram_bytes is not None
        assert 1400 - IP_UDP_BYTES - 80 < bench.core.datagram_bytes < 1400 - IP_UDP_BYTES
        # Of a handshake over datagrams the one end is done before the other.
        await until(lambda: other.is_up)
        association.write(b"question")
        assert await bench.core.hears("data") == [("data", number, b"question")]
        bench.do(Write(number, b"answer"), HangUp(number, "enough"))
        await other.has_ended()
        assert other.data == [b"answer"]
        stream = Other()
        bench.dial(2, tls(await stream.listen()))
        await bench.core.hears("up", 2)
        assert bench.core.datagram_bytes is None
        stream.close()

    overlay = Address(HERE, free_port())
    run(test, overlay=(overlay,), overlay_udp=(overlay,))


def test_dtls_is_dialled_and_who_is_not_there_costs_no_time() -> None:
    async def test(bench: Bench) -> None:
        end, accepted = End(), []
        listener = DtlsPorts(
            lambda: datagram_context(2), end, lambda each, _: accepted.append(each), lambda *_: None, 1232
        )
        there = await listener.bind(Address(HERE, 0))
        bench.dial(2, (*dtls(nobody()), *dtls(there)))
        ((_, number, _),) = await bench.core.hears("up")
        bench.do(Write(number, b"hello"))
        await end.has_heard(1)
        assert end.data == [b"hello"]
        # A reset is heard of at once.
        accepted[0].abort("killed")
        listener.close()
        await asyncio.sleep(0.02)
        bench.do(Write(number, b"anyone?"))
        assert await bench.core.hears("down") == [("down", number, "Connection refused")]

    run(test)


@pytest.mark.parametrize("turns", range(12))
def test_two_that_dial_each_other_over_dtls_are_both_answered_by_one_association(turns: int) -> None:
    """Whatever has gone to and fro before the second dials, which is that many turns of the loop later."""

    async def main() -> None:
        pair = Pair()
        await pair.listen()
        pair.dial(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        pair.dial(1)
        ups = [await core.hears("up") for core in pair.cores]
        if turns < 3:
            assert [[number for _, number, _ in each] for each in ups] == [[2], [2]]
        # The first may be up before the second dials; then that one takes its place.
        await until(lambda: any(told[:2] == ("up", 2) for told in pair.cores[1].told))
        await asyncio.sleep(0.1)
        for core, host in zip(pair.cores, pair.hosts, strict=True):
            assert len(host._numbers) == 1
            assert len(host._dtls._associations) == 1
            number = next(iter(host._streams))
            host.call(lambda now, core=core, number=number: core.wanted.append(Write(core.called(number), b"hello")))
        for core in pair.cores:
            await core.hears("data")
            assert all(reason == "the other end has begun anew" for what, *_, reason in core.told if what == "down")
        pair.close()
        await asyncio.sleep(0.02)

    asyncio.run(main())


def test_half_open_handshakes_over_dtls_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "HANDSHAKES_MAX", 3)

    async def test(bench: Bench) -> None:
        associations = [await connect_dtls(datagram_context(2), End(), bench.overlay, 1232) for _ in range(10)]
        for association in associations:
            only_one_more(association)
            association.begin()
        await bench.core.hears("accepted", 10)
        await until(lambda: bench.host._dtls._associations.handshaking <= 3)
        assert len(bench.host._numbers) <= 3
        for association in associations:
            association.abort("the test is over")

    overlay = Address(HERE, free_port())
    run(test, overlay=(overlay,), overlay_udp=(overlay,))


def test_connections_that_are_being_closed_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are refused, and however long their other ends keep them open."""
    monkeypatch.setattr(node_host, "CLOSING_MAX", 2)

    async def test(bench: Bench) -> None:
        others = [socket.create_connection(bench.overlay) for _ in range(5)]
        clients = []
        for other in others:
            other.setblocking(False)
            client = SSL.Connection(context(2), None)
            client.set_connect_state()
            clients.append(client)
        for number, (client, other) in enumerate(zip(clients, others, strict=True)):
            await shake(client, other)
            ups = await bench.core.hears("up", number + 1)
            bench.do(HangUp(cast(int, ups[-1][1]), "refused"))
        await until(lambda: len(bench.host._alive) == 2)
        for other in others:
            other.close()

    run(test)


def test_the_second_candidate_is_tried_after_the_first_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "DIAL_STAGGER_S", 0.05)

    async def test(bench: Bench) -> None:
        other = Other()
        bench.dial(2, tls(nobody(), await other.listen()))
        await bench.core.hears("up")
        other.close()

    run(test)


def test_when_all_candidates_fail_it_says_which_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "DIAL_STAGGER_S", 0.01)

    async def test(bench: Bench) -> None:
        first, second = nobody(), nobody()
        bench.dial(2, tls(first, second))
        ((_, number, reason),) = await bench.core.hears("down")
        assert number == 2
        assert sorted(str(reason).split("; ")) == sorted(f"{one} (TLS): Connection refused" for one in (first, second))

    run(test)


def test_this_machine_itself_is_no_neighbour() -> None:
    async def test(bench: Bench) -> None:
        bench.dial(2, tls(bench.overlay))
        assert await bench.core.hears("down") == [("down", 2, f"{bench.overlay} (TLS): that is this machine itself")]

    run(test)


def test_another_node_of_this_machine_may_have_the_same_port_at_another_address() -> None:
    async def test(bench: Bench) -> None:
        other = Other()
        bench.dial(2, tls(await other.listen("127.0.0.2", bench.overlay.port)))
        await bench.core.hears("up")
        other.close()

    run(test)


def test_whoever_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "DIAL_MAX_S", 0.2)
    monkeypatch.setattr(dialling, "DIAL_STAGGER_S", 5.0)

    async def test(bench: Bench) -> None:
        first, second = nobody(), nobody()
        bench.dial(2, tls(first, second))
        ((_, _, reason),) = await bench.core.hears("down")
        assert reason == f"{first} (TLS): Connection refused; no answer in 0.2 s from {second} (TLS)"

    run(test)


def test_a_dial_that_is_hung_up_leaves_no_connection_behind() -> None:
    """What would connect after all is closed."""

    async def test(bench: Bench) -> None:
        other = Other()
        (candidate,) = tls(await other.listen())
        bench.do(Open(2, candidate), HangUp(2, "not wanted any more"))
        await asyncio.sleep(0.1)
        bench.do(Open(4, candidate))
        await asyncio.sleep(0)
        bench.do(HangUp(4, "not wanted any more"))
        await asyncio.sleep(0.3)
        assert all(not stream.is_connected for stream in other.streams)
        assert bench.core.told == []
        assert bench.host._opening == {}
        other.close()

    run(test)


def test_a_connection_that_is_reset_at_once_is_a_failed_dial(listener: socket.socket) -> None:
    """Whatever the moment: the core must hear of it, or it waits for ever."""

    async def test(bench: Bench) -> None:
        address = Address(*listener.getsockname())
        for number in range(2, 22, 2):
            bench.dial(number, tls(address))
            accepted, _ = await asyncio.to_thread(listener.accept)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
        down = await bench.core.hears("down", 10)
        assert sorted(cast(int, each[1]) for each in down) == list(range(2, 22, 2))
        assert bench.faults == []

    run(test)


def test_a_connection_that_is_gone_before_it_is_used_is_a_failed_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(make: Callable[[], TlsStream], *_: object) -> TlsStream:
        return make()

    monkeypatch.setattr(node_host, "connect_tcp", gone)

    async def test(bench: Bench) -> None:
        bench.dial(2, tls(nobody()))
        ((_, number, reason),) = await bench.core.hears("down")
        assert (number, str(reason).partition(": ")[2]) == (2, "closed by the other end")

    run(test)


def test_a_stranger_with_our_own_private_address_is_not_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every site has a 172.17.0.1: what is at this one here is us, so the next candidate gets its turn."""
    monkeypatch.setattr(dialling, "DIAL_STAGGER_S", 0.05)

    async def test(bench: Bench) -> None:
        other = Other()
        bench.dial(2, tls(bench.overlay, await other.listen()))
        ((_, number, certificates),) = await bench.core.hears("up")
        assert number == 2
        assert certificates == (Club.of().certificate(f"user2@{OVERLAY}", [node_id(2)], number=2),) or other.streams
        other.close()

    run(test)
