"""Phones in a headless browser for tests: Debian's Chromium, driven by the DevTools protocol over a pipe.

What a page is made of, `make browser` has fetched, by the package-lock.json in tests/interop/browser. Chromium has a
microphone that beeps, asks nobody, and calls nobody but whom a page calls.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from live_overlay import eventually

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "interop" / "browser" / "phone.html"
MODULES = (ROOT / ".tools" / "browser" / "node_modules").resolve()
LIMIT_S = 90.0
"""For a machine that is busy with something else."""

needs_browser = pytest.mark.skipif(
    shutil.which("chromium") is None or not (MODULES / "jssip").is_dir(),
    reason="Chromium (Debian: chromium) or JsSIP (`make browser`) is not installed",
)

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    # Host candidates by their addresses, as a page that uses the microphone has them anyway.
    "--disable-features=WebRtcHideLocalIpsWithMdns,MediaRouter,OptimizationHints,Translate",
)


class Browser:
    """One Chromium, and where its pages come from."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags

    def __enter__(self) -> Self:
        self._home = tempfile.mkdtemp(prefix="p2psip-browser-")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
        self._serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._serving.start()
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = ["chromium", *_FLAGS, *sandbox, f"--user-data-dir={self._home}", *self._flags, "about:blank"]
        self._process = subprocess.Popen(
            # Chromium hears on 3 and speaks on 4.
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._answers = os.fdopen(self._read, "rb")
        self._number = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._answers.close()
        self._server.shutdown()
        self._server.server_close()
        # Its children may still be putting something away.
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def origin(self) -> str:
        """Where pages come from, as the browser tells the peer."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def open(self, *, origin: str | None = None) -> Tab:
        """A new tab with a phone in it."""
        target = self.ask("Target.createTarget", url=f"{origin or self.origin}/phone.html")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        eventually("the page is loaded", lambda: tab.evaluate("typeof phone === 'object'"), LIMIT_S)
        return tab

    def ask(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        self._number += 1
        asked: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            asked["sessionId"] = session
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while (answer := json.loads(self._next())).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> bytes:
        said = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, f"Chromium has ended with {self._process.poll()}"
            said += byte
        return bytes(said)


class Tab:
    """A page with a phone."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def evaluate(self, expression: str) -> Any:
        """What a piece of JavaScript comes to."""
        found = self._browser.ask(
            "Runtime.evaluate", self._session, expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def do(self, what: str, *arguments: object) -> Any:
        """Call a function of `phone`."""
        return self.evaluate(f"phone.{what}({', '.join(map(json.dumps, arguments))})")

    def told(self, event: str) -> list[dict[str, Any]]:
        """What its phone was told of that kind."""
        told: list[dict[str, Any]] = self.evaluate("told")
        return [one for one in told if one["event"] == event]

    def wait(self, event: str, count: int = 1) -> dict[str, Any]:
        """Until its phone was told so, that many times; the last one."""
        told: list[dict[str, Any]] = []

        def came() -> bool:
            told[:] = self.told(event)
            return len(told) >= count

        try:
            eventually(f"{event} in the browser", came, LIMIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; it was told {self.evaluate('told')}") from None
        return told[-1]

    def screenshot(self, path: Path) -> None:
        """What a person would see."""
        # Of a tab behind another one nothing is drawn.
        self._browser.ask("Page.bringToFront", self._session)
        path.write_bytes(base64.b64decode(self._browser.ask("Page.captureScreenshot", self._session)["data"]))


class _Pages(http.server.BaseHTTPRequestHandler):
    """The page and the library, and nothing else."""

    def do_GET(self) -> None:  # the name is http.server's
        name = self.path.removeprefix("/modules/")
        file, kind = (PAGE, "text/html") if name == "/phone.html" else ((MODULES / name).resolve(), "text/plain")
        if not file.is_file() or (file != PAGE and not file.is_relative_to(MODULES)):
            self.send_error(404)
            return
        body = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
