"""A peer that was revoked, and taken back while it was off, starts by the newest configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import Cause, RequestFailed
from p2psip.daemon.renewing import readmission
from p2psip.daemon.renewing.readmission import state_to_run
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import Expelled, save_document, save_identity, save_key, save_settings
from p2psip.enrollment.accounts import Account
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.sim.membership import OVERLAY, Club, founding, key, node_id


@pytest.fixture
def overlay(tmp_path: Path) -> OverlayDirectory:
    """Its administrator's directory."""
    return OverlayDirectory.create(tmp_path / "club", founding(), Account(f"admin@{OVERLAY}", "", is_admin=True))


@pytest.fixture
def peer(tmp_path: Path, overlay: OverlayDirectory) -> Path:
    """A peer that has left, as the configuration that is there revokes it."""
    directory = tmp_path / "peer"
    directory.mkdir()
    save_settings(directory, make_settings({"name": "garden", "fingerprint": Club.of().anchor.fingerprint}, "test"))
    overlay.revoke([node_id(1)])
    save_document(directory, overlay.document())
    save_key(directory, key())
    save_identity(directory, Club.of().member(f"peer-garden@{OVERLAY}", [node_id(1)]))
    return directory


def serve(monkeypatch: pytest.MonkeyPatch, answer: bytes | RequestFailed) -> None:
    """What the overlay's servers have."""

    async def fetched(directory: Path) -> bytes:
        if isinstance(answer, RequestFailed):
            raise answer
        return answer

    monkeypatch.setattr(readmission, "refetch_in_process", fetched)


def test_it_is_as_before_when_that_was_taken_back(
    peer: Path, overlay: OverlayDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay._revise_bad_nodes(frozenset(), frozenset([node_id(1)]))
    serve(monkeypatch, overlay.document().raw)
    state = state_to_run(peer)
    assert (state.identity.node_id, state.configuration.sequence) == (node_id(1), 3)
    # It is kept: the next start asks nobody.
    serve(monkeypatch, RequestFailed("no answer"))
    assert state_to_run(peer).configuration.sequence == 3


@pytest.mark.parametrize("is_there", [True, False])
def test_else_it_says_that_it_is_revoked(
    peer: Path, overlay: OverlayDirectory, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    gone = RequestFailed("no configuration", (Cause("https://x", "no answer in time", 0.0),))
    serve(monkeypatch, overlay.document().raw if is_there else gone)
    with pytest.raises(Expelled, match="the configuration revokes Node-ID") as raised:
        state_to_run(peer)
    assert ("is not known: no configuration" in str(raised.value)) is not is_there


def test_what_another_has_signed_lets_nobody_back(peer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes over HTTPS from a server of the trust anchor, but it is the document that is proven."""
    raw = (peer / "config.xml").read_bytes()
    serve(monkeypatch, raw.replace(b'sequence="2"', b'sequence="9"').replace(str(node_id(1)).encode(), b"ab" * 16))
    with pytest.raises(Expelled, match="is not known"):
        state_to_run(peer)
