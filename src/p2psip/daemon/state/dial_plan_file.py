"""The operator's dial plan: `dialplan.toml` in the state directory of a peer; without the file there is none.

Every mistake in it is one line that says in which line of the file it is, and what to write.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.rooms_file import load_rooms
from p2psip.daemon.state.toml_lines import Mistake, TomlLines, parse_toml
from p2psip.enrollment.user_names import RULE, is_user_key
from p2psip.net.disk.files import read_text
from p2psip.sip.entities.handling.call_handling import RING_S_LEAST, RING_S_MOST
from p2psip.sip.entities.handling.star_codes import SERVICES, BadCode, StarCodes
from p2psip.sip.entities.numbers.dial_plan import FIRST, LAST, USUAL, BadRule, DialPlan, Rule
from p2psip.sip.entities.numbers.groups import GROUPS_MAX, IN_ORDER_MAX, MEMBERS_MAX, Group, Ringing
from p2psip.sip.entities.numbers.numbering import Emergency, Numbering
from p2psip.sip.entities.numbers.telephone import on_keypad

DIAL_PLAN_FILE = "dialplan.toml"

User = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

RESPONDERS_MAX = 6
"""Of users who answer emergency calls: each is one of the turns that a call may take (ServerLimits.turns)."""

_DIALLED = re.compile(r"[0-9*#]+")


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[rule]]`."""

    pattern: str
    strip: Annotated[int, msgspec.Meta(ge=0, le=32)] = 0
    prepend: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-z*#+._-]*$", max_length=32)] = ""
    to: Annotated[str, msgspec.Meta(max_length=64)] = ""
    refuse: Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=120)] = ""
    lines: tuple[User, ...] = ()
    priority: Annotated[int, msgspec.Meta(ge=FIRST, le=LAST)] = USUAL


class _Emergency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[emergency]` section."""

    to: tuple[User, ...]
    numbers: tuple[User, ...] = ()


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[group.NAME]`."""

    members: tuple[User, ...]
    ring: Ringing = "all"
    ring_s: Annotated[int, msgspec.Meta(ge=RING_S_LEAST, le=RING_S_MOST)] = 20
    otherwise: Annotated[str, msgspec.Meta(max_length=64)] = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    callsigns: tuple[User, ...] = ()
    mailbox: str = ""
    extensions: dict[str, object] = {}
    rule: tuple[_Rule, ...] = ()
    emergency: _Emergency | None = None
    codes: dict[str, object] = {}
    group: dict[str, _Group] = {}


_WANTED = {
    "pattern": 'a pattern in quotes, as "9XXX" or "00."',
    "strip": "how many digits to take off in front, a number from 0 to 32",
    "prepend": "what to put in front, in quotes: digits, lower-case letters, * # + . _ -, 32 at most",
    "to": "a user's name in quotes",
    "refuse": "why, in quotes and one line of 120 characters at most: the phone shows it",
    "lines": 'a list of names, as ["alice", "bob"]',
    "priority": f"a number from {FIRST} to {LAST}: smaller ones are asked first",
    "numbers": 'a list of numbers in quotes, as ["112", "911"]',
    "callsigns": 'a list of names, as ["dl1abc", "oe3xyz"]',
    "extensions": 'a section [extensions] with lines as 42 = "bob"',
    "rule": "a section [[rule]], with two brackets, for each rule",
    "emergency": "a section [emergency]",
    "codes": 'a section [codes] with lines as forward = "*72"',
    "mailbox": 'the user who keeps messages, in quotes, as "voicemail"',
    "group": 'a section as [group.sales], with members = ["alice", "bob"]',
    "members": 'a list of users, as members = ["alice", "bob"]',
    "ring": '"all" or "in-order"',
    "ring_s": f"for how many seconds it rings, a number from {RING_S_LEAST} to {RING_S_MOST}",
    "otherwise": "the user who is called if nobody answers, in quotes",
}


def load_numbering(state_dir: Path) -> Numbering:
    """What the file says, nothing if there is none; and that of rooms. Raises LocalMisuse, in one line that names the
    line of the file.
    """
    path, (rooms, pages) = state_dir / DIAL_PLAN_FILE, load_rooms(state_dir)
    if not path.exists():
        return Numbering(rooms=rooms, pages=pages)
    try:
        return replace(_read(read_text(path)), rooms=rooms, pages=pages)
    except Mistake as mistake:
        raise LocalMisuse(f"{path}: {mistake}") from None


def _read(text: str) -> Numbering:
    lines = TomlLines(text)
    try:
        file = msgspec.convert(parse_toml(text), _File)
    except msgspec.ValidationError as error:
        raise Mistake(_described(str(error), lines)) from None
    rules = [*_extensions(file, lines), *_rules(file, lines), *_callsigns(file, lines)]
    try:
        codes = _codes(file, lines)
        _check_codes(codes, file, lines)
        emergency, groups = _emergency(file, lines), _groups(file, lines)
        return Numbering(DialPlan(tuple(rules)), codes, emergency, groups, _mailbox(file, lines))
    except BadRule as error:
        raise Mistake(str(error)) from None


def _described(error: str, lines: TomlLines) -> str:
    """A setting of a wrong kind: where it is, and what it takes."""
    if of_group := re.search(r" - at `\$\.group\[\.\.\.\](?:\.(\w+))?", error):
        return _group_described(error, of_group[1] or "", lines)
    found = re.search(r" - at `\$\.?(\w*)(?:\[(\d+)\])?(?:\.(\w+))?", error)
    section, index, key = (found[1], int(found[2] or 0), found[3] or "") if found else ("", 0, "")
    if section == "emergency" and (key == "to" or "`to`" in error):
        where = lines.words(section, 0, "to")
        return f'{where}to names who answers emergency calls: write a list of users, as to = ["desk", "warden"]'
    if unknown := re.search(r"unknown field `(.+?)`", error):
        known = _Rule if section == "rule" else _Emergency if section == "emergency" else _File
        if section and unknown[1] == "callsigns":
            return _misplaced(lines.words(section, index, unknown[1]))
        where = lines.words(section, index, unknown[1]) or lines.words(unknown[1])
        return f"{where}there is no setting {unknown[1]}; there are {', '.join(known.__struct_fields__)}"
    if missing := re.search(r"missing required field `(.+?)`", error):
        return (
            f"{lines.words(section, index)}there is no {missing[1]} in it: write {missing[1]} = {_WANTED[missing[1]]}"
        )
    where = lines.words(section, index, key) or lines.words("", 0, section)
    name = key if key in _WANTED else section
    return f"{where}{name}: write {_WANTED.get(name, error)}"


def _group_described(error: str, key: str, lines: TomlLines) -> str:
    """The same of a group, of which msgspec does not say which one: the first that has such a setting."""
    unknown = re.search(r"unknown field `(.+?)`", error)
    missing = re.search(r"missing required field `(.+?)`", error)
    wrong = unknown or missing
    name = wrong[1] if wrong else key
    sections = lines.starting("group.")
    where = next((at for each in sections if (at := lines.assigned(each, name))), "") or lines.words(
        *sections[:1] or ("group",)
    )
    if unknown:
        if unknown[1] == "callsigns":
            return _misplaced(where)
        return f"{where}there is no setting {name}; there are {', '.join(_Group.__struct_fields__)}"
    return f"{where}{name or 'group'}: write {_WANTED.get(name or 'group', error)}"


def _misplaced(where: str) -> str:
    return f"{where}callsigns stand above all sections: move them to the top of the file"


def _extensions(file: _File, lines: TomlLines) -> list[Rule]:
    made = []
    for number, user in file.extensions.items():
        where = lines.words("extensions", 0, number)
        if number == "callsigns" and isinstance(user, list):
            raise Mistake(_misplaced(where))
        if isinstance(user, dict):
            dotted = f"{number}.{next(iter(user), '')}"
            raise Mistake(f"{lines.words('extensions', 0, dotted)}{dotted} is no number: leave the dot out")
        if not isinstance(user, str):
            raise Mistake(f'{where}write a name in quotes, as {number} = "bob"')
        _check_user(user, where)
        if re.search("[XZN.!]|\\[", number):
            raise Mistake(f"{where}{number!r} is a pattern, and extensions are numbers: write a [[rule]] for it")
        made.append(_made(where, pattern=number, to=user, priority=FIRST))
    return made


def _rules(file: _File, lines: TomlLines) -> list[Rule]:
    made = []
    for index, rule in enumerate(file.rule):
        if rule.to:
            _check_user(rule.to, lines.words("rule", index, "to"))
        for name in rule.lines:
            _check_user(name, lines.words("rule", index, "lines"))
        try:
            made.append(_rule(f"rule {index + 1} (line {lines.of('rule', index)})", rule))
        except BadRule as error:
            raise Mistake(f"{lines.words('rule', index, error.what)}{error}") from None
    return made


def _rule(where: str, rule: _Rule) -> Rule:
    names = frozenset(rule.lines)
    return Rule(rule.pattern, where, rule.strip, rule.prepend, rule.to, rule.refuse, names, rule.priority)


def _callsigns(file: _File, lines: TomlLines) -> list[Rule]:
    """What is spelt alike on the keypad is a collision, which only whoever writes the file can resolve."""
    where = lines.words("", 0, "callsigns")
    by_number: dict[str, str] = {}
    for name in file.callsigns:
        _check_user(name, where)
        number = on_keypad(name)
        if (other := by_number.setdefault(number, name)) != name:
            both = f"{other} and {name} are both {number} on the keypad"
            raise Mistake(f"{where}{both}: leave one out, and give it a number in [extensions]")
    return [_made(where, pattern=number, to=name, priority=LAST) for number, name in by_number.items()]


def _made(where: str, *, pattern: str, to: str, priority: int) -> Rule:
    try:
        return Rule(pattern, where.rstrip(": ") or DIAL_PLAN_FILE, to=to, priority=priority)
    except BadRule as error:
        raise Mistake(f"{where}{error}") from None


def _codes(file: _File, lines: TomlLines) -> StarCodes:
    for service, code in file.codes.items():
        where = lines.words("codes", 0, service)
        if service == "callsigns" and isinstance(code, list):
            raise Mistake(_misplaced(where))
        if service not in SERVICES:
            raise Mistake(f"{where}there is no service {service}; there are {', '.join(SERVICES)}")
        if not isinstance(code, str):
            raise Mistake(f'{where}write a code in quotes, as {service} = "{SERVICES[service].code}", or "" for none')
    try:
        return StarCodes({service: str(code) for service, code in file.codes.items()})
    except BadCode as error:
        raise Mistake(f"{lines.words('codes', 0, error.service)}{error}") from None


def _check_codes(codes: StarCodes, file: _File, lines: TomlLines) -> None:
    """An extension, or a rule, for what is dialled to have a service would take that away without a word."""
    meant = [(number, lines.words("extensions", 0, number)) for number in file.extensions]
    meant += [(rule.pattern, lines.words("rule", index, "pattern")) for index, rule in enumerate(file.rule)]
    for number, where in meant:
        if (found := codes.read(number)) is not None:
            how = "leave it out, or give the service another code in [codes]"
            raise Mistake(f"{where}{number} is the star code for {found[0]}: {how}")


def _emergency(file: _File, lines: TomlLines) -> Emergency:
    if file.emergency is None:
        return Emergency()
    if not file.emergency.to:
        raise Mistake(f"{lines.words('emergency', 0, 'to')}to is empty: name who answers emergency calls")
    if len(file.emergency.to) > RESPONDERS_MAX:
        raise Mistake(f"{lines.words('emergency', 0, 'to')}to has more than {RESPONDERS_MAX} users: leave some out")
    for name in file.emergency.to:
        _check_user(name, lines.words("emergency", 0, "to"))
    for number in file.emergency.numbers:
        if not _DIALLED.fullmatch(number):
            where = lines.words("emergency", 0, "numbers")
            raise Mistake(f'{where}{number!r} is no number as phones dial it: write digits, * and #, as "112"')
    return Emergency(frozenset(file.emergency.numbers), file.emergency.to)


def _groups(file: _File, lines: TomlLines) -> dict[str, Group]:
    if len(file.group) > GROUPS_MAX:
        raise Mistake(f"{lines.words('group')}there are more than {GROUPS_MAX} groups: leave some out")
    return {name: _group(name, group, file, lines) for name, group in file.group.items()}


def _group(name: str, group: _Group, file: _File, lines: TomlLines) -> Group:
    section = f"group.{name}"
    _check_user(name, lines.words(section))
    at = lines.words(section, 0, "members")
    members = tuple(dict.fromkeys(group.members))
    for user in members:
        _check_user(user, at)
        if user in file.group:
            # So no phone rings twice, and no group rings for ever.
            raise Mistake(f"{at}{user} is a group as well: name its members here")
    most = IN_ORDER_MAX if group.ring == "in-order" else MEMBERS_MAX
    if not 0 < len(members) <= most:
        raise Mistake(f"{at}a group that rings {group.ring} has 1 to {most} members, and this one {len(members)}")
    if group.otherwise:
        where = lines.words(section, 0, "otherwise")
        _check_user(group.otherwise, where)
        if group.otherwise == name or group.otherwise in members:
            raise Mistake(f"{where}{group.otherwise} has not answered then: name somebody else, or leave it out")
    return Group(members, group.ring, group.ring_s, group.otherwise)


def _mailbox(file: _File, lines: TomlLines) -> str:
    if file.mailbox:
        _check_user(file.mailbox, lines.words("", 0, "mailbox"))
    return file.mailbox


def _check_user(name: str, where: str) -> None:
    if not is_user_key(name):
        raise Mistake(f"{where}{name!r} is no user's name: write {RULE}")
