"""Who is at the other end of each link, for as long as the overlay admits them (RFC 6940 section 6.5.1.11, 11.1).

A handshake proves possession of a key once; a configuration may revoke its certificate later, and its dates end. So the
certificates of every link that is up are kept here, and looked at again when the configuration or the date is another.
A member that renews its certificate signs with the new one over the old link: what it has shown last counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from p2psip.base.ids import NodeId
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.base.wallclock import WallClock
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.keys import digest
from p2psip.reload.security.roles import Member, Signer, Verifier
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.message import Message
from p2psip.reload.wire.security_block import CertHashNodeId, GenericCertificate, Signature

GRACE_S = 1.0
"""A link is looked at so long after its certificate has ended: then it has, however dates are rounded."""


@dataclass(slots=True)
class _Admitted:
    """The other end of one link, by the certificate that it has shown last."""

    node: NodeId
    member: Member
    has_attached: bool
    """False for one of several Node-IDs that has not told yet, with an Attach, which of them it is."""


class LinkedMembers:
    """The members at the other ends of our links, by link number."""

    def __init__(self, verifier: Verifier, wall: WallClock, queue: TimerQueue | None = None) -> None:
        self.wall = wall
        self._verifier = verifier
        self._links: dict[int, _Admitted] = {}
        self._timers: Timers[int] = Timers(queue)

    def __len__(self) -> int:
        return len(self._links)

    def check(self, certificates: Sequence[bytes], now: float) -> Member:
        """Whose certificates these are, which a handshake has proved. Raises SecurityError."""
        return self._verifier.check(certificates, self.wall.date(now), self.wall.is_trusted)

    def verify(
        self, prefix: bytes, signature: Signature, certificates: Sequence[GenericCertificate], now: float
    ) -> Signer:
        """Whose a signature is that came over no link. Raises SecurityError."""
        return self._verifier.verify(prefix, signature, certificates, self.wall.date(now), self.wall.is_trusted)

    def enter(self, number: int, node: NodeId, member: Member, now: float, *, has_attached: bool = True) -> None:
        """A link has come up; its other end is `node`, as which `member` may act.

        Without an Attach before it, and with several Node-IDs in its certificate, that is a guess.
        """
        is_certain = has_attached or len(member.node_ids) == 1
        is_known = any(link.has_attached for link in self._links.values() if link.node == node)
        self._links[number] = _Admitted(node, member, is_certain or is_known)
        self._arm(number, now)

    def forget(self, number: int) -> None:
        """The link is down."""
        self._links.pop(number, None)
        self._timers.cancel(number)

    def member(self, number: int) -> Member | None:
        """Who is at the other end."""
        admitted = self._links.get(number)
        return None if admitted is None else admitted.member

    def ends(self) -> Iterator[tuple[int, NodeId]]:
        """Each link's number, and the node at its other end."""
        return ((number, link.node) for number, link in self._links.items())

    def attached(self, node: NodeId) -> None:
        """An Attach of ours was answered by this node."""
        for link in self._links.values():
            link.has_attached |= link.node == node

    def has_attached(self, number: int) -> bool:
        """True if it is certain which Node-ID the other end of a link is."""
        return number not in self._links or self._links[number].has_attached

    def recognise(self, number: int, message: bytes) -> NodeId | None:
        """The Node-ID of the other end, if it was a guess and this message, which it has just sent, says otherwise.

        What it originates has an empty via list, and its own SignerIdentity; nobody else's fits its certificate.
        """
        admitted = self._links.get(number)
        if admitted is None or admitted.has_attached:
            return None
        try:
            identity = Message.decode(message, node_id_length=len(admitted.node)).security_block.signature.identity
        except DecodeError:
            return None
        node = _signed_as(identity.identity, admitted.member)
        if node is None or node == admitted.node:
            return None
        admitted.node = node
        return node

    def heard(self, number: int, signer: Signer, now: float, *, attaches: bool) -> None:
        """A request for us came over a link: if from its other end, that may have a new certificate, or attach."""
        admitted = self._links.get(number)
        if admitted is None or admitted.node != signer.node_id:
            return
        admitted.has_attached |= attaches
        if signer.member.not_after > admitted.member.not_after:
            admitted.member = signer.member
            self._arm(number, now)

    def review(self, now: float) -> list[tuple[int, str]]:
        """The links whose other end is no member any more, and why: the configuration or the date is another."""
        return self._outcasts(self._links, now)

    def handle_timeout(self, now: float) -> list[tuple[int, str]]:
        """The links whose certificate has run out."""
        return [
            (number, why) for number in self._timers.pop_due(now) if (why := self._why_not(number, now)) is not None
        ]

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def _outcasts(self, numbers: Iterable[int], now: float) -> list[tuple[int, str]]:
        return [(number, why) for number in numbers if (why := self._why_not(number, now)) is not None]

    def _why_not(self, number: int, now: float) -> str | None:
        member = self._links[number].member
        try:
            self.check((member.certificate, *member.issuers), now)
        except SecurityError as error:
            return str(error)
        self._arm(number, now)
        return None

    def _arm(self, number: int, now: float) -> None:
        ends = self._links[number].member.not_after
        if self.wall.is_trusted and ends < math.inf:
            self._timers.set(number, max(now, ends - self.wall.offset) + GRACE_S, "a certificate runs out")
        else:
            self._timers.cancel(number)


def _signed_as(identity: object, member: Member) -> NodeId | None:
    """As which of its Node-IDs a member signed; None if it is not its signature."""
    if not isinstance(identity, CertHashNodeId):
        return None
    for node in member.node_ids:
        try:
            if digest(identity.hash_alg, node + member.certificate) == identity.certificate_node_id_hash:
                return node
        except ValueError:
            return None
    return None
