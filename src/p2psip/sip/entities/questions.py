"""What a server asks the outside, and the answers it takes (the questions of its `Ask` effects)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from p2psip.sip.entities.callers.passport import Claims
from p2psip.sip.entities.own import WAY_PARAM, ServerName
from p2psip.sip.entities.registrar.bindings import Binding
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import Hop

TOKEN_STEP = 5
"""A server's gate has the tokens 1, 6, 11 ..., its proxy 2, 7, 12 ..., its verification of callers 3, 8, 13 ..., its
searches in DNS 4, 9, 14 ..., its agents 5, 10, 15 ...."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One of several who are called at once: a member of a group, or to whom he forwards all his calls.

    `diversions` say by whom it has been forwarded there (RFC 5806), the latest first. `absent` is called where no phone
    of this one is registered.
    """

    user: str
    diversions: tuple[NameAddr, ...] = ()
    absent: Rung | None = None


@dataclass(frozen=True, slots=True)
class LocateUser:
    """Where do requests for this user go? Answered by Located, Forwarded or NotLocated.

    `user` is the meaning of the Request-URI's user part. `from_user` is the line that proved to be the
    sender, `from_peer` the Node-ID in hex of the peer that the request came from; None where there is none.
    """

    uri: SipUri
    user: str
    method: str
    call_id: str
    from_user: str | None
    from_peer: str | None
    is_about_state: bool = False
    """True for what the peer of a line answers in the place of its phones: who watches the line."""
    is_urgent: bool = False
    """True for what is of an emergency, which no limit keeps out."""
    is_again: bool = False
    """True where those who were named at first have reached nobody: who else there is."""
    is_about_record: bool = False
    """True where what the record says is to be known, and nobody is to be called."""
    group: tuple[Rung, ...] = ()
    """Where several are called at once: all of them, in the place of `user`; answered by the places of all together."""

    @property
    def way(self) -> str | None:
        """As whom this peer is asked to send the request on; None where it is for a line of this peer."""
        return self.uri.param(WAY_PARAM)


class Tried(NamedTuple):
    """A place to which a request has gone in vain: its Request-URI, and what came of it.

    `is_told` is true where somebody has said so, and not this peer because nobody has; `is_gateway`, where the place
    was one that calls numbers for others.
    """

    uri: SipUri
    status: int
    is_told: bool
    is_gateway: bool


@dataclass(frozen=True, slots=True)
class FindGateway:
    """Who calls this number, where nobody in the overlay has it: an Asterisk that a DUNDi peer knows, or a member who
    calls for others? Answered by Located or NotLocated.

    `tried` are those that have had their turn; `otherwise` is what there is to say if there is no (other) gateway.
    """

    number: str
    otherwise: NotLocated
    tried: tuple[Tried, ...] = ()
    is_emergency: bool = False
    is_here: bool = False
    """True for what another member has sent to this peer to have it called: no other member is asked."""


@dataclass(frozen=True, slots=True)
class FindMixer:
    """Which peer mixes this room now, or is to? Answered by Located or NotLocated.

    `who` is the name of who wants to be in, as it stands in a URI; `attempt` is the number by which it is said
    afterwards that it was lost (`RoomLeft`).
    """

    room: str
    who: str
    attempt: str


class RegisteredBinding(NamedTuple):
    """A binding, and whose it is."""

    user: str
    binding: Binding


@dataclass(frozen=True, slots=True)
class Target:
    """One place to try: `uri` becomes the Request-URI.

    `hops` are tried in order. With `hops` None, `towards` (the request's own Route), the first of `routes` (pushed as
    Routes) or else `uri` says where to send, and is resolved when it is this target's turn. `label` names the target
    for people. `registered` is what it was made of, where that is a phone of this peer; `others` are other ways to the
    same phone, each to be tried only when the one before has failed. `user` and `server` are, of a phone of this peer,
    its line and what it calls us.
    """

    uri: SipUri
    hops: tuple[Hop, ...] | None = None
    label: str = ""
    routes: tuple[NameAddr, ...] = ()
    registered: RegisteredBinding | None = None
    others: tuple[Target, ...] = ()
    is_doubtful: bool = False
    """True for what may be of a phone's former life: it gets little patience."""
    user: str = ""
    server: ServerName | None = None
    towards: SipUri | None = None
    q: float = 1.0
    """How much it is preferred to others of this peer (RFC 3261 section 20.10)."""
    phones: frozenset[str] = frozenset()
    """Which phones are reached by it, as `phone_mark` has them; empty where that is not known."""
    is_outside: bool = False
    """True for a server of another domain, and for a guest: neither a phone with a line nor a peer."""
    diversions: tuple[NameAddr, ...] = ()
    """By whom it has been forwarded to this place alone (RFC 5806), the latest first."""
    is_gateway: bool = False
    """True for what leads out of the overlay with a number, and may fail where another one does not."""

    @property
    def lead(self) -> SipUri:
        """What is resolved to find the hops, where there are none."""
        return self.towards or (self.routes[0].sip_uri if self.routes else self.uri)

    @property
    def has_missed(self) -> bool:
        """True for a phone of this peer that has said nothing to the last request for it."""
        return self.registered is not None and self.registered.binding.missed > 0

    def with_others(self, others: Iterable[Target]) -> Target:
        """A copy with these other ways to the same phone."""
        ways = tuple(others)
        return self if ways == self.others else replace(self, others=ways)

    def forwarded(self, diversions: tuple[NameAddr, ...]) -> Target:
        """A copy to which, by whatever way, it has been forwarded by these."""
        if not diversions:
            return self
        return replace(self, diversions=diversions, others=tuple(one.forwarded(diversions) for one in self.others))


@dataclass(frozen=True, slots=True)
class Located:
    """Try these, newest first; each next one after `stagger_s` without a final answer, or when one has failed."""

    targets: tuple[Target, ...]
    stagger_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Forwarded:
    """All calls for this user are for another one (RFC 7904 section 3.1: "dereference this AOR")."""

    uri: SipUri


@dataclass(frozen=True, slots=True)
class NotLocated:
    """Answer this; `reason` explains it in words, for a Reason header and the log."""

    status: int
    phrase: str
    reason: str | None = None
    contacts: tuple[SipUri, ...] = ()
    """Of a 3xx: who is to be asked instead."""


@dataclass(frozen=True, slots=True)
class ResolveUri:
    """Where does this URI lead: another peer, or a server of another domain? Answered by Hops or NotLocated."""

    uri: SipUri
    is_outside: bool = False
    """True if it is to be sought by RFC 3263, for somebody who may send there."""


@dataclass(frozen=True, slots=True)
class Hops:
    """Try these in order."""

    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class FindCredential:
    """Which line does a digest user name mean, and what is its password? Answered by Credential or NoCredential.

    `user_name` is as the phone's owner typed it: the password is mixed with it. `domain` is the further domain of the
    overlay in which the phone says that its user is, "" for the overlay's own.
    """

    user_name: str
    realm: str
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """The line `user`, and for each spelling of its password H(A1) by algorithm, as `digest.ha1_by_algorithm` makes."""

    user: str
    ha1s: tuple[Mapping[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NoCredential:
    """There is none; `reason` goes to the phone, as in "alice has no line on this peer"."""

    reason: str


@dataclass(frozen=True, slots=True)
class SignClaims:
    """The signature of the line `user` over these claims (RFC 8224 section 6.1). Answered by Signed, or None where
    there is no such line here.
    """

    user: str
    claims: Claims
    ppt: str = ""
    peer: str = ""
    """To which peer it goes, by its Node-ID in hex."""
    forwards: tuple[SignClaims, ...] = ()
    """What is to be signed as well: those of who has forwarded the call here."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What was asked for: by which algorithm, where the certificate is, and over what.

    `certificate` is that (DER), where the other peer may not know it yet; else it is empty.
    """

    asked: SignClaims
    alg: str
    info: str
    signing_input: bytes
    signature: bytes
    certificate: bytes = b""
    forwards: tuple[Signed, ...] = ()
    """Of those of who has forwarded the call here, as many as could be signed."""


@dataclass(frozen=True, slots=True)
class VerifySignature:
    """Whose signature is this, by the certificate at `info` (RFC 8224 section 6.2)? Answered by Authentic or
    NotAuthentic.

    `asked_by` is the peer that wants to have it looked at. `certificate` came with it, and may be any; empty: none did.
    """

    info: str
    alg: str
    signing_input: bytes
    signature: bytes
    asked_by: str
    certificate: bytes = b""


@dataclass(frozen=True, slots=True)
class Authentic:
    """That of the user of the overlay with this name, as the certificate has it."""

    user: str


@dataclass(frozen=True, slots=True)
class NotAuthentic:
    """Nobody's, or that cannot be known; `status` is RFC 8224's for it (section 6.2.2)."""

    status: int
    reason: str


Answer: TypeAlias = (
    Located | Forwarded | NotLocated | Hops | Credential | NoCredential | Signed | Authentic | NotAuthentic | None
)
