"""Why Sysprep did not generalise a machine: what its logs say, and what to do (facts: windows-images 5).

The texts of the logs are foreign: each is one line here, cut, and goes to people by the door that all of a guest's
lines take.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from aibemu.clock import Deadline
from aibemu.communicators import Communicator, ExitStatus
from aibemu.customizers.windows.texts import packaged
from aibemu.errors import Expired, ProvisionFailed
from aibemu.images.windows import GENERALIZED
from aibemu.powershell import encoded
from aibemu.redact import cut_by_shape

FOLDER = r"C:\Windows\System32\Sysprep\Panther"
# The logs, most telling first.
LOGS = ("setuperr", "setupact")
# Seconds, before scaling, for the guest to say what they hold.
LOGS_BOUND = 120.0
# Lines that people are shown, and characters of each that count.
SHOWN, LONGEST = 15, 500
_COMPLETE, _UNDEPLOYABLE = "IMAGE_STATE_COMPLETE", "IMAGE_STATE_UNDEPLOYABLE"
_SPECIALIZE = "IMAGE_STATE_SPECIALIZE_RESEAL_TO_OOBE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What a guest says of a Sysprep that failed."""

    # ImageState; "" when it does not say.
    state: str = ""
    # The last lines of each log that is there, by its name in `LOGS`.
    lines: dict[str, tuple[str, ...]]
    # Why nothing is known, in a sentence; "" when something is.
    trouble: str = ""

    @property
    def last(self) -> tuple[str, ...]:
        """What people are shown: errors, else whatever it did last."""
        for name in LOGS:
            if lines := [line for line in self.lines.get(name, ()) if line.strip()]:
                return tuple(line[: cut_by_shape(line, LONGEST)] for line in lines[-SHOWN:])
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """why: in a sentence, for people. fix: what to do, a hint."""

    why: str
    fix: str


def fetch_logs(communicator: Communicator, deadline: Deadline) -> Logs:
    """Ask the guest for the ends of Sysprep's logs. Raises only what ends the build."""
    script = encoded(packaged("aibemu.systems.windows", "logs_of_sysprep.ps1"))
    command = f"powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -EncodedCommand {script}"
    try:
        status, text = communicator.output(command, deadline=deadline.within(LOGS_BOUND))
    except (Expired, ProvisionFailed, OSError) as error:
        deadline.check()
        return Logs(lines={}, trouble=f"Sysprep's logs could not be fetched: {error}")
    return read_logs(text, status)


def read_logs(text: str, status: ExitStatus) -> Logs:
    """What the script of `fetch_logs` printed."""
    state, name = "", ""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "state":
            state = rest.strip()[:LONGEST]
        elif kind == "file" and rest in LOGS:
            name = rest
            lines[name] = []
        elif kind == "line" and name:
            lines[name].append(rest)
    trouble = "" if lines or state else f"Sysprep's logs could not be fetched: the guest ended with {status.code}"
    return Logs(state=state, lines={key: tuple(found) for key, found in lines.items()}, trouble=trouble)


def cause(logs: Logs) -> Cause:
    """The likeliest one: the last line of a log that tells, errors before the rest; else by the state."""
    for name in LOGS:
        for line in reversed(logs.lines.get(name, ())):
            for pattern, say in _LINES:
                if match := pattern.search(line[:4000]):
                    return say(match)
    return _by_state(logs)


def _by_state(logs: Logs) -> Cause:
    look = f"what its logs say is saved with the run; in the guest: setuperr.log and setupact.log in {FOLDER}"
    if logs.state == _COMPLETE:
        return Cause(
            why=f"Sysprep never began: ImageState is still {_COMPLETE}",
            fix="let the deprovision script call Sysprep.exe /oobe /generalize /quiet /quit; a role or feature that "
            f"was installed may want a restart first (a WindowsRestart step); {look}",
        )
    if logs.state == _UNDEPLOYABLE:
        return Cause(
            why=f"Sysprep began and did not finish: ImageState is {_UNDEPLOYABLE}",
            fix="updates that wait for a restart, and services that hold files, are known to do this: put a "
            f"WindowsRestart step last; {look}",
        )
    if logs.state == _SPECIALIZE:
        return Cause(
            why=f"Windows is in the midst of setting itself up: ImageState is {_SPECIALIZE}",
            fix="it was generalised before and has been started again: take Sysprep out of the customizers, and start "
            "from an image whose first boot ends",
        )
    if logs.state == GENERALIZED:
        return Cause(
            why=f"Windows is generalised ({GENERALIZED}), and the deprovision script does not end",
            fix="let the script end when ImageState says so; nobody needs to wait for anything else",
        )
    known = f"ImageState is {logs.state}" if logs.state else logs.trouble or "Windows does not say its ImageState"
    return Cause(why=known, fix=look)


def _appx(match: re.Match[str]) -> Cause:
    package = match["package"]
    name = package.partition("_")[0]
    return Cause(
        why=f"the Store app {package} was installed for a user, and not for all (0x80073cf2)",
        fix=f"remove it in the last PowerShell step: Get-AppxPackage -AllUsers -Name {name} | "
        "Remove-AppxPackage -AllUsers; Windows 11 updates such apps by itself while the build runs",
    )


def _fixed(why: str, fix: str) -> Callable[[re.Match[str]], Cause]:
    return lambda match: Cause(why=why, fix=fix)


def _module(match: re.Match[str]) -> Cause:
    return Cause(
        why=f"Sysprep stopped in {match['function']} of {match['file'].rpartition(chr(92))[2]} ({match['code']})",
        fix="the lines above say what that part of Windows could not do; the software that it belongs to may have to "
        "be removed, or set up after the image is used",
    )


_LINES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Cause]], ...] = (
    (re.compile(r"Package (?P<package>[\w.+~-]{1,200}) was installed for a user, but not provisioned"), _appx),
    (
        re.compile(r"0x80310039|BitLocker(?:-Sysprep)?: .{0,80}\b(?:is on|encrypted)", re.IGNORECASE),
        _fixed(
            "the disk is encrypted by BitLocker, or is being decrypted (0x80310039)",
            "decrypt it before the last step, and wait for that: manage-bde -off C:; Windows 11 with a TPM encrypts "
            "itself unless HKLM\\SYSTEM\\CurrentControlSet\\Control\\BitLocker, PreventDeviceEncryption is 1",
        ),
    ),
    (
        re.compile(r"0x800F0975|reserved storage", re.IGNORECASE),
        _fixed(
            "Windows' reserved storage is in use (0x800F0975): an update is being installed",
            "let the updates end (WindowsUpdate and WindowsRestart steps before the last one), or switch it off: "
            "dism /online /set-reservedstoragestate /state:disabled",
        ),
    ),
    (
        re.compile(r"0xC004D307|maximum (?:allowed )?number of (?:re-?arms|activation rearms)", re.IGNORECASE),
        _fixed(
            "Windows was generalised as often as it allows (0xC004D307, the rearm count)",
            "start from an image that was generalised less often, best the original one; slmgr /dlv says how often it "
            "still may be",
        ),
    ),
    (
        re.compile(r"\b(?:pending (?:updates?|reboots?|restarts?|operations?)|(?:updates?|reboot|restart) (?:is|are) "
                   r"(?:required|pending))\b", re.IGNORECASE),
        _fixed(
            "updates or installations wait for a restart",
            "put a WindowsRestart step last, after WindowsUpdate and after whatever installs",
        ),
    ),
    (
        re.compile(r"Not running DLLs; either the machine is in an invalid state", re.IGNORECASE),
        _fixed(
            "an earlier Sysprep failed on this machine, and Windows refuses another one (dwRet = 31)",
            "take Sysprep out of the customizers, and start from an image on which it has never failed",
        ),
    ),
    (
        re.compile(r"Failure occurred while executing '(?P<function>\w{1,100})' from (?P<file>[^;]{1,200}); dwRet = "
                   r"(?P<code>0x[0-9a-fA-F]+)"),
        _module,
    ),
)  # fmt: skip
