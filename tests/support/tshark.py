"""tshark: a second reading of RFC 6940 and 3261, made by others; and dumpcap, which listens on loopback for it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from live_overlay import eventually

MISSING = [program for program in ("tshark", "text2pcap", "dumpcap") if shutil.which(program) is None]
needs_tshark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian package tshark)")

FRAMED_PORT = 6084
"""At this port tshark expects frames; elsewhere bare messages."""

QUIET = 3
"""So many looks after each other without another packet are the end."""


@dataclass(frozen=True)
class Dissection:
    """What tshark says of one packet."""

    text: str
    message_code: int
    is_malformed: bool
    complaints: set[str]


def dissect(directory: Path, packets: Iterable[bytes], port: int, options: Sequence[str] = ()) -> list[Dissection]:
    """Let tshark read RELOAD messages, or frames, as if each had come in a datagram."""
    capture = directory / f"{port}.pcapng"
    dump = "".join(f"000000 {packet.hex(' ')}\n" for packet in packets)
    subprocess.run(["text2pcap", "-q", "-u", f"{port},{port}", "-", str(capture)], input=dump.encode(), check=True)
    rows = fields(
        capture, "frame.number", "reload.message.code", "_ws.malformed", "_ws.expert.message", options=options
    )
    texts = read_capture(capture, *options, "-O", "reload,reload-framing", "-V").split("\n\n")
    return [_dissection(row, text) for row, text in zip(rows, texts, strict=True)]


def read_capture(capture: Path, *arguments: str) -> str:
    """What tshark prints for a file."""
    command = ["tshark", "-n", "-r", str(capture), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120)
    return output.stdout.decode().strip("\n")


def fields(capture: Path, *names: str, options: Iterable[str] = ()) -> Iterator[list[str]]:
    """Fields of each packet."""
    columns = [argument for name in names for argument in ("-e", name)]
    for row in read_capture(capture, *options, "-T", "fields", *columns).splitlines():
        yield row.split("\t")


def _dissection(row: list[str], text: str) -> Dissection:
    _, code, malformed, complaints = row
    return Dissection(text, int(code or 0), bool(malformed), set(filter(None, complaints.split(","))))


class LoopbackCapture:
    """dumpcap on loopback, from the moment that it listens. Skips the test, by name, where it may not."""

    def __init__(self, file: Path, ports: Iterable[int]) -> None:
        self.file = file
        self._filter = " or ".join(f"tcp port {port}" for port in ports)

    def __enter__(self) -> Self:
        command = ["dumpcap", "-q", "-i", "lo", "-f", self._filter, "-w", str(self.file)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said: list[str] = []
        while not (line := self._process.stderr.readline()).startswith("File:"):
            said.append(line.strip())
            if not line:
                self._process.communicate(timeout=10)
                pytest.skip(f"dumpcap may not capture on loopback, without root or CAP_NET_RAW: {' '.join(said[:3])}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._wait_quiet()
        self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate(timeout=10)
        assert kind is not None or "/0 (pcap:0/" in said, f"packets were lost: {said}"

    def _wait_quiet(self) -> None:
        """It writes what it hears a little later."""
        sizes: list[int] = []

        def is_quiet() -> bool:
            sizes.append(self.file.stat().st_size)
            return len(sizes) > QUIET and sizes[-1] == sizes[-1 - QUIET]

        eventually("no more packets come", is_quiet)
