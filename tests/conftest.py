"""What every test can use: a home of its own, a clock that can be wound, and no network beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from aibemu.files import FileLock
from aibemu.paths import Home
from tests.slow import is_slow

if TYPE_CHECKING:
    from aibemu.images import BaseImage
    from aibemu.testing.clock import FakeClock

# ci: the same examples each time, and no deadline: the machine may be busy. fast (./test.sh --fast): fewer of them. dev
# (HYPOTHESIS_PROFILE=dev) looks further. A test in a class is called on several objects when `make stress` repeats it.
settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)
settings.register_profile("fast", settings.get_profile("ci"), max_examples=25)
settings.register_profile("dev", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_TESTS = Path(__file__).parent
_UNIT = _TESTS / "unit"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones."""
    for item in items:
        if is_slow(item.path, getattr(item, "originalname", None)):
            item.add_marker("slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not read the files that `-m "... not slow ..."` leaves out: each worker would read them."""
    chosen = str(config.getoption("markexpr"))
    return True if "not slow" in chosen and is_slow(collection_path) else None


def _hear_signals() -> None:
    """Who starts the tests in the background of a script has them ignore Ctrl-C, and a build that is started then does
    too, as it should: tests that cancel builds by signals would wait for ever."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


_hear_signals()


# What is installed for as long as the tests run; each process of pytest has its own.
_INSTALLED = tempfile.TemporaryDirectory(prefix="aibemu-tests-")


def _register_drivers() -> None:
    """Make the drivers `scripted` and `stand-in` known, here and to the programs that tests start: nobody else has
    them, for they play builds that are none."""
    from aibemu.testing.plugins import write_distribution

    drivers = {
        "scripted": "aibemu_drivers.scripted:ScriptedDriver",
        "stand-in": "tests.stand_in_driver:StandInDriver",
    }
    folder = str(write_distribution(Path(_INSTALLED.name), "aibemu_scripted", {"aibemu.drivers": drivers}))
    sys.path.append(folder)
    # The second one is a module of the checkout.
    places = [os.environ.get("PYTHONPATH"), folder, str(_TESTS.parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))


_register_drivers()


class NetworkForbidden(AssertionError):
    """A unit test wanted to reach another machine."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An installation of aibemu of the test's own, empty."""
    return Home.at(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes only when the test says so, or somebody waits."""
    from aibemu.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own settings must not change what a test sees."""
    for name in ("AIBEMU_HOME", "NO_COLOR", "FORCE_COLOR", "AIBEMU_ACCEPT_ANY_API_VERSION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests talk to loopback addresses and Unix sockets only."""
    if _UNIT not in request.path.parents:
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse_other_machines(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse_other_machines(self.family, address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


def refuse_other_machines(family: int, address: Any) -> None:
    """Raise `NetworkForbidden` unless `address` is on this machine."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = str(address[0])
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise NetworkForbidden(f"a unit test must not connect to {address!r}: use a server on 127.0.0.1")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of pytest: with pytest-xdist, all its workers have the same one."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def probed(shared_folder: Path) -> Path:
    """The cache of QEMU's driver, once it has looked at this host. Where KVM is there and does not work, looking takes
    2 s: too long for each of a hundred tests."""
    from aibemu.hypervisor import DriverFolders
    from aibemu_drivers.qemu import QemuDriver

    folder = shared_folder / "probed"
    with FileLock(shared_folder / "probed.lock"):
        QemuDriver({}, DriverFolders(cache=folder, runs=shared_folder)).accelerator()
    return folder


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """The module's tests, and all that they start, stay on one core: see `tests.libvirt_embed.one_core`."""
    from tests.libvirt_embed import one_core

    with one_core():
        yield


@pytest.fixture(scope="session")
def embedded_libvirt() -> Iterator[str]:
    """The uri of a libvirt of this process's own. In a folder with a short name, for it makes sockets there."""
    from tests.libvirt_embed import made_ready

    with tempfile.TemporaryDirectory(prefix="aibemu-lv-", ignore_cleanup_errors=True) as root:
        yield made_ready(Path(root))


@pytest.fixture(scope="session")
def base_home() -> Home:
    """Where the base image is kept between runs: AIBEMU_TEST_HOME (./test.sh sets it)."""
    if not (root := os.environ.get("AIBEMU_TEST_HOME")):
        pytest.skip("AIBEMU_TEST_HOME is not set: ./test.sh sets it, and builds the base image there")
    return Home.at(Path(root).expanduser().absolute())


@pytest.fixture(scope="session")
def base_image(base_home: Home) -> BaseImage:
    """The offline base image, built if the store has none for today's recipe (about 75 s)."""
    from aibemu.clock import SystemClock, forever
    from aibemu.images.build import build
    from aibemu.images.recipes import load
    from aibemu.images.store import ImageStore

    return build(load("debian-12"), ImageStore(base_home.images, SystemClock()), forever(), lambda _: None)


@pytest.fixture(scope="session")
def generic_image(base_home: Home, base_image: BaseImage) -> Path:
    """The base image, but provisioned from a NoCloud seed as generic cloud images are; qcow2, kept beside it."""
    from tests.nocloud import generic_variant

    return generic_variant(base_image, base_home)
