"""baresip 1.0 (Debian's baresip-core) as a phone for tests: no screen, no sound card, driven over its control port.

It plays a tone from a file (or echoes), records both directions, and is told nothing but what a user would set: a
server, a user and a password. What its version wants:

- `net_interface` takes an address here; the name of the loopback interface fails.
- The port after the SIP port is bound too, for TLS.
- The sine source wants 48 kHz; a file at 8 kHz does not. The file source has no player beside it: an
  audio bridge that nobody listens to is the player, and the same bridge as source and player is an echo.
- The name of a recording has 127 characters, and then ends: it is given relative to where baresip runs.
- Over TLS it takes any certificate, whoever has issued it.
- Events come over the control connection between commands and their responses.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from free_ports import free_port
from kernel_nat import within

from p2psip.media.g711 import SAMPLE_RATE_HZ
from p2psip.media.tone import Tone, ToneDetector, ToneGenerator
from p2psip.net.sockets.addresses import join_host_port

MODULES = Path("/usr/lib/baresip/modules")
TONE_S = 30
PATIENCE_S = 60.0
"""For a machine that is busy with something else."""
TALK_S = 1.0
CALL_MAX_S = 30.0
"""So long after a peer has crashed, at most, until calls go through again."""

needs_baresip = pytest.mark.skipif(
    shutil.which("baresip") is None or not MODULES.is_dir(), reason="baresip (Debian: baresip-core) is not installed"
)

_FIRST = ("mwi",)
"""Modules that are loaded before there is an account: `mwi`, a millisecond after it was loaded, subscribes for all that
have registered by then, and for each of these subscriptions again, for ever."""

CONFIG = """\
poll_method epoll
sip_listen {address}
sip_trans_def {transport}
call_local_timeout 120
call_max_calls 4
audio_player aubridge,player-{user}
audio_source {source}
audio_alert aubridge,alert-{user}
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_buffer 20-160
rtp_ports {rtp_port}-{rtp_port_last}
rtp_stats yes
net_interface {host}
module_path {modules}
module g711.so
module aubridge.so
module aufile.so
module sndfile.so
{first}snd_path recordings
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control_port}
statmode_default off
{more}"""


class Baresip:
    """One baresip process. `plays` is a tone in Hz, or None for an echo. Without `server` it does not register.

    `account` are further parameters of its account; `namespace` is where it runs; `modules` are loaded beside those
    that it needs for calls, and `contacts` is its phone book.
    """

    def __init__(
        self,
        directory: Path,
        user: str,
        *,
        server: str = "",
        password: str = "",
        plays: int | None = 700,
        answers: bool = True,
        transport: str = "udp",
        codecs: str = "PCMU/8000/1,PCMA/8000/1",
        account: str = "",
        host: str = "127.0.0.1",
        namespace: str = "",
        modules: Sequence[str] = (),
        contacts: str = "",
    ) -> None:
        self.user = user
        self.host = host
        self._namespace = namespace
        self.sip_port = free_port(together=2)
        self.events: list[dict[str, Any]] = []
        self._directory = directory / f"baresip-{user}"
        self._recordings = self._directory / "recordings"
        self._control_port = free_port()
        self._buffer = b""
        self._finished: set[Path] = set()
        self._write(server, password, plays, answers, transport, codecs, account, modules)
        (self._directory / "contacts").write_text(contacts)

    @property
    def address(self) -> str:
        """Where it listens."""
        return join_host_port(self.host, self.sip_port)

    @property
    def uri(self) -> str:
        """Where it can be called without a server."""
        return f"sip:{self.user}@{self.address}"

    def __enter__(self) -> Self:
        log = (self._directory / "log").open("wb")
        with log:
            self._process = subprocess.Popen(
                [
                    *(("ip", "netns", "exec", self._namespace) if self._namespace else ()),
                    *("stdbuf", "-oL", "baresip"),
                    "-f",
                    str(self._directory),
                    "-s",
                ],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._control = self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it as a power cut does: it says goodbye to nobody. It may be entered again."""
        self._process.kill()
        self._process.wait()

    # Commands

    def command(self, name: str, parameters: str = "") -> dict[str, Any]:
        """A command of its menu, and the response to it."""
        text = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))
        deadline = time.monotonic() + PATIENCE_S
        while True:
            message = self._receive(deadline)
            assert message is not None, f"baresip did not answer {name!r}\n{self.log}"
            if message.get("response"):
                return message
            self.events.append(message)

    def dial(self, uri: str) -> None:
        """Call somebody."""
        answer = self.command("dial", uri)
        assert answer["ok"], answer

    def hang_up(self) -> None:
        """End the call."""
        self._finished = self._all_recordings()
        self.command("hangup")

    def wait_registered(self, timeout_s: float = PATIENCE_S) -> None:
        """Until its server has taken its registration; the event of that may have been before we listened."""
        deadline = time.monotonic() + timeout_s
        while "OK" not in (said := self.command("reginfo")["data"]):
            assert time.monotonic() < deadline, f"not registered in {timeout_s} s: {said}\n{self.log}"
            time.sleep(0.05)

    def wait(self, kind: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next event of this kind: CALL_INCOMING, CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED ..."""
        return self.wait_any(kind, timeout_s=timeout_s)

    def wait_any(self, *kinds: str, timeout_s: float) -> dict[str, Any]:
        """The next event of any of these kinds."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = next((event for event in self.events if event.get("type") in kinds), None)
            if found is not None:
                self.events.remove(found)
                if found["type"] == "CALL_CLOSED":
                    self._finished = self._all_recordings()
                return found
            message = self._receive(deadline)
            assert message is not None, f"no {kinds} from baresip in {timeout_s} s; it said {self.events}\n{self.log}"
            self.events.append(message)

    # What it heard

    def wait_heard(self, seconds: float) -> None:
        """Until its recording of the other side in this call is so long."""
        wanted = seconds * SAMPLE_RATE_HZ * 2
        deadline = time.monotonic() + PATIENCE_S
        while all(path.stat().st_size < wanted for path in self._all_recordings() - self._finished):
            assert time.monotonic() < deadline, f"not {seconds} s of voice in {PATIENCE_S} s\n{self.log}"
            time.sleep(0.05)

    def heard(self) -> Tone | None:
        """The tone in its latest recording of the other side; the call must have ended."""
        recordings = self._all_recordings()
        assert recordings, f"no recording in {self._recordings}\n{self.log}"
        with wave.open(str(max(recordings, key=lambda path: path.stat().st_mtime_ns))) as recording:
            assert (recording.getframerate(), recording.getsampwidth()) == (SAMPLE_RATE_HZ, 2)
            samples = array("h", recording.readframes(recording.getnframes()))
        detector = ToneDetector()
        detector.feed(samples)
        return detector.tone()

    @property
    def log(self) -> str:
        """What it printed."""
        return (self._directory / "log").read_text(errors="replace")

    # Parts

    def _all_recordings(self) -> set[Path]:
        return set(self._recordings.glob("*-dec.wav"))

    def _write(
        self,
        server: str,
        password: str,
        plays: int | None,
        answers: bool,
        transport: str,
        codecs: str,
        more: str,
        modules: Sequence[str],
    ) -> None:
        self._recordings.mkdir(parents=True)
        tone = self._directory / "tone.wav"
        if plays is not None:
            _write_tone(tone, plays)
        rtp_port = free_port(together=10)
        config = CONFIG.format(
            user=self.user,
            host=self.host,
            address=self.address,
            transport=transport,
            source=f"aubridge,player-{self.user}" if plays is None else f"aufile,{tone}",
            rtp_port=rtp_port,
            rtp_port_last=rtp_port + 9,
            modules=MODULES,
            control_port=self._control_port,
            first="".join(f"module {name}.so\n" for name in modules if name in _FIRST),
            more="".join(f"module_app {name}.so\n" for name in modules if name not in _FIRST),
        )
        (self._directory / "config").write_text(config)
        domain, registering = (server, "regint=60") if server else (self.address, "regint=0")
        mode = "auto" if answers else "manual"
        account = f"<sip:{self.user}@{domain};transport={transport}>;auth_user={self.user};auth_pass={password}"
        (self._directory / "accounts").write_text(
            f"{account};answermode={mode};{registering};audio_codecs={codecs}{more}\n"
        )

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._to_control()
            except OSError:
                assert time.monotonic() < deadline, f"baresip did not open its control port\n{self.log}"
                assert self._process.poll() is None, f"baresip ended\n{self.log}"
                time.sleep(0.05)

    def _to_control(self) -> socket.socket:
        """A connection to its control port. Raises OSError."""
        control = within(self._namespace, socket.socket) if self._namespace else socket.socket()
        try:
            control.settimeout(1)
            control.connect(("127.0.0.1", self._control_port))
        except OSError:
            control.close()
            raise
        return control

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        """One netstring of JSON; None if there is none in time."""
        while True:
            length, colon, rest = self._buffer.partition(b":")
            if colon and len(rest) > int(length):
                self._buffer = rest[int(length) + 1 :]
                message: dict[str, Any] = json.loads(rest[: int(length)])
                return message
            self._control.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._control.recv(65536)
            except TimeoutError:
                return None
            assert data, f"baresip closed its control connection\n{self.log}"
            self._buffer += data


def hears(phone: Baresip, frequency_hz: float) -> bool:
    """True if that is the tone that it heard in its latest call."""
    tone = phone.heard()
    return tone is not None and tone.frequency_hz == pytest.approx(frequency_hz, abs=5)


def talk(caller: Baresip, callee: Baresip, server: str) -> None:
    """A call from one to the other, who answers by itself; both hear each other."""
    caller.dial(f"sip:{callee.user}@{server}")
    caller.wait("CALL_ESTABLISHED", CALL_MAX_S)
    callee.wait("CALL_ESTABLISHED")
    caller.wait_heard(TALK_S)
    callee.wait_heard(TALK_S)
    caller.hang_up()
    callee.wait("CALL_CLOSED")


def _write_tone(path: Path, frequency_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(ToneGenerator(frequency_hz).frame(SAMPLE_RATE_HZ * TONE_S).tobytes())
