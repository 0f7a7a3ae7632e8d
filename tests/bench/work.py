"""The same work for Packer's qemu builder and for aibemu: three shell steps, one file, and what they must leave.

Packer knows nothing of AIB's `scriptUri` (root), so all steps are inline: the build user, from his home directory, with
sudo where root is needed. Nothing here may print or keep what differs by design (host name, PACKER_* values, times).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "packer"
UPLOAD = "/tmp/parity.bin"
# Every byte value, so that nothing on the way may take it for text.
UPLOAD_CONTENT = bytes(range(256)) * 64 + b"\r\n\x00no newline at the end"
# What the steps make; the manifest describes all of it.
PLACES = ("/opt/parity", "/home/packer/parity", UPLOAD)
BEGIN, END = "=== manifest ===", "=== end of manifest ==="
FAILING_STATUS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One Shell step: its inline lines. upload: this step is the file, the lines do not count."""

    name: str
    lines: tuple[str, ...] = ()
    upload: bool = False


# How a step sees its world: where it is, who it is, its umask, its script, its standard input, what -e does.
# XDG_* depends on whether logind is up yet when the connection is made: Packer does not wait for that.
SURROUNDINGS = Step(
    name="Surroundings",
    lines=(
        "mkdir -p parity/deep",
        'printf "%s\\n" "$HOME" "$(pwd)" "$(id)" "$(umask)" "$LANG" "$SHELL" "$PATH" > parity/who',
        "printf '%s\\n' \"$0\" | sed 's/[0-9][0-9]*/N/' > parity/script-name",
        "stat -c '%a %U %G' \"$0\" > parity/script-mode",
        "head -n 1 \"$0\" > parity/script-shebang; ls /tmp | grep -c '^script_' > parity/scripts-in-tmp",
        "tty > parity/tty 2>&1 || true",
        "cat | wc -c > parity/standard-input",
        "env | cut -d= -f1 | grep -v -e '^PACKER_HTTP' -e '^XDG_' -e '^_$' | sort > parity/environment",
        '(exit 3) || echo "survived $?" > parity/survived',
        "ln -s ../who parity/deep/link; : > parity/deep/empty; chmod 0640 parity/deep/empty; mkfifo parity/deep/fifo",
    ),
)
# Quoting, here-documents over several entries, variables that live from entry to entry, other owners and modes.
CONTENTS = Step(
    name="Contents",
    lines=(
        "sudo install -d -m 2750 -o root -g adm /opt/parity",
        "word='one process'; cd /opt",
        'echo "$word, in $(pwd)" | sudo tee /opt/parity/shared-state > /dev/null',
        "cat > /tmp/parity.text <<'TEXT'",
        "single 'quotes', \"double\", $dollar, `backtick`, \\backslash, tab\there, \u65e5\u672c",
        "  TEXT is not the end when it is indented",
        "TEXT",
        "sudo install -m 4711 -o nobody -g nogroup /tmp/parity.text /opt/parity/text",
        "sudo sh -c 'umask 077; head -c 100000 /dev/zero | tr \"\\0\" x > /opt/parity/large'",
        "sudo sh -c 'echo $SUDO_USER $(id -un) > /opt/parity/sudo'",
        "sudo chmod 0000 /opt/parity/large; rm /tmp/parity.text",
    ),
)
FILE = Step(name="Upload", upload=True)
USE_OF_FILE = Step(
    name="UseOfFile",
    lines=(
        f"sudo cp {UPLOAD} /opt/parity/copy; sha256sum < {UPLOAD} | sudo tee /opt/parity/copy.sum > /dev/null",
        "sudo setfattr --version > /dev/null 2>&1 || true",
        "echo 'to standard error' >&2; printf 'no newline at the end'",
    ),
)
MANIFEST = Step(
    name="Manifest",
    lines=(
        f"echo '{BEGIN}'",
        f"sudo find {' '.join(PLACES)} -printf '%p|%y|%m|%u:%g|%l\\n' | LC_ALL=C sort",
        f"sudo find {' '.join(PLACES)} -type f -exec sha256sum {{}} + | LC_ALL=C sort -k 2",
        "sudo tail -n +1 parity/who parity/script-* parity/tty parity/standard-input parity/environment",
        "echo",
        f"echo '{END}'",
    ),
)
FAILING = Step(
    name="Failing", lines=("echo 'before the failure'", f"(exit {FAILING_STATUS})", "echo 'after the failure'")
)

STEPS: tuple[Step, ...] = (SURROUNDINGS, CONTENTS, FILE, USE_OF_FILE, MANIFEST)
# AIB's own last step (facts: service 5), for Packer's shutdown_command.
DEPROVISION = "waagent -force -deprovision+user && export HISTSIZE=0 && sync"


def write_upload(folder: Path) -> Path:
    """The file to upload, mode 0644."""
    source = folder / "parity.bin"
    source.write_bytes(UPLOAD_CONTENT)
    source.chmod(0o644)
    return source


def manifest(lines: Iterable[str]) -> list[str]:
    """The lines between the markers; empty if they never came."""
    found: list[str] = []
    inside = False
    for line in lines:
        if line == BEGIN:
            inside = True
        elif line == END:
            return found
        elif inside:
            found.append(line)
    return []


def template(
    steps: Sequence[Step], upload: Path, name: str = "parity", vm_size: str = "Standard_D2s_v3"
) -> dict[str, Any]:
    """The AIB template `name` that does `steps`, to a managed image; source: the offline base image."""
    customize = [
        {"type": "File", "name": step.name, "sourceUri": str(upload), "destination": UPLOAD}
        if step.upload
        else {"type": "Shell", "name": step.name, "inline": list(step.lines)}
        for step in steps
    ]
    group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/parity/providers"
    identity = f"{group}/Microsoft.ManagedIdentity/userAssignedIdentities/builder"
    return {
        "type": "Microsoft.VirtualMachineImages/imageTemplates",
        "apiVersion": "2024-02-01",
        "name": name,
        "location": "westeurope",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}},
        "properties": {
            "vmProfile": {"vmSize": vm_size},
            "source": {
                "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest",
            },
            "customize": customize,
            "distribute": [
                {
                    "type": "ManagedImage", "runOutputName": name, "location": "westeurope",
                    "imageId": f"{group}/Microsoft.Compute/images/{name}",
                }
            ],
        },
    }  # fmt: skip


def write_template(folder: Path, steps: Sequence[Step], upload: Path, name: str = "parity", **more: str) -> Path:
    """`template` as a file in `folder`; more: its `vm_size`."""
    target = folder / f"{name}.json"
    target.write_text(json.dumps(template(steps, upload, name, **more), indent=1))
    return target


def step_lines(run: Path) -> list[str]:
    """Everything the steps of a run printed on standard output, from the record of the run."""
    lines = []
    for text in (run / "events.ndjson").read_text().splitlines():
        event = json.loads(text)
        if event["kind"] == "step.output" and event["stream"] == "stdout":
            lines.append(re.sub(r"\r$", "", event["line"]))
    return lines
