"""The settings of a peer: `peer.toml` in its state directory, each also a flag of `p2psip peer run`."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from p2psip.base.address import Address, as_domain
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.settings_file import make, read_values
from p2psip.media.relay.policy import MediaSetting
from p2psip.net.sockets.addresses import ip_port
from p2psip.reload.config.configuration import is_dns_name
from p2psip.sip.events.watchers import EVERYBODY, WatchRules

SETTINGS_FILE = "peer.toml"

DNS_PORT = 53
SIP_PORT = 5060

PRIVATE_NETWORKS = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
    *("fc00::/7", "fe80::/10", "::1/128"),
)
"""Networks that are nobody's on the Internet (RFC 1918, RFC 3927, RFC 4193), and this machine."""

ENGINE_PORT = 2223
"""Where Debian's rtpengine takes commands, if nobody has said otherwise."""

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE
)

_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"0|(?P<number>[1-9][0-9]{0,3}) ?(?P<unit>kB|MB|GB)")

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class PeerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in peer.toml; `TEMPLATE` says of each setting what it means."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9+]([a-z0-9._+-]*[a-z0-9])?$", max_length=56)]
    fingerprint: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    node_index: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    listen: tuple[str, ...] = ("0.0.0.0", "::")
    advertise: tuple[str, ...] = ()
    port_mapping: bool = False
    multicast: bool = True
    mdns: bool = False
    asks_dns: bool = True
    overlay_port: Port = 6084
    links: tuple[Literal["TLS", "DTLS"], ...] = ("TLS", "DTLS")
    path_mtu: Annotated[int, msgspec.Meta(ge=576, le=9000)] = 1280
    sip_port: Port = 5062
    phone_listen: tuple[str, ...] = ("0.0.0.0", "::")
    phone_port: Port = 5060
    phone_udp: bool = True
    phone_tcp: bool = True
    phone_tls: bool = True
    phone_certificate: str = ""
    phone_key: str = ""
    phone_digest: tuple[Literal["MD5", "SHA-256"], ...] = ("MD5",)
    phone_ws: bool = False
    phone_wss: bool = False
    phone_web_origins: tuple[str, ...] = ()
    directory_http_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    directory_ldap_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    directory_networks: tuple[str, ...] = PRIVATE_NETWORKS
    domains: tuple[str, ...] = ()
    other_domains: Literal["closed", "out", "in", "both"] = "closed"
    shared_domains: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    name_server: str = ""
    domain_anchors: str = ""
    watchers: tuple[str, ...] = EVERYBODY
    callers: Literal["shown", "required"] = "shown"
    media: Literal["auto", "direct", "anchor"] = "auto"
    media_engine: str = ""
    relay: Literal["auto", "yes", "no"] = "auto"
    relay_allocations: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    relay_kbit_s: Annotated[int, msgspec.Meta(ge=64, le=10_000_000)] = 10_000
    relay_member_kbit_s: Annotated[int, msgspec.Meta(ge=64, le=10_000_000)] = 512
    first: bool = False
    role: Literal["peer", "client", "router", "auto"] = "peer"
    shed_disk_percent: Annotated[int, msgspec.Meta(ge=0, le=40)] = 5
    shed_load_percent: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    lend_storage: str = "0"
    borrow_storage: str = "64MB"
    return_path: Literal["via-list", "transaction-state", "stored-list", "sealed-list", "connection-index"] = "via-list"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        """Rules that a type cannot say; ValueError becomes msgspec's ValidationError, with the field's path."""
        for field in ("listen", "advertise", "phone_listen"):
            for address in getattr(self, field):
                _check_address(field, address)
        try:
            WatchRules(self.watchers)
        except ValueError as error:
            raise ValueError(f"watchers: {error}") from None
        for setting in ("guests", "directory_networks"):
            for network in getattr(self, setting):
                _check_network(setting, network)
        for neighbour in self.neighbours:
            neighbour_of(neighbour)
        if self.name_server:
            _name_server(self.name_server)
        if self.shared_domains and self.other_domains not in ("out", "both"):
            raise ValueError('shared_domains are called as other domains are: set other_domains to "out" or "both"')
        if self.media_engine:
            _engine_address(self.media_engine)
            if self.media == "direct":
                raise ValueError(
                    'media_engine is for calls that go through this peer, and media is "direct": change one'
                )
        if self.overlay_port == self.sip_port:
            raise ValueError(f"overlay_port and sip_port are both {self.sip_port}: each needs one of its own")
        of_peers = (self.overlay_port, self.sip_port) if self.phone_tcp else (self.sip_port,)
        if (self.phone_tcp or self.phone_udp) and self.phone_port in of_peers:
            raise ValueError(
                f"phone_port {self.phone_port} is overlay_port or sip_port as well: it needs one of its own"
            )
        self._check_tls()
        self._check_web()
        self._check_directory()
        if not self.phone_digest or len(set(self.phone_digest)) < len(self.phone_digest):
            raise ValueError('phone_digest needs "MD5", "SHA-256", or both, each once and the preferred one first')
        if self.phone_udp and "DTLS" in self.links and self.phone_port == self.overlay_port:
            raise ValueError(f"phone_port {self.phone_port} is overlay_port as well: both want its UDP port")
        if self.relay_member_kbit_s > self.relay_kbit_s:
            raise ValueError(
                f"relay_member_kbit_s {self.relay_member_kbit_s} is more than relay_kbit_s {self.relay_kbit_s}: "
                "one member cannot have more than all together"
            )
        if self.relay == "yes" and "DTLS" not in self.links:
            raise ValueError('relay is "yes", which takes links over DTLS: add "DTLS" to links, or set relay to "no"')
        if self.role != "peer" and self.first:
            what = "router" if self.role == "router" else "client"
            raise ValueError(f'a {what} never begins an overlay: first is for role = "peer"')
        self._check_lent()
        if not self.links:
            raise ValueError("links need TLS or DTLS")
        if not self.listen or not self.phone_listen:
            raise ValueError("listen and phone_listen need at least one address")
        if not (self.phone_udp or self.phone_tcp or self.phone_tls or self.phone_ws or self.phone_wss):
            raise ValueError("phones need phone_udp, phone_tcp or phone_tls")

    def _check_lent(self) -> None:
        for field in ("lend_storage", "borrow_storage"):
            _bytes_of(field, getattr(self, field))
        if self.lend_bytes and self.role not in ("client", "auto"):
            raise ValueError(
                f'lend_storage is for a client, which lends its peer room, and role is "{self.role}": '
                'set role to "client" or "auto", or lend_storage to "0"'
            )

    def _check_tls(self) -> None:
        if self.phone_tls and self.phone_tls_port in (self.overlay_port, self.sip_port):
            raise ValueError(
                f"phones have TLS on the port after phone_port, and {self.phone_tls_port} is overlay_port or sip_port: "
                "change one of them, or set phone_tls to false"
            )
        if self.phone_tls and self.phone_tls_port > 65535:
            raise ValueError("phones have TLS on the port after phone_port, which is none: set phone_tls to false")
        if bool(self.phone_certificate) != bool(self.phone_key):
            raise ValueError("phone_certificate and phone_key go together: name both files, or neither")

    def _check_web(self) -> None:
        for name, is_on, port in (
            ("phone_ws", self.phone_ws, self.phone_ws_port),
            ("phone_wss", self.phone_wss, self.phone_wss_port),
        ):
            if is_on and (port > 65535 or port in (self.overlay_port, self.sip_port)):
                what = "which is none" if port > 65535 else f"and {port} is overlay_port or sip_port"
                raise ValueError(
                    f"{name} is on the port {port - self.phone_port} after phone_port, {what}: change one of them, or "
                    f"set {name} to false"
                )
        for origin in self.phone_web_origins:
            if origin != "*" and (why := _no_origin(origin)):
                raise ValueError(
                    f"phone_web_origins: {origin!r} is not what a browser calls a page's origin, {why}: write scheme "
                    'and host alone, as "https://phone.example" or "https://phone.example:8443"'
                )

    def _check_directory(self) -> None:
        taken = {self.overlay_port, self.sip_port, self.phone_port, self.phone_tls_port, self.phone_ws_port}
        for name in ("directory_http_port", "directory_ldap_port"):
            port = getattr(self, name)
            if port and port in taken:
                raise ValueError(f"{name} {port} is a port for something else as well: it needs one of its own")
            taken.add(port)

    def media_way(self, *, has_call_paths: bool) -> MediaSetting:
        """Without paths by ICE nobody's voice takes a way that nobody has asked for."""
        return "direct" if self.media == "auto" and not has_call_paths else self.media

    @property
    def media_engine_address(self) -> Address | None:
        """Where an rtpengine takes commands; None if there is none."""
        return _engine_address(self.media_engine) if self.media_engine else None

    @property
    def calls_other_domains(self) -> bool:
        """True if anything goes from here to somebody who has no line in the overlay."""
        return self.other_domains != "closed" or bool(self.guests or self.neighbours)

    @property
    def name_server_address(self) -> Address | None:
        """Whom to ask about other domains; None for whom the system asks."""
        return _name_server(self.name_server) if self.name_server else None

    @property
    def lend_bytes(self) -> int:
        """How much a client keeps for its peer."""
        return _bytes_of("lend_storage", self.lend_storage)

    @property
    def borrow_bytes(self) -> int:
        """How much a peer has its clients keep."""
        return _bytes_of("borrow_storage", self.borrow_storage)

    @property
    def phone_tls_port(self) -> int:
        """Where phones have TLS: 5061 beside 5060 (RFC 3261 section 19.1.2), and so with other numbers."""
        return self.phone_port + 1

    @property
    def phone_ws_port(self) -> int:
        """Where browsers and the like have WebSocket: 5066 beside 5060, which no browser connects to."""
        return self.phone_port + 6

    @property
    def phone_wss_port(self) -> int:
        """The same over TLS."""
        return self.phone_port + 7

    @property
    def shows_phones_certificate(self) -> bool:
        """True if some phones are served over TLS."""
        return self.phone_tls or self.phone_wss


TEMPLATE = """\
# The settings of a peer. Every one can also be given to `p2psip peer run` as a flag: overlay_port as --overlay-port.

# What this peer is called: its certificate is for peer-NAME@OVERLAY.
name = {name}

# The trust anchor of the overlay, as SHA-256 of its certificate. Nobody else is believed.
fingerprint = {fingerprint}

# Where its certificate has several Node-IDs: as which of them this peer acts, counted from 1.
node_index = {node_index}

# Addresses on which other peers reach this one. "0.0.0.0" is every IPv4 address, "::" every IPv6 address.
listen = {listen}

# Addresses to tell other peers, if they are not those of this machine (behind a port forwarding, say).
advertise = {advertise}

# Whether this machine's router is asked to let other peers in to the ports of this one (PCP, NAT-PMP, UPnP), in the
# place of a port forwarding. `p2psip nat` says what came of it.
port_mapping = {port_mapping}

# Whether this peer asks on its own links (LAN, WLAN), by multicast, which peers of its overlay are there, and answers
# those that ask. Then peers of one site need no address of each other. UDP port 6085, and nothing leaves the link.
multicast = {multicast}

# Whether it also shows itself, and looks for them, as a service of DNS-SD over mDNS (Bonjour, Avahi): where access
# points or routers pass that on from one network to another, and other multicast not. All there see its address.
mdns = {mdns}

# Whether DNS (name_server) is asked for the overlay by its name, when it is not found otherwise within two seconds:
# _reload._tcp.NAME, an SRV record that names a bootstrap node and its port.
asks_dns = {asks_dns}

# Port of the links between peers (RELOAD): TCP for those over TLS, UDP for those over DTLS. Open it in the firewall.
overlay_port = {overlay_port}

# What links this peer makes, of those that the overlay permits: "TLS" over TCP, "DTLS" over UDP.
links = {links}

# The longest IP packet that every path to other peers carries whole: links, and calls between peers, send none longer.
path_mtu = {path_mtu}

# Port of calls between peers: TCP (SIP over TLS) and, where the overlay has ICE, UDP (SIP and audio over DTLS).
# Open both in the firewall.
sip_port = {sip_port}

# Addresses and port on which the phones of this site reach the peer.
phone_listen = {phone_listen}
phone_port = {phone_port}
phone_udp = {phone_udp}
phone_tcp = {phone_tcp}

# Whether phones are served over TLS as well, on the port after phone_port: 5061. They are shown this peer's own
# certificate, which the overlay's authority has issued (`p2psip peer trust` writes down what a phone has to trust), or
# the one in these two files (PEM; the certificate with its chain). Files that change are read anew.
phone_tls = {phone_tls}
phone_certificate = {phone_certificate}
phone_key = {phone_key}

# How phones prove their password: by which digests, the preferred one first. With ["SHA-256", "MD5"] they are asked for
# both, and phones that know RFC 8760 take the better one; some others give up at a digest that they do not know.
phone_digest = {phone_digest}

# Whether phones in web browsers are served: over secure WebSocket, with the same certificate, on the seventh port after
# phone_port (5067), and in clear on the sixth (5066), for a program that adds TLS in front of it. Pages from this
# machine may connect, and those from the addresses that are listed, as "https://phone.example"; "*" is any page at all.
phone_ws = {phone_ws}
phone_wss = {phone_wss}
phone_web_origins = {phone_web_origins}

# Ports on which the phones of this site have the directory of the overlay, at the addresses of phone_listen: by HTTP,
# in the XML of Yealink, Cisco, Snom and Grandstream, as vCard, CSV and JSON, and by LDAP; 0 is off. There is no
# password: it is served to these networks alone. docs/operating.md, "The directory on phones".
directory_http_port = {directory_http_port}
directory_ldap_port = {directory_ldap_port}
directory_networks = {directory_networks}

# Further names of this peer that phones may have as their server or domain, beside its addresses and host name.
domains = {domains}

# Whether the lines of this peer may call users of other domains, which are sought by DNS ("out"), whether anybody there
# may call users of the overlay by user@domain at this peer ("in"), "both", or "closed". Who calls from there has proved
# nothing. What to publish in DNS, and what this opens: docs/operating.md, "Other domains".
other_domains = {other_domains}

# Domains whose users are in the overlay, or at the domain's own servers, or both: alice@example.org is sought in the
# overlay as alice, and where no phone of hers is there, by DNS. For lines of this peer; other_domains has to let them.
shared_domains = {shared_domains}

# Networks in which phones and servers need no account: they may call the users of the overlay by any name or address of
# this peer, and may be called at their own address, as ["192.168.7.0/24"]. Nobody checks what they say who they are.
guests = {guests}

# Domains whose server is known, as ["club-c.example=192.168.7.9:5060"]: another overlay's, a peer of it. The lines of
# this peer call their users there, without DNS, and who calls from that address is a guest.
neighbours = {neighbours}

# The DNS server to ask about other domains, as "192.168.7.1" or with a port; empty: the one that this machine asks. And
# a file (PEM) with authorities that their servers' certificates may come from, beside those that this machine trusts.
name_server = {name_server}
domain_anchors = {domain_anchors}

# Who may see on a phone whether the lines of this peer are there and busy: user names, "*" for every member of the
# overlay, or for one line "carol>bob" (carol may watch bob). In a name * is any characters, ? one, [ab] one of these:
# "desk-*>door-?". Who may not is refused; everybody may watch himself.
watchers = {watchers}

# What becomes of a call from another peer whose caller is not proved by the certificate of his line: it is "shown" to
# the phone as not verified, or, where a proof is "required", refused. Emergency calls come in either way.
callers = {callers}

# Which way the voice of a call goes: "direct", from phone to phone; "anchor", through this peer (UDP ports 16384 to
# 32767) and, where the other phone is another peer's, over the path between them (in overlays with ICE); or "auto", so
# where the phones do not seem to reach each other. Without ICE "auto" is "direct".
media = {media}

# Where an rtpengine takes commands (its listen-ng) that carries the voice of calls between two phones of this peer in
# the peer's place, for hundreds of calls at a time: "127.0.0.1:2223". While it does not answer, new ones do without it.
media_engine = {media_engine}

# Whether this peer relays between members that cannot reach each other directly, in overlays with ICE: "yes", "no", or
# "auto", if other peers confirm that any UDP port of this machine can be reached. A relay wants its UDP ports 49152 to
# 65535 open in the firewall. So many addresses are lent at a time, each of them one of these ports; and so much is
# relayed in all and for one member, both ways together, in kbit/s: a call takes about 170.
relay = {relay}
relay_allocations = {relay_allocations}
relay_kbit_s = {relay_kbit_s}
relay_member_kbit_s = {relay_member_kbit_s}

# Whether this peer may begin the overlay by itself when it finds no other. A bootstrap node may in any case.
first = {first}

# Whether this peer takes part in the overlay as one of its peers ("peer"), or as a client of a few of them ("client"):
# behind a NAT, say, in an overlay whose public peers carry the rest. Its phones and lines are the same. With "auto" it
# finds out: it is a peer while others can reach it, else a client, and it changes when nobody speaks. A client never
# begins an overlay. A "router" is a client that keeps nothing for others either, and passes their messages on.
role = {role}

# When this peer shall store nothing for others for a while: with less than so many percent of its disk free, or under a
# load of so many percent of what its processors can do; 0 is never. Meanwhile it is a client, its phones and lines are
# the same, and it comes back when twice as much is free and half as much to do. A bootstrap node never does this.
shed_disk_percent = {shed_disk_percent}
shed_load_percent = {shed_load_percent}

# How much of its disk a client lends its peer for large values, as messages of mailboxes are: the peer reads them there
# and has them back when its own copy is lost; "64MB", or "0" for nothing. And how much a peer takes of its clients.
lend_storage = {lend_storage}
borrow_storage = {borrow_storage}

# How answers find back through this peer: "via-list" (each request grows by this peer's neighbour), or by what it keeps
# for 15 s ("transaction-state", "stored-list"), or by an ID that it can read again ("sealed-list", "connection-index").
return_path = {return_path}

# What to log: "debug", "info", "warning" or "error"; as "text" or "json".
log_level = {log_level}
log_format = {log_format}
"""


def write_settings(settings: PeerSettings) -> str:
    """The text of peer.toml, with a comment for each setting."""
    values = msgspec.to_builtins(settings)
    # What JSON writes for strings, numbers, booleans and lists of strings is TOML as well.
    return TEMPLATE.format(**{name: json.dumps(value, ensure_ascii=False) for name, value in values.items()})


def load_settings(state_dir: Path, overrides: Mapping[str, object] | None = None) -> PeerSettings:
    """The settings in a state directory; `overrides` (flags) go before them, those that are None excepted.

    Raises LocalMisuse, in one line that names the file and the setting.
    """
    path = state_dir / SETTINGS_FILE
    if not path.is_file():
        raise LocalMisuse(f"{state_dir} is not the state directory of a peer: `p2psip peer init` makes one")
    values, text = read_values(path, PeerSettings)
    settings = make(values, PeerSettings, str(path), text)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    return make_settings(values | given, "the flags") if given else settings


def make_settings(values: Mapping[str, object], source: str) -> PeerSettings:
    """Settings from names and values; LocalMisuse that names `source`."""
    return make(values, PeerSettings, source)


def _engine_address(text: str) -> Address:
    try:
        return Address(*ip_port(text, ENGINE_PORT))
    except LocalMisuse:
        raise ValueError(
            f"media_engine: {text!r} is no IP address and port: write what rtpengine has as its listen-ng, as "
            f'"127.0.0.1:{ENGINE_PORT}"'
        ) from None


def _name_server(text: str) -> Address:
    try:
        return Address(*ip_port(text, DNS_PORT))
    except LocalMisuse as error:
        raise ValueError(f"name_server: {error}") from None


def neighbour_of(text: str) -> tuple[str, Address]:
    """A domain and its server. Raises ValueError."""
    domain, equals, server = text.partition("=")
    try:
        address = Address(*ip_port(server, SIP_PORT)) if equals and is_dns_name(domain) else None
    except LocalMisuse:
        address = None
    if address is None or not address.port:
        raise ValueError(
            f"neighbours: {text!r} is no domain with its server: write DOMAIN=ADDRESS, as "
            "club-c.example=192.168.7.9:5060"
        )
    return as_domain(domain), address


def _bytes_of(setting: str, text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f'{setting}: {text!r} is no size: write one as "64MB", in kB, MB or GB, or "0" for none')
    return int(found["number"]) * _UNITS[found["unit"]] if found["unit"] else 0


def _check_network(setting: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{setting}: {text!r} is no network: write one as 192.168.7.0/24, or an address") from None
        raise ValueError(
            f"{setting}: {text!r} is an address within {meant}: write that, or the address alone"
        ) from None


def _no_origin(text: str) -> str:
    """Why no page has this as its origin (RFC 6454 section 6.1); "" if one may have."""
    found = _ORIGIN.fullmatch(text)
    if text.lower() == "null":
        return "but what it says of any page whose origin it hides"
    if found is None:
        return "which is no address of a page"
    scheme, port = found["scheme"].lower(), int(found["port"] or 0)
    if scheme in ("ws", "wss"):
        return "since pages come by https or http"
    if port > 65535 or found["port"] == "0":
        return "since there is no such port"
    # 6.2: "If the port of the origin [...] is different from the default port [...]" it is written, and only then.
    if port and port == {"http": 80, "https": 443}.get(scheme):
        return f"which leaves out the port that {scheme} has anyway"
    return ""


def _check_address(field: str, address: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"{field}: {address!r} is not an IP address") from None
