"""What machines asked of their platform, for `aibemu logs --platform`: a line a request, and what an error said.

The journals are written by the platform's processes (aibemu.guest.platform.journal), one for each machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aibemu.engine.runs import Run
from aibemu.views.words import clean

ROLES = ("build", "verify", "validate")
LONGEST_ANSWER = 300  # characters that are shown of an error


def read_platform(run: Run) -> Iterator[dict[str, Any]]:
    """Every request of both machines, with the machine's role; a torn last line is passed over."""
    for role in ROLES:
        path = run.platform_journal(role)
        if not path.exists():
            continue
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                yield {"machine": role, **entry}


def request_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """`10:00:01.234 build imds 200 GET /metadata/instance?api-version=2021-08-01  Cloud-Init/22.4`."""
    if "full" in entry:
        yield f"{entry['machine']}: {entry['full']}"
        return
    asked = f"{entry['service']:<12} {entry['status']} {entry['method']:<4} {entry['target']}  {entry['agent']}"
    yield clean(f"{str(entry['at'])[11:23]} {entry['machine']:<8} {asked}".rstrip())
    if int(entry["status"]) >= 400 and entry["answer"]:
        yield clean(f"             {' '.join(str(entry['answer']).split())[:LONGEST_ANSWER]}")
