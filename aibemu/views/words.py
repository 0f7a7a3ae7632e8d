"""What each event says to a person: the one text that the plain and the live view share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aibemu.events import Event, Kind, RunState
from aibemu.text import counted, short

Fields = Mapping[str, Any]
# Seconds of a boot between two lines about it.
BOOT_LINES_APART = 10.0
# What people call a communicator whose name in capitals is another word.
SERVERS = {"winrm": "WinRM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """style: head | ok | bad | warn | dim | plain. quiet: shown even with --quiet. guest: a line of the guest's.
    in_tree: only for views that show no tree, for there it is, and up to date."""

    text: str
    style: str = "plain"
    quiet: bool = False
    guest: bool = False
    in_tree: bool = False


class Narrator:
    """Events in, lines out. Remembers what steps are called."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._roles: dict[str, str] = {}
        self._noun = "run"
        # When something was told last of each machine that boots, in seconds since its start.
        self._told: dict[str, float] = {}
        self._last_boots: dict[str, float] = {}

    def lines(self, event: Event) -> list[Line]:
        """The lines for one event; none for what people need not see."""
        say = _SAYERS.get(event.kind)
        return say(self, event, event.fields) if say else []

    def _run_started(self, event: Event, fields: Fields) -> list[Line]:
        image, accelerator = fields.get("image") or {}, fields.get("accelerator") or {}
        version = f", version {fields['exact_version']}" if fields.get("exact_version") else ""
        slowness = accelerator.get("slowness") or 1
        slow = f"; waits are {slowness:g} times as long" if slowness > 1 else ""
        counts = ", ".join(
            counted(len(fields.get(name) or ()), noun)
            for name, noun in (("steps", "customizer"), ("validators", "validator"), ("targets", "target"))
        )
        self._noun = "dry run" if fields.get("dry_run") else "run"
        source = f"{image.get('os_name')} ({image.get('generation')}{version})"
        source = source if image.get("digest") or not fields.get("dry_run") else "its image is not here"
        return [
            Line(
                text=f"{self._noun} {event.run}: template {fields.get('template')} ({fields.get('file')})", style="head"
            ),
            Line(text=f"  source: {source}"),
            Line(
                text=f"  driver: {fields.get('driver')}, {accelerator.get('name')}: {accelerator.get('reason')}{slow}"
            ),
            Line(text=f"  plan: {counts}; at most {fields.get('timeout_minutes', 0):g} minutes"),
        ]

    def _run_state(self, event: Event, fields: Fields) -> list[Line]:
        if fields.get("state") == RunState.CANCELING.value:
            return [Line(text="canceling: stopping the machines", style="warn", quiet=True)]
        return []

    def _run_waiting(self, event: Event, fields: Fields) -> list[Line]:
        text = f"waiting for you: {fields.get('title')} (aibemu shell {event.run}, aibemu resume {event.run})"
        return [Line(text=text, style="warn", quiet=True)]

    def _run_answered(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"answered: {fields.get('answer')}", style="dim")]

    def _run_retried(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"run {event.run}: retrying with the current template", style="head")]

    def _run_finished(self, event: Event, fields: Fields) -> list[Line]:
        state = str(fields.get("state"))
        if state == RunState.DRY_RUN.value:
            return [Line(text=f"dry run {event.run}: nothing was run, nothing was written", style="warn", quiet=True)]
        style = "ok" if state == RunState.SUCCEEDED.value else "bad"
        return [
            Line(
                text=f"{self._noun} {event.run}: {state} after {short(fields.get('seconds'))}", style=style, quiet=True
            )
        ]

    def _phase_started(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"== {event.phase}", style="head")]

    def _phase_not_run(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"== {event.phase}", style="head"), *_would(fields)]

    def _phase_finished(self, event: Event, fields: Fields) -> list[Line]:
        status = str(fields.get("status"))
        if status == "skipped":
            return [Line(text=f"== {event.phase}: nothing to do", style="dim")]
        if status == "not run":
            return [Line(text=f"== {event.phase}: not run", style="dim")]
        took = short(fields.get("seconds"))
        return [Line(text=f"== {event.phase}: {status} ({took})", style="ok" if status == "ok" else "bad")]

    def _step_started(self, event: Event, fields: Fields) -> list[Line]:
        label = str(fields.get("label") or event.step)
        self._labels[str(event.step)] = label
        more = [str(part) for part in (fields.get("step_kind"), fields.get("source"), fields.get("span")) if part]
        count = "" if fields.get("hidden") else f" {fields.get('index', 0) + 1}/{fields.get('total', 1)}"
        return [Line(text=f"--{count} {label} ({', '.join(more)})", style="head")]

    def _step_output(self, event: Event, fields: Fields) -> list[Line]:
        error = fields.get("stream") == "stderr"
        text = f"   {'!' if error else '|'} {fields.get('line', '')}"
        return [Line(text=text, style="warn" if error else "plain", guest=True)]

    def _step_finished(self, event: Event, fields: Fields) -> list[Line]:
        label, took = self._labels.get(str(event.step), str(event.step)), short(fields.get("seconds"))
        if fields.get("status") == "ok":
            return [Line(text=f"-- {label}: ok ({took})", style="ok")]
        why = f": {fields['error']}" if fields.get("error") else ""
        return [Line(text=f"-- {label}: {fields.get('status')} ({took}){why}", style="bad", quiet=True)]

    def _step_cached(self, event: Event, fields: Fields) -> list[Line]:
        label = str(fields.get("label") or event.step)
        self._labels[str(event.step)] = label
        count = f"{fields.get('index', 0) + 1}/{fields.get('total', 1)}"
        return [Line(text=f"-- {count} {label}: {fields.get('how')}", style="dim")]

    def _step_not_run(self, event: Event, fields: Fields) -> list[Line]:
        count = f"{fields.get('index', 0) + 1}/{fields.get('total', 1)}"
        more = ", ".join(str(part) for part in (fields.get("step_kind"), fields.get("span")) if part)
        head = Line(text=f"-- {count} {fields.get('label') or event.step} ({more}): not run", style="dim")
        return [head, *_would(fields)]

    def _artifact(self, event: Event, fields: Fields) -> list[Line]:
        how = "from the cache" if fields.get("cached") else f"in {short(fields.get('seconds'))}"
        return [Line(text=f"fetched {fields.get('uri')} ({fields.get('size')} bytes, {how})", style="dim")]

    def _machine_started(self, event: Event, fields: Fields) -> list[Line]:
        self._roles[str(fields.get("machine"))] = str(fields.get("role"))
        shape = f"{counted(fields.get('cpus') or 0, 'CPU')}, {fields.get('memory_mib')} MiB, {fields.get('firmware')}"
        self._told.pop(str(fields.get("machine")), None)
        if last := fields.get("last_boot_seconds"):
            self._last_boots[str(fields.get("machine"))] = last
        ways_in = str((fields.get("access") or {}).get("communicator", "ssh"))
        server = SERVERS.get(ways_in, ways_in.upper())
        return [Line(text=f"{fields.get('role')} machine started: {shape}, {server} at {fields.get('endpoint')}")]

    def _machine_booting(self, event: Event, fields: Fields) -> list[Line]:
        """Few: a log must not fill with what is only of use while it goes on."""
        machine, seconds = str(fields.get("machine")), float(fields.get("seconds") or 0)
        if seconds - self._told.get(machine, 0.0) < BOOT_LINES_APART:
            return []
        self._told[machine] = seconds
        last = f" (last time {short(self._last_boots[machine])})" if machine in self._last_boots else ""
        at = f"{fields['stage']}, " if fields.get("stage") else ""
        text = f"{self._role(fields)}: {at}waiting for {fields.get('awaited')}, {short(seconds)} so far{last}"
        return [Line(text=text, style="dim", in_tree=True)]

    def _machine_restored(self, event: Event, fields: Fields) -> list[Line]:
        of = f"'{fields.get('label')}' (saved by run {fields.get('run')})"
        how = "booted from the disk of" if fields.get("memory") is False else "restored from"
        return [Line(text=f"{self._role(fields)}: {how} layer {of} in {short(fields.get('seconds'))}")]

    def _layer_frozen(self, event: Event, fields: Fields) -> list[Line]:
        size = f"{(fields.get('bytes') or 0) / 2**20:.0f} MiB of memory"
        if fields.get("memory") is False:
            return [
                Line(text="   its disk is kept as it was at the restart: later builds can start there", style="dim")
            ]
        return [Line(text=f"   frozen in {short(fields.get('seconds'))} ({size})", style="dim")]

    def _machine_reported(self, event: Event, fields: Fields) -> list[Line]:
        said = f": {fields['message']}" if fields.get("message") else ""
        style = "plain" if fields.get("state") == "Ready" else "bad"
        took = short(fields.get("seconds"))
        text = f"{self._role(fields)}: {fields.get('by')} reports {fields.get('state')} after {took}{said}"
        return [Line(text=text, style=style, guest=True)]

    def _machine_connected(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"{self._role(fields)}: connected after {short(fields.get('seconds'))}")]

    def _machine_ready(self, event: Event, fields: Fields) -> list[Line]:
        # `absent`: nothing in the guest says how it ended, as in all of Windows.
        ended = fields.get("first_boot")
        words = f"first boot {ended}, " if ended and ended != "absent" else ""
        words += f"host name {fields.get('hostname')}"
        return [Line(text=f"{self._role(fields)}: ready after {short(fields.get('seconds'))}, {words}")]

    def _machine_stopped(self, event: Event, fields: Fields) -> list[Line]:
        how = f"{short(fields.get('seconds'))}, {fields.get('how')}"
        return [Line(text=f"{self._role(fields)}: powered off ({how})")]

    def _disk_prepared(self, event: Event, fields: Fields) -> list[Line]:
        return self._disk_changed(f"{fields.get('role')} machine: its disk before its first boot", fields)

    def _disk_sealed(self, event: Event, fields: Fields) -> list[Line]:
        return self._disk_changed(f"{self._role(fields)}: its disk while it is off", fields)

    def _disk_changed(self, which: str, fields: Fields) -> list[Line]:
        changes = fields.get("changes") or ()
        what = f"{counted(len(changes), 'change')}" if changes else "nothing to change"
        head = Line(text=f"{which}: {what} ({short(fields.get('seconds'))})")
        return [head, *(Line(text=f"   {change}", style="dim") for change in changes)]

    def _machine_kept(self, event: Event, fields: Fields) -> list[Line]:
        text = f"{self._role(fields)}: left running; get in with: {fields.get('command')}"
        return [Line(text=text, style="warn", quiet=True)]

    def _machine_lost(self, event: Event, fields: Fields) -> list[Line]:
        head = Line(text=f"{self._role(fields)}: lost: {fields.get('why')}", style="bad", quiet=True)
        return [head, *(Line(text=f"   | {line}", style="dim", guest=True) for line in fields.get("console") or ())]

    def _output_started(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"-- writing {fields.get('run_output_name')} ({fields.get('target')})", style="head")]

    def _output_finished(self, event: Event, fields: Fields) -> list[Line]:
        name, took = fields.get("run_output_name"), short(fields.get("seconds"))
        if fields.get("status") != "ok":
            return [Line(text=f"-- {name}: failed ({took}): {fields.get('error')}", style="bad", quiet=True)]
        paths = [Line(text=f"   {path}") for path in fields.get("paths") or ()]
        return [Line(text=f"-- {name}: ok ({took}) {fields.get('artifact') or ''}".rstrip(), style="ok"), *paths]

    def _output_not_written(self, event: Event, fields: Fields) -> list[Line]:
        head = Line(text=f"-- {fields.get('run_output_name')} ({fields.get('target')}): not written", style="dim")
        return [head, *_would(fields)]

    def _finding(self, event: Event, fields: Fields) -> list[Line]:
        # What Azure takes is told in one sentence by a notice of its own.
        if fields.get("level") != "error":
            return []
        return _leveled(
            "error", f"{fields.get('problem') or fields.get('check')}: {fields.get('message')}; {fields.get('azure')}"
        )

    def _notice(self, event: Event, fields: Fields) -> list[Line]:
        return _leveled(str(fields.get("level")), str(fields.get("message")))

    def _cleaned(self, event: Event, fields: Fields) -> list[Line]:
        return [Line(text=f"cleaned up: {fields.get('what')} ({fields.get('detail')})", style="dim")]

    def _role(self, fields: Fields) -> str:
        return f"{self._roles.get(str(fields.get('machine')), 'the')} machine"


def _would(fields: Fields) -> list[Line]:
    """What a dry run leaves undone, a line each that says so."""
    return [Line(text=f"   would {piece}", guest=True) for piece in fields.get("would") or ()]


def _leveled(level: str, text: str) -> list[Line]:
    if level == "ok":
        return [Line(text=text, style="dim")]
    styles = {"warning": "warn", "error": "bad"}
    return [Line(text=f"{level}: {text}", style=styles.get(level, "dim"), quiet=level in styles)]


_SAYERS: Mapping[Kind, Callable[[Narrator, Event, Fields], list[Line]]] = {
    Kind.RUN_STARTED: Narrator._run_started,
    Kind.RUN_STATE: Narrator._run_state,
    Kind.RUN_WAITING: Narrator._run_waiting,
    Kind.RUN_ANSWERED: Narrator._run_answered,
    Kind.RUN_RETRIED: Narrator._run_retried,
    Kind.RUN_FINISHED: Narrator._run_finished,
    Kind.PHASE_STARTED: Narrator._phase_started,
    Kind.PHASE_NOT_RUN: Narrator._phase_not_run,
    Kind.PHASE_FINISHED: Narrator._phase_finished,
    Kind.STEP_STARTED: Narrator._step_started,
    Kind.STEP_OUTPUT: Narrator._step_output,
    Kind.STEP_FINISHED: Narrator._step_finished,
    Kind.STEP_CACHED: Narrator._step_cached,
    Kind.STEP_NOT_RUN: Narrator._step_not_run,
    Kind.ARTIFACT_FETCHED: Narrator._artifact,
    Kind.MACHINE_STARTED: Narrator._machine_started,
    Kind.MACHINE_BOOTING: Narrator._machine_booting,
    Kind.MACHINE_RESTORED: Narrator._machine_restored,
    Kind.LAYER_FROZEN: Narrator._layer_frozen,
    Kind.MACHINE_REPORTED: Narrator._machine_reported,
    Kind.MACHINE_CONNECTED: Narrator._machine_connected,
    Kind.MACHINE_READY: Narrator._machine_ready,
    Kind.MACHINE_STOPPED: Narrator._machine_stopped,
    Kind.DISK_PREPARED: Narrator._disk_prepared,
    Kind.DISK_SEALED: Narrator._disk_sealed,
    Kind.MACHINE_KEPT: Narrator._machine_kept,
    Kind.MACHINE_LOST: Narrator._machine_lost,
    Kind.OUTPUT_STARTED: Narrator._output_started,
    Kind.OUTPUT_FINISHED: Narrator._output_finished,
    Kind.OUTPUT_NOT_WRITTEN: Narrator._output_not_written,
    Kind.FINDING: Narrator._finding,
    Kind.NOTICE: Narrator._notice,
    Kind.CLEANED: Narrator._cleaned,
}
