"""One machine in two overlays: a peer of each, and phones of one of them that reach the users of both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_overlay import HOST, OVERLAY, LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow(40)

OTHER = "club-c.example"


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LivePeer, LivePeer, LivePeer]]:
    """alice's peer; beside it one of the other overlay, in which carol lives at a second."""
    directory = tmp_path_factory.mktemp("neighbours")
    with (
        LiveOverlay(directory / "ours", peers=1, users=("alice",)) as ours,
        LiveOverlay(directory / "theirs", peers=2, users=("carol",), name=OTHER) as theirs,
    ):
        (hill,), (beside, far) = ours.peers, theirs.peers
        (hill.directory / "dialplan.toml").write_text(f'[extensions]\n77 = "carol@{OTHER}"\n')
        for peer, domain, other in ((hill, OTHER, beside), (beside, OVERLAY, hill)):
            peer.stop()
            peer.run("--neighbours", f"{domain}={other.server}")
        ours.wait_whole(), theirs.wait_whole()
        ours.add_lines([(hill, "alice")])
        theirs.add_lines([(far, "carol")])
        yield hill, beside, far


def test_a_phone_of_one_overlay_calls_a_user_of_the_other_by_name_and_by_digits(
    peers: tuple[LivePeer, LivePeer, LivePeer],
) -> None:
    hill, _, far = peers
    with (
        OurPhone("alice", server=hill.server, password=phone_password("alice"), plays=440, answer_ms=100) as alice,
        OurPhone("carol", server=far.server, password=phone_password("carol"), plays=550, answer_ms=100) as carol,
    ):
        alice.wait("registered"), carol.wait("registered")
        alice.command(f"call sip:carol@{OTHER}")
        alice.wait("answered")
        assert f"alice@{OVERLAY}" in str(carol.wait("incoming"))
        alice.command("hangup")
        carol.wait("ended"), alice.wait("ended")
        alice.command("call 77")
        alice.wait("answered")
        carol.wait("incoming")
        alice.command("hangup")
        carol.wait("ended"), alice.wait("ended")


def test_what_becomes_of_a_call_is_explained(peers: tuple[LivePeer, LivePeer, LivePeer]) -> None:
    hill, beside, _ = peers
    explained = hill._overlay.command_json("dial", "--explain", "77", "--as", "alice", "--peer", hill.directory)
    assert not explained["refused"], explained
    assert f"the server of {OTHER} is set: {HOST}:{beside.phone_port}" in explained["places"]
    closed = hill._overlay.run(
        "dial", "--explain", "sip:dave@club-d.example", "--as", "alice", "--peer", hill.directory
    )
    assert closed[0] == 1
