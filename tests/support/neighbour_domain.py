"""Kamailio on loopback as the server of another domain: registrar and proxy, which seeks others by DNS.

It asks the system's name servers, at port 53: so it has an /etc/resolv.conf of its own, in a namespace of its own, for
which the tests have to be root.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port, is_bound
from kamailio_process import HOST, IS_INSTALLED, KamailioProcess, configuration
from phone_certificates import Issued

needs_neighbour = pytest.mark.skipif(
    not IS_INSTALLED or os.geteuid() != 0, reason="no kamailio (Debian: kamailio), or not root"
)

DOMAIN, PASSWORD = "far.example", "far-secret"

_FIRST = r'xlog("L_WARN", "HEARD $rm $proto from $fu for $ru\n");'
_THEN = """\
record_route();
    if (uri==myself && !lookup("location")) { sl_send_reply("404", "Nobody"); exit; }
    t_relay();
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
        self._resolv_conf = directory / "resolv.conf"
        certificate, key, tls = (directory / f"kamailio.{name}" for name in ("pem", "key", "tls"))
        certificate.write_bytes(shown.certificate_pem)
        key.write_bytes(shown.key_pem)
        tls.write_text(_TLS.format(certificate=certificate, key=key))
        settings = ["debug=2", "tcp_children=1", "enable_tls=yes", "dns_use_search_list=no"]
        settings += [f'alias="{DOMAIN}"', f'alias="plain.{DOMAIN}"', f'modparam("tls", "config", "{tls}")']
        settings += [f"listen=udp:{self.server}", f"listen=tcp:{self.server}", f"listen=tls:{HOST}:{self.tls_port}"]
        written = configuration(settings, DOMAIN, PASSWORD, _THEN, modules=("tls", "xlog"), first=_FIRST)
        self._process = KamailioProcess(directory, "kamailio", written)

    def start(self, name_server: str) -> None:
        """Run, and ask that name server about all other domains."""
        self._resolv_conf.write_text(f"nameserver {name_server}\n")
        inside = f'mount --bind {self._resolv_conf} /etc/resolv.conf && exec "$@"'
        self._process.start(lambda: is_bound(self.port), ("unshare", "--mount", "sh", "-c", inside, "sh"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.close()

    def heard(self) -> list[str]:
        """The requests that came, as `INVITE tls from sip:.. for sip:..`."""
        lines = self._process.log.read_text(errors="replace").splitlines()
        return [line.partition("HEARD ")[2] for line in lines if "HEARD " in line]
