"""A published Windows template in a machine that stands in for Windows (tests/stand_in_vm.py): its build machine
and, from what the build left, the machine of its validation. A second build starts from the disk of its restart.

The fixture builds, the tests look at what came of it. What this proves of Windows and what not: docs/tests.md.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.disks.hives import open_windows
from aibemu.disks.partitions import partitions
from aibemu.images.store import ImageStore
from aibemu.images.windows import GENERALIZED
from aibemu.images.windows_boot import prepare
from aibemu.paths import Home
from aibemu.systems.windows.login import KEY, PASSWORD
from aibemu_drivers.qemu.machine import CONSOLE
from tests.e2e.lab import VM_SIZE, Build, aibemu, answer, is_open, left_over
from tests.public_data import TEMPLATES
from tests.stand_in_vm import inline, stand_in_disk
from tests.windows_disks import Registry, hive_text, need_tools

pytestmark = pytest.mark.vm

QUICK_START = (
    "Azure__azvmimagebuilder__quickquickstarts_0_Creating_a_Custom_Windows_Managed_Image_helloImageTemplateWin.json"
)
# Ordinary users often have no sbin on their PATH.
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
SERVED = "https://raw.githubusercontent.com/danielsollondon/azvmimagebuilder/master/"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
FILLED = {
    "region": "westeurope", "subscriptionID": SUBSCRIPTION, "rgName": "aibemu", "imageName": "hello",
    "runOutputName": "hello", "imgBuilderId": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/aibemu/providers/"
    "Microsoft.ManagedIdentity/userAssignedIdentities/builder",
}  # fmt: skip
ALIAS = "MicrosoftWindowsServer:WindowsServer:2022-datacenter-azure-edition:20348.1.260101"
SCRIPT = "New-Item -ItemType Directory C:\\buildArtifacts | Out-Null"
# More than is sent by WinRM: the guest fetches it.
PAGE = "<h1>Made for a test</h1>\n" * 20_000
WAS_HERE = "Azure-Image-Builder-Was-Here"
LOOK = "Get-Content c:\\buildActions\\buildActionsOutput.txt"
# The step after the restart, edited. It fails, so that nothing is generalised for it.
RESTARTED = "type c:\\buildArtifacts\\azureImageBuilderRestart.txt"
EDITED = ("hostname", RESTARTED, "dir c:\\buildArtifacts", "exit 3")
# What the stand-in does for the PowerShell of the template: cmd runs these lines.
ANSWERS = (
    {"text": inline(SCRIPT), "does": "cmd", "lines": ["md C:\\buildArtifacts"]},
    {
        "text": inline("mkdir c:\\buildActions", f"echo {WAS_HERE}  > c:\\buildActions\\buildActionsOutput.txt"),
        "does": "cmd",
        "lines": ["mkdir c:\\buildActions", f"echo {WAS_HERE}  > c:\\buildActions\\buildActionsOutput.txt"],
    },
    {"text": inline(LOOK), "does": "cmd", "lines": ["type c:\\buildActions\\buildActionsOutput.txt"]},
    {"text": inline(*EDITED), "does": "cmd", "lines": ["hostname", RESTARTED, "dir /b c:\\buildArtifacts & exit 3"]},
)


# As an image of Azure has it, and answer files that nobody has used: with either it does not come up elsewhere.
OFF = ("pci", "storahci")
NAMED = "D:\\\\deploy.xml"
STALE = "Windows\\Panther\\Unattend\\Unattend.xml"
WAITING = (
    b'<unattend xmlns="urn:schemas-microsoft-com:unattend"><settings pass="oobeSystem"><component>'
    b"<Password>left-by-somebody</Password></component></settings></unattend>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of the build. secrets: its own and nobody else's; console: a file that outlives it."""

    secrets: Mapping[str, bytes]
    console: Path

    def said(self) -> list[str]:
        """What the stand-in told on its console."""
        lines = self.console.read_text(errors="replace").splitlines()
        return [line.partition("stand-in: ")[2].strip() for line in lines if "stand-in: " in line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """out: the `--out` folder. machines: by role."""

    home: Path
    build: Build
    out: Path
    machines: Mapping[str, Machine]

    @property
    def vhd(self) -> Path:
        (found,) = self.out.rglob("*.vhd")
        return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, base_home: Home, probed: Path) -> Iterator[Built]:
    need_tools()
    folder = tmp_path_factory.mktemp("windows")
    home = folder / "home"
    shutil.copytree(probed, home / "cache" / "qemu")
    registry = Registry(
        product="Windows Server 2022 Datacenter", edition="ServerDatacenter", overrides=dict.fromkeys(OFF, 3),
        more={"SYSTEM": f'[HKEY_LOCAL_MACHINE\\SYSTEM\\Setup]\n"UnattendFile"="{NAMED}"\n\n'},
    )  # fmt: skip
    disk = stand_in_disk(base_home, ANSWERS, registry, {STALE.replace("\\", "/"): WAITING})
    words = ("images", "import", disk, "--os-type", "Windows", "--generation", "V1", "--alias", ALIAS)
    imported = aibemu(home, *words)
    assert imported.returncode == 0, imported.stdout + imported.stderr
    build = Build(home, [*lay_out(folder), "--cache", "--slow", "--out", folder / "out"], folder / "build")
    try:
        machines = {}
        build.wait_for("machine.started")
        for role in ("build", "validate"):
            build.wait_for("machine.ready", machine=f"{build.run}-{role}")
            machines[role] = look_at(build, role, folder)
        assert build.wait() == 0, build.stdout + build.stderr
        yield Built(home=home, build=build, out=folder / "out", machines=machines)
    finally:
        build.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The second build, of the same home."""

    build: Build
    machine: Machine


@pytest.fixture(scope="module")
def again(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Again]:
    """Of a template whose steps up to the restart are the same."""
    folder = tmp_path_factory.mktemp("again")
    words = lay_out(folder)
    template = folder / "hello.json"
    document = json.loads(template.read_text(encoding="utf-8"))
    properties = document["properties"]
    properties["customize"][2:] = [{"type": "PowerShell", "name": "Edited", "inline": list(EDITED)}]
    del properties["validate"]
    template.write_text(json.dumps(document), encoding="utf-8")
    build = Build(built.home, [*words, "--cache", "--slow", "--on-error", "cleanup"], folder / "build")
    try:
        build.wait_for("machine.restored")
        machine = look_at(build, "build", folder)
        assert build.wait() == 1, build.stdout + build.stderr
        yield Again(build=build, machine=machine)
    finally:
        build.close()


def look_at(build: Build, role: str, folder: Path) -> Machine:
    """What is gone with the machine."""
    console = folder / f"{role}.console"
    console.hardlink_to(build.directory / "machines" / role / CONSOLE)
    work = build.directory / "work" / role
    pem = (work / KEY).read_text(encoding="ascii")
    password = (work / PASSWORD).read_text(encoding="ascii")
    return Machine(console=console, secrets=traces(pem, password))


def traces(pem: str, password: str) -> dict[str, bytes]:
    """What a disk would hold of a key and a password, in the forms that systems write."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, RSAPrivateKey)
    prime = key.private_numbers().p
    size = (prime.bit_length() + 7) // 8
    return {
        "the key's text": pem.splitlines()[5].encode(),
        "the key, as ASN.1 and CNG have it": prime.to_bytes(size, "big"),
        "the key, as CryptoAPI has it": prime.to_bytes(size, "little"),
        "the password": password.encode(),
        "the password in UTF-16": password.encode("utf-16-le"),
        "the password, hidden as in answer files": base64.b64encode(password.encode("utf-16-le"))[:32],
    }


def lay_out(folder: Path) -> list[str | Path]:
    """The template, with a VHD and a validation, on the size of machine of these tests; the words for it."""
    document = json.loads((TEMPLATES / QUICK_START).read_text(encoding="utf-8"))
    properties = document["properties"]
    properties["vmProfile"] = {"vmSize": VM_SIZE}
    properties["distribute"].append({"type": "VHD", "runOutputName": "disk"})
    properties["validate"] = {"inVMValidations": [{"type": "PowerShell", "name": "Look", "inline": [LOOK]}]}
    template = folder / "hello.json"
    template.write_text(json.dumps(document), encoding="utf-8")
    served = {"testPsScript.ps1": SCRIPT, "quickquickstarts/exampleArtifacts/buildArtifacts/index.html": PAGE}
    for name, text in served.items():
        file = folder / "served" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    filled = [word for name, value in FILLED.items() for word in ("--set", f"{name}={value}")]
    return [template, *filled, "--map", f"{SERVED}={folder / 'served'}"]


def test_all_five_phases_end_well(built: Built) -> None:
    status = answer(built.home, "status", built.build.run)
    assert status["lastRunStatus"]["runState"] == "Succeeded"
    assert [(phase["name"], phase["status"]) for phase in status["phases"]] == [
        (name, "ok") for name in ("provision", "customize", "generalize", "validate", "distribute")
    ]
    assert sorted(event["run_output_name"] for event in built.build.events("output.finished")) == ["disk", "hello"]


def test_nothing_of_it_is_left(built: Built) -> None:
    assert left_over(built.build.directory, built.out) == []
    assert [port for port in built.build.ports() if is_open(port)] == []


def test_both_machines_came_up_from_stick_and_disc(built: Built) -> None:
    """As Windows does: the answer file of the removable disk counts, and the one on the disc is the same."""
    for role, machine in built.machines.items():
        said = machine.said()
        assert said.count("the image is generalised: first boot") == 1, (role, said)
        assert "media with an answer file: stick, cd" in said, (role, said)
        assert any(line.startswith("reported ready: 200") for line in said), (role, said)
        assert not [line for line in said if line.startswith("STANDS STILL")]


def test_the_platform_heard_that_they_are_ready(built: Built) -> None:
    reported = {(event["machine"], event["state"]) for event in built.build.events("machine.reported")}
    assert reported == {(f"{built.build.run}-{role}", "Ready") for role in built.machines}


def test_the_disk_was_prepared_before_the_first_boot(built: Built) -> None:
    """The stand-in's loader and Setup stand still where Windows' do. Sealing finds nothing more to switch on: it was so
    in the machine's own disk. The image is as it was."""
    prepared = {event["role"]: event["changes"] for event in built.build.events("disk.prepared")}
    assert [" ".join(one.split()[:2]) for one in prepared["build"]] == [
        *(f"SYSTEM\\ControlSet001\\Services\\{name}\\StartOverride: deleted" for name in OFF),
        "HKLM\\SYSTEM\\Setup, UnattendFile:", f"{STALE}: its",
    ]  # fmt: skip
    assert prepared["validate"] == []
    assert [event["changes"] for event in built.build.events("disk.sealed")] == [[]]
    store = ImageStore(Home.at(built.home).images, SystemClock())
    image = store.find(store.aliases()[ALIAS])
    assert image is not None
    with open_windows(image.path, "qcow2", forever()) as windows:
        assert prepare(windows, change=False).drivers == OFF and windows.read(STALE) == WAITING


def test_every_text_for_powershell_was_known(built: Built) -> None:
    for machine in built.machines.values():
        assert [line for line in machine.said() if "nothing is written down" in line] == []


def test_the_restart_was_one(built: Built) -> None:
    said = built.machines["build"].said()
    assert len([line for line in said if line.startswith("the first process")]) == 2, said
    assert said.count("power: restart") == 1 and said.count("power: off") == 1, said
    log = answer_log(built)
    assert "Machine successfully restarted, moving on" in log
    assert built.machines["validate"].said().count("power: restart") == 0


def test_the_next_build_boots_the_disk_as_it_was_at_the_restart(built: Built, again: Again) -> None:
    """No first boot, no stick; what came before it was done once, and what comes after it is done."""
    (restored,) = again.build.events("machine.restored")
    assert restored["memory"] is False and restored["run"] == built.build.run
    said = again.machine.said()
    assert len([line for line in said if line.startswith("the first process")]) == 1, said
    assert "the image is generalised: first boot" not in said and "power: restart" not in said
    cached = [event["label"] for event in again.build.events("step.cached")]
    started = [event["label"] for event in again.build.events("step.started")]
    assert len(cached) == 2 and started == ["Edited"], (cached, started)
    printed = [event["line"].strip() for event in again.build.events("step.output") if event["line"].strip()]
    # Nothing that later steps of the first build had made: only what the check of the restart wrote, once more.
    assert printed[0].lower() == restored["hostname"].lower()
    assert printed[1:] == ["Azure-Image-Builder-Restarted-the-VM", "azureImageBuilderRestart.txt"]
    # Whoever was let in by the first build is let in again.
    assert again.machine.secrets == built.machines["build"].secrets


def test_nothing_of_the_next_build_is_left_but_the_layer(built: Built, again: Again) -> None:
    assert left_over(again.build.directory, built.out) == []
    (layer,) = answer(built.home, "cache", "list")["layers"]
    assert layer["memory"] is False and layer["run"] == built.build.run and not layer["inUse"]


def test_a_large_file_was_fetched_from_the_platform(built: Built) -> None:
    assert any(line.startswith("fetched ") and "index.html" in line for line in built.machines["build"].said())


def test_the_log_is_the_service_s(built: Built) -> None:
    log = answer_log(built)
    wanted = [
        "Waiting for machine to restart...", "No Windows updates found", "Sysprepping VM",
        "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE", "Powering off machine ...",
    ]  # fmt: skip
    assert [text for text in wanted if text not in log] == []


def answer_log(built: Built) -> str:
    return (built.build.directory / "customization.log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def volume(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The NTFS volume of the VHD, cut out of it."""
    found = [one for one in partitions(built.vhd).candidates if reads(built.vhd, one.start + 3, 8) == b"NTFS    "]
    (place,) = found
    file = tmp_path_factory.mktemp("volume") / "c.img"
    with built.vhd.open("rb") as source, file.open("wb") as target:
        source.seek(place.start)
        for at in range(0, place.size, 1 << 20):
            if (block := source.read(min(1 << 20, place.size - at))).strip(b"\0"):
                target.seek(at)
                target.write(block)
        target.truncate(place.size)
    return file


def reads(file: Path, at: int, size: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(at)
        return stream.read(size)


def on_volume(volume: Path, name: str) -> bytes:
    """A file of C:, read by ntfs-3g's own program; empty when it is not there."""
    done = subprocess.run(
        ["ntfscat", "-f", str(volume), name], capture_output=True, check=False, env=os.environ | {"PATH": SBIN}
    )  # fmt: skip
    return done.stdout


def test_the_vhd_holds_what_the_steps_made(volume: Path) -> None:
    """An independent reader of NTFS finds it."""
    assert on_volume(volume, "buildActions/buildActionsOutput.txt").strip() == WAS_HERE.encode()
    assert on_volume(volume, "buildArtifacts/index.html") == PAGE.encode()
    restarted = b"Azure-Image-Builder-Restarted-the-VM"
    assert on_volume(volume, "buildArtifacts/azureImageBuilderRestart.txt").strip() == restarted
    assert b"Sysprep.exe" in on_volume(volume, "DeprovisioningScript.ps1")


def test_the_vhd_is_generalised(volume: Path, tmp_path: Path) -> None:
    """By its hive, which libhivex reads."""
    assert on_volume(volume, "Windows/Panther/unattend.xml") == b""
    hive = tmp_path / "SOFTWARE"
    hive.write_bytes(on_volume(volume, "Windows/System32/config/SOFTWARE"))
    state = hive_text(hive, "\\Microsoft\\Windows\\CurrentVersion\\Setup\\State")
    assert GENERALIZED in reg_value(state, "ImageState")


def test_the_vhd_boots_here_and_in_azure(volume: Path, tmp_path: Path) -> None:
    hive = tmp_path / "SYSTEM"
    hive.write_bytes(on_volume(volume, "Windows/System32/config/SYSTEM"))
    said = hive_text(hive)
    assert "StartOverride" not in said and "UnattendFile" not in said and "storahci" in said
    assert b"left-by-somebody" not in on_volume(volume, STALE.replace("\\", "/"))


def reg_value(text: str, name: str) -> str:
    """A text of a .reg file, which has it as UTF-16 in hexadecimal."""
    (line,) = [line for line in text.splitlines() if line.startswith(f'"{name}"=')]
    value = line.partition("=")[2]
    if not value.startswith("hex(1):"):
        return value
    return bytes(int(one, 16) for one in value.removeprefix("hex(1):").split(",")).decode("utf-16-le")


def test_nothing_of_the_build_s_secrets_is_in_the_vhd(built: Built) -> None:
    """Not in free space either: the machine's disk gives up what the guest deletes."""
    secrets = {f"{role}: {name}": s for role, one in built.machines.items() for name, s in one.secrets.items()}
    assert found_in(built.vhd, secrets | {"what is there": WAS_HERE.encode()}) == ["what is there"]


def found_in(file: Path, wanted: Mapping[str, bytes]) -> list[str]:
    """Which of these bytes are anywhere in the file."""
    found, rest, longest = set(), b"", max(map(len, wanted.values()))
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            if block.count(0) != len(block):
                text = rest + block
                found |= {name for name, secret in wanted.items() if secret in text}
            rest = block[-longest:]
    return sorted(found)
