"""Services of members: announce one, find providers (RFC 7374)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from p2psip.api.client_session import ClientSession
from p2psip.api.kinds import Name
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.usages.redir import LIFETIME_S, Provider


@dataclass(frozen=True, slots=True)
class Service:
    """A member that provides a service. What it says of itself is None where it says nothing."""

    node: NodeId
    user: str
    capacity: int | None
    load: int | None
    """In percent of the capacity."""
    policy: str | None
    expires: datetime | None


class Services:
    """`overlay.services`."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def register(
        self, name: str, *, capacity: int = 0, load: int = 0, policy: str = "", lifetime_s: int = LIFETIME_S
    ) -> None:
        """Announce a service until `unregister` or the end of the connection; done when it can be found.

        Call it again when what it says has changed. Raises LocalMisuse if the overlay's configuration does not
        permit it, RequestFailed if the first attempt failed; further ones follow by themselves.
        """
        await self._session.register_service(
            name,
            lambda services, now: services.register(
                name, now, capacity=capacity, load=load, policy=policy, lifetime_s=lifetime_s
            ),
        )

    def unregister(self, name: str) -> None:
        """Take the announcement back."""
        self._session.unregister_service(name)

    async def find(self, name: str, *, near: NodeId | Name | None = None, want: int = 1) -> list[Service]:
        """The `want` providers that come first on the ring at or after `near`: a node, a name, or ourselves.

        Raises LocalMisuse or RequestFailed.
        """
        found = await self._session.find_services(name, self._place(near), want)
        return [_service(provider) for provider in found]

    def _place(self, near: NodeId | Name | None) -> bytes:
        if near is None:
            return self._session.node.node_id
        if isinstance(near, NodeId | ResourceId):
            return near
        return self._session.node.hash_name(near.encode() if isinstance(near, str) else near)


def _service(provider: Provider) -> Service:
    offer = provider.offer
    if offer is None:
        return Service(provider.node, provider.user, None, None, None, None)
    expires = datetime.fromtimestamp(offer.expires_ms / 1000, UTC) if offer.expires_ms < 1 << 47 else None
    policy = offer.policy.decode(errors="replace")
    return Service(provider.node, provider.user, offer.capacity, offer.load, policy, expires)
