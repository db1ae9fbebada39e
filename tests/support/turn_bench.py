"""A TURN server with an oracle for ports, and clients that speak by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.stun.attributes import ERROR_CODE, LIFETIME, REQUESTED_TRANSPORT, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS
from p2psip.stun.credentials import Proof, StunCredential, StunGate
from p2psip.stun.integrity import is_signed, signed
from p2psip.stun.message import MessageClass, StunMessage, decode
from p2psip.turn.limits import MESSAGE_BYTES_MAX, TurnLimits
from p2psip.turn.member_credentials import MemberCredentials
from p2psip.turn.methods import ALLOCATE, CREATE_PERMISSION, REFRESH
from p2psip.turn.server import TurnService
from p2psip.turn.values import CloseRelay, Flow, OpenRelay, RelaySettings, Transmit

HOST, HOST6 = "203.0.113.1", "2001:db8::1"
SERVER = Address(HOST, 3478)
PEER = Address("198.51.100.9", 5000)
SECRET = b"sixteen bytes at least"


@dataclass
class Bench:
    """The server, its clock, and what it has said that was not a question about ports."""

    limits: TurnLimits = field(default_factory=TurnLimits)
    relays: tuple[str, ...] = (HOST, HOST6)
    own_hosts: frozenset[str] = frozenset((HOST, HOST6, "127.0.0.1"))
    can_open: bool = True
    now: float = 0.0

    def __post_init__(self) -> None:
        self.members = MemberCredentials(SECRET)
        listening = frozenset((SERVER, Address("127.0.0.1", 3478)))
        settings = RelaySettings("overlay", self.relays, self.own_hosts, listening)
        gate = StunGate("overlay", self.members, SECRET)
        self.server = TurnService(settings, self.limits, gate, random.Random(1), self.now)
        self.open: set[Address] = set()

    def settle(self) -> list[Effect]:
        """Answer the questions about ports; what else there is to do."""
        rest: list[Effect] = []
        while effects := self.server.drain():
            for effect in effects:
                if isinstance(effect, Ask):
                    assert isinstance(effect.question, OpenRelay)
                    if self.can_open:
                        self.open.add(effect.question.relayed)
                    self.server.handle_answer(effect.token, self.can_open, self.now)
                elif isinstance(effect, CloseRelay):
                    self.open.remove(effect.relayed)
                else:
                    rest.append(effect)
        return rest

    def hand(self, flow: Flow, data: bytes) -> list[Effect]:
        """Bytes of a client."""
        self.server.handle_data(flow, data, self.now)
        return self.settle()

    def pass_time(self, until: float) -> list[Effect]:
        """All timers up to then."""
        seen: list[Effect] = []
        while (deadline := self.server.next_deadline()) is not None and deadline.at <= until:
            self.now = deadline.at
            self.server.handle_timeout(self.now)
            seen += self.settle()
        self.now = until
        return seen


class Speaker:
    """A client that says what it is told to."""

    def __init__(self, bench: Bench, remote: Address, user: str = "alice", *, is_stream: bool = False) -> None:
        self.bench = bench
        self.flow = Flow(SERVER, remote, is_stream)
        self.credential: StunCredential = bench.members.issue(user, 100_000, bench.now)
        self.proof: Proof | None = None
        self._number = 0

    def ask(self, method: int, *attributes: tuple[int, bytes], transaction: bytes | None = None) -> StunMessage:
        """A request, proven after a challenge; the answer."""
        for _ in range(3):
            answer = self.try_once(method, *attributes, transaction=transaction)
            error = ERROR_CODE.first(answer)
            if error is None or error.code not in (401, 438):
                return answer
            self.proof = self.credential.proof(answer)
        return answer

    def try_once(self, method: int, *attributes: tuple[int, bytes], transaction: bytes | None = None) -> StunMessage:
        """A request as it is; the answer, of which the integrity is right where there is one."""
        transaction = transaction or self.transaction()
        proof = self.proof.attributes if self.proof is not None else ()
        request = StunMessage(MessageClass.REQUEST, method, transaction, (*attributes, *proof))
        if self.proof is not None:
            request = signed(request, self.proof.key, self.proof.integrity)
        [data] = [e.data for e in self.bench.hand(self.flow, request.encode()) if isinstance(e, Transmit)]
        answer = decode(data)
        assert (answer.method, answer.transaction) == (method, transaction)
        code = ERROR_CODE.first(answer)
        if self.proof is not None and (code is None or code.code not in (400, 401, 438)):
            assert is_signed(data, self.proof.key)
        return answer

    def transaction(self) -> bytes:
        """The next one; an address is obfuscated with it."""
        self._number += 1
        return self._number.to_bytes(12, "big")

    def allocate(self, *more: tuple[int, bytes]) -> StunMessage:
        """Ask for an allocation."""
        return self.ask(ALLOCATE, REQUESTED_TRANSPORT.of(17), *more)

    def relayed(self, *more: tuple[int, bytes]) -> Address:
        """Have an allocation."""
        relayed = XOR_RELAYED_ADDRESS.first(self.allocate(*more))
        assert relayed is not None
        return relayed

    def refresh(self, lifetime_s: int) -> StunMessage:
        """Refresh an allocation, or end it."""
        return self.ask(REFRESH, LIFETIME.of(lifetime_s))

    def permit(self, *peers: Address) -> StunMessage:
        """Install permissions."""
        transaction = self.transaction()
        attributes = [XOR_PEER_ADDRESS.of(peer, transaction) for peer in peers]
        return self.try_once(CREATE_PERMISSION, *attributes, transaction=transaction)


def code_of(answer: StunMessage) -> int:
    """The code of an error, or 0."""
    error = ERROR_CODE.first(answer)
    return 0 if error is None else error.code


def read(data: bytes) -> StunMessage:
    """A message of any size."""
    return decode(data, MESSAGE_BYTES_MAX)
