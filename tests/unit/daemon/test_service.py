"""When a peer does not begin, and when it does not go on as it is."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import structlog
from free_ports import free_port

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.wallclock import WallClock
from p2psip.cli import run_peer
from p2psip.coupling.peer import Peer
from p2psip.daemon import service
from p2psip.daemon.control_client import ask_peer
from p2psip.daemon.roles import role_keeper, shedding
from p2psip.daemon.roles.role_choice import KeptRole, RoleChoice
from p2psip.daemon.service import PeerService, TookAnotherName, TookAnotherRole
from p2psip.daemon.state.kept import KeptService, load_role, load_services
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import (
    PeerState,
    load_state,
    reload_identity,
    save_document,
    save_identity,
    save_key,
    save_settings,
)
from p2psip.net import node_host
from p2psip.reload.config.configuration import REDIR_KIND, BootstrapNode, ServicePermission
from p2psip.reload.config.document import parse
from p2psip.reload.paths.values import Purpose
from p2psip.sim.membership import OVERLAY, Club, founding, key, node_id
from p2psip.sip.events.line_calls import LineCalls

HERE = "127.0.0.1"
EXPIRATION = 1_900_000_000.0
"""2030-03-17."""


@pytest.fixture
def state(tmp_path: Path) -> PeerState:
    """A peer's directory, with ports that nobody has."""
    club = Club.of()
    values = {
        "name": "garden", "fingerprint": club.anchor.fingerprint, "listen": [HERE], "phone_listen": [HERE],
        "overlay_port": free_port(), "sip_port": free_port(), "phone_port": free_port(), "first": True,
    }  # fmt: skip
    save_settings(tmp_path, make_settings(values, "test"))
    save_document(tmp_path, parse(founding().document))
    save_key(tmp_path, key())
    save_identity(tmp_path, club.member(f"peer-garden@{OVERLAY}", [node_id(1)]))
    return load_state(tmp_path)


def expiring(state: PeerState) -> PeerState:
    configuration = replace(state.configuration, expiration=EXPIRATION)
    return replace(state, document=replace(state.document, configuration=configuration))


def at(monkeypatch: pytest.MonkeyPatch, date: float, *, is_trusted: bool = True) -> None:
    """Have the machine believe in this date."""
    monkeypatch.setattr(
        service, "read_wall_clock", lambda *_: WallClock(date - service.boot_time(), is_trusted=is_trusted)
    )


def run(state: PeerState, until: Callable[[], bool] = lambda: True) -> list[Mapping[str, object]]:
    """Run the peer until it is ready and this holds, or it has ended by itself; what it said when it was ready."""
    said: list[Mapping[str, object]] = []

    async def main() -> None:
        running = asyncio.create_task(PeerService(state).run(said.append))
        for _ in range(6000):
            if running.done() or (said and until()):
                break
            await asyncio.sleep(0.01)
        is_over = running.done()
        running.cancel()
        await asyncio.wait([running])
        # What is closed is gone a moment later.
        await asyncio.sleep(0.05)
        if is_over:
            running.result()

    asyncio.run(main())
    return said


def test_it_says_when_it_is_ready(state: PeerState) -> None:
    (facts,) = run(state)
    assert facts["user"] == f"peer-garden@{OVERLAY}"
    assert facts["phones"] == [f"{HERE}:{state.settings.phone_port}"]
    # Its sockets are free again.
    socket.create_server((HERE, state.settings.overlay_port)).close()


def test_it_may_be_told_to_stop_as_soon_as_it_can_be_seen(state: PeerState) -> None:
    """Else a signal that comes at once would end it with its records in the overlay."""
    asyncio.run(PeerService(state).run(lambda _: os.kill(os.getpid(), signal.SIGTERM)))


def test_an_expired_configuration_is_not_begun_with(state: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6940 11.1: "Time in the future at which this overlay configuration is no longer valid"."""
    at(monkeypatch, EXPIRATION + 1)
    with pytest.raises(
        LocalMisuse, match=f"the configuration of {OVERLAY} has expired on 2030-03-17: put the overlay's"
    ):
        run(expiring(state))
    at(monkeypatch, EXPIRATION - 1)
    assert run(expiring(state))


def test_a_date_that_nobody_vouches_for_expires_nothing(state: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, EXPIRATION + 1, is_trusted=False)
    assert run(expiring(state))


def test_a_configuration_that_expires_meanwhile_ends_the_peer(
    state: PeerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WATCH_S", 0.1)
    began = service.boot_time() + 2.0
    at(monkeypatch, EXPIRATION - 2.0)
    monkeypatch.setattr(node_host, "read_wall_clock", lambda *_: WallClock(EXPIRATION - began))
    with pytest.raises(RequestFailed, match="has expired on 2030-03-17"):
        run(expiring(state), lambda: False)


def everywhere(state: PeerState) -> PeerState:
    settings = msgspec.structs.replace(state.settings, listen=("0.0.0.0",), phone_listen=("0.0.0.0",))
    return replace(state, settings=settings)


def test_an_address_that_comes_is_told_and_ends_nothing(
    state: PeerState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine came up before its network: what phones and peers are told would be wrong for ever."""
    looks = iter([[], ["192.168.7.1"], ["192.168.7.1"], ["192.168.7.1", "10.0.0.1"]])
    last = ["10.0.0.1"]
    monkeypatch.setattr(service, "WATCH_S", 0.05)
    monkeypatch.setattr(service, "machine_hosts", lambda: next(looks, last))
    told: list[tuple[list[str], list[str]]] = []

    def use(peer: Peer, addresses: Mapping[Purpose, tuple[Address, ...]], own: Iterable[str], *_: object) -> None:
        told.append(([address.host for address in addresses[Purpose.SIP]], list(own)))

    monkeypatch.setattr(Peer, "use_addresses", use)
    (facts,) = run(everywhere(state), lambda: len(told) == 3)
    assert facts["phones"] == [f"127.0.0.1:{state.settings.phone_port}"]
    assert told == [
        (["192.168.7.1"], ["192.168.7.1", "127.0.0.1"]),
        (["192.168.7.1", "10.0.0.1"], ["192.168.7.1", "10.0.0.1", "127.0.0.1"]),
        (["10.0.0.1"], ["10.0.0.1", "127.0.0.1"]),
    ]
    assert capsys.readouterr().out.count("this machine has other addresses now") == 3


def test_a_machine_that_does_not_say_its_addresses_is_no_reason_to_end(
    state: PeerState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def out_of_descriptors() -> list[str]:
        asked.append("for addresses")
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(service, "WATCH_S", 0.05)
    monkeypatch.setattr(service, "machine_hosts", out_of_descriptors)
    assert run(everywhere(state), lambda: len(asked) > 3)
    assert capsys.readouterr().out.count("the addresses of this machine are not known") == 1


def test_starting_anew_is_the_same_command_line_again(state: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, list[str]]] = []

    async def renamed(_: PeerService) -> None:
        raise TookAnotherName

    monkeypatch.setattr(PeerService, "_renamed", renamed)
    monkeypatch.setattr(os, "execv", lambda *arguments: begun.append(arguments))
    monkeypatch.setattr(run_peer.sys, "orig_argv", ["python", "-m", "p2psip.cli.run_peer", "peer", "{}", "json"])
    monkeypatch.setitem(run_peer.sys.modules, "rich", None)
    run_peer.main([str(state.directory), "{}", "json"])
    assert begun == [(run_peer.sys.executable, ["python", "-m", "p2psip.cli.run_peer", "peer", "{}", "json"])]


@pytest.mark.parametrize("calls", [0, 1])
def test_another_role_is_a_start_anew_when_nobody_speaks(
    state: PeerState, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """It begins as a client, and has found out that it is to be a peer."""
    asked: list[bool] = []

    def due(_: RoleChoice, now: float, *, is_busy: bool) -> KeptRole | None:
        asked.append(is_busy)
        return None if is_busy else KeptRole("peer")

    monkeypatch.setattr(RoleChoice, "due", due)
    monkeypatch.setattr(LineCalls, "__len__", lambda _: calls)
    monkeypatch.setattr(service, "WATCH_S", 0.05)
    configuration = replace(state.configuration, no_ice=False, bootstrap_nodes=(BootstrapNode("192.0.2.1"),))
    state = replace(
        state,
        settings=msgspec.structs.replace(state.settings, first=False, role="auto"),
        document=replace(state.document, configuration=configuration),
    )
    if calls:
        run(state, lambda: len(asked) > 2)
        assert load_role(state.directory) is None
    else:
        with pytest.raises(TookAnotherRole):
            run(state, lambda: False)
        assert load_role(state.directory) == KeptRole("peer")
    assert set(asked) == {bool(calls)}


def test_a_peer_that_has_no_room_hands_over_and_starts_anew_as_a_client(
    state: PeerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are others here in no more than name; the next run says what it is, and for how long."""
    monkeypatch.setattr(service, "WATCH_S", 0.01)
    monkeypatch.setattr(role_keeper, "disk_free_percent", lambda _: 3.0)
    monkeypatch.setattr(shedding, "STRAINED_S", 0.02)
    monkeypatch.setattr(shedding, "TURN_MAX_S", 0.02)
    monkeypatch.setattr(shedding, "NEIGHBORS_MIN", 0)
    configuration = replace(state.configuration, bootstrap_nodes=(BootstrapNode("192.0.2.1"),))
    state = replace(
        state,
        settings=msgspec.structs.replace(state.settings, first=False),
        document=replace(state.document, configuration=configuration),
    )
    with pytest.raises(TookAnotherRole):
        run(state, lambda: False)
    with ThreadPoolExecutor() as pool:
        asked: list[Future[object]] = []

        def is_told() -> bool:
            if not asked:
                asked.append(pool.submit(ask_peer, state.directory, "status"))
            return asked[0].done()

        run(state, is_told)
    told = asked[0].result()
    assert isinstance(told, dict)
    why = "3.0 % of the disk are free, less than 5 %; until 10 % of the disk are free"
    assert told["shed"] == f"stores nothing for others for a while: {why}"
    assert "home" in told, "as a client has one"


def test_damaged_files_that_can_be_made_again_keep_no_peer_from_starting(
    state: PeerState, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("records.db", "contacts.json", "kinds.json", "phones.json", "services.json")
    for name in files:
        (state.directory / name).write_bytes(b"\xff\xfe this is nothing, although it is long enough" * 100)
    assert run(state)
    for name in files:
        assert (state.directory / f"{name}.damaged").exists()
    said = capsys.readouterr().out
    assert said.count("level=warning") + said.count("[warning") >= len(files)
    assert run(state)


def _malformed() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def test_records_that_are_found_damaged_later_are_left_behind(
    state: PeerState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process is replaced: whoever asked the store cannot go on. The next one has an empty store, at once."""
    begun: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: begun.append(arguments))
    monkeypatch.setattr(os, "_exit", lambda _: None)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        PeerService(state)._on_exception(loop, {"exception": _malformed(), "message": "a read"})

    asyncio.run(main())
    assert begun == [(sys.executable, sys.orig_argv)]
    # The real one does not come back from there.
    (state.directory / "records.db").write_bytes(b"")
    assert run(state)
    assert "records.db.damaged" in capsys.readouterr().out


@pytest.mark.parametrize("bug", [AssertionError("a bug"), OSError(24, "Too many open files")])
def test_what_nobody_has_expected_ends_the_peer(
    bug: Exception, state: PeerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a machine refuses is a value long before it comes here."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)

    async def main() -> None:
        PeerService(state)._on_exception(
            asyncio.get_running_loop(), {"message": "Exception in callback", "exception": bug}
        )

    asyncio.run(main())
    assert ended == [70]


def test_a_renewed_certificate_must_be_this_peers(state: PeerState) -> None:
    club = Club.of()
    save_identity(state.directory, club.member(f"peer-garden@{OVERLAY}", [node_id(1)]))
    assert reload_identity(state).identity.node_id == node_id(1)
    save_identity(state.directory, club.member(f"peer-garden@{OVERLAY}", [node_id(9)]))
    with pytest.raises(LocalMisuse, match="restart it"):
        reload_identity(state)


def providing(state: PeerState, *services: str) -> PeerState:
    """The overlay has service discovery, and whoever is a peer may announce these services."""
    kinds = (*state.configuration.required_kinds, REDIR_KIND)
    permitted = tuple(ServicePermission(name, ("*",)) for name in services)
    configuration = replace(state.configuration, required_kinds=kinds, services=permitted)
    return replace(state, document=replace(state.document, configuration=configuration))


def announced(state: PeerState, *commands: Mapping[str, object]) -> list[str]:
    """Run a peer, give it these commands; what it announces then."""
    peer, names = PeerService(state), list[str]()

    async def main() -> None:
        ready = asyncio.Event()
        running = asyncio.create_task(peer.run(lambda _: ready.set()))
        await ready.wait()
        for command in commands:
            await peer._commands.table()["services-announce"](command)
        names.extend(peer._peer.services.names)
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(0.05)

    asyncio.run(main())
    return names


def test_services_are_announced_again_after_a_restart(state: PeerState) -> None:
    permitting = providing(state, "turn-server", "voice-mail")
    both = [{"name": "turn-server", "capacity": 20, "policy": "members"}, {"name": "voice-mail"}]
    assert announced(permitting, *both) == ["turn-server", "voice-mail"]
    assert announced(permitting) == ["turn-server", "voice-mail"]
    assert load_services(state.directory)[0] == KeptService("turn-server", 20, "members")
    assert announced(permitting, {"name": "turn-server", "withdraw": True}) == ["voice-mail"]
    assert announced(permitting) == ["voice-mail"]


def test_a_service_that_is_not_permitted_any_more_is_left_out(state: PeerState) -> None:
    announced(providing(state, "turn-server", "voice-mail"), {"name": "turn-server"}, {"name": "voice-mail"})
    with structlog.testing.capture_logs() as log:
        assert announced(providing(state, "voice-mail")) == ["voice-mail"]
    (entry,) = (entry for entry in log if entry["event"] == "service not announced")
    assert entry["service"] == "turn-server"
    assert "does not permit" in entry["reason"]


@pytest.mark.parametrize(("media", "is_used"), [("anchor", True), ("auto", False)])
def test_a_media_engine_is_asked_if_anything_goes_through_this_peer(
    state: PeerState, media: str, is_used: bool
) -> None:
    engine = Address(HERE, free_port())
    values = {"media": media, "media_engine": str(engine)}
    state = replace(state, settings=msgspec.structs.replace(state.settings, **values))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs, structlog.testing.capture_logs() as logs:
        theirs.bind(engine)
        theirs.setblocking(False)
        heard: list[bytes] = []

        def is_over() -> bool:
            """It has been pinged, has heard an answer, and has said so; or nothing is to come."""
            try:
                data, source = theirs.recvfrom(1 << 16)
                heard.append(data)
                theirs.sendto(data.partition(b" ")[0] + b" d6:result4:ponge", source)
            except BlockingIOError:
                pass
            return not is_used or any(each["event"] == "media engine answers" for each in logs)

        run(state, is_over)
    events = [each["event"] for each in logs if str(each["event"]).startswith("media engine")]
    assert events == ["media engine answers" if is_used else "media engine not used"]
    assert bool(heard) is is_used
