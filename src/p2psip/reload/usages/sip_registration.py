"""The SIP-REGISTRATION usage of RELOAD, on the overlay's side (RFC 7904 section 3, 4.2, 7).

A line stores where its user can be reached: under the hash of the AoR, with its own Node-ID as the dictionary key,
a route to the peer that it is at. A caller fetches all entries under the AoR and believes those that are signed by
a line of that user, as the dictionary key says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from p2psip.base.address import as_domain
from p2psip.base.errors import LocalMisuse, RemoteProtocolError
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.config.configuration import DomainRestriction
from p2psip.reload.security.roles import Identity, Signer
from p2psip.reload.storage.access import Hash, WantedWrite
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.verified import Believer, Value, read_answer
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.kinds import SIP_REGISTRATION
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchAns,
    FetchReq,
    StoredData,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.sip_registration import (
    SipRegistration,
    SipRegistrationRoute,
    SipRegistrationType,
    SipRegistrationUri,
)

LIFETIME_S = 1800
"""Records die by themselves: a registration lives half an hour at the most and is refreshed at half of that."""

REFRESH_S = LIFETIME_S // 2

AGE_MAX_S = 24 * 3600
"""By a trusted date no registration counts that was signed longer ago than this: anybody may store it again, and its
lifetime, which is not signed, may say anything. RFC 7904 leaves open how often others refresh theirs."""

FORWARD_LIFETIME_S = AGE_MAX_S
"""What leads on to another AoR needs no peer that is up, and so lives for as long as a registration counts."""

FORWARDS_MAX = 5
"""From AoR to AoR a caller goes no further than this."""

AOR_LENGTH_MAX = 512

_USER_SAFE = "-_.!~*'()&=+$,;?/"
"""What stands as it is in the user part of a URI, beside letters and digits (RFC 3261 section 25.1)."""

_HOST = re.compile(r"^(?:\[[^\]]*\]|[^:;?]*)")
"""What stands before port, parameters and headers."""

_POSIX_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "lower": "a-z", "upper": "A-Z", "xdigit": "0-9a-fA-F",
}  # fmt: skip


class NotAnAor(RemoteProtocolError):
    """A text that is no address of record."""


def canonical_aor(uri: str) -> str:
    """The AoR in a SIP URI, as it stands in certificates: user@domain.

    7: "the "sip:" prefix needs to be removed from the SIP AOR before matching. Escaped characters ('%' encoding) in
    the SIP AOR also need to be decoded prior to matching". The domain has no case (RFC 3261 section 19.1.4).
    """
    scheme, colon, rest = uri.partition(":")
    if colon and scheme.lower() in ("sip", "sips"):
        uri = rest
    user, at, host = uri.rpartition("@")
    domain = as_domain(_HOST.findall(host)[0])
    aor = f"{_unescaped(user)}@{domain}"
    if not at or not user or not domain or len(aor) > AOR_LENGTH_MAX or not aor.isprintable():
        raise NotAnAor(f"{uri[:80]!r} is not user@domain")
    return aor


def resource_id(aor: str, hash_name: Hash) -> ResourceId:
    """Where the entries of a canonical AoR are: "The Resource Name for the SIP-REGISTRATION Kind-ID is the AOR"."""
    return hash_name(aor.encode())


@dataclass(frozen=True, slots=True)
class RegistrationRoute:
    """ "In order to contact me, form a connection with this Peer" (3.1): a destination list that ends with it."""

    destination_list: tuple[Destination | CompressedDestination, ...]
    contact_prefs: bytes = b""

    @property
    def peer(self) -> NodeId:
        """Whose certificate the peer at the end must present (5.1)."""
        node_id = self.destination_list[-1].node_id
        assert node_id is not None, "entries that end with no node are not made into a Route"
        return node_id

    @property
    def home(self) -> NodeId | None:
        """The home peer, where the list leads by one (docs/decisions/ways-of-calls.md)."""
        first = self.destination_list[0].node_id
        return first if len(self.destination_list) == 2 and first != self.peer else None


@dataclass(frozen=True, slots=True)
class RegistrationForward:
    """ "In order to contact me, dereference this AOR" (3.1)."""

    aor: str


@dataclass(frozen=True, slots=True)
class LineRegistration:
    """An entry under an AoR: which line stored it, when, for how long it is good, and where it leads."""

    line: NodeId
    storage_time_ms: int
    lifetime_s: int
    target: RegistrationRoute | RegistrationForward


@dataclass(frozen=True, slots=True)
class Registrations:
    """What is stored under an AoR, newest first, and why other entries there do not count."""

    entries: tuple[LineRegistration, ...]
    dropped: tuple[str, ...]


class Namespaces:
    """Which AoRs an overlay takes (3.4); a UsageRule for the storing peer."""

    def __init__(self, instance_name: str, restriction: DomainRestriction | None) -> None:
        self._patterns = _patterns(instance_name, restriction)

    def permits(self, write: WantedWrite, signer: Signer) -> bool:
        """True if values may be stored for the signer's user name, which must be an AoR."""
        _, at, domain = signer.user.rpartition("@")
        if not at:
            return False
        return self._patterns is None or any(pattern.fullmatch(domain) for pattern in self._patterns)

    def ends_ms(self, stored: StoredData, signer: Signer) -> int:
        """Registrations are refreshed."""
        return stored.storage_time + 1000 * AGE_MAX_S


def route_to(peer: NodeId, contact_prefs: bytes = b"", home: NodeId | None = None) -> SipRegistration:
    """A registration that leads to a peer, perhaps by its home peer."""
    homes = () if home is None or home == peer else (Destination.node(home),)
    return SipRegistration.route((*homes, Destination.node(peer)), contact_prefs)


def forward_to(aor: str) -> SipRegistration:
    """A registration that leads on to another canonical AoR."""
    user, _, domain = aor.rpartition("@")
    return SipRegistration.uri(f"sip:{quote(user, safe=_USER_SAFE)}@{domain}")


def store_request(
    line: Identity,
    registration: SipRegistration | None,
    storage_time_ms: int,
    hash_name: Hash,
    lifetime_s: int = LIFETIME_S,
) -> StoreReq:
    """The Store by which a line registers, or with None removes its entry. It is to be signed by the line as well."""
    resource = resource_id(line.user, hash_name)
    value = DataValue.nonexistent() if registration is None else DataValue(exists=True, value=registration.encode())
    entry = DictionaryEntry(line.node_id, value)
    is_route = registration is not None and registration.type == SipRegistrationType.SIP_REGISTRATION_ROUTE
    # RFC 6940 7.4.1.3: a removal lives "at least as long as the remainder of the lifetime of the value".
    lifetime_s = min(lifetime_s, LIFETIME_S if is_route else FORWARD_LIFETIME_S)
    stored = sign_value(line, resource, SIP_REGISTRATION, entry, storage_time_ms, lifetime_s)
    return StoreReq(resource, 0, (StoreKindData(SIP_REGISTRATION, 0, (stored,)),))


def fetch_request(aor: str, hash_name: Hash) -> FetchReq:
    """The Fetch of all entries under an AoR (4.2: it "SHOULD NOT indicate any dictionary keys")."""
    specifier = StoredDataSpecifier(SIP_REGISTRATION, 0, DictionarySpecifier(()))
    return FetchReq(resource_id(aor, hash_name), (specifier,))


def read_registrations(
    aor: str, answer: FetchAns, certificates: Sequence[GenericCertificate], reader: Believer, now: float
) -> Registrations:
    """The entries under an AoR that are signed by a line of its user and lead somewhere."""
    rules = reader.rules
    verified = read_answer(resource_id(aor, rules.hash_name), answer, certificates, reader, now)
    found: list[LineRegistration] = []
    dropped = list(verified.dropped)
    for value in verified.of(SIP_REGISTRATION):
        try:
            found.append(_registration(value))
        except (NotAnAor, DecodeError, _LeadsNowhere) as error:
            dropped.append(str(error))
    found.sort(key=lambda entry: entry.storage_time_ms, reverse=True)
    return Registrations(tuple(_distinct(found))[: rules.kinds[SIP_REGISTRATION].max_count], tuple(dropped))


def latest_ms(
    aor: str,
    line: NodeId,
    answer: FetchAns,
    certificates: Sequence[GenericCertificate],
    reader: Believer,
    now: float,
) -> int:
    """The storage_time of a line's own entry under its AoR, a removed one included; 0 if it signed none."""
    # Also of an entry that is older than what was read before: whoever has it refuses what is older still.
    anything = replace(reader, seen=None)
    verified = read_answer(resource_id(aor, reader.rules.hash_name), answer, certificates, anything, now)
    own = [value for value in (*verified.values, *verified.removed) if value.signer.node_id == line]
    return max((value.storage_time_ms for value in own if value.kind == SIP_REGISTRATION), default=0)


class _LeadsNowhere(RemoteProtocolError):
    """An entry of a type that is not known, or whose destination list does not end with a node."""


def _registration(value: Value) -> LineRegistration:
    line = value.signer.node_id
    assert value.data is not None, "a value that exists has content"
    registration = SipRegistration.decode(value.data, node_id_length=len(line))
    return LineRegistration(line, value.storage_time_ms, value.lifetime_s, _target(registration))


def _target(registration: SipRegistration) -> RegistrationRoute | RegistrationForward:
    match registration.data:
        case SipRegistrationUri(uri):
            return RegistrationForward(canonical_aor(uri.decode(errors="replace")))
        case SipRegistrationRoute(contact_prefs, destination_list):
            last = destination_list[-1].node_id
            if last is None or not last.is_valid:
                raise _LeadsNowhere("an entry's destination list does not end with a node")
            return RegistrationRoute(destination_list, contact_prefs)
    raise _LeadsNowhere(f"an entry of type {int(registration.type)}, which is not known")


def _distinct(entries: Iterable[LineRegistration]) -> Iterable[LineRegistration]:
    """4.2: "the Peer removes duplicate destination lists and GRUUs from the list"; the first of each stays."""
    targets: dict[object, LineRegistration] = {}
    for entry in entries:
        target = entry.target
        targets.setdefault(target.destination_list if isinstance(target, RegistrationRoute) else target, entry)
    return targets.values()


def _patterns(instance_name: str, restriction: DomainRestriction | None) -> list[re.Pattern[str]] | None:
    """3.4: without the element any AoR; not enabled, those of the overlay's own domain; otherwise the patterns'."""
    if restriction is None:
        return None
    patterns = restriction.patterns if restriction.enable else (re.escape(instance_name),)
    return [_compiled(pattern) for pattern in patterns]


def _compiled(pattern: str) -> re.Pattern[str]:
    """A POSIX extended regular expression, whose character classes Python writes differently."""
    for name, members in _POSIX_CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", members)
    try:
        return re.compile(pattern, re.IGNORECASE | re.ASCII)
    except re.error as error:
        raise LocalMisuse(f"the configuration's domain pattern {pattern!r} cannot be read: {error}") from None


def _unescaped(user: str) -> str:
    try:
        return unquote(user, errors="strict")
    except UnicodeDecodeError:
        raise NotAnAor(f"{user[:80]!r} has escapes that are not UTF-8") from None
