"""The driver in drivers/README.md passes the contract that it is an example for, as it stands there."""

from __future__ import annotations

import re
from typing import Any

from aibemu.testing.contract import DriverContract
from tests.source import ROOT


def _examples() -> dict[str, Any]:
    """The names that the README's Python blocks define, in one module."""
    text = (ROOT / "drivers" / "README.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "drivers_readme"}
    for block in re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, "drivers/README.md", "exec", dont_inherit=True), names)
    return names


TestPaper: type[DriverContract] = _examples()["TestPaper"]
