"""Where the time of one aibemu build went, read from the record of the run. Pure: events in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Seconds by kind; together they are the time of the whole process.

    guest: steps, deprovision included. machine: keys, platform and QEMU started, of a layer also its memory read.
    boot: until the guest can be used, or was taken up from a layer. own: the rest.
    """

    guest: float
    machine: float
    boot: float
    freeze: float
    power_off: float
    conversion: float
    own: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The parts of `Shares.own`.

    start: Python, the template, the plan. The phases without the work in them; between: them. ending: layers published,
    machines destroyed. leave: from the end of the record to the end of the process.
    """

    start: float
    provision: float
    customize: float
    generalize: float
    distribute: float
    between: float
    ending: float
    leave: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """One layer made: seconds for which the guest stood still, bytes of memory written."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All that one record says. per_step: aibemu's own seconds for each step that ran. first_line: seconds from the
    start of the process to what the first step that ran said first; both are None where there is none."""

    shares: Shares
    own: Own
    per_step: float | None
    first_line: float | None
    freezes: tuple[Freeze, ...]


def account(events: Sequence[Event], started: float, seconds: float) -> Account:
    """`started` (time since the epoch) and `seconds` are those of the process."""
    freezes = tuple(Freeze(seconds=one["seconds"], bytes=one["bytes"]) for one in of_kind(events, "layer.frozen"))
    known = _work(events)
    own = seconds - sum(known.values())
    return Account(
        shares=Shares(**known, own=own), own=_own(events, own, started, seconds), per_step=per_step(events),
        first_line=first_line(events, started), freezes=freezes,
    )  # fmt: skip


def _work(events: Sequence[Event]) -> dict[str, float]:
    """All of `Shares` but aibemu's own."""
    machine, boot = _machines(events)
    return {
        "guest": _total(of_kind(events, "step.finished")), "machine": machine, "boot": boot,
        "freeze": _total(of_kind(events, "layer.frozen")), "power_off": _total(of_kind(events, "machine.stopped")),
        "conversion": _conversion(events),
    }  # fmt: skip


def of_kind(events: Iterable[Event], kind: str) -> list[Event]:
    return [event for event in events if event["kind"] == kind]


def stamp(event: Event) -> float:
    """When it was, in seconds since the epoch."""
    return datetime.fromisoformat(event["at"]).timestamp()


def customizers(events: Iterable[Event]) -> list[Event]:
    """The `step.started` of the template's own steps that ran."""
    return [event for event in of_kind(events, "step.started") if event.get("phase") == "customize"]


def per_step(events: Sequence[Event]) -> float | None:
    """What of the customize phase is neither steps nor freezes, for each step that ran."""
    steps = len(customizers(events))
    return _phase(events, "customize") / steps if steps else None


def first_line(events: Sequence[Event], started: float) -> float | None:
    """From the start of the process to the first line of the first step that ran."""
    ran = {event["step"] for event in customizers(events)[:1]}
    said = [event for event in of_kind(events, "step.output") if event.get("step") in ran]
    return stamp(said[0]) - started if said else None


def _total(events: Iterable[Event]) -> float:
    return sum(float(event["seconds"]) for event in events)


def _machines(events: Sequence[Event]) -> tuple[float, float]:
    """Seconds to make machines, and seconds until they could be used."""
    machine = boot = 0.0
    since: float | None = None
    for event in events:
        now = stamp(event)
        match event["kind"], event.get("phase"):
            case ("phase.started", "provision"):
                since = now
            case ("machine.started", _) if since is not None:
                machine, since = machine + now - since, now
            case ("machine.ready" | "machine.restored", _) if since is not None:
                boot, since = boot + now - since, None
    return machine, boot


def _conversion(events: Sequence[Event]) -> float:
    """Seconds in which at least one output was being written."""
    total, since = 0.0, 0.0
    writing: set[str] = set()
    for event in events:
        if event["kind"] == "output.started":
            since = since if writing else stamp(event)
            writing.add(event["run_output_name"])
        elif event["kind"] == "output.finished":
            writing.discard(event["run_output_name"])
            total += 0.0 if writing else stamp(event) - since
    return total


def _own(events: Sequence[Event], own: float, started: float, seconds: float) -> Own:
    begun = stamp(of_kind(events, "run.started")[0])
    phases_end = stamp(of_kind(events, "phase.finished")[-1])
    finished = stamp(of_kind(events, "run.finished")[-1])
    parts = {name: _phase(events, name) for name in ("provision", "customize", "generalize", "distribute")}
    parts |= {"start": begun - started, "ending": finished - phases_end, "leave": started + seconds - finished}
    return Own(**parts, between=own - sum(parts.values()))


def _phase(events: Sequence[Event], name: str) -> float:
    """Seconds of a phase in which none of the work was done."""
    within = [event for event in events if event.get("phase") == name]
    return _total(of_kind(within, "phase.finished")) - sum(_work(within).values())
