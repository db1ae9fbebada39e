"""Virtual time (p2psip.sim.clock)."""

from __future__ import annotations

from p2psip.sim.clock import VirtualClock


def test_things_happen_in_order_of_time_then_of_scheduling() -> None:
    """And the clock stands at each one's time meanwhile."""
    clock, happened = VirtualClock(), list[tuple[str, float]]()
    for name, at in [("c", 2.0), ("a", 1.0), ("b", 1.0), ("late", 9.0)]:
        clock.at(at, lambda name=name: happened.append((name, clock.now)))  # type: ignore[misc]
    assert not clock.run_until(5.0)
    assert happened == [("a", 1.0), ("b", 1.0), ("c", 2.0)]
    assert clock.now == 5.0


def test_what_happens_may_schedule_more() -> None:
    """Also for now; the past is now."""
    clock, happened = VirtualClock(), list[float]()
    clock.at(1.0, lambda: clock.at(0.0, lambda: happened.append(clock.now)))
    clock.run_until(1.0)
    assert happened == [1.0]


def test_it_stops_as_soon_as_it_is_told() -> None:
    """After the event that made it so."""
    clock, happened = VirtualClock(), list[int]()
    for number in range(5):
        clock.at(float(number), lambda number=number: happened.append(number))  # type: ignore[misc]
    assert clock.run_until(10.0, stop=lambda: len(happened) == 2)
    assert (happened, clock.now) == ([0, 1], 1.0)
