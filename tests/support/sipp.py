"""SIPp 3.6 (Debian's sip-tester): registers with digest, places calls and answers them, through record-routing proxies.

Its built-in scenarios ignore Record-Route and Contact, so that their ACK and BYE go astray behind a proxy; ours keep
the route set (`rrs`, `[routes]`, `[next_url]`). Each run leaves its files in a directory of its own.
"""

from __future__ import annotations

import csv
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from free_ports import free_port, is_bound
from live_overlay import eventually

needs_sipp = pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp (Debian: sip-tester) is not installed")

HOST = "127.0.0.1"
_COUNTED = ("-trace_stat", "-fd", "1")
_runs = itertools.count(1)

_SCENARIO = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="{name}">\n{steps}</scenario>\n'
_TRYING = '<recv response="100" optional="true"/>\n'
"""RFC 4320 section 4.1: also to what is no INVITE, over UDP if it takes as long as on a busy machine."""

_SEND = "<send{attributes}><![CDATA[\n\n{message}\n]]></send>\n"

_SDP = """\
v=0
o=sipp 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""

_REGISTER = """\
REGISTER sip:{server} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{user}@{server}>;tag=[pid]r[call_number]
To: <sip:{user}@{server}>
Call-ID: [call_id]
CSeq: {cseq} REGISTER
Contact: <sip:{user}@{contact};transport=[transport]>
{credentials}Max-Forwards: 70
Expires: {expires}
Content-Length: 0
"""

_INVITE = """\
INVITE {target} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{user}@{server}>;tag=[pid]c[call_number]
To: <{target}>
Call-ID: [call_id]
CSeq: {cseq} INVITE
Contact: <sip:{user}@[local_ip]:[local_port];transport=[transport]>
{credentials}Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

"""

_IN_DIALOG = """\
{method} [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:{user}@{server}>;tag=[pid]c[call_number]
To: <{target}>[peer_tag_param]
Call-ID: [call_id]
CSeq: {cseq} {method}
{credentials}Max-Forwards: 70
Content-Length: 0
"""

_SUBSCRIBE = """\
SUBSCRIBE {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
{routes}From: <sip:{user}@{server}>;tag=[pid]c[call_number]
To: <{target}>{tag}
Call-ID: [call_id]
CSeq: {cseq} SUBSCRIBE
Contact: <sip:{user}@[local_ip]:[local_port];transport=[transport]>
Event: dialog
Accept: application/dialog-info+xml
Expires: {expires}
{credentials}Max-Forwards: 70
Content-Length: 0
"""

_NOTIFY = """\
<recv request="NOTIFY"><action>
<ereg regexp="{seen}" search_in="body" assign_to="{variable}"/>
<ereg regexp="entity=.sip:{watched}@{host}" search_in="body" check_it="true" assign_to="entity"/>
</action></recv>
"""

_REFUSED_ACK = """\
ACK {target} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-3]
From: <sip:{user}@{server}>;tag=[pid]c[call_number]
To: <{target}>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0
"""

_ANSWER = """\
SIP/2.0 {status}
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid]s[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[service]@[local_ip]:[local_port];transport=[transport]>
"""

_OK_TO_BYE = """\
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0
"""


@dataclass(frozen=True, slots=True)
class Account:
    """What one sets in a phone."""

    server: str
    user: str
    password: str = ""

    def credentials(self) -> str:
        """The keyword that SIPp replaces by the answer to the last challenge."""
        return f"[authentication username={self.user} password={self.password}]\n"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Phones that register one after the other, again and again: each at a port of its own, where nobody is.

    RFC 3261 section 10.2: all registrations of a phone have one Call-ID, that of its number in SIPp; and each has a
    higher CSeq.
    """

    accounts: tuple[Account, ...]
    ports: tuple[int, ...]
    cseqs: Iterator[int] = field(default_factory=partial(itertools.count, 1))

    def lines(self) -> str:
        """SIPp's injection file: user, credentials, port and CSeqs of each, for once."""
        rows = [
            f"{each.user};{each.credentials().strip()};{port};{next(self.cseqs)};{next(self.cseqs)}"
            for port in self.ports
            for each in self.accounts
        ]
        return "\n".join(["SEQUENTIAL", *rows, ""])


class Sipp:
    """One SIPp process with a scenario of ours."""

    def __init__(
        self, directory: Path, name: str, steps: str, *arguments: str, port: int = 0, answers: bool = False
    ) -> None:
        self.port = port or free_port()
        self.directory = directory / f"sipp-{next(_runs)}-{name}"
        self.directory.mkdir(parents=True)
        (self.directory / f"{name}.xml").write_text(_SCENARIO.format(name=name, steps=steps))
        self._command = ["sipp", "-sf", f"{name}.xml", "-i", HOST, "-p", str(self.port), "-mi", HOST]
        self._answers = answers
        self._command += ["-nostdin", "-trace_err", "-timeout_error", *arguments]

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        screen = (self.directory / "screen").open("wb")
        with screen:
            self._process = subprocess.Popen(self._command, cwd=self.directory, stdout=screen, stderr=screen)
        if self._answers:
            eventually("SIPp listens", lambda: self._process.poll() is not None or is_bound(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait(self, timeout_s: float = 60) -> None:
        """Let it end; every call must have gone as the scenario says."""
        status = self._process.wait(timeout_s)
        assert status == 0, f"sipp ended with {status}\n{self.log}"

    def end(self, timeout_s: float = 60) -> None:
        """Let it end, whatever has become of its calls: `failed` says that."""
        self._process.wait(timeout_s)

    def wait_failed(self, timeout_s: float = 60) -> None:
        """Let it end; it must not have gone as the scenario says."""
        assert self._process.wait(timeout_s) != 0, self.log

    def run(self, timeout_s: float = 60) -> Self:
        """Start it, and let it end."""
        with self:
            self.wait(timeout_s)
        return self

    @property
    def log(self) -> str:
        """Its errors, and the end of what it showed on its screen."""
        errors = "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*_errors.log")))
        return errors[:4000] + (self.directory / "screen").read_text(errors="replace")[-4000:]

    @property
    def messages(self) -> str:
        """What came and went, of one that keeps that."""
        return "".join(path.read_text(errors="replace") for path in self.directory.glob("*_messages.log"))

    def retransmissions(self) -> int:
        """How often it has repeated a message, of one that keeps count."""
        return self._counted("Retransmissions(C)")

    def failed(self) -> int:
        """How many calls have not gone as the scenario says, of one that keeps count."""
        return self._counted("FailedCall(C)")

    def _counted(self, what: str) -> int:
        (path,) = self.directory.glob("*_.csv")
        with path.open() as file:
            *_, last = csv.DictReader(file, delimiter=";")
        return int(last[what])

    def setup_ms(self) -> list[float]:
        """From INVITE to the answer that is timed, call by call."""
        (path,) = self.directory.glob("*_rtt.csv")
        with path.open() as file:
            return [float(row["response_time_ms"]) for row in csv.DictReader(file, delimiter=";")]


def registering(
    directory: Path, account: Account, contact: str, *, expires_s: int = 300, transport: str = "udp"
) -> Sipp:
    """REGISTER `contact`, answering one challenge."""
    common = {"server": account.server, "user": account.user, "contact": contact, "expires": expires_s}
    steps = _send(_REGISTER.format(**common, cseq=1, credentials=""))
    steps += f'{_TRYING}<recv response="401" auth="true"/>\n'
    steps += _send(_REGISTER.format(**common, cseq=2, credentials=account.credentials()))
    steps += f'{_TRYING}<recv response="200"/>\n'
    return Sipp(directory, "register", steps, account.server, "-m", "1", *_transport(transport), *_limit(60))


def registering_crowd(directory: Path, crowd: Crowd, *, times: int, rate: float) -> Sipp:
    """REGISTER so many of the phones, and so many a second, answering a challenge each time."""
    assert times <= len(crowd.accounts) * len(crowd.ports), "each phone registers once"
    inject = directory / f"crowd-{next(_runs)}.csv"
    inject.write_text(crowd.lines())
    server = crowd.accounts[0].server
    common = {"server": server, "user": "[field0]", "contact": f"{HOST}:[field2]", "expires": 300}
    steps = _send(_REGISTER.format(**common, cseq="[field3]", credentials=""))
    steps += f'{_TRYING}<recv response="401" auth="true"/>\n'
    steps += _send(_REGISTER.format(**common, cseq="[field4]", credentials="[field1]\n"))
    steps += f'{_TRYING}<recv response="200"/>\n'
    arguments = [server, "-inf", str(inject), "-cid_str", "%u@crowd", "-m", str(times), "-r", f"{rate:g}", *_COUNTED]
    return Sipp(directory, "crowd", steps, *arguments, *_transport("udp"), *_limit(60 + times / rate))


def calling(
    directory: Path,
    account: Account,
    target: str,
    *,
    calls: int = 1,
    rate: float = 10,
    talk_ms: int = 500,
    transport: str = "udp",
    port: int = 0,
    until: int = 200,
    at_once: int = 0,
) -> Sipp:
    """Call `target`; with a password in the account the INVITE answers one challenge. `setup_ms` is up to `until`. On a
    busy machine calls last longer: where the callee takes so many at once and no more, `at_once` says so.
    """
    common = {"server": account.server, "user": account.user, "target": target}
    invite = _INVITE + _SDP
    cseq = 1
    steps = _send(invite.format(**common, cseq=1, credentials=""), ' retrans="500" start_rtd="invite"')
    if account.password:
        steps += f'{_TRYING}<recv response="407" auth="true"/>\n'
        steps += _send(_REFUSED_ACK.format(**common), "")
        steps += _send(invite.format(**common, cseq=2, credentials=account.credentials()))
        cseq = 2
    for status in (100, 180, 183):
        steps += f'<recv response="{status}" optional="true"{_timed(status, until)}/>\n'
    steps += f'<recv response="200" rrs="true"{_timed(200, until)}/>\n'
    steps += _send(_IN_DIALOG.format(**common, method="ACK", cseq=cseq, credentials=""), "")
    steps += f'<pause milliseconds="{talk_ms}"/>\n'
    steps += _send(_IN_DIALOG.format(**common, method="BYE", cseq=cseq + 1, credentials=""))
    steps += f'{_TRYING}<recv response="200"/>\n'
    limits = ["-m", str(calls), "-r", str(rate), "-trace_rtt", "-rtt_freq", "1", *_COUNTED, *_limit(60 + calls / rate)]
    limits += ["-l", str(at_once)] if at_once else []
    # Its digest covers the server's address unless it is told the Request-URI, to which it adds the scheme.
    limits += ["-auth_uri", target.removeprefix("sip:")]
    return Sipp(directory, "uac", steps, account.server, *limits, *_transport(transport), port=port)


def answering(
    directory: Path, user: str, *, calls: int = 1, ring_ms: int = 50, transport: str = "udp", port: int = 0
) -> Sipp:
    """Ring, answer, echo the voice, wait for the BYE."""
    steps = '<recv request="INVITE" rrs="true"/>\n'
    steps += _send(_ANSWER.format(status="180 Ringing") + "Content-Length: 0\n", "")
    steps += f'<pause milliseconds="{ring_ms}"/>\n'
    body = "Content-Type: application/sdp\nContent-Length: [len]\n\n" + _SDP
    steps += _send(_ANSWER.format(status="200 OK") + body)
    steps += '<recv request="ACK"/>\n<recv request="BYE"/>\n'
    steps += _send(_OK_TO_BYE, "")
    media = ["-rtp_echo", "-mp", str(free_port(together=4))]
    return Sipp(
        directory, "uas", steps, "-s", user, "-m", str(calls), *media, *_transport(transport), port=port, answers=True
    )


def watching(directory: Path, account: Account, watched: str, *, transport: str = "udp") -> Sipp:
    """Subscribe to the calls of `watched` at the account's server until one has come, was answered, and is over.

    Each NOTIFY must name the line as this phone can dial it.
    """
    target = f"sip:{watched}@{account.server}"
    common = {"server": account.server, "user": account.user, "target": target}
    first = {**common, "uri": target, "routes": "", "tag": "", "expires": 300}
    steps = _send(_SUBSCRIBE.format(**first, cseq=1, credentials=""))
    steps += f'{_TRYING}<recv response="407" auth="true"/>\n'
    steps += _send(_SUBSCRIBE.format(**first, cseq=2, credentials=account.credentials()))
    steps += f'{_TRYING}<recv response="200" rrs="true"/>\n'
    steps += _told(account, watched, "dialog-info", "known")
    for number, state in enumerate(("early", "confirmed", "terminated"), 1):
        # Until it says so: what comes between may be told or not.
        steps += f'<label id="{number}"/>\n' + _told(account, watched, f"{state}&lt;", state)
        steps += f'<nop next="1{number}" test="{state}"/>\n<nop next="{number}"/>\n<label id="1{number}"/>\n'
    last = {**common, "uri": "[next_url]", "routes": "[routes]\n", "tag": "[peer_tag_param]", "expires": 0}
    steps += _send(_SUBSCRIBE.format(**last, cseq=3, credentials=""))
    steps += f'{_TRYING}<recv response="200"/>\n' + _told(account, watched, "dialog-info", "over")
    steps += '<Reference variables="entity,known,over"/>\n'
    arguments = [account.server, "-m", "1", *_limit(120), "-trace_msg", "-auth_uri", target.removeprefix("sip:")]
    return Sipp(directory, "watcher", steps, *arguments, *_transport(transport), answers=True)


def _told(account: Account, watched: str, seen: str, variable: str) -> str:
    notify = _NOTIFY.format(seen=seen, variable=variable, watched=watched, host=account.server)
    return notify + _send(_OK_TO_BYE, "")


def _send(message: str, attributes: str = ' retrans="500"') -> str:
    return _SEND.format(attributes=attributes, message=message)


def _timed(status: int, until: int) -> str:
    return ' rtd="invite"' if status == until else ""


def _transport(transport: str) -> list[str]:
    return ["-t", "t1" if transport == "tcp" else "u1"]


def _limit(seconds: float) -> list[str]:
    return ["-timeout", f"{seconds:.0f}s"]
