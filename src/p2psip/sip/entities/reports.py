"""What a server tells of the requests that it has carried (design: every failure explains itself)."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.errors import Cause


@dataclass(frozen=True, slots=True)
class RequestCarried(Effect):
    """The final answer to a request went back to its sender.

    `who` is the line, peer or address it came from; `target` the label of what answered; `rang_s` and
    `took_s` the time from the request to the first ringing and to the final answer; `causes` why it failed; `caller`
    who has proved to call, of what another peer has begun, "" of anything else.
    """

    method: str
    call_id: str
    who: str
    uri: str
    status: int
    phrase: str
    target: str
    rang_s: float | None
    took_s: float
    causes: tuple[Cause, ...] = ()
    caller: str = ""
