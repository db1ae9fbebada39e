"""Every message that leaves a host of a simulated overlay, as a wire tap would see it."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip import plugins
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.reload.link.framing import Deframer
from p2psip.reload.node.effects import Write
from p2psip.reload.wire.contents import MessageCode, MessageExtension
from p2psip.reload.wire.header import ForwardingHeader
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.message import Message, body_of
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host


@dataclass(frozen=True)
class CapturedMessage:
    """One message on one link."""

    at: float
    sender: str
    receiver: str
    header: ForwardingHeader
    code: MessageCode
    body: Struct
    extensions: tuple[MessageExtension, ...] = ()

    def __str__(self) -> str:
        return f"{self.sender}>{self.receiver} {self.code.rfc_name}"


class Tap:
    """Writes down what is sent from now on; with `is_deaf` set, nothing arrives any more."""

    def __init__(self, overlay: SimulatedOverlay) -> None:
        self.seen: list[CapturedMessage] = []
        self.acknowledgements = 0
        """Of what was seen, each once: silent links repeat them."""
        self._unacknowledged: set[tuple[str, str, int]] = set()
        self.is_deaf = False
        self._overlay = overlay
        self._bodies = plugins.topology(overlay.configuration.topology_plugin).bodies
        self._do = overlay.world._do
        overlay.world._do = self._watch  # type: ignore[method-assign]

    def _watch(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Write) and effect.link in host.links:
            end = host.links[effect.link]
            frames = [] if end.is_direct else Deframer(1 << 24).feed(effect.data)
            for number, content in [(0, effect.data)] if end.is_direct else frames:
                if isinstance(content, bytes):
                    self._unacknowledged.add((host.name, end.host.name, number))
                    self._note(host.name, end.host.name, content)
                elif (acknowledged := (end.host.name, host.name, number)) in self._unacknowledged:
                    self._unacknowledged.remove(acknowledged)
                    self.acknowledgements += 1
            if self.is_deaf:
                return
        self._do(host, effect)

    def _note(self, sender: str, receiver: str, content: bytes) -> None:
        message = Message.decode(content)
        contents = message.contents
        at = self._overlay.world.now
        body = body_of(contents, topology=self._bodies)
        self.seen.append(
            CapturedMessage(
                at,
                sender,
                receiver,
                message.header,
                contents.message_code,
                body,
                contents.extensions,
            )
        )

    def of(self, transaction_id: int) -> list[CapturedMessage]:
        """All sightings of one transaction, in order."""
        return [seen for seen in self.seen if seen.header.transaction_id == transaction_id]

    def between(self, *names: str) -> list[CapturedMessage]:
        """What was sent from one of these to another."""
        return [seen for seen in self.seen if seen.sender in names and seen.receiver in names]


def node_id(overlay: SimulatedOverlay, name: str) -> NodeId:
    """Of a peer by its name."""
    return overlay.nodes[name].node_id
