"""`images prepare IMAGE --agent`: a build whose only step installs the agent, on guests that a script plays."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.cli.app import App
from aibemu.cli.main import run
from aibemu.clock import SystemClock, forever
from aibemu.cloud.local import LocalCloud
from aibemu.images import BaseImage, agent
from aibemu.images.importing import import_image
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.unit.images.conftest import DEBIAN, mbr_disk, tree


def stored(folder: Path, home: Home, *, has_agent: bool, known: bool = True) -> BaseImage:
    """A small disk with a Debian on it. known: what is on it is what its record says."""
    contents = DEBIAN | ({"usr/sbin/waagent": "#!/bin/sh"} if has_agent else {})
    disk = mbr_disk(folder / "disk.raw", tree(folder / "tree", contents))
    store = ImageStore(home.images, SystemClock())
    image = import_image(disk, store, deadline=forever(), say=lambda text: None, aliases=["mine"]).image
    assert image.info.linux is not None
    if not known:
        store.describe(image.digest, replace(image.info, linux=replace(image.info.linux, seen_in="another", agents=())))
    return store.get("mine")


Call = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def call(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`aibemu` with these words: its exit code, the answer in JSON, and what it says besides."""
    monkeypatch.setenv("AIBEMU_DRIVER", "scripted")

    def call(*words: str) -> tuple[int, Any, str]:
        code = run(["--output", "json", *words], App(home=home))
        out, err = capsys.readouterr()
        return code, json.loads(out or "{}"), err

    return call


def test_it_becomes_another_image(tmp_path: Path, home: Home, call: Call) -> None:
    image = stored(tmp_path, home, has_agent=True, known=False)
    code, answer, said = call("images", "prepare", "mine", "--agent", "--alias", "ready")
    assert code == 0, said
    assert answer["data"]["linux"]["agents"] == ["waagent"] and answer["data"]["linux"]["seenIn"] == ""
    assert answer["data"]["origin"] == f"prepare {image.short} --agent" and "ready" in answer["data"]["aliases"]
    # A guest that is only played changes nothing on the disk, so the copy has the bytes of the image.
    assert LocalCloud(home.cloud, SystemClock()).managed_images() == []
    code, again, said = call("images", "prepare", "mine", "--agent")
    assert (code, again["data"]["digest"]) == (0, answer["data"]["digest"]) and "was made before" in said


def test_without_an_agent_in_the_end_it_fails(tmp_path: Path, home: Home, call: Call) -> None:
    stored(tmp_path, home, has_agent=False)
    code, answer, _ = call("images", "prepare", "mine", "--agent")
    assert code == 1 and "no agent is found in it" in answer["error"]["message"]


def test_an_image_that_has_it_is_left_alone(tmp_path: Path, home: Home, call: Call) -> None:
    stored(tmp_path, home, has_agent=True)
    code, answer, _ = call("images", "prepare", "mine", "--agent")
    assert code == 2 and "it has the agent already: waagent" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["apt-get"], ["apt-get -q update", "apt-get -q -y install walinuxagent", "waagent -version"]),
        (["dnf", "yum"], ["dnf -y install WALinuxAgent", "waagent -version"]),
        (["zypper"], ["zypper --non-interactive install python-azure-agent", "waagent -version"]),
    ],
)
def test_the_script_asks_the_package_manager_that_is_there(
    there: list[str], expected: list[str], tmp_path: Path
) -> None:
    if Path("/usr/sbin/waagent").exists():
        pytest.skip("this host has an Azure agent itself")
    told = tmp_path / "told"
    for name in (*there, "waagent"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{told}"\n')
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["/bin/sh", "-s"], input=agent.SCRIPT, text=True, env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == 0 and told.read_text().splitlines() == expected
    none = subprocess.run(["/bin/sh", "-s"], input=agent.SCRIPT, text=True, env={"PATH": os.devnull}, check=False)
    assert none.returncode == 1


def test_plan_says_it_before_anything_starts(
    tmp_path: Path, home: Home, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, home, has_agent=False)
    ImageStore(home.images, SystemClock()).set_alias("acme:web:gold:1.0.0", stored_digest(home))
    monkeypatch.setenv("AIBEMU_DRIVER", "qemu")
    template = tmp_path / "t.json"

    def warned(*inline: str) -> bool:
        template.write_text(json.dumps(TEMPLATE | {"properties": PROPERTIES | {"customize": [
            {"type": "Shell", "name": "x", "inline": list(inline)}
        ]}}))  # fmt: skip
        code, answer, said = call("plan", str(template))
        assert code == 0, answer["error"]
        assert answer["data"]["machine"]["disk"] == "virtio-scsi"
        return "ends with status 127" in said and "images prepare" in said

    assert warned("echo hello")
    assert not warned("sudo apt-get install -y waagent")


def stored_digest(home: Home) -> str:
    return ImageStore(home.images, SystemClock()).get("mine").digest


GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers"
PROPERTIES = {
    "source": {"type": "PlatformImage", "publisher": "acme", "offer": "web", "sku": "gold", "version": "1.0.0"},
    "distribute": [{
        "type": "ManagedImage", "imageId": f"{GROUP}/Microsoft.Compute/images/i", "location": "westeurope",
        "runOutputName": "o",
    }],
}  # fmt: skip
TEMPLATE = {
    "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": "web",
    "location": "westeurope",
    "identity": {"type": "UserAssigned", "userAssignedIdentities": {
        f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/build": {}
    }},
}  # fmt: skip
