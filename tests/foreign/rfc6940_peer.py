"""A RELOAD peer written from the text of RFC 6940 alone, to meet the program under test as a stranger.

It has what a member needs: links, symmetric recursive routing, Attach, Chord's Join, Update and Leave, Store and
Fetch with two replicas, RouteQuery and Ping. It leaves out what no test here asks of it: periodic stabilisation,
fingers, fragments, Probe, Find and Stat as a server, and the retention of failed links.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rfc6940_bytes as wire
from rfc6940_identity import Configuration, Identity, NotBelieved, message_prefix, tls_contexts
from rfc6940_link import Link, believed, dial
from rfc6940_ring import after, next_id
from rfc6940_store import Rejected, Store

T = TypeVar("T")

HOST = "127.0.0.1"
NEIGHBORS = 3
"""10.1: "at least the three peers before and after this peer"."""

TRANSMISSIONS = 5
PATIENCE_S = 60.0
"""For a machine that is busy with something else: what has been sent over a link and is not lost comes, if late."""

NEIGHBORS_TYPE, FULL_TYPE = 2, 3


class ErrorAnswer(Exception):
    """A request was answered with an error."""

    def __init__(self, code: int, info: bytes) -> None:
        super().__init__(f"error {code:#x}: {info!r}")
        self.code = code
        self.info = info


class Unanswered(Exception):
    """Five transmissions, and no answer."""


async def until(what: str, holds: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not in {limit_s:.0f} s: {what}"
        await asyncio.sleep(0.02)


class Peer:
    """One member, from its first connection to its leaving."""

    def __init__(
        self,
        configuration: Configuration,
        identity: Identity,
        directory: Path,
        *,
        seed: str = "peer",
        compresses: bool = False,
    ) -> None:
        self.configuration = configuration
        self.identity = identity
        self.node_id = identity.node_id
        self._is_over = False
        self.links: dict[bytes, list[Link]] = {}
        self.attached: set[bytes] = set()
        self.ready: set[bytes] = set()
        self.updates: dict[bytes, wire.ChordUpdate] = {}
        self.has_joined = False
        self._is_leaving = False
        self.store = Store(configuration)
        self.served: list[tuple[int, bytes]] = []
        self.forwarded: list[wire.Message] = []
        self.strays: list[wire.Message] = []
        self.complaints: list[str] = []
        self.client_tls, self.server_tls = tls_contexts(identity, configuration.roots, directory)
        self._rng = random.Random(seed)
        self._waiting: dict[int, asyncio.Future[tuple[wire.Message, bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._began = time.monotonic()
        self._told: tuple[tuple[bytes, ...], tuple[bytes, ...]] = ((), ())
        self._copied_to: set[bytes] = set()
        self._meeting: set[bytes] = set()
        self.compresses = compresses
        self._compressed: dict[bytes, tuple[wire.Destination, ...]] = {}

    # Links

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, HOST, 0, ssl=self.server_tls)

    @property
    def candidate(self) -> wire.Candidate:
        assert self._server is not None
        return wire.Candidate(HOST, self._server.sockets[0].getsockname()[1])

    async def dial(self, host: str, port: int, wanted: bytes | None = None) -> Link:
        """A link that we open. 6.5.1.11: the certificate MUST match the node, "if it does not, the connection
        MUST be closed".
        """
        link = await dial(host, port, self.client_tls, self.configuration.trust)
        if wanted not in (None, link.node_id):
            link.close()
            raise NotBelieved("another node than the one we dialled")
        self._keep(link)
        return link

    async def close(self) -> None:
        """As a crash: nothing is said to anybody."""
        self._is_over = True
        if self._server is not None:
            self._server.close()
        for links in list(self.links.values()):
            for link in links:
                link.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def link(self, node_id: bytes) -> Link | None:
        """The newest open link to a node."""
        return next((link for link in reversed(self.links.get(node_id, [])) if link.is_open), None)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._keep(believed(reader, writer, self.configuration.trust))
        except NotBelieved as error:
            self.complaints.append(f"a link of {error}")

    def _keep(self, link: Link) -> None:
        """It is closed with all others from now on, be it that nobody has listened to it yet; or that is done."""
        if self._is_over:
            link.abort()
            return
        self.links.setdefault(link.node_id, []).append(link)
        self._spawn(self._listen_to(link))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.complaints.append(f"{type(error).__name__}: {error}")

    async def _listen_to(self, link: Link) -> None:
        try:
            async for data in link.messages():
                self._receive(data, link)
        finally:
            self.links[link.node_id].remove(link)
            if self.link(link.node_id) is None:
                self._lost(link.node_id)

    def _lost(self, node_id: bytes) -> None:
        """10.7.1: "the peer MUST remove the entry from its Neighbor Table [...] MUST send an immediate Update"."""
        self.ready.discard(node_id)
        self.attached.discard(node_id)
        self._neighbors_changed()

    # The ring

    @property
    def successors(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.ready, key=lambda other: after(self.node_id, other))[:NEIGHBORS])

    @property
    def predecessors(self) -> tuple[bytes, ...]:
        return tuple(sorted(self.ready, key=lambda other: after(other, self.node_id))[:NEIGHBORS])

    @property
    def neighbors(self) -> set[bytes]:
        return {*self.successors, *self.predecessors}

    def is_responsible(self, target: bytes) -> bool:
        """10.1: "if k is less than or equal to x and k is greater than p"."""
        if not self.has_joined:
            return False
        if not self.predecessors:
            return True
        return after(self.predecessors[0], target) <= after(self.predecessors[0], self.node_id)

    def next_hop(self, target: bytes) -> bytes | None:
        """10.3: the node k itself if we are connected, the largest Node-ID "in the interval between the peer and k", or
        the smallest greater than k.
        """
        if target in self.ready:
            return target
        before = [other for other in self.ready if after(self.node_id, other) < after(self.node_id, target)]
        if before:
            return max(before, key=lambda other: after(self.node_id, other))
        return min(self.ready, key=lambda other: after(target, other), default=None)

    # Messages in

    def _receive(self, data: bytes, link: Link) -> None:
        try:
            message = wire.read_message(data)
        except wire.Malformed as error:
            self.complaints.append(f"from {link.node_id.hex()[:8]}: {error}: {data[:60].hex()}")
            return
        header = message.header
        if header.overlay != self.configuration.overlay or header.ttl > self.configuration.ttl:
            self.complaints.append(f"overlay {header.overlay:#x}, TTL {header.ttl}")
            return
        destinations = header.destinations
        # 6.1.1: "the node removes the entry from the Destination List and repeats the routing process".
        while len(destinations) > 1 and destinations[0] == wire.node(self.node_id):
            destinations = destinations[1:]
            if destinations[0].value in self._compressed:
                # 6.1.2: "it would detect that I is an opaque ID, recover the Via List [A, B, C], and reverse that".
                destinations = (*reversed(self._compressed.pop(destinations[0].value)), *destinations[1:])
        first = destinations[0]
        is_ours = first in (wire.node(self.node_id), wire.node(wire.WILDCARD))
        if is_ours or (first.type == 2 and len(destinations) == 1 and self.is_responsible(first.value)):
            self._deliver(message, link)
        elif first.type != 3:
            self._forward(data, message, destinations, link)

    def _forward(
        self, data: bytes, message: wire.Message, destinations: Sequence[wire.Destination], link: Link
    ) -> None:
        """6.1.2: our way is the first, "appending to the Via List", for answers as well, where it is not required."""
        first, header = destinations[0], message.header
        onward = self.link(first.value) if first.type == 1 else None
        if onward is None:
            hop = None if first.type == 1 and self.is_responsible(first.value) else self.next_hop(first.value)
            onward = self.link(hop) if hop is not None else None
        if onward is None:
            return
        if header.ttl == 0:
            if message.is_request:
                self._answer(message, link, wire.ERROR, wire.error(wire.TTL_EXCEEDED))
            return
        via = (*header.via, wire.node(link.node_id))
        if self.compresses and message.is_request:
            token = wire.number(0x8000 | self._rng.getrandbits(15), 2)
            token = token if self._rng.random() < 0.5 else token + self._rng.randbytes(30)
            self._compressed[token] = via
            via = (wire.opaque(token),)
        self.forwarded.append(message)
        onward.send(wire.readdressed(data, destinations=tuple(destinations), via=via, ttl=header.ttl - 1))

    def _deliver(self, message: wire.Message, link: Link) -> None:
        """6.3.4: "the destination node MUST verify the signature and the authorizing certificate"."""
        try:
            author, user = self.configuration.trust.author(
                message_prefix(message), message.signature, message.certificates
            )
        except NotBelieved as error:
            self.complaints.append(f"message {message.code:#x}: {error}")
            return
        if not message.is_request:
            waiting = self._waiting.get(message.header.transaction)
            if waiting is None:
                self.strays.append(message)
            elif not waiting.done():
                waiting.set_result((message, author))
            return
        self.served.append((message.code, author))
        certificates: list[bytes] = []
        if message.header.sequence != self.configuration.sequence and not wire.is_for_any(message):
            too_old = message.header.sequence < self.configuration.sequence
            code, body, then = wire.ERROR, wire.error(wire.CONFIG_TOO_OLD if too_old else wire.CONFIG_TOO_NEW), None
        else:
            try:
                body, certificates, then = self._serve(message, author, user, link)
                code = message.code + 1
            except Rejected as rejected:
                code, body, then = wire.ERROR, wire.error(rejected.code, rejected.info), None
            except wire.UnknownKind as unknown:
                info = wire.vector(wire.number(unknown.kind, 4), 1)
                code, body, then = wire.ERROR, wire.error(wire.UNKNOWN_KIND, info), None
        self._answer(message, link, code, body, certificates)
        if then is not None:
            then()

    def _answer(
        self, message: wire.Message, link: Link, code: int, body: bytes, certificates: Iterable[bytes] = ()
    ) -> None:
        """6.1.2: the Node-ID "from which the request was received with the Via List", reversed (6.2.2)."""
        request = message.header
        back = (wire.node(link.node_id), *reversed(request.via))
        header = self.header(back, transaction=request.transaction)
        link.send(self.identity.message(header, code, body, certificates))

    # Requests out

    def header(self, destinations: Iterable[wire.Destination], **fields: Any) -> wire.Header:
        """A header with what the configuration says."""
        usual = {"ttl": self.configuration.ttl, "transaction": self._rng.getrandbits(64)}
        settings = {**usual, **fields}
        return wire.Header(
            self.configuration.overlay, self.configuration.sequence, destinations=tuple(destinations), **settings
        )

    async def request(
        self,
        code: int,
        body: bytes,
        *destinations: wire.Destination,
        through: Link | None = None,
        certificates: Sequence[bytes] = (),
        **fields: Any,
    ) -> tuple[wire.Message, bytes]:
        """The answer and the Node-ID that signed it. Raises ErrorAnswer or Unanswered."""
        header = self.header(destinations, **fields)
        data = self.identity.message(header, code, body, certificates)
        answer: asyncio.Future[tuple[wire.Message, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[header.transaction] = answer
        try:
            # 6.2.1: "the request MUST be retransmitted with the same transaction identifier [...] up to 4 times".
            for remaining in reversed(range(TRANSMISSIONS)):
                onward = through or self._way(destinations[0])
                if onward is not None:
                    onward.send(data)
                patience_s = self.configuration.reliability_s if remaining else PATIENCE_S
                done, _ = await asyncio.wait([answer], timeout=patience_s)
                if done:
                    return self._checked(*answer.result(), code, destinations[-1])
        finally:
            del self._waiting[header.transaction]
        raise Unanswered(f"request {code:#x} to {[entry.value.hex()[:8] for entry in destinations[-3:]]}")

    async def exchange(self, transaction: int, data: bytes, link: Link) -> wire.Message:
        """Send these bytes once; the answer to their transaction. Raises Unanswered."""
        answer: asyncio.Future[tuple[wire.Message, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = answer
        link.send(data)
        try:
            done, _ = await asyncio.wait([answer], timeout=PATIENCE_S)
        finally:
            del self._waiting[transaction]
        if not done:
            raise Unanswered(f"what was sent once as {transaction:#x}, in {PATIENCE_S:.0f} s")
        return answer.result()[0]

    def _way(self, first: wire.Destination) -> Link | None:
        direct = self.link(first.value) if first.type == 1 else None
        if direct is not None:
            return direct
        hop = self.next_hop(first.value)
        return self.link(hop) if hop is not None else None

    def _checked(
        self, message: wire.Message, author: bytes, code: int, target: wire.Destination
    ) -> tuple[wire.Message, bytes]:
        if target.type == 1 and target.value != wire.WILDCARD and message.code != wire.ERROR:
            # 6.3.4: "The response to a message sent to a Node-ID MUST have been sent by that Node-ID".
            assert author == target.value, f"{author.hex()} answers for {target.value.hex()}"
        if message.code == wire.ERROR:
            info = wire.whole(message.body, lambda r: (r.number(2), r.vector(2)))
            raise ErrorAnswer(*info)
        assert message.code == code + 1, f"{message.code:#x} answers {code:#x}"
        return message, author

    # Joining (10.5, 11.4) and leaving (10.9)

    async def attach(self, *destinations: wire.Destination, through: Link | None = None) -> bytes:
        """Attach with send_update; the node at the other end, once its link is up and its Update has come."""
        offer = wire.AttachBody(b"passive", (self.candidate,), send_update=True)
        message, author = await self.request(wire.ATTACH, offer.encode(), *destinations, through=through)
        answer = wire.whole(message.body, wire.read_attach)
        assert answer.role == b"active", answer
        # "The node that sent the Attach request MUST be the TLS server": the other end dials us.
        await until("the answerer of the Attach has dialled", lambda: self.link(author))
        self._attached_to(author)
        return author

    def _attached_to(self, other: bytes) -> None:
        """6.1.2: who routes "a message other than a Ping or Attach through a node without performing an Attach" is
        refused, if it has several Node-IDs; so the connection to the bootstrap node alone is none to route over.
        """
        self.attached.add(other)
        if other in self.updates:
            self.ready.add(other)

    async def bootstrap(self) -> Link:
        """11.4: "MUST first form the DTLS or TLS connection to the bootstrap node"."""
        host, port = self.configuration.bootstrap[0]
        return await self.dial(host, port)

    async def join(self) -> bytes:
        """Become a member; the Admitting Peer."""
        gateway = await self.bootstrap()
        admitting = await self.attach(wire.resource(next_id(self.node_id)), through=gateway)
        await until("the Admitting Peer's Update", lambda: admitting in self.updates)
        for other in self._wanted(self.updates[admitting]):
            # 10.6: "it MUST source-route the Attach request through the peer from which it learned".
            await self.attach(wire.node(admitting), wire.node(other))
        # "MUST NOT send any Update message placing itself in the overlay until it has successfully completed an
        # Attach with each peer that should be in its Neighbor Table."
        await until("Updates of all neighbours", lambda: self.neighbors >= set(self._wanted(self.updates[admitting])))
        join = self.node_id + wire.vector(b"", 2)
        await self.request(wire.JOIN, join, wire.node(admitting))
        await until("the Update that labels us as its predecessor", lambda: self.has_joined)
        return admitting

    async def leave(self) -> None:
        """10.9: "peers SHOULD send a Leave request to all members of their Neighbor Table"."""
        self._is_leaving = True
        for other in self.neighbors:
            # To our predecessors we are a successor, to all others a predecessor.
            is_successor = other in self.predecessors
            nodes = self.successors if is_successor else self.predecessors
            await self.request(wire.LEAVE, wire.leave(self.node_id, 1 if is_successor else 2, nodes), wire.node(other))
        self.has_joined = False

    def _wanted(self, update: wire.ChordUpdate) -> list[bytes]:
        """Whom an Update names that should be in our Neighbor Table and is not."""
        named = {*update.predecessors, *update.successors} - {self.node_id}
        known = named | self.ready
        nearest = sorted(known, key=lambda other: after(self.node_id, other))
        return [other for other in {*nearest[:NEIGHBORS], *nearest[-NEIGHBORS:]} if other not in self.ready]

    # Serving

    def _serve(
        self, message: wire.Message, author: bytes, user: str, link: Link
    ) -> tuple[bytes, list[bytes], Callable[[], None] | None]:
        """Body of the answer, certificates that it needs, and what is to be done after it. Raises Rejected."""
        match message.code:
            case wire.PING:
                wire.whole(message.body, lambda r: r.vector(2))
                time_ms = int(time.time() * 1000)
                return wire.number(self._rng.getrandbits(64), 8) + wire.number(time_ms, 8), [], None
            case wire.ATTACH:
                return self._serve_attach(wire.whole(message.body, wire.read_attach), author)
            case wire.UPDATE:
                update = wire.whole(message.body, wire.read_update)
                return b"", [], lambda: self._updated(author, update)
            case wire.JOIN:
                joining = wire.whole(message.body, lambda r: (wire.read_node(r), r.vector(2)))[0]
                return self._serve_join(joining, author, link)
            case wire.LEAVE:
                leaving = wire.whole(message.body, lambda r: (wire.read_node(r), r.vector(2)))[0]
                if not leaving == author == link.node_id:
                    raise Rejected(wire.FORBIDDEN)
                return b"", [], lambda: self._lost(leaving)
            case wire.ROUTE_QUERY:
                return self._serve_route_query(message, author)
            case wire.STORE:
                return self._serve_store(message, user)
            case wire.FETCH:
                return self._serve_fetch(message)
            case wire.CONFIG_UPDATE:
                return self._serve_config_update(message)
        raise Rejected(wire.INVALID_MESSAGE, b"not served here")

    def _serve_attach(self, offer: wire.AttachBody, author: bytes) -> tuple[bytes, list[bytes], Callable[[], None]]:
        usable = [each for each in offer.candidates if each.link == wire.TLS_TCP_FH_NO_ICE]
        if offer.role != b"passive" or not usable:
            raise Rejected(wire.INVALID_MESSAGE, b"no candidate that we could dial")
        answer = wire.AttachBody(b"active", (self.candidate,), send_update=False)
        return answer.encode(), [], lambda: self._spawn(self._answer_by_dialling(usable[0], author, offer.send_update))

    async def _answer_by_dialling(self, candidate: wire.Candidate, author: bytes, send_update: bool) -> None:
        await self.dial(candidate.host, candidate.port, author)
        await until("the dialled link is entered", lambda: self.link(author))
        self._attached_to(author)
        if send_update and self.has_joined:
            await self._send_update(author, FULL_TYPE)

    def _serve_join(self, joining: bytes, author: bytes, link: Link) -> tuple[bytes, list[bytes], Callable[[], None]]:
        """6.4.2.1: the signer's own Node-ID, over a link that "is bound to the Node-ID to be assumed"."""
        if not joining == author == link.node_id or not self.is_responsible(joining):
            raise Rejected(wire.FORBIDDEN)
        return wire.vector(b"", 2), [], lambda: self._spawn(self._admit(joining))

    async def _admit(self, joining: bytes) -> None:
        """10.5, steps 6 to 8: Stores, the Update that labels it our predecessor, Updates to all neighbours."""
        before = self.predecessors[0]
        for resource in self.store.resources():
            if after(before, resource) <= after(before, joining):
                await self._copy(resource, joining, 1)
        self.ready.add(joining)
        self._neighbors_changed()

    def _serve_route_query(
        self, message: wire.Message, author: bytes
    ) -> tuple[bytes, list[bytes], Callable[[], None] | None]:
        send_update, target, _ = wire.whole(
            message.body, lambda r: (r.boolean(), wire.read_destination(r), r.vector(2))
        )
        hop = self.node_id if self.is_responsible(target.value) else self.next_hop(target.value)
        if hop is None:
            raise Rejected(wire.NOT_FOUND)
        return hop, [], (lambda: self._spawn(self._send_update(author, FULL_TYPE))) if send_update else None

    def _serve_store(self, message: wire.Message, user: str) -> tuple[bytes, list[bytes], Callable[[], None] | None]:
        reader = wire.Reader(message.body)
        resource, replica = reader.vector(1), reader.number(1)
        kinds = reader.list(4, lambda r: wire.read_kind_data(r, self.configuration.models))
        reader.end()
        if replica == 0 and not self.is_responsible(resource):
            raise Rejected(wire.FORBIDDEN, b"another peer is responsible")
        generations = self.store.put(resource, replica, kinds, message.certificates, user)
        replicas = list(self.successors[:2]) if replica == 0 else []
        body = wire.store_answer(wire.StoreKindAnswer(kind, counter, replicas) for kind, counter in generations)
        then = (lambda: self._spawn(self._replicate(resource))) if replica == 0 else None
        return body, [], then

    def _serve_fetch(self, message: wire.Message) -> tuple[bytes, list[bytes], None]:
        reader = wire.Reader(message.body)
        resource = reader.vector(1)
        specifiers = reader.list(2, lambda r: wire.read_specifier(r, self.configuration.models))
        reader.end()
        found = b"".join(self.store.get(resource, each).encode() for each in specifiers)
        return wire.vector(found, 4), self.store.certificates, None

    def _serve_config_update(self, message: wire.Message) -> tuple[bytes, list[bytes], None]:
        """6.5.4: "If the update is acceptable, then the node MUST reconfigure itself"."""
        kind, rest = wire.whole(message.body, lambda r: (r.number(1), r.vector(4)))
        try:
            if kind == 1:
                new = self.configuration.updated(wire.whole(rest, lambda r: r.vector(3)))
            else:
                new = self.configuration.with_kinds(wire.whole(rest, lambda r: r.list(3, lambda k: k.vector(2))))
        except NotBelieved as error:
            raise Rejected(wire.FORBIDDEN, str(error).encode()) from None
        self.configuration = self.store.configuration = new
        return b"", [], None

    # Updates and copies

    def _updated(self, sender: bytes, update: wire.ChordUpdate) -> None:
        """10.7.3, with the end of 10.5: "an Update explicitly labeling JN as its predecessor"."""
        self.updates[sender] = update
        if self.link(sender) is not None and sender in self.attached:
            self.ready.add(sender)
        if not self.has_joined:
            if self.node_id not in update.predecessors:
                return
            self.has_joined = True
        for other in self._wanted(update):
            if other not in self._meeting:
                self._meeting.add(other)
                self._spawn(self._meet(sender, other))
        self._neighbors_changed()

    async def _meet(self, teller: bytes, other: bytes) -> None:
        try:
            await self.attach(wire.node(teller), wire.node(other))
        except (ErrorAnswer, Unanswered, AssertionError):
            # It may have gone, or be attaching to us at the same time; the next Update names it again.
            return
        finally:
            self._meeting.discard(other)

    def _neighbors_changed(self) -> None:
        """10.7.3: "the peer MUST send an Update request to each member of its Connection Table", and new replicas."""
        tables = (self.predecessors, self.successors)
        if not self.has_joined or self._is_leaving or tables == self._told:
            return
        self._told = tables
        for other in list(self.links):
            if self.link(other) is not None:
                self._spawn(self._send_update(other, NEIGHBORS_TYPE))
        new = set(self.successors[:2]) - self._copied_to
        self._copied_to = set(self.successors[:2])
        for resource in self.store.resources():
            if new and self.is_responsible(resource):
                self._spawn(self._replicate(resource))

    async def _send_update(self, other: bytes, kind: int) -> None:
        uptime = int(time.monotonic() - self._began)
        fingers = tuple(sorted(self.ready)) if kind == FULL_TYPE else ()
        body = wire.ChordUpdate(uptime, kind, self.predecessors, self.successors, fingers).encode()
        try:
            await self.request(wire.UPDATE, body, wire.node(other))
        except Unanswered:
            # Who does not answer is lost when its link is.
            return

    async def _replicate(self, resource: bytes) -> None:
        """10.4: "to its successor in the Neighbor Table and to that peer's successor"."""
        for rank, successor in enumerate(self.successors[:2], start=1):
            await self._copy(resource, successor, rank)

    async def _copy(self, resource: bytes, other: bytes, replica: int) -> None:
        if self._is_leaving:
            # 7.4.1.1: copies "MUST come from nodes which are [...] in the known replica set"; whom we have told knows
            # us no more. A Store that was answered a moment ago still has copies on their way when we leave.
            return
        body = wire.store(resource, replica, self.store.all_kinds(resource))
        try:
            await self.request(wire.STORE, body, wire.node(other), certificates=self.store.certificates)
        except ErrorAnswer as error:
            self.complaints.append(f"a copy to {other.hex()[:8]} was refused: {error}")
