"""The four transaction machines as tables (RFC 3261 figures 5-8 as amended by RFC 6026).

Theory of operation. A machine is a table from state and input to the next state and the actions to take. Its first
row is the state that it begins in. An input that a state's row does not name changes nothing and is dropped:
retransmissions, stray ACKs and late timers end there. The tables know no messages and no clocks; `layer.py` classifies
what comes in, looks the input up, takes the actions in order, and forgets the transaction once it is TERMINATED.
`make transactions` draws them (docs/transactions.md).

    INVITE client    CALLING -> PROCEEDING -> COMPLETED (3xx-6xx) or ACCEPTED (2xx) -> TERMINATED
    INVITE server    PROCEEDING -> COMPLETED (3xx-6xx) -> CONFIRMED (ACK), or ACCEPTED (2xx) -> TERMINATED
    other client     TRYING -> PROCEEDING -> COMPLETED -> TERMINATED
    other server     TRYING -> PROCEEDING -> COMPLETED -> TERMINATED

Where we differ: a client INVITE transaction in PROCEEDING whose connection is lost fails at once, although
figure 5 has no such arrow. The response could come by another way only if our Via led back by another way, and on
connections between overlay peers it does not; the caller would wait three minutes for a peer that is dead.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias


class State(IntEnum):
    """States of all machines."""

    CALLING = 1
    TRYING = 2
    PROCEEDING = 3
    ACCEPTED = 4
    COMPLETED = 5
    CONFIRMED = 6
    TERMINATED = 7


class Input(IntEnum):
    """What happens to a transaction; the timers have the values of `Timer` plus 100."""

    RESPONSE_1XX = 1
    RESPONSE_2XX = 2
    RESPONSE_OTHER = 3
    REQUEST = 4
    ACK = 5
    SEND_1XX = 6
    SEND_2XX = 7
    SEND_OTHER = 8
    TRANSPORT_ERROR = 9
    TIMER_A = 101
    TIMER_B = 102
    TIMER_D = 103
    TIMER_E = 104
    TIMER_F = 105
    TIMER_G = 106
    TIMER_H = 107
    TIMER_I = 108
    TIMER_J = 109
    TIMER_K = 110
    TIMER_L = 111
    TIMER_M = 112
    TIMER_CANCELLED = 113
    TIMER_TRYING = 114


class Reaction(IntEnum):
    """What a transition does."""

    TELL_RESPONSE = 1
    TELL_TIMEOUT = 2
    TELL_TRANSPORT_ERROR = 3
    SEND_ACK = 5
    SEND_PENDING_CANCEL = 6
    RETRANSMIT_REQUEST = 7
    SEND_RESPONSE = 8
    """The response that the transaction user has just given."""
    RETRANSMIT_RESPONSE = 9
    SEND_TRYING = 10
    START_A = 21
    START_D = 22
    START_E = 23
    START_E_SLOW = 24
    START_G = 25
    START_H = 26
    START_I = 27
    START_J = 28
    START_K = 29
    START_L = 30
    START_M = 31
    STOP_TIMERS = 40


Table: TypeAlias = dict[State, dict[Input, tuple[State, tuple[Reaction, ...]]]]

_S, _I, _A = State, Input, Reaction


def first_state(table: Table) -> State:
    """Where a machine begins."""
    return next(iter(table))


INVITE_CLIENT: Table = {
    _S.CALLING: {
        _I.TIMER_A: (_S.CALLING, (_A.RETRANSMIT_REQUEST, _A.START_A)),
        _I.TIMER_B: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.RESPONSE_1XX: (_S.PROCEEDING, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.SEND_PENDING_CANCEL)),
        _I.RESPONSE_2XX: (_S.ACCEPTED, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.START_M)),
        _I.RESPONSE_OTHER: (_S.COMPLETED, (_A.STOP_TIMERS, _A.SEND_ACK, _A.TELL_RESPONSE, _A.START_D)),
    },
    _S.PROCEEDING: {
        _I.TIMER_CANCELLED: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.RESPONSE_1XX: (_S.PROCEEDING, (_A.TELL_RESPONSE,)),
        _I.RESPONSE_2XX: (_S.ACCEPTED, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.START_M)),
        _I.RESPONSE_OTHER: (_S.COMPLETED, (_A.STOP_TIMERS, _A.SEND_ACK, _A.TELL_RESPONSE, _A.START_D)),
    },
    _S.ACCEPTED: {
        # RFC 6026 7.2: the element that sent the request may see several 2xx, from several branches of a fork.
        _I.RESPONSE_2XX: (_S.ACCEPTED, (_A.TELL_RESPONSE,)),
        _I.TIMER_M: (_S.TERMINATED, ()),
    },
    _S.COMPLETED: {
        _I.RESPONSE_OTHER: (_S.COMPLETED, (_A.SEND_ACK,)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.TIMER_D: (_S.TERMINATED, ()),
    },
}

INVITE_SERVER: Table = {
    _S.PROCEEDING: {
        _I.REQUEST: (_S.PROCEEDING, (_A.RETRANSMIT_RESPONSE,)),
        # 17.2.1: "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will
        # generate a provisional or final response within 200 ms".
        _I.TIMER_TRYING: (_S.PROCEEDING, (_A.SEND_TRYING,)),
        _I.SEND_1XX: (_S.PROCEEDING, (_A.STOP_TIMERS, _A.SEND_RESPONSE)),
        _I.SEND_2XX: (_S.ACCEPTED, (_A.STOP_TIMERS, _A.SEND_RESPONSE, _A.START_L)),
        _I.SEND_OTHER: (_S.COMPLETED, (_A.STOP_TIMERS, _A.SEND_RESPONSE, _A.START_G, _A.START_H)),
        # RFC 6026 8.8: the transaction informs its user and stays where it is.
        _I.TRANSPORT_ERROR: (_S.PROCEEDING, (_A.TELL_TRANSPORT_ERROR,)),
    },
    _S.ACCEPTED: {
        # RFC 6026 7.1: retransmitted INVITEs are absorbed; the user itself repeats its 2xx until the ACK, which
        # goes to the user past this machine.
        _I.SEND_2XX: (_S.ACCEPTED, (_A.SEND_RESPONSE,)),
        _I.TRANSPORT_ERROR: (_S.ACCEPTED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.TIMER_L: (_S.TERMINATED, ()),
    },
    _S.COMPLETED: {
        _I.REQUEST: (_S.COMPLETED, (_A.RETRANSMIT_RESPONSE,)),
        _I.TIMER_G: (_S.COMPLETED, (_A.RETRANSMIT_RESPONSE, _A.START_G)),
        _I.ACK: (_S.CONFIRMED, (_A.STOP_TIMERS, _A.START_I)),
        _I.TRANSPORT_ERROR: (_S.COMPLETED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.TIMER_H: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
    },
    _S.CONFIRMED: {
        _I.TIMER_I: (_S.TERMINATED, ()),
    },
}

OTHER_CLIENT: Table = {
    _S.TRYING: {
        _I.TIMER_E: (_S.TRYING, (_A.RETRANSMIT_REQUEST, _A.START_E)),
        _I.TIMER_F: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.RESPONSE_1XX: (_S.PROCEEDING, (_A.TELL_RESPONSE,)),
        _I.RESPONSE_2XX: (_S.COMPLETED, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.START_K)),
        _I.RESPONSE_OTHER: (_S.COMPLETED, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.START_K)),
    },
    _S.PROCEEDING: {
        _I.TIMER_E: (_S.PROCEEDING, (_A.RETRANSMIT_REQUEST, _A.START_E_SLOW)),
        _I.TIMER_F: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.RESPONSE_1XX: (_S.PROCEEDING, (_A.TELL_RESPONSE,)),
        _I.RESPONSE_2XX: (_S.COMPLETED, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.START_K)),
        _I.RESPONSE_OTHER: (_S.COMPLETED, (_A.STOP_TIMERS, _A.TELL_RESPONSE, _A.START_K)),
    },
    _S.COMPLETED: {
        _I.TIMER_K: (_S.TERMINATED, ()),
    },
}

OTHER_SERVER: Table = {
    _S.TRYING: {
        _I.TIMER_TRYING: (_S.PROCEEDING, (_A.SEND_TRYING,)),
        _I.SEND_1XX: (_S.PROCEEDING, (_A.SEND_RESPONSE,)),
        _I.SEND_2XX: (_S.COMPLETED, (_A.STOP_TIMERS, _A.SEND_RESPONSE, _A.START_J)),
        _I.SEND_OTHER: (_S.COMPLETED, (_A.STOP_TIMERS, _A.SEND_RESPONSE, _A.START_J)),
    },
    _S.PROCEEDING: {
        _I.REQUEST: (_S.PROCEEDING, (_A.RETRANSMIT_RESPONSE,)),
        _I.SEND_1XX: (_S.PROCEEDING, (_A.SEND_RESPONSE,)),
        _I.SEND_2XX: (_S.COMPLETED, (_A.SEND_RESPONSE, _A.START_J)),
        _I.SEND_OTHER: (_S.COMPLETED, (_A.SEND_RESPONSE, _A.START_J)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
    },
    _S.COMPLETED: {
        _I.REQUEST: (_S.COMPLETED, (_A.RETRANSMIT_RESPONSE,)),
        _I.TRANSPORT_ERROR: (_S.TERMINATED, (_A.TELL_TRANSPORT_ERROR,)),
        _I.TIMER_J: (_S.TERMINATED, ()),
    },
}
