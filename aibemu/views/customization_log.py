"""customization.log and validation.log, line by line as the service's Packer writes them, while it happens.

Two shapes (facts: service 4.1): B, since 2023, is Packer's log file with `[<guid>] PACKER ` before each line; A, until
2023, tells standard output (`PACKER OUT`) from standard error (`PACKER ERR`), and shows errors on both. Indentation
(facts: service 4.2): what Packer says and what the guest sends to standard error start with `==> azure-arm: `, what the
guest sends to standard output starts with four blanks. `Stamper` knows the shapes, this view when which line is due.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from aibemu.append import LineFile
from aibemu.events import Event, Kind, Phase, RunState
from aibemu.text import counted, packer_words
from aibemu.views.packer_lines import Stamper

# Packer's CmdDisconnect: a session that ended with neither exit status nor signal (facts: provisioners 0).
CMD_DISCONNECT = 2300218
PROVISIONERS = {
    "Shell": "shell", "PowerShell": "powershell", "File": "file", "WindowsRestart": "windows-restart",
    "WindowsUpdate": "windows-update",
}  # fmt: skip
# Steps that Packer runs by WinRM, which has a code of its own for a lost connection.
WINDOWS = frozenset({"PowerShell", "WindowsRestart", "WindowsUpdate"})
WINRM_DISCONNECT = 16001
# How Packer calls a way in, by the communicator of a machine, and how long it says that it waits.
WAYS_IN = {"winrm": ("WinRM", "10m0s")}
SSH = ("SSH", "20m0s")
BUILD_PHASES = frozenset({Phase.PROVISION.value, Phase.CUSTOMIZE.value, Phase.GENERALIZE.value})
VALIDATE_PHASES = frozenset({Phase.VALIDATE.value})
CANCELLED = "Build was cancelled."


class CustomizationLog:
    """One log file. form: A or B. validation: of the validate phase, else of provision, customize and generalize."""

    def __init__(self, path: Path, *, form: str = "B", validation: bool = False) -> None:
        self._path = path
        self._form = form
        self._phases = VALIDATE_PHASES if validation else BUILD_PHASES
        self._last_phase = Phase.VALIDATE.value if validation else Phase.GENERALIZE.value
        self._role = "validate" if validation else "build"
        self._stream: LineFile | None = None
        self._out: Stamper | None = None
        self._run: Mapping[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._step: Mapping[str, Any] = {}
        # The step tells of its commands itself.
        self._commands = False
        self._machine = ""
        self._way_in = SSH
        self._connected = self._cancelling = self._kept = self._over = False
        self._started: datetime | None = None
        self._failed_at: datetime | None = None
        self._error = ""

    def on_event(self, event: Event) -> None:
        if self._over:
            return
        handler = _ANYWHERE.get(event.kind)
        if handler is None and event.phase in self._phases:
            handler = _INSIDE.get(event.kind)
        if handler is None and self._failed_at and event.kind is Kind.PHASE_STARTED:
            handler = CustomizationLog._conclude
        if handler is not None:
            if self._out is not None:
                self._out.at(event.at)
            handler(self, event, event.fields)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # Of the run as a whole

    def _run_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._run = fields

    def _retried(self, event: Event, fields: Mapping[str, Any]) -> None:
        """The same log goes on: what failed did not end the build."""
        self._failed_at, self._error = None, ""
        if self._out is not None:
            self._out.say("aibemu: once more from the step that failed, with the template as it is now")

    def _artifact(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._sizes[str(fields.get("uri"))] = int(fields.get("size") or 0)

    def _run_state(self, event: Event, fields: Mapping[str, Any]) -> None:
        if fields.get("state") == RunState.CANCELING.value and self._out is not None:
            self._cancel()

    def _machine_kept(self, event: Event, fields: Mapping[str, Any]) -> None:
        if self._out is not None and fields.get("machine") == self._machine:
            self._kept = True

    def _conclude(self, event: Event, fields: Mapping[str, Any]) -> None:
        """The end of a build that did not get to its own end; nothing if it never began."""
        if self._out is None:
            return
        error = fields.get("error") or {}
        if not self._error:
            ended = error.get("code") in {"CANCELLED", "BUILD_TIMED_OUT"}
            self._error = CANCELLED if ended or self._cancelling else str(error.get("message") or "Build was halted.")
        if self._error == CANCELLED:
            self._cancel()
        self._give_up(self._failed_at or _time(event.at))

    # Phases

    def _phase_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        if self._out is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        log_id = str(self._run.get("log_id") or event.run)
        # Each line is in the file before the build goes on, if the disk has room.
        self._stream = LineFile(
            self._path, anew=True,
            missing=lambda count: f"[{log_id}] PACKER aibemu: {counted(count, 'line')} missing: the disk was full\n",
        )  # fmt: skip
        self._out = Stamper(self._stream.write, log_id, self._form)
        self._out.at(event.at)
        self._started = _time(event.at)
        self._out.say("Deploying deployment template ...")
        self._out.say(f" -> ResourceGroupName : '{self._run.get('staging', '')}'")
        self._out.say(f" -> DeploymentName    : 'pkrdp{self._suffix()}'")

    def _phase_finished(self, event: Event, fields: Mapping[str, Any]) -> None:
        if self._out is None:
            return
        if fields.get("status") == "ok":
            if event.phase == self._last_phase:
                self._finish(event)
        elif fields.get("status") in {"failed", "cancelled"}:
            # Its last lines depend on whether the machine is kept, which the next events tell.
            self._failed_at = _time(event.at)

    # Machines

    def _machine_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._machine = str(fields.get("machine"))
        self._writer.say("Getting the VM's IP address ...")
        name, wait = self._way_in = WAYS_IN.get((fields.get("access") or {}).get("communicator", ""), SSH)
        self._writer.say(f"Waiting for {name} to become available...")
        self._writer.log(f"[INFO] Waiting for {name}, up to timeout: {wait}")

    def _machine_connected(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._connected = True
        if self._way_in is not SSH:
            self._writer.message(f"{self._way_in[0]} connected.")
        self._writer.say(f"Connected to {self._way_in[0]}!")

    def _machine_lost(self, event: Event, fields: Mapping[str, Any]) -> None:
        if not self._connected:
            name = self._way_in[0]
            failed = "TCP connection to SSH ip/port failed" if self._way_in is SSH else f"{name} connection err"
            self._writer.log(f"{failed}: {fields.get('why', '')}")
            self._error = f"Timeout waiting for {name}."
            self._writer.error(self._error)

    def _machine_stopped(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._writer.say("Snapshotting OS disk ...")
        self._writer.say(f" -> Snapshot ID : '{self._snapshot()}'")
        self._writer.say("Skipping image creation...")

    # Steps

    def _step_started(self, event: Event, fields: Mapping[str, Any]) -> None:
        self._step, self._commands = fields, False
        self._writer.log(f"[INFO] (telemetry) Starting provisioner {_provisioner(fields)}")
        if fields.get("step_kind") == "File":
            self._writer.say(f"Uploading {fields.get('local_name')} => {fields.get('destination')}")
            return
        if fields.get("step_kind") == "PowerShell":
            self._writer.say("Provisioning with Powershell...")
            self._writer.say(f"Provisioning with powershell script: {fields.get('local_name')}")
            for line in fields.get("lines") or ():
                self._writer.plugin(f"Found command: {line}")
        elif fields.get("step_kind") == "WindowsRestart":
            self._writer.say("Restarting Machine")
        elif fields.get("step_kind") == "WindowsUpdate":
            return
        else:
            self._writer.say(f"Provisioning with shell script: {fields.get('local_name')}")
        self._writer.plugin(f"[INFO] starting remote command: {fields.get('command')}")

    def _step_cached(self, event: Event, fields: Mapping[str, Any]) -> None:
        """That it was not run: the log is of what this run did. What it printed then is one command away."""
        where = f"aibemu logs {event.run} --step {event.step}"
        self._writer.say(f"aibemu: {fields.get('label')}: {fields.get('how')}, not run again; its output: {where}")

    def _step_output(self, event: Event, fields: Mapping[str, Any]) -> None:
        line = str(fields.get("line", ""))
        if fields.get("by") == "packer":
            self._writer.say(line)
        elif fields.get("stream") == "stderr":
            self._writer.error(line)
        else:
            self._writer.message(line)

    def _step_command(self, event: Event, fields: Mapping[str, Any]) -> None:
        command, self._commands = str(fields.get("command")), True
        if (code := fields.get("exit_code")) is None:
            self._writer.plugin(f"[INFO] starting remote command: {command}")
        else:
            self._writer.plugin(f"[INFO] command '{command}' exited with code: {code}")
            self._told(code, fields)

    def _step_finished(self, event: Event, fields: Mapping[str, Any]) -> None:
        status = fields.get("status")
        if status == "cancelled":
            self._cancel()
            self._error = CANCELLED
        if self._step.get("step_kind") == "File":
            if status == "ok":
                self._progress()
        elif not self._commands:
            self._ended(fields)
        self._writer.log(f"[INFO] (telemetry) ending {_provisioner(self._step)}")
        if status == "failed":
            self._error = str(fields.get("error") or "Build was halted.")
        elif status == "ok" and self._step.get("hidden"):
            self._writer.say("Querying the machine's properties ...")
            self._writer.say("Powering off machine ...")

    def _ended(self, fields: Mapping[str, Any]) -> None:
        code = fields.get("exit_code")
        if self._step.get("step_kind") in WINDOWS:
            code = WINRM_DISCONNECT if code is None else code
            self._writer.plugin(f"[INFO] command '{self._step.get('command')}' exited with code: {code}")
        elif code is None:
            code = CMD_DISCONNECT
            self._writer.log("[ERROR] Remote command exited without exit status or exit signal.")
        elif code != 0:
            self._writer.plugin(f"[ERROR] Remote command exited with '{code}': {self._step.get('command')}")
        self._told(code, fields)

    def _told(self, code: object, fields: Mapping[str, Any]) -> None:
        """What the communicator says at the end of a command."""
        sent = fields.get("bytes") or {}
        self._writer.log(f"[INFO] RPC endpoint: Communicator ended with: {code}")
        for stream in ("stdout", "stderr"):
            self._writer.log(f"[INFO] {sent.get(stream, 0)} bytes written for '{stream}'")
        self._writer.log(f"[INFO] RPC client: Communicator ended with: {code}")

    def _progress(self) -> None:
        """Packer's progress bar, which becomes plain lines in the service's log (facts: service 4.5)."""
        size = self._sizes.get(str(self._step.get("source")))
        if size:
            name = str(self._step.get("local_name")).rpartition("/")[2]
            self._writer.bare("")
            self._writer.bare(f"{name} {size} B / {size} B  100.00%")

    # Ends

    @property
    def _writer(self) -> Stamper:
        assert self._out is not None, "events of a phase come after its start"
        return self._out

    def _cancel(self) -> None:
        if self._cancelling:
            return
        self._cancelling = True
        self._writer.log("Cancelling builder after context cancellation context canceled")
        self._writer.tell("Cancelling build after receiving terminated")
        self._writer.log("Cancelling provisioning due to context cancellation: context canceled")

    def _delete_resources(self) -> None:
        self._writer.say("")
        self._writer.bare("==> azure-arm: Deleting individual resources ...")
        self._writer.say("The resource group was not created by Packer, not deleting ...")

    def _finish(self, event: Event) -> None:
        self._delete_resources()
        words = self._elapsed(_time(event.at))
        self._writer.tell(f"Build 'azure-arm' finished after {words}.")
        self._writer.bare(f"==> Wait completed after {words}")
        self._writer.bare("==> Builds finished but no artifacts were created.")
        self._done()

    def _give_up(self, ended: datetime) -> None:
        out, words, error = self._writer, self._elapsed(ended), self._error
        if self._kept:
            out.say('Step "StepProvision" failed, aborting...')
            out.say('aborted: skipping cleanup of step "StepDeployTemplate"')
        else:
            if self._connected and error != CANCELLED:
                out.say("Provisioning step had errors: Running the cleanup provisioner, if present...")
            self._delete_resources()
        out.tell_error(f"Build 'azure-arm' errored after {words}: {error}")
        out.bare(f"==> Wait completed after {words}")
        if error == CANCELLED:
            out.tell("Cleanly cancelled builds after being interrupted.")
        else:
            out.bare("==> Some builds didn't complete successfully and had errors:")
            out.log(f"machine readable: azure-arm,error []string{{{json.dumps(error, ensure_ascii=False)}}}")
            out.tell_error(f"--> azure-arm: {error}")
            out.bare("==> Builds finished but no artifacts were created.")
        self._done()

    def _done(self) -> None:
        self._writer.log("[INFO] (telemetry) Finalizing.")
        self._writer.log("waiting for all plugin processes to complete...")
        self._writer.end()
        self._over = True
        self.close()

    # Words

    def _elapsed(self, ended: datetime) -> str:
        return packer_words((ended - (self._started or ended)).total_seconds())

    def _suffix(self) -> str:
        """Ten characters, as Packer ends its names with; the same for all names of a run."""
        return str(self._run.get("log_id", "")).replace("-", "")[:10]

    def _snapshot(self) -> str:
        subscription = str(self._run.get("template_id", "")).partition("/resourceGroups/")[0]
        group = f"{subscription}/resourceGroups/{self._run.get('staging', '')}"
        return f"{group}/providers/Microsoft.Compute/snapshots/pkrsn{self._suffix()}"


Handler = Callable[[CustomizationLog, Event, Mapping[str, Any]], None]

_ANYWHERE: Mapping[Kind, Handler] = {
    Kind.RUN_STARTED: CustomizationLog._run_started,
    Kind.RUN_FINISHED: CustomizationLog._conclude,
    Kind.RUN_STATE: CustomizationLog._run_state,
    Kind.RUN_RETRIED: CustomizationLog._retried,
    Kind.ARTIFACT_FETCHED: CustomizationLog._artifact,
    Kind.MACHINE_KEPT: CustomizationLog._machine_kept,
}
_INSIDE: Mapping[Kind, Handler] = {
    Kind.PHASE_STARTED: CustomizationLog._phase_started,
    Kind.PHASE_FINISHED: CustomizationLog._phase_finished,
    Kind.MACHINE_STARTED: CustomizationLog._machine_started,
    Kind.MACHINE_CONNECTED: CustomizationLog._machine_connected,
    Kind.MACHINE_LOST: CustomizationLog._machine_lost,
    Kind.MACHINE_STOPPED: CustomizationLog._machine_stopped,
    Kind.STEP_STARTED: CustomizationLog._step_started,
    Kind.STEP_CACHED: CustomizationLog._step_cached,
    Kind.STEP_OUTPUT: CustomizationLog._step_output,
    Kind.STEP_COMMAND: CustomizationLog._step_command,
    Kind.STEP_FINISHED: CustomizationLog._step_finished,
}


def _provisioner(step: Mapping[str, Any]) -> str:
    kind = str(step.get("step_kind", ""))
    return PROVISIONERS.get(kind, kind.lower())


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at)
