"""A transport in virtual time: who speaks, what it sends and what ends."""

from __future__ import annotations

import random
from dataclasses import replace

from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.transport.transport import (
    Finished,
    Originate,
    Received,
    Transport,
)
from p2psip.reload.wire.contents import (
    MessageCode,
    MessageContents,
    MessageExtension,
    MessageExtensionType,
)
from p2psip.reload.wire.header import (
    Destination,
    ForwardingHeader,
    ForwardingOption,
    ForwardingOptionFlags,
    ForwardingOptionType,
)
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.link_messages import PingAns, PingReq
from p2psip.reload.wire.message import signature_input
from p2psip.reload.wire.security_block import SecurityBlock
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier

OVERLAY = 0x01020304

PONG = PingAns(1, 2)


def nid(number: int) -> NodeId:
    """A small Node-ID."""
    return NodeId(number.to_bytes(16, "big"))


ALICE, BOB, EVE = (SimulatedIdentity(name, nid(number)) for name, number in [("a", 1), ("b", 2), ("e", 3)])

BAD = SimulatedIdentity("bad", nid(99))

RESOURCE = ResourceId(nid(50))


class Nearby:
    """A Proximity: bob is close enough to everything, nobody else is."""

    def is_close_enough(self, node: NodeId, resource: ResourceId) -> bool:
        return node == BOB.node_id


def transport(ttl: int = 100, reliability_timer_s: float = 3.0) -> Transport:
    """A node's transport."""
    return Transport(
        *(OVERLAY, SimulatedVerifier(frozenset([BAD.node_id])), Nearby(), random.Random(1), WallClock(0.0)),
        configuration_sequence=7,
        reliability_timer_s=reliability_timer_s,
        ttl=ttl,
    )


def originated(effects: list[Effect]) -> list[Originate]:
    """The messages among the effects."""
    return [effect for effect in effects if isinstance(effect, Originate)]


def finished(here: Transport) -> list[Finished]:
    """What is over since the last look."""
    return [effect for effect in here.drain() if isinstance(effect, Finished)]


def ping(here: Transport, now: float = 0.0, to: Destination | None = None, **options: object) -> Originate:
    """Alice pings bob, or a resource; the first transmission."""
    destination = to or Destination.node(BOB.node_id)
    here.request(ALICE, OverlayRequest([destination], MessageCode.PING_REQ, PingReq(), **options), "context", now)  # type: ignore[arg-type]
    (sent,) = originated(here.drain())
    return sent


def signed(
    identity: SimulatedIdentity, transaction_id: int, code: MessageCode, body: Struct, *extensions: MessageExtension
) -> bytes:
    """Contents and security block as `identity` signs them."""
    contents = MessageContents(code, body.encode(), extensions).encode()
    signature = identity.sign(signature_input(OVERLAY, transaction_id, contents))
    return contents + SecurityBlock(identity.certificates, signature).encode()


def response(
    here: Transport,
    sent: Originate,
    body: Struct = PONG,
    code: MessageCode = MessageCode.PING_ANS,
    signer: SimulatedIdentity = BOB,
    now: float = 0.5,
    ttl: int = 97,
    extensions: tuple[MessageExtension, ...] = (),
) -> list[Finished]:
    """A response to `sent` comes to alice; what is over by it."""
    head = replace(sent.header, destination_list=(Destination.node(ALICE.node_id),), ttl=ttl)
    payload = signed(signer, sent.header.transaction_id, code, body, *extensions)
    assert here.receive(head, payload, nid(77), ALICE.node_id, now) is None
    return finished(here)


def run_out(here: Transport, until: float = 100.0) -> list[tuple[float, Effect]]:
    """Let time go on; what happens when."""
    events: list[tuple[float, Effect]] = []
    while (deadline := here.next_deadline()) is not None and deadline.at <= until:
        here.handle_timeout(deadline.at)
        events += [(deadline.at, effect) for effect in here.drain()]
    return events


EXTENSION = MessageExtension(MessageExtensionType.EXP_EXT, True, b"")


# Answers


def header(transaction_id: int, **fields: object) -> ForwardingHeader:
    """The header of a request that came over two peers."""
    usual: dict[str, object] = {
        "overlay": OVERLAY,
        "configuration_sequence": 7,
        "ttl": 98,
        "transaction_id": transaction_id,
        "via_list": (Destination.node(ALICE.node_id), Destination.node(nid(8))),
        "destination_list": (Destination.node(BOB.node_id),),
    }
    return ForwardingHeader(**(usual | fields))  # type: ignore[arg-type]


def ask(here: Transport, transaction_id: int = 1, now: float = 0.0, **fields: object) -> Received | None:
    """Alice's Ping comes to bob, by way of 8 and 9."""
    payload = signed(ALICE, transaction_id, MessageCode.PING_REQ, PingReq())
    return here.receive(header(transaction_id, **fields), payload, nid(9), BOB.node_id, now)


def asked(here: Transport, transaction_id: int = 1, now: float = 0.0, **fields: object) -> Received:
    """The same, which is to be served."""
    request = ask(here, transaction_id, now, **fields)
    assert request is not None
    return request


def option(flags: ForwardingOptionFlags) -> ForwardingOption:
    """A forwarding option."""
    return ForwardingOption(ForwardingOptionType.EXP_FORWARD, flags, b"option")
