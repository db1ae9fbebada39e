"""What a lab needs of the machine: commands, capabilities, network namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from network_namespace import NETNS, inside

COMMANDS = {"ip": "iproute2", "nft": "nftables"}
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
NETLINK_NETFILTER = 12
DELETE_FLOWS = 1 << 8 | 2
"""IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK; of no flow in particular, so of all."""
REQUEST_WITH_ACK = 5
KILL_MAX_S = 10.0


class LabError(Exception):
    """The lab, or the machine it is to run on, cannot do what was asked."""


def missing() -> str:
    """The first thing that this machine lacks, empty if nothing: the reason why tests are skipped."""
    for command, package in COMMANDS.items():
        if shutil.which(command) is None:
            return f"`{command}` is not there (Debian: {package})"
    effective = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
    for name, bit in CAPABILITIES.items():
        if not effective >> bit & 1:
            return f"{name} is not held: network namespaces need root"
    return ""


def sh(*command: str, said: str = "") -> None:
    """Run a command. Raises LabError, with what it said, if it fails."""
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}\n{said}".strip())


def ip_batch(*lines: str, namespace: str = "") -> None:
    """Several `ip` commands, in one namespace, by one process."""
    sh("ip", *(("-n", namespace) if namespace else ()), "-batch", "-", said="\n".join(lines))


def sysctl(namespace: str, settings: Mapping[str, int]) -> None:
    """Write below net/ in a namespace, as far as this kernel has such a setting."""
    with inside(namespace):
        for name, value in settings.items():
            with contextlib.suppress(FileNotFoundError):
                Path("/proc/sys/net", name).write_text(str(value))


def forget_flows(namespace: str) -> None:
    """Have connection tracking of a namespace forget everything, as `conntrack -F` does."""
    with inside(namespace), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        message = struct.pack("=IHHIIBBH", 20, DELETE_FLOWS, REQUEST_WITH_ACK, 1, 0, socket.AF_UNSPEC, 0, 0)
        netlink.send(message)
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise LabError(f"flows of {namespace}: {os.strerror(-error)}")


def kill_in(namespaces: Iterable[str]) -> None:
    """End all processes inside these namespaces, and those that they make meanwhile."""
    inodes = {(NETNS / name).stat().st_ino for name in namespaces if (NETNS / name).exists()}
    give_up_at = time.monotonic() + KILL_MAX_S
    while (found := _processes_in(inodes)) and time.monotonic() < give_up_at:
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, 9)
        time.sleep(0.005)


def _processes_in(inodes: set[int]) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It may end meanwhile.
            if (process / "ns/net").stat().st_ino in inodes:
                found.append(int(process.name))
    return [each for each in found if each != os.getpid()]
