"""What the store of an enrollment server must do, in a file and in PostgreSQL; also when several write at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from postgresql import cluster
from sqlalchemy import text

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, HeldNode, Holding, Issue, StoreFailed
from p2psip.enrollment.admission import Applicant
from p2psip.enrollment.asked.audit import TEXT_MAX, AuditEntry
from p2psip.enrollment.asked.guesses import WRONG_HERE, WRONG_OF_ACCOUNT, WRONG_OF_SOURCE, Guesser
from p2psip.enrollment.invitations import Invitation
from p2psip.net.accounts import account_engine, audit_table
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.net.accounts.account_engine import AccountEngine
from p2psip.net.accounts.account_tables import METADATA
from p2psip.net.accounts.audit_table import operator
from p2psip.sim.membership import DATE, OVERLAY, node_id

ALICE = Account(f"alice@{OVERLAY}", "hash a", quota=3, created=DATE)
ADMIN = Account(f"admin@{OVERLAY}", "hash b", is_admin=True)
GARDEN = f"peer-garden@{OVERLAY}"
AT_ONCE = 6

Opener = Callable[..., AccountDatabase]


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    """A database with the tables."""
    with cluster() as there:
        url = there.create("club")
        AccountEngine.connect(url, is_new=True).close()
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow(20))])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same empty store as often as one likes, as several servers do."""
    made: list[AccountDatabase] = []
    if request.param == "sqlite":
        AccountDatabase.create(tmp_path / "accounts.db").close()
    else:
        url = request.getfixturevalue("postgresql_url")
        engine = AccountEngine.connect(url)
        engine.atomically(lambda: engine.write(text(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")))
        engine.close()

    def opened(*revoked: Callable[[], Collection[NodeId]]) -> AccountDatabase:
        if request.param == "sqlite":
            made.append(AccountDatabase.open(tmp_path / "accounts.db", *revoked))
        else:
            made.append(AccountDatabase.connect(url, *revoked))
        return made[-1]

    yield opened
    for database in made:
        database.close()


@pytest.fixture
def database(opener: Opener) -> AccountDatabase:
    """With alice and an administrator."""
    made = opener()
    made.add(ALICE)
    made.add(ADMIN)
    return made


def issue(
    user: str = ALICE.name, *nodes: NodeId, account: str = ALICE.name, key: bytes = b"k", until: float = DATE + 10
) -> Issue:
    """A certificate."""
    return Issue(account, user, key, nodes or (node_id(1),), b"certificate", until)


def test_accounts_are_kept(database: AccountDatabase, opener: Opener) -> None:
    again = opener()
    assert again.accounts() == [ADMIN, ALICE]
    assert again.account(ALICE.name) == ALICE
    assert again.account(f"bob@{OVERLAY}") is None


def test_two_accounts_cannot_have_one_name(database: AccountDatabase) -> None:
    with pytest.raises(LocalMisuse, match="there is an account alice"):
        database.add(ALICE)
    assert database.record(issue(GARDEN))
    with pytest.raises(LocalMisuse, match="belongs to the account alice"):
        database.add(Account(GARDEN, "x"))


def test_what_was_issued_is_held_in_order(database: AccountDatabase) -> None:
    nodes = (node_id(9), node_id(3), node_id(5))
    assert database.record(issue(ALICE.name, *nodes))
    assert database.holding(ALICE.name, b"k") == Holding(ALICE.name, ALICE.name, nodes)
    assert database.holding(ALICE.name, b"other") is None
    assert database.owner(ALICE.name) == ALICE.name
    assert database.owner(GARDEN) is None
    assert database.held(ALICE.name, DATE) == [HeldNode(ALICE.name, node, DATE + 10) for node in nodes]


def test_a_renewal_prolongs(database: AccountDatabase) -> None:
    database.record(issue())
    database.record(issue(ALICE.name, node_id(1), node_id(2), until=DATE + 20))
    assert [(held.node_id, held.not_after) for held in database.held(ALICE.name, DATE)] == [
        (node_id(1), DATE + 20),
        (node_id(2), DATE + 20),
    ]


def test_the_quota_counts_valid_certificates_of_other_keys(database: AccountDatabase) -> None:
    database.record(issue(ALICE.name, node_id(1), node_id(2)))
    database.record(issue(GARDEN, node_id(3), key=b"g"))
    assert database.held_otherwise(ALICE.name, ALICE.name, b"k", DATE) == 1
    assert database.held_otherwise(ALICE.name, ALICE.name, b"new", DATE) == 3
    assert database.held_otherwise(ALICE.name, ALICE.name, b"new", DATE + 11) == 0
    assert database.held_otherwise(ADMIN.name, ALICE.name, b"new", DATE) == 0


def test_a_node_id_is_issued_once(database: AccountDatabase) -> None:
    database.record(issue())
    assert not database.record(issue(ADMIN.name, account=ADMIN.name))
    assert database.holding(ADMIN.name, b"k") is None


def test_names_of_others_are_not_recorded(database: AccountDatabase) -> None:
    assert not database.record(issue(ADMIN.name))
    assert database.record(issue(GARDEN))
    assert not database.record(issue(GARDEN, node_id(2), account=ADMIN.name, key=b"z"))
    assert not database.record(issue(account=f"nobody@{OVERLAY}"))


def test_a_removed_account_leaves_its_node_ids_taken(database: AccountDatabase) -> None:
    database.record(issue(ALICE.name, node_id(1)))
    database.record(issue(GARDEN, node_id(2), key=b"g", until=DATE - 1))
    assert [held.node_id for held in database.remove(ALICE.name, DATE)] == [node_id(1)]
    assert database.account(ALICE.name) is None
    assert database.holding(ALICE.name, b"k") is None
    database.add(ALICE)
    for taken in (node_id(1), node_id(2)):
        assert not database.record(issue(ALICE.name, taken))
    assert database.record(issue(ALICE.name, node_id(3)))


def test_the_last_administrator_stays(database: AccountDatabase) -> None:
    with pytest.raises(LocalMisuse, match="last administrator"):
        database.remove(ADMIN.name, DATE)
    with pytest.raises(LocalMisuse, match="no account"):
        database.remove(f"bob@{OVERLAY}", DATE)
    database.add(Account(f"root@{OVERLAY}", "x", is_admin=True))
    assert database.remove(ADMIN.name, DATE) == []


def test_passwords_change(database: AccountDatabase) -> None:
    database.set_password(ALICE.name, "other")
    changed = database.account(ALICE.name)
    assert changed is not None
    assert changed.password_hash == "other"


def test_revoked_node_ids_are_kept_in_mind_and_count_for_nothing(database: AccountDatabase, opener: Opener) -> None:
    database.record(issue(ALICE.name, node_id(1), node_id(2)))
    revoked = {node_id(1)}
    again = opener(lambda: revoked)
    assert again.holding(ALICE.name, b"k") == Holding(ALICE.name, ALICE.name, (node_id(2),))
    assert again.held_otherwise(ALICE.name, GARDEN, b"z", DATE) == 1
    assert [(held.node_id, held.is_revoked) for held in again.held(ALICE.name, DATE)] == [
        (node_id(1), True),
        (node_id(2), False),
    ]
    revoked.clear()
    assert again.held_otherwise(ALICE.name, GARDEN, b"z", DATE) == 2


def test_what_a_key_has_got_comes_first(database: AccountDatabase) -> None:
    """Two servers that have not seen each other's word do not give one key twice as much."""
    assert database.record(issue(ALICE.name, node_id(1)))
    assert not database.record(issue(ALICE.name, node_id(2)))
    assert not database.record(issue(ALICE.name, node_id(2), node_id(1)))
    assert database.record(issue(ALICE.name, node_id(1), node_id(2)))
    assert database.record(issue(ALICE.name, node_id(1)))
    held = database.holding(ALICE.name, b"k")
    assert held is not None
    assert held.node_ids == (node_id(1), node_id(2))


def test_the_quota_holds_when_it_is_recorded(database: AccountDatabase) -> None:
    assert database.record(issue(ALICE.name, node_id(1), node_id(2)))
    assert not database.record(issue(ALICE.name, node_id(3), node_id(4), key=b"z"))
    assert database.record(issue(ALICE.name, node_id(3), key=b"z"))


def test_text_that_no_database_takes_is_nobody_s_name(database: AccountDatabase) -> None:
    assert database.account("alice\0x") is None
    assert database.owner("\0") is None
    assert database.holding("\0", b"k") is None


def at_once(opener: Opener, work: Callable[[AccountDatabase, int], object]) -> list[object]:
    """What each of several servers gets that do something at the same moment."""
    together = threading.Barrier(AT_ONCE)
    servers = [opener() for _ in range(AT_ONCE)]

    def one(number: int) -> object:
        together.wait(60)
        return work(servers[number], number)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, range(AT_ONCE)))


def test_of_those_who_want_one_name_at_once_one_gets_it(database: AccountDatabase, opener: Opener) -> None:
    """No constraint of the tables says so: that the writers are as if one after the other."""
    people = [Account(f"user{number}@{OVERLAY}", "x") for number in range(AT_ONCE)]
    for account in people:
        database.add(account)

    def enroll(server: AccountDatabase, number: int) -> object:
        return server.record(issue(GARDEN, node_id(number), account=people[number].name, key=bytes([number])))

    answers = at_once(opener, enroll)
    assert sorted(map(bool, answers)) == [False] * (AT_ONCE - 1) + [True]
    assert database.owner(GARDEN) == people[answers.index(True)].name


def test_of_those_who_want_one_node_id_at_once_one_gets_it(database: AccountDatabase, opener: Opener) -> None:
    answers = at_once(opener, lambda server, number: server.record(issue(GARDEN, node_id(1), key=bytes([number]))))
    assert sorted(map(bool, answers)) == [False] * (AT_ONCE - 1) + [True]


def test_those_who_enroll_at_once_keep_within_the_quota(database: AccountDatabase, opener: Opener) -> None:
    answers = at_once(opener, lambda server, n: server.record(issue(GARDEN, node_id(n), key=bytes([n]))))
    assert answers.count(True) == ALICE.quota
    assert len(database.held(ALICE.name, DATE)) == ALICE.quota


def test_an_invitation_for_two_lets_two_in(database: AccountDatabase, opener: Opener) -> None:
    invitation = database.invite(Invitation(ALICE.name, DATE + 10, uses=2, created=DATE), b"hash")

    def enter(server: AccountDatabase, number: int) -> object:
        account = Account(f"peer-{number}@{OVERLAY}", "", created=DATE)
        new = issue(account.name, node_id(number), account=account.name, key=bytes([number]))
        return server.redeem(invitation, account, new, DATE)

    assert at_once(opener, enter).count(True) == 2
    assert len(database.invited()) == 2
    assert len(database.accounts()) == 4


def waiting(number: int, account: str = "", invitation: int | None = None) -> Applicant:
    """A machine that asks, on somebody's account or by an invitation."""
    member = f"peer-{number}@{OVERLAY}"
    return Applicant(member, account or member, bytes([number]), DATE + number, "192.0.2.1", invitation)


def test_who_waits_is_kept_until_it_is_approved(database: AccountDatabase, opener: Opener) -> None:
    assert not database.requires_approval()
    for _ in range(2):
        database.require_approval(required=True)
    assert database.apply(waiting(2, ALICE.name), 3)
    assert database.apply(waiting(1, ALICE.name), 3)
    # It may ask again, from elsewhere; by the name of another account nobody may.
    assert database.apply(replace(waiting(1, ALICE.name), source="192.0.2.9", asked=DATE + 99), 3)
    assert not database.apply(waiting(1, ADMIN.name), 3)
    again = opener()
    assert again.requires_approval()
    assert again.administrator() == ADMIN.name
    assert again.applicants() == [replace(waiting(1, ALICE.name), source="192.0.2.9"), waiting(2, ALICE.name)]
    again.approve(waiting(1).member, DATE + 200)
    approved = database.applicant(waiting(1).member)
    assert approved is not None
    assert approved.approved == DATE + 200
    for member in (approved.member, waiting(3).member):
        with pytest.raises(LocalMisuse, match="nobody waits as"):
            database.approve(member, DATE)
    database.require_approval(required=False)
    assert not again.requires_approval()
    database.remove(ALICE.name, DATE)
    assert again.applicants() == []


def test_what_an_operator_says_of_members_is_in_the_audit_log(database: AccountDatabase) -> None:
    database.require_approval(required=True)
    for _ in range(2):
        assert database.apply(waiting(1, ALICE.name), 3)
    member = waiting(1).member
    database.approve(member, DATE)
    assert database.record(issue(member, node_id(1)))
    for _ in range(2):
        database.revoke(member, DATE, DATE + 60)
    database.reinstate(member)
    told = [(entry.event, entry.details) for entry in database.audit(member)]
    assert told == [
        ("waits", ""),
        ("approved", ""),
        ("issued", str(node_id(1))),
        ("revoked", str(node_id(1))),
        ("reinstated", ""),
    ]
    assert database.audit(member)[0].actor == "192.0.2.1"
    assert [entry.details for entry in database.audit() if entry.event == "approval"] == ["on"]


def test_of_those_who_ask_at_once_no_more_wait_than_there_are_places(database: AccountDatabase, opener: Opener) -> None:
    invitation = database.invite(Invitation(ALICE.name, DATE + 10, uses=2, created=DATE), b"hash")
    by_code = at_once(opener, lambda server, n: server.apply(waiting(n, invitation=invitation.number), 16))
    assert by_code.count(True) == 2
    assert len(database.applicants_by(invitation.number)) == 2
    by_password = at_once(opener, lambda server, n: server.apply(waiting(n + 20, ALICE.name), ALICE.quota))
    assert by_password.count(True) == ALICE.quota
    assert len(database.applicants_of(ALICE.name)) == ALICE.quota


def test_who_is_revoked_gets_nothing_at_any_server(database: AccountDatabase, opener: Opener) -> None:
    assert database.record(issue(GARDEN, node_id(2), node_id(3)))
    revoked = database.revoke(GARDEN, DATE, DATE + 60)
    assert revoked.node_ids == (node_id(2), node_id(3))
    again = opener()
    assert again.revoke(GARDEN, DATE + 1, DATE + 99) == revoked
    assert again.revocation(GARDEN) == revoked
    assert not again.record(issue(GARDEN, node_id(2), node_id(3)))
    assert again.record(issue(ALICE.name, node_id(4)))
    again.reinstate(GARDEN)
    assert database.revocations() == []
    assert database.record(issue(GARDEN, node_id(2), node_id(3)))
    # An account stands for all that it holds.
    assert database.revoke(ALICE.name, DATE, DATE).node_ids == (node_id(2), node_id(3), node_id(4))
    assert not again.record(issue(GARDEN, node_id(2), node_id(3)))


def test_attempts_are_charged_by_all_servers_together(database: AccountDatabase, opener: Opener) -> None:
    guesser = Guesser(ALICE.name, "192.0.2.1")

    def guess(server: AccountDatabase, number: int) -> object:
        return [server.charge(guesser, DATE) for _ in range(4)]

    waits = [wait for answer in at_once(opener, guess) for wait in answer]  # type: ignore[attr-defined]
    assert waits.count(0.0) == WRONG_HERE.burst
    assert set(waits) == {0.0, WRONG_HERE.refill_s}
    # What was not let through was not charged either.
    assert database.charge(guesser, DATE + WRONG_HERE.refill_s) == 0.0
    assert database.charge(guesser, DATE + WRONG_HERE.refill_s) == WRONG_HERE.refill_s
    assert database.charge(Guesser(ALICE.name, "192.0.2.2"), DATE) == 0.0


def test_right_attempts_are_given_back(database: AccountDatabase) -> None:
    guesser = Guesser(ALICE.name, "192.0.2.1")
    for _ in range(2 * WRONG_OF_SOURCE.burst):
        assert database.charge(guesser, DATE) == 0.0
        database.refund(guesser, DATE)


def test_an_account_that_is_guessed_at_from_everywhere_is_locked_for_a_while(database: AccountDatabase) -> None:
    for number in range(WRONG_OF_ACCOUNT.burst):
        assert database.charge(Guesser(ALICE.name, f"198.51.100.{number}"), DATE) == 0.0
    assert database.charge(Guesser(ALICE.name, "192.0.2.1"), DATE) == WRONG_OF_ACCOUNT.refill_s
    assert database.charge(Guesser(ADMIN.name, "192.0.2.1"), DATE) == 0.0
    # All of it is over one day, and a clock that was ahead does no harm.
    later = DATE + WRONG_OF_ACCOUNT.burst * WRONG_OF_ACCOUNT.refill_s
    assert [database.charge(Guesser(ALICE.name, f"203.0.113.{n}"), later) for n in range(3)] == [0.0] * 3


def test_all_of_it_is_copied_into_another_one(database: AccountDatabase, opener: Opener, tmp_path: Path) -> None:
    invitation = database.invite(Invitation(ALICE.name, DATE + 10, created=DATE), b"hash")
    assert database.record(issue(ALICE.name, node_id(2), node_id(1)))
    database.require_approval(required=True)
    assert database.apply(waiting(1, invitation=invitation.number), 1)
    revoked = database.revoke(GARDEN, DATE, DATE + 60)
    there = AccountEngine.create(tmp_path / "copy.db")
    database.copy_to(there)
    copied = AccountDatabase(there)
    assert copied.accounts() == database.accounts() == [ADMIN, ALICE]
    assert copied.invitations() == [invitation]
    assert (copied.applicants(), copied.requires_approval()) == ([waiting(1, invitation=invitation.number)], True)
    assert copied.revocations() == [revoked]
    copied.reinstate(GARDEN)
    assert copied.holding(ALICE.name, b"k") == Holding(ALICE.name, ALICE.name, (node_id(2), node_id(1)))
    # And what comes after does not meet what was there before.
    copied.add(Account(GARDEN, "x"))
    assert copied.record(issue(GARDEN, node_id(3), account=GARDEN, key=b"z"))
    assert copied.invite(Invitation(ALICE.name, DATE + 10), b"other").number == invitation.number + 1
    copied.close()


def test_the_audit_log_tells_what_was_done(database: AccountDatabase) -> None:
    """In the order in which it was; with where a requester was, and which user gave a command."""
    invitation = database.invite(Invitation(ALICE.name, DATE + 10, created=DATE), b"hash")
    new = Issue(GARDEN, GARDEN, b"k", (node_id(1),), b"certificate", DATE + 10, DATE, source="192.0.2.7")
    assert database.redeem(invitation, Account(GARDEN, "", created=DATE), new, DATE)
    assert not database.record(issue(ADMIN.name)), "what did not happen is not told"
    database.set_password(ALICE.name, "other")
    database.withdraw(invitation.number)
    database.refused(AuditEntry("refused", DATE, "192.0.2.9", "x\0y" * 999, ALICE.name, "failed_authentication"))
    database.remove(GARDEN, DATE)
    told = [(entry.event, entry.account) for entry in database.audit()]
    assert told == [
        ("added", ALICE.name),
        ("added", ADMIN.name),
        ("invited", ALICE.name),
        ("issued", GARDEN),
        ("admitted", GARDEN),
        ("password", ALICE.name),
        ("withdrawn", ""),
        ("refused", ("x\ufffdy" * 999)[:TEXT_MAX]),
        ("removed", GARDEN),
    ]
    entries = database.audit(GARDEN)
    assert [entry.event for entry in entries] == ["issued", "admitted", "removed"]
    assert (entries[0].actor, entries[0].details, entries[0].date) == ("192.0.2.7", str(node_id(1)), DATE)
    assert entries[1].details == f"by invitation {invitation.number} of {ALICE.name}"
    assert entries[2].actor == operator()
    assert [entry.event for entry in database.audit(ALICE.name, 2)] == ["password", "refused"]
    assert "hash" not in str(database.audit())


def test_refusals_make_room_for_refusals(database: AccountDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_table, "TIDIED_EVERY", 10)
    monkeypatch.setattr(audit_table, "REFUSALS_MAX", 15)
    for number in range(60):
        database.refused(AuditEntry("refused", DATE, f"192.0.2.{number}"))
    events = [entry.event for entry in database.audit()]
    assert events.count("added") == 2
    assert 15 <= events.count("refused") <= 25
    assert database.audit(last=1)[0].actor == "192.0.2.59"


@pytest.mark.slow(20)
def test_a_primary_that_has_become_a_replica_is_left(postgresql_url: str) -> None:
    """Old connections stay with it for ever otherwise: the second attempt finds who is the primary now."""
    operator = AccountEngine.connect(postgresql_url)

    def set_read_only(*, is_on: bool) -> None:
        on = "on" if is_on else "off"
        operator.atomically(
            lambda: operator.write(text(f"ALTER DATABASE club SET default_transaction_read_only = {on}"))
        )

    set_read_only(is_on=True)
    database = AccountDatabase(AccountEngine.connect(postgresql_url))
    assert database.account(GARDEN) is None
    set_read_only(is_on=False)
    with pytest.raises(StoreFailed, match="read-only transaction"):
        database.add(Account(GARDEN, "x"))
    database.add(Account(GARDEN, "x"))
    database.remove(GARDEN, DATE)
    database.close()
    operator.close()


@pytest.mark.slow(20)
def test_migrations_make_the_same_tables_as_a_new_database_has(postgresql_url: str) -> None:
    """From nothing, one after the other; types, indexes and constraints are looked at as well."""
    engine = AccountEngine.connect(postgresql_url)
    config = Config()
    config.set_main_option("script_location", str(Path(account_engine.__file__).with_name("migrations")))
    with engine.transaction() as connection:
        METADATA.drop_all(connection)
        connection.execute(text("DELETE FROM alembic_version"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        compared = compare_metadata(MigrationContext.configure(connection), METADATA)
        assert compared == []
    engine.close()
    AccountEngine.connect(postgresql_url).close()
