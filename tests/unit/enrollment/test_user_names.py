"""Which names an overlay has, and its further domains (RFC 6940 section 11.3, RFC 7904 section 3.4)."""

from __future__ import annotations

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.user_names import account_name, is_user_key, is_user_name

CLUB, HOSTED = "club.example", frozenset({"club-b.example"})


@pytest.mark.parametrize(
    "user", ["alice@club.example", "42@club.example", "peer-hill@club.example", "a@club-b.example"]
)
def test_names(user: str) -> None:
    assert is_user_name(user, CLUB, HOSTED)


@pytest.mark.parametrize(
    "user",
    [
        "alice@elsewhere.example",
        "Alice@club.example",
        "42@club-b.example",
        "+4930@club-b.example",
        "alice",
        "peer-hill@club-b.example",
        "a@b@club-b.example",
    ],
)
def test_what_is_none(user: str) -> None:
    assert not is_user_name(user, CLUB, HOSTED)


def test_a_domain_that_is_not_hosted_has_no_users() -> None:
    assert not is_user_name("alice@club-b.example", CLUB)


def test_who_mistypes_a_name_is_told_what_there_is() -> None:
    assert account_name("alice", CLUB, HOSTED) == "alice@club.example"
    assert account_name("alice@club-b.example", CLUB, HOSTED) == "alice@club-b.example"
    with pytest.raises(LocalMisuse, match=r"it hosts club-b\.example as well"):
        account_name("alice@club-c.example", CLUB, HOSTED)
    with pytest.raises(LocalMisuse, match="not digits alone"):
        account_name("42@club-b.example", CLUB, HOSTED)


@pytest.mark.parametrize(
    ("name", "is_one"), [("bob", True), ("bob@club-b.example", True), ("bob@", False), ("@b.c", False)]
)
def test_users_in_the_files_of_a_peer(name: str, is_one: bool) -> None:
    assert is_user_key(name) is is_one
