"""A real systemd as PID 1, shut in with one unit of ours: nothing of this machine but its files to read is there.

It has mount, PID, UTS, IPC and cgroup namespaces of its own. Before it begins `_BOOT` looks that mounts do not get out,
puts empty file systems over /run, /tmp, /var/lib and the like, and makes all else read-only. No unit of the machine is
found: SYSTEMD_UNIT_PATH leads to ours alone, so no systemd-tmpfiles runs, which would clean /tmp. It ends by SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
STARTED_MAX_S = 120.0
CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))

_BOOT = """
set -eu
test "$$" = 1
findmnt -no PROPAGATION / | grep -qx private
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/state /run/units /run/units/p2psip.service.d
mount --bind "$STATE" /run/state
cp "$UNIT" /run/units/p2psip.service
printf '[Service]\\nStandardOutput=append:/run/state/service.out\\nStandardError=append:/run/state/service.log\\n' \
    >/run/units/p2psip.service.d/log.conf
printf '[Unit]\\nDescription=ours alone\\nRequires=p2psip.service\\n' >/run/units/default.target
for target in sysinit basic network-online shutdown multi-user; do
    printf '[Unit]\\nDescription=nothing\\nDefaultDependencies=no\\n' >/run/units/$target.target
done
number=0
for root in $ROOTS; do
    number=$((number + 1)); mkdir /run/root$number; mount --bind "$root" /run/root$number
done
for hidden in /tmp /var/tmp /var/lib /var/log; do mount -t tmpfs -o mode=0755 tmpfs $hidden; done
test -z "$(ls -A /tmp)"
mkdir /var/lib/p2psip
mount --bind /run/state /var/lib/p2psip
number=0
for root in $ROOTS; do
    number=$((number + 1)); case "$root" in /tmp/*) mkdir -p "$root"; mount --bind /run/root$number "$root" ;; esac
done
sed 's|^p2psip:.*||' /etc/passwd >/run/passwd
echo "p2psip:x:$OWNER:$OWNER::/var/lib/p2psip:/usr/sbin/nologin" >>/run/passwd
mount --bind /run/passwd /etc/passwd
mount -t proc proc /proc
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind /dev/null /dev/console
mount -o remount,bind,ro /
exec env -i container=p2psip-test SYSTEMD_UNIT_PATH=/run/units PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    "$SYSTEMD" --system --log-target=null --show-status=no
"""


def lacking() -> str:
    """Why there can be none here; "" if there can."""
    if os.geteuid() != 0:
        return "namespaces of one's own need root"
    if not SYSTEMD.exists():
        return "there is no systemd"
    if missing := [name for name in ("unshare", "setpriv", "findmnt") if shutil.which(name) is None]:
        return f"there is no {missing[0]}"
    if _unified() is None:
        return "there is no unified hierarchy of cgroups"
    probe = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        "" if subprocess.run(probe, capture_output=True, check=False).returncode == 0 else "it may not mount anything"
    )


@contextlib.contextmanager
def systemd_with(unit: str, state: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """While it runs the unit, whose state directory, /var/lib/p2psip, is `state`; the log of the service.

    `roots` are where its program is.
    """
    unified = _unified()
    assert unified is not None
    group = unified / f"p2psip-test-{os.getpid()}"
    group.mkdir()
    file = state.parent / "p2psip.service"
    file.write_text(unit)
    owner = pwd.getpwnam("nobody").pw_uid
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "STATE": str(state),
        "UNIT": str(file),
        "ROOTS": " ".join(map(str, roots)),
        "OWNER": str(owner),
        "SYSTEMD": str(SYSTEMD),
    }
    spaces = [
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child=SIGKILL",
        "--uts",
        "--ipc",
        "--cgroup",
    ]
    # It is in a group of its own before the namespace begins, which is the root of what systemd sees.
    script = 'echo $$ >"$0/cgroup.procs"; exec setpriv --pdeathsig KILL unshare "${@:2}" bash -c "$1"'
    command = ["bash", "-c", script, str(group), _BOOT, *spaces]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield state / "service.log"
    finally:
        # The first process of the PID namespace goes with it, and all others with that.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + STARTED_MAX_S
        for folder in sorted(group.rglob("*/"), reverse=True):
            _remove(folder, deadline)
        _remove(group, deadline)


def main_process(pattern: str) -> int:
    """Which process of the service has this in its command line: as this machine counts them."""
    deadline = time.monotonic() + STARTED_MAX_S
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if pattern in (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    return int(folder.name)
        time.sleep(0.1)
    raise AssertionError(f"no process with {pattern}")


def _unified() -> Path | None:
    for place in CGROUPS:
        if (place / "cgroup.controllers").exists():
            return place
    return None


def _remove(folder: Path, deadline: float) -> None:
    """When the last process in it is gone."""
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:
            assert time.monotonic() < deadline, f"{folder} is still in use"
            time.sleep(0.05)
