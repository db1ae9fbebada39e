"""docs/simulator.md: what it shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "simulator.md"


@pytest.mark.long
def test_the_page_runs() -> None:
    """From top to bottom, as one program."""
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    assert "world.run(" in program
    exec(compile(program, str(PAGE), "exec"), {})
