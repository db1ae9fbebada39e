"""What a join code says survives being copied, typed and read out; what is damaged is noticed."""

from __future__ import annotations

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.join_codes import (
    DAMAGED,
    FINGERPRINT_BYTES,
    PLACES_MAX,
    TOKEN_BYTES,
    JoinCode,
    MeetingPlace,
    _checksum,
    _encoded,
    places_of,
)

FINGERPRINT = bytes(range(FINGERPRINT_BYTES))
TOKEN = bytes(range(100, 100 + TOKEN_BYTES))
HILL = MeetingPlace("192.168.7.1", 8443, 6084)
CODE = JoinCode("club.example", FINGERPRINT, TOKEN, (HILL,))


def test_it_is_short_and_says_for_what_it_is() -> None:
    text = str(CODE)
    assert text.startswith("club.example/")
    assert len(text) < 90
    line = JoinCode("club.example", FINGERPRINT, TOKEN, (HILL,), admits_machine=False, user="carol")
    assert str(line).startswith("carol@club.example/")
    assert TOKEN.hex() not in repr(CODE)
    assert repr(TOKEN) not in repr(CODE)


hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(["hill.example", "x", "a-b.c"]),
)
ports = st.integers(0, 65535)
codes = st.builds(
    JoinCode,
    st.sampled_from(["club.example", "x", "a-b.c-d.e"]),
    st.binary(min_size=FINGERPRINT_BYTES, max_size=FINGERPRINT_BYTES),
    st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES),
    st.lists(st.builds(MeetingPlace, hosts, ports, ports), max_size=PLACES_MAX).map(tuple),
    st.booleans(),
    st.sampled_from(["", "carol", "1-2_3.4"]),
)


@given(codes)
def test_what_is_written_is_read(code: JoinCode) -> None:
    assert JoinCode.parse(str(code)) == code
    names, _, letters = str(code).partition("/")
    assert JoinCode.parse(f" {names.upper()} / {letters.replace('-', ' ').upper()}\n") == code
    assert JoinCode.parse(f"{names}/{letters.replace('0', 'o').replace('1', 'l')}") == code


def test_every_single_mistake_is_noticed() -> None:
    """Of a letter, of two neighbours that were swapped, of one left out or typed twice."""
    text = str(CODE)
    wrong = set[str]()
    for at, letter in enumerate(text):
        wrong |= {text[:at] + other + text[at + 1 :] for other in string.printable if other != letter}
        wrong |= {text[:at] + text[at + 1 :], text[:at] + letter + text[at:]}
        wrong.add(text[:at] + text[at + 1 : at + 2] + letter + text[at + 2 :])
    mistakes = 0
    for attempt in wrong:
        shape = "".join(attempt.lower().split()).partition("/")
        spelt = (
            shape[0] + "/" + "".join("1" if c in "il" else "0" if c == "o" else c for c in shape[2].replace("-", ""))
        )
        meant = text.partition("/")
        if spelt == meant[0] + "/" + meant[2].replace("-", ""):
            continue
        mistakes += 1
        with pytest.raises(LocalMisuse, match="damaged or mistyped"):
            JoinCode.parse(attempt)
    assert mistakes > 5000


def _meant(text: str) -> str:
    """A code without what does not matter in it."""
    names, slash, letters = "".join(text.lower().split()).partition("/")
    return names + slash + letters.replace("-", "").translate(str.maketrans("ilo", "110"))


@given(st.text(max_size=200))
def test_nothing_but_misuse_comes_of_text(text: str) -> None:
    with pytest.raises(LocalMisuse):
        JoinCode.parse(text)


def test_codes_that_somebody_has_made_up_with_the_right_checksum() -> None:
    """Whoever makes one can put anything in: it is read, or refused in one line."""
    rng = random.Random(5)
    refused = 0
    for _ in range(3000):
        data = bytes([0x10 | rng.choice((0, 1, 1, 9))]) + rng.randbytes(26 + rng.choice((0, 1, 5, 6, 7, 8, 20)))
        made_up = _with_checksum("club.example", data)
        try:
            code = JoinCode.parse(made_up)
        except LocalMisuse:
            refused += 1
            with pytest.raises(LocalMisuse, match=re.escape(DAMAGED)):
                JoinCode.parse(made_up)
        else:
            assert JoinCode.parse(str(code)) == code
    assert 100 < refused < 2900
    with pytest.raises(LocalMisuse, match="another release"):
        JoinCode.parse(_with_checksum("club.example", bytes([0x21]) + FINGERPRINT + TOKEN))
    with pytest.raises(LocalMisuse, match="damaged"):
        JoinCode.parse("club.example/" + "0" * 10_000)


def _with_checksum(names: str, data: bytes) -> str:
    return f"{names}/{_encoded(data + _checksum(names, data))}"


def test_a_host_that_enrolls_and_bootstraps_is_one_place() -> None:
    found = places_of([("192.0.2.1", 8443), ("hill.example", 443)], [("192.0.2.1", 6084), ("192.0.2.9", 6084)])
    assert found == (
        MeetingPlace("192.0.2.1", 8443, 6084),
        MeetingPlace("hill.example", 443),
        MeetingPlace("192.0.2.9", 0, 6084),
    )
    assert len(places_of([(f"192.0.2.{n}", 8443) for n in range(40)], [])) == PLACES_MAX
