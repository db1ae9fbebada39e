"""Units of systemd for what runs all the time: as an unprivileged user, and shut in as far as it can do with.

Each line is of systemd.exec(5). What is not shut: the network (it is what it is for), the state directory, and what of
/proc says how the machine does (`ProcSubset=` would hide the boot ID, by which lifetimes go on over a restart). Nor is
`MemoryDenyWriteExecute=` there: pyOpenSSL has OpenSSL call Python, by way of a page of memory that cffi writes.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import p2psip
from p2psip.base.errors import LocalMisuse

USER = "p2psip"
STATE_DIRECTORY = Path("/var/lib/p2psip")
UNITS = Path("/etc/systemd/system")
MARK = Path("/run/systemd/system")
"""It is there where systemd runs the machine (sd_booted(3))."""

_HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))
"""What the service does not see: ProtectHome= and PrivateTmp= put something empty there."""

_HARDENING = """\
# No right of root's, nor a way to get one.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
# Of files: those of the system to read, its own to write, those of people not at all.
ProtectSystem=strict
ProtectHome=tmpfs
PrivateTmp=yes
UMask=0077
# Of the machine: nothing but the network.
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
KeyringMode=private
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
# Of the kernel: what an ordinary service calls.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
"""


class ServiceKind(enum.Enum):
    """What is to run."""

    UP = "up"
    PEER = "peer"
    ENROLLMENT = "enrollment"

    @property
    def unit(self) -> str:
        """The name of its unit."""
        return "p2psip.service" if self is ServiceKind.UP else f"p2psip-{self.value}.service"


_WHAT = {
    ServiceKind.UP: "peer and enrollment server",
    ServiceKind.PEER: "peer",
    ServiceKind.ENROLLMENT: "enrollment server",
}


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One service: what, of which directory, as whom, from which program."""

    kind: ServiceKind
    directory: Path
    user: str
    program: Path
    """The command `p2psip`."""
    roots: tuple[Path, ...] = field(default=())
    """Where the program and its libraries are."""

    @property
    def command(self) -> list[str]:
        """What is run."""
        arguments = {
            ServiceKind.UP: ["up", "--directory", str(self.directory)],
            ServiceKind.PEER: ["peer", "run", str(self.directory)],
            ServiceKind.ENROLLMENT: ["enrollment", "serve", str(self.directory)],
        }
        return [str(self.program), *arguments[self.kind]]


def program_roots() -> tuple[Path, ...]:
    """Where this very program is: its environment, the Python below it, its source if that is elsewhere."""
    found = (sys.prefix, sys.base_prefix, Path(p2psip.__file__).parents[1])
    return tuple(dict.fromkeys(Path(path).resolve() for path in found))


def unit_of(plan: ServicePlan) -> str:
    """The unit. Raises LocalMisuse if systemd cannot have such a directory."""
    for path in (plan.directory, plan.program, *plan.roots):
        if not path.is_absolute() or re.search(r"[\x00-\x1f\x7f]", str(path)):
            raise LocalMisuse(f"{str(path)!r} cannot be in a unit: give a directory with a plain name")
    return f"""\
# Written by `p2psip install-service`.
[Unit]
Description=Telephones without a server: {_WHAT[plan.kind]} (p2psip)
Wants=network-online.target
After=network-online.target
# It is tried again for ever: whoever looks after it may be far away.
StartLimitIntervalSec=0

[Service]
Type=exec
User={plan.user}
ExecStart={" ".join(map(_argument, plan.command))}
# Should the program find that it has an error of its own, it ends rather than to go on half broken.
Restart=always
RestartSec=5
TimeoutStopSec=15
{_places(plan)}{_HARDENING}
[Install]
WantedBy=multi-user.target
"""


def _places(plan: ServicePlan) -> str:
    """Where it writes; and what it needs of places that are hidden from it."""
    lines = []
    if plan.directory.parent == STATE_DIRECTORY.parent:
        lines += [f"StateDirectory={_path(plan.directory.name)}", "StateDirectoryMode=0700"]
    else:
        lines.append(f"{'BindPaths' if _is_hidden(plan.directory) else 'ReadWritePaths'}={_path(str(plan.directory))}")
    lines += [f"BindReadOnlyPaths={_path(str(root))}" for root in _outermost(plan.roots) if _is_hidden(root)]
    return "".join(f"{line}\n" for line in lines)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that are in none of the others."""
    found: list[Path] = []
    for path in sorted(paths):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def _is_hidden(path: Path) -> bool:
    return any(path.is_relative_to(hidden) for hidden in _HIDDEN)


def _argument(word: str) -> str:
    """A word of a command line, which has variables beside what any value has."""
    return _path(word.replace("$", "$$"))


def _path(word: str) -> str:
    """A value, in quotes if need be; % begins a specifier. A colon would begin the second part of a bind."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w./@%+,$=-]+", word, re.ASCII):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace(":", "\\:")
    return f'"{escaped}"'
