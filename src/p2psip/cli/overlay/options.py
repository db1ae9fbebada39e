"""What the `p2psip overlay` commands have in common: addresses as people type them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2psip.base.address import Address
    from p2psip.reload.config.configuration import BootstrapNode

DNS_PORT = 53


def urls(texts: list[str]) -> list[str]:
    """Where enrollment servers take requests."""
    from p2psip.net.https.client import enrollment_url

    return [enrollment_url(text) for text in texts]


def bootstrap_node(text: str) -> BootstrapNode:
    """ADDRESS:PORT; LocalMisuse if it is none."""
    from p2psip.net.sockets.addresses import ip_port
    from p2psip.reload.config.configuration import BOOTSTRAP_PORT, BootstrapNode

    return BootstrapNode(*ip_port(text, BOOTSTRAP_PORT))


def addresses(nodes: Iterable[BootstrapNode]) -> list[str]:
    """The same, to be read."""
    from p2psip.net.sockets.addresses import join_host_port

    return [join_host_port(node.address, node.port) for node in nodes]


def dns_server(text: str | None) -> Address | None:
    """ADDRESS:PORT of a DNS server; None for the system's."""
    from p2psip.base.address import Address
    from p2psip.net.sockets.addresses import ip_port

    return None if text is None else Address(*ip_port(text, DNS_PORT))
