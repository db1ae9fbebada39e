"""Kamailio (Debian's) on loopback, as a telephone provider: a registrar that wants a password, and a proxy.

Its account for us is `ACCOUNT`; phones of its own register with any other name and the same password. `DID` is another
number of that account. The package's own service is another matter: nothing here starts, asks or ends it.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port

needs_kamailio = pytest.mark.skipif(shutil.which("kamailio") is None, reason="no kamailio (Debian: kamailio)")

HOST = "127.0.0.1"
DOMAIN = "tel.example"
ACCOUNT, PASSWORD, DID = "4930555", "trunk secret", "+4930777"
PATIENCE_S = 30.0

_CONFIGURATION = """\
debug=2
log_stderror=yes
children=1
socket_workers=1
disable_tcp={no_tcp}
auto_aliases=no
alias="{domain}"
listen=udp:{host}:{port}
{listen_tcp}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
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
modparam("usrloc", "db_mode", 0)
modparam("auth", "nonce_expire", {nonce_s})
modparam("registrar", "max_expires", 60)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "Here"); exit; }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{domain}", "{password}", "0")) {{ www_challenge("{domain}", "0"); exit; }}
        save("location");
        exit;
    }}
    if (!pv_proxy_authenticate("{domain}", "{password}", "0")) {{ proxy_challenge("{domain}", "0"); exit; }}
    consume_credentials();
    record_route();
    if ($rU == "{did}") $rU = "{account}";
    if (!lookup("location")) {{ sl_send_reply("404", "Unknown Number"); exit; }}
    t_relay();
}}
"""


class Kamailio:
    """One process; it may be killed, or fall silent, and be started again at the same port."""

    def __init__(self, directory: Path, *, tcp: bool = False, nonce_s: int = 300) -> None:
        self.port = free_port()
        self.server = f"{HOST}:{self.port}"
        self.log = directory / f"kamailio-{self.port}.log"
        self._file = directory / f"kamailio-{self.port}.cfg"
        self._run = Path(tempfile.mkdtemp(prefix="kamailio-"))
        self._file.write_text(
            _CONFIGURATION.format(
                host=HOST,
                port=self.port,
                domain=DOMAIN,
                password=PASSWORD,
                did=DID,
                account=ACCOUNT,
                nonce_s=nonce_s,
                no_tcp="no" if tcp else "yes",
                listen_tcp=f"listen=tcp:{HOST}:{self.port}" if tcp else "",
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._run, ignore_errors=True)

    def start(self) -> None:
        """Run, until it answers OPTIONS."""
        command = ["kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", str(self._file), "-Y", str(self._run)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]

    def kill(self) -> None:
        """All its processes, at once: nobody is told."""
        if self._process is not None:
            import os

            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        request = (
            f"OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {HOST}:9;rport;branch=z9hG4bKup\r\n"
            f"From: <sip:t@t>;tag=1\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: up\r\n"
            "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            try:
                sock.sendto(request.encode(), (HOST, self.port))
                return sock.recv(4096).startswith(b"SIP/2.0 200")
            except (TimeoutError, ConnectionError):
                return False
