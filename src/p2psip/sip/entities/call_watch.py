"""Which calls pass through this server, for those who watch its lines (RFC 4235 section 3.7).

A call that a phone of a line makes, and each that comes to one, is seen from its first response to its last; what is
confirmed ends by its BYE, or with the last registration of the line.
"""

from __future__ import annotations

from p2psip.sip.entities.agents.state_agent import StateAgent
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.proxy.context import Branch, Context
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.events.line_calls import CallState, LineCall
from p2psip.sip.message.message import Response


class CallWatch:
    """Tells the state agent."""

    def __init__(self, state: StateAgent) -> None:
        self._state = state

    def on_response(self, context: Context, branch: Branch, response: Response, now: float) -> None:
        """A target has answered a request."""
        if not context.is_invite or context.request.to.tag:
            return
        state = _state_of(response)
        if branch.target.user:
            self._note_callee(context, branch, state, response.to.tag, now)
        if context.user is not None and state is not CallState.TERMINATED:
            call = LineCall(
                f"{context.server}",
                context.request.call_id,
                True,
                state,
                context.request.to,
                context.request.from_.tag,
                response.to.tag,
            )
            self._state.note_call(context.user, call, now)

    def on_over(self, context: Context, branch: Branch, now: float) -> None:
        """Nothing more comes of what was sent to a target."""
        if context.is_invite and not context.request.to.tag and branch.target.user and not _is_answered(branch):
            self._note_callee(context, branch, CallState.TERMINATED, "", now)

    def on_carried(self, report: RequestCarried, now: float) -> None:
        """A request has got its final answer: a call that was refused everywhere is over for who has called."""
        if report.method == "INVITE" and report.status >= 300:
            self._state.end_calls(report.call_id, now)

    def _note_callee(self, context: Context, branch: Branch, state: CallState, tag: str, now: float) -> None:
        request = context.request
        call = LineCall(
            f"{context.server}-{context.branches.index(branch)}",
            request.call_id,
            False,
            state,
            identity.ANONYMOUS if identity.is_nameless(request) else request.from_,
            tag,
            request.from_.tag,
        )
        self._state.note_call(branch.target.user, call, now)


def _state_of(response: Response) -> CallState:
    if response.is_success:
        return CallState.CONFIRMED
    if not response.is_provisional:
        return CallState.TERMINATED
    return CallState.EARLY if response.status > 100 and response.to.tag else CallState.PROCEEDING


def _is_answered(branch: Branch) -> bool:
    ending = branch.ending
    return ending is not None and ending.response is not None and ending.response.is_success
