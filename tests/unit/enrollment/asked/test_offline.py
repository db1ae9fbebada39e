"""Certificates that are signed elsewhere, by hand: what the server says meanwhile, what is signed, and what is not."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import httpx2
import msgspec
import pytest
from accounts import CHEAP, accounts, settled

from p2psip.base.effects import Note
from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.enrollment.accounts import Account
from p2psip.enrollment.asked.offline import (
    CertificatesFile,
    CollectedRequest,
    RequestsFile,
    SignedRequest,
    check_returned,
    read_carried,
    sign_collected,
)
from p2psip.enrollment.asked.server_errands import ServerErrands
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.invitations import Invitation, token_hash
from p2psip.enrollment.server import EnrollmentPolicy, EnrollmentServer, Post, Respond
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.reload.config.configuration import DomainRestriction
from p2psip.reload.security.authority import DAY_S, TrustAnchor, Validity
from p2psip.reload.security.certificates import read_leaf
from p2psip.sim.membership import DATE, OVERLAY, Club, key, node_id

ALICE, VALLEY = f"alice@{OVERLAY}", f"peer-valley@{OVERLAY}"
TOKEN = bytes(range(10))
YEAR = Validity.at(DATE, 365 * DAY_S)


class Office:
    """A server whose authority's key is elsewhere, and the way there and back."""

    def __init__(self, directory: Path) -> None:
        self.club = Club.of()
        accounts(directory, [("alice", "alice's secret")]).close()
        self.bad: set[NodeId] = set()
        """What the configuration revokes."""
        self.store = AccountDatabase.open(directory / "accounts.db", lambda: self.bad)
        self.store.invite(Invitation(ALICE, DATE + 9e9, 1, created=DATE), token_hash(TOKEN))
        self.now = 1000.0
        self.noted: list[str] = []
        """Outcomes, as they are in the log."""
        policy = EnrollmentPolicy(OVERLAY, self.club.configuration.signature_algorithms, is_offline=True)
        self.server = EnrollmentServer(policy, random.Random(7), WallClock(DATE - self.now), CHEAP)
        # Nobody here can sign.
        self.errands = ServerErrands(self.store, replace(self.club.anchor, key=None), random.Random(8))  # type: ignore[arg-type]

    def ask(self, user: str = VALLEY, number: int = 1, **fields: str) -> Respond:
        """What is answered to a request with key `number`."""
        files = {"csr": ("request.p10", make_request(key(number=number), user), "application/pkcs10")}
        request = httpx2.Request("POST", "https://x/", data=fields, files=files)
        post = Post(request.headers["content-type"], request.read(), "application/pkix-cert", "192.0.2.1")
        self.server.handle_request(1, post, self.now)
        done = settled(self.server, self.errands, self.now)
        self.noted += [str(each.facts["outcome"]) for each in done if isinstance(each, Note)]
        (answer,) = [each for each in done if isinstance(each, Respond)]
        return answer

    def file(self) -> RequestsFile:
        """What is carried to who signs."""
        anchor = self.club.anchor
        made = RequestsFile(OVERLAY, anchor.fingerprint, tuple(self.store.collected()))
        return read_carried(msgspec.json.encode(made), RequestsFile, anchor)

    def sign(self, validity: Validity = YEAR) -> CertificatesFile:
        """What is carried back."""
        made = sign_collected(self.club.anchor, self.club.configuration, self.file(), random.Random(9), validity)
        return read_carried(msgspec.json.encode(made), CertificatesFile, self.club.anchor)

    def take(self, signed: CertificatesFile) -> list[bool]:
        """It comes back."""
        waiting = {asked.number: asked for asked in self.store.collected()}
        found = list(check_returned(signed, waiting, self.club.anchor, 16))
        return [self.store.deliver(number, der, leaf.not_after) for number, leaf, der in found]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Nothing is asked yet."""
    return Office(tmp_path)


def test_collected_signed_returned_and_handed_out(office: Office) -> None:
    answer = office.ask(invitation=TOKEN.hex())
    assert (answer.status, answer.body, answer.retry_after_s) == (503, b"waiting_for_signature", 10)
    # Whoever asks again meanwhile, as often as he likes, uses nothing up; and nobody else gets the name.
    assert office.ask(invitation=TOKEN.hex()).body == b"waiting_for_signature"
    assert office.ask().body == b"waiting_for_signature"
    assert office.ask(number=2, invitation=TOKEN.hex()).body != b"waiting_for_signature"
    (asked,) = office.file().requests
    assert (asked.user, asked.account, len(asked.node_ids)) == (VALLEY, VALLEY, 1)
    signed = office.sign()
    assert office.take(signed) == [True]
    assert office.file().requests == ()
    assert office.take(signed) == [], "a file that comes twice does nothing"
    for fields in ({"invitation": TOKEN.hex()}, {}):
        answer = office.ask(**fields)
        member = office.club.verifier.check([answer.body], DATE, True)
        assert (answer.status, member.user) == (200, VALLEY)
        assert [str(node) for node in member.node_ids] == list(asked.node_ids)
    assert [held.not_after for held in office.store.held(VALLEY, DATE)] == [member.not_after]


def test_who_waits_asks_by_its_key_and_is_written_down_once(office: Office) -> None:
    """Every few seconds, for weeks perhaps: no password is hashed for it, no line written, and it keeps its place."""
    fields = {"username": "alice", "password": "alice's secret"}
    assert office.ask(**fields).body == b"waiting_for_signature"
    (asked,) = office.store.collected()
    told = office.store.audit()
    office.now += 60.0
    assert office.ask(**fields | {"password": "changed meanwhile"}).body == b"waiting_for_signature"
    assert office.noted == ["waiting_for_signature"]
    assert (office.store.collected(), office.store.audit()) == ([asked], told)
    # Who asks for more than before is written down anew.
    assert office.ask(nodeids="2").body == b"waiting_for_signature"
    (more,) = office.store.collected()
    assert (len(more.node_ids), more.node_ids[:1]) == (2, asked.node_ids)
    assert office.take(office.sign()) == [True]
    office.noted.clear()
    assert office.ask(nodeids="2").status == 200
    assert office.noted == ["issued"]


def test_a_renewal_is_collected_when_a_third_is_left(office: Office) -> None:
    first = _enrolled(office)
    office.now += 200 * DAY_S
    assert office.ask().body == first
    office.now += 60 * DAY_S
    assert office.ask().body == b"waiting_for_signature"
    later = Validity.at(DATE + 260 * DAY_S, 365 * DAY_S)
    assert office.take(office.sign(later)) == [True]
    second = office.ask()
    assert (second.status, second.body != first) == (200, True)
    assert read_leaf(first, 16).node_ids == read_leaf(second.body, 16).node_ids


def _enrolled(office: Office) -> bytes:
    office.ask(invitation=TOKEN.hex())
    office.take(office.sign())
    answer = office.ask()
    assert answer.status == 200
    return answer.body


def test_a_request_whose_account_goes_is_gone(office: Office) -> None:
    office.ask(invitation=TOKEN.hex())
    signed = office.sign()
    office.store.remove(VALLEY, DATE)
    assert office.file().requests == ()
    assert office.take(signed) == []
    assert office.ask().body == b"failed_authentication"


def test_who_is_to_be_approved_is_collected_after_that_and_who_is_revoked_no_more(office: Office) -> None:
    office.store.add(Account(f"admin@{OVERLAY}", "", is_admin=True))
    office.store.require_approval(required=True)
    assert office.ask(invitation=TOKEN.hex()).body.startswith(b"approval_pending")
    assert office.file().requests == ()
    office.store.approve(VALLEY, DATE)
    # Each time that it waits for something else that is in the log, and not again.
    for _ in range(2):
        assert office.ask().body == b"waiting_for_signature"
    assert office.noted == ["approval_pending", "waiting_for_signature"]
    signed = office.sign()
    office.store.revoke(VALLEY, DATE, DATE + 60.0)
    assert (office.file().requests, office.take(signed)) == ((), [])
    assert office.ask().body == b"membership_revoked"
    office.store.reinstate(VALLEY)
    assert office.take(signed) == [True]
    assert office.ask().status == 200


def test_a_node_id_that_is_revoked_meanwhile_keeps_nobody_else_from_being_signed(office: Office) -> None:
    office.ask(invitation=TOKEN.hex())
    office.ask(f"peer-other@{OVERLAY}", 2, username="alice", password="alice's secret")
    first, other = office.store.collected()
    office.bad = {NodeId(bytes.fromhex(first.node_ids[0]))}
    assert office.store.collected() == [other]
    # Who still waits is given another one.
    assert office.ask().body == b"waiting_for_signature"
    again, _ = office.file().requests
    assert (again.user, again.node_ids != first.node_ids) == (first.user, True)
    assert office.take(office.sign()) == [True, True]
    assert office.ask().status == 200


def request(**changes: object) -> CollectedRequest:
    """One that would be signed but for its changes."""
    asked = CollectedRequest(1, VALLEY, VALLEY, (str(node_id(5)),), make_request(key(), VALLEY), DATE)
    return msgspec.structs.replace(asked, **changes)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request(user=ALICE), "the CSR is for peer-valley"),
        (request(user="bob@other.example", csr=make_request(key(), "bob@other.example")), "the CSR is for bob@other"),
        (request(csr=b"nonsense"), "not a PKCS#10 request"),
        (request(csr=make_request(key(), VALLEY)[:-9] + b"123456789"), "is not to be signed"),
        (request(node_ids=()), "0 Node-IDs"),
        (request(node_ids=(str(node_id(5)),) * 2), "or one twice"),
        (request(node_ids=("00" * 16,)), "is no Node-ID of this overlay"),
        (request(node_ids=("12",)), "request 1, for peer-valley"),
        (request(node_ids=("xyz",)), "request 1, for peer-valley"),
        (request(node_ids=(str(node_id(6)),)), "is revoked"),
    ],
)
def test_what_is_not_signed_whatever_the_file_says(asked: CollectedRequest, words: str) -> None:
    """A server that somebody has broken into makes the file; who carries it sees names."""
    club = Club.of()
    configuration = replace(club.configuration, bad_nodes=frozenset({node_id(6)}))
    file = RequestsFile(OVERLAY, club.anchor.fingerprint, (asked,))
    with pytest.raises(LocalMisuse) as caught:
        sign_collected(club.anchor, configuration, file, random.Random(1), YEAR)
    assert words in str(caught.value)


def test_what_is_signed_is_a_member_and_nothing_more() -> None:
    club = Club.of()
    file = RequestsFile(OVERLAY, club.anchor.fingerprint, (request(),))
    (signed,) = sign_collected(club.anchor, club.configuration, file, random.Random(1), YEAR).certificates
    member = club.verifier.check([signed.certificate], DATE, True)
    assert (member.user, member.node_ids, member.signs_configurations) == (VALLEY, (node_id(5),), False)


def test_a_user_of_a_further_domain_is_signed_where_the_overlay_hosts_it() -> None:
    club, bob = Club.of(), "bob@other.example"
    hosting = replace(club.configuration, domain_restriction=DomainRestriction(True, (OVERLAY, "other.example")))
    file = RequestsFile(OVERLAY, club.anchor.fingerprint, (request(user=bob, csr=make_request(key(), bob)),))
    (signed,) = sign_collected(club.anchor, hosting, file, random.Random(1), YEAR).certificates
    assert read_leaf(signed.certificate, 16).user == bob


def test_what_comes_back_is_what_was_asked_for(office: Office) -> None:
    office.ask(invitation=TOKEN.hex())
    (asked,) = office.file().requests
    anchor, rng = office.club.anchor, random.Random(1)
    nodes = [type(node_id(1))(bytes.fromhex(text)) for text in asked.node_ids]
    stranger = TrustAnchor.create(OVERLAY, rng, DATE)
    for wrong, words in (
        (stranger.issue(key(number=1).public_key(), VALLEY, nodes, rng, YEAR), "is not this authority's"),
        (b"nonsense", "is not this authority's"),
        (anchor.issue(key(number=1).public_key(), ALICE, nodes, rng, YEAR), "is not what was asked for"),
        (anchor.issue(key(number=2).public_key(), VALLEY, nodes, rng, YEAR), "is not what was asked for"),
        (anchor.issue(key(number=1).public_key(), VALLEY, [node_id(9)], rng, YEAR), "is not what was asked for"),
    ):
        file = CertificatesFile(OVERLAY, anchor.fingerprint, (SignedRequest(asked.number, wrong),))
        with pytest.raises(LocalMisuse, match=words):
            office.take(file)
    assert office.take(office.sign()) == [True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"overlay": "other.example"}, "it is of other.example"),
        ({"authority": "00" * 32}, "the authority 0000000000000000..., not of this one"),
        ({"requests": 7}, "it is not what `p2psip enrollment requests` has written"),
        ({"more": 1}, "it is not what `p2psip enrollment requests` has written"),
    ],
)
def test_a_file_of_somebody_else(changes: dict[str, object], words: str) -> None:
    anchor = Club.of().anchor
    fine = {"overlay": OVERLAY, "authority": anchor.fingerprint, "requests": []}
    assert read_carried(json.dumps(fine).encode(), RequestsFile, anchor).requests == ()
    with pytest.raises(LocalMisuse) as caught:
        read_carried(json.dumps(fine | changes).encode(), RequestsFile, anchor)
    assert words in str(caught.value)
    with pytest.raises(LocalMisuse, match="has written"):
        read_carried(b"\xff\xfe", RequestsFile, anchor)
