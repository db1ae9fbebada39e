"""Kamailio on loopback, as a telephone provider: a registrar that wants a password, and a proxy.

Its account for us is `ACCOUNT`; phones of its own register with any other name and the same password. `DID` is another
number of that account.
"""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port
from kamailio_process import CHALLENGE, HOST, IS_INSTALLED, KamailioProcess, configuration

needs_kamailio = pytest.mark.skipif(not IS_INSTALLED, reason="no kamailio (Debian: kamailio)")

DOMAIN = "tel.example"
ACCOUNT, PASSWORD, DID = "4930555", "trunk secret", "+4930777"

_THEN = f"""\
if (is_method("OPTIONS")) {{ sl_send_reply("200", "Here"); exit; }}
    {CHALLENGE.format(realm=DOMAIN, password=PASSWORD)}
    record_route();
    if ($rU == "{DID}") $rU = "{ACCOUNT}";
    if (!lookup("location")) {{ sl_send_reply("404", "Unknown Number"); exit; }}
    t_relay();
"""


class Kamailio:
    """One process; it may be killed, or fall silent, and be started again at the same port."""

    def __init__(self, directory: Path, *, tcp: bool = False, nonce_s: int = 300) -> None:
        self.port = free_port()
        self.server = f"{HOST}:{self.port}"
        settings = [f"listen=udp:{self.server}", f'alias="{DOMAIN}"', "debug=2"]
        settings += [f"listen=tcp:{self.server}"] if tcp else ["disable_tcp=yes"]
        settings += [f'modparam("auth", "nonce_expire", {nonce_s})', 'modparam("registrar", "max_expires", 60)']
        written = configuration(settings, DOMAIN, PASSWORD, _THEN)
        self._process = KamailioProcess(directory, f"kamailio-{self.port}", written)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()

    def start(self) -> None:
        """Run, until it answers OPTIONS."""
        self._process.start(self._answers)

    def kill(self) -> None:
        """Nobody is told."""
        self._process.kill()

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
