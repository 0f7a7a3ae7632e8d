"""The Shell customizer and validator, with the semantics of Packer's shell provisioner (facts: provisioners 1.1).

Inline commands become one script with the shebang `#!/bin/sh -e`: they share one process, and the first failing line
ends it. It runs as the build user from the home directory, without a terminal, with standard input at its end.
A scriptUri script runs as root (facts: service 5; the setting `script_uri_sudo` turns that off).

Packer takes four round trips (upload, chmod, run, remove). Here one channel does all of it: the script comes in on
standard input, and a marker line tells "the script could not be put there" from "the script failed".
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from aibemu.communicators import OnLine, Stream, cut_of, unfinished_of
from aibemu.communicators.login_shell import in_sh
from aibemu.customizers import (
    PACKER_ENVIRONMENT,
    Description,
    Guest,
    Need,
    Outcome,
    StepSettings,
    ended_badly,
    run_in_it,
)
from aibemu.reading import read_bytes
from aibemu.template.model import StepSpec
from aibemu.text import counted

DISCONNECTED = (
    "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, you can try "
    'adding `"expect_disconnect": true` or `"valid_exit_codes": [0, 2300218]` to the shell provisioner parameters.'
)
# Packer's CmdDisconnect: what its log shows when a session ends with neither status nor signal.
CMD_DISCONNECT = 2300218
# Bytes of a script, which is held in memory: some carry an archive behind their text.
LARGEST = 64 << 20


class Shell:
    """One Shell step."""

    def __init__(self, spec: StepSpec, settings: StepSettings) -> None:
        self.spec = spec
        self.settings = settings
        self.lines: tuple[str, ...] = tuple(spec.options.get("inline") or ())
        self.uri: str | None = spec.options.get("scriptUri") or None
        self.remote = f"/tmp/script_{settings.rng.randrange(9999)}.sh"
        self.local_name = (
            f"/tmp/{settings.log_id}.{spec.index}.customizer.fp"
            if self.uri
            else f"/tmp/packer-shell{settings.rng.randrange(10**8, 10**10)}"
        )

    def needs(self) -> Sequence[Need]:
        if self.uri is None:
            return ()
        return (Need(uri=self.uri, sha256=self.spec.options.get("sha256Checksum") or None, limit=LARGEST),)

    def describe(self) -> Description:
        return Description(
            local_name=self.local_name, remote=self.remote, command=execute_command(self.remote, sudo=self.as_root),
            lines=self.lines or None, source=self.uri,
        )  # fmt: skip

    def inputs(self) -> object:
        return {"inline": list(self.lines), "root": self.as_root, "reboot": self.settings.reboot_in_shell}

    def would(self) -> Sequence[str]:
        what = self.uri or f"{counted(len(self.lines), 'inline command')} as one script of `#!/bin/sh -e`"
        return [
            f"put {what} at {self.remote} (mode 0755)",
            f"run as {'root' if self.as_root else 'the build user'}: {execute_command(self.remote, sudo=self.as_root)}",
            *run_in_it(self.lines),
            "take any exit code but 0 for a failure",
        ]

    @property
    def as_root(self) -> bool:
        return self.uri is not None and self.settings.script_uri_sudo

    def apply(self, guest: Guest, files: Sequence[Path]) -> Outcome:
        script = read_bytes(files[0], limit=LARGEST).replace(b"\r\n", b"\n") if self.uri else inline_script(self.lines)
        return run_script(guest, script, remote=self.remote, sudo=self.as_root, settings=self.settings)


def inline_script(lines: Sequence[str]) -> bytes:
    """One file of all inline entries, each followed by a newline; an own `#!` in the first entry is honoured."""
    text = "".join(f"{line}\n" for line in lines)
    if not text.startswith("#!"):
        text = f"#!/bin/sh -e\n{text}"
    return text.replace("\r\n", "\n").encode()


def execute_command(remote: str, *, sudo: bool, environment: Mapping[str, str] = PACKER_ENVIRONMENT) -> str:
    """Packer's `chmod +x {{.Path}}; {{.Vars}} {{.Path}}` with its variables, as its log shows it."""
    variables = "".join(f"{key}={quote(value)} " for key, value in environment.items())
    return f"chmod +x {remote}; {variables} {'sudo -E ' if sudo else ''}{remote}"


def quote(value: str) -> str:
    """Single quotes always, as Packer writes them."""
    return "'" + value.replace("'", "'\"'\"'") + "'"


def run_script(guest: Guest, script: bytes, *, remote: str, sudo: bool, settings: StepSettings) -> Outcome:
    """Put `script` at `remote` (mode 0755), run it once, remove it; never a second time, whatever happens."""
    lines = _Marked(guest.on_line)
    # `ended`: zsh has a variable of its own that is called status.
    command = (
        f"cat > {remote} && chmod 0755 {remote} && echo {lines.started_by} && {{ {execute_command(remote, sudo=sudo)}; "
        f"ended=$?; rm -f {remote}; {asks_if_stopping(lines.stopping_by)}; exit $ended; }}"
    )
    status = guest.communicator.run(command, deadline=guest.deadline, on_line=lines, stdin=script)
    if not lines.started and status.code is not None:
        # A login shell that is no sh (fish, csh) refuses the command as a whole; nothing has run. Others have it
        # directly, for a script can see what shell is around it.
        refused = list(lines.early)
        lines.early.clear()
        status = guest.communicator.run(in_sh(command), deadline=guest.deadline, on_line=lines, stdin=script)
        if not lines.started:
            lines.early[:0] = [said for said in refused if said not in lines.early]
    if status.disconnected:
        return _disconnected(guest, started=lines.started, settings=settings)
    if not lines.started:
        reason = " ".join(line for _, line in lines.early).strip() or f"exit status {status.code}"
        return Outcome(exit_code=None, error=f"Error uploading script: {reason}")
    return Outcome(exit_code=status.code, error=ended_badly(status, (0,)), going_down=lines.going_down)


class _Marked:
    """The lines of a command that says when the script begins and whether the machine goes down: these two are kept
    back, and what comes before the script, until it is known whether there is one."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self.started_by = f"AIBEMU-STARTED-{secrets.token_hex(8)}"
        self.stopping_by = f"AIBEMU-STOPPING-{secrets.token_hex(8)}"
        self.started = self.going_down = False
        self.early: list[tuple[Stream, str]] = []

    def __call__(self, stream: Stream, line: str) -> None:
        if stream is Stream.STDOUT and not self.started and line.endswith(self.started_by):
            self.started = True
            # What the login shell's own start-up files said (perhaps without a newline) is part of what Packer shows.
            if before := line.removesuffix(self.started_by):
                self.early.append((stream, before))
            for said in self.early:
                self._on_line(*said)
        elif stream is Stream.STDERR and line == self.stopping_by:
            self.going_down = True
        elif self.started:
            self._on_line(stream, line)
        else:
            self.early.append((stream, line))

    def unfinished(self, stream: Stream, text: str) -> None:
        """See `aibemu.communicators.unfinished_of`."""
        own = text and stream is Stream.STDERR and self.stopping_by.startswith(text)
        show = unfinished_of(self._on_line)
        if self.started and not own and show is not None:
            show(stream, text)

    def cut(self, text: str, most: int) -> int:
        """See `aibemu.communicators.cut_of`."""
        return cut_of(self._on_line)(text, most)


def asks_if_stopping(marker: str) -> str:
    """Shell text that prints `marker` on standard error when the machine is about to go down.

    `reboot` returns at once; without this the next step could start on a machine that is going away, a race that
    Packer users know well (facts: provisioners 1.1, point 8).
    """
    stopping = '[ "$(systemctl is-system-running 2>/dev/null)" = stopping ]'
    return f"if {stopping} || {_ABOUT_TO}; then echo {marker} >&2; fi"


# `shutdown -r +0`, and `+1`: logind notes the time (microseconds) before anything stops.
_SCHEDULED = "/run/systemd/shutdown/scheduled"
_ABOUT_TO = (
    f"{{ [ -r {_SCHEDULED} ] && at=$(sed -n 's/^USEC=//p' {_SCHEDULED}) && "
    '[ "${at%??????}" -le "$(( $(date +%s) + 65 ))" ]; } 2>/dev/null'
)


def _disconnected(guest: Guest, *, started: bool, settings: StepSettings) -> Outcome:
    """A lost connection is an error unless the machine really rebooted; the script is never run again."""
    if not guest.rebooted():
        why = "the connection was lost, the machine did not reboot"
        return Outcome(exit_code=CMD_DISCONNECT, error=f"{DISCONNECTED} ({why})")
    if not started:
        return Outcome(exit_code=None, error="Error uploading script: the machine rebooted before the script started")
    if settings.reboot_in_shell != "accept":
        return Outcome(exit_code=CMD_DISCONNECT, error=f"{DISCONNECTED} (the machine rebooted)")
    return Outcome(
        exit_code=None,
        rebooted=True,
        warnings=(
            "the script rebooted the machine and its exit status was lost; lines after the reboot did not run. "
            "Packer calls this 'Script disconnected unexpectedly', so the service may fail here: end the script before "
            "the machine goes down (`sudo shutdown -r +0 &` as its last line), or set reboot_in_shell: fail",
        ),
    )
