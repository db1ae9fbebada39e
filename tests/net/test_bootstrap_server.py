"""A bootstrap server, and a peer that joins by it: real processes."""

from __future__ import annotations

import signal
import socket

import pytest
from free_ports import free_port
from live_overlay import Daemon, LiveOverlay, eventually

pytestmark = pytest.mark.slow(25)


def test_who_joins_is_led_to_a_peer_that_answers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The configuration names the server; one of the peers that it knows is dead, the other has moved to another port.
    It holds no certificate, and what it logs says whom it has led to whom.
    """
    with LiveOverlay(tmp_path_factory.mktemp("live"), peers=2) as live:
        first, second = live.peers
        for peer in (second, first):
            peer.stop()
            (peer.directory / "contacts.json").unlink(missing_ok=True)
        moved, dead = free_port(), free_port()
        first.run("--first", "--overlay-port", str(moved))
        first.wait_joined()
        arguments = ("--listen", f"127.0.0.1:{live.port}", f"127.0.0.1:{dead}", f"127.0.0.1:{moved}")
        server = Daemon("bootstrap", "serve", *arguments, environment=live.environment)
        assert server.ready_line() == f"ready 127.0.0.1:{live.port}\n"
        second.run()
        second.wait_joined()
        server.wait_log("introduced", peer=f"127.0.0.1:{moved}")
        (won,) = [way for way in second.status()["ways_in"] if way["winner"]]
        assert (won["way"], won["address"]) == ("configured", f"127.0.0.1:{live.port}")
        eventually("they are one ring", lambda: first.status()["neighbors"] == [second.node_id])
        for peer in (second, first):
            peer.stop()
        with socket.create_connection(("127.0.0.1", live.port)) as refused:
            # Now that nobody is there.
            server.wait_log("no peer answers")
            assert refused.recv(1) == b""
        assert server.end(signal.SIGTERM) == 0
        assert not server.complaints
