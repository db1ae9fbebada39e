"""Kamailio (Debian's) as a process of one's own: a registrar that wants a password, and what else its user says.

The package's own service is another matter: nothing here starts, asks or ends it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from live_overlay import eventually

HOST = "127.0.0.1"
IS_INSTALLED = shutil.which("kamailio") is not None

_MODULES = ("sl", "tm", "rr", "pv", "maxfwd", "siputils", "textops", "usrloc", "registrar", "auth")
_GLOBALS = (
    "log_stderror=yes",
    "children=1",
    "socket_workers=1",
    "auto_aliases=no",
    'mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"',
)
_ROUTE = """\
request_route {{
    {first}
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{realm}", "{password}", "0")) {{ www_challenge("{realm}", "0"); exit; }}
        save("location");
        exit;
    }}
    {then}
}}
"""

CHALLENGE = """\
if (!pv_proxy_authenticate("{realm}", "{password}", "0")) {{ proxy_challenge("{realm}", "0"); exit; }}
    consume_credentials();
"""
"""Of what begins something else; to be filled in as `then` is."""


def configuration(
    settings: Iterable[str], realm: str, password: str, then: str, *, modules: Iterable[str] = (), first: str = ""
) -> str:
    """A file for it. `settings` stand above; `then` is done with what is neither within a dialog nor a REGISTER."""
    above = (
        *_GLOBALS,
        *(f'loadmodule "{name}.so"' for name in (*_MODULES, *modules)),
        'modparam("usrloc", "db_mode", 0)',
    )
    listening = [line for line in settings if not line.startswith("modparam")]
    of_modules = [line for line in settings if line.startswith("modparam")]
    route = _ROUTE.format(first=first, realm=realm, password=password, then=then)
    return "\n".join([*listening, *above, *of_modules, route])


class KamailioProcess:
    """It may be killed, and started again at the same port."""

    def __init__(self, directory: Path, name: str, written: str) -> None:
        self.log = directory / f"{name}.log"
        self._file = directory / f"{name}.cfg"
        self._file.write_text(written)
        self._run = Path(tempfile.mkdtemp(prefix="kamailio-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its first process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self, is_up: Callable[[], object], within: Sequence[str] = ()) -> None:
        """Run, inside of another command if there is one, until it `is_up`."""
        command = ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", str(self._file), "-Y", str(self._run)]
        with self.log.open("ab") as log:
            running = self._process = subprocess.Popen(
                [*within, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually("Kamailio is there", lambda: running.poll() is not None or is_up())
        assert running.poll() is None, self.log.read_text()[-2000:]

    def kill(self) -> None:
        """All its processes, at once: nobody is told."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        shutil.rmtree(self._run, ignore_errors=True)
