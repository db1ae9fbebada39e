"""The directory by LDAP: the searches that phones make, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listed_people import OVERLAY, PEOPLE, person

from p2psip.directory.ber import ENUMERATED, OCTETS, SEQUENCE, BerError, Tlv, integer, octets, read_all, tlv
from p2psip.directory.ldap_conversation import (
    ENTRIES_MAX,
    ONE_LEVEL,
    REQUEST_MAX,
    SUBTREE,
    LdapConversation,
    ResultCode,
    base_of,
)
from p2psip.directory.ldap_filter import read_filter
from p2psip.directory.listing import Listed, one_a_user

BASE = "dc=club,dc=example"


def written(text: str) -> bytes:
    """A filter as phones send it, from how their settings have it (RFC 4515)."""
    assert text[0] == "(", text
    assert text[-1] == ")", text
    inner = text[1:-1]
    if inner[0] in "&|!":
        parts, depth, begin = [], 0, 1
        for at, each in enumerate(inner[1:], 1):
            depth += (each == "(") - (each == ")")
            if not depth and each == ")":
                parts.append(written(inner[begin : at + 1]))
                begin = at + 1
        return tlv({"&": 0xA0, "|": 0xA1, "!": 0xA2}[inner[0]], *parts)
    name, sign, value = re.fullmatch("([A-Za-z]+)(=|>=|<=|~=)(.*)", inner).groups()  # type: ignore[union-attr]
    if sign != "=":
        return tlv({">=": 0xA5, "<=": 0xA6, "~=": 0xA8}[sign], octets(name), octets(value))
    if value == "*":
        return tlv(0x87, name.encode())
    if "*" not in value:
        return tlv(0xA3, octets(name), octets(value))
    first, *between, last = value.split("*")
    pieces = [tlv(0x80, first.encode())] if first else []
    pieces += [tlv(0x81, each.encode()) for each in between if each]
    pieces += [tlv(0x82, last.encode())] if last else []
    return tlv(0xA4, octets(name), tlv(SEQUENCE, *pieces))


def message(number: int, operation: bytes, *controls: bytes) -> bytes:
    """A request."""
    return tlv(SEQUENCE, integer(number), operation, *([tlv(0xA0, *controls)] if controls else []))


def bind(version: int = 3, password: str = "", tag: int = 0x80) -> bytes:
    """A bind."""
    return tlv(0x60, integer(version), octets(""), tlv(tag, password.encode()))


def search(
    wanted: str, *attributes: str, base: str = BASE, scope: int = SUBTREE, limit: int = 0, types_only: bool = False
) -> bytes:
    """A search."""
    flags = (integer(scope, ENUMERATED), integer(0, ENUMERATED), integer(limit), integer(0))
    names = tlv(SEQUENCE, *map(octets, attributes))
    return tlv(0x63, octets(base), *flags, tlv(0x01, b"\xff" if types_only else b"\0"), written(wanted), names)


class Phone:
    """One at the other end."""

    def __init__(self, people: list[Listed] = PEOPLE) -> None:
        self.server = LdapConversation(OVERLAY)
        self.people = people

    def say(self, *requests: bytes) -> list[Tlv]:
        """What is answered, operation by operation."""
        for asked in self.server.receive(b"".join(requests)):
            self.server.answer(asked, self.people)
        return [each.children()[1] for each in read_all(self.server.take())]

    def find(self, wanted: str, *attributes: str, **options: object) -> list[str]:
        """The names that a search gives."""
        answers = self.say(message(7, search(wanted, *attributes, **options)))  # type: ignore[arg-type]
        assert code_of(answers[-1]) is ResultCode.SUCCESS, answers[-1]
        found = [values_of(each) for each in answers[:-1]]
        return [each["cn"][0] for each in found if "cn" in each]


def code_of(result: Tlv) -> ResultCode:
    """Of an answer."""
    return ResultCode(result.children()[0].number())


def values_of(entry: Tlv) -> dict[str, list[str]]:
    """What an entry has."""
    found = {}
    for attribute in entry.children()[1].children():
        name, values = attribute.children()
        found[name.contents.decode()] = [value.contents.decode() for value in values.children()]
    return found


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        # Grandstream, Yealink: (|(cn=%)(sn=%)), with a * behind what was typed, or on both sides.
        ("(|(cn=al*)(sn=al*))", ["Alice Hill DL1ABC (alice)", "Alice Hill DL1ABC (mallory)"]),
        ("(|(cn=*valley*)(sn=*valley*))", ["Bob <Valley> & Sons"]),
        ("(|(cn=mü*)(sn=mü*))", ["José Müller"]),
        ("(|(cn=*)(sn=*))", None),
        # Fanvil: (|(cn=%)(sn=%)) and (|(telephoneNumber=%)(mobile=%)(other=%)).
        ("(|(telephoneNumber=20*)(mobile=20*)(other=20*))", ["Alice Hill DL1ABC (alice)"]),
        ("(&(telephoneNumber=*)(sn=müller*))", ["José Müller"]),
        # A number that calls is sought whole, written as somebody wrote it.
        ("(telephoneNumber=0049 30 12)", ["José Müller"]),
        ("(telephoneNumber=200)", ["Alice Hill DL1ABC (alice)"]),
        # Cisco: givenName and sn, with objectClass.
        ("(&(objectclass=person)(&(givenName=Jos*)(sn=*)))", ["José Müller"]),
        ("(&(cn=*)(!(cn=a*))(!(telephoneNumber=b*)))", ["carol", "José Müller"]),
        ("(cn=*li*ll*(m*y))", ["Alice Hill DL1ABC (mallory)"]),
        ("(cn~=CAROL)", ["carol"]),
        ("(&(uid>=c)(uid<=d))", ["carol"]),
        ("(mail=*)", []),
    ],
)
def test_searches_that_phones_make(wanted: str, names: list[str] | None) -> None:
    everybody = [
        "Alice Hill DL1ABC (alice)",
        "Alice Hill DL1ABC (mallory)",
        "Bob <Valley> & Sons",
        "carol",
        "José Müller",
    ]
    assert Phone().find(wanted) == (everybody if names is None else names)


def test_only_what_is_wanted_of_an_entry_is_given() -> None:
    phone = Phone()
    entry, done = phone.say(message(2, search("(telephoneNumber=200)", "CN", "telephoneNumber", "sn")))
    assert values_of(entry) == {"cn": ["Alice Hill DL1ABC (alice)"], "sn": ["Hill"], "telephoneNumber": ["200"]}
    assert code_of(done) is ResultCode.SUCCESS
    entry, _ = phone.say(message(3, search("(telephoneNumber=200)", "1.1")))
    assert values_of(entry) == {}
    entry, _ = phone.say(message(4, search("(uid=carol)", "cn", types_only=True)))
    assert values_of(entry) == {"cn": []}
    entry, _ = phone.say(message(5, search("(uid=alice)")))
    assert {"o": ["Hill"], "description": ["DL1ABC"]}.items() <= values_of(entry).items()


def test_there_is_a_limit_that_the_phone_has_and_one_of_ours() -> None:
    phone = Phone(one_a_user(person(f"user{number:04}") for number in range(ENTRIES_MAX + 5)))
    answers = phone.say(message(2, search("(cn=*)", limit=3)))
    assert len(answers) == 4
    assert code_of(answers[-1]) is ResultCode.SIZE_LIMIT_EXCEEDED
    answers = phone.say(message(3, search("(cn=*)", "cn")))
    assert len(answers) == ENTRIES_MAX + 1
    assert code_of(answers[-1]) is ResultCode.SIZE_LIMIT_EXCEEDED
    assert code_of(phone.say(message(4, search("(cn=user000*)", limit=10)))[-1]) is ResultCode.SUCCESS


def test_binds() -> None:
    phone = Phone()
    assert [code_of(each) for each in phone.say(message(1, bind()))] == [ResultCode.SUCCESS]
    assert [code_of(each) for each in phone.say(message(2, bind(password="x")))] == [ResultCode.SUCCESS]
    assert code_of(phone.say(message(3, bind(2)))[0]) is ResultCode.PROTOCOL_ERROR
    assert code_of(phone.say(message(4, bind(tag=0xA3)))[0]) is ResultCode.AUTH_METHOD_NOT_SUPPORTED
    assert not phone.server.is_over
    assert phone.say(message(5, tlv(0x42))) == []
    assert phone.server.is_over


def test_all_else_is_refused_by_the_right_code() -> None:
    phone = Phone()
    for tag, answer in {0x66: 0x67, 0x68: 0x69, 0x4A: 0x6B, 0x6C: 0x6D, 0x6E: 0x6F}.items():
        (refused,) = phone.say(message(1, tlv(tag, b"")))
        assert (refused.tag, code_of(refused)) == (answer, ResultCode.UNWILLING_TO_PERFORM)
    (refused,) = phone.say(message(2, tlv(0x77, tlv(0x80, b"1.3.6.1.4.1.1466.20037"))))
    assert (refused.tag, code_of(refused)) == (0x78, ResultCode.PROTOCOL_ERROR)
    critical = tlv(SEQUENCE, octets("1.2.840.113556.1.4.319"), tlv(0x01, b"\xff"))
    (refused,) = phone.say(message(3, search("(cn=*)"), critical))
    assert code_of(refused) is ResultCode.UNAVAILABLE_CRITICAL_EXTENSION
    assert len(phone.say(message(4, search("(uid=carol)"), tlv(SEQUENCE, octets("1.2.840.113556.1.4.319"))))) == 2
    assert phone.say(message(5, tlv(0x50, b"\x01"))) == []
    (refused,) = phone.say(message(6, search("(cn=*)", base="dc=other,dc=example")))
    assert code_of(refused) is ResultCode.NO_SUCH_OBJECT
    assert not phone.server.is_over


def test_bases_and_scopes() -> None:
    phone = Phone()
    assert base_of(OVERLAY) == BASE
    assert len(phone.say(message(1, search("(objectClass=*)", scope=ONE_LEVEL)))) == len(PEOPLE) + 1
    assert len(phone.say(message(2, search("(objectClass=*)")))) == len(PEOPLE) + 2
    (root, _) = phone.say(message(3, search("(objectClass=*)", base="", scope=0)))
    assert values_of(root)["namingContexts"] == [BASE]
    (one, _) = phone.say(message(4, search("(objectClass=*)", base=f"uid=carol, {BASE.upper()}", scope=0)))
    assert values_of(one)["cn"] == ["carol"]
    assert phone.find("(cn=c*)", base="") == ["carol"]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x30\x80\x02\x01\x01",
        b"\x30\x84\x7f\xff\xff\xff",
        tlv(SEQUENCE, integer(1)),
        message(1, tlv(0x7F, b"")),
        message(1, tlv(0x63, b"")),
        message(1, search("(cn=*)").replace(b"\x87\x02cn", b"\xa9\x02cn")),
        tlv(SEQUENCE, b"\x02\x01\xff", bind()),
        bytes([0x30, 0x82]) + (REQUEST_MAX + 1).to_bytes(2, "big"),
    ],
)
def test_what_is_no_request_ends_it_with_the_notice_of_disconnection(said: bytes) -> None:
    phone = Phone()
    (notice,) = phone.say(said)
    assert (notice.tag, code_of(notice)) == (0x78, ResultCode.PROTOCOL_ERROR)
    assert phone.server.is_over
    assert phone.say(message(2, bind())) == []


def test_requests_come_in_any_pieces() -> None:
    phone = Phone()
    said = message(1, bind()) + message(2, search("(uid=carol)"))
    answers = [each for at in range(len(said)) for each in phone.say(said[at : at + 1])]
    assert [each.tag for each in answers] == [0x61, 0x64, 0x65]


def test_a_filter_that_is_too_deep_or_too_wide_is_none() -> None:
    deep = tlv(0x87, b"cn")
    for _ in range(60):
        deep = tlv(0xA2, deep)
    with pytest.raises(BerError):
        read_filter(read_all(deep)[0])
    with pytest.raises(BerError):
        read_filter(read_all(tlv(0xA0, *([tlv(0x87, b"cn")] * 100)))[0])


def test_pieces_of_a_value_take_no_longer_than_it_is() -> None:
    matches = read_filter(read_all(written("(cn=" + "a*" * 60 + "b)"))[0])
    assert not matches({"cn": ["a" * 5000]})
    assert matches({"cn": ["a" * 5000 + "b"]})


@given(st.binary(max_size=200))
def test_whatever_comes_is_answered_or_ends_it(said: bytes) -> None:
    for start in (b"", message(1, search("(cn=a*)"))[:20], b"\x30\x20\x02\x01\x01\x63"):
        phone = Phone()
        phone.say(start + said)


@given(st.data())
def test_a_search_with_some_bytes_changed_is_answered_or_ends_it(data: st.DataObject) -> None:
    said = bytearray(message(1, search("(|(cn=a*b)(sn=*c*)(!(uid=x)))", "cn")))
    for _ in range(data.draw(st.integers(1, 4))):
        said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    Phone().say(bytes(said))


def test_numbers_and_lengths_are_written_as_they_are_read() -> None:
    for value in (0, 127, 128, 255, 256, 65535, 2**31 - 1):
        assert read_all(integer(value))[0].number() == value
    for length in (0, 127, 128, 255, 256, 70000):
        assert read_all(tlv(OCTETS, bytes(length)))[0].contents == bytes(length)
