"""Where the nodes that we know of can be dialled."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.node.limits import CONTACTS_MAX


class Contacts:
    """An address for each of so many nodes; the one that was learned first is forgotten first."""

    def __init__(self) -> None:
        self._addresses: dict[NodeId, Address] = {}

    def get(self, node: NodeId) -> Address | None:
        """Where this node can be dialled."""
        return self._addresses.get(node)

    def learn(self, node: NodeId, address: Address) -> None:
        """A node can be dialled there."""
        while len(self._addresses) >= CONTACTS_MAX:
            del self._addresses[next(iter(self._addresses))]
        self._addresses[node] = address
