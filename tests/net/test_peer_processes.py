"""Peers as processes, with phones on sockets: what restarts, crashes, clocks and full tables of ports do to them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_overlay import COMMAND_MAX_S, HOST, OVERLAY, P2PSIP, LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

from p2psip.daemon.state.kept import load_phones
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.reload.security.authority import DAY_S, Validity
from p2psip.reload.security.certificates import chain_from_pem, chain_to_pem
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import key_from_pem

pytestmark = pytest.mark.slow(60)

MEMORY_KB_MAX = 80 * 1024


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Three peers; alice has a line at the first, bob at the second."""
    with LiveOverlay(tmp_path_factory.mktemp("live"), peers=3, users=("alice", "bob", "carol"), fresh=True) as live:
        live.add_lines([(live.peers[0], "alice"), (live.peers[1], "bob")])
        yield live


def phone(peer: LivePeer, user: str, **options: Any) -> OurPhone:
    return OurPhone(user, server=peer.server, password=phone_password(user), **options)


def talk(alice: OurPhone, to: str) -> None:
    """Call, hear the other's tone, hang up."""
    alice.command(f"call {to}")
    alice.wait("answered")
    time.sleep(1.0)
    alice.command("hangup")
    heard = alice.wait("heard")
    assert heard["received"] > 20, heard


def entries(overlay: LiveOverlay, peer: LivePeer, user: str) -> list[Any]:
    """Where calls to a user lead, as this peer sees it; none is no failure."""
    command = [*P2PSIP, "lookup", user, "--peer", str(peer.directory), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_MAX_S, env=overlay.environment, check=False
    )
    found: list[Any] = json.loads(done.stdout)["entries"]
    return found


def run_in_vain(overlay: LiveOverlay, *arguments: object, **environment: str) -> str:
    """A command that is to fail for a wrong input: the one line that it says."""
    done = subprocess.run(
        [*P2PSIP, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_MAX_S,
        env={**overlay.environment, **environment},
        check=False,
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_registrations_survive_a_restart(overlay: LiveOverlay) -> None:
    """Bob's peer is killed and started again; a call comes before his phone has registered again."""
    bobs = overlay.peers[1]
    with phone(overlay.peers[0], "alice") as alice, phone(bobs, "bob", answer_ms=100) as bob:
        alice.wait("registered")
        bob.wait("registered")
        bobs.wait_phones("bob", 1)
        talk(alice, f"sip:bob@{OVERLAY}")
        eventually("his phone is kept", lambda: b"bob" in (load_phones(bobs.directory, None) or (b"",))[0])
        bobs.kill()
        bobs.run()
        bobs.wait_joined()
        assert [found["contact"] for found in bobs.line("bob")["phones"]]
        bobs.wait_placed("bob")
        # Until its neighbours have it in their tables they say that it is not there (docs/decisions/dead-peers.md).
        overlay.wait_whole()
        registered = len([told for told in bob.told if told["event"] == "registered"])
        talk(alice, f"sip:bob@{OVERLAY}")
        assert registered == 1


def test_a_trace_tells_of_each_hop(overlay: LiveOverlay) -> None:
    """RFC 7851: software, uptime, load and milliseconds, over real links; to a user, a node, and nowhere."""
    overlay.wait_whole()
    asked, bobs = overlay.peers[2], overlay.peers[1]
    traced = overlay.command_json("trace", "bob", "--peer", asked.directory)
    assert (traced["kind"], traced["error"]) == ("Resource-ID", None)
    last = traced["hops"][-1]
    assert last["software"].startswith("p2psip/")
    assert last["uptime_s"] >= 0
    assert 0 <= last["load"] <= 15
    traced = overlay.command_json("trace", bobs.node_id, "--peer", asked.directory)
    (hop,) = traced["hops"]
    assert hop["node_id"] == bobs.node_id
    assert hop["rtt_ms"] > 0
    traced = overlay.command_json("trace", "7" * 32, "--peer", asked.directory, status=1)
    assert "knows of no such node" in traced["error"]
    said = run_in_vain(overlay, "trace", "resource:xyz", "--peer", asked.directory)
    assert "xyz is no Resource-ID" in said


def test_a_clean_stop_takes_the_records_along_and_a_start_brings_them_back(overlay: LiveOverlay) -> None:
    bobs = overlay.peers[1]
    bobs.wait_placed("bob")
    began = time.monotonic()
    bobs.stop()
    assert time.monotonic() - began < 20.0
    assert overlay.peers[2].lookup("bob", status=1)["entries"] == []
    assert not (bobs.directory / "control.sock").exists()
    bobs.run()
    bobs.wait_placed("bob")
    (entry,) = overlay.peers[2].lookup("bob")["entries"]
    assert entry["peer"] == bobs.node_id
    overlay.wait_whole()


def test_names_as_people_write_them(overlay: LiveOverlay) -> None:
    for text in ("bob", "BOB", f"sip:bob@{OVERLAY}", f"SIP:Bob@{OVERLAY.upper()}", f"bob@{HOST}", "sip:bob@localhost"):
        found = overlay.command_json("lookup", text, "--peer", overlay.peers[2].directory)
        assert found["aor"] == f"bob@{OVERLAY}", text
        assert len(found["entries"]) == 1
    nobody = overlay.command("lookup", "nobody", "--peer", overlay.peers[2].directory, status=1)
    assert "nobody: no line of this user is in the overlay" in nobody


def test_lines_come_and_go_while_the_peer_runs(overlay: LiveOverlay) -> None:
    """A phone is refused with exactly the reason; then there is a line, then there is none."""
    peer = overlay.peers[2]
    with phone(peer, "carol") as carol:
        refusal = carol.wait("registration_failed")
        assert "carol has no line on this peer" in json.dumps(refusal)
        peer.add_line("carol")
        carol.wait("registered", 30)
        peer.wait_placed("carol")
        overlay.command("line", "remove", "carol", "--peer", peer.directory)
        assert overlay.command_json("line", "list", "--peer", peer.directory) == []
        eventually("her record is gone", lambda: not entries(overlay, overlay.peers[0], "carol"))


def test_certificates_are_renewed_without_a_restart(overlay: LiveOverlay) -> None:
    """By hand here, as the peer does by itself: its own and a line's, the same Node-IDs, calls go on."""
    peer = overlay.peers[1]
    before = (peer.directory / "peer.crt").read_bytes()
    renewed = overlay.command_json("peer", "renew", peer.directory)
    assert renewed["node_id"] == peer.node_id
    assert (peer.directory / "peer.crt").read_bytes() != before
    placed = peer.line("bob")["record"]["stored_s_ago"]
    line = overlay.command_json("line", "renew", "bob", "--peer", peer.directory)
    assert line["node_id"] == peer.line("bob")["node_id"]
    eventually("the record has the new signature", lambda: _age(peer, "bob") < placed)
    # Links that are made from now on show the new certificate, and are let in.
    first = overlay.peers[0]
    first.kill()
    first.run()
    overlay.wait_whole()
    assert len(overlay.peers[2].lookup("bob")["entries"]) == 1


def _age(peer: LivePeer, user: str) -> float:
    record = peer.line(user)["record"]
    return float(record["stored_s_ago"]) if record else float("inf")


def nearly_over(overlay: LiveOverlay, files: Path) -> None:
    """Put a certificate of a day, of which hours are left, in the place of the one in FILES.crt."""
    key = key_from_pem(files.with_suffix(".key").read_bytes())
    old = CertifiedIdentity(key, chain_from_pem(files.with_suffix(".crt").read_bytes()))
    validity = Validity(time.time() - DAY_S, time.time() + DAY_S / 8)
    anchor = OverlayDirectory(overlay.directory / "overlay").anchor()
    new = anchor.issue(key.public_key(), old.user, [old.node_id], random.SystemRandom(), validity)
    files.with_suffix(".crt").write_bytes(chain_to_pem([new]))


def test_a_running_peer_renews_by_itself(overlay: LiveOverlay) -> None:
    """More than two thirds of their time have passed: its own certificate and its line's are renewed, and used."""
    peer = overlay.add_peer()
    peer.add_line("carol")
    for files in (peer.directory / "peer", peer.directory / "lines" / "carol"):
        nearly_over(overlay, files)
    peer.run()
    for user in (f"peer-{peer.name}", "carol"):
        renewed = peer.daemon.wait_log("certificate renewed", user=f"{user}@{OVERLAY}")
        assert renewed["until"] > time.strftime("%Y-%m-%d", time.gmtime(time.time() + 300 * DAY_S))
    peer.wait_placed("carol")
    overlay.wait_whole()
    peer.stop()


def test_what_is_taken_is_named_in_one_line(overlay: LiveOverlay) -> None:
    peer = overlay.add_peer()
    with socket.create_server((HOST, peer.phone_port)):
        said = run_in_vain(overlay, "peer", "run", peer.directory)
        assert f"cannot listen on tcp {HOST}:{peer.phone_port}: Address already in use; another program has it" in said
    with socket.create_server((HOST, peer.overlay_port)):
        assert f"cannot listen on tcp {HOST}:{peer.overlay_port}" in run_in_vain(overlay, "peer", "run", peer.directory)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((HOST, peer.phone_port))
        assert f"cannot listen on udp {HOST}:{peer.phone_port}" in run_in_vain(overlay, "peer", "run", peer.directory)
    said = run_in_vain(overlay, "peer", "run", peer.directory, "--listen", "192.0.2.77")
    assert "cannot listen on tcp 192.0.2.77" in said
    said = run_in_vain(overlay, "peer", "run", peer.directory, SSLKEYLOGFILE="/nowhere/keys")
    assert "SSLKEYLOGFILE: cannot write /nowhere/keys" in said


def test_a_second_peer_in_the_same_directory(overlay: LiveOverlay) -> None:
    said = run_in_vain(overlay, "peer", "run", overlay.peers[0].directory, "--overlay-port", "7999")
    assert "is in use: stop the other peer that runs in" in said
    # The one that runs goes on, and can still be asked.
    assert overlay.peers[0].status()["state"] == "in the ring"


def test_memory(overlay: LiveOverlay) -> None:
    """Also: what a peer runs in is no longer the process image of the command line."""
    for peer in overlay.running():
        assert peer.status()["memory_kb"] < MEMORY_KB_MAX
        arguments = Path(f"/proc/{peer.daemon.process.pid}/cmdline").read_bytes().split(b"\0")
        assert b"p2psip.cli.run_peer" in arguments


def test_garbage_at_every_port_ends_nothing(overlay: LiveOverlay) -> None:
    peer = overlay.peers[0]
    for port in (peer.overlay_port, peer.sip_port, peer.phone_port):
        for garbage in (b"", b"\0" * 3000, b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000)):
            with socket.create_connection((HOST, port)) as connection:
                connection.sendall(garbage)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for garbage in (b"", b"\0", b"INVITE", os.urandom(1400)):
            sender.sendto(garbage, (HOST, peer.phone_port))
    assert peer.status()["state"] == "in the ring"


def test_ctrl_c_is_a_clean_stop(overlay: LiveOverlay) -> None:
    peer = overlay.add_peer()
    peer.run()
    peer.wait_joined()
    assert peer._over(signal.SIGINT) == 0
