"""One real node and any number of remotes that a test plays by hand, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from candidates import Dial, paths_of, under_way

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect, Note
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.link.stream import StreamLink
from p2psip.reload.node.effects import LinkUp, Write
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.paths.values import HangUp, Purpose
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit, CommitAnswer, CommitFailed
from p2psip.reload.storage.storing import Rules
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.topology.chord.messages import ChordUpdate, ChordUpdateType
from p2psip.reload.topology.chord.plugin import PLUGIN
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorResponse, MessageCode, MessageContents, MessageExtension
from p2psip.reload.wire.header import Destination, Entry, ForwardingHeader
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import AttachReqAns, CandType, IceCandidate, OverlayLinkType
from p2psip.reload.wire.message import Message, body_of, join, signature_input
from p2psip.reload.wire.security_block import GenericCertificate, SecurityBlock
from p2psip.reload.wire.topology_messages import JoinReq, UpdateAns
from p2psip.sim.invariants import chord_of
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier
from p2psip.sim.simulated_overlay import EPOCH_S, simulated_configuration

ME = 100
SIP_HERE = Address("192.0.2.100", 6085)
"""Where connections by AppAttach are accepted."""


def nid(place: int) -> NodeId:
    """A Node-ID at one of 256 places around the ring."""
    return NodeId((place % 256 << 120 | place).to_bytes(16, "big"))


def identity(place: int) -> SimulatedIdentity:
    """Who has that Node-ID."""
    return SimulatedIdentity(f"peer-{place}@sim.example", nid(place))


def address(place: int) -> Address:
    """Where that node can be dialled."""
    return Address(f"192.0.2.{place % 256}", 6084)


def offer(place: int, role: bytes = b"passive", *, send_update: bool = True) -> AttachReqAns:
    """The body of an Attach, or of its answer."""
    at = address(place)
    candidate = IceCandidate(
        IpAddressPort.of(at.host, at.port), OverlayLinkType.TLS_TCP_FH_NO_ICE, b"1", 1, CandType.HOST
    )
    return AttachReqAns(b"", b"", role, (candidate,), send_update)


@dataclass(frozen=True)
class Heard:
    """A message that the node sent to a remote."""

    header: ForwardingHeader
    contents: MessageContents
    body: Struct
    signer: NodeId
    certificates: tuple[GenericCertificate, ...]

    @property
    def code(self) -> MessageCode:
        """Which message it is."""
        return self.contents.message_code

    @property
    def error(self) -> ErrorResponse:
        """The error that it is."""
        assert isinstance(self.body, ErrorResponse), f"{self.body} is no error"
        return self.body


@dataclass
class Remote:
    """The other end of a link, played by the test."""

    place: int
    number: int
    link: StreamLink
    heard: list[Heard] = field(default_factory=list)
    take: Callable[[bytes], None] | None = None
    """Takes messages as they come, in place of `heard`."""


class NodeBench:
    """Node 100 of an overlay; its disk answers at once unless `holds_commits`, remotes acknowledge if
    `acknowledges`.
    """

    def __init__(
        self,
        *,
        may_start_alone: bool = False,
        is_client: bool = False,
        contacts: Sequence[Address] = (),
        return_path: ReturnPath = ReturnPath.VIA_LIST,
        link_types: Sequence[OverlayLinkType] = (OverlayLinkType.TLS_TCP_FH_NO_ICE,),
        port_mapping_secret: bytes = b"",
        asks_dns: bool = False,
        mdns_port: int = 0,
        **settings: object,
    ) -> None:
        self.now = 0.0
        self.effects: list[Effect] = []
        self.remotes: dict[int, Remote] = {}
        self.store = MemoryStore()
        self.holds_commits = False
        self.acknowledges = True
        self.commits: list[Ask] = []
        self.verifier = SimulatedVerifier(frozenset([nid(66)]))
        self.configuration = simulated_configuration([address(1)], **settings)
        wall = WallClock(EPOCH_S)
        storage = Storage(self.store, Rules(self.configuration.kinds, self.verifier, hash_name), wall, 0.0)
        self.node = Node(
            identity(ME),
            self.verifier,
            self.configuration,
            PLUGIN,
            storage,
            wall,
            NodeSettings(
                is_client=is_client,
                may_start_alone=may_start_alone,
                contacts=contacts,
                return_path=return_path,
                addresses={Purpose.RELOAD: (address(ME),), Purpose.SIP: (SIP_HERE,)},
                port_mapping_secret=port_mapping_secret,
                asks_dns=asks_dns,
                mdns_port=mdns_port,
                link_types=link_types,
            ),
            random.Random(1),
            0.0,
        )
        self._dialled: dict[int, Dial] = {}
        self._seen = 0
        self._transactions = iter(range(1, 1 << 32))
        self._accepted = iter(range(1, 1 << 32, 2))

    # The driver's part

    def settle(self) -> None:
        """Do what the node wants done."""
        self._dialled |= {dial.link: dial for dial in under_way(self.node._paths._dialling)}
        while effects := self.node.drain():
            for effect in effects:
                self._do(effect)

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, Write):
            self._written(effect)
        elif isinstance(effect, Ask):
            assert isinstance(effect.question, Commit)
            self.commits.append(effect)
            if not self.holds_commits:
                self.answer_commits()
        else:
            self.effects.append(effect)

    def answer_commits(self, failure: str = "") -> None:
        """The disk answers what it was asked."""
        asks, self.commits = self.commits, []
        for ask in asks:
            assert isinstance(ask.question, Commit)
            answer: CommitAnswer = CommitFailed(failure) if failure else self.store.commit(ask.question)
            self.node.handle_answer(ask.token, answer, self.now)
        self.settle()

    def _written(self, write: Write) -> None:
        for remote in self.remotes.values():
            if remote.number == write.link:
                for data in remote.link.receive(write.data, self.now):
                    if remote.take is None:
                        remote.heard.append(_hear(data, self.verifier))
                    else:
                        remote.take(data)
                if self.acknowledges:
                    self._flush(remote)
                else:
                    remote.link.drain()

    def _flush(self, remote: Remote) -> None:
        for output in remote.link.drain():
            self.node.handle_link_data(remote.number, output, self.now)
            self.settle()

    def run_for(self, seconds: float) -> None:
        """Let time go on."""
        end = self.now + seconds
        while (deadline := self.node.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.node.handle_timeout(self.now)
            self.settle()
        self.now = end

    def take(self, kind: type[Effect]) -> list[Effect]:
        """The effects of this kind since the last look."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    def notes(self, event: str) -> list[Note]:
        """What the node said to the log of this event."""
        return [effect for effect in self.effects if isinstance(effect, Note) and effect.event == event]

    def dials(self) -> list[Dial]:
        """Whom the node wants to dial, since the last look."""
        new = [dial for link, dial in self._dialled.items() if link > self._seen]
        self._seen = max(self._dialled, default=0)
        return new

    def hung_up(self) -> list[int]:
        """Which links it wants closed, since the last look."""
        return [effect.link for effect in self.take(HangUp) if isinstance(effect, HangUp)]

    # Links

    def link(
        self, place: int, number: int | None = None, *, presents: int | None = None, purpose: Purpose = Purpose.RELOAD
    ) -> Remote:
        """A connection with `place` is up: accepted, or what `number` dialled; it may present another's certificate."""
        remote = Remote(place, next(self._accepted) if number is None else number, StreamLink(1 << 24, self.now))
        if purpose is Purpose.RELOAD:
            self.remotes[place] = remote
        certificate = identity(place if presents is None else presents).certificate
        here = address(ME) if purpose is Purpose.RELOAD else SIP_HERE
        link = LinkUp(remote.number, (certificate,), address(place), here)
        self.node.handle_link_up(link, self.now)
        self.settle()
        return remote

    def drop(self, place: int) -> None:
        """The connection with `place` is reset."""
        self.node.handle_link_down(self.remotes.pop(place).number, "reset", self.now)
        self.settle()

    def dial_failed(self, number: int) -> None:
        """Nobody answered, at none of its addresses."""
        for path in paths_of(self.node._paths._dialling, number):
            self.node.handle_link_down(path, "connection refused", self.now)
        self.settle()

    # Messages

    def send(
        self,
        place: int,
        code: MessageCode,
        body: Struct,
        *,
        signer: int | SimulatedIdentity | None = None,
        destinations: Sequence[Entry] = (),
        transaction_id: int = 0,
        extensions: tuple[MessageExtension, ...] = (),
        certificates: tuple[GenericCertificate, ...] = (),
        **header: object,
    ) -> int:
        """A message comes over the link to `place`, signed by it unless said otherwise; returns its transaction."""
        who = signer if isinstance(signer, SimulatedIdentity) else identity(place if signer is None else signer)
        transaction_id = transaction_id or next(self._transactions)
        fields: dict[str, object] = {
            "overlay": self.configuration.overlay_hash,
            "configuration_sequence": self.configuration.sequence,
            "ttl": self.configuration.initial_ttl,
            "transaction_id": transaction_id,
            "destination_list": tuple(destinations) or (Destination.node(nid(ME)),),
        }
        contents = MessageContents(code, body.encode(), extensions).encode()
        fields |= header
        signature = who.sign(signature_input(int(str(fields["overlay"])), transaction_id, contents))
        payload = contents + SecurityBlock((*who.certificates, *certificates), signature).encode()
        head = ForwardingHeader(**fields)  # type: ignore[arg-type]
        self.send_bytes(place, join(head, payload))
        return transaction_id

    def send_bytes(self, place: int, message: bytes) -> None:
        """Whatever these bytes are, framed."""
        remote = self.remotes[place]
        remote.link.send(message, self.now)
        self._flush(remote)

    def answer(
        self,
        place: int,
        request: Heard,
        code: MessageCode,
        body: Struct,
        *,
        signer: int | None = None,
        certificates: tuple[GenericCertificate, ...] = (),
    ) -> None:
        """A response to `request` comes over the link to `place`."""
        transaction_id = request.header.transaction_id
        self.send(place, code, body, signer=signer, transaction_id=transaction_id, certificates=certificates)

    def heard(self, place: int, code: MessageCode | None = None) -> list[Heard]:
        """What was sent to `place` since the last look; with `code`, only these."""
        remote = self.remotes[place]
        found = [message for message in remote.heard if code is None or message.code is code]
        remote.heard = [message for message in remote.heard if message not in found]
        return found

    def hear_one(self, place: int, code: MessageCode | None = None) -> Heard:
        """The same, if it is one."""
        (message,) = self.heard(place, code)
        return message

    # The ring

    def update(self, place: int, predecessors: Sequence[int] = (), successors: Sequence[int] = ()) -> None:
        """`place` says that it is a peer, and whom it sees."""
        lists = (tuple(map(nid, predecessors)), tuple(map(nid, successors)))
        self.send(place, MessageCode.UPDATE_REQ, ChordUpdate(1, ChordUpdateType.NEIGHBORS, *lists))

    def become_first(self) -> None:
        """Node 100 begins the overlay."""
        self.node.topology.start_alone(self.now)
        self.node._settle(self.now)
        self.settle()

    def admit(self, place: int) -> None:
        """`place` links and is let in."""
        self.link(place)
        self.send(place, MessageCode.JOIN_REQ, JoinReq(nid(place)))
        assert nid(place) in chord_of(self.node).table, "it was not let in"

    def become_ring(self, *places: int) -> None:
        """Node 100 is a member of a ring with these; whatever was said meanwhile is over."""
        self.become_first()
        self.admit(places[0])
        for place in places[1:]:
            self.link(place)
            self.update(place)
        self.run_for(0.1)
        self.settle_updates()
        self.effects.clear()

    def settle_updates(self) -> None:
        """Answer the node's Updates; forget all else that it sent."""
        for place in list(self.remotes):
            for request in self.heard(place, MessageCode.UPDATE_REQ):
                self.answer(place, request, MessageCode.UPDATE_ANS, UpdateAns())
            self.remotes[place].heard.clear()


def _hear(data: bytes, verifier: SimulatedVerifier) -> Heard:
    message = Message.decode(data)
    prefix = signature_input(message.header.overlay, message.header.transaction_id, message.contents_bytes)
    block = message.security_block
    signer = verifier.verify(prefix, block.signature, block.certificates, 0.0, True)
    return Heard(
        message.header,
        message.contents,
        body_of(message.contents, topology=CHORD_BODIES),
        signer.node_id,
        block.certificates,
    )
