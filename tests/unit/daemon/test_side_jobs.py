"""Work beside telephony that the machine refuses: it is said, tried again, and costs nobody a call."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import structlog

from p2psip.base.errors import RequestFailed
from p2psip.daemon.child import run_module
from p2psip.net import machine_figures
from p2psip.net.disk import record_file as disk
from p2psip.net.machine_figures import read_machine


@contextmanager
def no_descriptors() -> Iterator[None]:
    """What a process meets that has as many files open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open("/", os.O_RDONLY)
    os.close(probe)
    # What is open stays so; nothing that is opened would get a number below the limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open("/", os.O_RDONLY))
        yield
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_machine_that_gives_no_descriptor_is_not_looked_at_this_time() -> None:
    read_machine()
    with no_descriptors():
        seen = read_machine()
    assert (seen.memory_kb, seen.process_power_mips) == (None, None)
    assert seen.software.startswith("p2psip/")
    assert read_machine().memory_kb is not None


def test_a_machine_that_does_not_tell_its_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[float, float, float]:
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(machine_figures.os, "getloadavg", refuse)
    assert read_machine().load is None
    assert machine_figures.load_percent() is None


def test_a_closed_proc_makes_each_process_a_boot_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ProcSubset=pid in a unit: there is no /proc/sys."""
    monkeypatch.setattr(disk, "BOOT_ID", tmp_path / "nowhere")
    disk._boot_id.cache_clear()
    try:
        first, second = disk.read_boot_clock(), disk.read_boot_clock()
        assert first.boot_id == second.boot_id
        disk._boot_id.cache_clear()
        assert disk.read_boot_clock().boot_id != first.boot_id
    finally:
        disk._boot_id.cache_clear()


def test_no_process_for_a_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(RequestFailed, match="no process for it: Resource temporarily unavailable"):
        asyncio.run(run_module("p2psip.daemon.renewing.renew", limit_s=5))


def test_no_thread_to_wait_for_a_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 waits for a process in a thread, which counts as a process to the system."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        # Later versions of Python wait without one; then it ends as any other.
        with pytest.raises(RequestFailed, match=r"can't start new thread|No module"):
            await run_module("p2psip.daemon.nothing_of_that_name", limit_s=20)

    asyncio.run(main())


def test_no_descriptors_for_a_renewal() -> None:
    async def main() -> None:
        with no_descriptors(), pytest.raises(RequestFailed, match="no process for it: Too many open files"):
            await run_module("p2psip.daemon.renewing.renew", limit_s=5)

    asyncio.run(main())


def test_session_keys_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from p2psip.daemon.log.key_log import keylogger

    monkeypatch.setenv("SSLKEYLOGFILE", "/dev/full")
    with structlog.testing.capture_logs():
        write = keylogger()
    assert write is not None
    write(b"CLIENT_RANDOM 00 00")


def test_a_job_that_is_called_off_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()
    pids: list[int] = []
    popen = subprocess.Popen.__init__

    def begin(process: subprocess.Popen[bytes], *arguments: object, **named: object) -> None:
        popen(process, *arguments, **named)  # type: ignore[call-overload]
        pids.append(process.pid)
        begun.set()

    monkeypatch.setattr(subprocess.Popen, "__init__", begin)

    async def called_off() -> None:
        job = asyncio.create_task(run_module("timeit", "-n", "1", "import time; time.sleep(600)", limit_s=600))
        await begun.wait()
        job.cancel()
        await asyncio.wait([job])
        assert job.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(pids[0], 0)

    asyncio.run(called_off())
