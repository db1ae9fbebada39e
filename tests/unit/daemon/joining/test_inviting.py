"""The code of an invitation leads to where the overlay is."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.joining import first_machine, inviting
from p2psip.daemon.joining.first_machine import enroll_here, found_here, made_up_name
from p2psip.daemon.joining.inviting import invite
from p2psip.enrollment.invitations import Invitation
from p2psip.enrollment.join_codes import JoinCode, MeetingPlace
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.reload.config.configuration import is_dns_name
from p2psip.reload.security.keys import generate_key
from p2psip.reload.wire.common import SignatureAlgorithm

RNG = random.Random(3)


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OverlayDirectory:
    """An overlay that began at 192.0.2.1, which is this machine."""
    monkeypatch.setattr(inviting, "machine_hosts", lambda: ["192.0.2.1"])
    return found_here(tmp_path / "overlay", "Club.Example", "192.0.2.1", RNG, time.time())


def code(overlay: OverlayDirectory, **terms: object) -> JoinCode:
    """That of a new invitation."""
    said = {"inviter": "", "expires": time.time() + 60.0, "created": time.time()} | terms
    return invite(overlay, Invitation(**said), RNG)[1]  # type: ignore[arg-type]


def test_it_names_one_place_that_enrolls_and_is_a_peer(overlay: OverlayDirectory) -> None:
    made = code(overlay)
    assert made.overlay == "club.example"
    assert made.places == (MeetingPlace("192.0.2.1", 8443, 6084),)
    assert overlay.anchor().fingerprint.startswith(made.fingerprint.hex())
    assert JoinCode.parse(str(made)) == made


def test_a_machine_that_has_moved_is_named_as_well(overlay: OverlayDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inviting, "machine_hosts", lambda: ["198.51.100.7"])
    monkeypatch.setattr(inviting, "own_address", lambda: "198.51.100.7")
    assert code(overlay).places == (MeetingPlace("192.0.2.1", 8443, 6084), MeetingPlace("198.51.100.7", 8443))


def test_a_delegated_server_invites_to_the_trust_anchor_above_it(overlay: OverlayDirectory, tmp_path: Path) -> None:
    server = overlay.delegate(tmp_path / "server", RNG, time.time(), 86_400.0)
    assert code(server).fingerprint == code(overlay).fingerprint


def test_who_invites_has_an_account(overlay: OverlayDirectory) -> None:
    with pytest.raises(LocalMisuse, match=r"no account zoe@club\.example that could invite"):
        code(overlay, inviter="zoe")
    assert overlay.accounts().invitations() == []
    code(overlay)
    (written,) = overlay.accounts().invitations()
    assert written.inviter == "admin@club.example"


def test_the_first_peer_is_enrolled_without_a_server(overlay: OverlayDirectory) -> None:
    key = generate_key(SignatureAlgorithm.ECDSA)
    identity = enroll_here(overlay, "peer-hill@club.example", key)
    assert enroll_here(overlay, "peer-hill@club.example", key).node_id == identity.node_id
    (invited,) = overlay.accounts().invited()
    assert (invited.user, invited.inviter) == ("peer-hill@club.example", "admin@club.example")


def test_who_has_the_overlay_s_directory_approves_himself(overlay: OverlayDirectory) -> None:
    """The machine on which the overlay began, whose peer is made anew."""
    overlay.accounts().require_approval(required=True)
    identity = enroll_here(overlay, "peer-hill@club.example", generate_key(SignatureAlgorithm.ECDSA))
    assert identity.user == "peer-hill@club.example"
    assert overlay.accounts().applicants() == []


def test_a_machine_without_a_network_founds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalMisuse, match="is this machine for itself alone"):
        found_here(tmp_path / "overlay", "club.example", "127.0.0.1", RNG, time.time())
    monkeypatch.setattr(first_machine, "own_address", lambda: "127.0.0.1")
    with pytest.raises(LocalMisuse, match="has no network"):
        found_here(tmp_path / "overlay", "club.example", None, RNG, time.time())
    with pytest.raises(LocalMisuse, match="is not a DNS name"):
        found_here(tmp_path / "overlay", "no name", "192.0.2.1", RNG, time.time())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["hill", "", "-_-", "a" * 80, "größe"])
def test_a_name_that_is_made_up_is_one(host: str) -> None:
    assert is_dns_name(made_up_name(host, RNG))
