"""A module that is run in a process of its own, because what it takes (HTTPS, its libraries) would stay in memory."""

from __future__ import annotations

import asyncio
import sys

from p2psip.base.errors import RequestFailed
from p2psip.net.sockets.addresses import words


async def run_module(module: str, *arguments: object, limit_s: float) -> bytes:
    """What it prints. Raises RequestFailed in its words, the last line of what it says on standard error.

    Whoever cancels it and waits for the end leaves no process behind.
    """
    process = await _started(module, *map(str, arguments))
    try:
        async with asyncio.timeout(limit_s):
            printed, said = await process.communicate()
    except TimeoutError:
        raise RequestFailed(f"not done in {limit_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise RequestFailed(lines[-1] if lines else f"exit status {process.returncode}")
    return printed


async def _started(module: str, *arguments: str) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except (OSError, RuntimeError) as error:
        # No process, no descriptor, no memory; RuntimeError is what Python makes of a thread that it does not get, in
        # which it would wait for the process.
        raise RequestFailed(f"no process for it: {words(error)}") from None
