"""A laboratory for NAT traversal: hosts and NAT routers of every kind as network namespaces of one Linux machine.

Real sockets and a real kernel, and nothing in it reaches anything outside. A `Plan` says what the network consists of,
a `Lab` builds it; the NATs are what `p2psip.sim` calls a NatBehaviour: both worlds are asked for the same boxes.
"""

import pytest

from netlab.lab import Lab
from netlab.namespaces import LabError, missing
from netlab.plan import INTERNET, Plan

needs_lab = pytest.mark.skipif(bool(missing()), reason=missing())
"""Of a test that has one."""

__all__ = ["INTERNET", "Lab", "LabError", "Plan", "missing", "needs_lab"]
