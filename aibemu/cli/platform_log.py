"""What machines asked of their platform, for `aibemu logs --platform`: a line a request, and what an error said.

The journals are written by the platform's processes (aibemu.fabric.journal), one for each machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import TextIOWrapper
from typing import Any

from aibemu.records import SHAPE_ERRORS, open_regular, parse_json
from aibemu.runs.store import Run
from aibemu.text import harmless

ROLES = ("build", "verify", "validate")
LONGEST_ANSWER = 300  # characters that are shown of an error
# It asks for its goal state every few seconds, which would drown what scripts ask.
POLLING = "WALinuxAgent"


def read_platform(run: Run) -> Iterator[dict[str, Any]]:
    """Every request of both machines, with the machine's role; a torn last line is passed over."""
    for role in ROLES:
        path = run.platform_journal(role)
        found = open_regular(path)
        if found is None:
            continue
        with TextIOWrapper(found, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    entry = _checked(parse_json(line))
                except SHAPE_ERRORS:
                    continue
                yield {"machine": role, **entry}


def _checked(entry: Any) -> Mapping[str, Any]:
    """An entry as `request_lines` shows it; what `SHAPE_ERRORS` has for anything else."""
    tuple(request_lines({"machine": "", **entry}))
    if "full" not in entry:
        hash(tuple(entry[key] for key in ("service", "method", "target", "status")))
    found: Mapping[str, Any] = entry
    return found


def platform_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """All requests for a person: what the agent asks again and again, with the same answer, only once."""
    seen: set[tuple[Any, ...]] = set()
    repeated = 0
    for entry in entries:
        if str(entry.get("agent", "")).startswith(POLLING):
            what = tuple(entry[key] for key in ("machine", "service", "method", "target", "status"))
            if what in seen:
                repeated += 1
                continue
            seen.add(what)
        yield from request_lines(entry)
    if repeated:
        yield f"(and {repeated} times the agent asked what it had asked before: --output json has all of it)"


def request_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """`10:00:01.234 build imds 200 GET /metadata/instance?api-version=2021-08-01  Cloud-Init/22.4`."""
    if "full" in entry:
        yield f"{entry['machine']}: {entry['full']}"
        return
    asked = f"{entry['service']:<12} {entry['status']} {entry['method']:<4} {entry['target']}  {entry['agent']}"
    yield harmless(f"{str(entry['at'])[11:23]} {entry['machine']:<8} {asked}".rstrip())
    if int(entry["status"]) >= 400 and entry["answer"]:
        yield harmless(f"             {' '.join(str(entry['answer']).split())[:LONGEST_ANSWER]}")
