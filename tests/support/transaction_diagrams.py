"""The diagrams of docs/transactions.md: drawn from the very tables that the transaction layer runs.

`python tests/support/transaction_diagrams.py` writes the page anew (`make transactions`).
"""

from __future__ import annotations

from pathlib import Path

from p2psip.sip.transactions.machines import (
    INVITE_CLIENT,
    INVITE_SERVER,
    OTHER_CLIENT,
    OTHER_SERVER,
    Input,
    Reaction,
    State,
    Table,
    first_state,
)
from p2psip.sip.transactions.timer_values import REASONS, Timer

PAGE = Path(__file__).parents[2] / "docs/transactions.md"

MACHINES = {
    "INVITE client": (INVITE_CLIENT, "RFC 3261 figure 5, as RFC 6026 section 8.4 has it", "INVITE is sent"),
    "INVITE server": (INVITE_SERVER, "RFC 3261 figure 7, as RFC 6026 sections 8.5 to 8.8 have it", "INVITE comes in"),
    "other client": (OTHER_CLIENT, "RFC 3261 figure 6", "request is sent"),
    "other server": (OTHER_SERVER, "RFC 3261 figure 8, and RFC 4320 section 4.1", "request comes in"),
}

HEAD = """\
# Transactions

The four machines of RFC 3261 section 17, as amended by RFC 6026 and RFC 4320. This page is made by `make transactions`
from the tables that run ([machines.py](../src/p2psip/sip/transactions/machines.py)); do not edit it.

What a state has no arrow for changes nothing: a retransmission, a stray ACK, a timer that is late. "TU" is the
transaction user: the proxy, the registrar, a user agent. Over connections timers A, E and G are not started, and D, I,
J and K last no time. Where we differ from the figures is said above the tables.
"""

MACHINE = """
## {name}

{source}.

```mermaid
stateDiagram-v2
{arrows}
```

| in | upon | goes to | and does |
|---|---|---|---|
{rows}
"""

INPUTS = {
    Input.RESPONSE_1XX: "1xx",
    Input.RESPONSE_2XX: "2xx",
    Input.RESPONSE_OTHER: "3xx to 6xx",
    Input.REQUEST: "request again",
    Input.ACK: "ACK",
    Input.SEND_1XX: "1xx from TU",
    Input.SEND_2XX: "2xx from TU",
    Input.SEND_OTHER: "3xx to 6xx from TU",
    Input.TRANSPORT_ERROR: "transport error",
}

REACTIONS = {
    Reaction.TELL_RESPONSE: "response to TU",
    Reaction.TELL_TIMEOUT: "timeout to TU",
    Reaction.TELL_TRANSPORT_ERROR: "transport error to TU",
    Reaction.SEND_ACK: "send ACK",
    Reaction.SEND_PENDING_CANCEL: "send CANCEL if TU wants it",
    Reaction.RETRANSMIT_REQUEST: "send request again",
    Reaction.SEND_RESPONSE: "send response",
    Reaction.RETRANSMIT_RESPONSE: "send response again",
    Reaction.SEND_TRYING: "send 100",
    Reaction.START_E_SLOW: "start timer E with T2",
    Reaction.STOP_TIMERS: "stop timers",
}


def page() -> str:
    """docs/transactions.md."""
    parts = [HEAD]
    for name, (table, source, beginning) in MACHINES.items():
        arrows, rows = "\n".join(_arrows(table, beginning)), "\n".join(_rows(table))
        parts.append(MACHINE.format(name=name, source=source, arrows=arrows, rows=rows))
    return "".join(parts)


def _arrows(table: Table, beginning: str) -> list[str]:
    """One arrow for each input that leads to another state, or does something."""
    lines = [f"    [*] --> {first_state(table).name}: {beginning}"]
    for state, row in table.items():
        for what, (target, reactions) in row.items():
            does = f" / {', '.join(map(_reaction, reactions))}" if reactions else ""
            lines.append(f"    {state.name} --> {_end(target)}: {_input(what)}{does}")
    return lines


def _rows(table: Table) -> list[str]:
    return [
        f"| {state.name} | {_why(what)} | {target.name} | {', '.join(map(_reaction, reactions))} |"
        for state, row in table.items()
        for what, (target, reactions) in row.items()
    ]


def _end(state: State) -> str:
    return "[*]" if state is State.TERMINATED else state.name


def _input(what: Input) -> str:
    return INPUTS.get(what) or f"timer {_timer(what).name}"


def _why(what: Input) -> str:
    return INPUTS.get(what) or REASONS[_timer(what)]


def _timer(what: Input) -> Timer:
    return Timer(what - 100)


def _reaction(reaction: Reaction) -> str:
    return REACTIONS.get(reaction) or f"start timer {reaction.name.removeprefix('START_')}"


if __name__ == "__main__":
    PAGE.write_text(page())
