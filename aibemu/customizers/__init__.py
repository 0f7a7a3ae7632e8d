"""Customizers and in-VM validators: one file per AIB type, found through the entry-point group `aibemu.customizers`.

A customizer is a plan for one step: what it needs fetched before any machine starts, how people and Packer's log
would describe it, and what it does to a guest. It owns the meaning of exit codes; the engine owns everything else.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from aibemu.communicators import ExitStatus

if TYPE_CHECKING:
    from types import ModuleType

    from aibemu.clock import Deadline
    from aibemu.communicators import Communicator, Credentials, OnLine
    from aibemu.template.model import StepSpec

# What AIB's Packer always sets, in its order (facts: provisioners 0, service 5).
PACKER_ENVIRONMENT: Mapping[str, str] = {"PACKER_BUILDER_TYPE": "azure-arm", "PACKER_BUILD_NAME": "azure-arm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A URI to fetch before any machine starts, the sha256 it must have (or None), and the bytes that it may have
    (None: what the setting download_size says)."""

    uri: str
    sha256: str | None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A step as Packer's log and people see it.

    local_name: what Packer would call its local temporary file. remote: the path in the guest. lines: inline commands,
    or None. source: URI, or None. command: the command line that Packer would log.
    """

    local_name: str
    remote: str
    command: str
    lines: tuple[str, ...] | None = None
    source: str | None = None
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a step ended. error is None when it went well, else Packer's own words.

    rebooted: the machine restarted while the step ran, and the step counts as done. going_down: the step is over, the
    machine is about to restart or power off. warnings: for people. hint: what to do about the error. details: more of
    the error, a line each. lost: it ended without an exit code, and nobody has looked yet at what the machine does now;
    only of the hidden last step, after which nothing may be started again.
    """

    exit_code: int | None
    error: str | None = None
    rebooted: bool = False
    going_down: bool = False
    warnings: tuple[str, ...] = ()
    hint: str | None = None
    details: tuple[str, ...] = ()
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """How a restart went that a step asked for."""

    # How the command ended that asks the guest to restart. Neither code nor signal: it was cut off by the restart, or
    # by the end of the time.
    command: ExitStatus
    # Whether the guest has come up with another boot id.
    restarted: bool
    # Whether it has, and the check has succeeded, if one was given.
    ready: bool
    # How long all of it took.
    seconds: float


class System(Protocol):
    """What a step may know of the guest's operating system."""

    @property
    def path(self) -> ModuleType:
        """The rules of its paths: `posixpath`, `ntpath`, or a module with the same functions."""
        ...


class Guest(Protocol):
    """What a step may do to the machine; given by the engine."""

    @property
    def system(self) -> System: ...

    @property
    def communicator(self) -> Communicator: ...

    @property
    def deadline(self) -> Deadline: ...

    @property
    def credentials(self) -> Credentials:
        """Who is logged in, for what can only be run with his name and password."""
        ...

    @property
    def on_line(self) -> OnLine: ...

    def say(self, text: str) -> None:
        """What Packer itself would say in the midst of a step: a line of its log that is not the guest's."""
        ...

    def command_started(self, command: str) -> None:
        """For the log, of a step that runs several commands: this one is about to be run."""
        ...

    def command_ended(self, command: str, exit_code: int) -> None:
        """For the log: how it ended, in Packer's terms (16001: WinRM lost the connection)."""
        ...

    def keep(self, name: str, text: str) -> str:
        """Keep a file of the guest's with the run, without secrets; where it is, for people."""
        ...

    def rebooted(self) -> bool:
        """After a lost connection: wait (bounded) until the guest answers again; True if its boot id changed.

        False when it did not reboot. Raises `aibemu.errors.ProvisionFailed` when it never came back.
        """
        ...

    def restart(self, command: str, check: str | None, timeout: float, *, accept: Collection[int] = (0,)) -> Restart:
        """Run `command`, which restarts the guest; wait until its boot id has changed and `check`, if given, succeeds.

        timeout: for all of it, in seconds, times the host's slowness. accept: exit codes of `command` with which the
        restart is on its way; after another one nothing is waited for. What does not happen in time is in the result;
        raised are only the build's own end and `ProvisionFailed` for a machine that is lost.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """What a step takes from aibemu's settings.

    script_uri_sudo: scriptUri scripts run as root (facts: service 5, inferred). reboot_in_shell: `accept` or `fail`.
    powershell_wrapper: inline PowerShell runs as in Packer until 1.12 (`old`), or since 1.14 (`new`).
    sysprep_timeout: seconds, before scaling, for the last step on Windows. log_id: the guid of the run's log. rng:
    names of temporary files come from it.
    """

    script_uri_sudo: bool = True
    reboot_in_shell: str = "accept"
    powershell_wrapper: str = "old"
    sysprep_timeout: float = 1800.0
    log_id: str = ""
    rng: random.Random = field(default_factory=random.Random)


class Customizer(Protocol):
    """One step of a template. Called as `Class(spec, settings)`.

    One that restarts the machine (`Guest.restart`) may have `after_restart(guest) -> Outcome`, too: what `apply` does
    after its last restart. Then the disk as it was at that restart, after the shutdown, becomes a layer where memory is
    not frozen, and a build that starts from it does this in place of the step.

    It may have `would() -> Sequence[str]`, too, for dry runs: what `apply` would do, in pieces that follow "would ", as
    `run: make all`. Of one without it a dry run tells what `describe` says.
    """

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None: ...

    def needs(self) -> Sequence[Need]:
        """What to fetch; `apply` gets the files in the same order."""
        ...

    def describe(self) -> Description: ...

    def inputs(self) -> Any:
        """What, besides kind and fetched content, decides the step's effect: JSON, for the fingerprint."""
        ...

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome: ...


class GoesOn(Protocol):
    """What a customizer has besides that can go on after its last restart; see `Customizer`."""

    def after_restart(self, guest: Guest) -> Outcome: ...


def goes_on_after_restart(step: object) -> GoesOn | None:
    """The step, if it can."""
    return cast("GoesOn", step) if hasattr(step, "after_restart") else None


class Tells(Protocol):
    """What a customizer has besides that says what it would do; see `Customizer`."""

    def would(self) -> Sequence[str]: ...


def what_it_would_do(step: object) -> Sequence[str] | None:
    """The step's own words, if it has some."""
    return cast("Tells", step).would() if hasattr(step, "would") else None


def run_in_it(lines: Sequence[str]) -> list[str]:
    """Inline commands as pieces of what would be done; a command may have several lines."""
    return [f"run in it: {line}" for command in lines for line in command.splitlines() or [""]]


def ended_badly(status: ExitStatus, valid: Sequence[int]) -> str | None:
    """Packer's sentence for an exit status that is not valid, else None (facts: provisioners 0)."""
    code = status.code if status.code is not None else 128
    if status.code is None or code not in valid:
        allowed = " ".join(str(number) for number in valid)
        return f"Script exited with non-zero exit status: {code}. Allowed exit codes are: [{allowed}]"
    return None
