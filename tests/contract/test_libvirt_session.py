"""qemu:///session, what users have: a daemon that libvirt starts for an ordinary user, with nothing of root's.

Tests that run as root do it as `nobody`, in another process, with the host's own Python.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.test_drivers import eventually
from tests.libvirt_embed import need_libvirt

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("one_core")]

ROOT = Path(__file__).parents[2]
# What an ordinary user's aibemu would do, as far as libvirt is concerned.
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from aibemu.clock import forever
from aibemu.testing.contract import machine_folder, make_folders, make_spec
from aibemu_drivers.libvirt import LibvirtDriver
home = Path(sys.argv[1])
driver = LibvirtDriver({}, make_folders(home))
print(*[f"{finding.check}={finding.level}" for finding in driver.check() if finding.check.startswith("libvirt: ")])
base = home / "base.img"
base.write_bytes(b"no boot sector".ljust(1 << 20, b"\\0"))
spec = make_spec("first", machine_folder(home, "first"), base)
machines = [driver.create(spec)]
machines[0].start()
frozen = machines[0].freeze(home / "layers", forever())
for name in ("second", "third"):
    machines.append(driver.create(replace(spec, id=name, directory=machine_folder(home, name), frozen=frozen)))
    machines[-1].start()
print(*[machine.state() for machine in machines])
again = LibvirtDriver(driver.options, driver.folders)
print(*[left.id for left in again.list("contract")])
for left in again.list("contract"):
    left.destroy()
print(len(again.list("contract")), machines[0].state())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """argv: before the arguments of Python."""

    argv: tuple[str, ...]
    home: Path
    environment: Mapping[str, str]

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.argv, "-c", script, str(self.home)], env=dict(self.environment), cwd=self.home,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture
def user() -> Iterator[User]:
    """One with a home and a runtime folder of his own; the daemons that libvirt starts for him are ended."""
    need_libvirt()
    with tempfile.TemporaryDirectory(prefix="aibemu-lv-") as folder:
        home, runtime = Path(folder) / "home", Path(folder) / "run"
        home.mkdir(mode=0o700)
        runtime.mkdir(mode=0o700)
        argv: tuple[str, ...] = (sys.executable,)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (Path(folder), home, runtime):
                shutil.chown(path, nobody.pw_uid, nobody.pw_gid)
            ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs"]
            argv = ("setpriv", *ids, f"/usr/bin/python3.{sys.version_info.minor}")
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "drivers"), *sys.path[1:]]),
        }  # fmt: skip
        made = User(argv=argv, home=home, environment=environment)
        try:
            tried = made.run("import aibemu_drivers.libvirt, libvirt")
        except FileNotFoundError as error:
            pytest.skip(f"an ordinary user has no such program: {error}")
        if tried.returncode != 0:
            pytest.skip(f"an ordinary user cannot run this checkout: {tried.stderr.strip().splitlines()[-1]}")
        yield made
        for name in ("libvirtd", "virtlogd"):
            end(runtime / "libvirt" / f"{name}.pid")


def end(file: Path) -> None:
    """The daemon whose pid is in the file, if there is one."""
    try:
        os.kill(int(file.read_text()), signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return
    eventually(lambda: not file.exists())


def test_an_ordinary_user_needs_no_rights(user: User) -> None:
    done = user.run(SCRIPT)
    assert done.stdout.splitlines() == [
        "libvirt: library=ok libvirt: connection=ok libvirt: machine types=ok libvirt: test machine=ok",
        "running running running", "first second third", "0 gone",
    ], done.stdout + done.stderr  # fmt: skip
