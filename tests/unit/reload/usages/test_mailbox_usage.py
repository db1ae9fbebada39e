"""Who may write what into a mailbox, and who can read it: at the peers that keep it, and for those who read it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from storage_bench import ALICE, ALICE_PLACE, BOB, BOB_PLACE, WALL, Bench, entry, member, signer

from p2psip.reload.config.configuration import MAILBOX_KINDS
from p2psip.reload.security.sealed_answer import CannotUnseal
from p2psip.reload.storage.limits import Limits
from p2psip.reload.usages.mailbox_usage import (
    MAIL_LIFETIME_S,
    MAILBOX_LIFETIMES_S,
    PART_BYTES,
    PARTS_MAX,
    SLOTS,
    UNREADABLE,
    MailCipher,
    MailRule,
    in_parts,
    mail_key,
    mail_removal,
    mail_store,
    open_mail,
    opening_store,
    part_key,
    part_store,
    parts_removal,
    purpose_of,
)
from p2psip.reload.wire.kinds import MAIL, MAIL_PART, MAILBOX
from p2psip.reload.wire.rejections import DataTooLarge, DataTooOld, Forbidden, Rejection
from p2psip.reload.wire.storage_messages import StoreReq
from p2psip.reload.wire.usages.mailbox_values import MailFacts, MailHeader, MailState, MailType, SealedKey
from p2psip.sim.signer import SimulatedVerifier

KINDS = {kind.kind_id: kind for kind in MAILBOX_KINDS}
NOW_MS = int(1000 * WALL.date(0.0))
KEY = mail_key(ALICE.node_id, 0)
MALLORY = member("mallory@example.org", 0xC1)


@pytest.fixture
def bench() -> Bench:
    return Bench(kinds=KINDS, usage_rules={kind: MailRule(kind) for kind in MAILBOX_LIFETIMES_S})


def header(**changes: object) -> MailHeader:
    cipher = MailCipher.new(BOB_PLACE, KEY, random.Random(1))
    sealed = SimulatedVerifier().seal(signer(BOB).member, cipher.secret, purpose_of(KEY), random.Random(2))
    keys = (SealedKey(BOB.node_id, sealed),)
    facts = cipher.seal_facts(MailFacts(b"alice", b"Alice Hill"))
    left = MailHeader(MailType.VOICE, MailState.NEW, b"alice@example.org", NOW_MS, 16_000, 1, keys, facts)
    return replace(left, **changes)  # type: ignore[arg-type]


def kept(bench: Bench, kind: int) -> int:
    return sum(data is not None for data in bench.read(KINDS[kind], BOB_PLACE))


def refused(bench: Bench, request: StoreReq, by: object, error: type[Rejection]) -> str:
    with pytest.raises(error) as found:
        bench.send(request, requester=by)  # type: ignore[arg-type]
    return str(found.value)


def test_anybody_leaves_a_message_under_his_own_name_and_the_owner_marks_and_removes_it(bench: Bench) -> None:
    bench.send(part_store(ALICE, BOB_PLACE, KEY, 0, b"sealed", NOW_MS), requester=ALICE)
    bench.send(mail_store(ALICE, BOB_PLACE, KEY, header(), NOW_MS), requester=ALICE)
    bench.send(mail_store(BOB, BOB_PLACE, KEY, header(state=MailState.HEARD), NOW_MS + 1), requester=BOB)
    assert (kept(bench, MAIL), kept(bench, MAIL_PART)) == (1, 1)
    bench.send(mail_removal(BOB, BOB_PLACE, KEY, header(), NOW_MS + 2), requester=BOB)
    bench.send(parts_removal(BOB, BOB_PLACE, KEY, 1, NOW_MS + 2), requester=BOB)
    assert (kept(bench, MAIL), kept(bench, MAIL_PART)) == (0, 0)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: mail_store(MALLORY, BOB_PLACE, KEY, header(by=b"mallory@example.org"), NOW_MS + 1),
        lambda: mail_removal(MALLORY, BOB_PLACE, KEY, header(), NOW_MS + 1),
        lambda: part_store(MALLORY, BOB_PLACE, KEY, 0, b"other words", NOW_MS + 1),
        lambda: parts_removal(MALLORY, BOB_PLACE, KEY, 1, NOW_MS + 1),
        lambda: opening_store(MALLORY, BOB_PLACE, 60, NOW_MS + 1),
    ],
    ids=["replace", "remove", "change a part", "remove a part", "read along"],
)
def test_nobody_else_touches_what_others_have_left(bench: Bench, request_of: Callable[[], StoreReq]) -> None:
    bench.send(part_store(ALICE, BOB_PLACE, KEY, 0, b"sealed", NOW_MS), requester=ALICE)
    bench.send(mail_store(ALICE, BOB_PLACE, KEY, header(), NOW_MS), requester=ALICE)
    assert "keeps mallory@example.org from writing" in refused(bench, request_of(), MALLORY, Forbidden)


def test_nobody_says_that_another_has_left_it(bench: Bench) -> None:
    key = mail_key(MALLORY.node_id, 0)
    forged = mail_store(MALLORY, BOB_PLACE, key, header(), NOW_MS)
    assert "takes no values of Kind 0xf0d10004" in refused(bench, forged, MALLORY, Forbidden)


def test_a_message_that_was_heard_is_still_of_who_left_it(bench: Bench) -> None:
    """In his own mailbox the owner is one who leaves messages, too: under his own name."""
    mine = mail_key(BOB.node_id, 0)
    refused(bench, mail_store(BOB, BOB_PLACE, mine, header(), NOW_MS), BOB, Forbidden)
    bench.send(mail_store(BOB, BOB_PLACE, mine, header(by=b"bob@example.org"), NOW_MS), requester=BOB)


@pytest.mark.parametrize("behind", [b"", bytes([SLOTS]), b"\0\0"])
def test_a_message_has_one_of_so_many_places(bench: Bench, behind: bytes) -> None:
    key = bytes(ALICE.node_id) + behind
    refused(bench, mail_store(ALICE, BOB_PLACE, key, header(), NOW_MS), ALICE, Forbidden)


@pytest.mark.parametrize("behind", [b"\0", bytes([SLOTS, 0]), bytes([0, PARTS_MAX]), b"\0\0\0"])
def test_so_has_a_part(bench: Bench, behind: bytes) -> None:
    with pytest.raises(Forbidden):
        bench.put(KINDS[MAIL_PART], entry(bytes(ALICE.node_id) + behind, b"x"), identity=ALICE, resource=BOB_PLACE)


@pytest.mark.parametrize("kind", [MAILBOX, MAIL])
def test_what_cannot_be_read_is_not_kept(bench: Bench, kind: int) -> None:
    key = bytes(BOB.node_id) + (b"\0" if kind == MAIL else b"")
    with pytest.raises(Forbidden):
        bench.put(KINDS[kind], entry(key, b"\xff"), identity=BOB, resource=BOB_PLACE)


def test_a_header_names_no_more_parts_than_there_can_be(bench: Bench) -> None:
    refused(bench, mail_store(ALICE, BOB_PLACE, KEY, header(parts=PARTS_MAX + 1), NOW_MS), ALICE, Forbidden)


def test_what_is_too_large_is_refused_with_how_large_it_may_be(bench: Bench) -> None:
    most = KINDS[MAIL_PART].max_size
    large = part_store(ALICE, BOB_PLACE, KEY, 0, bytes(most + 1), NOW_MS)
    assert refused(bench, large, ALICE, DataTooLarge) == f"a value of Kind 0xf0d10005 has at most {most} bytes"
    cipher = MailCipher.new(BOB_PLACE, KEY, random.Random(1))
    bench.send(part_store(ALICE, BOB_PLACE, KEY, 0, cipher.seal_part(0, bytes(PART_BYTES)), NOW_MS), requester=ALICE)


def test_what_was_left_too_long_ago_is_refused_with_when_that_was(bench: Bench) -> None:
    """Whoever has kept it may show it for ever: the lifetime is not signed, the date is."""
    long_ago_ms = NOW_MS - 1000 * (MAIL_LIFETIME_S + 600)
    old = mail_store(ALICE, BOB_PLACE, KEY, header(left_ms=long_ago_ms), long_ago_ms)
    assert refused(bench, old, ALICE, DataTooOld).startswith("a value that was signed at 2023-10-31")
    refused(bench, part_store(ALICE, BOB_PLACE, KEY, 0, b"x", long_ago_ms), ALICE, DataTooOld)


def test_what_is_deleted_does_not_come_back(bench: Bench) -> None:
    left = mail_store(ALICE, BOB_PLACE, KEY, header(), NOW_MS)
    bench.send(left, requester=ALICE)
    bench.send(mail_removal(BOB, BOB_PLACE, KEY, header(), NOW_MS + 1), requester=BOB)
    refused(bench, left, ALICE, DataTooOld)
    assert kept(bench, MAIL) == 0


def test_what_one_member_has_at_a_peer_is_bounded() -> None:
    bench = Bench(
        kinds=KINDS,
        usage_rules={kind: MailRule(kind) for kind in MAILBOX_LIFETIMES_S},
        limits=Limits(bytes_per_user_max=40_000),
    )
    for number in range(2):
        bench.send(part_store(ALICE, BOB_PLACE, KEY, number, bytes(PART_BYTES), NOW_MS), requester=ALICE)
    more = part_store(ALICE, ALICE_PLACE, KEY, 2, bytes(PART_BYTES), NOW_MS)
    said = refused(bench, more, ALICE, DataTooLarge)
    assert said == "this peer keeps at most 40000 bytes of alice@example.org"


# Who reads it.


def test_it_is_read_by_whom_it_was_sealed_for_alone() -> None:
    data = header().encode()
    opened = open_mail(BOB, BOB_PLACE, KEY, data, NOW_MS)
    assert opened is not None
    assert (opened.facts.caller, opened.is_voice) == (b"alice", True)
    assert open_mail(MALLORY, BOB_PLACE, KEY, data, NOW_MS) is None
    stolen = header(keys=(replace(header().keys[0], line=MALLORY.node_id),)).encode()
    with pytest.raises(CannotUnseal):
        open_mail(MALLORY, BOB_PLACE, KEY, stolen, NOW_MS)


def test_nothing_of_it_fits_another_message() -> None:
    cipher = MailCipher(bytes(32), BOB_PLACE, KEY)
    sealed = cipher.seal_part(3, b"words")
    assert cipher.open_part(3, sealed) == b"words"
    other_place, other_key = MailCipher(bytes(32), ALICE_PLACE, KEY), MailCipher(bytes(32), BOB_PLACE, KEY[:-1] + b"\1")
    for reader, number in ((cipher, 4), (other_place, 3), (other_key, 3)):
        with pytest.raises(CannotUnseal):
            reader.open_part(number, sealed)
    with pytest.raises(UNREADABLE):
        open_mail(BOB, BOB_PLACE, KEY[:-1] + b"\1", header().encode(), NOW_MS)


def test_garbage_in_a_header_is_an_error_of_one_kind() -> None:
    whole = header().encode()
    for at in range(0, len(whole), 7):
        with pytest.raises(UNREADABLE):
            open_mail(BOB, BOB_PLACE, KEY, whole[:at], NOW_MS)


def test_a_recording_is_cut_into_parts_and_put_together_again() -> None:
    content = bytes(range(256)) * 200
    parts = in_parts(content)
    assert [len(part) for part in parts] == [PART_BYTES, PART_BYTES, PART_BYTES, len(content) - 3 * PART_BYTES]
    assert b"".join(parts) == content
    assert part_key(KEY, 7) == KEY + b"\7"
