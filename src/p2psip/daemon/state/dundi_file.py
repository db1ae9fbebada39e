"""This peer as an entity of DUNDi: `dundi.toml` in its state directory; without the file it is none.

Every mistake in it is one line that says in which line of the file it is, and what to write. Keys are in files of their
own, as Asterisk has them: public ones in PEM, and private ones that only the peer's user may read.
"""

from __future__ import annotations

import ipaddress
import random
import re
import stat
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.toml_lines import Mistake, TomlLines, described, parse_toml
from p2psip.dundi.elements import Eid
from p2psip.dundi.limits import NEIGHBOURS_MAX, NUMBER_BYTES_MAX, PREFIXES_MAX, TTL_MAX
from p2psip.dundi.session_keys import KEY_BITS, EntityKeys, why_unusable
from p2psip.dundi.values import PORT, EntityTerms, IpNetwork, NeighbourTerms, OfferedContext
from p2psip.net.disk.files import read_file, read_text
from p2psip.net.sockets.addresses import ip_port
from p2psip.sip.entities.gateway.offer import PREFERENCE_MAX

DUNDI_FILE = "dundi.toml"

_HOST_NAME = re.compile(r"(?=.{1,128}$)(?=.*[A-Za-z])[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
"""A name of DNS, which no network and no address is."""

EidText = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
About = Annotated[str, msgspec.Meta(max_length=NUMBER_BYTES_MAX // 4)]
Reached = Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9*#]{1,32}$")]
Prefix = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+*#._-]{0,64}$")]


class _Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[context]]`."""

    name: Name
    numbers: Annotated[tuple[Prefix, ...], msgspec.Meta(min_length=1, max_length=PREFIXES_MAX)]
    weight: Annotated[int, msgspec.Meta(ge=0, le=59999)] = 0


class _Neighbour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[peer]]`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    eid: EidText
    host: str
    inkey: str = ""
    outkey: str = ""
    include: tuple[Name, ...] = ()
    permit: tuple[Name, ...] = ()
    calls: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    eid: EidText
    host: Annotated[str, msgspec.Meta(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,128})(:[0-9]{1,5})?$")]
    listen: str = "0.0.0.0"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = PORT
    ttl: Annotated[int, msgspec.Meta(ge=1, le=TTL_MAX)] = 8
    expiration_s: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 300
    reaches: Annotated[tuple[Reached, ...], msgspec.Meta(max_length=PREFIXES_MAX)] = ()
    preference: Annotated[int, msgspec.Meta(ge=0, le=PREFERENCE_MAX)] = 50
    department: About = ""
    organization: About = ""
    locality: About = ""
    state_province: About = ""
    country: About = ""
    email: About = ""
    phone: About = ""
    context: tuple[_Context, ...] = ()
    peer: Annotated[tuple[_Neighbour, ...], msgspec.Meta(max_length=NEIGHBOURS_MAX)] = ()


_ABOUT = ("department", "organization", "locality", "state_province", "country", "email", "phone")

_WANTED = {
    "eid": 'an entity identifier, as "00:07:E9:3B:76:60"',
    "host": 'an address in quotes, with a port if it is not the usual one, as "44.130.60.1"',
    "listen": 'an address of this machine, as "0.0.0.0" or "::"',
    "port": "a UDP port",
    "ttl": f"how many hops a question may go on, a number from 1 to {TTL_MAX}",
    "expiration_s": "how long others may remember an answer, in seconds up to 65535",
    "reaches": 'how numbers begin that are called for other members, as ["+1256"]',
    "preference": f"a number from 0 to {PREFERENCE_MAX}: of several who reach a number the greatest is taken",
    "name": "what you call it in quotes: of a peer small letters, digits and -, of a context what the others call it",
    "numbers": 'how numbers begin that may be asked for, as ["4930555"]; [""] is any',
    "weight": "a number from 0 to 59999: the smallest is called first",
    "inkey": "the file with the other side's public key, in quotes",
    "outkey": "the file with your own private key, in quotes",
    "include": 'the contexts in which it is asked, as ["e164"]',
    "permit": 'the contexts in which it may ask, as ["e164"]',
    "calls": 'the SIP servers that it may name: networks, addresses, names, as ["44.130.60.0/24", "pbx.example"]',
    "context": "a section [[context]], with two brackets, for each context",
    "peer": f"a section [[peer]], with two brackets, for each peer, {NEIGHBOURS_MAX} at most",
    **dict.fromkeys(_ABOUT, f"text in quotes, {NUMBER_BYTES_MAX // 4} characters at most"),
}


def load_dundi(state_dir: Path) -> EntityTerms | None:
    """What the file says; None if there is none. Raises LocalMisuse, in one line that names the line of the file."""
    path = state_dir / DUNDI_FILE
    if not path.exists():
        return None
    try:
        return _read(read_text(path), state_dir)
    except Mistake as mistake:
        raise LocalMisuse(f"{path}: {mistake}") from None


def _read(text: str, state_dir: Path) -> EntityTerms:
    lines = TomlLines(text)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except msgspec.ValidationError as error:
        kinds: dict[str, type[msgspec.Struct]] = {"": _File, "context": _Context, "peer": _Neighbour}
        raise Mistake(described(str(error), lines, _WANTED, kinds)) from None
    try:
        local = Address(str(ipaddress.ip_address(file.listen)), file.port)
    except ValueError:
        raise Mistake(f"{lines.words('', 0, 'listen')}listen: write {_WANTED['listen']}") from None
    neighbours = tuple(_terms(each, _At(lines, index), state_dir) for index, each in enumerate(file.peer))
    terms = EntityTerms(
        Eid.parse(file.eid),
        local,
        file.host,
        neighbours,
        tuple(OfferedContext(each.name, each.numbers, each.weight) for each in file.context),
        file.ttl,
        file.expiration_s,
        file.reaches,
        file.preference,
        {name: getattr(file, name) for name in _ABOUT},
    )
    _check(terms, lines)
    return terms


class _At:
    """Where settings of one peer stand."""

    def __init__(self, lines: TomlLines, index: int) -> None:
        self._lines = lines
        self._index = index

    def wrong(self, key: str, what: str) -> NoReturn:
        """Something is wrong with a setting. Raises Mistake."""
        raise Mistake(f"{self._lines.words('peer', self._index, key)}{what}")


def _terms(neighbour: _Neighbour, at: _At, state_dir: Path) -> NeighbourTerms:
    try:
        address = Address(*ip_port(neighbour.host, PORT))
    except LocalMisuse as error:
        at.wrong("host", f"host: {error}")
    if bool(neighbour.inkey) != bool(neighbour.outkey):
        at.wrong("inkey" if neighbour.inkey else "outkey", "inkey and outkey go together: name both files, or neither")
    keys = None
    if neighbour.inkey:
        keys = EntityKeys(_inkey(neighbour.inkey, at, state_dir), _outkey(neighbour.outkey, at, state_dir))
        if why := why_unusable(keys, random.SystemRandom()):
            at.wrong("outkey", why)
    return NeighbourTerms(
        neighbour.name,
        Eid.parse(neighbour.eid),
        address,
        keys,
        neighbour.include,
        frozenset(neighbour.permit),
        _networks(neighbour, address, at),
        frozenset(each.lower() for each in neighbour.calls if _HOST_NAME.fullmatch(each)),
    )


def _networks(neighbour: _Neighbour, address: Address, at: _At) -> tuple[IpNetwork, ...]:
    numeric = [each for each in neighbour.calls if not _HOST_NAME.fullmatch(each)]
    try:
        return tuple(ipaddress.ip_network(each) for each in numeric or (address.host,))
    except ValueError as error:
        at.wrong("calls", f"{error}: write {_WANTED['calls']}")


def _inkey(name: str, at: _At, state_dir: Path) -> RSAPublicKey:
    path = state_dir / name
    try:
        key = load_pem_public_key(read_file(path))
    except LocalMisuse as error:
        at.wrong("inkey", str(error))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size != KEY_BITS:
        at.wrong("inkey", f"{path} is no public key of RSA with {KEY_BITS} bits: copy NAME.pub from the Asterisk")
    return key


def _outkey(name: str, at: _At, state_dir: Path) -> RSAPrivateKey:
    path = state_dir / name
    try:
        data = read_file(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        key = load_pem_private_key(data, None)
    except LocalMisuse as error:
        at.wrong("outkey", str(error))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size != KEY_BITS:
        at.wrong(
            "outkey", f"{path} is no private key of RSA with {KEY_BITS} bits: `openssl genrsa -out {name} {KEY_BITS}`"
        )
    if mode & 0o077:
        at.wrong("outkey", f"others may read {path}: `chmod 600 {path}`")
    return key


def _check(terms: EntityTerms, lines: TomlLines) -> None:
    """What one setting says of another."""
    contexts = [each.name for each in terms.contexts]
    for index, name in enumerate(contexts):
        if name.lower() in map(str.lower, contexts[:index]):
            raise Mistake(f"{lines.words('context', index, 'name')}{name} is another context as well: leave one out")
    for index, each in enumerate(terms.neighbours):
        at, before = _At(lines, index), terms.neighbours[:index]
        if each.name in (other.name for other in before):
            at.wrong("name", f"{each.name} is the name of another peer as well: change one")
        if each.eid in (terms.eid, *(other.eid for other in before)):
            at.wrong("eid", f"{each.eid} is somebody else's as well: each entity has its own")
        if each.address in (other.address for other in before):
            at.wrong("host", f"{each.address} is another peer's as well: each has an address of its own")
        if (":" in each.address.host) != (":" in terms.local.host):
            at.wrong(
                "host", f"{each.address.host} is not reached from {terms.local.host}: set listen to the other kind"
            )
        for name in sorted(each.permit.difference(contexts)):
            at.wrong("permit", f"there is no context {name}: write a section [[context]] for it, or leave it out")
