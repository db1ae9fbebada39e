"""The role of a peer over its runs: found out, written down, begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from surveys import CLOSED, DIALABLE

from p2psip.base.address import Address
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.roles import role_keeper
from p2psip.daemon.roles.role_choice import STAY_MIN_S, STEADY_S, KeptRole
from p2psip.daemon.roles.role_keeper import HAND_OVER_MAX_S, LEAVE_MAX_S, ROOM_TO_START, RoleKeeper
from p2psip.daemon.roles.shedding import AT_EASE_S, STRAINED_S, TURN_MAX_S, KeptShedding
from p2psip.daemon.state.kept import ROLE_FILE, SHEDDING_FILE, load_role, load_shedding, save_role, save_shedding
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import PeerState, load_state, save_document, save_identity, save_key, save_settings
from p2psip.reload.config.configuration import BootstrapNode
from p2psip.reload.config.document import parse
from p2psip.reload.node.settings import LentTerms
from p2psip.sim.membership import OVERLAY, Club, founding, key, node_id

OWN = [Address("192.0.2.7", 6084)]


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
    return RoleKeeper(state, OWN, Journal(), 0.0)


def peer(state: PeerState, **settings: object) -> PeerState:
    """The same, of a peer for good."""
    return replace(state, settings=msgspec.structs.replace(state.settings, role="peer", **settings))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What is free of the disk, and the load, until a test changes it."""
    told = {"free": 50.0, "load": 10.0, "bytes": 1e9}
    monkeypatch.setattr(role_keeper, "disk_free_percent", lambda _: told["free"])
    monkeypatch.setattr(role_keeper, "disk_free_bytes", lambda _: told["bytes"])
    monkeypatch.setattr(role_keeper, "load_percent", lambda: told["load"])
    return told


def turns(keeper: RoleKeeper, began_at: float, seconds: float, neighbors: int = 5) -> bool:
    """So long goes by; True if it is to start anew."""
    times = range(int(began_at), int(began_at + seconds) + 1, 2)
    return any(keeper.look(now, is_busy=False, neighbors=neighbors) for now in times)


def surveyed(keeper: RoleKeeper, *, is_reached: bool) -> None:
    for number in range(2):
        keeper.surveyed(DIALABLE if is_reached else CLOSED, number * STEADY_S)


def test_what_it_has_found_out_it_begins_with(state: PeerState) -> None:
    keeper = begun(state)
    assert keeper.role == "client"
    surveyed(keeper, is_reached=True)
    assert not keeper.look(STAY_MIN_S, is_busy=True, neighbors=5)
    assert keeper.look(STAY_MIN_S, is_busy=False, neighbors=5)
    assert keeper.role == "client", "until it ends"
    again = begun(state)
    assert again.role == "peer"
    surveyed(again, is_reached=False)
    assert not again.look(STAY_MIN_S, is_busy=False, neighbors=5), "longer than the first time"
    assert again.look(2 * STAY_MIN_S, is_busy=False, neighbors=5)
    assert begun(state).role == "client"


def test_what_an_operator_says_goes_before_what_was_found_out(state: PeerState) -> None:
    save_role(state.directory, KeptRole("peer"))
    settings = msgspec.structs.replace(state.settings, role="client")
    keeper = begun(replace(state, settings=settings))
    surveyed(keeper, is_reached=True)
    assert keeper.role == "client"
    assert not keeper.look(STAY_MIN_S, is_busy=False, neighbors=5)
    assert load_role(state.directory) == KeptRole("peer")


def test_a_full_disk_changes_nothing(state: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise role_keeper.LocalMisuse("no space left on device")

    keeper = begun(state)
    surveyed(keeper, is_reached=True)
    monkeypatch.setattr(role_keeper, "save_role", full)
    assert not keeper.look(STAY_MIN_S, is_busy=False, neighbors=5)
    monkeypatch.undo()
    assert not keeper.look(STAY_MIN_S, is_busy=False, neighbors=5)
    surveyed(keeper, is_reached=True)
    assert keeper.look(STAY_MIN_S, is_busy=False, neighbors=5)


def test_a_damaged_file_is_set_aside(state: PeerState, capsys: pytest.CaptureFixture[str]) -> None:
    (state.directory / ROLE_FILE).write_bytes(b"{")
    assert begun(state).role == "client"
    assert "role not read" in capsys.readouterr().out
    assert not (state.directory / ROLE_FILE).exists()


SOON_S = STRAINED_S + TURN_MAX_S + 2


def test_a_peer_with_a_full_disk_goes_on_as_a_client_and_comes_back(
    state: PeerState, machine: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = begun(peer(state))
    assert (keeper.role, keeper.shed, keeper.leave_max_s) == ("peer", "", LEAVE_MAX_S)
    assert not turns(keeper, 0.0, SOON_S)
    machine["free"] = 3.0
    assert turns(keeper, SOON_S, SOON_S)
    assert keeper.leave_max_s == HAND_OVER_MAX_S, "it takes as long as it takes to hand over"
    assert "stores nothing for others for a while" in capsys.readouterr().out
    shed = begun(peer(state))
    assert shed.role == "client"
    why = "3.0 % of the disk are free, less than 5 %; until 10 % of the disk are free"
    assert shed.shed == f"stores nothing for others for a while: {why}"
    assert not turns(shed, 0.0, 2 * STAY_MIN_S)
    machine["free"] = 10.0
    assert turns(shed, 2 * STAY_MIN_S, AT_EASE_S)
    assert "stores for others again" in capsys.readouterr().out
    again = begun(peer(state))
    assert (again.role, again.shed) == ("peer", "")


def test_a_peer_under_load_goes_on_as_a_client_where_that_is_asked_for(
    state: PeerState, machine: dict[str, float]
) -> None:
    machine["load"] = 95.0
    assert not turns(begun(peer(state)), 0.0, SOON_S)
    asked = peer(state, shed_load_percent=90)
    assert turns(begun(asked), 0.0, SOON_S)
    assert begun(asked).shed.endswith("; until 10 % of the disk are free and the load is 45 %")


def test_the_last_ones_go_on_storing_and_say_so(
    state: PeerState, machine: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = begun(peer(state))
    assert not turns(keeper, 0.0, SOON_S, neighbors=2)
    assert keeper.shed == ""
    machine["free"] = 0.0
    assert not turns(keeper, SOON_S, 3 * SOON_S, neighbors=2)
    assert keeper.shed.startswith(
        "is to store nothing for others: 0.0 % of the disk are free, less than 5 %; waits for 3"
    )
    assert capsys.readouterr().out.count("is to store nothing for others") == 1
    assert not keeper.look(5 * SOON_S, is_busy=True, neighbors=3)
    assert keeper.shed.endswith("waits for the end of the calls here")
    machine["free"] = 50.0
    assert not keeper.look(5 * SOON_S + 2, is_busy=False, neighbors=2)
    assert keeper.shed == ""
    machine["free"] = 0.0
    assert not turns(keeper, 6 * SOON_S, SOON_S, neighbors=2)
    assert capsys.readouterr().out.count("is to store nothing for others") == 1, "a second time"


@pytest.mark.parametrize(
    "who", ["first", "bootstrap", "nobody is asked", "no clients", "client", "router", "not asked"]
)
def test_who_does_not_shed(state: PeerState, machine: dict[str, float], who: str) -> None:
    """Who may be alone, by whom others come in; where there may be no clients; and who is one."""
    machine["free"] = 0.0
    configuration = state.configuration
    if who == "first":
        state = peer(state, first=True)
    elif who == "bootstrap":
        state, configuration = peer(state), replace(configuration, bootstrap_nodes=(BootstrapNode(*OWN[0]),))
    elif who == "nobody is asked":
        state, configuration = peer(state), replace(configuration, bootstrap_nodes=())
    elif who == "no clients":
        state, configuration = peer(state), replace(configuration, clients_permitted=False)
    elif who in ("client", "router"):
        state = replace(state, settings=msgspec.structs.replace(state.settings, role=who))
    else:
        state = peer(state, shed_disk_percent=0)
    save_shedding(state.directory, KeptShedding(True, STAY_MIN_S, "no room"))
    keeper = begun(replace(state, document=replace(state.document, configuration=configuration)))
    assert keeper.role == (who if who in ("client", "router") else "peer")
    assert keeper.shed == ""
    assert not turns(keeper, 0.0, SOON_S)


def test_who_finds_out_what_it_is_sheds_as_a_peer_and_is_no_peer_while_it_has(
    state: PeerState, machine: dict[str, float]
) -> None:
    save_role(state.directory, KeptRole("peer"))
    machine["free"] = 3.0
    assert turns(begun(state), 0.0, SOON_S)
    shed = begun(state)
    assert shed.role == "client"
    surveyed(shed, is_reached=False)
    assert not turns(shed, 0.0, 2 * STAY_MIN_S), "it is a client already"
    assert load_role(state.directory) == KeptRole("peer")
    machine["free"] = 30.0
    assert turns(shed, 2 * STAY_MIN_S, AT_EASE_S)
    assert begun(state).role == "peer"


def test_what_cannot_be_written_down_is_not_done(
    state: PeerState,
    machine: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It would be back as a peer at once, and go, and be back."""

    def full(*_: object) -> None:
        raise role_keeper.LocalMisuse("no space left on device")

    keeper = begun(peer(state))
    machine["free"] = 0.0
    monkeypatch.setattr(role_keeper, "save_shedding", full)
    assert not turns(keeper, 0.0, 2 * SOON_S)
    assert 1 <= capsys.readouterr().out.count("not saved") <= 4, "not at each look"
    assert load_shedding(state.directory) is None


def test_nothing_starts_anew_on_a_disk_that_is_full_to_the_last_block(
    state: PeerState, machine: dict[str, float]
) -> None:
    """Its records could not be opened, and its phones would have nobody."""
    machine |= {"free": 0.0, "bytes": ROOM_TO_START - 1.0}
    keeper = begun(peer(state))
    assert not turns(keeper, 0.0, SOON_S)
    assert keeper.shed.endswith("waits for room on the disk to start anew")
    choosing = begun(state)
    surveyed(choosing, is_reached=True)
    assert not choosing.look(STAY_MIN_S, is_busy=False, neighbors=5)
    machine["bytes"] = ROOM_TO_START
    assert turns(keeper, SOON_S, 2.0)
    assert choosing.look(STAY_MIN_S, is_busy=False, neighbors=5)


def test_a_damaged_file_of_what_was_shed_is_set_aside(
    state: PeerState, machine: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    (state.directory / SHEDDING_FILE).write_bytes(b"{")
    assert begun(peer(state)).role == "peer"
    assert "shedding not read" in capsys.readouterr().out
    assert load_shedding(state.directory) is None


def test_a_client_lends_and_a_peer_borrows_and_who_has_no_room_does_neither(
    state: PeerState, machine: dict[str, float]
) -> None:
    lends = msgspec.structs.replace(state.settings, lend_storage="64MB", borrow_storage="2GB")
    state = replace(state, settings=lends)
    assert begun(state).lent_terms == LentTerms(64 << 20, 2 << 30)
    save_role(state.directory, KeptRole("peer"))
    assert begun(state).lent_terms == LentTerms(0, 2 << 30)
    machine["free"] = 3.0
    assert turns(begun(state), 0.0, STRAINED_S + TURN_MAX_S + 4.0)
    keeper = begun(state)
    assert (keeper.role, keeper.lent_terms.lend_bytes) == ("client", 0)
