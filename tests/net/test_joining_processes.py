"""`p2psip up`, `invite` and `join` as processes: machines on one host, each with an address and a home of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from our_phone import OurPhone
from typed_commands import P2PSIP

from p2psip.enrollment.join_codes import TOKEN_BYTES, JoinCode

COMMANDS_MAX = 5
CALL_MAX_S = 5 * 60.0
"""A minute is what people are promised; a test on real machines, which may be slow, asserts five times that and prints
what it was.
"""
TOLD_MAX_S = 120.0
HEARD_MS = 200


class Site:
    """A machine: commands are typed there, and some of them go on."""

    typed = 0
    """At all machines together."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        # Whatever else runs on this host has another one.
        self.host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        self.log = ""
        self._running: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    @property
    def environment(self) -> dict[str, str]:
        """Its home directory, and nothing of who runs the tests."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("P2PSIP_")}
        return ours | {"HOME": str(self.home)}

    def type(self, *arguments: object, status: int = 0) -> str:
        """A command that ends; what it prints, on standard error if it is to fail."""
        Site.typed += 1
        command = [*P2PSIP, *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TOLD_MAX_S,
            stdin=subprocess.DEVNULL,
            env=self.environment,
            cwd=self.home,
            check=False,
        )
        assert done.returncode == status, done.stderr
        if status:
            assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr if status else done.stdout

    def json(self, *arguments: object) -> Any:
        """The same with --json, read."""
        return json.loads(self.type(*arguments, "--json"))

    def run(self, *arguments: object) -> list[dict[str, Any]]:
        """A command that goes on: what it has told when its peer is ready."""
        self.begin(*arguments)
        told: list[dict[str, Any]] = []
        while not told or "node_id" not in told[-1] or "ready" not in told[-1]:
            told.append(self.told())
        return told

    def begin(self, *arguments: object) -> None:
        """The same, not waited for."""
        Site.typed += 1
        pipe = subprocess.PIPE
        command = [*P2PSIP, *map(str, arguments), "--listen", self.host, "--json"]
        process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL
        )
        self._running.append(process)
        assert process.stderr is not None
        self._readers.append(threading.Thread(target=self._read, args=(process.stderr,), daemon=True))
        self._readers[-1].start()

    def told(self) -> dict[str, Any]:
        """What the command that was begun last tells next."""
        stdout = self._running[-1].stdout
        assert stdout is not None
        line = stdout.readline()
        assert line, self.log
        told = json.loads(line)
        assert isinstance(told, dict)
        return told

    def ended(self) -> int:
        """With which status the command that was begun last ends, by itself."""
        return self._running[-1].wait(timeout=TOLD_MAX_S)

    def linked_with(self) -> set[str]:
        """Whom its peer is linked with."""
        return {link["user"].partition("@")[0] for link in self.json("status")["links"] if link["user"]}

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.log += line

    def logged(self, what: str) -> None:
        """Wait for this in the log."""
        deadline = time.monotonic() + TOLD_MAX_S
        while what not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def await_found(self, name: str) -> None:
        """Until its peer finds a user in the overlay: a person takes longer to dial. Nothing is typed for that."""
        deadline = time.monotonic() + TOLD_MAX_S
        command = [*P2PSIP, "lookup", name]
        while subprocess.run(command, capture_output=True, env=self.environment, cwd=self.home, check=False).returncode:
            assert time.monotonic() < deadline, f"{name} is not in the overlay"

    def stop(self) -> None:
        """As Ctrl-C does."""
        for process in self._running:
            process.send_signal(signal.SIGINT)
        for process in self._running:
            assert process.wait(timeout=TOLD_MAX_S) == 0, self.log
        self.close()

    def close(self) -> None:
        """Whatever happened."""
        for process, reader in zip(self._running, self._readers, strict=True):
            process.kill()
            process.wait()
            reader.join()
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                stream.close()
        self._running.clear()
        self._readers.clear()


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    """hill, valley and a stranger's."""
    Site.typed = 0
    made = [Site(tmp_path / name) for name in ("hill", "valley", "elsewhere")]
    yield made
    for site in made:
        site.close()


@pytest.mark.slow(40)
def test_five_commands_from_nothing_to_the_first_call(sites: list[Site]) -> None:
    hill, valley, _ = sites
    began_at = time.monotonic()
    begun = hill.run("up", "club.example")
    assert begun[0]["overlay"] == "club.example"
    alice = hill.json("join", hill.json("invite", "--phone", "alice")["code"])
    assert (alice["server"], alice["served"]) == (hill.host, True)
    bob = valley.run("join", hill.json("invite", "--machine", "--phone", "bob")["code"])[1]
    with ExitStack() as phones:
        called = OurPhone("bob", server=f"{bob['server']}:5060", password=bob["phone_password"], answer_ms=0)
        phones.enter_context(called)
        called.wait("registered")
        caller = OurPhone("alice", server=f"{alice['server']}:5060", password=alice["phone_password"])
        phones.enter_context(caller)
        caller.wait("registered")
        hill.await_found("bob")
        caller.command("call bob")
        caller.wait("answered")
        took_s = time.monotonic() - began_at
        caller.command("hangup")
    print(f"from nothing to the first call: {Site.typed} commands, {took_s:.1f} s")
    assert Site.typed <= COMMANDS_MAX
    assert took_s < CALL_MAX_S
    # What is there is started again by a command that knows nothing.
    hill.stop()
    valley.stop()
    assert "ended" not in hill.log
    assert hill.run("up")[-1]["user"] == begun[-1]["user"]
    assert "it runs already" in hill.type("up", status=2)
    assert "is of club.example already" in hill.type("up", "other.example", status=2)
    assert valley.run("up")[-1]["node_id"]
    assert hill.json("status")["overlay"] == "club.example"


@pytest.mark.slow(40)
def test_whom_an_invitation_does_not_let_in(sites: list[Site]) -> None:
    hill, valley, elsewhere = sites
    hill.run("up", "club.example")
    said = hill.json("invite", "--uses", 1, "--expires", "2h")
    code = said["code"]
    name = ["--name", "garden"]
    # A letter that is wrong, a line that is cut off, a code for a line where no peer is.
    assert "damaged or mistyped" in valley.type("join", code[:-1] + ("x" if code[-1] != "x" else "y"), status=2)
    assert "damaged or mistyped" in valley.type("join", code[:40], status=2)
    line = hill.json("invite", "--phone", "carol")["code"]
    assert "for a line at a peer" in valley.type("join", line, status=2)
    # Another trust anchor, as of somebody in the way; a token that is guessed.
    true = JoinCode.parse(code)
    wrong = replace(true, fingerprint=bytes(16))
    assert "the trust anchor of club.example is" in valley.type("join", wrong, status=1)
    assert not (valley.home / ".p2psip").exists()
    guessed = replace(true, token=b"\x07" * TOKEN_BYTES)
    assert "there is no such invitation" in valley.type("join", guessed, *name, status=1)
    # The right one still works, on the same machine, and not on another.
    assert valley.run("join", code, *name)[0]["user"] == "peer-garden@club.example"
    assert "has been used already" in elsewhere.type("join", code, status=1)
    withdrawn = hill.json("invite")
    hill.type("invite", "--withdraw", withdrawn["number"])
    assert "was withdrawn" in elsewhere.type("join", withdrawn["code"], status=1)
    assert "is not an IP address" in elsewhere.type("join", code, "--listen", "here", status=2)
    # Who knows who came in by whom.
    listed = {entry["name"]: entry for entry in hill.json("user", "list")}
    (invited,) = listed["peer-garden@club.example"]["invited"]
    assert (invited["by"], invited["invitation"]) == ("admin@club.example", said["number"])
    assert "carol@club.example" not in listed
    states = {entry["number"]: entry["state"] for entry in hill.json("invite", "--list")}
    assert (states[said["number"]], states[withdrawn["number"]]) == ("used", "withdrawn")
    hill.logged("invitation_withdrawn")
    # Ten guesses from one address are as many as there are at once; the right one waits like the others.
    # Every half minute there is another; so many commands do not take that long each.
    answers = (elsewhere.type("join", guessed, status=1) for _ in range(60))
    refused = next(said for said in answers if "no such invitation" not in said)
    assert "too many wrong" in refused
    hill.logged("too_many_attempts")
    for each in (true, guessed, JoinCode.parse(withdrawn["code"]), JoinCode.parse(line)):
        assert each.token.hex() not in hill.log
        assert str(each).partition("/")[2] not in hill.log


@pytest.mark.slow(20)
def test_machines_of_one_name_are_told_apart(sites: list[Site]) -> None:
    hill, valley, elsewhere = sites
    own = hill.run("up")[-1]["user"]
    code = hill.json("invite", "--uses", 2)["code"]
    names = [site.run("join", code)[0]["user"] for site in (valley, elsewhere)]
    local, _, overlay = own.partition("@")
    assert names == [f"{local}-2@{overlay}", f"{local}-3@{overlay}"]
    assert overlay.endswith(".internal")
    # Once more, as somebody does who thinks that this is how it is started.
    valley.stop()
    assert valley.run("join", code)[-1]["user"] == names[0]
    assert "its peer runs" in valley.type("join", code, status=2)
    other = hill.json("invite", "--phone", "carol")["code"]
    code = str(replace(JoinCode.parse(other), overlay="other.example"))
    assert "the code of another one" in valley.type("join", code, status=2)


def eventually(what: str, is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + TOLD_MAX_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.slow(60)
def test_members_wait_are_approved_revoked_and_taken_back(sites: list[Site]) -> None:
    hill, valley, elsewhere = sites
    hill.run("up", "club.example")
    hill.type("members", "approval", "on")
    code = hill.json("invite", "--uses", 2)["code"]
    # Each is told for whom it waits; one goes on by itself, the other after a power cut.
    elsewhere.begin("join", code, "--name", "attic")
    waiting = {
        "waiting": True,
        "user": "peer-attic@club.example",
        "for": "approval",
        "approver": "admin@club.example",
    }
    assert elsewhere.told() == waiting
    valley.begin("join", code, "--name", "garden")
    assert valley.told() == waiting | {"user": "peer-garden@club.example"}
    valley.close()
    states = {each["name"]: each["state"] for each in hill.json("members", "list")["members"]}
    assert {states[f"peer-{name}@club.example"] for name in ("attic", "garden")} == {"waits"}
    hill.type("members", "approve", "attic")
    hill.type("members", "approve", "garden")
    assert elsewhere.told()["user"] == "peer-attic@club.example"
    assert elsewhere.told()["ready"]
    assert valley.run("up")[-1]["user"] == "peer-garden@club.example"
    assert not (valley.home / ".p2psip/peer/joining.json").exists()
    eventually("all are linked", lambda: {"peer-garden", "peer-attic"} <= hill.linked_with())
    eventually("all are linked", lambda: "peer-garden" in elsewhere.linked_with())
    # Within one push its links are gone, at others as well, and it has left.
    revoked, told_at = hill.json("members", "revoke", "garden", "--yes"), time.monotonic()
    assert (revoked["pushed"], len(revoked["node_ids"])) == (True, 1)
    assert "peer-garden" not in hill.linked_with()
    eventually("its other links are gone", lambda: "peer-garden" not in elsewhere.linked_with())
    print(f"links at others closed {time.monotonic() - told_at:.1f} s after the command, two `status` included")
    assert valley.ended() == 1
    assert "the configuration revokes Node-ID" in valley.log
    assert "revokes Node-ID" in valley.type("up", status=2)
    # Taken back, it is a member as before; what is typed there is what is always typed.
    hill.type("members", "revoke", "garden", "--undo")
    assert valley.run("up")[-1]["node_id"] == revoked["node_ids"][0]
    eventually("it is back", lambda: "peer-garden" in hill.linked_with())
