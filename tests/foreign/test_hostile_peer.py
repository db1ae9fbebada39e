"""Whatever a remote sends, at any rate: an error or nothing for it, bounded memory, and the others go on being served.

The assailants are members (their certificate is good, their intentions are not) or nobody; the victim is a real peer,
a process. In each test an honest client of the same victim asks all the while, and is answered.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import rfc6940_bytes as wire
from declared_kinds import ARRAY_KIND, DECLARED, SINGLE_KIND
from foreign_member import LIFETIME_S, Stranger, anchor_der, member, self_made
from live_overlay import HOST, OVERLAY, LiveOverlay, LivePeer, eventually
from rfc6940_identity import Configuration, fetch_configuration
from rfc6940_link import Link, dial
from rfc6940_peer import PATIENCE_S, ErrorAnswer, Unanswered, until
from rfc6940_ring import SPACE

pytestmark = pytest.mark.slow(60)

GROWTH_MAX_KB = 48 * 1024
"""How much the victim may grow by whatever is done to it here, all tests together."""

ANSWER_USUAL_S = 3.0
"""How long half of the honest requests may take meanwhile: until they would be sent again. Each is answered. On an idle
machine the longest takes 0.2 s; but tests run beside others, and assailants and honest client share a processor with
the victim."""

DESCRIPTORS_MAX = 512
"""Sockets and files that the victim may have open."""

ELSEWHERE = "127.0.0.2"
"""Where those come from who are not members, so that the victim can tell them from the honest client."""


@dataclass
class Scene:
    """The victim, another real peer, and who is about."""

    overlay: LiveOverlay
    configuration: Configuration
    honest: Stranger
    mallory: Stranger
    """Lies."""

    oscar: Stranger
    """Takes what he can get: links, memory, time."""

    baseline_kb: int = 0

    @property
    def victim(self) -> LivePeer:
        return self.overlay.peers[0]

    @property
    def victim_id(self) -> bytes:
        return bytes.fromhex(self.victim.node_id)

    @property
    def other_id(self) -> bytes:
        return bytes.fromhex(self.overlay.peers[1].node_id)

    def newcomer(self, user: str, stack: ExitStack) -> Stranger:
        """One more node of a member, with a key and a Node-ID of its own."""
        stranger = Stranger(self.configuration, member(self.configuration, user), self.overlay.directory)
        stack.callback(stranger.close)
        return stranger

    def memory_kb(self) -> int:
        status = Path(f"/proc/{self.victim.daemon.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory, users = tmp_path_factory.mktemp("hostile"), ("alice", "mallory", "oscar")
    with LiveOverlay(directory, peers=2, users=users, kinds=DECLARED) as overlay:
        configuration = fetch_configuration(overlay.url, OVERLAY, anchor_der(directory / "overlay" / "anchor.crt"))
        with ExitStack() as stack:
            strangers = []
            for user in users:
                strangers.append(Stranger(configuration, member(configuration, user), directory))
                stack.callback(strangers[-1].close)
            scene = Scene(overlay, configuration, *strangers)
            for stranger in strangers:
                linked(scene, stranger)
                stranger.ping(wire.node(scene.victim_id))
            scene.baseline_kb = scene.memory_kb()
            yield scene
        # Afterwards the ring is whole, as if nothing had been.
        overlay.wait_whole()


def linked(scene: Scene, stranger: Stranger) -> Link:
    """A link of this client to the victim, which it routes all it has through."""
    peer, host, port = stranger.peer, HOST, scene.victim.overlay_port
    if (link := peer.link(scene.victim_id)) is None:
        link = stranger.loop.do(peer.dial(host, port))
        eventually("the link is entered", lambda: peer.link(scene.victim_id))
    peer.ready.add(scene.victim_id)
    return link


@dataclass
class Honest:
    """What the honest client has seen."""

    took_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextmanager
def others_are_served(scene: Scene, *, at_least: int = 10) -> Iterator[Honest]:
    """While this lasts the honest client asks without pause, and afterwards it was answered each time, in time."""
    seen, is_over = Honest(), threading.Event()
    where = wire.resource_id(scene.honest.peer.identity.user.encode())

    def ask() -> None:
        for count in itertools.count():
            if is_over.is_set() and count >= at_least:
                return
            began = time.monotonic()
            try:
                if count % 2:
                    scene.honest.fetch(where, SINGLE_KIND)
                else:
                    scene.honest.ping(wire.node(scene.victim_id))
            except (ErrorAnswer, Unanswered, AssertionError) as error:
                seen.failures.append(f"{type(error).__name__}: {error}")
            seen.took_s.append(time.monotonic() - began)
            time.sleep(0.02)

    linked(scene, scene.honest)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield seen
    finally:
        is_over.set()
        asking.join()
    assert seen.failures == []
    assert statistics.median(seen.took_s) < ANSWER_USUAL_S
    assert scene.memory_kb() - scene.baseline_kb < GROWTH_MAX_KB
    assert scene.victim.status()["state"] == "in the ring"


def refused(code: int) -> pytest.RaisesExc[ErrorAnswer]:
    return pytest.raises(ErrorAnswer, check=lambda error: error.code == code)


async def closed(link: Link, limit_s: float = PATIENCE_S) -> list[bytes]:
    """What comes until the other end closes."""
    async with asyncio.timeout(limit_s):
        return [message async for message in link.messages()]


def strange_link(scene: Scene, stranger: Stranger) -> Link:
    """A further link of a member to the victim, that nobody listens to yet."""
    peer = stranger.peer
    return stranger.loop.do(dial(HOST, scene.victim.overlay_port, peer.client_tls, peer.configuration.trust))


def unanswered(scene: Scene, *messages: bytes) -> None:
    """Nothing that the victim has to say comes back for these; what comes after them is answered."""
    mallory = scene.mallory
    strays = len(mallory.peer.strays)
    link = linked(scene, mallory)
    for message in messages:
        mallory.loop.call(link.send, message)
    mallory.ping(wire.node(scene.victim_id))
    assert mallory.peer.strays[strays:] == []


def pings(stranger: Stranger, target: bytes, count: int) -> list[bytes]:
    """Signed beforehand, so that the flood is as fast as the line."""
    headers = (stranger.peer.header([wire.node(target)]) for _ in range(count))
    return [stranger.peer.identity.message(header, wire.PING, wire.vector(b"", 2)) for header in headers]


# Floods


def test_a_flood_of_requests(scene: Scene) -> None:
    """A member that has several Node-IDs sends on all the links that it may have, as fast as they take it."""
    oscar = scene.oscar
    with ExitStack() as stack:
        crowd = [scene.newcomer("oscar", stack) for _ in range(6)]
        floods = [(each, pings(each, scene.victim_id, 250)) for each in crowd for _ in range(4)]

        async def pour(stranger: Stranger, messages: list[bytes]) -> None:
            link = await dial(HOST, scene.victim.overlay_port, stranger.peer.client_tls, scene.configuration.trust)
            reading = asyncio.ensure_future(closed(link))
            for message in messages:
                link.send(message)
            await until("most of the flood is taken", lambda: len(link.unacknowledged) < 20)
            link.close()
            await asyncio.gather(reading, return_exceptions=True)

        async def pour_all() -> None:
            await asyncio.gather(*(pour(*flood) for flood in floods))

        with others_are_served(scene, at_least=50):
            oscar.loop.do(pour_all(), 120)


def test_a_flood_of_connections(scene: Scene) -> None:
    """Many hundreds are opened and left so; who was slow to begin gets through, and who comes only then."""
    address = (HOST, scene.victim.overlay_port)
    with others_are_served(scene), ExitStack() as stack:
        slow = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
        for _ in range(600):
            stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S, source_address=(ELSEWHERE, 0)))
        newcomer = scene.newcomer("alice", stack)
        linked(scene, newcomer)
        assert newcomer.ping(wire.node(scene.victim_id)) == scene.victim_id
        stack.enter_context(newcomer.peer.client_tls.wrap_socket(slow))


def test_a_flood_of_links(scene: Scene) -> None:
    """One member has a few links and no more, however many it opens."""
    with others_are_served(scene):
        links = [strange_link(scene, scene.oscar) for _ in range(40)]
        closing = [scene.oscar.loop.later(closed(link)) for link in links]
        eventually("most of them are closed again", lambda: sum(each.done() for each in closing) >= 36)
        for link in links:
            scene.oscar.loop.call(link.close)


# Too much at once


def test_messages_that_are_too_large(scene: Scene) -> None:
    """6.6: "the peer SHOULD send an Error_Message_Too_Large error and then close the TLS or DTLS session"."""
    too_many = scene.configuration.max_message_bytes + 1
    with others_are_served(scene):
        header = scene.oscar.peer.header([wire.node(scene.victim_id)])
        message = scene.oscar.peer.identity.message(header, wire.PING, wire.vector(bytes(too_many - 1000), 2))
        message += bytes(max(0, too_many - len(message)))
        for beginning in (message, message[:300]):
            link = strange_link(scene, scene.oscar)
            frame = b"\x80" + wire.number(0, 4) + wire.number(0xFFFFFF if beginning != message else len(message), 3)
            scene.oscar.loop.call(link.write, frame + beginning)
            (answer,) = scene.oscar.loop.do(closed(link))
            said = wire.read_message(answer)
            assert (said.code, said.header.transaction) == (wire.ERROR, header.transaction)
            assert wire.Reader(said.body).number(2) == wire.MESSAGE_TOO_LARGE
        # "If the forwarding header is larger than the max-message-size, the receiver SHOULD close the TLS or DTLS
        # session without sending an error." What is no header is treated alike.
        link = strange_link(scene, scene.oscar)
        scene.oscar.loop.call(link.write, b"\x80" + wire.number(0, 4) + b"\xff\xff\xff" + os.urandom(300))
        assert scene.oscar.loop.do(closed(link)) == []


def test_frames_that_never_end(scene: Scene) -> None:
    """What is announced and does not come costs the victim no more than it has come."""
    with others_are_served(scene):
        links = [strange_link(scene, scene.oscar) for _ in range(3)]
        for link in links:
            scene.oscar.loop.call(link.write, b"\x80" + wire.number(0, 4) + wire.number(60_000, 3) + bytes(59_999))
        time.sleep(0.5)
        for link in links:
            scene.oscar.loop.call(link.close)


def test_half_open_handshakes_are_closed(scene: Scene) -> None:
    """TCP connections without a word, with half a ClientHello, and with half a TLS record of nothing."""
    beginnings = (
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\x16\x03\x01\xff\xff" + bytes(99),
    )
    with others_are_served(scene), ExitStack() as stack:
        address = (HOST, scene.victim.overlay_port)
        opened = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S)) for _ in beginnings]
        for connection, beginning in zip(opened, beginnings, strict=True):
            connection.sendall(beginning)
        for connection in opened:
            drained(connection)


def test_readers_that_never_read(scene: Scene) -> None:
    """They ask for all they can get, acknowledge what they have not read, and are given up, their megabytes dropped."""
    oscar, where = scene.oscar, wire.resource_id(scene.oscar.peer.identity.user.encode())
    linked(scene, oscar)
    oscar.store(where, ARRAY_KIND, *(wire.Value(bytes(1000), slot=index) for index in range(40)))
    body = wire.fetch(where, [wire.Specifier(ARRAY_KIND, 0, wire.ranges((0, wire.LAST)))])

    async def ask_and_never_read(stranger: Stranger) -> Link:
        link = await dial(HOST, scene.victim.overlay_port, stranger.peer.client_tls, scene.configuration.trust)
        link.pause()
        for sent in range(0, 400, 10):
            for _ in range(10):
                header = stranger.peer.header([wire.resource(where)])
                link.send(stranger.peer.identity.message(header, wire.FETCH, body))
            # Whoever reads nothing can only guess which frames it has been sent.
            for sequence in range(max(0, sent - 100), sent):
                link.write(wire.ack_frame(sequence, 0))
            await asyncio.sleep(0.03)
        return link

    async def ask_all(strangers: list[Stranger]) -> list[Link]:
        return await asyncio.gather(*map(ask_and_never_read, strangers))

    def are_given_up(strangers: list[Stranger]) -> bool:
        up = {link["node_id"] for link in scene.victim.status()["links"] if link["state"] == "up"}
        return up.isdisjoint(stranger.hex for stranger in strangers)

    with others_are_served(scene), ExitStack() as stack:
        several = [scene.newcomer("oscar", stack) for _ in range(3)]
        for link in oscar.loop.do(ask_all(several)):
            stack.callback(oscar.loop.call, link.abort)
        eventually("they are cut off, or taken for dead", lambda: are_given_up(several))


# Lies


def test_a_replayed_store_changes_nothing(scene: Scene) -> None:
    """An old StoreReq of somebody else, sent again by a member that has overheard it: at once, and as a new one."""
    honest, where = scene.honest, wire.resource_id(scene.honest.peer.identity.user.encode())
    linked(scene, honest)
    stored = honest.peer.identity.stored(where, SINGLE_KIND, wire.Value(b"before"), LIFETIME_S, honest.now_ms())
    body = wire.store(where, 0, [wire.KindData(SINGLE_KIND, 0, [stored])])
    overheard = honest.peer.identity.message(honest.peer.header([wire.resource(where)]), wire.STORE, body)
    honest.loop.call(linked(scene, honest).send, overheard)
    eventually("it is stored", lambda: honest.fetch(where, SINGLE_KIND).data == [b"before"])
    honest.store(where, SINGLE_KIND, wire.Value(b"after"))
    with others_are_served(scene):
        for _ in range(20):
            scene.mallory.loop.call(linked(scene, scene.mallory).send, overheard)
        with refused(wire.FORBIDDEN):
            # Alice's value in a request of mallory's own.
            scene.mallory.request(
                wire.STORE, body, wire.resource(where), certificates=[honest.peer.identity.certificate.der]
            )
        with refused(wire.DATA_TOO_OLD):
            honest.request(wire.STORE, body, wire.resource(where))
    assert honest.fetch(where, SINGLE_KIND).data == [b"after"]


def test_messages_whose_signature_does_not_hold_are_dropped(scene: Scene) -> None:
    """6.3.4: "If the signature fails, the implementation SHOULD simply drop the message and MUST NOT process it"."""
    mallory, alice = scene.mallory.peer.identity, scene.honest.peer.identity
    target = [wire.node(scene.victim_id)]

    def forged(change: Callable[[wire.Message], wire.Message]) -> bytes:
        header = scene.mallory.peer.header(target)
        message = change(wire.read_message(mallory.message(header, wire.PING, wire.vector(b"", 2))))
        payload = message.contents + wire.certificate_bucket(message.certificates) + message.signature.encode()
        return replace(header, transaction=message.header.transaction).encode(len(payload)) + payload

    def signed(message: wire.Message, **changes: object) -> wire.Message:
        return replace(message, signature=replace(message.signature, **changes))  # type: ignore[arg-type]

    others_identity = alice.sign(b"").identity
    stolen = b"\x02" + wire.vector(b"\x04" + wire.vector(bytes(32), 1), 2)
    with others_are_served(scene):
        unanswered(
            scene,
            forged(lambda m: signed(m, value=m.signature.value[:-1] + b"\0")),
            forged(lambda m: signed(m, value=b"")),
            forged(lambda m: signed(m, hash_algorithm=0, signature_algorithm=0)),
            forged(lambda m: signed(m, identity=b"\x03\0\0")),
            forged(lambda m: signed(m, identity=others_identity)),
            forged(lambda m: signed(m, identity=stolen)),
            forged(lambda m: replace(signed(m, identity=others_identity), certificates=[alice.certificate.der])),
            forged(lambda m: replace(m, contents=wire.contents(wire.PING, wire.vector(b"x", 2)))),
            forged(lambda m: replace(m, header=replace(m.header, transaction=1))),
        )


def test_a_certificate_of_another_overlay_opens_no_link(scene: Scene, tmp_path: Path) -> None:
    """Self-made: the handshake may be done, but not one byte is taken from it."""
    stranger = self_made(scene.configuration, scene.victim_id, tmp_path)
    with others_are_served(scene):
        try:
            link = stranger.loop.do(
                dial(HOST, scene.victim.overlay_port, stranger.peer.client_tls, scene.configuration.trust)
            )
            stranger.loop.call(link.send, pings(stranger, scene.victim_id, 1)[0])
            assert stranger.loop.do(closed(link)) == []
        finally:
            stranger.close()


def test_nobody_joins_or_leaves_for_another(scene: Scene) -> None:
    """6.4.2.1, 6.4.2.2: the Node-ID, the signature and the link must be the same node's, or Error_Forbidden."""
    other, victim = scene.other_id, wire.node(scene.victim_id)
    alice = scene.honest
    with others_are_served(scene):
        with refused(wire.FORBIDDEN):
            scene.mallory.request(wire.JOIN, other + wire.vector(b"", 2), victim)
        with refused(wire.FORBIDDEN):
            scene.mallory.request(wire.JOIN, alice.node_id + wire.vector(b"", 2), victim)
        for leaving in (other, scene.victim_id, alice.node_id):
            with refused(wire.FORBIDDEN):
                scene.mallory.request(wire.LEAVE, wire.leave(leaving, 1, []), victim)
        # What alice has really signed, but not sent: it comes over mallory's link.
        for code, body in (
            (wire.JOIN, alice.node_id + wire.vector(b"", 2)),
            (wire.LEAVE, wire.leave(alice.node_id, 2, [])),
        ):
            header = scene.mallory.peer.header([victim])
            overheard = alice.peer.identity.message(header, code, body)
            answer = scene.mallory.loop.do(
                scene.mallory.peer.exchange(header.transaction, overheard, linked(scene, scene.mallory))
            )
            assert wire.Reader(answer.body).number(2) == wire.FORBIDDEN
        successors = scene.victim.status()["successors"]
        assert successors == [other.hex()]


def test_forged_lists_lead_nowhere(scene: Scene) -> None:
    """Loops, lists without end, opaque IDs that the victim has never made, Resource-IDs where none may be."""
    there, back = wire.node(scene.victim_id), wire.node(scene.other_id)
    mallory = scene.mallory
    ping = wire.vector(b"", 2)
    where = wire.resource(wire.resource_id(b"nowhere"))

    def message(destinations: list[wire.Destination], **fields: object) -> bytes:
        return mallory.peer.identity.message(mallory.peer.header(destinations, **fields), wire.PING, ping)

    nobody = wire.node(bytes(15) + b"\x01")
    with others_are_served(scene):
        unanswered(
            scene,
            message([wire.opaque(b"\x80\x01")]),
            message([wire.opaque(bytes(200)), there]),
            message([there, wire.opaque(os.urandom(20))]),
            message([where, there]),
            message([there], via=(where,)),
            message([there], via=(nobody,) * 3000),
            message([]),
            message([nobody]),
        )
        # As long as the list may be, it is only as far as the TTL goes.
        with refused(wire.TTL_EXCEEDED):
            mallory.request(wire.PING, ping, *[there, back] * 600, there)
        assert mallory.ping(*[there, back] * 20, there) == scene.victim_id
        with refused(wire.TTL_EXCEEDED):
            mallory.request(wire.PING, ping, there, ttl=101)
        with refused(wire.TTL_EXCEEDED):
            mallory.request(wire.PING, ping, there, back, ttl=0)
        # Answers that nobody has asked for, to go round and round: what they cost is one's own processor's time.
        for _ in range(10):
            header = mallory.peer.header([there, back] * 300, ttl=100)
            mallory.loop.call(
                linked(scene, mallory).send, mallory.peer.identity.message(header, wire.PING + 1, bytes(16))
            )


def test_updates_full_of_nodes_that_are_not_there(scene: Scene) -> None:
    """A member says it is a peer, with thousands of neighbours that nobody has ever seen: nobody is told of them."""
    rng, own = random.Random("neighbours"), int.from_bytes(scene.victim_id, "big")
    near = [wire.number((own + sign * step) % SPACE, 16) for step in range(1, 500) for sign in (1, -1)]
    with others_are_served(scene), ExitStack() as stack:
        liar = scene.newcomer("mallory", stack)
        linked(scene, liar)
        for count in range(12):
            made_up = [rng.randbytes(16) for _ in range(1000)]
            body = wire.ChordUpdate(count, 2, (*near, scene.victim_id), (*made_up, *near)).encode()
            message, _ = liar.request(wire.UPDATE, body, wire.node(scene.victim_id))
            assert message.body == b""
        told = {
            node_id for update in liar.peer.updates.values() for node_id in (*update.predecessors, *update.successors)
        }
        assert told <= {scene.other_id, scene.victim_id, liar.node_id}
    for table in ("successors", "predecessors"):
        eventually("it has gone", lambda name=table: scene.victim.status()[name] == [scene.other_id.hex()])


def test_attaches_that_lead_nowhere(scene: Scene) -> None:
    """The victim is to dial hundreds of addresses where nobody is, or nobody speaks: so many at a time, and no more."""
    mallory = scene.mallory
    with others_are_served(scene), ExitStack() as stack:
        silent = stack.enter_context(socket.create_server((ELSEWHERE, 0), backlog=4))
        nowhere = [wire.Candidate(ELSEWHERE, port) for port in range(1, 200)]
        listening = wire.Candidate(ELSEWHERE, silent.getsockname()[1])
        offers = [
            wire.AttachBody(b"passive", (listening,), send_update=True),
            wire.AttachBody(b"passive", (*nowhere[:60], listening), send_update=True),
            wire.AttachBody(b"passive", (), send_update=True),
            wire.AttachBody(b"active", (listening,), send_update=False),
            wire.AttachBody(bytes(255), (listening,), send_update=False, ufrag=bytes(255), password=bytes(255)),
        ]

        async def attach(offer: wire.AttachBody) -> wire.Message:
            header = mallory.peer.header([wire.node(scene.victim_id)])
            data = mallory.peer.identity.message(header, wire.ATTACH, offer.encode())
            link = mallory.peer.link(scene.victim_id)
            assert link is not None
            return await mallory.peer.exchange(header.transaction, data, link)

        async def attach_often() -> list[wire.Message]:
            return await asyncio.gather(*(attach(offer) for offer in offers * 60))

        linked(scene, mallory)
        answers = mallory.loop.do(attach_often())
        assert all(answer.code in (wire.ATTACH + 1, wire.ERROR) for answer in answers)
        descriptors = len(os.listdir(f"/proc/{scene.victim.daemon.process.pid}/fd"))
        assert descriptors < DESCRIPTORS_MAX


# Garbage


def test_garbage_at_every_layer(scene: Scene) -> None:
    """On the socket, in TLS, in a frame, in a message: the link is closed, or the message dropped or refused."""
    rng = random.Random("garbage")
    mallory, address = scene.mallory, (HOST, scene.victim.overlay_port)
    with others_are_served(scene):
        for garbage in (
            b"\0" * 3000,
            b"GET / HTTP/1.1\r\n\r\n",
            rng.randbytes(5000),
        ):
            with socket.create_connection(address, timeout=PATIENCE_S) as connection:
                connection.sendall(garbage)
                drained(connection)
        for garbage in (b"\0", rng.randbytes(5000), b"\x82" * 100):
            link = strange_link(scene, scene.oscar)
            scene.oscar.loop.call(link.write, garbage)
            assert scene.oscar.loop.do(closed(link)) == []
        good = pings(mallory, scene.victim_id, 1)[0]
        # Not the end of the message, where the signature is: some of those are right.
        mutants = [mutated(rng, good) for _ in range(300)]
        mallory.loop.do(tolerated(linked(scene, mallory), [b"", b"\xd2ELO", *mutants, rng.randbytes(1000)]))
        assert mallory.ping(wire.node(scene.victim_id)) == scene.victim_id


def test_signed_garbage_is_answered_with_an_error(scene: Scene) -> None:
    """Every message code, with a body that is nothing: whoever has signed it is told, or gets what it asks for."""
    rng = random.Random("bodies")
    mallory = scene.mallory
    link = linked(scene, mallory)
    cases = [(code, body) for code in range(1, 0x40, 2) for body in (b"", b"\xff" * 40, rng.randbytes(300))]

    async def ask(code: int, body: bytes) -> wire.Message:
        header = mallory.peer.header([wire.node(scene.victim_id)])
        return await mallory.peer.exchange(header.transaction, mallory.peer.identity.message(header, code, body), link)

    async def ask_all() -> list[wire.Message]:
        return await asyncio.gather(*(ask(*case) for case in cases))

    with others_are_served(scene):
        for (code, body), answer in zip(cases, mallory.loop.do(ask_all()), strict=True):
            assert answer.code == wire.ERROR or (answer.code == code + 1 and body == b""), f"{code:#x}: {answer}"


def drained(connection: socket.socket) -> None:
    """Until the victim closes, politely or not."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return


async def tolerated(link: Link, messages: list[bytes]) -> None:
    for message in messages:
        link.send(message)
    await link.drain()


def mutated(rng: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randint(1, len(data))] if rng.random() < 0.3 else data)
