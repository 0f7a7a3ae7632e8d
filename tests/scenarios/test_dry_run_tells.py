"""What a dry run tells: each command, file and decision, in the same views as a build, and that nothing was done."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from aibemu.paths import Home
from aibemu.testing.plugins import write_distribution
from tests.scenarios.case import CASES
from tests.scenarios.layered import Workshop
from tests.scenarios.observing import Seen

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/aibemu/providers"
SECRET = "hunter2-never-shown"
WINDOWS: dict[str, Any] = {
    "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": "win",
    "location": "westeurope",
    "identity": {
        "type": "UserAssigned", "userAssignedIdentities": {
            f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/builder": {}
        },
    },
    "properties": {
        "vmProfile": {"vmSize": "Standard_D2s_v3", "osDiskSizeGB": 127},
        "source": {
            "type": "PlatformImage", "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer",
            "sku": "2022-datacenter-g2", "version": "latest",
        },
        "customize": [
            {
                "type": "PowerShell", "name": "Elevated", "runElevated": True, "runAsSystem": True,
                "validExitCodes": [0, 3010], "inline": ["New-Item C:/build -ItemType Directory", "exit 3010"],
            },
            {"type": "PowerShell", "name": "Script", "scriptUri": "setup.ps1"},
            {"type": "File", "name": "Conf", "sourceUri": "app.conf", "destination": "C:/build/"},
            {
                "type": "WindowsRestart", "name": "Boot", "restartCheckCommand": "cmd /c ver", "restartTimeout": "10m"
            },
            {
                "type": "WindowsUpdate", "name": "Patches", "searchCriteria": "IsInstalled=0", "updateLimit": 20,
                "filters": ["exclude:$_.Title -like '*Preview*'", "include:$true"],
            },
            {"type": "PowerShell", "name": "Own", "inline": ["Add-Content C:/DeprovisioningScript.ps1 'exit 0'"]},
        ],
        "validate": {"inVMValidations": [{"type": "PowerShell", "name": "There", "inline": ["Test-Path C:/build"]}]},
        "distribute": [{"type": "VHD", "runOutputName": "vhd"}],
    },
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Workshop:
    """A home without any image."""
    made = Workshop(work=tmp_path / "work", home=Home.at(tmp_path / "home"), patch=monkeypatch, capture=capsys)
    shutil.copytree(CASES / "success-all-targets", made.work)
    return made


def dry(shop: Workshop, *words: str) -> Seen:
    command = ["run", "template.json", "--driver", "dryrun", *words]
    return shop.call(command=command, recorded=True, exit=0)


def edited(shop: Workshop, **properties: Any) -> None:
    path = shop.work / "template.json"
    document = json.loads(path.read_text())
    document["resources"][0]["properties"] |= properties
    path.write_text(json.dumps(document))


def would(seen: Seen) -> list[str]:
    """What it told, without the names that are by chance."""
    lines = [line.strip() for line in seen.err.splitlines() if line.startswith("   would ")]
    return [re.sub(r"script_\d+\.sh|script-[0-9a-f-]{36}|shell-[0-9a-f-]{36}", "SCRIPT", line) for line in lines]


def test_a_linux_template_is_told_command_by_command(shop: Workshop) -> None:
    edited(shop, validate={"inVMValidations": [{"type": "Shell", "name": "Serves", "inline": ["curl localhost"]}]})
    seen = dry(shop, "--out", "out", "--also", "qcow2", "--verify-boot")
    packer = "chmod +x /tmp/SCRIPT; PACKER_BUILDER_TYPE='azure-arm' PACKER_BUILD_NAME='azure-arm'  /tmp/SCRIPT"
    digest = hashlib.sha256((shop.work / "index.html").read_bytes()).hexdigest()
    size = (shop.work / "index.html").stat().st_size
    images = f"{GROUP}/Microsoft.Compute"
    copied = f"would copy what is here of it to {shop.work}/out"
    also = "would write a qcow2 into the folder of the run, too"
    assert would(seen) == [
        "would start from Debian:debian-12:12:latest (which is not here)",
        next(line for line in would(seen) if "a machine for vmSize" in line),
        "would boot it; layers were not looked for, as it depends on the driver which fit: --driver-option like=qemu",
        "would put 2 inline commands as one script of `#!/bin/sh -e` at /tmp/SCRIPT (mode 0755)",
        f"would run as the build user: {packer}",
        "would run in it: sudo apt-get update",
        "would run in it: sudo apt-get install -y nginx",
        "would take any exit code but 0 for a failure",
        f"would use index.html: {size} bytes, sha256 {digest}",
        "would put index.html at /tmp/index.html (mode 0644), as the build user; its folder must be there",
        "would put 1 inline command as one script of `#!/bin/sh -e` at /tmp/SCRIPT (mode 0755)",
        f"would run as the build user: {packer}",
        "would run in it: sudo mv /tmp/index.html /var/www/html/index.html",
        "would take any exit code but 0 for a failure",
        "would print /tmp/DeprovisioningScript.sh into the log",
        "would run as root: sh /tmp/DeprovisioningScript.sh",
        "would switch the machine off, and look at its disk for what is not generalised",
        "would boot the image once more, as another machine",
        "would boot the disk as another machine, with another host name and user, for these",
        "would put 1 inline command as one script of `#!/bin/sh -e` at /tmp/SCRIPT (mode 0755)",
        f"would run as the build user: {packer}",
        "would run in it: curl localhost",
        "would take any exit code but 0 for a failure",
        "would write a fixed VHD into the folder of the run: outputs/web-vhd/web-vhd.vhd",
        also, copied,
        "would write its run output web-vhd into the local cloud",
        f"would put a managed image into the local cloud, in westeurope: {images}/images/web",
        also, copied,
        "would write its run output web-image into the local cloud",
        f"would make the image definition {images}/galleries/workshop/images/web on demand",
        "would put version 1.0.0 (the number of scheme Latest, as things are now) into the local cloud: "
        f"{images}/galleries/workshop/images/web/versions/1.0.0",
        "would note replicas: westeurope (1, Standard_LRS), northeurope (2, Standard_ZRS)",
        also, copied,
        "would write its run output web-gallery into the local cloud",
    ]  # fmt: skip
    step = next(event for event in seen.events if event["kind"] == "step.not_run" and event["step"] == "c2")
    assert step["files"] == [{"uri": "index.html", "sha256": digest, "size": size}]
    assert (step["destination"], step["command"]) == ("/tmp/index.html", "")


def test_a_windows_template_is_told_command_by_command(shop: Workshop) -> None:
    (shop.work / "setup.ps1").write_text("Write-Output hi\n")
    (shop.work / "app.conf").write_text("data\n")
    (shop.work / "template.json").write_text(json.dumps(WINDOWS))
    told = would(dry(shop))
    elevated = 'powershell -executionpolicy bypass -file "C:/Windows/Temp/packer-elevated-SCRIPT.ps1"'
    for line in (
        f"would run as Local System, by a scheduled task: {elevated}",
        "would run in it: New-Item C:/build -ItemType Directory",
        "would take any exit code but 0, 3010 for a failure",
        "would put setup.ps1 at c:/Windows/Temp/SCRIPT.ps1",
        f"would use app.conf: 5 bytes, sha256 {hashlib.sha256(b'data' + bytes([10])).hexdigest()}",
        "would put app.conf at C:/build/app.conf, as the build user; its folder must be there",
        'would restart Windows by: shutdown /r /f /t 0 /c "packer restart"',
        "would wait at most 10m until it is up again, with another boot time, and has run: cmd /c ver",
        "would search for updates by: IsInstalled=0",
        "would take those that pass the filters: exclude:$_.Title -like '*Preview*'; include:$true (at most 20 in a "
        "round)",
        "would take the deprovision script as Own left it, for that step names it",
        "would wait at most 30 minutes until Sysprep is done",
    ):
        assert line in told, line
    restart = WINDOWS["properties"]["customize"][3] | {"restartCommand": "shutdown /r\r\n/t 0"}
    document = WINDOWS | {"properties": WINDOWS["properties"] | {"customize": [restart]}}
    (shop.work / "template.json").write_text(json.dumps(document))
    assert "would restart Windows by: shutdown /r /t 0" in would(dry(shop)), "each line says that it was not done"
    machine = next(line for line in told if "a machine for vmSize" in line)
    assert machine.startswith("would make a machine for vmSize Standard_D2s_v3: ")
    assert machine.endswith(", the image's firmware, a disk of 127 GiB")


def test_every_view_of_it_says_the_same(shop: Workshop) -> None:
    seen = dry(shop)
    told, run = would(seen), seen.summary.id
    assert len(told) > 20

    def said(*words: str) -> str:
        text = str(shop.call(command=list(words), exit=0).out)
        return re.sub(r"script_\d+\.sh", "SCRIPT", text)

    log = [line.strip() for line in said("logs", run).splitlines()]
    assert [line for line in log if line.startswith("would ")] == told
    of_step = [line.strip() for line in said("logs", run, "--step", "Page").splitlines()]
    assert [line for line in of_step if line.startswith("would ")] == told[8:10]
    outputs = [line.strip() for line in said("outputs", run).splitlines()]
    assert [line for line in outputs if line.startswith("would ")] == told[-8:]
    page = [line.strip() for line in said("report", run).splitlines()]
    assert [line for line in page if line.startswith("would ")] == told
    assert "A dry run: nothing was run, nothing was written." in page
    (suite,) = ElementTree.fromstring(said("report", run, "--format", "junit"))
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "6", "failures": "0", "skipped": "6",
    }  # fmt: skip
    texts = [line for case in suite for line in str(case[0].text).splitlines()]
    assert texts == [line for line in told if line in texts] and "would run in it: sudo apt-get update" in texts
    steps = json.loads(said("status", run, "-o", "json"))["data"]["steps"]
    assert steps[1]["would"] == [line.removeprefix("would ") for line in told[8:10]]
    data = json.loads(said("outputs", run, "-o", "json"))["data"]["outputs"]
    assert data[0]["would"] == [line.removeprefix("would ") for line in told[-8:-6]]


def test_a_pull_request_gets_no_warning_for_being_tried(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    seen = dry(shop)
    assert "no step is run and nothing is written" in seen.err
    assert "::warning" not in seen.err and "::error" not in seen.err


def test_secrets_are_in_none_of_it(shop: Workshop) -> None:
    path = shop.work / "template.json"
    document = json.loads(path.read_text())
    document["parameters"] = {"word": {"type": "securestring"}}
    properties = document["resources"][0]["properties"]
    properties["customize"][0]["inline"] = ["[concat('mysql -p', parameters('word'))]"]
    token = "sv=2023-01-03&se=2099-01-01T00%3A00%3A00Z&sp=rcw&sr=c&sig=c2VjcmV0c2VjcmV0c2VjcmV0"
    properties["distribute"][0]["uri"] = f"https://account.blob.core.windows.net/vhds/web.vhd?{token}"
    path.write_text(json.dumps(document))
    seen = dry(shop, "-p", f"word={SECRET}")
    assert "would run in it: mysql -p***" in would(seen)
    assert seen.run is not None
    texts = [seen.out, seen.err, seen.run.events_file.read_text()]
    for words in (["logs"], ["outputs"], ["report"], ["report", "--format", "junit"], ["status", seen.summary.id]):
        texts.append(shop.call(command=words, exit=0).out)
    assert not [text for text in texts if SECRET in text or "c2VjcmV0" in text]


def test_what_is_there_already_is_told(shop: Workshop, scenario_home: Home) -> None:
    """The managed image that would be replaced, the next number of a version, the VHD at its place."""
    shop.home = scenario_home
    vhd = shop.work.parent / "web.vhd"
    path = shop.work / "template.json"
    document = json.loads(path.read_text())
    document["resources"][0]["properties"]["distribute"][0]["uri"] = str(vhd)
    path.write_text(json.dumps(document))
    assert f"would copy it to {vhd}" in would(dry(shop))
    shop.call(command=["run", "template.json"], recorded=True, exit=0)
    told = would(dry(shop))
    assert f"would copy it to {vhd} (a file is there, and is replaced)" in told
    assert any(line.endswith("/images/web (one is there, and is replaced)") for line in told)
    assert any(line.startswith("would put version 1.0.1 (the number of scheme Latest") for line in told)
    assert not any("on demand" in line for line in told)
    image = r"would start from Debian:debian-12:12:([\d.]+) \(version \1, sha256 [0-9a-f]{64}\)"
    assert re.fullmatch(image, told[0])


def test_the_layer_that_a_build_would_start_from(
    shop: Workshop, scenario_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.home = scenario_home
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "freezing_driver.py").write_text(
        textwrap.dedent("""
        from aibemu_drivers.scripted import ScriptedDriver

        class FreezingDriver(ScriptedDriver):
            name = "freezing"

            def __init__(self, options, folders):
                super().__init__({"freezes": "yes", **options}, folders)
        """)
    )
    write_distribution(folder, "aibemu-freezing", {"aibemu.drivers": {"freezing": "freezing_driver:FreezingDriver"}})
    monkeypatch.syspath_prepend(folder)
    like = ("--driver-option", "like=freezing")
    assert "would boot it: there is no layer that fits" in would(dry(shop, *like))
    real = shop.call(
        command=["run", "template.json", "--driver-option", "freezes=yes"], recorded=True, exit=0
    )  # fmt: skip
    seen = dry(shop, *like)
    told = would(seen)
    layers = {path.name for path in shop.home.layers.iterdir()}
    restore = next(line for line in told if line.startswith("would restore it from the layer "))
    assert re.search(rf", which has 3 steps: cached .* by run {real.summary.id}$", restore), restore
    assert sum(line.startswith("would not run it, and take what it did from a layer: cached ") for line in told) == 3
    assert [step.status for step in seen.summary.steps] == ["not run"] * 3
    assert {path.name for path in shop.home.layers.iterdir()} == layers, "it takes none, and makes none"
    edited_page = (shop.work / "index.html").read_text() + "more\n"
    (shop.work / "index.html").write_text(edited_page)
    told = would(dry(shop, *like))
    assert any(", which has 1 step: " in line for line in told)
    assert "would put index.html at /tmp/index.html (mode 0644), as the build user; its folder must be there" in told
    told = would(dry(shop, *like, "--cold"))
    assert "would boot it, and use no layer: caching is off (CI is set, a setting, or an option)" in told
    sys.modules.pop("freezing_driver", None)


@pytest.mark.parametrize(("name", "said"), [("nothing", "there is no 'nothing'"), ("dryrun", "makes no layers")])
def test_a_driver_that_cannot_be_meant(shop: Workshop, name: str, said: str) -> None:
    seen = shop.call(
        command=["run", "template.json", "--driver", "dryrun", "--driver-option", f"like={name}"], exit=2
    )  # fmt: skip
    assert said in seen.err and "Traceback" not in seen.err
