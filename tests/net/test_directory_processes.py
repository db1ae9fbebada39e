"""`p2psip directory` at running peers: cards, who can be reached, the copy with the network down."""

from __future__ import annotations

import csv
import io
import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from free_ports import free_port
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow


def listed(overlay: LiveOverlay, peer: LivePeer) -> dict[str, Any]:
    """What a peer shows, by user."""
    found = overlay.command_json("directory", "list", "--peer", peer.directory)
    assert found["refused"] == []
    return {entry["user"]: entry for entry in found["entries"]}


def test_each_peer_shows_who_is_there_and_keeps_it(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=2, users=("alice", "bob")) as overlay:
        hill, valley = overlay.peers
        overlay.add_lines([(hill, "alice"), (valley, "bob")])
        said = ("--name", "Alice Hill", "--number", "200", "--callsign", "DL1ABC", "--site", "Hill")
        shown = overlay.command("directory", "card", "alice", *said, "--peer", hill.directory)
        assert "Alice Hill" in shown
        eventually(
            "each has both", lambda: all(set(listed(overlay, peer)) == {"alice", "bob"} for peer in (hill, valley))
        )
        alice = listed(overlay, valley)["alice"]
        assert (alice["name"], alice["says_number"], alice["callsign"]) == ("Alice Hill", "200", "DL1ABC")
        assert alice["number"] == "alice", "the dial plan of the valley does not know 200"
        assert listed(overlay, hill)["bob"]["site"] == valley.name

        with OurPhone("alice", server=hill.server, password=phone_password("alice")):
            hill.wait_phones("alice", 1)
            eventually("her phone is known over there", lambda: listed(overlay, valley)["alice"]["reachable"])

        found = overlay.command("directory", "search", "dl1abc", "hill", "--peer", valley.directory)
        assert "Alice Hill" in found
        assert "bob" not in found
        overlay.command("directory", "search", "nobody", "--peer", valley.directory, status=1)
        rows = list(
            csv.DictReader(io.StringIO(overlay.command("directory", "list", "--csv", "--peer", valley.directory)))
        )
        assert [row["name"] for row in rows] == ["Alice Hill", "bob"]
        assert "FN:Alice Hill" in overlay.command("directory", "list", "--vcard", "--peer", valley.directory)

        # Alone, and after a restart alone, the valley has it still.
        hill.kill()
        valley.stop()
        assert (valley.directory / "directory.bin").stat().st_size > 500
        http, ldap = free_port(), free_port()
        valley.run("--first", "--directory-http-port", str(http), "--directory-ldap-port", str(ldap))
        assert set(listed(overlay, valley)) == {"alice", "bob"}
        with urlopen(f"http://{valley.host}:{http}/grandstream.xml", timeout=60.0) as page:
            assert b"<LastName>DL1ABC</LastName>" in page.read()
        with socket.create_connection((valley.host, ldap), timeout=60.0) as phone:
            phone.sendall(bytes.fromhex("300c020101600702010304008000"))
            assert phone.recv(100) == bytes.fromhex("300c02010161070a010004000400")


def test_what_is_mistyped_ends_in_a_line_that_says_what_to_do(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=1, users=("alice",)) as overlay:
        (peer,) = overlay.peers
        peer.add_line("alice")
        for asked, reason in (
            (("card", "carol"), "has no line here; `p2psip line list"),
            (("card", "alice", "--name", "x" * 65), "is not 64 characters of text at the most"),
            (("list", "--json", "--csv"), "give one of --json, --csv and --vcard"),
        ):
            status, _, error = overlay.run("directory", *asked, "--peer", peer.directory)
            assert status == 2
            assert reason in error
