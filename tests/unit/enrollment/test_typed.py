"""Names and passwords as people type them."""

from __future__ import annotations

import random
import re

import pytest

from p2psip.enrollment.passwords import (
    as_made_up,
    check_new_password,
    generate_password,
    generate_phone_password,
    typed_passwords,
)
from p2psip.enrollment.user_names import typed_names

LONG = "jje4-5qf8-7e3x-jqrz"


def test_phone_passwords_are_such_as_every_phone_takes() -> None:
    rng = random.Random(1)
    made = {check_new_password(generate_phone_password(rng)) for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch("[a-hjkmnp-z2-9]{10}", one) for one in made)
    assert len(set("".join(made))) == 31


def test_longer_ones_on_request() -> None:
    assert re.fullmatch("([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}", generate_password(random.Random(1)))


@pytest.mark.parametrize(
    "typed",
    [LONG, LONG.upper(), LONG.replace("-", ""), LONG.replace("-", " "), "Jje45qf87e3xjqrz", "jje45-qf87e-3xjqrz"],
)
def test_dashes_and_case_of_a_made_up_password_do_not_matter(typed: str) -> None:
    assert as_made_up(typed) == LONG


@pytest.mark.parametrize(
    "typed", ["", "mine", "a-B c", LONG[:-1], LONG + "a", "JjE4-5qf8-7e3x-jqrz", "jje4-5qf8-7e3x-jqr0", "päss-wort"]
)
def test_others_are_as_they_are(typed: str) -> None:
    assert as_made_up(typed) == typed


@pytest.mark.parametrize(
    ("password", "ways"),
    [
        ("k7mwx3hq9r", ["k7mwx3hq9r", "K7MWX3HQ9R", "K7mwx3hq9r"]),
        ("2345", ["2345"]),
        ("Ab-c", ["Ab-c", "ab-c", "AB-C", "Abc", "abc", "ABC"]),
    ],
)
def test_ways_to_type_a_phone_password(password: str, ways: list[str]) -> None:
    assert list(dict.fromkeys(typed_passwords(password))) == typed_passwords(password)
    assert set(typed_passwords(password)) >= set(ways)
    assert len(typed_passwords(password)) <= 8


def test_ways_to_type_a_name() -> None:
    assert typed_names("alice@club.example") == [
        "alice", "alice@club.example", "Alice", "Alice@club.example", "ALICE", "ALICE@club.example",
    ]  # fmt: skip
    assert typed_names("2001@club.example") == ["2001", "2001@club.example"]
