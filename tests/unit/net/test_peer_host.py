"""The driver of a peer on loopback sockets, with a core that only takes notes."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
from candidates import dtls, tls
from driver_bench import HERE, Disk, Notes, context, datagram_context
from dtls_client import connect_dtls, only_one_more
from free_ports import free_port
from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect, Note
from p2psip.base.errors import LocalMisuse
from p2psip.base.timers import Deadline
from p2psip.coupling.peer import Peer
from p2psip.net import node_host
from p2psip.net.node_host import HostSettings, LinkContexts
from p2psip.net.peer_host import Endpoints, PeerHost
from p2psip.net.sockets import tls as tls_sockets
from p2psip.net.sockets.dtls import IP_UDP_BYTES
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.tls import SocketStream, TlsStream
from p2psip.reload.node.effects import Write
from p2psip.reload.paths import dialling
from p2psip.reload.paths.values import Candidate, CutIfSilent, HangUp, Open, Stalled
from p2psip.reload.storage.store.records import Commit, CommitFailed, Committed, Moment
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sim.membership import DATE, OVERLAY, Club, node_id
from p2psip.sip.entities.agents.types import MediaReleased, MediaWanted
from p2psip.sip.transports.effects import SendUdp


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + 60
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, condition
        await asyncio.sleep(0.005)


@dataclass
class Bench:
    """A host with its core and its disk, and what went wrong in the event loop."""

    host: PeerHost
    core: Notes
    disk: Disk
    overlay: Address
    others: list[Effect]
    faults: list[dict[str, object]]

    def dial(self, number: int, candidates: tuple[Candidate, ...]) -> None:
        """Have the core connect."""
        self.host.call(lambda now: self.core.dial(number, candidates, now))

    def do(self, *effects: Effect) -> None:
        """Have the core want something."""
        self.host.call(lambda now: self.core.wanted.extend(effects))


def run(test: Callable[[Bench], Awaitable[None]], **endpoints: object) -> None:
    async def main() -> None:
        core, disk, others = Notes(), Disk(), list[Effect]()
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        settings = HostSettings(LinkContexts(context(), datagram_context(1)), disk, DATE, path_mtu=1400)
        host = PeerHost(cast(Peer, core), settings, others.append)
        overlay = next(iter(endpoints.get("overlay", ())), Address(HERE, free_port()))  # type: ignore[call-overload]
        fields = {
            "overlay": (overlay,),
            "overlay_udp": (),
            "sip": (),
            "phone_udp": (),
            "phone_tcp": (),
        }
        try:
            await host.listen(Endpoints(**(fields | endpoints)))  # type: ignore[arg-type]
            async with asyncio.timeout(120):
                await test(Bench(host, core, disk, overlay, others, faults))
        finally:
            host.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody else's port, where connections are accepted by hand."""
    with socket.create_server((HERE, 0)) as listening:
        listening.settimeout(60)
        yield listening


class Other:
    """Another peer's TLS server."""

    def __init__(self) -> None:
        self.streams: list[TlsStream] = []
        self.data = bytearray()
        self.up, self.down = asyncio.Event(), asyncio.Event()

    async def listen(self, host: str = HERE, port: int = 0) -> Address:
        def accept() -> TlsStream:
            self.streams.append(TlsStream(context(2), self, is_server=True))
            return self.streams[-1]

        self.server = await asyncio.get_running_loop().create_server(accept, host, port)
        return Address(*self.server.sockets[0].getsockname())

    def stream_accepted(self, stream: TlsStream) -> None:
        pass

    def stream_up(self, stream: TlsStream, certificates: tuple[bytes, ...]) -> None:
        self.up.set()

    def stream_data(self, stream: TlsStream, data: bytes) -> None:
        self.data += data

    def stream_down(self, stream: TlsStream, reason: str) -> None:
        self.down.set()

    def pause(self) -> None:
        """Read nothing more."""
        for stream in self.streams:
            assert stream._transport is not None
            stream._transport.pause_reading()

    def close(self) -> None:
        self.server.close()
        for stream in self.streams:
            stream.abort("the test is over")


@dataclass
class End:
    """The user of an association that is none of the host's."""

    data: list[bytes] = field(default_factory=list)
    is_up: bool = False
    is_down: bool = False

    def stream_accepted(self, stream: SocketStream) -> None:
        pass

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        self.is_up = True

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        self.data.append(data)

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        self.is_down = True

    async def has_heard(self, count: int) -> None:
        await until(lambda: len(self.data) >= count)

    async def has_ended(self) -> None:
        await until(lambda: self.is_down)


def nobody() -> Address:
    """An address where nobody listens."""
    return Address(HERE, free_port())


# Dialling


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


class Pair:
    """Two drivers beside each other, each at a UDP port of its own."""

    def __init__(self) -> None:
        self.cores = Notes(), Notes()
        self.addresses = [Address(HERE, free_port()) for _ in self.cores]
        self.hosts = [
            PeerHost(
                cast(Peer, core),
                HostSettings(LinkContexts(context(number), datagram_context(number)), Disk(), DATE),
                list[Effect]().append,
            )
            for number, core in enumerate(self.cores, 1)
        ]

    async def listen(self) -> None:
        for host, address in zip(self.hosts, self.addresses, strict=True):
            await host.listen_datagram_links([address])

    def dial(self, which: int) -> None:
        """One dials the other; the dial is called number 2."""
        other = dtls(self.addresses[1 - which])
        self.hosts[which].call(lambda now: self.cores[which].dial(2, other, now))

    def close(self) -> None:
        for host in self.hosts:
            host.close()


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


async def shake(client: SSL.Connection, other: socket.socket) -> None:
    """A TLS handshake by hand, after which the connection is left as it is."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            client.do_handshake()
        except SSL.WantReadError:
            await loop.sock_sendall(other, client.bio_read(1 << 16))
            client.bio_write(await loop.sock_recv(other, 1 << 16))
            continue
        break
    await loop.sock_sendall(other, client.bio_read(1 << 16))


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


# Accepting


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
