"""RFC 3261 section 17 as amended by RFC 6026: every state and every input of the four machines.

The arrows are written here as in the figures, by hand; what is not an arrow must change nothing.
"""

from __future__ import annotations

import pytest
from transaction_diagrams import PAGE, page

from p2psip.sip.transactions.machines import (
    INVITE_CLIENT,
    INVITE_SERVER,
    OTHER_CLIENT,
    OTHER_SERVER,
    Input,
    Reaction,
    State,
    Table,
)

FIGURES: dict[str, tuple[Table, str]] = {
    "figure 5 (RFC 6026 8.4): INVITE client": (
        INVITE_CLIENT,
        """
        CALLING     TIMER_A         CALLING     RETRANSMIT_REQUEST START_A
        CALLING     TIMER_B         TERMINATED  TELL_TIMEOUT
        CALLING     TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        CALLING     RESPONSE_1XX    PROCEEDING  STOP_TIMERS TELL_RESPONSE SEND_PENDING_CANCEL
        CALLING     RESPONSE_2XX    ACCEPTED    STOP_TIMERS TELL_RESPONSE START_M
        CALLING     RESPONSE_OTHER  COMPLETED   STOP_TIMERS SEND_ACK TELL_RESPONSE START_D
        PROCEEDING  RESPONSE_1XX    PROCEEDING  TELL_RESPONSE
        PROCEEDING  RESPONSE_2XX    ACCEPTED    STOP_TIMERS TELL_RESPONSE START_M
        PROCEEDING  RESPONSE_OTHER  COMPLETED   STOP_TIMERS SEND_ACK TELL_RESPONSE START_D
        PROCEEDING  TIMER_CANCELLED TERMINATED  TELL_TIMEOUT
        PROCEEDING  TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        COMPLETED   RESPONSE_OTHER  COMPLETED   SEND_ACK
        COMPLETED   TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        COMPLETED   TIMER_D         TERMINATED
        ACCEPTED    RESPONSE_2XX    ACCEPTED    TELL_RESPONSE
        ACCEPTED    TIMER_M         TERMINATED
        """,
    ),
    "figure 6: other client": (
        OTHER_CLIENT,
        """
        TRYING      TIMER_E         TRYING      RETRANSMIT_REQUEST START_E
        TRYING      TIMER_F         TERMINATED  TELL_TIMEOUT
        TRYING      TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        TRYING      RESPONSE_1XX    PROCEEDING  TELL_RESPONSE
        TRYING      RESPONSE_2XX    COMPLETED   STOP_TIMERS TELL_RESPONSE START_K
        TRYING      RESPONSE_OTHER  COMPLETED   STOP_TIMERS TELL_RESPONSE START_K
        PROCEEDING  TIMER_E         PROCEEDING  RETRANSMIT_REQUEST START_E_SLOW
        PROCEEDING  TIMER_F         TERMINATED  TELL_TIMEOUT
        PROCEEDING  TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        PROCEEDING  RESPONSE_1XX    PROCEEDING  TELL_RESPONSE
        PROCEEDING  RESPONSE_2XX    COMPLETED   STOP_TIMERS TELL_RESPONSE START_K
        PROCEEDING  RESPONSE_OTHER  COMPLETED   STOP_TIMERS TELL_RESPONSE START_K
        COMPLETED   TIMER_K         TERMINATED
        """,
    ),
    "figure 7 (RFC 6026 8.6, 8.7): INVITE server": (
        INVITE_SERVER,
        """
        PROCEEDING  REQUEST         PROCEEDING  RETRANSMIT_RESPONSE
        PROCEEDING  TIMER_TRYING    PROCEEDING  SEND_TRYING
        PROCEEDING  SEND_1XX        PROCEEDING  STOP_TIMERS SEND_RESPONSE
        PROCEEDING  SEND_2XX        ACCEPTED    STOP_TIMERS SEND_RESPONSE START_L
        PROCEEDING  SEND_OTHER      COMPLETED   STOP_TIMERS SEND_RESPONSE START_G START_H
        PROCEEDING  TRANSPORT_ERROR PROCEEDING  TELL_TRANSPORT_ERROR
        COMPLETED   REQUEST         COMPLETED   RETRANSMIT_RESPONSE
        COMPLETED   TIMER_G         COMPLETED   RETRANSMIT_RESPONSE START_G
        COMPLETED   TIMER_H         TERMINATED  TELL_TIMEOUT
        COMPLETED   TRANSPORT_ERROR COMPLETED   TELL_TRANSPORT_ERROR
        COMPLETED   ACK             CONFIRMED   STOP_TIMERS START_I
        CONFIRMED   TIMER_I         TERMINATED
        ACCEPTED    SEND_2XX        ACCEPTED    SEND_RESPONSE
        ACCEPTED    TRANSPORT_ERROR ACCEPTED    TELL_TRANSPORT_ERROR
        ACCEPTED    TIMER_L         TERMINATED
        """,
    ),
    "figure 8: other server": (
        OTHER_SERVER,
        """
        TRYING      TIMER_TRYING    PROCEEDING  SEND_TRYING
        TRYING      SEND_1XX        PROCEEDING  SEND_RESPONSE
        TRYING      SEND_2XX        COMPLETED   STOP_TIMERS SEND_RESPONSE START_J
        TRYING      SEND_OTHER      COMPLETED   STOP_TIMERS SEND_RESPONSE START_J
        PROCEEDING  REQUEST         PROCEEDING  RETRANSMIT_RESPONSE
        PROCEEDING  SEND_1XX        PROCEEDING  SEND_RESPONSE
        PROCEEDING  SEND_2XX        COMPLETED   SEND_RESPONSE START_J
        PROCEEDING  SEND_OTHER      COMPLETED   SEND_RESPONSE START_J
        PROCEEDING  TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        COMPLETED   REQUEST         COMPLETED   RETRANSMIT_RESPONSE
        COMPLETED   TRANSPORT_ERROR TERMINATED  TELL_TRANSPORT_ERROR
        COMPLETED   TIMER_J         TERMINATED
        """,
    ),
}


@pytest.mark.must(
    "3261 17.1.1.2/1",
    "3261 17.1.1.2/11",
    "3261 17.1.1.2/12",
    "3261 17.1.1.2/16",
    "3261 17.1.2.2/3",
    "3261 17.1.2.2/4",
    "3261 17.1.2.2/7",
    "3261 17.2.1/6",
    "3261 17.2.2/3",
    "3261 17.2.2/8",
    "6026 6/2",
    "6026 7.1/1",
    "6026 7.1/7",
    "6026 7.1/8",
    "6026 8.4/1",
    "6026 8.5/2",
    "6026 8.8/1",
)
@pytest.mark.parametrize("figure", FIGURES)
def test_machine_is_its_figure(figure: str) -> None:
    table, text = FIGURES[figure]
    arrows = {}
    for line in text.strip().splitlines():
        state, what, after, *actions = line.split()
        arrows[State[state], Input[what]] = (State[after], tuple(Reaction[action] for action in actions))
    for state in State:
        for what in Input:
            assert table.get(state, {}).get(what) == arrows.pop((state, what), None), (state, what)
    assert not arrows


@pytest.mark.parametrize("figure", FIGURES)
def test_every_state_ends(figure: str) -> None:
    """From each state there is a way to TERMINATED that needs nobody else but a timer or the user above."""
    table, _ = FIGURES[figure]
    ours = {what for what in Input if what >= Input.TIMER_A or Input.SEND_1XX <= what <= Input.SEND_OTHER}
    for start in table:
        reached = {start}
        for _ in State:
            reached |= {row[what][0] for state in reached if (row := table.get(state)) for what in ours & set(row)}
        # A ringing INVITE client may ring as long as the user above lets it: timer C or CANCEL ends it.
        assert State.TERMINATED in reached


def test_the_diagrams_are_those_of_the_tables() -> None:
    """Each arrow stands on the page, and nothing else does."""
    assert PAGE.read_text() == page(), "run `make transactions`"
    arrows = [line for line in page().splitlines() if " --> " in line]
    rows = sum(len(row) for table, _ in FIGURES.values() for row in table.values())
    assert len(arrows) == rows + len(FIGURES)
