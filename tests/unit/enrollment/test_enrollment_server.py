"""The enrollment server's decisions, in virtual time, on a real database."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import httpx2
import pytest
from accounts import CHEAP, accounts, settled
from cryptography import x509

from p2psip.base.effects import Ask, Note
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.enrollment.accounts import Account, Issue, StoreFailed
from p2psip.enrollment.asked.server_errands import (
    Certify,
    CheckPassword,
    LookUp,
    ServerErrand,
    ServerErrands,
    WriteDown,
)
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.passwords import hash_password
from p2psip.enrollment.server import (
    ANSWER_TIMEOUT_S,
    REQUESTS_MAX,
    REQUESTS_OF_SOURCE_MAX,
    EnrollmentPolicy,
    EnrollmentServer,
    Post,
    Respond,
)
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.reload.security.authority import DAY_S
from p2psip.reload.security.keys import PrivateKey
from p2psip.reload.security.roles import Member
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, DATE, OVERLAY, Club, key, node_id

PASSWORD = "alice's secret"


class Bench:
    """A server, its accounts alice and bob, and somebody who asks."""

    def __init__(self, directory: Path, algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA) -> None:
        self.club = Club.of(algorithm)
        accounts(directory, [("alice", PASSWORD), ("bob", "bob's secret")]).close()
        self.revoked: set[NodeId] = set()
        self.store = AccountDatabase.open(directory / "accounts.db", lambda: self.revoked)
        self.now = 1000.0
        begins = self.club.anchor.certificate.not_valid_before_utc.timestamp()
        policy = EnrollmentPolicy(OVERLAY, self.club.configuration.signature_algorithms, begins=begins)
        self.server = EnrollmentServer(policy, random.Random(7), WallClock(DATE - self.now), CHEAP)
        self.errands = ServerErrands(self.store, self.club.anchor, random.Random(8))
        self.notes: list[Note] = []
        self.source = "192.0.2.1"

    def post(self, csr: bytes, source: str = "", **fields: str) -> Post:
        """A request as httpx would make it."""
        files = {"csr": ("request.p10", csr, "application/pkcs10")}
        request = httpx2.Request("POST", "https://x/", data=fields, files=files)
        return Post(request.headers["content-type"], request.read(), "application/pkix-cert", source or self.source)

    def answer(self, post: Post) -> Respond:
        """What the server answers when its questions are answered at once."""
        self.server.handle_request(1, post, self.now)
        return self.settle()

    def settle(self) -> Respond:
        """The one answer, when all questions are answered."""
        effects = settled(self.server, self.errands, self.now)
        self.notes += [effect for effect in effects if isinstance(effect, Note)]
        (answer,) = [effect for effect in effects if isinstance(effect, Respond)]
        return answer

    def go_to(self, kind: type[ServerErrand]) -> list[Ask]:
        """Answer questions until all that are open are of this kind."""
        open_asks: list[Ask] = []
        while effects := self.server.drain():
            for effect in effects:
                if isinstance(effect, Ask) and not isinstance(effect.question, kind):
                    assert isinstance(effect.question, ServerErrand)
                    self.server.handle_answer(effect.token, self.errands.run(effect.question), self.now)
                elif isinstance(effect, Ask):
                    open_asks.append(effect)
        return open_asks

    def ask(
        self,
        user: str = "alice",
        *,
        account: str | None = "alice",
        password: str = PASSWORD,
        private: PrivateKey | None = None,
        nodeids: int = 1,
    ) -> Respond:
        """A request for a certificate."""
        csr = make_request(private or key(self.club.algorithm), f"{user}@{OVERLAY}" if "@" not in user else user)
        fields = {} if account is None else {"username": account, "password": password}
        if nodeids != 1:
            fields["nodeids"] = str(nodeids)
        return self.answer(self.post(csr, **fields))

    def enroll(self, *args: object, **fields: object) -> Member:
        """A request that succeeds: who the certificate makes one."""
        answer = self.ask(*args, **fields)  # type: ignore[arg-type]
        assert (answer.status, answer.content_type) == (200, "application/pkix-cert"), answer.body
        return self.club.verifier.check([answer.body], DATE, True)

    def refusal(self, *args: object, **fields: object) -> tuple[int, str]:
        """A request that is refused: status and token."""
        answer = self.ask(*args, **fields)  # type: ignore[arg-type]
        assert answer.content_type == "text/plain"
        return answer.status, answer.body.decode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A server with ECDSA."""
    return Bench(tmp_path)


@pytest.mark.must("11.3/12")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_certificate_for_whoever_knows_the_password(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    bench = Bench(tmp_path, algorithm)
    member = bench.enroll(nodeids=2)
    assert member.user == f"alice@{OVERLAY}"
    assert len(set(member.node_ids)) == 2
    assert member.not_after == DATE + 365 * DAY_S
    assert not member.signs_configurations
    assert bench.notes[-1].facts["outcome"] == "issued"
    assert bench.notes[-1].facts["node_ids"] == [str(node) for node in member.node_ids]


def test_the_account_s_name_may_be_given_in_full(bench: Bench) -> None:
    assert bench.enroll(account=f"alice@{OVERLAY}").user == f"alice@{OVERLAY}"


@pytest.mark.must("11.3/11")
@pytest.mark.parametrize(
    ("account", "password", "reason"),
    [
        ("alice", "wrong", "wrong password"),
        ("alice", "", "wrong password"),
        ("alice", "bob's secret", "wrong password"),
        ("ALICE", PASSWORD, "no such account"),
        ("nobody", PASSWORD, "no such account"),
        ("", PASSWORD, "no such account"),
        ("x\0y", PASSWORD, "no such account"),
    ],
)
def test_11_3_failed_authentication(bench: Bench, account: str, password: str, reason: str) -> None:
    assert bench.refusal(account=account, password=password) == (403, "failed_authentication")
    assert bench.notes[-1].facts["reason"] == reason


@pytest.mark.must("11.3/12")
@pytest.mark.parametrize(
    "user", ["bob", "carol", "alice@other.example", "peer-x@other.example", "peer-X", "peer-", "a b"]
)
def test_11_3_username_not_available(bench: Bench, user: str) -> None:
    assert bench.refusal(user) == (403, "username_not_available")


@pytest.mark.parametrize("nodeids", [0, 5, 33, 9999, 10_000])
def test_11_3_node_ids_not_available(bench: Bench, nodeids: int) -> None:
    assert bench.refusal(nodeids=nodeids) == (403, "Node-IDs_not_available")


def test_11_3_bad_csr(bench: Bench) -> None:
    answer = bench.answer(bench.post(b"garbage", username="alice", password=PASSWORD))
    assert (answer.status, answer.content_type, answer.body) == (403, "text/plain", b"bad_CSR")
    other = SignatureAlgorithm.RSA
    assert bench.refusal(private=key(other)) == (403, "bad_CSR")
    assert bench.notes[-1].facts["reason"] == "a key of RSA; this overlay wants ECDSA"


def test_what_is_no_form_and_who_accepts_no_certificate(bench: Bench) -> None:
    answer = bench.answer(Post("text/plain", b"x", "", "192.0.2.1"))
    assert (answer.status, answer.body) == (400, b"bad_form")
    answer = bench.answer(Post("text/plain", b"x", "text/html", "192.0.2.1"))
    assert (answer.status, answer.body) == (406, b"not_acceptable")


def test_11_3_renewal_keeps_the_node_ids(bench: Bench) -> None:
    """ "the enrollment server should return the same Node-IDs"."""
    first = bench.enroll(nodeids=2)
    again = bench.enroll(nodeids=2)
    assert again.node_ids == first.node_ids
    assert bench.enroll(nodeids=1).node_ids == first.node_ids[:1]
    more = bench.enroll(nodeids=3)
    assert more.node_ids[:2] == first.node_ids


def test_another_key_gets_other_node_ids_up_to_the_quota(bench: Bench) -> None:
    node_ids = {bench.enroll(private=key(number=number)).node_ids for number in range(4)}
    assert len(node_ids) == 4
    assert bench.refusal(private=key(number=5)) == (403, "Node-IDs_not_available")
    assert bench.enroll(private=key(number=2)).node_ids in node_ids
    assert bench.enroll("bob", account="bob", password="bob's secret").user == f"bob@{OVERLAY}"


def test_expired_certificates_do_not_count(bench: Bench) -> None:
    for number in range(4):
        bench.enroll(private=key(number=number))
    bench.now += 366 * DAY_S
    answer = bench.ask(private=key(number=5))
    assert answer.status == 200


def test_the_same_key_is_somebody_else_s_with_another_name(bench: Bench) -> None:
    alice = bench.enroll()
    bob = bench.enroll("bob", account="bob", password="bob's secret")
    assert alice.node_ids != bob.node_ids


@pytest.mark.must("13.3/1")
def test_any_account_may_enroll_peers_that_nobody_else_has(bench: Bench) -> None:
    assert bench.enroll("peer-garden").user == f"peer-garden@{OVERLAY}"
    second = bench.enroll("peer-garden", private=key(number=1))
    assert second.user == f"peer-garden@{OVERLAY}"
    bob = {"account": "bob", "password": "bob's secret"}
    assert bench.refusal("peer-garden", **bob) == (403, "username_not_available")
    assert bench.notes[-1].facts["reason"] == "the name is another account's"
    assert bench.enroll("peer-attic", **bob).user == f"peer-attic@{OVERLAY}"


@pytest.mark.must("13.3/1")
def test_an_account_with_a_peer_s_name_is_the_only_one_to_use_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.add(Account(f"peer-x@{OVERLAY}", hash_password("x's secret", random.Random(1), CHEAP)))
    assert bench.refusal("peer-x") == (403, "username_not_available")
    assert bench.enroll("peer-x", account="peer-x", password="x's secret").user == f"peer-x@{OVERLAY}"


def test_a_renewal_is_authenticated_by_its_key(bench: Bench) -> None:
    first = bench.enroll("peer-garden")
    again = bench.enroll("peer-garden", account=None)
    assert again.node_ids == first.node_ids
    assert bench.refusal("peer-garden", account=None, private=key(number=1)) == (403, "failed_authentication")
    assert bench.refusal("alice", account=None) == (403, "failed_authentication")


def test_a_removed_account_renews_nothing(bench: Bench) -> None:
    bench.enroll("peer-garden")
    bench.store.remove(f"alice@{OVERLAY}", DATE)
    assert bench.refusal("peer-garden", account=None) == (403, "failed_authentication")
    assert bench.refusal() == (403, "failed_authentication")


def test_a_revoked_node_id_is_not_given_again(bench: Bench) -> None:
    first = bench.enroll()
    bench.revoked.update(first.node_ids)
    second = bench.enroll()
    assert set(second.node_ids).isdisjoint(first.node_ids)


def test_revoked_node_ids_leave_room_in_the_quota(bench: Bench) -> None:
    """However often somebody loses a peer and has it revoked: only what is valid counts."""
    made = [bench.enroll(f"peer-{number}") for number in range(4)]
    assert bench.refusal("peer-4") == (403, "Node-IDs_not_available")
    bench.revoked.update(made[0].node_ids)
    bench.enroll("peer-4")
    assert bench.refusal("peer-5") == (403, "Node-IDs_not_available")


@pytest.mark.must("11.3/14", "13.3/2", "13.6.2/1")
def test_11_3_node_ids_are_random_and_new(bench: Bench) -> None:
    """A collision, however unlikely, is not handed out: the next one is drawn."""

    class Rigged(random.Random):
        drawn = iter([bytes(16), b"\xff" * 16, bytes(node_id(1)), bytes(node_id(2))])

        def randbytes(self, n: int) -> bytes:
            return next(self.drawn)

    bench.server._rng = Rigged()
    bob = f"bob@{OVERLAY}"
    assert bench.store.record(Issue(bob, bob, b"key", (node_id(1),), b"certificate", DATE))
    assert bench.enroll().node_ids == (node_id(2),)


def test_wrong_passwords_run_out(bench: Bench) -> None:
    for _ in range(10):
        assert bench.refusal(password="wrong") == (403, "failed_authentication")
    answer = bench.ask(password="wrong")
    assert (answer.status, answer.body, answer.retry_after_s) == (429, b"too_many_attempts", 30)
    assert bench.notes[-1].is_warning
    assert bench.refusal() == (429, "too_many_attempts")
    bench.now += 31
    assert bench.enroll().user == f"alice@{OVERLAY}"


@pytest.mark.long
def test_right_passwords_do_not(bench: Bench) -> None:
    for _ in range(40):
        bench.enroll()


@pytest.mark.parametrize("source", ["192.0.2.2", "2001:db8::1"])
def test_a_guesser_keeps_only_himself_out(bench: Bench, source: str) -> None:
    """The owner of the account gets in from elsewhere, and others from where he is."""
    bench.source = source
    for _ in range(12):
        bench.refusal(password="wrong")
    assert bench.refusal() == (429, "too_many_attempts")
    assert bench.enroll("bob", account="bob", password="bob's secret").user == f"bob@{OVERLAY}"
    bench.source = "192.0.2.3"
    assert bench.enroll().user == f"alice@{OVERLAY}"


def test_an_ipv6_host_is_one_guesser_by_whichever_of_its_addresses(bench: Bench) -> None:
    for number in range(10):
        bench.source = f"2001:db8::{number:x}"
        bench.refusal(password="wrong")
    bench.source = "2001:db8::abcd"
    assert bench.refusal() == (429, "too_many_attempts")


def test_many_guesses_at_once_gain_nothing(bench: Bench) -> None:
    """The allowance is charged before the outcome is known."""
    csr = make_request(key(), f"alice@{OVERLAY}")
    asked = 0
    for number in range(30):
        bench.server.handle_request(number, bench.post(csr, username="alice", password="guess"), bench.now)
        if number % 5 == 4:
            checks = bench.go_to(CheckPassword)
            asked += len(checks)
            for check in checks:
                bench.server.handle_answer(check.token, False, bench.now)
    assert asked == 10


def test_one_password_tried_on_everybody_runs_out(bench: Bench) -> None:
    """From one address: fifty, whatever the accounts. From elsewhere all of them still get in."""
    answers = [bench.refusal(account=f"user{number}", password="wrong")[1] for number in range(60)]
    assert answers == ["failed_authentication"] * 50 + ["too_many_attempts"] * 10
    bench.source = "192.0.2.3"
    assert bench.enroll().user == f"alice@{OVERLAY}"


@pytest.mark.long
def test_guesses_from_many_addresses_lock_the_account_and_not_its_peers(bench: Bench) -> None:
    """What has a certificate renews it by its key; an hour later there are twelve more guesses, not a thousand."""
    bench.enroll("peer-garden")
    for number in range(100):
        bench.source = f"198.51.100.{number}"
        assert bench.refusal(password="wrong") == (403, "failed_authentication")
    bench.source = "192.0.2.99"
    assert bench.refusal() == (429, "too_many_attempts")
    assert bench.enroll("peer-garden", account=None).user == f"peer-garden@{OVERLAY}"
    assert bench.enroll("bob", account="bob", password="bob's secret").user == f"bob@{OVERLAY}"
    bench.now += 300
    assert bench.enroll().user == f"alice@{OVERLAY}"


def test_one_address_cannot_have_all_requests_served(bench: Bench) -> None:
    csr = make_request(key(), f"alice@{OVERLAY}")
    for number in range(REQUESTS_MAX):
        bench.server.handle_request(number, bench.post(csr, username=f"u{number}", password="x"), bench.now)
    effects = bench.server.drain()
    asks = [effect for effect in effects if isinstance(effect, Ask)]
    assert len(asks) == REQUESTS_OF_SOURCE_MAX
    assert {effect.status for effect in effects if isinstance(effect, Respond)} == {503}
    bench.source = "192.0.2.2"
    assert bench.enroll().user == f"alice@{OVERLAY}"
    bench.source = "192.0.2.1"
    bench.server.handle_answer(asks[0].token, StoreFailed("no more"), bench.now)
    bench.server.drain()
    assert bench.enroll().user == f"alice@{OVERLAY}"


def test_questions_are_bounded_and_expire(bench: Bench) -> None:
    csr = make_request(key(), f"alice@{OVERLAY}")
    for number in range(REQUESTS_MAX + 1):
        post = bench.post(csr, f"192.0.2.{number}", username=f"u{number}", password="x")
        bench.server.handle_request(number, post, bench.now)
    effects = bench.server.drain()
    assert sum(isinstance(effect, Ask) for effect in effects) == REQUESTS_MAX
    (refused,) = (effect for effect in effects if isinstance(effect, Respond))
    assert (refused.number, refused.status, refused.body) == (REQUESTS_MAX, 503, b"unavailable")
    deadline = bench.server.next_deadline()
    assert deadline is not None
    assert deadline.at == bench.now + ANSWER_TIMEOUT_S
    bench.server.handle_timeout(deadline.at)
    late = bench.server.drain()
    assert [effect.status for effect in late if isinstance(effect, Respond)] == [503] * REQUESTS_MAX
    bench.server.handle_answer(1, True, deadline.at + 1)
    assert bench.server.drain() == []
    assert bench.server.next_deadline() is None
    assert not bench.server._open


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (LookUp, "the account database took too long"),
        (CheckPassword, "checking the password took too long"),
        (Certify, "signing the certificate took too long"),
        (WriteDown, "the account database took too long"),
    ],
)
def test_whoever_does_not_answer_keeps_nobody_else_waiting(bench: Bench, kind: type[ServerErrand], words: str) -> None:
    """One request hangs at a question; another one is served meanwhile; the first is told at its deadline."""
    csr = make_request(key(), f"alice@{OVERLAY}")
    bench.server.handle_request(7, bench.post(csr, username="alice", password=PASSWORD), bench.now)
    assert len(bench.go_to(kind)) == 1
    assert bench.enroll("bob", account="bob", password="bob's secret").user == f"bob@{OVERLAY}"
    deadline = bench.server.next_deadline()
    assert deadline is not None
    bench.server.handle_timeout(deadline.at)
    effects = bench.server.drain()
    assert [(effect.number, effect.status) for effect in effects if isinstance(effect, Respond)] == [(7, 503)]
    assert [effect.facts["reason"] for effect in effects if isinstance(effect, Note)] == [words]


def test_two_requests_of_one_key_at_once_get_the_same_node_id(bench: Bench) -> None:
    """Both have looked when neither was written down: who comes second is shown what the first one got."""
    csr = make_request(key(), f"alice@{OVERLAY}")
    for number in (1, 2):
        bench.server.handle_request(number, bench.post(csr, username="alice", password=PASSWORD), bench.now)
    for ask in bench.go_to(WriteDown):
        assert isinstance(ask.question, WriteDown)
        bench.server.handle_answer(ask.token, bench.errands.run(ask.question), bench.now)
    effects = settled(bench.server, bench.errands, bench.now)
    answers = [effect for effect in effects if isinstance(effect, Respond)]
    members = [bench.club.verifier.check([answer.body], DATE, True) for answer in answers]
    assert len({member.node_ids for member in members}) == 1
    assert len(bench.store.held(f"alice@{OVERLAY}", DATE)) == 1


def test_requests_at_once_keep_within_the_quota(bench: Bench) -> None:
    """Six keys ask at once, all before one is written down: four get in."""
    for number in range(6):
        csr = make_request(key(number=number), f"alice@{OVERLAY}")
        bench.server.handle_request(number, bench.post(csr, username="alice", password=PASSWORD), bench.now)
    for ask in bench.go_to(WriteDown):
        assert isinstance(ask.question, WriteDown)
        bench.server.handle_answer(ask.token, bench.errands.run(ask.question), bench.now)
    effects = settled(bench.server, bench.errands, bench.now)
    refused = [effect.body for effect in effects if isinstance(effect, Respond) and effect.status != 200]
    assert refused == [b"Node-IDs_not_available"] * 2
    assert len(bench.store.held(f"alice@{OVERLAY}", DATE)) == 4


@pytest.mark.parametrize(
    "clock", [WallClock(0.0), WallClock(DATE - 1000, is_trusted=False), WallClock(DATE - 400 * DAY_S)]
)
def test_a_server_that_has_lost_its_clock_makes_no_certificates(bench: Bench, clock: WallClock) -> None:
    bench.server.handle_clock(clock)
    assert bench.refusal() == (503, "unavailable")
    assert bench.notes[-1].facts["reason"] == "the clock of this server is wrong: set it"


def test_an_account_that_goes_while_its_password_is_checked(bench: Bench) -> None:
    csr = make_request(key(), f"alice@{OVERLAY}")
    bench.server.handle_request(1, bench.post(csr, username="alice", password=PASSWORD), bench.now)
    (check,) = bench.go_to(CheckPassword)
    bench.store.remove(f"alice@{OVERLAY}", DATE)
    bench.server.handle_answer(check.token, True, bench.now)
    assert bench.settle().body == b"failed_authentication"


def test_an_account_that_goes_while_its_certificate_is_signed(bench: Bench) -> None:
    csr = make_request(key(), f"alice@{OVERLAY}")
    bench.server.handle_request(1, bench.post(csr, username="alice", password=PASSWORD), bench.now)
    (sign,) = bench.go_to(Certify)
    bench.store.remove(f"alice@{OVERLAY}", DATE)
    assert isinstance(sign.question, Certify)
    bench.server.handle_answer(sign.token, bench.errands.run(sign.question), bench.now)
    assert bench.settle().body == b"failed_authentication"


def test_a_store_that_fails_is_no_traceback(bench: Bench, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "accounts.db") as connection:
        connection.execute("DROP TABLE attempt")
    assert bench.refusal() == (503, "unavailable")
    assert bench.notes[-1].facts["reason"] == "the account database fails: no such table: attempt"


def test_passwords_show_nowhere(bench: Bench) -> None:
    bench.enroll()
    bench.refusal(password="wrong password")
    assert "secret" not in repr(bench.notes)
    assert "wrong password'" not in repr(CheckPassword("wrong password", "kept"))


def test_serial_numbers_differ(bench: Bench) -> None:
    issued = [x509.load_der_x509_certificate(bench.ask().body).serial_number for _ in range(5)]
    assert len(set(issued)) == 5


def test_the_audit_log_has_what_was_issued_and_who_may_have_guessed(bench: Bench) -> None:
    """As often as somebody may guess, and no more often; and never what he tried."""
    bench.enroll("peer-garden")
    for number in range(12):
        bench.refusal(password=f"guess {number}")
    entries = [entry for entry in bench.store.audit() if entry.event != "added"]
    assert [entry.event for entry in entries] == ["issued"] + ["refused"] * 10
    assert {entry.actor for entry in entries} == {"192.0.2.1"}
    assert {entry.account for entry in entries} == {f"alice@{OVERLAY}"}
    assert entries[-1].details == "failed_authentication: wrong password"
    assert "guess" not in str(entries)
