"""Where a request goes that is for another domain, or comes from there: resolvers (docs/decisions/other-domains.md)."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import asserted
from p2psip.sip.entities.overlays.other_overlays import overlay_that_asks
from p2psip.sip.entities.own import is_own_domain, is_user
from p2psip.sip.entities.proxy.resolvers import Asked, Given, Resolution, Resolver
from p2psip.sip.entities.questions import NotLocated
from p2psip.sip.entities.registrar.ways import Ways, outside_target
from p2psip.sip.message.build import phrase_of
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.own_addresses import as_numeric


class ByDomain:
    """What a line of this peer has for another domain goes there from here, if the operator lets it."""

    name = "other domains"

    def __init__(self, config: ServerConfig, ways: Ways) -> None:
        self._config = config
        self._ways = ways

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        request = asked.routed.request
        # For lines of this peer alone: another peer has its own way out, and a guest has none at all. What belongs to a
        # dialog with somebody outside has a token that says so.
        if asked.after is not None or asked.user is None or request.to.tag or request.method == "REGISTER":
            return None
        if not self._is_elsewhere(asked.uri, now):
            return None
        if not self._is_open_for(asked.uri):
            is_name = as_numeric(asked.uri.param("maddr") or asked.uri.host) is None
            return NotLocated(404, phrase_of(404), closed(asked.uri, self._config.realm)) if is_name else None
        return Given(outside_target(asked.uri, self._config.realm, f"the domain {asked.uri.host}"))

    def _is_elsewhere(self, uri: SipUri, now: float) -> bool:
        """True for what is neither the overlay's nor at a phone of this peer."""
        # A GRUU of the overlay is another peer's.
        return (
            uri.host != self._config.realm and not is_own_domain(uri, self._config) and not self._ways.known(uri, now)
        )

    def _is_open_for(self, uri: SipUri) -> bool:
        doors = self._config.other_domains
        numeric = as_numeric(uri.param("maddr") or uri.host)
        if numeric is not None and doors.is_guest(numeric):
            return True
        return doors.calls_out or uri.host in doors.servers


class BySharedDomain:
    """Whom the overlay does not reach may be at the domain's own servers (concepts draft, section 6.3)."""

    name = "shared domains"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if asked.after is None or asked.after.status not in (404, 480) or asked.user is None or asked.turns:
            return None
        domain = asked.routed.domain
        if domain not in self._config.other_domains.shared or not is_user(asked.uri, self._config):
            return None
        return Given(
            outside_target(asked.uri.replace(host=domain, port=None), self._config.realm, f"the domain {domain}")
        )


class ForLinesAlone:
    """A resolver that whoever has no line here does not get to: what is dialled costs, or does something."""

    def __init__(self, resolver: Resolver, config: ServerConfig) -> None:
        self._resolver = resolver
        self._realm = config.realm

    @property
    def name(self) -> str:
        """resolvers.Resolver"""
        return self._resolver.name

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        # Where the owner of a line has his calls forwarded to, is the owner's word.
        return None if self._has_no_line(asked) and not asked.turns else self._resolver.resolve(asked, now)

    def _has_no_line(self, asked: Asked) -> bool:
        """True for a guest, and for a phone at the site's peer in another overlay whose user is nobody in this one."""
        if asked.is_of_guest or overlay_that_asks(asked.source.hop) is None:
            return asked.is_of_guest
        return not asserted(asked.routed.request, self._realm)


class GuestsLearnNothing:
    """To a guest a name that nobody has is like one whose phone is off (gate/scanners.py)."""

    name = "names that guests try"

    def __init__(self, config: ServerConfig) -> None:
        self._config = config

    def resolve(self, asked: Asked, now: float) -> Resolution | None:
        """resolvers.Resolver"""
        if asked.after is None or not asked.is_of_guest or not is_user(asked.uri, self._config):
            return None
        return NotLocated(480, phrase_of(480)) if asked.after.status in (404, 480) else None


def closed(uri: SipUri, realm: str) -> str:
    """Why nothing goes to a host that has a name, where that door is closed."""
    return f"{uri} is not in the overlay {realm}, and calls to other domains are closed here"


def refusal_of(address: Address, config: ServerConfig) -> str:
    """Why nothing goes to an address of another domain; "" if it may."""
    return config.other_domains.refusal(address, config.ports, is_own=config.is_own_host(address.host))
