"""The role of a peer over its runs: found out, written down, begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from surveys import CLOSED, DIALABLE

from p2psip.daemon.log.journal import Journal
from p2psip.daemon.roles import role_keeper
from p2psip.daemon.roles.role_choice import STAY_MIN_S, STEADY_S, KeptRole
from p2psip.daemon.roles.role_keeper import RoleKeeper
from p2psip.daemon.state.kept import ROLE_FILE, load_role, save_role
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import PeerState, load_state, save_document, save_identity, save_key, save_settings
from p2psip.reload.config.configuration import BootstrapNode
from p2psip.reload.config.document import parse
from p2psip.sim.membership import OVERLAY, Club, founding, key, node_id


@pytest.fixture
def state(tmp_path: Path) -> PeerState:
    """Of a site that finds out what it is, in an overlay with ICE."""
    club = Club.of()
    save_settings(
        tmp_path, make_settings({"name": "hill", "fingerprint": club.anchor.fingerprint, "role": "auto"}, "test")
    )
    save_document(tmp_path, parse(founding().document))
    save_key(tmp_path, key())
    save_identity(tmp_path, club.member(f"peer-hill@{OVERLAY}", [node_id(1)]))
    state = load_state(tmp_path)
    configuration = replace(state.configuration, no_ice=False, bootstrap_nodes=(BootstrapNode("192.0.2.1"),))
    return replace(state, document=replace(state.document, configuration=configuration))


def begun(state: PeerState) -> RoleKeeper:
    return RoleKeeper(state, [], Journal(), 0.0)


def surveyed(keeper: RoleKeeper, *, is_reached: bool) -> None:
    for number in range(2):
        keeper.surveyed(DIALABLE if is_reached else CLOSED, number * STEADY_S)


def test_what_it_has_found_out_it_begins_with(state: PeerState) -> None:
    keeper = begun(state)
    assert keeper.role == "client"
    surveyed(keeper, is_reached=True)
    assert not keeper.look(STAY_MIN_S, is_busy=True)
    assert keeper.look(STAY_MIN_S, is_busy=False)
    assert keeper.role == "client", "until it ends"
    again = begun(state)
    assert again.role == "peer"
    surveyed(again, is_reached=False)
    assert not again.look(STAY_MIN_S, is_busy=False), "longer than the first time"
    assert again.look(2 * STAY_MIN_S, is_busy=False)
    assert begun(state).role == "client"


def test_what_an_operator_says_goes_before_what_was_found_out(state: PeerState) -> None:
    save_role(state.directory, KeptRole("peer"))
    settings = msgspec.structs.replace(state.settings, role="client")
    keeper = begun(replace(state, settings=settings))
    surveyed(keeper, is_reached=True)
    assert keeper.role == "client"
    assert not keeper.look(STAY_MIN_S, is_busy=False)
    assert load_role(state.directory) == KeptRole("peer")


def test_a_full_disk_changes_nothing(state: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise role_keeper.LocalMisuse("no space left on device")

    keeper = begun(state)
    surveyed(keeper, is_reached=True)
    monkeypatch.setattr(role_keeper, "save_role", full)
    assert not keeper.look(STAY_MIN_S, is_busy=False)
    monkeypatch.undo()
    assert not keeper.look(STAY_MIN_S, is_busy=False)
    surveyed(keeper, is_reached=True)
    assert keeper.look(STAY_MIN_S, is_busy=False)


def test_a_damaged_file_is_set_aside(state: PeerState, capsys: pytest.CaptureFixture[str]) -> None:
    (state.directory / ROLE_FILE).write_bytes(b"{")
    assert begun(state).role == "client"
    assert "role not read" in capsys.readouterr().out
    assert not (state.directory / ROLE_FILE).exists()
