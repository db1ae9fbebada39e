"""Members that an operator revokes, and takes back, in the overlay's directory."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, Issue
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.sim.membership import DATE, OVERLAY, founding, node_id

ADMIN = f"admin@{OVERLAY}"
ALICE = f"alice@{OVERLAY}"
GARDEN = f"peer-garden@{OVERLAY}"
VALLEY = f"peer-valley@{OVERLAY}"


@pytest.fixture
def overlay(tmp_path: Path) -> OverlayDirectory:
    """With alice, who has a line and a peer, and valley, that was invited."""
    made = OverlayDirectory.create(tmp_path / "club", founding(), Account(ADMIN, "", is_admin=True))
    accounts = made.accounts()
    for name in (ALICE, VALLEY):
        accounts.add(Account(name, ""))
    for number, (account, user) in enumerate([(ALICE, ALICE), (ALICE, GARDEN), (VALLEY, VALLEY)], start=1):
        assert accounts.record(Issue(account, user, bytes([number]), (node_id(number),), b"", DATE + 100.0))
    return made


def bad_nodes(overlay: OverlayDirectory) -> frozenset[NodeId]:
    """What the signed configuration revokes."""
    return overlay.document().configuration.bad_nodes


def test_a_revocation_is_in_the_next_configuration_and_can_be_taken_back(overlay: OverlayDirectory) -> None:
    revoked = overlay.revoke_member(GARDEN, DATE, DATE + 60.0)
    assert revoked.node_ids == (node_id(2),)
    assert bad_nodes(overlay) == {node_id(2)}
    assert overlay.document().configuration.sequence == 2
    # As after a power cut between the two things that are written.
    overlay.revise(replace(overlay.document().configuration, bad_nodes=frozenset()))
    assert overlay.revoke_member(GARDEN, DATE + 1.0, DATE + 99.0) == revoked
    assert bad_nodes(overlay) == {node_id(2)}
    overlay.reinstate_member(GARDEN, DATE + 60.0)
    assert bad_nodes(overlay) == frozenset()
    with pytest.raises(LocalMisuse, match=f"{GARDEN} was not revoked"):
        overlay.reinstate_member(GARDEN, DATE)


def test_an_account_stands_for_all_that_it_holds_but_for_what_was_revoked_before(overlay: OverlayDirectory) -> None:
    overlay.revoke([node_id(1)])
    assert overlay.revoke_member(ALICE, DATE, DATE + 60.0).node_ids == (node_id(2),)
    assert bad_nodes(overlay) == {node_id(1), node_id(2)}
    # The telephone that was stolen stays revoked.
    overlay.reinstate_member(ALICE, DATE)
    assert bad_nodes(overlay) == {node_id(1)}


def test_when_the_time_is_over_it_is_for_good(overlay: OverlayDirectory) -> None:
    overlay.revoke_member(VALLEY, DATE, DATE + 60.0)
    with pytest.raises(LocalMisuse, match="is over: invite it anew"):
        overlay.reinstate_member(VALLEY, DATE + 61.0)
    assert bad_nodes(overlay) == {node_id(3)}


def test_a_draft_of_before_does_not_take_it_back(overlay: OverlayDirectory) -> None:
    overlay.save_draft(replace(overlay.document().configuration, initial_ttl=50))
    overlay.revoke_member(VALLEY, DATE, DATE + 60.0)
    assert not any("bad-node" in line for line in overlay.difference() if line.startswith(("+", "-")))
    with overlay.locked():
        overlay.sign_draft()
    assert (bad_nodes(overlay), overlay.document().configuration.initial_ttl) == ({node_id(3)}, 50)
    overlay.reinstate_member(VALLEY, DATE)
    assert overlay.difference() == []


def test_who_signs_the_configuration_stays(overlay: OverlayDirectory) -> None:
    with pytest.raises(LocalMisuse, match=f"{ADMIN} signs this overlay's configuration"):
        overlay.revoke_member(ADMIN, DATE, DATE + 60.0)
    assert overlay.accounts().revocations() == []


def test_a_server_without_the_signer_s_key_says_what_to_do_where_that_is(
    overlay: OverlayDirectory, tmp_path: Path
) -> None:
    server = overlay.delegate(tmp_path / "server", random.Random(1), DATE, 86_400.0)
    with pytest.raises(LocalMisuse, match=rf"`p2psip overlay set DIR --sign bad-node\+={node_id(3)}`"):
        server.revoke_member(VALLEY, DATE, DATE + 60.0)
    assert server.accounts().revocations() == []
    overlay.revoke([node_id(3)])
    (server.path / "config.xml").write_bytes(overlay.document().raw)
    assert server.revoke_member(VALLEY, DATE, DATE + 60.0).node_ids == ()
