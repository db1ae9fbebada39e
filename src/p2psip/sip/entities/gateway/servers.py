"""The servers of a trunk: which of them is spoken to, and which comes next when it fails (RFC 3263 section 4.3)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from p2psip.base.address import Address, without_zone
from p2psip.sip.entities.gateway.limits import PASSED_OVER_S
from p2psip.sip.entities.gateway.terms import TrunkTerms
from p2psip.sip.message.uri import SipUri, default_port
from p2psip.sip.transports.hops import Hop, StreamHop, UdpHop
from p2psip.sip.transports.own_addresses import as_numeric


class Servers:
    """The addresses at which they were found, in their order. One is the present one until it fails.

    RFC 3261 10.2.4: "Registration refreshes SHOULD be sent to the same network address as the original registration",
    so whoever was passed over is not gone back to before that.
    """

    def __init__(self, terms: TrunkTerms) -> None:
        self._terms = terms
        self._remotes: tuple[Address, ...] = ()
        self._failed_at: dict[Address, float] = {}
        self.present: Address | None = None

    def find(self, remotes: Sequence[Address], now: float) -> None:
        """They were found, anew perhaps: the present one stays, if it is among them and has not failed."""
        self._remotes = tuple(remotes)
        self._failed_at = {remote: at for remote, at in self._failed_at.items() if remote in self._remotes}
        if self.present not in self._remotes or self.present in self._failed_at:
            self.present = self.in_turn(now)[0]

    def fail(self, remote: Address, now: float) -> bool:
        """One has failed, and if it was the present one another is now; False if all of them have, not long ago."""
        if remote in self._remotes:
            self._failed_at[remote] = now
        if remote == self.present:
            self.present = self.in_turn(now)[0]
        return self.present is not None and not self._has_failed(self.present, now)

    def answer(self, remote: Address) -> None:
        """One has answered: whatever was the matter with it is over."""
        self._failed_at.pop(remote, None)

    def in_turn(self, now: float) -> list[Address]:
        """Those to be tried, one after the other: all that have not failed lately, or else that of which it is longest
        ago.
        """
        able = [each for each in self._remotes if not self._has_failed(each, now)]
        able.sort(key=lambda each: each != self.present)
        return able or [min(self._remotes, key=lambda each: self._failed_at[each])]

    def are_at(self, host: str) -> bool:
        """True for a numeric host of theirs, or one that the operator has named beside them."""
        if any(host == one.host for one in self._remotes):
            return True
        address = ipaddress.ip_address(without_zone(host))
        return any(address in network for network in self._terms.also_from)

    def hop(self, remote: Address) -> Hop:
        """How one is spoken to."""
        if self._terms.transport == "UDP":
            return UdpHop(remote)
        return StreamHop(self._terms.transport, remote)

    def hop_to(self, uri: SipUri) -> Hop | None:
        """Where a URI of a dialog leads (RFC 3261 section 12.2.1.1); None if not to one of these, as we speak to them.

        Many providers name there what only they can reach, or a name: such a call stays with its server.
        """
        host = as_numeric(uri.param("maddr") or uri.host)
        transport = uri.transport or ("TLS" if uri.scheme == "sips" else "UDP")
        if host is None or transport != self._terms.transport or not self.are_at(host):
            return None
        return self.hop(Address(host, default_port(uri)))

    def _has_failed(self, remote: Address, now: float) -> bool:
        return now < self._failed_at.get(remote, float("-inf")) + PASSED_OVER_S
