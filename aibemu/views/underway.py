"""What goes on just now and is in no summary: how far machines boot, and a step's line that has no end yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aibemu.events import Event, Kind, Passing
from aibemu.text import short

_OVER = {
    Kind.MACHINE_READY, Kind.MACHINE_RESTORED, Kind.MACHINE_STOPPED, Kind.MACHINE_LOST, Kind.MACHINE_KEPT,
}  # fmt: skip
# After a restart no event says that the machine is there again: its step goes on.
_STEP = {Kind.STEP_STARTED, Kind.STEP_OUTPUT, Kind.STEP_FINISHED}


@dataclass(slots=True, kw_only=True)
class _Boot:
    role: str
    since: str
    last_boot: float | None
    stage: str = ""
    awaited: str = ""
    line: str = ""
    # Whether something of it was told.
    told: bool = False


class Underway:
    """Fed with events and with what passes; not thread-safe."""

    def __init__(self) -> None:
        self._boots: dict[str, _Boot] = {}
        self._roles: dict[str, str] = {}
        self._lines: dict[str, Passing] = {}
        self._consoles: dict[str, Passing] = {}

    def on_event(self, event: Event) -> None:
        """Take one event in."""
        machine, fields = str(event.fields.get("machine") or ""), event.fields
        if event.kind is Kind.MACHINE_STARTED:
            self._roles[machine] = str(fields.get("role"))
            self._boots[machine] = _Boot(
                role=self._roles[machine], since=event.at, last_boot=fields.get("last_boot_seconds")
            )
        elif event.kind is Kind.MACHINE_BOOTING:
            self._booting(event, machine, fields)
        elif event.kind in _OVER:
            self._boots.pop(machine, None)
            self._consoles.pop(machine, None)
        elif event.kind in _STEP:
            self._boots.clear()
            if event.kind is not Kind.STEP_OUTPUT:
                self._lines.pop(str(event.step), None)
        elif event.kind is Kind.PHASE_FINISHED:
            self._boots.clear()

    def on_passing(self, passing: Passing) -> None:
        """Take in what passes."""
        if passing.machine:
            self._consoles[passing.machine] = passing
        elif passing.step:
            self._lines[passing.step] = passing

    def unfinished(self, step: str) -> str:
        """The beginning of a line of the step; "" when there is none."""
        passing = self._lines.get(step)
        return passing.read() if passing is not None else ""

    def boots(self, now: datetime) -> Iterator[tuple[str, str]]:
        """Of each machine that boots: how far it is, and the console's last line ("" for none)."""
        for machine, boot in self._boots.items():
            if not boot.told:
                continue
            at = [boot.stage] if boot.stage else []
            at += [f"waiting for {boot.awaited}"] if boot.awaited else []
            took = short((now - datetime.fromisoformat(boot.since)).total_seconds())
            last = f" (last time {short(boot.last_boot)})" if boot.last_boot else ""
            passing = self._consoles.get(machine)
            yield f"{boot.role} machine: {', '.join(at)}  {took}{last}", passing.read() if passing else boot.line

    def _booting(self, event: Event, machine: str, fields: Mapping[str, Any]) -> None:
        boot = self._boots.get(machine)
        if boot is None:
            boot = _Boot(role=self._roles.get(machine, "the"), since=event.at, last_boot=None)
            self._boots[machine] = boot
        boot.told = True
        boot.stage, boot.awaited = str(fields.get("stage") or ""), str(fields.get("awaited") or "")
        boot.line = str(fields.get("line") or "")
