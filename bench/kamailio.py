"""A Kamailio of one's own: a registrar and proxy with digest, one worker on UDP, its log off."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from free_ports import free_port, is_bound
from live_overlay import eventually
from sipp import HOST

PASSWORD: Final = "bench"
"""Of every phone."""

_CONFIGURATION: Final = """\
#!KAMAILIO
debug=-1
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:{host}:{port}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "max_contacts", 20)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    t_check_trans();
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("$fd", "{password}", "0")) {{ www_challenge("$fd", "1"); exit; }}
        save("location");
        exit;
    }}
    if (!pv_proxy_authenticate("$fd", "{password}", "0")) {{ proxy_challenge("$fd", "1"); exit; }}
    consume_credentials();
    record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not found"); exit; }}
    if (!t_relay()) {{ sl_reply_error(); }}
}}
"""


def is_installed() -> bool:
    """True if there is one to compare with."""
    return shutil.which("kamailio") is not None


class Kamailio:
    """It runs from `with` to its end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "kamailio"
        self.directory.mkdir()
        self.port = free_port()

    @property
    def server(self) -> str:
        """What one sets as server in a phone."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        file = self.directory / "kamailio.cfg"
        file.write_text(_CONFIGURATION.format(host=HOST, port=self.port, password=PASSWORD))
        command = ["kamailio", "-DD", "-f", str(file), "-Y", str(self.directory), "-P", str(self.directory / "pid")]
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        eventually("Kamailio listens", lambda: self._process.poll() is not None or is_bound(self.port))
        assert self._process.poll() is None, (self.directory / "log").read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def cpu_s(self) -> float:
        """How much processor time it has used, its worker and all others together."""
        return sum(_cpu_s(each) for each in _family(self._process.pid))


def _family(pid: int) -> Sequence[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
