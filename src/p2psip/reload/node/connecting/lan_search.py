"""Peers of the overlay on the same links as this machine (concepts draft section 5.4; docs/decisions/multicast.md).

A question goes to all by multicast, signed; who is in the overlay answers, signed as well, and alone to who has asked.

Whoever is no member of this overlay is told nothing, and believed nothing. An answer is never longer than the question,
and there are so many answers, and questions that are looked at, as `ASKED` and `ASKED_IN_ALL` say.
"""

from __future__ import annotations

import random
from typing import Final

from p2psip.base.address import Address
from p2psip.base.allowance import Allowance, Attempts
from p2psip.base.errors import RemoteProtocolError
from p2psip.base.ids import NodeId
from p2psip.reload.node.connecting.linked_members import LinkedMembers
from p2psip.reload.node.exchange import Exchange
from p2psip.reload.node.limits import LAN_QUESTIONS_MAX
from p2psip.reload.paths.values import LanArrived, SendMulticast, SendOnLan
from p2psip.reload.security.roles import Signer
from p2psip.reload.topology.plugin import Topology
from p2psip.reload.wire.contents import MessageCode, MessageContents
from p2psip.reload.wire.header import Destination, ForwardingHeader
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import Message, join, signature_input
from p2psip.reload.wire.private_messages import LAN, LanAns, LanReq, PrivateAns, PrivateReq
from p2psip.reload.wire.security_block import encode_block

ASK_PAUSE_S: Final = 1.0
"""Between two questions."""

ANSWER_MAX_S: Final = 3.0
"""After which an answer is not waited for any more."""

PADDING: Final = bytes(160)
"""So much longer is a question than what it asks: that the answer, with another name in its certificate, is not the
longer one. One that would be all the same is not given.
"""

ASKED: Final = Allowance(4, 2.0)
"""Questions of one address that are looked at."""

ASKED_IN_ALL: Final = Allowance(20, 0.1)
"""Those of all addresses: to verify a signature takes a Pi a millisecond."""


class LanSearch:
    """Asks on the links of this machine, and answers there; with `port` 0 it does neither."""

    def __init__(
        self, exchange: Exchange, admission: LinkedMembers, topology: Topology, rng: random.Random, port: int
    ) -> None:
        """`port` is that of our links, which those who find us dial."""
        self._exchange = exchange
        self._admission = admission
        self._topology = topology
        self._rng = rng
        self._port = port
        self._open: dict[int, float] = {}
        """Transaction IDs of questions, and when each was asked."""
        self._asked: Attempts[str] = Attempts(ASKED)
        self._asked_in_all: Attempts[str] = Attempts(ASKED_IN_ALL)

    @property
    def is_on(self) -> bool:
        """True if it does anything."""
        return bool(self._port)

    def ask(self, now: float) -> bool:
        """Ask who is there, unless it was asked a moment ago; True if it was asked."""
        self._open = {number: at for number, at in self._open.items() if now < at + ANSWER_MAX_S}
        latest = max(self._open.values(), default=None)
        is_soon = latest is not None and now < latest + ASK_PAUSE_S
        if not self._port or is_soon or len(self._open) >= LAN_QUESTIONS_MAX:
            return False
        # 6.3.2: "transaction IDs [...] MUST be randomly generated": nobody answers who has not heard the question.
        transaction_id = self._rng.getrandbits(64)
        self._open[transaction_id] = now
        everybody = NodeId.wildcard(self._exchange.configuration.node_id_length)
        body = PrivateReq(LAN, LanReq(PADDING).encode())
        self._exchange.emit(SendMulticast(self._message(transaction_id, everybody, MessageCode.PRIVATE_REQ, body)))
        return True

    def handle(self, event: LanArrived, now: float) -> tuple[NodeId, Address] | None:
        """Something was heard: a peer of the overlay, and where it can be dialled, if it was that."""
        if not self._port:
            return None
        try:
            message = Message.decode(event.data, node_id_length=self._exchange.configuration.node_id_length)
            if message.header.overlay != self._exchange.configuration.overlay_hash:
                return None
            if event.is_to_all and message.contents.message_code is MessageCode.PRIVATE_REQ:
                self._asked_by(event, message, now)
            elif not event.is_to_all and message.contents.message_code is MessageCode.PRIVATE_ANS:
                return self._answered(event.remote, message, now)
        except (RemoteProtocolError, DecodeError):
            # Nobody that we know, or nothing that we can read: on a LAN there is much of that.
            return None
        return None

    def _asked_by(self, event: LanArrived, message: Message, now: float) -> None:
        if not self._topology.is_serving or self._topology.is_leaving:
            return
        if self._asked.wait_s(event.remote.host, now) or self._asked_in_all.wait_s("", now):
            return
        self._asked.charge(event.remote.host, now)
        self._asked_in_all.charge("", now)
        request = PrivateReq.decode(message.contents.message_body)
        if request.name != LAN:
            return
        signer = self._verify(message, now)
        if signer.node_id == self._exchange.identity.node_id or signer.node_id in self._topology.routes:
            return
        body = PrivateAns(LanAns(self._port).encode())
        answer = self._message(message.header.transaction_id, signer.node_id, MessageCode.PRIVATE_ANS, body)
        if len(answer) <= len(event.data):
            self._exchange.emit(SendOnLan(event.remote, answer))

    def _answered(self, remote: Address, message: Message, now: float) -> tuple[NodeId, Address] | None:
        asked_at = self._open.get(message.header.transaction_id)
        if asked_at is None or now >= asked_at + ANSWER_MAX_S:
            return None
        found = LanAns.decode(PrivateAns.decode(message.contents.message_body).body)
        signer = self._verify(message, now)
        if signer.node_id == self._exchange.identity.node_id or not found.port:
            return None
        return signer.node_id, Address(remote.host, found.port)

    def _verify(self, message: Message, now: float) -> Signer:
        header, block = message.header, message.security_block
        prefix = signature_input(header.overlay, header.transaction_id, message.contents_bytes)
        return self._admission.verify(prefix, block.signature, block.certificates, now)

    def _message(self, transaction_id: int, to: NodeId, code: MessageCode, body: Struct) -> bytes:
        configuration, identity = self._exchange.configuration, self._exchange.identity
        header = ForwardingHeader(
            overlay=configuration.overlay_hash,
            configuration_sequence=configuration.sequence,
            ttl=1,
            transaction_id=transaction_id,
            destination_list=(Destination.node(to),),
        )
        contents = MessageContents(code, body.encode()).encode()
        signature = identity.sign(signature_input(configuration.overlay_hash, transaction_id, contents))
        return bytes(join(header, contents + encode_block(identity.certificates, signature)))
