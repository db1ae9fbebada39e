"""A Kamailio of one's own: a registrar and proxy with digest, one worker on UDP, its log off."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from free_ports import free_port, is_bound
from kamailio_process import CHALLENGE, HOST, KamailioProcess, configuration

PASSWORD: Final = "bench"
"""Of every phone."""

_REALM: Final = "$fd"
_THEN: Final = f"""\
{CHALLENGE.format(realm=_REALM, password=PASSWORD)}
    record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not found"); exit; }}
    t_relay();
"""


class Kamailio:
    """It runs from `with` to its end."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        settings = [f"listen=udp:{self.server}", "debug=-1", "disable_tcp=yes"]
        settings += ['modparam("registrar", "max_contacts", 20)']
        self._process = KamailioProcess(directory, "kamailio", configuration(settings, _REALM, PASSWORD, _THEN))

    @property
    def server(self) -> str:
        """What one sets as server in a phone."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._process.start(lambda: is_bound(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()

    def cpu_s(self) -> float:
        """How much processor time it has used, its worker and all others together."""
        return sum(_cpu_s(each) for each in _family(self._process.pid))


def _family(pid: int) -> Sequence[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
