"""The settings of a SIP server."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from p2psip.base.address import Address
from p2psip.base.allowance import Allowance
from p2psip.media.relay.policy import MediaSetting
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays
from p2psip.sip.events.limits import EventLimits
from p2psip.sip.events.watchers import EVERYBODY
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.layer import TRANSACTIONS_MAX
from p2psip.sip.transactions.timer_values import TimerValues
from p2psip.sip.transports.flow_table import TransportLimits
from p2psip.sip.transports.layer import Listener
from p2psip.sip.transports.own_addresses import OwnAddresses
from p2psip.sip.transports.web_origins import WebOrigins

CallerPolicy: TypeAlias = Literal["shown", "required"]

WRONG_PASSWORDS = Allowance(burst=20, refill_s=3.0)
"""For one user from one address."""

WRONG_NAMES = Allowance(burst=5, refill_s=12.0)
"""From one address: so many a minute are told that there is no such line, which helps who has mistyped it."""

GUEST_CALLS = Allowance(burst=10, refill_s=6.0)
"""What begins from one address without an account, whether anybody is there or not: so nobody learns fast who is."""

ALL_GUEST_CALLS = Allowance(burst=60, refill_s=1.0)
"""The same from all addresses together, of which those in datagrams prove nothing."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds on what remotes can make grow, and how long the outside may take to answer."""

    transactions: int = TRANSACTIONS_MAX
    questions: int = 4096
    urgent_questions: int = 100
    """So many more for requests of an emergency."""
    bindings_per_user: int = 10
    phones: int = 4096
    """Addresses of phones that have proved themselves, which requests may be sent to."""
    wrong_passwords: Allowance = WRONG_PASSWORDS
    wrong_names: Allowance = WRONG_NAMES
    guest_calls: Allowance = GUEST_CALLS
    all_guest_calls: Allowance = ALL_GUEST_CALLS
    guess_wait_s: float = 24.0
    """How long a password may wait for its turn where too many have been wrong: a phone waits 32 s (timers B, F)."""
    targets: int = 32
    turns: int = 8
    """How often resolvers may send one request elsewhere."""
    serial_s: float = 10.0
    """How long phones of a user ring before those with a lower q do: two times, about."""
    credential_s: float = 5.0
    flow_silence_s: float = 4.0
    """How long one way to a phone may be silent, not a 100 has come, if the phone has registered another one."""
    locate_s: float = 6.0
    resolve_s: float = 8.0
    """From when the request came: a caller waits no longer for peers that do not answer."""
    verify_s: float = 2.0
    """How long a request of another peer waits until it is known whether its caller is who it says."""
    engine_s: float = 4.0
    """For the media engine, which has answered sooner, or does not."""
    resolve_least_s: float = 2.0
    """What each target gets all the same, where others have had their turn before it."""
    timer_c_s: float = 181.0
    """Section 16.6 step 11: more than three minutes."""


def _no_peer(uri: SipUri) -> str | None:
    return None


def _no_name(user: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a peer's SIP server is called, where it listens, and how it treats phones.

    `domains` are the names and numeric addresses (in lower case) that mean the overlay as the domain of an AoR, for
    ever: the overlay's name and every name of the peer; `addresses` are the own ones beside them. `peer_side` is the
    URI by which other peers find this one again, a GRUU, for Record-Route and Contact; phones get the address that
    they use. With the same `token_secret` as before dialogs outlive a restart; None: one for this run. `algorithms`
    are offered to phones in this order; MD5 alone is the default because some phones give up at a challenge they do
    not know. `media` says which way the media of calls goes, `numbering` what numbers mean that
    phones dial, `other_domains` what is open between this peer and those who have no line in the overlay.
    """

    realm: str
    domains: frozenset[str]
    listeners: tuple[Listener, ...]
    peer_side: SipUri
    addresses: OwnAddresses = field(default_factory=OwnAddresses)
    token_secret: bytes | None = field(default=None, repr=False)
    algorithms: tuple[str, ...] = ("MD5",)
    expires_min_s: int = 60
    expires_max_s: int = 3600
    expires_default_s: int = 3600
    product: str = "p2psip"
    media: MediaSetting = "direct"
    media_engine: Address | None = None
    """Where an rtpengine takes commands that carries what goes between two phones of this peer."""
    watchers: tuple[str, ...] = EVERYBODY
    """Who may watch which line (`WatchRules`)."""
    callers: CallerPolicy = "shown"
    """What becomes of a request from another peer whose caller is not proved: it comes in, and is shown as that; or it
    is refused, that of an emergency excepted."""
    web_origins: frozenset[str] = frozenset()
    """The web pages that may connect over WebSocket, beside those of this machine: "https://phone.example"."""
    has_call_paths: bool = False
    """True if media may go to other peers, over paths of ICE."""
    peer_in: Callable[[SipUri], str | None] = _no_peer
    """Which peer a GRUU of the overlay leads to, as a `Source` names peers; None if to none."""
    name_of: Callable[[str], str] = _no_name
    """What the directory calls a user of the overlay; "" if nothing."""
    has_mailboxes: Callable[[], bool] = bool
    """True if the overlay has mailboxes, in which messages are left."""
    hosted: frozenset[str] = frozenset()
    """Further domains of the overlay, whose users are others than those of the same names in its own."""
    numbering: Numbering = field(default_factory=Numbering)
    other_domains: OtherDomains = field(default_factory=OtherDomains)
    overlays: OtherOverlays = field(default_factory=OtherOverlays)
    """The further ones that this site is in, each by a peer of its own in this process."""
    timers: TimerValues = field(default_factory=TimerValues)
    limits: ServerLimits = field(default_factory=ServerLimits)
    events: EventLimits = field(default_factory=EventLimits)
    transport_limits: TransportLimits = field(default_factory=TransportLimits)

    @property
    def peer_sent_by(self) -> str:
        """The sent-by of our Via towards other peers: nobody connects to it, but no other peer may have it."""
        name = re.sub(r"[^a-z0-9]+", "-", self.peer_side.user_name.lower()).strip("-")
        return f"{name or 'peer'}-{zlib.crc32(str(self.peer_side).encode()):08x}.invalid"

    @property
    def peer_route(self) -> SipUri:
        """What stands in a Record-Route towards other peers (RFC 3261 section 16.6 step 4: with `lr`)."""
        uri = self.peer_side
        return uri if uri.is_loose else uri.replace(params=(*uri.params, ("lr", None)))

    @property
    def origins(self) -> WebOrigins:
        """Which web pages may connect."""
        return WebOrigins(self.domains, self.addresses, self.web_origins)

    def is_own_host(self, host: str) -> bool:
        """True for a name or numeric address that means this peer."""
        return host in self.domains or host in self.addresses

    @property
    def ports(self) -> frozenset[int]:
        """The ports that phones know us by."""
        return frozenset(listener.local.port for listener in self.listeners)
