"""CANCEL through a trunk: of the INVITE by which a call begins, and of those within it."""

from __future__ import annotations

import pytest
from trunk_bench import TrunkBench

CHALLENGE = ("Proxy-Authenticate", 'Digest realm="tel", nonce="n1", qop="auth", algorithm=MD5')


@pytest.mark.parametrize("moment", ["before 100", "after 100"])
def test_9_1_a_call_that_is_cancelled_while_it_is_challenged_is_not_tried_again(moment: str) -> None:
    """The challenge crosses the CANCEL: with the password a telephone would ring of which the caller wants nothing."""
    bench = TrunkBench().up()
    bench.registrar.is_there = False
    invite = bench.dial()
    sent = bench.request("provider", "INVITE")
    if moment == "after 100":
        bench.answer(sent, 100)
    bench.cancel(invite)
    bench.answer(sent, 407, CHALLENGE)
    bench.run(1.0)
    assert bench.lines("provider").count("INVITE") == 1
    assert {"200 CANCEL", "487 INVITE"} <= set(bench.lines("overlay"))
    assert bench.trunk.calls == 0
