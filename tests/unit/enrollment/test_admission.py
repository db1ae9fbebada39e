"""Who waits for the operator's approval, who is let in, who is revoked: in virtual time, on a real database."""

from __future__ import annotations

from pathlib import Path

import pytest
from accounts import settled
from enrollment_door import ALICE, HOUR_S, TOKEN, Door

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account, Issue
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.server import Respond
from p2psip.sim.membership import DATE, OVERLAY, key

ADMIN = f"admin@{OVERLAY}"
CAROL = f"carol@{OVERLAY}"
VALLEY = f"peer-valley@{OVERLAY}"
GARDEN = f"peer-garden@{OVERLAY}"
PENDING = f"approval_pending\n{ADMIN}"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A server whose operator wants to approve each new member."""
    made = Door(tmp_path)
    made.store.add(Account(ADMIN, "", is_admin=True))
    made.store.require_approval(required=True)
    return made


def by_password(door: Door, user: str, number: int = 1) -> str:
    """What is answered to alice, who knows her password, and wants this name."""
    post = door.post(make_request(key(number=number), user), username="alice", password="alice's secret")
    door.server.handle_request(1, post, door.now)
    (answer,) = [effect for effect in settled(door.server, door.errands, door.now) if isinstance(effect, Respond)]
    return "in" if answer.status == 200 else answer.body.decode()


def test_a_new_member_waits_until_it_is_approved_and_gets_in_by_its_key_alone(door: Door) -> None:
    invitation = door.invite()
    answer = door.ask(VALLEY)
    assert (answer.status, answer.body.decode(), answer.retry_after_s) == (403, PENDING, 10)
    assert door.notes[-1].facts["outcome"] == "approval_pending"
    assert door.notes[-1].is_warning
    assert door.store.account(VALLEY) is None
    (waiting,) = door.store.applicants()
    assert (waiting.member, waiting.source, waiting.invitation) == (VALLEY, "192.0.2.1", invitation.number)
    # It asks every few seconds, and the log does not fill; nor has it the token any more after a restart.
    before = len(door.notes)
    for _ in range(30):
        door.now += 10.0
        assert door.refusal(VALLEY, token=None) == PENDING
    assert len(door.notes) == before
    door.store.approve(VALLEY, door.date)
    assert door.enter(VALLEY, token=None).user == VALLEY
    (invited,) = door.store.invited()
    assert (invited.user, invited.inviter) == (VALLEY, ALICE)
    # Who is a member renews as before.
    assert door.enter(VALLEY, token=None).user == VALLEY
    with pytest.raises(LocalMisuse, match="nobody waits as peer-valley"):
        door.store.approve(VALLEY, door.date)


def test_who_asked_in_time_is_let_in_later(door: Door) -> None:
    invitation = door.invite()
    door.refusal(VALLEY)
    door.now += 2 * HOUR_S
    door.store.approve(VALLEY, door.date)
    assert door.refusal(GARDEN, 2) == "invitation_expired"
    assert door.enter(VALLEY).user == VALLEY
    assert door.store.invitations()[0].used[0].user == VALLEY
    assert invitation.number == 1


def test_an_invitation_that_was_withdrawn_meanwhile_lets_nobody_in(door: Door) -> None:
    door.store.withdraw(door.invite().number)
    other = door.invite(b"y" * 10)
    door.refusal(VALLEY, token=b"y" * 10)
    door.store.approve(VALLEY, door.date)
    door.store.withdraw(other.number)
    assert door.refusal(VALLEY) == "invitation_withdrawn"


def test_who_waits_has_taken_the_place_and_the_name(door: Door) -> None:
    """One code does not fill the list of those who wait, and a name that waits is its key's."""
    door.invite(uses=2)
    assert door.refusal(VALLEY, 1) == PENDING
    assert door.refusal(VALLEY, 2) == "username_not_available"
    assert door.refusal(GARDEN, 1) == "username_not_available"
    assert door.refusal(GARDEN, 2) == PENDING
    assert door.refusal(f"peer-third@{OVERLAY}", 3) == "invitation_used"
    assert len(door.store.applicants()) == 2
    door.store.approve(VALLEY, door.date)
    # Approved is who has asked, and not who else comes by that name.
    door.invite(b"z" * 10)
    for token in (TOKEN, b"z" * 10):
        assert door.refusal(VALLEY, 3, token=token) == "username_not_available"
    assert door.enter(VALLEY, 1).user == VALLEY


def test_lines_of_one_person_wait_once(door: Door) -> None:
    door.invite(admits_machine=False, user=CAROL, uses=2)
    assert door.refusal(CAROL, 1) == PENDING
    assert door.refusal(CAROL, 2) == PENDING
    door.store.approve(CAROL, door.date)
    assert {door.enter(CAROL, number).user for number in (1, 2)} == {CAROL}


def test_a_password_waits_as_well_but_not_who_is_a_member(door: Door) -> None:
    assert by_password(door, ALICE) == PENDING
    assert by_password(door, GARDEN, 2) == PENDING
    door.store.add(Account(CAROL, "hash"))
    door.store.approve(ALICE, door.date)
    assert by_password(door, ALICE) == "in"
    # Another line of hers is no new member.
    assert by_password(door, ALICE, 3) == "in"
    assert by_password(door, GARDEN, 2) == PENDING
    door.store.require_approval(required=False)
    assert by_password(door, GARDEN, 2) == "in"


def test_what_is_approved_is_nobody_s_but_the_key_s_that_has_asked(door: Door) -> None:
    """Who knows that alice, or a machine, is approved gets nothing for that."""
    door.invite()
    for user in (ALICE, VALLEY):
        assert (by_password(door, user) if user == ALICE else door.refusal(user)) == PENDING
        assert door.refusal(user, 2, token=None) == "failed_authentication"
        door.store.approve(user, door.date)
        assert door.refusal(user, 2, token=None) == "failed_authentication"
        assert door.enter(user, token=None).user == user


def test_as_many_wait_on_an_account_as_its_quota(door: Door) -> None:
    answers = [by_password(door, f"peer-{number}@{OVERLAY}", number) for number in range(1, 7)]
    assert answers == [PENDING] * 4 + ["Node-IDs_not_available"] * 2


def test_who_was_removed_while_it_waited_is_told_so(door: Door) -> None:
    by_password(door, GARDEN, 2)
    door.store.approve(GARDEN, door.date)
    door.store.remove(ALICE, door.date)
    assert door.store.applicants() == []
    assert by_password(door, GARDEN, 2) == "failed_authentication"


def test_who_is_revoked_gets_nothing_until_that_is_taken_back(door: Door) -> None:
    door.store.require_approval(required=False)
    door.invite()
    member = door.enter(VALLEY)
    assert by_password(door, GARDEN, 2) == "in"
    revoked = door.store.revoke(VALLEY, DATE, DATE + 60.0)
    assert revoked.node_ids == member.node_ids
    assert door.refusal(VALLEY, token=None) == "membership_revoked"
    # Again it is the same, with the time that there was.
    assert door.store.revoke(VALLEY, DATE + 30.0, DATE + 90.0) == revoked
    door.store.reinstate(VALLEY)
    assert door.enter(VALLEY, token=None).node_ids == member.node_ids
    # An account stands for all that it holds.
    assert len(door.store.revoke(ALICE, DATE, DATE).node_ids) == 1
    assert by_password(door, GARDEN, 2) == "membership_revoked"
    assert by_password(door, ALICE, 3) == "membership_revoked"


def test_who_is_revoked_at_that_moment_gets_nothing_either(door: Door) -> None:
    """The server has looked before; what it writes down after that is not written down."""
    door.store.require_approval(required=False)
    door.store.revoke(ALICE, DATE, DATE)
    assert not door.store.record(Issue(ALICE, GARDEN, b"k" * 32, (), b"", DATE))
    invitation = door.invite(admits_machine=False, user=ALICE)
    account = door.store.account(ALICE)
    assert account is not None
    assert not door.store.redeem(invitation, account, Issue(ALICE, ALICE, b"k" * 32, (), b"", DATE), DATE)


def test_who_waits_and_is_refused_may_still_be_taken_back(door: Door) -> None:
    door.invite()
    door.refusal(VALLEY)
    assert door.store.revoke(VALLEY, DATE, DATE + 60.0).node_ids == ()
    assert door.refusal(VALLEY) == "membership_revoked"
    door.store.reinstate(VALLEY)
    assert door.refusal(VALLEY) == PENDING


def test_a_name_is_free_again_when_its_account_is_gone(door: Door) -> None:
    door.store.require_approval(required=False)
    by_password(door, GARDEN, 2)
    for name in (ALICE, GARDEN):
        door.store.revoke(name, DATE, DATE)
    door.store.remove(ALICE, DATE)
    assert door.store.revocations() == []


def test_who_waits_here_does_not_wait_at_a_delegate(door: Door, tmp_path: Path) -> None:
    door.invite()
    door.refusal(VALLEY)
    door.store.revoke(ALICE, DATE, DATE)
    door.store.copy(tmp_path / "other.db")
    other = type(door.store).open(tmp_path / "other.db")
    assert other.applicants() == []
    assert [each.member for each in other.revocations()] == [ALICE]
    assert other.requires_approval()
