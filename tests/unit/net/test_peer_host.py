"""The driver of a peer on loopback sockets: its pump, its disk, its media."""

from __future__ import annotations

import asyncio
import math
import socket
from typing import cast

import pytest
from candidates import tls
from driver_bench import HERE, context
from free_ports import free_port
from host_bench import Bench, Other, run, until
from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect, Note
from p2psip.base.timers import Deadline
from p2psip.net import node_host
from p2psip.net.sockets import tls as tls_sockets
from p2psip.reload.paths.values import CutIfSilent, Stalled
from p2psip.reload.storage.store.records import Commit, CommitFailed, Committed, Moment
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.membership import DATE
from p2psip.sip.entities.agents.types import MediaReleased, MediaWanted
from p2psip.sip.transports.effects import SendUdp

# The pump


def test_an_effect_that_causes_an_input_is_not_interrupted_by_its_effects() -> None:
    """The daemon may answer an effect at once: what that leads to comes after what was wanted before."""
    order: list[str] = []

    async def test(bench: Bench) -> None:
        def other(effect: Effect) -> None:
            assert isinstance(effect, Note)
            order.append(effect.event)
            if effect.event == "first":
                bench.do(Note("caused by the first", {}))

        bench.host._other = other
        bench.do(Note("first", {}), Note("second", {}))

    run(test)
    assert order == ["first", "second", "caused by the first"]


def test_deadlines() -> None:
    async def test(bench: Bench) -> None:
        bench.core.deadline = Deadline(node_host.boot_time() + 0.05, "soon")
        bench.do()
        assert not bench.core.told
        assert await bench.core.hears("timeout") == [("timeout",)]

    run(test)


def test_a_date_is_trusted_from_the_overlays_beginning_to_the_end_of_our_own_certificate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_trusted(date: float) -> bool:
        monkeypatch.setattr("time.time", lambda: date)
        return node_host.read_wall_clock(DATE, DATE + 10.0).is_trusted

    assert [is_trusted(DATE + seconds) for seconds in (-1.0, 0.0, 10.0, 11.0)] == [False, True, True, False]


def test_a_sleep_of_the_machine_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock stands still meanwhile; the peer's goes on, and its deadline is past when it wakes up."""
    monkeypatch.setattr(node_host, "WALL_CHECK_S", 0.05)

    async def test(bench: Bench) -> None:
        bench.core.deadline = Deadline(node_host.boot_time() + 3600, "in an hour")
        bench.core.wall = node_host.read_wall_clock(DATE, math.inf)
        bench.host._watch_wall_clock()
        awake = node_host.boot_time
        monkeypatch.setattr(node_host, "boot_time", lambda: awake() + 3601)
        monkeypatch.setattr(node_host, "read_wall_clock", lambda *_: bench.core.wall)
        assert await bench.core.hears("timeout")

    run(test)


# Disk


def commit() -> Commit:
    return Commit((), Moment(0.0, None))


def test_what_the_disk_says_comes_back() -> None:
    async def test(bench: Bench) -> None:
        bench.do(Ask(1, commit(), 9e9), Ask(3, commit(), 9e9))
        bench.disk.answers[1].set_result(CommitFailed("no space left on device"))
        bench.disk.answers[0].set_result(Committed())
        assert await bench.core.hears("answer", 2) == [
            ("answer", 3, CommitFailed("no space left on device")),
            ("answer", 1, Committed()),
        ]

    run(test)


def test_a_bug_of_the_disk_is_not_swallowed() -> None:
    async def test(bench: Bench) -> None:
        bench.do(Ask(1, commit(), 9e9))
        bench.disk.answers[0].set_exception(AssertionError("the writer died of a bug"))
        await until(lambda: bench.faults)
        assert [str(fault["exception"]) for fault in bench.faults] == ["the writer died of a bug"]

    run(test)


# Media


def test_media_is_at_the_address_that_the_phone_sees() -> None:
    """The peer listens everywhere; the phone is told the address from which this machine reaches it."""

    async def test(bench: Bench) -> None:
        bench.host.use_media_host("127.0.0.2")
        bench.do(Ask(-1, MediaWanted(1, HERE), 9e9), Ask(-3, MediaWanted(2), 9e9))
        first, second = await bench.core.hears("answer", 2)
        address = cast(Address, first[2])
        assert address.host == HERE
        assert address.port % 2 == 0
        assert cast(Address, second[2]).host == "127.0.0.2"
        bench.do(MediaReleased(address))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            await asyncio.sleep(0.05)
            again.bind(address)

    run(test)


def test_no_address_for_media() -> None:
    async def test(bench: Bench) -> None:
        bench.host.use_media_host("192.0.2.7")
        bench.do(Ask(-1, MediaWanted(1), 9e9))
        assert await bench.core.hears("answer") == [("answer", -1, None)]
        (note,) = bench.others
        assert isinstance(note, Note)
        assert note.is_warning
        assert "192.0.2.7" in str(note.facts["reason"])

    run(test)


@pytest.mark.parametrize(("everywhere", "here"), [("0.0.0.0", "127.0.0.3"), ("::", "::1")])
def test_where_we_listen_everywhere_the_socket_says_to_which_address_a_datagram_came(
    everywhere: str, here: str
) -> None:
    """And the answer leaves from there: the phone may know no other address of ours."""
    port = free_port()
    family = socket.AF_INET6 if ":" in here else socket.AF_INET

    async def test(bench: Bench) -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as phone:
            phone.bind(("::1" if ":" in here else HERE, 0))
            phone.setblocking(False)
            phone.sendto(b"hello", (here, port))
            [(_, data, local, remote)] = await bench.core.hears("datagram")
            assert (local, remote, data) == (Address(here, port), Address(*phone.getsockname()[:2]), b"hello")
            assert isinstance(remote, Address)
            for source in (here, everywhere, "192.0.2.77" if family == socket.AF_INET else "2001:db8::77"):
                # The last has gone meanwhile: better from another address than not at all.
                bench.do(SendUdp(Address(source, port), remote, source.encode()))
                answer, sender = await asyncio.get_running_loop().sock_recvfrom(phone, 100)
                assert answer == source.encode()
                assert sender[1] == port
                assert source != here or sender[0] == here

    run(test, phone_udp=(Address(everywhere, port),))


def test_connections_from_an_address_that_is_gone_are_over() -> None:
    async def test(bench: Bench) -> None:
        other = Other()
        bench.dial(2, tls(await other.listen()))
        await bench.core.hears("up")
        bench.host.hosts_gone({"192.0.2.1"})
        bench.host.hosts_gone(set())
        await asyncio.sleep(0.05)
        assert not [each for each in bench.core.told if each[0] == "down"]
        bench.host.hosts_gone({HERE})
        assert await bench.core.hears("down") == [("down", 2, "the address of this end is gone")]
        await other.down.wait()
        other.close()

    run(test)


def test_a_handshake_that_stalls_is_told_as_that_at_either_end(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    """Beside its end: whether anybody was there at all decides what is tried next."""
    monkeypatch.setattr(tls_sockets, "STALL_S", 0.1)

    async def test(bench: Bench) -> None:
        kind = OverlayLinkType.TLS_TCP_FH_NO_ICE
        silent = Address(*listener.getsockname())
        bench.dial(2, tls(silent))
        await bench.core.hears("down")
        # The core has it tried again with small packets.
        stalls = [("path", Stalled(path, silent, kind)) for path in (2, 4)]
        assert bench.core.told == [*stalls, ("down", 2, "TLS handshake stalled")]
        bench.core.told.clear()
        client = SSL.Connection(context(2))
        client.set_connect_state()
        with pytest.raises(SSL.WantReadError):
            client.do_handshake()
        with socket.create_connection(bench.overlay) as other:
            other.sendall(client.bio_read(65536))
            remote = Address(*other.getsockname())
            ((_, stalled),) = await bench.core.hears("path")
            assert stalled == Stalled(1, remote, kind)
        assert await bench.core.hears("down", 0) == [], "it was never told that it is there"

    run(test)


def test_a_connection_of_which_nothing_is_acknowledged_is_cut_where_the_core_wants() -> None:
    async def test(bench: Bench) -> None:
        other = Other()
        bench.dial(2, tls(await other.listen()))
        await bench.core.hears("up")
        stream = bench.host.stream(2)
        assert stream is not None
        bench.do(CutIfSilent(2, 3.0), CutIfSilent(4, 3.0))
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000
        other.server.close()

    run(test)
