"""Every script in examples/, as its reader would run it: against a live overlay of three peers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_overlay import COMMAND_MAX_S, EVENT_MAX_S, HOST, OVERLAY, LiveOverlay, eventually

import p2psip
from p2psip import plugins
from p2psip.api import DictionaryKind, ErrorCode, LocalMisuse, RequestFailed, RequestRefused, SingleKind
from p2psip.daemon.state.client_state import load_client
from p2psip.reload.config.configuration import REDIR_KIND, AccessControl, Kind, ServicePermission
from p2psip.reload.wire.kinds import DataModel

pytestmark = pytest.mark.slow(40)

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = (
    Kind(0xF0000001, DataModel.SINGLE, AccessControl.USER_MATCH, 1, 1024),
    Kind(0xF0000002, DataModel.ARRAY, AccessControl.USER_MATCH, 100, 1024),
    Kind(0xF0000003, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, 100, 1024),
)
SERVICES = (ServicePermission("voice-mail", (f"alice@{OVERLAY}", f"peer-*@{OVERLAY}")),)


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """Three peers, and the Kinds that the examples use."""
    directory = tmp_path_factory.mktemp("examples")
    with LiveOverlay(directory, peers=3, users=("alice", "bob"), kinds=(*KINDS, REDIR_KIND), services=SERVICES) as live:
        for user in ("alice", "bob"):
            live.command_json(
                *("client", "init", directory / user, "--config", live.url, "--fingerprint", live.fingerprint),
                *("--user", user, "--password-file", live.password_file(user), "--listen", HOST),
            )
        yield live


def run(overlay: LiveOverlay, script: str, *arguments: object) -> str:
    """What an example prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_MAX_S, env=overlay.environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_store_and_fetch(overlay: LiveOverlay) -> None:
    alice = load_client(overlay.directory / "alice").identity
    assert run(overlay, "store.py", overlay.directory / "alice").startswith("stored at ")
    printed = run(overlay, "fetch.py", overlay.directory / "bob", f"alice@{OVERLAY}")
    assert printed.splitlines() == [
        "motto: one thing after another",
        "diary 1: sun",
        f"note of {alice.node_id.short}, signed by alice@{OVERLAY}: buy milk",
    ]


def test_what_is_removed_is_removed_for_as_long_as_it_might_have_lived(overlay: LiveOverlay) -> None:
    """Wherever there is a copy that has not heard of it."""

    async def store_and_remove() -> None:
        async with p2psip.connect(overlay.directory / "alice") as alice:
            number, name = 0xF0000003, alice.user
            kind = DictionaryKind(number)
            await alice.store(name, kind, b"x", lifetime_s=100_000)
            await alice.remove(name, kind)
            (removed,) = (await alice._fetch(name, kind, number, [], [])).removed
            assert 90_000 < removed.lifetime_s <= 100_000
            await alice.remove(name, kind, lifetime_s=60)
            (removed,) = (await alice._fetch(name, kind, number, [], [])).removed
            assert removed.lifetime_s <= 60

    asyncio.run(asyncio.wait_for(store_and_remove(), EVENT_MAX_S))


def test_stat_and_find(overlay: LiveOverlay) -> None:
    run(overlay, "store.py", overlay.directory / "alice")
    assert ": 8 bytes, " in run(overlay, "stat.py", overlay.directory / "bob", f"alice@{OVERLAY}")
    found = run(overlay, "find.py", overlay.directory / "bob").splitlines()
    assert len(found) == 3
    resource = plugins.topology("CHORD-RELOAD").hash_name(f"alice@{OVERLAY}".encode())
    assert any(line.endswith(resource.hex()) for line in found)


def test_ping(overlay: LiveOverlay) -> None:
    assert "answered after" in run(overlay, "ping.py", overlay.directory / "bob", "anything")


@contextmanager
def running(overlay: LiveOverlay, script: str, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """An example that goes on, and the Node-ID that it says when it is ready; it ends with the block at the latest."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=overlay.environment) as process:
        try:
            assert process.stdout is not None
            _, node_id = process.stdout.readline().split()
            yield process, node_id
        finally:
            process.kill()


def test_streams(overlay: LiveOverlay) -> None:
    with running(overlay, "echo_server.py", overlay.directory / "alice") as (_, node_id):
        assert run(overlay, "echo_client.py", overlay.directory / "bob", node_id) == f"alice@{OVERLAY} says hello\n"


def test_services(overlay: LiveOverlay) -> None:
    """A client and a peer provide it; who is not permitted is told so; who stops is gone."""
    peer = overlay.peers[1]
    with running(overlay, "service_provider.py", overlay.directory / "alice", "voice-mail") as (provider, alice):
        offered = f"alice@{OVERLAY} ({alice}): 25 % of 20, for members\n"
        assert run(overlay, "service_finder.py", overlay.directory / "bob", "voice-mail") == offered
        overlay.command_json("services", "announce", "voice-mail", "--capacity", 9, "--peer", peer.directory)
        eventually("both are found", lambda: providers(overlay, "list") == {alice, peer.node_id})
        (closest,) = providers(overlay, "find", "--near", alice)
        assert closest == alice
        provider.send_signal(signal.SIGINT)
        provider.wait(EVENT_MAX_S)
    assert providers(overlay, "list") == {peer.node_id}
    overlay.command_json("services", "withdraw", "voice-mail", "--peer", peer.directory)
    eventually("nobody is left", lambda: not providers(overlay, "list", status=1))
    overlay.command("services", "announce", "turn-server", "--peer", peer.directory, status=2)


def providers(overlay: LiveOverlay, *command: object, status: int = 0) -> set[str]:
    """Who provides voice mail, as the first peer sees it."""
    arguments = ("services", command[0], "voice-mail", *command[1:], "--peer", overlay.peers[0].directory, "--json")
    ended, output, errors = overlay.run(*arguments)
    assert ended in (0, status), errors
    return {provider["node_id"] for provider in json.loads(output)["providers"]}


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert all(f'"{path.name}"' in text for path in EXAMPLES.glob("*.py"))


def test_much_data_goes_both_ways_at_the_readers_pace(overlay: LiveOverlay) -> None:
    async def exchange() -> None:
        # More than two kernels keep: their buffers grow to ten megabytes.
        sent = os.urandom(1 << 16) * 512
        async with (
            p2psip.connect(overlay.directory / "alice") as alice,
            p2psip.connect(overlay.directory / "bob") as bob,
            bob.listen(4711) as streams,
            await alice.app_attach(bob.node_id, 4711) as there,
            await anext(streams) as here,
        ):
            writing = asyncio.create_task(there.write(sent))
            await asyncio.sleep(0.5)
            assert not writing.done(), "nobody has read anything"
            assert await here.readexactly(len(sent)) == sent
            await writing
            there.close()
            assert await here.read() == b""

    asyncio.run(asyncio.wait_for(exchange(), EVENT_MAX_S))


def test_errors_say_what_is_wrong(overlay: LiveOverlay) -> None:
    async def ask() -> None:
        async with p2psip.connect(overlay.directory / "bob") as bob:
            with pytest.raises(RequestRefused, match="Error_Forbidden") as refused:
                await bob.store(f"alice@{OVERLAY}", SingleKind(0xF0000001), b"not mine")
            assert refused.value.code is ErrorCode.FORBIDDEN
            with pytest.raises(LocalMisuse, match="data model DICTIONARY"):
                await bob.fetch("x", SingleKind(0xF0000003))
            with pytest.raises(LocalMisuse, match="no Kind 0xf0000009"):
                await bob.fetch("x", DictionaryKind(0xF0000009))
            peer = (await bob.ping("x")).node
            with pytest.raises(RequestFailed, match="Error_Not_Found"):
                await bob.app_attach(peer, 4711)
            with pytest.raises(LocalMisuse, match="is in use"):
                async with p2psip.connect(overlay.directory / "bob"):
                    pass

    asyncio.run(asyncio.wait_for(ask(), EVENT_MAX_S))
