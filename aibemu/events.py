"""The closed vocabulary of what happens in a run. Everything a person, CI or a client sees is a fold over these.

An event is one JSON object per line in `events.ndjson`:
`{"v": 1, "seq": 7, "at": "2026-11-23T10:00:00.123456Z", "run": "3f2c9a1b", "kind": "step.output", "phase": "customize",
"step": "c1", ...fields of the kind}`. `phase` and `step` are absent outside of one. Fields only ever get added;
`v` changes when one is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

VERSION = 1


class Phase(StrEnum):
    PROVISION = "provision"
    CUSTOMIZE = "customize"
    GENERALIZE = "generalize"
    VALIDATE = "validate"
    DISTRIBUTE = "distribute"


class RunState(StrEnum):
    """lastRunStatus.runState (facts: service 1.7)."""

    RUNNING = "Running"
    CANCELING = "Canceling"
    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    # aibemu's own, which the service does not have: nothing was run, so nothing succeeded.
    DRY_RUN = "DryRun"


class RunSubState(StrEnum):
    """lastRunStatus.runSubState, in the order they are passed."""

    QUEUED = "Queued"
    BUILDING = "Building"
    CUSTOMIZING = "Customizing"
    OPTIMIZING = "Optimizing"
    VALIDATING = "Validating"
    DISTRIBUTING = "Distributing"


class Kind(StrEnum):
    RUN_STARTED = "run.started"
    RUN_STATE = "run.state"
    RUN_WAITING = "run.waiting"
    RUN_ANSWERED = "run.answered"
    RUN_RETRIED = "run.retried"
    RUN_FINISHED = "run.finished"
    PHASE_STARTED = "phase.started"
    PHASE_NOT_RUN = "phase.not_run"
    PHASE_FINISHED = "phase.finished"
    STEP_STARTED = "step.started"
    STEP_OUTPUT = "step.output"
    STEP_COMMAND = "step.command"
    STEP_FINISHED = "step.finished"
    STEP_CACHED = "step.cached"
    STEP_NOT_RUN = "step.not_run"
    ARTIFACT_FETCHED = "artifact.fetched"
    MACHINE_STARTED = "machine.started"
    MACHINE_BOOTING = "machine.booting"
    MACHINE_RESTORED = "machine.restored"
    MACHINE_REPORTED = "machine.reported"
    MACHINE_CONNECTED = "machine.connected"
    MACHINE_READY = "machine.ready"
    MACHINE_STOPPED = "machine.stopped"
    MACHINE_KEPT = "machine.kept"
    MACHINE_LOST = "machine.lost"
    DISK_PREPARED = "disk.prepared"
    DISK_SEALED = "disk.sealed"
    LAYER_FROZEN = "layer.frozen"
    FINDING = "finding"
    OUTPUT_STARTED = "output.started"
    OUTPUT_FINISHED = "output.finished"
    OUTPUT_NOT_WRITTEN = "output.not_written"
    NOTICE = "notice"
    CLEANED = "cleaned"


# kind -> its fields. `emit` refuses any other name, so a reader can rely on this table.
FIELDS: Mapping[Kind, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        # template: name. image: {digest, os_name, os_type, generation}. accelerator: {name, reason, slowness}.
        # log_id: the guid that starts each log line. steps, validators: [{id, kind, label, span, named, content}].
        # targets: [{run_output_name, kind}]. staging: name of the staging resource group. template_id: its ARM id.
        # resumes: id of the run it continues. skipped: ids of steps that are left out. host: {cpus, memory_mib}, what
        # there was to give to a machine. driver_options: {name: text}, the driver's, with which it can be made again.
        # dry_run: true when nothing is run and nothing written.
        Kind.RUN_STARTED: "template template_id file image exact_version driver driver_options accelerator log_id"
        " steps validators targets timeout_minutes staging pid resumes skipped host dry_run",
        # state: RunState. sub_state: RunSubState or "". message: lastRunStatus.message.
        Kind.RUN_STATE: "state sub_state message",
        # seconds in all. error: {code, message, hint, details, span, commands} or null.
        Kind.RUN_FINISHED: "state sub_state message seconds error",
        # For a person. choices: what may be answered. error: what it asks about, as in run.finished, or null.
        Kind.RUN_WAITING: "title choices error",
        Kind.RUN_ANSWERED: "answer",
        # All phases begin again, with the template as it is now. skipped: ids of steps that are left out.
        Kind.RUN_RETRIED: "steps validators skipped",
        Kind.PHASE_STARTED: "",
        # In a dry run, in place of that. would: what the phase would do besides its steps and outputs, in pieces that
        # follow "would ".
        Kind.PHASE_NOT_RUN: "would",
        # status: ok | failed | skipped | cancelled | not run.
        Kind.PHASE_FINISHED: "status seconds",
        # index from 0. span "file:line:column" or "". local_name: what Packer would call its temporary file.
        # remote: path in the guest. lines: inline commands or null. source: URI or null. hidden: a step that AIB adds
        # itself (deprovision). command: as Packer would log it.
        Kind.STEP_STARTED: "step_kind label index total span local_name remote lines source destination hidden command",
        # stream: stdout | stderr. line: without its newline.
        # left_out: where aibemu says that it left out so many lines (0: of what follows); absent in lines of the guest.
        # by: `packer` for what Packer says in the midst of a step; absent in lines of the guest.
        Kind.STEP_OUTPUT: "stream line left_out by",
        # A step that runs several commands, as WindowsUpdate does, runs one (exit_code null), or has: for the log.
        # bytes: {stdout, stderr}, what the guest sent meanwhile.
        Kind.STEP_COMMAND: "command exit_code bytes",
        # status: ok | failed | cancelled. exit_code: int or null. error: Packer's words or null.
        # bytes: {stdout, stderr}, what the guest sent.
        Kind.STEP_FINISHED: "status exit_code seconds error bytes",
        # It was not run: the layer that the build starts from has it. how: "cached 5 min ago by run 3f2c9a1b".
        # said: {started, output: [{stream, line}], finished, warnings} of when it ran, or null.
        Kind.STEP_CACHED: "step_kind label index total span how said",
        # In a dry run, in place of what would be run. would: as in phase.not_run. files: [{uri, sha256, size}], what
        # was fetched for it. The others as in step.started.
        Kind.STEP_NOT_RUN: "step_kind label index total span remote lines source destination command files would",
        Kind.ARTIFACT_FETCHED: "uri sha256 size cached attempts seconds path",
        # role: build | validate. endpoint: "127.0.0.1:40022". user, key: who may log in, the private key's file.
        # access: {communicator, host, port, user}, and as far as they are there key, public_key, password_file,
        # certificate (its SHA-256); secrets are in files only. last_boot_seconds: what the last boot of such a machine
        # took until it was ready, or null.
        Kind.MACHINE_STARTED: "machine role cpus memory_mib firmware disk_bytes endpoint user key access"
        " last_boot_seconds",
        # How far its boot is, at each step. stage: the guest system's words ("kernel"), or "" when nothing told yet.
        # awaited: what the build waits for: the guest's report, its server, the end of its first boot. line: the last
        # one of its console. seconds: since it was started.
        Kind.MACHINE_BOOTING: "machine stage awaited line seconds",
        # Taken up from a layer. layer: its id. label: what it is a layer of. run, made: whose, when. memory: false when
        # it booted from the layer's disk.
        Kind.MACHINE_RESTORED: "machine layer label run made seconds hostname memory",
        # seconds: for which the guest stood still. memory: whether it has any. bytes: of memory, else of its disk.
        Kind.LAYER_FROZEN: "layer label seconds bytes memory",
        # The guest's own word to Azure's wire server. state: Ready | NotReady. by: which agent. message: its text.
        Kind.MACHINE_REPORTED: "machine state by message seconds",
        Kind.MACHINE_CONNECTED: "machine banner seconds",
        # first_boot: done | degraded | error | absent.
        Kind.MACHINE_READY: "machine first_boot seconds hostname",
        # how: power-button | killed | guest (it went by itself, or because it was asked to).
        Kind.MACHINE_STOPPED: "machine how seconds",
        # command: what to type to get in.
        Kind.MACHINE_KEPT: "machine command",
        # console: its last lines. saved: paths of console and screenshot.
        Kind.MACHINE_LOST: "machine why console saved",
        # Changed on the disk of a machine before its first boot. changes: in sentences; none, if it was well.
        Kind.DISK_PREPARED: "machine role changes seconds",
        # Changed on the disk of the generalised machine while it was off. changes: in sentences; none, if it was well.
        Kind.DISK_SEALED: "machine changes seconds",
        # level: note | warning | error. azure: how Azure treats it. review: what a security review would say, or "".
        # fix: what to change in the template, or "".
        Kind.FINDING: "level check problem message azure review fix",
        Kind.OUTPUT_STARTED: "run_output_name target index total",
        # status: ok | failed. artifact: id or uri. paths: local files.
        Kind.OUTPUT_FINISHED: "run_output_name target status artifact paths seconds error",
        # In a dry run, in place of what would be written. would: as in phase.not_run.
        Kind.OUTPUT_NOT_WRITTEN: "run_output_name target index total would",
        # level: note | warning. message: a sentence for people. awaited: what the build waits for before it may have a
        # machine ("memory: ...", "its turn: ..."), "" once it goes on; absent in notices about anything else.
        Kind.NOTICE: "level message awaited",
        # what was found of a dead run and removed.
        Kind.CLEANED: "what detail",
    }.items()
}


# What a field may hold, besides null, where a record is read, which may be damaged. What is not here is only shown.
_TYPES: Mapping[str, tuple[type, ...]] = {
    name: types
    for types, names in (
        (
            (str,),
            "template template_id file driver log_id staging resumes state sub_state message title answer status"
            " step_kind label span local_name remote source destination command stream line how uri sha256 path machine"
            " role firmware endpoint user key layer run made hostname by banner first_boot why check azure"
            " problem exact_version review fix level run_output_name target artifact what detail stage awaited",
        ),
        (
            (int, float),
            "timeout_minutes pid seconds index total exit_code size attempts cpus memory_mib disk_bytes left_out"
            " last_boot_seconds",
        ),
        ((list,), "steps validators skipped choices targets lines console saved paths changes would files"),
        ((dict,), "image accelerator host driver_options access"),
        ((dict, str), "error"),
        ((dict, int), "bytes"),
    )
    for name in names.split()
}
_OF_OBJECTS = frozenset({"steps", "validators", "targets", "files"})
# Those whose `error` is the whole of it; elsewhere it is a sentence.
_WITH_AN_ERROR = frozenset({Kind.RUN_FINISHED, Kind.RUN_WAITING})


def _check(event: Event) -> None:
    """ValueError for an event that no aibemu wrote like that."""
    number, *head = (event.seq, event.at, event.run, event.phase or "", event.step or "")
    if type(number) is not int or not all(isinstance(text, str) for text in head):
        raise ValueError("no event begins like that")
    for name, value in event.fields.items():
        types = _TYPES.get(name)
        if value is None or types is None:
            continue
        if not isinstance(value, types) or (isinstance(value, list) and not all(_is_item(name, one) for one in value)):
            raise ValueError(f"{name} of {event.kind.value} is {type(value).__name__}")
    error = event.fields.get("error")
    if error is not None and isinstance(error, dict) is not (event.kind in _WITH_AN_ERROR):
        raise ValueError(f"the error of {event.kind.value} is {type(error).__name__}")
    if isinstance(error, dict) and not _is_error(error):
        raise ValueError("an error is not like that")


def _is_item(name: str, item: Any) -> bool:
    if name not in _OF_OBJECTS:
        return isinstance(item, str)
    texts = ("kind", "label", "span", "run_output_name", "path")
    return (
        isinstance(item, dict) and (name in {"targets", "files"} or isinstance(item.get("id"), str))
        and all(isinstance(item.get(key) or "", str) for key in texts)
    )  # fmt: skip


def _is_error(error: Mapping[str, Any]) -> bool:
    texts = ("code", "message", "hint", "span")
    lists: tuple[Any, ...] = (error.get("details") or [], error.get("commands") or [])
    return all(isinstance(error.get(name) or "", str) for name in texts) and all(
        isinstance(one, list) and all(isinstance(item, str) for item in one) for one in lists
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event as the views get it, already redacted. `fields` has exactly the kind's own names that were given."""

    seq: int
    at: str
    run: str
    kind: Kind
    phase: str | None
    step: str | None
    fields: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        head: dict[str, Any] = {"v": VERSION, "seq": self.seq, "at": self.at, "run": self.run, "kind": self.kind.value}
        if self.phase:
            head["phase"] = self.phase
        if self.step:
            head["step"] = self.step
        return head | dict(self.fields)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Event:
        """Read one back; unknown kinds (from a newer aibemu) and fields that hold something else raise ValueError."""
        known = {"v", "seq", "at", "run", "kind", "phase", "step"}
        event = cls(
            seq=value["seq"], at=value["at"], run=value["run"], kind=Kind(value["kind"]), phase=value.get("phase"),
            step=value.get("step"), fields={k: v for k, v in value.items() if k not in known},
        )  # fmt: skip
        _check(event)
        return event


class Emit(Protocol):
    """How every layer says what happens. phase, step and run come from the context (structlog contextvars)."""

    def __call__(self, kind: Kind, /, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What is shown while it lasts and recorded nowhere: a line that has no end yet, the console's last one. The next
    one of the same step or machine takes its place; an empty text takes it away."""

    # Gives the text, without secrets: looking for these takes time, and most of what passes is never drawn.
    read: Callable[[], str]
    step: str = ""
    machine: str = ""


@runtime_checkable
class SeesPassing(Protocol):
    """A view that shows it. Called by any thread, between events: it must not wait for anything."""

    def on_passing(self, passing: Passing) -> None: ...


class View(Protocol):
    """Sees every event once, in order, from one thread at a time. One that raises is switched off. It emits none."""

    def on_event(self, event: Event) -> None: ...

    def close(self) -> None: ...
