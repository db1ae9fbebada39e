"""The trunks of a peer: `trunks.toml` in its state directory; without the file there are none.

Every mistake in it is one line that says in which line of the file it is, and what to write. Passwords are in files of
their own, which only the peer's user may read.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.toml_lines import Mistake, TomlLines, described, parse_toml
from p2psip.enrollment.user_names import RULE, is_user_key
from p2psip.net.disk.files import read_text
from p2psip.sip.entities.gateway.limits import PREFIXES_MAX
from p2psip.sip.entities.gateway.offer import PREFERENCE_MAX
from p2psip.sip.entities.gateway.terms import EVERYBODY, TrunkTerms, is_number

TRUNKS_FILE = "trunks.toml"

TRUNKS_MAX = 8

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")

Text = Annotated[str, msgspec.Meta(pattern=r"^[^\s\"<>@\x00-\x1f\x7f]*$", max_length=128)]


class _Trunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[trunk]]`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    server: str
    user: Annotated[str, msgspec.Meta(pattern=r"^[^\s\"<>@\x00-\x1f\x7f]+$", max_length=64)]
    lines: tuple[str, ...]
    transport: Literal["UDP", "TCP", "TLS"] = "UDP"
    auth_user: Text = ""
    password_file: str = ""
    domain: Text = ""
    register: bool = True
    register_s: Annotated[int, msgspec.Meta(ge=60, le=7200)] = 300
    keep_alive_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 30
    prefixes: tuple[str, ...] = ()
    strip: Annotated[int, msgspec.Meta(ge=0, le=32)] = 0
    prepend: Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9*#]*$", max_length=32)] = ""
    emergency: tuple[str, ...] = ()
    calls: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2
    preference: Annotated[int, msgspec.Meta(ge=0, le=PREFERENCE_MAX)] = 50
    show_number: bool = False
    numbers: dict[str, object] = {}
    incoming: str = ""
    caller_prefix: Annotated[str, msgspec.Meta(pattern=r"^\+?[0-9*#]*$", max_length=32)] = ""
    also_from: tuple[str, ...] = ()
    local_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    ca_file: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    trunk: tuple[_Trunk, ...] = ()


_WANTED = {
    "name": "what you call it: small letters, digits and -, in quotes",
    "server": 'the host of the provider or PBX in quotes, with a port if it is not the usual one, as "pbx.lan:5070"',
    "user": "your user name there, in quotes",
    "lines": 'who may call out, as ["alice", "bob"], or ["*"] for every member of the overlay',
    "transport": '"UDP", "TCP" or "TLS"',
    "auth_user": "the user name for the password, in quotes, if it is another one than user",
    "password_file": "the file with the password, in quotes",
    "domain": "the domain of the account, in quotes, if it is not the server",
    "register": "true, or false where the other side knows your address",
    "register_s": "seconds, a number from 60 to 7200",
    "keep_alive_s": "seconds, a number up to 3600; 0 to ask the server never whether it is there",
    "prefixes": 'how numbers begin that are called through it, as ["+49", "00"]',
    "strip": "how many digits to take off in front, a number from 0 to 32",
    "prepend": "what to put in front, digits in quotes",
    "emergency": 'emergency numbers, as ["112"]',
    "calls": "how many at once, a number from 1 to 1000",
    "preference": f"a number from 0 to {PREFERENCE_MAX}: of several trunks with one prefix the greatest is taken",
    "show_number": "true to show a line's own number to who is called",
    "numbers": 'a section [trunk.numbers] with lines as "+4930555" = "alice"',
    "incoming": "the user whose phones ring for any other number, in quotes",
    "caller_prefix": "what to put in front of callers' numbers, digits in quotes",
    "also_from": 'addresses or networks, as ["203.0.113.0/28"]',
    "local_port": "a UDP port, 0 for any",
    "ca_file": "a file of certificates, in quotes",
    "trunk": "a section [[trunk]], with two brackets, for each trunk",
}


def load_trunks(state_dir: Path) -> tuple[TrunkTerms, ...]:
    """What the file says; nothing if there is none. Raises LocalMisuse, in one line that names the line of the file."""
    path = state_dir / TRUNKS_FILE
    if not path.exists():
        return ()
    try:
        return _read(read_text(path), state_dir)
    except Mistake as mistake:
        raise LocalMisuse(f"{path}: {mistake}") from None


def _read(text: str, state_dir: Path) -> tuple[TrunkTerms, ...]:
    lines = TomlLines(text)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except msgspec.ValidationError as error:
        raise Mistake(described(str(error), lines, _WANTED, {"": _File, "trunk": _Trunk})) from None
    if len(file.trunk) > TRUNKS_MAX:
        raise Mistake(f"{lines.words('trunk', TRUNKS_MAX)}there are more than {TRUNKS_MAX} trunks: leave some out")
    names = [each.name for each in file.trunk]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Mistake(
                f"{lines.words('trunk', index, 'name')}{name} is the name of another trunk as well: change one"
            )
    return tuple(_terms(each, _Where(lines, index), state_dir) for index, each in enumerate(file.trunk))


class _Where:
    """Where settings of one trunk stand."""

    def __init__(self, lines: TomlLines, index: int) -> None:
        self._lines = lines
        self._index = index

    def mistake(self, key: str, what: str) -> Mistake:
        """Something is wrong with a setting."""
        return Mistake(f"{self._lines.words('trunk', self._index, key)}{what}")

    def in_numbers(self, number: str, what: str) -> Mistake:
        """Something is wrong with one of its numbers: of which trunk the section is, the number alone tells."""
        sections = range(self._index + 1)
        at = [found for each in sections if (found := self._lines.of("trunk.numbers", each, number)) is not None]
        return Mistake(f"line {at[-1]}: {what}" if at else what)


def _terms(trunk: _Trunk, where: _Where, state_dir: Path) -> TrunkTerms:
    server = _HOST.fullmatch(trunk.server)
    if server is None or int(server[2] or 0) > 65535:
        raise where.mistake("server", f"server: write {_WANTED['server']}")
    _check_numbers(trunk, where)
    _check_lines(trunk, where)
    if trunk.ca_file and trunk.transport != "TLS":
        raise where.mistake("ca_file", f'ca_file is for TLS, and transport is "{trunk.transport}": change one')
    if trunk.show_number and not trunk.numbers:
        raise where.mistake("show_number", f"show_number, and no line has a number: write {_WANTED['numbers']}")
    return TrunkTerms(
        name=trunk.name,
        host=server[1],
        port=int(server[2] or 0),
        user=trunk.user,
        transport=trunk.transport,
        auth_user=trunk.auth_user,
        password=_password(trunk, where, state_dir),
        domain=trunk.domain,
        registers=trunk.register,
        expires_s=trunk.register_s,
        keep_alive_s=trunk.keep_alive_s,
        prefixes=trunk.prefixes,
        strip=trunk.strip,
        prepend=trunk.prepend,
        emergency=trunk.emergency,
        calls_max=trunk.calls,
        lines=frozenset(trunk.lines),
        preference=trunk.preference,
        shows_number=trunk.show_number,
        numbers={number: str(user) for number, user in trunk.numbers.items()},
        incoming=trunk.incoming,
        caller_prefix=trunk.caller_prefix,
        also_from=_networks(trunk, where),
        local_port=trunk.local_port,
        ca_file=trunk.ca_file,
    )


def _check_numbers(trunk: _Trunk, where: _Where) -> None:
    for key in ("prefixes", "emergency"):
        numbers: tuple[str, ...] = getattr(trunk, key)
        if len(numbers) > PREFIXES_MAX:
            raise where.mistake(key, f"{key} has more than {PREFIXES_MAX}: leave some out")
        for number in numbers:
            if not is_number(number):
                raise where.mistake(key, f"{number!r} is no number as phones dial it: write {_WANTED[key]}")
    shortest = min(map(len, trunk.prefixes), default=0)
    if trunk.strip > shortest:
        raise where.mistake("strip", f"strip is {trunk.strip}, and the shortest of prefixes has {shortest} digits")


def _check_lines(trunk: _Trunk, where: _Where) -> None:
    for name in trunk.lines:
        if name != EVERYBODY and not is_user_key(name):
            raise where.mistake("lines", f"{name!r} is no user's name: write {RULE}")
    if trunk.incoming and not is_user_key(trunk.incoming):
        raise where.mistake("incoming", f"{trunk.incoming!r} is no user's name: write {RULE}")
    for number, user in trunk.numbers.items():
        if not is_number(number):
            raise where.in_numbers(number, f"{number!r} is no number: write {_WANTED['numbers']}")
        if not isinstance(user, str) or not is_user_key(user):
            raise where.in_numbers(number, f'write a user\'s name in quotes, as "{number}" = "alice"')


def _networks(trunk: _Trunk, where: _Where) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    try:
        return tuple(ipaddress.ip_network(each) for each in trunk.also_from)
    except ValueError as error:
        raise where.mistake("also_from", f"{error}: write {_WANTED['also_from']}") from None


def _password(trunk: _Trunk, where: _Where, state_dir: Path) -> str:
    """The first line of its file. Never in the file of trunks itself, which one shows to others who help."""
    if not trunk.password_file:
        return ""
    path = state_dir / trunk.password_file
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = read_text(path)
    except OSError as error:
        raise where.mistake("password_file", f"cannot read {path}: {error.strerror}") from None
    except LocalMisuse as error:
        raise where.mistake("password_file", str(error)) from None
    if mode & 0o077:
        raise where.mistake("password_file", f"others may read {path}: `chmod 600 {path}`")
    password = text.partition("\n")[0].rstrip("\r")
    if not password:
        raise where.mistake("password_file", f"{path} is empty: write the password into it, in one line")
    return password
