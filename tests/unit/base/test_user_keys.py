"""By what a user is known inside a peer."""

from __future__ import annotations

import pytest

from p2psip.base.user_keys import aor_of, key_of


@pytest.mark.parametrize(
    ("aor", "key"),
    [
        ("alice@club.example", "alice"),
        ("alice@club-b.example", "alice@club-b.example"),
        ("a@b@club.example", "a@b"),
    ],
)
def test_the_key_of_an_aor(aor: str, key: str) -> None:
    assert key_of(aor, "club.example") == key


@pytest.mark.parametrize("aor", ["alice@club.example", "alice@club-b.example"])
def test_and_back(aor: str) -> None:
    assert aor_of(key_of(aor, "club.example"), "club.example") == aor
