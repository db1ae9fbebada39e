"""Commands of p2psip as processes forked from one that has loaded the program: they start in a tenth of the time.

An overlay of five peers is some twenty processes, each of which would load the same modules. What a forked one does is
the same: `main()` with these arguments, streams, environment and working directory, in a process with threads, sockets
and signals of its own, in another network namespace if that is wanted. What depends on a process that begins from
nothing (memory, imports, `exec`) is for `subprocess.Popen`, as test_peer_processes.py and the demo have it. One thing
is not the same: a new account's password is hashed at next to no cost, where else each check of it takes a tenth of a
second or more.

    process = Forked(["peer", "run", "./hill"], stdout=subprocess.PIPE)     much like a Popen

This file is also the program of the process that is forked, the nursery; there is one for each process that runs tests.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

from network_namespace import enter

REQUEST_BYTES_MAX = 1 << 20
FRESH = [sys.executable, "-c", "from p2psip.cli.main import main; main()"]
"""The same as a process that begins from nothing."""


class Forked:
    """A running command; the streams are text. Without `stdin` it reads nothing. `namespace` is that of its network."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[str] = subprocess.DEVNULL,
        stderr: int | IO[str] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        namespace: str = "",
    ) -> None:
        self.args = ["p2psip", *arguments]
        self.returncode: int | None = None
        self._lock = threading.Lock()
        ours: list[int | None] = []
        theirs: list[int] = []
        for number, stream in enumerate((stdin, stdout, stderr)):
            mine, its = _ends(stream, is_input=number == 0)
            ours.append(mine)
            theirs.append(its)
        self._status, status = os.pipe()
        environment = {**(os.environ if env is None else env)}
        request = {"arguments": [*arguments], "env": environment, "cwd": os.getcwd(), "namespace": namespace}
        self.pid, self._pidfd = _nursery().fork(request, [*theirs, status])
        for descriptor in (*theirs, status):
            os.close(descriptor)
        self.stdin = None if ours[0] is None else os.fdopen(ours[0], "w", encoding="utf-8")
        self.stdout, self.stderr = (None if end is None else os.fdopen(end, encoding="utf-8") for end in ours[1:])

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when it has ended; subprocess.TimeoutExpired if it has not in so many seconds."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing if it has ended."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._pidfd, number)

    def communicate(self) -> tuple[str, str]:
        """What is still said on standard output and standard error, and has not been read; it is the last word."""
        said = []
        for stream in (self.stdout, self.stderr):
            said.append(stream.read() if stream is not None else "")
            if stream is not None:
                stream.close()
        if self.stdin is not None:
            self.stdin.close()
        self.wait()
        return said[0], said[1]

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        with self._lock:
            if self.returncode is None:
                ready = select.poll()
                ready.register(self._status, select.POLLIN)
                if not ready.poll(None if timeout_s is None else timeout_s * 1000):
                    return None
                status = os.read(self._status, 100)
                assert status, "the nursery has gone"
                self.returncode = int(status)
                os.close(self._status)
                os.close(self._pidfd)
            return self.returncode


def run(arguments: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command to its end: its status, and what it said on standard output and standard error."""
    import tempfile

    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = Forked(arguments, stdout=output, stderr=errors, env=env)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        errors.seek(0)
        return status, output.read(), errors.read()


def _ends(stream: int | IO[str] | None, *, is_input: bool) -> tuple[int | None, int]:
    """Our end of a stream, if there is one, and the descriptor that the process gets."""
    if stream == subprocess.PIPE:
        reading, writing = os.pipe()
        return (writing, reading) if is_input else (reading, writing)
    if stream is None or isinstance(stream, int):
        assert stream in (None, subprocess.DEVNULL), "a pipe, a file or nothing"
        return None, os.open(os.devnull, os.O_RDWR)
    return None, os.dup(stream.fileno())


class _Nursery:
    """The process that is forked, as seen by who wants a process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        atexit.register(self._end)

    def fork(self, request: Mapping[str, object], descriptors: Sequence[int]) -> tuple[int, int]:
        """The process ID of a new process, and a descriptor of it, which is good even if it has ended already."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            answer, pidfds, _, _ = socket.recv_fds(self._socket, 100, 1)
        assert answer, "the nursery has gone"
        (pidfd,) = pidfds
        return int(answer), pidfd

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


@functools.cache
def _nursery() -> _Nursery:
    return _Nursery()


# The nursery


def _load() -> None:
    """All that commands import where they need it, and so do the libraries of who talks HTTPS."""
    import importlib
    import pkgutil

    import p2psip
    from p2psip.enrollment import passwords
    from p2psip.plugins import topology, topology_names

    sys.modules["rich"] = None  # type: ignore[assignment]
    passwords.USUAL = passwords.Cost(log_n=4, p=1)
    for package in ("api", "cli", "daemon"):
        for module in pkgutil.walk_packages([f"{p2psip.__path__[0]}/{package}"], f"p2psip.{package}."):
            importlib.import_module(module.name)
    for name in topology_names():
        topology(name)
    for name in ("anyio._backends._asyncio", "cryptography.hazmat.backends.openssl.backend", "httpcore2", "truststore"):
        importlib.import_module(name)


def _serve(control: socket.socket) -> bool:
    """Fork when told to, and tell how that ended, until nobody is there any more; True in a process that was forked."""
    statuses: dict[int, int] = {}
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    # Ctrl-C is for the tests, which end what they have begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready = select.poll()
    ready.register(control, select.POLLIN)
    ready.register(woken, select.POLLIN)
    while True:
        events = dict(ready.poll())
        if woken in events:
            os.read(woken, 1000)
            _tell_ended(statuses)
        if control.fileno() not in events:
            continue
        data, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES_MAX, 4)
        if not data:
            for pid in statuses:
                # Whoever wanted them is gone.
                os.kill(pid, signal.SIGKILL)
            return False
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            control.close()
            _become(json.loads(data), descriptors)
            return True
        statuses[pid] = descriptors.pop()
        for descriptor in descriptors:
            os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        socket.send_fds(control, [str(pid).encode()], [pidfd])
        os.close(pidfd)


def _tell_ended(statuses: dict[int, int]) -> None:
    for pid in list(statuses):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with contextlib.suppress(BrokenPipeError):
                os.write(statuses[pid], str(os.waitstatus_to_exitcode(status)).encode())
            os.close(statuses.pop(pid))


def _become(request: Mapping[str, object], descriptors: Sequence[int]) -> None:
    """The command, in the process that was forked."""
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, max(1024, *descriptors) + 1)
    arguments, environment, directory = request["arguments"], request["env"], request["cwd"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    if request["namespace"]:
        enter(str(request["namespace"]))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(directory))
    time.tzset()
    sys.argv = ["-c", *arguments]
    sys.orig_argv = [*FRESH, *arguments]
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False, encoding="utf-8")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False, encoding="utf-8")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # type: ignore[misc]
    os.execv = _exec  # type: ignore[assignment]


_EXEC = os.execv


def _exec(program: str, arguments: Sequence[str]) -> None:
    """What `peer run` becomes is here already; anything else is executed."""
    if tuple(arguments[1:3]) != ("-m", "p2psip.cli.run_peer") or sys.orig_argv[1:2] == ["-m"]:
        _EXEC(program, list(arguments))
    from p2psip.cli import run_peer

    sys.orig_argv = list(arguments)
    run_peer.main(list(arguments[3:]))
    sys.exit()


def _run() -> None:
    """The command, and what Python does at the end, except to take all modules to pieces: that costs five times what
    most commands do.
    """
    from p2psip.cli.main import main

    try:
        main()
    except SystemExit as ended:
        status = ended.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # Who was never awaited complains.
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    _load()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as _control:
        is_forked = _serve(_control)
    if is_forked:
        _run()
