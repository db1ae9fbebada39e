"""What a run was like for those in it: read while things happen."""

from __future__ import annotations

from p2psip.sim.scenario.run_outcome import RunOutcome
from p2psip.sim.scenario.stage import DialledCall, Stage
from p2psip.sim.scenario.unanswered import UnansweredCall, why_unanswered


class Tolls:
    """Begins when the overlay has come about, and ends when it is whole again."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sent: dict[int, int] = {}
        self._began_s = 0.0
        self._rates: list[float] = []
        self._lookups = 0
        self._calls = 0

    def begin(self) -> None:
        """From now on."""
        self._began_s = self._stage.now
        self._sent = {number: self._stage.bytes_sent(number) for number in self._stage.up}

    def end(self) -> None:
        """Until now: what comes after is asked by the judge alone."""
        took_s = self._stage.now - self._began_s
        self._rates = [
            (self._stage.bytes_sent(number) - sent) / took_s
            for number, sent in sorted(self._sent.items())
            if number in self._stage.up
        ]
        self._lookups, self._calls = len(self._stage.lookups), len(self._stage.calls)

    def read(self, outcome: RunOutcome) -> None:
        """Write it all down; a run that failed has what there is."""
        stage = self._stage
        outcome.peers, outcome.virtual_s, outcome.events = len(stage.up), stage.now, stage.clock.events
        outcome.bytes_per_s = self._rates
        meant = [lookup for lookup in stage.lookups[: self._lookups] if lookup.was_there]
        outcome.lookups, outcome.lookups_found = len(meant), sum(lookup.is_found for lookup in meant)
        calls = [call for call in stage.calls[: self._calls] if call.was_there]
        outcome.unanswered = [self._told(call) for call in calls if call.setup_s is None]
        outcome.calls, outcome.calls_answered = len(calls), len(calls) - len(outcome.unanswered)
        results = [lookup.result for lookup in stage.lookups if lookup.result is not None and lookup.is_found]
        outcome.hops = [result.fetch_hops for result in results]
        outcome.lookup_ms = [round(result.fetch_ms, 3) for result in results]
        outcome.setup_ms = [round(call.setup_s * 1000, 3) for call in stage.calls if call.setup_s is not None]
        outcome.records = [stage.node(number).records_held.count for number in sorted(stage.up)]

    def _told(self, call: DialledCall) -> UnansweredCall:
        peers = {node.short: number for node, number in self._stage.by_node.items()}
        status, why = why_unanswered(call.ending, peers)
        return UnansweredCall(round(call.began_at - self._began_s, 1), call.caller.name, call.callee.name, status, why)
