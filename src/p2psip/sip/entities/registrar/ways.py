"""Ways that this peer knows by itself: to its own phones, by their Contacts, addresses and tokens."""

from __future__ import annotations

from collections import OrderedDict

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate.identity import ANONYMOUS
from p2psip.sip.entities.naming import Naming
from p2psip.sip.entities.own import ServerName
from p2psip.sip.entities.proxy import routing
from p2psip.sip.entities.questions import Target
from p2psip.sip.entities.registrar.bindings import Bindings
from p2psip.sip.entities.registrar.registrar import hops_to
from p2psip.sip.entities.registrar.targets import target_of
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri, default_port
from p2psip.sip.transports.hops import Hop, Source, StreamHop, UdpHop
from p2psip.sip.transports.layer import TransportLayer
from p2psip.sip.transports.own_addresses import as_numeric


class Ways:
    """What leads to a phone of this peer."""

    def __init__(self, config: ServerConfig, bindings: Bindings, naming: Naming, transport: TransportLayer) -> None:
        self._config = config
        self._bindings = bindings
        self._naming = naming
        self._transport = transport
        self._phones: OrderedDict[str, None] = OrderedDict()

    def note_phone(self, host: str) -> None:
        """A phone at this address has proved itself: requests may be sent there."""
        self._phones[host] = None
        self._phones.move_to_end(host)
        if len(self._phones) > self._config.limits.phones:
            self._phones.popitem(last=False)

    def has_proved(self, host: str) -> bool:
        """True if a phone at this numeric address has proved itself."""
        return host in self._phones

    def note_port(self, request: Request, source: Source, user: str, now: float) -> None:
        """A phone has sent this and proved to be of `user`: if a NAT has given it another port, it is there now."""
        for contact in request.contacts[:1]:
            if not isinstance(contact.uri, SipUri):
                continue
            binding = self._bindings.rebound(user, contact.uri, source.hop, now)
            hops = hops_to(request, contact.uri, source)
            if binding is not None and hops != binding.hops:
                self._bindings.move(user, binding, hops, now)

    def known(self, uri: SipUri, now: float) -> tuple[Hop, ...] | None:
        """The way to a phone of this peer by its Contact or address. Whatever else a URI names has to be asked."""
        binding = self._bindings.at_contact(uri, now)
        if binding is not None:
            return binding.hops
        numeric = as_numeric(uri.param("maddr") or uri.host)
        # No packet goes to a host that nobody vouches for.
        if numeric is None or not (self._bindings.has_host(numeric) or self.has_proved(numeric)):
            return None
        address = Address(numeric, default_port(uri))
        if self._config.is_own_host(numeric) and address.port in self._config.ports:
            # A phone may live on our own host; what is for our own port would come back to us, again and again.
            return None
        # RFC 3263 4.1: "If the URI specifies a transport protocol in the transport parameter, that transport protocol
        # SHOULD be used", and with sips TLS over it. Over what we do not speak, or cannot dial, nothing leads there.
        match uri.transport, uri.scheme:
            case ("TLS", _) | (None | "TCP", "sips"):
                return (StreamHop("TLS", address),)
            case "TCP", _:
                return (StreamHop("TCP", address),)
            case None | "UDP", "sip":
                return (UdpHop(address),)
        return ()

    def of_target(self, target: Target, now: float) -> tuple[Hop, ...] | None:
        """The way to a target, where it has not to be asked."""
        if target.hops is not None:
            return target.hops
        # Where a phone is, another domain's server may be as well: that is no phone of ours.
        return None if target.is_outside else self.known(target.lead, now)

    def contact(self, uri: SipUri) -> SipUri:
        """By what the place is called that a URI in the overlay means: of a phone of this peer its own Contact."""
        meant = self._naming.meant(uri)
        return meant.contact if meant is not None and meant.contact is not None else uri

    def by_token(self, routed: routing.Routed, uri: SipUri, now: float) -> Target | None:
        """Where a request for `uri` goes that has a token of ours, in its Route or in that URI; None if it has none."""
        meant, contact = self._naming.meant(uri), self.contact(uri)
        ways = [place for place in (meant, routed.place) if place is not None]
        if not ways:
            return None
        phone = ways[0]
        if phone.is_outside:
            return outside_target(contact, self._config.realm)
        # Where the phone has another connection by now, its Contact still tells which phone it is.
        said = list(dict.fromkeys(place.hop for place in ways))
        # Two that differ: the phone has said itself, within the dialog, where it is since.
        latest = said if len(said) > 1 else [self._latest(said[0], phone.user, contact, now)]
        bound = [self._transport.bind(hop, now) for hop in latest if hop is not None]
        given: list[Hop] = [hop for hop in bound if hop is not None]
        hops = tuple(dict.fromkeys([*given, *(self.known(contact, now) or ())]))
        # RFC 5627 5.4: "a GRUU resolves only to those contacts whose instance ID matches": what begins something does
        # not ring another phone. Within a dialog that one says itself that it knows nothing of it.
        in_dialog = not routed.request.begins
        binding = None if hops else self._bindings.successor(phone.user, contact, now, may_have_moved=in_dialog)
        if binding is not None:
            return target_of(phone.user, binding)
        path = self._path(contact, now) if routed.place is None else ()
        label = f"{phone.user}'s phone at {phone.host}"
        return Target(contact, hops, label, path, user=phone.user, server=phone.server)

    def is_ours(self, routed: routing.Routed) -> bool:
        """True for a request that has a token of ours, in its Route or as the place that it is for."""
        return routed.place is not None or self._naming.meant(routed.request.sip_uri) is not None

    def is_at_phone(self, uri: SipUri) -> bool:
        """True for the GRUU of a phone of this peer as this peer makes it: nobody has put another user into it."""
        meant = self._naming.meant(uri)
        users = (meant.contact.user, ANONYMOUS.sip_uri.user) if meant is not None and meant.contact is not None else ()
        return uri.user in users

    def is_outside(self, routed: routing.Routed, uri: SipUri) -> bool:
        """True for a request in a dialog with somebody outside, on its way there, as a token of ours in it says."""
        place = self._naming.meant(uri) or routed.place
        return place is not None and place.is_outside

    def direct(self, request: Request, uri: SipUri, now: float) -> Target:
        """The URI itself, which may be a phone's Contact, as the place to try."""
        return Target(uri, None, "", () if request.routes else self._path(uri, now))

    def _latest(self, hop: Hop | None, user: str, contact: SipUri, now: float) -> Hop | None:
        """Where the phone is that was at `hop`: a NAT may have given it another port since."""
        binding = self._bindings.rebound(user, contact, hop, now)
        return hop if binding is None else binding.hops[0]

    def _path(self, contact: SipUri, now: float) -> tuple[NameAddr, ...]:
        binding = self._bindings.at_contact(contact, now)
        return binding.path if binding is not None else ()


def outside_target(uri: SipUri, realm: str, label: str = "", towards: SipUri | None = None) -> Target:
    """Somebody who has no line, as the place to try: to him the overlay is called what DNS calls it."""
    named = label or str(towards or uri)
    return Target(uri, None, named, server=ServerName(realm), towards=towards, is_outside=True)
