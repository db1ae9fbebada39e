"""The state directory of a peer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.init import PeerRequest, init_peer, preferred_algorithm
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import load_state, save_document, save_identity, save_key, save_settings
from p2psip.enrollment.founding import revised
from p2psip.reload.config.document import parse
from p2psip.reload.config.write import build
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, OVERLAY, Club, founding, key, node_id

PEER = f"peer-garden@{OVERLAY}"


def peer(directory: Path, algorithm: SignatureAlgorithm = SignatureAlgorithm.ECDSA) -> Path:
    """A state directory as `peer init` leaves it."""
    founded = founding(algorithm)
    save_document(directory, parse(founded.document))
    save_key(directory, key(algorithm))
    save_identity(directory, Club.of(algorithm).member(PEER, [node_id(7)]))
    settings = make_settings({"name": "garden", "fingerprint": founded.anchor.fingerprint}, "test")
    save_settings(directory, settings)
    return directory


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_peer_starts_from_its_directory(tmp_path: Path, algorithm: SignatureAlgorithm) -> None:
    state = load_state(peer(tmp_path, algorithm), {"overlay_port": 7001})
    assert (state.identity.user, state.identity.node_id) == (PEER, node_id(7))
    assert state.configuration == founding(algorithm).configuration
    assert state.settings.overlay_port == 7001


def test_an_update_that_was_kept_is_read_again(tmp_path: Path) -> None:
    founded = founding()
    _, raw = revised(replace(founded.configuration, turn_density=9), founded.signer)
    save_document(peer(tmp_path), parse(raw))
    assert load_state(tmp_path).configuration.turn_density == 9


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("peer.toml", None, "is not the state directory"),
        ("config.xml", None, r"cannot read .*config\.xml"),
        ("config.xml", b"<x/>", r"config\.xml: not valid"),
        ("config.xml", founding(SignatureAlgorithm.RSA).document, r"config\.xml: the trust anchor of"),
        ("config.xml", founding().document.replace(b"<no-ice>true", b"<no-ice>1   "), "not duly signed"),
        ("peer.key", None, r"cannot read .*peer\.key"),
        ("peer.key", b"garbage", "no unencrypted private key"),
        ("peer.crt", None, r"cannot read .*peer\.crt"),
        ("peer.crt", b"garbage", "no certificate"),
    ],
)
def test_what_is_missing_or_does_not_fit(tmp_path: Path, file: str, content: bytes | None, says: str) -> None:
    path = peer(tmp_path) / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalMisuse, match=says):
        load_state(tmp_path)


def test_a_key_and_a_certificate_of_others(tmp_path: Path) -> None:
    save_key(peer(tmp_path), key(number=1))
    with pytest.raises(LocalMisuse, match=r"peer\.crt: the private key is not that"):
        load_state(tmp_path)
    other = replace(Club.of(), anchor=replace(Club.of().anchor, overlay="other.example"))
    save_identity(tmp_path, other.member(PEER, [node_id(7)]))
    with pytest.raises(LocalMisuse, match=r"peer\.crt: untrusted certificate \(wrong overlay\)"):
        load_state(tmp_path)


def test_11_3_1_a_peer_signs_for_itself_where_it_may(tmp_path: Path) -> None:
    founded = founding()
    raw = build(replace(founded.configuration, self_signed_digest=HashAlgorithm.SHA256), founded.signer)
    (tmp_path / "config.xml").write_bytes(raw)
    request = PeerRequest(str(tmp_path / "config.xml"), founded.anchor.fingerprint, "garden")
    state = asyncio.run(init_peer(tmp_path / "peer", request))
    assert state.identity.user == PEER
    assert load_state(tmp_path / "peer").identity.node_id == state.identity.node_id


def test_ecdsa_where_it_is_permitted() -> None:
    for algorithm in ALGORITHMS:
        assert preferred_algorithm(founding(algorithm).configuration) is algorithm
    both = replace(founding().configuration, signature_algorithms=frozenset(ALGORITHMS))
    assert preferred_algorithm(both) is SignatureAlgorithm.ECDSA
