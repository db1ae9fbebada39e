"""User names that know themselves when they end."""

from __future__ import annotations

import pytest

from p2psip.turn.member_credentials import MemberCredentials

SECRET = b"sixteen bytes at least"


def test_known_again_until_it_ends() -> None:
    members = MemberCredentials(SECRET)
    issued = members.issue("ab" * 16, 600, 5.5)
    user = members.find(issued.username, 604.9)
    assert user is not None
    assert (user.owner, user.password) == ("ab" * 16, issued.password)
    assert members.find(issued.username, 605.0) is None


def test_its_password_is_its_own() -> None:
    members = MemberCredentials(SECRET)
    one, longer, another = (members.issue(*each, 0.0) for each in (("a", 600), ("a", 601), ("b", 600)))
    others = MemberCredentials(b"another secret, as long").issue("a", 600, 0.0)
    assert len({one.password, longer.password, another.password, others.password}) == 4
    assert len(one.password) == 24


@pytest.mark.parametrize("username", ["", "alice", ":alice", "x:alice", "-1:alice", "٣:alice", "9" * 13 + ":alice"])
def test_what_nobody_issued(username: str) -> None:
    assert MemberCredentials(SECRET).find(username, 0.0) is None
