"""The disk of the virtual machine that stands in for Windows: Debian's packages by our own recipe, then the programs of
fixtures/guests and an NTFS volume as `C:`, which the machine makes itself, in a boot that it ends.

The disk is kept beside the base image, as long as nothing changes of what is in it.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aibemu.clock import SystemClock, forever
from aibemu.communicators.winrm import powershell
from aibemu.customizers.windows import names, script
from aibemu.customizers.windows.texts import packaged
from aibemu.images.build import build
from aibemu.images.recipes import load
from aibemu.images.store import ImageStore
from aibemu.images.windows import GENERALIZED
from aibemu.paths import Home
from aibemu.systems.windows import commands, deprovision
from aibemu.systems.windows.media import script_text
from fixtures.guests.guest import words
from tests.kept_disk import kept_disk
from tests.windows_disks import DRIVERS, Registry, hives

ROOT = Path(__file__).parents[1]
GUESTS = ROOT / "fixtures" / "guests"
RECIPE = GUESTS / "vm" / "recipe.yaml"
# Of the volume C:, bytes.
VOLUME = 768 << 20
# Seconds. Without hardware acceleration the boot takes less than 40 of them.
_INSTALLS = 600.0
Rule = Mapping[str, Any]
# A path or an address in PowerShell's single quotes; the group's name comes between.
_QUOTED = r"'(?P<%s>(?:[^']|'')*)'"
_ID = "[0-9a-f-]{36}"


def stand_in_disk(
    home: Home, answers: Sequence[Rule], registry: Registry, files: Mapping[str, bytes] | None = None
) -> Path:
    """A qcow2 with the guest, generalised; made if there is none of today's code (about 25 s, and a minute more if the
    packages are not there). answers: what its PowerShell knows besides aibemu's own texts. registry: what the hives on
    C: say. files: on C: besides, with slashes; drivers have files anyway."""
    image = build(load(str(RECIPE)), ImageStore(home.images, SystemClock()), forever(), lambda _: None)
    rules = [*answers, *own_texts()]
    # libhivex puts the time into what it writes: what goes in counts.
    more = {f"Windows/System32/drivers/{name.lower()}.sys": b"MZ" for name in DRIVERS} | dict(files or {})
    content = [image.digest, *map(registry.text, ("SYSTEM", "SOFTWARE")), _payload(rules, more).hex()]

    def make(scratch: Path) -> Path:
        registries = {f"Windows/System32/config/{name}": content for name, content in hives(registry).items()}
        return _install(image.path, _payload(rules, more | registries), scratch)

    return kept_disk(home.images.parent / "stand-in", json.dumps(content), make)


def _install(packages: Path, payload: bytes, work: Path) -> Path:
    """The packages' disk with a second partition, once booted beside the payload."""
    raw, archive, console, made = work / "disk.raw", work / "payload.tar", work / "console.log", work / "disk.qcow2"
    archive.write_bytes(payload)
    _run("qemu-img", "convert", "-O", "raw", packages, raw)
    with raw.open("r+b") as stream:
        stream.truncate(raw.stat().st_size + VOLUME)
    _run("sfdisk", "--quiet", "--no-reread", "--relocate", "gpt-bak-std", raw)
    _run("sfdisk", "--quiet", "--no-reread", "--append", raw, stdin=b"type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n")
    drives = [
        word
        for number, file in enumerate((raw, archive))
        for word in (
            "-drive", f"if=none,id=disk{number},file={file},format=raw,cache=unsafe,discard=unmap",
            "-device", f"ide-hd,drive=disk{number},bus=ide.{number}",
        )
    ]  # fmt: skip
    _run(
        "qemu-system-x86_64", "-machine", "q35,graphics=off", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max",
        "-smp", "1", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{console}",
        *drives, bound=_INSTALLS,
    )  # fmt: skip
    said = console.read_text(errors="replace")
    assert "stand-in: installed" in said, said[-4000:]
    _run("qemu-img", "convert", "-O", "qcow2", raw, made)
    return made


def _run(*command: str | Path, stdin: bytes = b"", bound: float = 120.0) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, timeout=bound, check=False,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]}: {done.stdout.decode()}{done.stderr.decode()}"


def _payload(rules: Sequence[Rule], files: Mapping[str, bytes]) -> bytes:
    """A tar that is unpacked into the machine's root: the same bytes for the same content."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, mode in _members(rules, files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def _members(rules: Sequence[Rule], files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes, int]]:
    for name in ("boot.sh", "dhcp.sh"):
        yield f"guest/{name}", (GUESTS / "vm" / name).read_bytes(), 0o755
    for path in sorted(GUESTS.rglob("*.py")):
        yield f"guest/code/{path.relative_to(ROOT)}", path.read_bytes(), 0o644
    yield "guest/known.json", json.dumps(list(rules), indent=1).encode(), 0o600
    for name, content in sorted(files.items()):
        yield f"guest/files/{name}", content, 0o644


def own_texts() -> list[Rule]:
    """What aibemu itself asks PowerShell, and what stands for each."""
    codes = {"unusable": powershell.UNUSABLE, "absent": powershell.ABSENT, "unreachable": powershell.UNREACHABLE}
    return [
        {"text": _template(powershell.STORE, "PATH"), "does": "store", **codes},
        {"text": _template(powershell.FETCH, "PATH", "ADDRESS"), "does": "fetch", **codes},
        {"text": _template(powershell.READ, "PATH"), "does": "read", **codes},
        {"text": re.escape(_after_command(commands.BOOT_ID)), "does": "boot-time"},
        {"text": r"'\{0\} restarted\.' -f \[System\.Net\.Dns\]::GetHostName\(\)", "does": "restarted"},
        {"text": _whole("setup.ps1"), "does": "setup"},
        {"text": _whole("leave.ps1"), "does": "leave"},
        {"text": _packers_line(), "does": "script"},
        {"text": _task(), "does": "task"},
        {"text": re.escape(_first_line("updates")) + ".*", "does": "print",
         "lines": ["Searching for Windows updates...", "No Windows updates found"]},
        {"text": _last_step(), "does": "sysprep", "file": deprovision.DEPROVISION_PATH, "line": deprovision.SYSPREP,
         "state": GENERALIZED, "seconds": 60},
    ]  # fmt: skip


def inline(*lines: str) -> str:
    """The expression for the file that inline lines of a template become."""
    return re.escape("\n".join(lines))


def _template(text: str, *places: str) -> str:
    """The expression for one of our texts with its places filled in."""
    filled = powershell.dense(powershell.filled(text, **{name: f"@@{name}@@" for name in places}))
    expression = re.escape(filled)
    for name in places:
        first, *more = expression.split(re.escape(f"'@@{name}@@'"))
        known = "'(?:(?:[^']|'')*)'"
        expression = first + _QUOTED % name.lower() + known.join(more)
    return expression


def _after_command(line: str) -> str:
    given = words(line)
    return " ".join(given[[word.lower() for word in given].index("-command") + 1 :])


def _packers_line() -> str:
    """The expression for what runs a step's script."""
    some = names.Names(script="@@SCRIPT@@", environment="@@ENVIRONMENT@@", elevated="", task="")
    line = script.inner_command(script.Script(names=some, content=b""))
    text = re.escape(words(line)[-1])
    return text.replace("@@SCRIPT@@", r"(?P<script>[^']+)").replace("@@ENVIRONMENT@@", r"(?P<environment>\S+\.ps1)")


def _whole(name: str) -> str:
    """The expression for a script of the system's, as it is."""
    return re.escape(script_text(name).strip())


def _task() -> str:
    """The expression for what runs a script elevated; its own file comes last in it, where it removes that itself."""
    return (
        re.escape(_first_line("elevated"))
        + r".*(?:-File |&amp;')(?P<script>c:/Windows/Temp/[\w-]+\.ps1)(?:.*, '(?P<self>[^']+)' -Force)?.*"
    )


def _first_line(name: str) -> str:
    return packaged("aibemu.customizers.windows", f"texts/{name}.ps1").splitlines()[0]


def _last_step() -> str:
    """The expression for the script of the hidden last step."""
    return re.escape(deprovision.SHOWN) + ".*"
