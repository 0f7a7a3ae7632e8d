"""What scenarios share: tiny base images in a real store, and a way to run a verb in this process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import SystemClock, forever
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.scenarios.layered import Workshop
from tests.scenarios.server import serving

# alias -> generation, virtual size in MiB
IMAGES = {
    "Debian:debian-12:12:0.20260101.1": (Generation.V1, 3),
    "Debian:debian-12:12-gen2:0.20260101.1": (Generation.V2, 3),
    "Debian:debian-12:12-big:0.20260101.1": (Generation.V1, 3 * 1024),
    "MicrosoftWindowsServer:WindowsServer:2022-datacenter:20348.1.260101": (Generation.V1, 3),
}


@pytest.fixture(scope="session")
def stored_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image store with the images of `IMAGES`: no systems, but real qcow2 files with something in them."""
    root = tmp_path_factory.mktemp("scenarios")
    store = ImageStore(root / "images", SystemClock())
    for number, (alias, (generation, size)) in enumerate(IMAGES.items(), start=1):
        raw, image = root / "disk.raw", root / "disk.qcow2"
        with raw.open("wb") as stream:
            stream.write(f"disk {number}\n".encode() * 4096)
            stream.truncate(size << 20)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True)
        info = ImageInfo(
            os_type="Linux", os_name="Debian GNU/Linux 12 (bookworm)", generation=generation,
            provisioning=Provisioning.NOCLOUD, generalized=True, origin="scenarios",
        )  # fmt: skip
        if alias.startswith("Microsoft"):
            info = replace(
                info, os_type="Windows", os_name="Windows Server 2022", provisioning=Provisioning.UNKNOWN
            )  # fmt: skip
        store.set_alias(alias, store.add(image, info, deadline=forever(), source_format="qcow2").digest)
    return store.root


@pytest.fixture
def scenario_home(tmp_path: Path, stored_images: Path) -> Home:
    """A home of the scenario's own that holds the images, as hard links."""
    home = Home.at(tmp_path / "home")
    shutil.copytree(stored_images, home.images, copy_function=os.link, ignore=shutil.ignore_patterns("tmp", "locks"))
    return home


@pytest.fixture
def shop(
    tmp_path: Path, scenario_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Workshop:
    """A template of three steps, on guests that can be frozen."""
    made = Workshop(work=tmp_path / "work", home=scenario_home, patch=monkeypatch, capture=capsys)
    made.steps = {name: f"echo #{name}#" for name in ("one", "two", "three")}
    return made


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server for the folder `work`."""
    (tmp_path / "work").mkdir(exist_ok=True)
    with serving(tmp_path / "work") as address:
        yield address


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith("AIBEMU_") or name in {"GITHUB_ACTIONS", "TF_BUILD", "CI"}
    ]:
        monkeypatch.delenv(name)
    # Nothing here has to survive a power cut, and a busy disk takes its time.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
