"""A real overlay on loopback, by nothing but the command line: enrollment server and peers as processes of their own.

    with LiveOverlay(directory, peers=3, users=("alice", "bob")) as overlay:
        overlay.peers[0].add_line("alice")

Each process logs JSON on standard error; what it said can be waited for. At the end every process is ended, and one
that had ended by itself, printed what is no log line (a traceback), or logged an error, is a failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from forked import FRESH as P2PSIP
from forked import Forked
from forked import run as run_forked
from free_ports import free_port, give_back

from p2psip.daemon.control_client import ask_peer
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.sockets.addresses import join_host_port
from p2psip.reload.config.configuration import Kind, ServicePermission

OVERLAY = "demo.example"
HOST = "127.0.0.1"

COMMAND_MAX_S = 120.0
EVENT_MAX_S = 120.0
"""For a machine that is busy with something else; on an idle one nothing here takes a tenth of it."""
POLL_S = 0.1
SUCCESSORS = 5
WATCHED = 3
"""Neighbours on each side, where the topology is one-hop."""

PHONE_PORTS = 8
"""So many follow each other at which phones are served."""

LAST_WORDS = 80
"""So many lines of each log stand with a failure."""


def phone_password(user: str) -> str:
    """What is set in the phones of a user."""
    return f"phone of {user}".replace(" ", "-")


def eventually(what: str, holds: Callable[[], object], limit_s: float = EVENT_MAX_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"not in {limit_s:.0f} s: {what}"
        time.sleep(POLL_S)


def _at_once(work: Callable[[Any], object], items: Iterable[object]) -> None:
    """Do the same with several, as many at a time as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, items))


class Daemon:
    """A long-running command: its ready line, and what it logs while it runs."""

    known: ClassVar[weakref.WeakSet[Daemon]] = weakref.WeakSet()
    """Those that a test, or what it has made, still has."""

    def __init__(
        self,
        *arguments: object,
        environment: Mapping[str, str],
        within: Sequence[str] = (),
        namespace: str = "",
        fresh: bool = False,
    ) -> None:
        self.known.add(self)
        self.log: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._changed = threading.Condition()
        command = [*map(str, arguments), "--log-format", "json"]
        self.name = " ".join(command)
        self.process: subprocess.Popen[str] | Forked
        if within or fresh:
            assert not namespace, "it would begin in that of the tests"
            self.process = subprocess.Popen(
                [*within, *P2PSIP, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        else:
            self.process = Forked(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, namespace=namespace
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ready_line(self) -> str:
        """What it prints when its sockets are open."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args!r} ended: {self.complaints} {self.log[-3:]}"
        return line

    def wait_log(self, event: str, limit_s: float = EVENT_MAX_S, **facts: object) -> dict[str, Any]:
        """The first log line of this event with these facts, past or to come."""
        deadline = time.monotonic() + limit_s
        with self._changed:
            while True:
                for entry in self.log:
                    if entry["event"] == event and facts.items() <= entry.items():
                        return entry
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"no {event!r} {facts} in the log in {limit_s:.0f} s: {self.log[-20:]}"
                self._changed.wait(left_s)

    def end(self, number: signal.Signals, limit_s: float = 60.0) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(limit_s)
        self._reader.join(limit_s)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return status

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                entry = json.loads(line) if line.startswith("{") else None
                if entry is None or entry["level"] == "error":
                    # A traceback, or what a library says of a bug.
                    self.complaints.append(line)
                else:
                    self.log.append(entry)
                self._changed.notify_all()


def last_words() -> list[tuple[str, str]]:
    """What each of them has logged last, for who looks into a failure: a title, and the lines."""
    return [
        (f"the log of {each.name}", "\n".join(json.dumps(entry) for entry in each.log[-LAST_WORDS:]))
        for each in sorted(Daemon.known, key=lambda each: each.name)
    ]


class LivePeer:
    """One peer: its state directory, its ports, and its process while it runs."""

    def __init__(self, overlay: LiveOverlay, name: str, overlay_port: int, host: str) -> None:
        self.name = name
        self.host = host
        self.directory = overlay.directory / name
        self.overlay_port = overlay_port
        self.sip_port = free_port()
        # And those after it, at which phones are served as well.
        self.phone_port = free_port(together=PHONE_PORTS)
        self.node_id = ""
        self._overlay = overlay
        self._daemon: Daemon | None = None

    @property
    def server(self) -> str:
        """What one sets as server in a phone."""
        return join_host_port(self.host, self.phone_port)

    @property
    def tls_server(self) -> str:
        """The same for a phone over TLS."""
        return join_host_port(self.host, self.phone_port + 1)

    @property
    def ws_url(self) -> str:
        """Where a web page connects."""
        return f"ws://{join_host_port(self.host, self.phone_port + 6)}"

    @property
    def wss_url(self) -> str:
        """The same over TLS."""
        return f"wss://{join_host_port(self.host, self.phone_port + 7)}"

    @property
    def is_running(self) -> bool:
        """True from `run` to `kill` or `stop`."""
        return self._daemon is not None

    @property
    def daemon(self) -> Daemon:
        """The running process."""
        assert self._daemon is not None, f"{self.name} does not run"
        return self._daemon

    def init(self) -> None:
        """`peer init`."""
        facts = self._overlay.command_json(
            *("peer", "init", self.directory, "--name", self.name, "--listen", self.host),
            *("--config", self._overlay.url, "--fingerprint", self._overlay.fingerprint),
            *self._overlay.account("admin"),
            *self._overlay.peer_options.get(self.name, ()),
            *("--overlay-port", self.overlay_port, "--sip-port", self.sip_port, "--phone-port", self.phone_port),
        )
        self.node_id = facts["node_id"]

    def run(self, *flags: str, within: Sequence[str] = (), namespace: str = "") -> None:
        """`peer run`; returns when all sockets are open. `namespace` is the network where it is another host; `within`
        is a command that runs one in yet another place.
        """
        self._daemon = Daemon(
            *("peer", "run", self.directory, "--json", *flags),
            environment=self._overlay.environment,
            within=within,
            namespace=namespace,
            fresh=self._overlay.is_fresh,
        )
        facts = json.loads(self._daemon.ready_line())
        assert facts["node_id"] == self.node_id
        assert namespace or self.server in facts["phones"]

    def wait_joined(self) -> dict[str, Any]:
        """Until it is a member of the ring; the log line that says so."""
        return self.daemon.wait_log("joined")

    def kill(self) -> None:
        """SIGKILL."""
        status = self._over(signal.SIGKILL)
        assert status == -signal.SIGKILL, f"{self.name} had ended by itself: {status}"

    def stop(self) -> None:
        """SIGTERM: it leaves the overlay cleanly."""
        status = self._over(signal.SIGTERM)
        assert status == 0, status

    def _over(self, number: signal.Signals) -> int:
        daemon, self._daemon = self.daemon, None
        status = daemon.end(number)
        assert not daemon.complaints, f"{status}: {''.join(daemon.complaints)}"
        return status

    def add_line(self, user: str) -> None:
        """`line add`; the phone password is `phone_password(user)`."""
        self._overlay.command_json(
            *("line", "add", user, "--peer", self.directory),
            *self._overlay.account(user)[2:],
            *("--phone-password-file", self._overlay.phone_password_file(user)),
        )

    def status(self) -> Any:
        """What `p2psip status --json` prints, without a process for each question."""
        return ask_peer(self.directory, "status")

    def lookup(self, user: str, status: int = 0) -> Any:
        """`lookup`; exit status 1 means that the user is nowhere."""
        aor = f"sip:{user}@{self._overlay.name}"
        return self._overlay.command_json("lookup", aor, "--peer", self.directory, status=status)

    def line(self, user: str) -> Any:
        """What `line list` says of a line."""
        return self._of(user, self._overlay.command_json("line", "list", "--peer", self.directory))

    def _asked(self, user: str) -> Any:
        """The same of a running peer, without a process for each question."""
        return self._of(user, ask_peer(self.directory, "lines"))

    def _of(self, user: str, lines: Any) -> Any:
        return next(line for line in lines if line["user"] == f"{user}@{self._overlay.name}")

    def cpu_s(self) -> float:
        """How much processor time it has used."""
        fields = Path(f"/proc/{self.daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_placed(self, user: str) -> None:
        """Until the record of a line of this peer is in the overlay."""
        eventually(f"the record of {user} at {self.name} is in the overlay", lambda: self._asked(user)["record"])

    def wait_phones(self, user: str, count: int) -> None:
        """Until so many phones of this user are registered here."""
        eventually(f"{count} phones of {user} are at {self.name}", lambda: len(self._asked(user)["phones"]) == count)


class LiveOverlay:
    """An overlay with its enrollment server and `peers` peers, the first of which is the bootstrap node.

    `terms` are options of `overlay create`, `peer_options` of `peer init` by the peer's name; where members make their
    own certificates there is no server. `hosts` are where the peers are, one after the other; those without one are at
    127.0.0.1, as is the server. Where it is `fresh`, what goes on running begins from nothing; all else is forked
    (forked.py). So many `successors` each peer has by the configuration, whoever sets that there.
    """

    def __init__(
        self,
        directory: Path,
        *,
        peers: int = 5,
        users: Iterable[str] = (),
        kinds: Iterable[Kind] = (),
        services: Iterable[ServicePermission] = (),
        environment: Mapping[str, str] | None = None,
        terms: Sequence[str] = (),
        peer_options: Mapping[str, Sequence[str]] | None = None,
        hosts: Sequence[str] = (),
        fresh: bool = False,
        name: str = OVERLAY,
        successors: int = SUCCESSORS,
    ) -> None:
        self.directory = directory
        self.name = name
        self.is_fresh = fresh
        self.environment = {**os.environ, **(environment or {})}
        self.peers: list[LivePeer] = []
        self._terms = tuple(terms)
        self.peer_options = peer_options or {}
        self.is_enrolled = not {"--self-signed", "--shared-secret"} & set(terms)
        self._count = peers
        self._users = tuple(users)
        self._kinds = tuple(kinds)
        self._services = tuple(services)
        self._hosts = tuple(hosts)
        self._successors = successors
        self.port = free_port()
        """Of the bootstrap node, for other peers."""
        self.url = f"https://{HOST}:{free_port()}"
        self.fingerprint = ""
        self._enrollment: Daemon | None = None

    def __enter__(self) -> Self:
        try:
            self._found()
            self.add_peers(self._count)
            _at_once(LivePeer.run, self.peers)
            self.wait_whole()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complaints = self._end()
        assert kind is not None or not complaints, "\n".join(complaints)

    @property
    def enrollment(self) -> Daemon:
        """The running enrollment server."""
        assert self._enrollment is not None, "there is none in this overlay"
        return self._enrollment

    def command(self, *arguments: object, status: int = 0) -> str:
        """Run a command of p2psip to its end; what it printed."""
        ended, output, errors = self.run(*arguments)
        assert ended == status, f"p2psip {arguments}: {ended}\n{errors}"
        return output

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Run a command of p2psip to its end: its status, and what it said on standard output and standard error."""
        return run_forked([*map(str, arguments)], timeout=COMMAND_MAX_S, env=self.environment)

    def command_json(self, *arguments: object, status: int = 0) -> Any:
        """Run a command with --json; what it printed."""
        return json.loads(self.command(*arguments, "--json", status=status))

    def password_file(self, user: str) -> Path:
        """A file with the account password of a user."""
        return self._secret(f"account-{user}", f"account of {user}")

    def account(self, user: str) -> tuple[str | Path, ...]:
        """The options by which one enrolls; none where everybody makes their own certificate."""
        return ("--user", user, "--password-file", self.password_file(user)) if self.is_enrolled else ()

    def phone_password_file(self, user: str) -> Path:
        """A file with the phone password of a user."""
        return self._secret(f"phone-{user}", phone_password(user))

    def add_user(self, user: str) -> None:
        """`user add`."""
        self.command(
            "user", "add", user, "--overlay", self.directory / "overlay", "--password-file", self.password_file(user)
        )

    def add_lines(self, lines: Iterable[tuple[LivePeer, str]]) -> None:
        """`line add` at several peers at once; returns when all records are in the overlay."""

        def add(line: tuple[LivePeer, str]) -> None:
            peer, user = line
            peer.add_line(user)
            peer.wait_placed(user)

        _at_once(add, lines)

    def add_peer(self) -> LivePeer:
        """One more peer, made but not running yet."""
        return self.add_peers(1)[0]

    def running(self) -> list[LivePeer]:
        """The peers that run, in the order of the ring."""
        return sorted((peer for peer in self.peers if peer.is_running), key=lambda peer: peer.node_id)

    def by_node_id(self, node_id: str) -> LivePeer:
        """The peer with this Node-ID."""
        return next(peer for peer in self.peers if peer.node_id == node_id)

    def wait_whole(self) -> None:
        """Until every running peer is in the ring and has its true neighbours."""
        ring = self.running()

        def wait(peer: LivePeer) -> None:
            peer.wait_joined()
            place = ring.index(peer)
            others = [other.node_id for other in ring[place + 1 :] + ring[:place]]
            eventually(
                f"{peer.name} has its place in the ring", lambda: _is_placed(peer.status(), others, self._successors)
            )

        _at_once(wait, ring)

    # Parts

    def _found(self) -> None:
        club = self.directory / "overlay"
        self.directory.mkdir(parents=True, exist_ok=True)
        enrollment = ("--enrollment-url", self.url, "--password-file", self.password_file("admin"))
        facts = self.command_json(
            *(
                "overlay",
                "create",
                self.name,
                club,
                "--bootstrap",
                join_host_port(self._host(0), self.port),
                *self._terms,
            ),
            *(enrollment if self.is_enrolled else ()),
        )
        self.fingerprint = facts["fingerprint"]
        if self._kinds:
            overlay = OverlayDirectory(club)
            known = overlay.document().configuration
            overlay.revise(
                replace(known, required_kinds=(*known.required_kinds, *self._kinds), services=self._services)
            )
        if not self.is_enrolled:
            self.url = str(club / "config.xml")
            return
        for user in self._users:
            self.add_user(user)
        address = self.url.removeprefix("https://")
        self._enrollment = Daemon(
            *("enrollment", "serve", club, "--listen", address), environment=self.environment, fresh=self.is_fresh
        )
        assert self._enrollment.ready_line() == f"ready {self.url}\n"

    def add_peers(self, count: int) -> list[LivePeer]:
        """Several, made side by side."""
        made = [
            LivePeer(self, f"peer{number}", free_port() if number else self.port, self._host(number))
            for number in range(len(self.peers), len(self.peers) + count)
        ]
        _at_once(LivePeer.init, made)
        self.peers += made
        return made

    def _host(self, number: int) -> str:
        return self._hosts[number] if number < len(self._hosts) else HOST

    def _secret(self, name: str, text: str) -> Path:
        path = self.directory / f"{name}.secret"
        # Several commands at once have the same one: who reads it never finds it half written.
        draft = path.with_suffix(f".{threading.get_ident()}")
        draft.write_text(text + "\n")
        draft.replace(path)
        return path

    def _end(self) -> list[str]:
        """End all processes; what is wrong with how they were."""
        wrong = []
        daemons = {peer.name: peer.daemon for peer in self.peers if peer.is_running}
        if self._enrollment is not None:
            daemons["enrollment"] = self._enrollment
        for name, daemon in daemons.items():
            status = daemon.end(signal.SIGKILL)
            if status != -signal.SIGKILL:
                wrong.append(f"{name} had ended by itself: {status}")
            wrong += [f"{name}: {line}" for line in daemon.complaints]
        for peer in self.peers:
            give_back(peer.overlay_port)
            give_back(peer.sip_port)
            give_back(peer.phone_port, together=PHONE_PORTS)
        return wrong


def _is_placed(status: Any, others: list[str], successors: int) -> bool:
    if status["topology"] == "one-hop":
        beside = {*others[:WATCHED], *others[-WATCHED:]}
        return status["members"] == len(others) + 1 and set(status["neighbors"]) == beside
    return bool(
        status["state"] == "in the ring"
        and status["successors"] == others[:successors]
        and status["predecessors"] == others[::-1][:successors]
    )
