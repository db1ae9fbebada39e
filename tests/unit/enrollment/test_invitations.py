"""Whom invitations let in, in virtual time, on a real database."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from accounts import settled
from enrollment_door import ALICE, HOUR_S, TOKEN, Door

from p2psip.base.effects import Ask
from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account, Issue
from p2psip.enrollment.asked.server_errands import CheckPassword
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.invitations import Invitation, Invited, in_words, parse_lifetime, token_hash
from p2psip.enrollment.server import CERTIFICATE_LIFETIME_S, Post, Respond
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.sim.membership import DATE, OVERLAY, key

CAROL = f"carol@{OVERLAY}"
VALLEY = f"peer-valley@{OVERLAY}"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Nobody is invited yet."""
    return Door(tmp_path)


def test_a_machine_comes_in_as_an_account_of_its_own(door: Door) -> None:
    invitation = door.invite()
    member = door.enter(VALLEY)
    assert member.user == VALLEY
    assert member.not_after == DATE + CERTIFICATE_LIFETIME_S
    account = door.store.account(VALLEY)
    assert account is not None
    assert (account.password_hash, account.is_admin) == ("", False)
    assert door.store.invited() == [Invited(VALLEY, ALICE, invitation.number, DATE)]
    facts = door.notes[-1].facts
    assert (facts["outcome"], facts["invitation"], facts["inviter"]) == ("issued", invitation.number, ALICE)
    # It renews itself, as any.
    assert door.enter(VALLEY, token=None).node_ids == member.node_ids


def test_an_account_without_a_password_lets_nobody_in_by_one(door: Door) -> None:
    door.invite()
    door.enter(VALLEY)
    files = {"csr": ("request.p10", make_request(key(number=2), VALLEY), "application/pkcs10")}
    fields = {"username": VALLEY, "password": "whatever"}
    request = httpx2.Request("POST", "https://x/", data=fields, files=files)
    door.server.handle_request(1, Post(request.headers["content-type"], request.read(), "", ""), door.now)
    for _ in range(2):
        (look,) = door.server.drain()
        assert isinstance(look, Ask)
        door.server.handle_answer(look.token, door.errands.run(look.question), door.now)  # type: ignore[arg-type]
    (check,) = door.server.drain()
    assert isinstance(check, Ask)
    assert isinstance(check.question, CheckPassword)
    assert check.question.kept
    # Whatever the check says.
    door.server.handle_answer(check.token, True, door.now)
    (answer, _) = settled(door.server, door.errands, door.now)
    assert isinstance(answer, Respond)
    assert answer.body == b"failed_authentication"


def test_used_expired_withdrawn_and_guessed_ones_are_refused_with_the_reason(door: Door) -> None:
    used, expired, withdrawn, gone = (bytes([n]) * 10 for n in range(1, 5))
    door.invite(used)
    door.enter(VALLEY, token=used)
    door.invite(expired, expires=DATE - 1.0)
    door.store.withdraw(door.invite(withdrawn).number)
    door.invite(gone, inviter=f"zoe@{OVERLAY}")
    other = f"peer-other@{OVERLAY}"
    assert door.refusal(other, 2, token=used) == "invitation_used"
    assert door.refusal(other, 2, token=expired) == "invitation_expired"
    assert door.refusal(other, 2, token=withdrawn) == "invitation_withdrawn"
    assert door.refusal(other, 2, token=gone) == "invitation_withdrawn"
    assert door.refusal(other, 2, token=b"0123456789") == "invitation_unknown"
    assert door.refusal(other, 2, text="no token at all"[:20]) == "bad_form"
    assert door.store.account(other) is None
    logged = str(door.notes)
    assert "expired" in logged
    for token in (used, expired, withdrawn, gone, b"0123456789"):
        assert token.hex() not in logged
        assert repr(token) not in logged


def test_guessing_is_limited_like_wrong_passwords(door: Door) -> None:
    door.invite()
    answers = [door.refusal(VALLEY, token=bytes([n]) * 10) for n in range(12)]
    assert answers == ["invitation_unknown"] * 10 + ["too_many_attempts"] * 2
    # The right one does not come through then, from there; from elsewhere it does.
    assert door.refusal(VALLEY) == "too_many_attempts"
    door.source = "198.51.100.1"
    assert door.enter(VALLEY).user == VALLEY
    door.source, door.now = "192.0.2.1", door.now + 30.0
    assert door.refusal(f"peer-b@{OVERLAY}", 2, token=b"x" * 10) == "invitation_unknown"


def test_a_machine_whose_name_is_taken_may_try_another_one(door: Door) -> None:
    door.invite(uses=2)
    door.enter(VALLEY, 1)
    for _ in range(20):
        assert door.refusal(VALLEY, 2) == "username_not_available"
    assert door.enter(f"peer-valley-2@{OVERLAY}", 2).user == f"peer-valley-2@{OVERLAY}"
    assert door.refusal(f"peer-c@{OVERLAY}", 3) == "invitation_used"
    assert door.refusal(CAROL, 3) == "username_not_available"
    assert door.refusal("peer-x@elsewhere.example", 3, token=_second(door)) == "username_not_available"
    assert door.refusal(f"peer-X@{OVERLAY}", 3, token=_second(door, b"w" * 10)) == "username_not_available"


def _second(door: Door, token: bytes = b"v" * 10) -> bytes:
    door.invite(token)
    return token


def test_who_has_lost_the_answer_asks_again_and_uses_nothing_up(door: Door) -> None:
    door.invite()
    first = door.enter(VALLEY, 1)
    door.now += 2 * HOUR_S
    assert door.enter(VALLEY, 1).node_ids == first.node_ids


def test_who_has_lost_the_answer_and_the_name_is_led_to_it(door: Door) -> None:
    door.invite(uses=1)
    door.enter(f"peer-valley-2@{OVERLAY}", 1)
    assert door.refusal(VALLEY, 1) == "username_not_available"
    assert door.enter(f"peer-valley-2@{OVERLAY}", 1).user == f"peer-valley-2@{OVERLAY}"


def test_who_was_removed_does_not_come_back_by_the_same_invitation(door: Door) -> None:
    door.invite(uses=5)
    door.enter(VALLEY, 1)
    door.store.remove(VALLEY, DATE)
    assert door.refusal(VALLEY, 1) == "invitation_used"
    assert door.store.account(VALLEY) is None
    assert door.store.invited() == []


def test_a_line_for_carol_and_nobody_else(door: Door) -> None:
    door.invite(admits_machine=False, user=CAROL, uses=2)
    assert door.refusal(VALLEY) == "username_not_available"
    assert door.refusal(f"bob@{OVERLAY}") == "username_not_available"
    lines = [door.enter(CAROL, number) for number in (1, 2)]
    assert len({line.node_ids for line in lines}) == 2
    assert door.refusal(CAROL, 3) == "invitation_used"
    assert [invited.user for invited in door.store.invited()] == [CAROL, CAROL]


def test_a_line_of_somebody_who_has_an_account_is_that_accounts(door: Door) -> None:
    door.invite(admits_machine=False, user=ALICE)
    door.enter(ALICE)
    account = door.store.account(ALICE)
    assert account is not None
    assert account.password_hash
    assert [held.user for held in door.store.held(ALICE, DATE)] == [ALICE]


def test_a_machine_with_a_line(door: Door) -> None:
    door.invite(user=CAROL)
    door.enter(VALLEY, 1)
    door.enter(CAROL, 2)
    assert door.refusal(f"peer-b@{OVERLAY}", 3) == "invitation_used"
    assert door.refusal(CAROL, 3) == "invitation_used"
    (invitation,) = door.store.invitations()
    assert in_words(invitation, DATE) == "used"


def test_nobody_takes_the_name_of_anothers_peer(door: Door) -> None:
    door.store.add(Account(f"peer-garden@{OVERLAY}", "hash"))
    door.invite()
    assert door.refusal(f"peer-garden@{OVERLAY}") == "username_not_available"


def test_a_number_of_uses_in_words(door: Door) -> None:
    invitation = door.invite(uses=3, user=CAROL)
    door.enter(VALLEY)
    (invitation,) = door.store.invitations()
    assert in_words(invitation, DATE) == "2 machines left, 3 lines left"
    assert in_words(invitation, DATE + 2 * HOUR_S) == "expired"
    door.store.withdraw(invitation.number)
    assert in_words(door.store.invitations()[0], DATE) == "withdrawn"
    with pytest.raises(LocalMisuse, match="there is no invitation 99"):
        door.store.withdraw(99)


def test_tokens_are_kept_hashed(door: Door, tmp_path: Path) -> None:
    door.invite()
    door.enter(VALLEY)
    door.store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert TOKEN not in kept
    assert TOKEN.hex().encode() not in kept


def test_what_was_invited_at_one_server_is_not_invited_at_its_delegate(door: Door, tmp_path: Path) -> None:
    door.invite()
    door.store.copy(tmp_path / "other.db")
    other = AccountDatabase.open(tmp_path / "other.db")
    found = other.invitation(token_hash(TOKEN))
    assert found is not None
    assert found.is_withdrawn
    door.enter(VALLEY)


def test_only_one_of_two_servers_lets_the_same_guest_in(door: Door) -> None:
    """What the other one has written since it looked counts."""
    invitation = door.invite()
    door.enter(VALLEY, 1)
    stale = Invitation(ALICE, invitation.expires, number=invitation.number)
    account = Account(f"peer-b@{OVERLAY}", "")
    late = Issue(account.name, account.name, b"k" * 32, (), b"", DATE)
    assert not door.store.redeem(stale, account, late, DATE)
    assert door.store.account(account.name) is None


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800.0), ("12h", 43200.0), ("1d", 86400.0), ("2w", 1209600.0)])
def test_a_time_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_lifetime(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "1", "1y", "-1d", "1 d", "99999w", "d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(LocalMisuse, match="write 30m, 12h, 1d or 2w"):
        parse_lifetime(text)
