"""Which web pages may have their browser connect to a SIP element (RFC 6455 section 10.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.sip.transports.own_addresses import OwnAddresses, as_numeric


@dataclass(frozen=True, slots=True)
class WebOrigins:
    """Which web pages may connect: those from this machine, by whichever of its `names`, and `permitted` ones."""

    names: frozenset[str] = frozenset()
    addresses: OwnAddresses = field(default_factory=OwnAddresses)
    permitted: frozenset[str] = frozenset()
    """As a browser writes them: "https://phone.example"; "*" is all of them."""

    def is_own(self, authority: str) -> bool:
        """True if `host` or `host:port` means this machine."""
        host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
        host = as_numeric(host) or host.lower()
        return host in self.names or host in self.addresses

    def may_connect(self, origin: str) -> bool:
        """True for a page of this origin."""
        if "*" in self.permitted or origin.lower() in self.permitted:
            return True
        scheme, _, authority = origin.partition("://")
        return scheme.lower() in ("http", "https") and self.is_own(authority)
