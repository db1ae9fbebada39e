"""RFC 6940 section 7: what the definition of a Kind must say, and certificates that have run out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from storage_bench import ALICE, BOB, KINDS, SINGLE, signer

from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.write import build
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.storage.access import WantedWrite, is_permitted
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.storing import Rules
from p2psip.reload.storage.verified import Believer, read_answer
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.rejections import Forbidden
from p2psip.reload.wire.storage_messages import DataValue, FetchAns, FetchKindResponse, StoreKindData, StoreReq
from p2psip.sim.membership import DATE, Club, founding, key

MULTIPLE = Kind(0xF0000001, DataModel.SINGLE, AccessControl.NODE_MULTIPLE, 1, 100, max_node_multiple=3)
HOUR_S = 3600.0


def document(kind: Kind, without: str = "") -> bytes:
    """A document with this Kind, and of its definition one element removed."""
    raw = build(replace(founding().configuration, required_kinds=(kind,)), founding().signer).decode()
    changed = re.sub(rf"<{without}>[^<]*</{without}>", "", raw) if without else raw
    assert changed != raw or not without
    return changed.encode()


@pytest.mark.must("7.4.5/1", "7.3/1")
@pytest.mark.parametrize("element", ["data-model", "access-control", "max-count", "max-size"])
def test_7_4_5_the_definition_of_a_kind_says_all_that_it_must(element: str) -> None:
    """ "the definition MUST include: [...] The data model [...] The access control model"; and limits (13.5.2)."""
    assert parse(document(SINGLE)).configuration.kinds[SINGLE.kind_id].access_control is AccessControl.USER_MATCH
    with pytest.raises(ConfigurationError):
        parse(document(SINGLE, without=element))


@pytest.mark.must("7.4.5/1")
def test_7_4_5_the_definition_of_a_kind_has_its_kind_id() -> None:
    raw = document(SINGLE).decode()
    changed = re.sub(rf'<kind id="{SINGLE.kind_id}">', "<kind>", raw)
    assert changed != raw
    with pytest.raises(ConfigurationError):
        parse(changed.encode())


@pytest.mark.must("7.3.4/2")
def test_7_3_4_with_node_multiple_the_largest_i_is_specified() -> None:
    """ "When this policy is in use, the maximum value of i MUST be specified in the Kind definition." """
    assert parse(document(MULTIPLE)).configuration.kinds[MULTIPLE.kind_id].max_node_multiple == 3
    with pytest.raises(ConfigurationError):
        parse(document(MULTIPLE, without="max-node-multiple"))


@pytest.mark.must("7.3/1")
def test_7_3_under_a_policy_that_is_not_known_nobody_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Every Kind which is storable in an overlay MUST be associated with an access control policy." """
    write = WantedWrite(KINDS[SINGLE.kind_id], hash_name(ALICE.user.encode()), b"", DataValue(True, b"x"))
    assert is_permitted(write, signer(ALICE), hash_name)
    monkeypatch.setattr("p2psip.reload.storage.access.POLICIES", {})
    assert not any(is_permitted(write, signer(who), hash_name) for who in (ALICE, BOB))


@pytest.mark.must("7.1/1", "7.4.2.2/4")
def test_7_1_a_value_whose_signer_s_certificate_has_expired_is_neither_stored_nor_believed() -> None:
    """ "When signatures are verified, the current time MUST be compared to the certificate validity period." """
    club = Club.of(required_kinds=(SINGLE,))
    member = club.member()
    rules = Rules(club.configuration.kinds, club.verifier, hash_name)
    resource = hash_name(member.user.encode())
    stored = sign_value(member, resource, SINGLE.kind_id, DataValue(True, b"x"), 1, 600)
    request = StoreReq(resource, 0, (StoreKindData(SINGLE.kind_id, 0, (stored,)),))
    answer = FetchAns((FetchKindResponse(SINGLE.kind_id, 1, (stored,)),))

    valid, late = WallClock(DATE), WallClock(member.not_after + HOUR_S)
    assert rules.examine(request, member.certificates, valid, 0.0)
    assert read_answer(resource, answer, member.certificates, Believer(rules, valid), 0.0).values
    with pytest.raises(Forbidden, match="expired"):
        rules.examine(request, member.certificates, late, 0.0)
    verified = read_answer(resource, answer, member.certificates, Believer(rules, late), 0.0)
    assert verified.values == ()
    assert "expired" in verified.dropped[0]


@pytest.mark.must("7.1/1")
def test_7_1_nor_is_one_whose_certificate_is_not_valid_yet() -> None:
    club = Club.of(required_kinds=(SINGLE,))
    member = CertifiedIdentity(key(), [club.certificate(begins=DATE + HOUR_S)])
    rules = Rules(club.configuration.kinds, club.verifier, hash_name)
    resource = hash_name(member.user.encode())
    stored = sign_value(member, resource, SINGLE.kind_id, DataValue(True, b"x"), 1, 600)
    answer = FetchAns((FetchKindResponse(SINGLE.kind_id, 1, (stored,)),))
    for date, is_valid in ((DATE, False), (DATE + HOUR_S, True)):
        verified = read_answer(resource, answer, member.certificates, Believer(rules, WallClock(date)), 0.0)
        assert bool(verified.values) is is_valid
