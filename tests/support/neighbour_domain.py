"""Kamailio (Debian's) on loopback as the server of another domain: registrar and proxy, which seeks others by DNS.

It asks the system's name servers, at port 53: so it has an /etc/resolv.conf of its own, in a namespace of its own, for
which the tests have to be root. The package's own service is another matter: nothing here starts, asks or ends it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port, is_bound
from live_overlay import eventually
from phone_certificates import Issued

needs_neighbour = pytest.mark.skipif(
    shutil.which("kamailio") is None or os.geteuid() != 0, reason="no kamailio (Debian: kamailio), or not root"
)

HOST = "127.0.0.1"
DOMAIN, PASSWORD = "far.example", "far-secret"

_CONFIGURATION = """\
debug=2
log_stderror=yes
children=1
socket_workers=1
tcp_children=1
auto_aliases=no
alias="{domain}"
alias="plain.{domain}"
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
listen=tls:{host}:{tls_port}
enable_tls=yes
dns_use_search_list=no
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tls.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("usrloc", "db_mode", 0)
modparam("tls", "config", "{tls_file}")

request_route {{
    xlog("L_WARN", "HEARD $rm $proto from $fu for $ru\\n");
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{domain}", "{password}", "0")) {{ www_challenge("{domain}", "0"); exit; }}
        save("location");
        exit;
    }}
    record_route();
    if (uri==myself && !lookup("location")) {{ sl_send_reply("404", "Nobody"); exit; }}
    t_relay();
}}
"""

_TLS = """\
[server:default]
method = TLSv1.2+
certificate = {certificate}
private_key = {key}
verify_certificate = no
require_certificate = no
[client:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
"""


class NeighbourDomain:
    """One process. It shows a `shown` certificate over TLS."""

    def __init__(self, directory: Path, shown: Issued) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.server = f"{HOST}:{self.port}"
        self.log = directory / "kamailio.log"
        self._directory = directory
        self._run = Path(tempfile.mkdtemp(prefix="kamailio-"))
        (directory / "kamailio.pem").write_bytes(shown.certificate_pem)
        (directory / "kamailio.key").write_bytes(shown.key_pem)
        tls = _TLS.format(certificate=directory / "kamailio.pem", key=directory / "kamailio.key")
        (directory / "tls.cfg").write_text(tls)
        names = {"host": HOST, "domain": DOMAIN, "password": PASSWORD, "port": self.port, "tls_port": self.tls_port}
        (directory / "kamailio.cfg").write_text(_CONFIGURATION.format(**names, tls_file=directory / "tls.cfg"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, name_server: str) -> None:
        """Run, and ask that name server about all other domains."""
        (self._directory / "resolv.conf").write_text(f"nameserver {name_server}\n")
        kamailio = f"kamailio -DD -E -m 32 -M 4 -f {self._directory}/kamailio.cfg -Y {self._run}"
        inside = f"mount --bind {self._directory}/resolv.conf /etc/resolv.conf && exec {kamailio}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", inside],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        running = self._process
        eventually("Kamailio listens", lambda: running.poll() is not None or is_bound(self.port))
        assert running.poll() is None, self.log.read_text()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._run, ignore_errors=True)

    def heard(self) -> list[str]:
        """The requests that came, as `INVITE tls from sip:.. for sip:..`."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.partition("HEARD ")[2] for line in lines if "HEARD " in line]
