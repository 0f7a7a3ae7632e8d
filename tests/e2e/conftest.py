"""What the end-to-end tests share between files, and with pytest-xdist between workers; and in which order they run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.files import FileLock
from aibemu.images import BaseImage
from aibemu.layers import Layer
from aibemu.layers.store import LayerStore
from aibemu.paths import Home
from tests.e2e.lab import Base, Build, copy_layer, fresh_home, until, write_template

FOLDER = Path(__file__).parent
# The longest files first: two workers, each with a file at a time, then end at about the same time.
ORDER = (
    "test_layers.py", "test_platform.py", "test_builds.py", "test_windows_vm.py", "test_workshop.py",
    "test_other_images.py", "test_broken_guest.py", "test_on_workers.py", "test_packer_parity.py",
    "test_libvirt_build.py", "test_crash.py", "test_cancel.py", "test_base_image.py",
)  # fmt: skip
PROVISIONED = "provisioned"  # a layer's label


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return ORDER.index(item.path.name) if item.path.parent == FOLDER and item.path.name in ORDER else len(ORDER)

    items.sort(key=place)


@pytest.fixture(scope="session")
def base(base_home: Home, base_image: BaseImage, probed: Path) -> Base:
    """For homes without a layer."""
    return Base(home=base_home, probed=probed)


class Shelf:
    """Where the layer of the provisioned machine is kept for this run of pytest. lock: held by the test process that
    boots that machine, so that no other one boots it too."""

    def __init__(self, folder: Path) -> None:
        self.store = LayerStore(folder / "layers")
        self.lock = FileLock(folder / "lock")

    def layer(self) -> Layer | None:
        return provisioned(self.store)

    def take(self, build: Build) -> None:
        """Wait until `build`, which boots the machine, has made the layer; keep it unless there is one."""
        theirs = LayerStore(build.home / "layers")
        build.wait_for("layer.frozen", label=PROVISIONED)
        until(lambda: provisioned(theirs) is not None, "the layer was not published")
        layer = provisioned(theirs)
        if layer is not None and self.layer() is None:
            copy_layer(layer, theirs, self.store.directory)


def provisioned(store: LayerStore) -> Layer | None:
    return next((layer for layer in store.layers() if layer.label == PROVISIONED), None)


@pytest.fixture(scope="session")
def shelf(shared_folder: Path) -> Shelf:
    return Shelf(shared_folder / PROVISIONED)


@pytest.fixture(scope="session")
def warm_base(base: Base, shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """For homes with the layer of the provisioned machine of `lab.template`: `aibemu run` with the words `lab.WARM`
    starts from it, in seconds. For tests whose subject is not how a machine starts.

    test_layers.py boots that machine anyway and shares it; without that file, it is booted here.
    """
    with shelf.lock:
        if shelf.layer() is None:
            folder = tmp_path_factory.mktemp(PROVISIONED)
            wait = [{"type": "Shell", "name": "Wait", "inline": ["sleep 600"]}]
            path = write_template(folder, PROVISIONED, customize=wait)
            build = Build(fresh_home(folder / "home", base), [path, "--cache"], folder / "build")
            try:
                shelf.take(build)
            finally:
                build.close()
    return replace(base, provisioned=shelf.store)
