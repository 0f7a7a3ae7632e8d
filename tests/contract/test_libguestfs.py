"""Disks by a real guestfish, and by what reads them without it: both say the same. And by one that fails on demand."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock, forever
from aibemu.disks import libguestfs
from aibemu.disks.libguestfs import LibguestfsFiles, Unreadable, environment, quote
from aibemu.disks.reading import WholeSystem, open_files
from aibemu.disks.system_files import SystemFiles
from aibemu.errors import BuildCancelled
from aibemu.hypervisor import Level
from aibemu.systems.linux.generalized import check_generalized

# As Azure's RHEL images are laid out: the root and /var on LVM; /home is btrfs here.
DISK = r"""
part-init /dev/sda gpt
part-add /dev/sda p 2048 1843199
part-add /dev/sda p 1843200 -2048
pvcreate /dev/sda1
vgcreate rootvg /dev/sda1
lvcreate rootlv rootvg 400
lvcreate varlv rootvg 400
mkfs xfs /dev/rootvg/rootlv
mkfs xfs /dev/rootvg/varlv
mkfs btrfs /dev/sda2
mount /dev/rootvg/rootlv /
mkdir /var
mkdir /home
mount /dev/rootvg/varlv /var
mount /dev/sda2 /home
mkdir-p /usr/lib
mkdir /bin
mkdir /etc
write /usr/lib/os-release "NAME=\"Red Hat Enterprise Linux\"\nID=rhel\nVERSION_ID=\"9.4\"\n"
ln-s ../usr/lib/os-release /etc/os-release
ln-s /usr /etc/folder
ln-s nowhere /etc/dangling
mkfifo 0644 /etc/pipe
write /etc/redhat-release "Red Hat Enterprise Linux release 9.4 (Plow)\n"
write /etc/fstab "/dev/rootvg/rootlv / xfs defaults 0 0\n/dev/rootvg/varlv /var xfs defaults 0 0\n/dev/sda2 /home btrfs defaults 0 0\n"
write /etc/passwd "root:x:0:0::/root:/bin/bash\n"
write /etc/hostname "pkrvm1\n"
write "/etc/a \"quoted\" $name | x" "caf\xc3\xa9\n"
mkdir-p /var/lib/waagent
write /var/lib/waagent/ovf-env.xml "<x/>"
mkdir /home/packer
"""  # noqa: E501


def why_not() -> str:
    """Why a real guestfish cannot run here; empty if it may."""
    if shutil.which("guestfish") is None:
        return "guestfish is not installed (apt-get install libguestfs-tools libguestfs-xfs)"
    if "LIBGUESTFS_PATH" in os.environ:
        return ""
    kernels = (
        [Path(os.environ["SUPERMIN_KERNEL"])] if "SUPERMIN_KERNEL" in os.environ else Path("/boot").glob("vmlinu*")
    )
    if not any(os.access(kernel, os.R_OK) for kernel in kernels):
        return "guestfish needs a kernel that it may read, in /boot or by SUPERMIN_KERNEL and SUPERMIN_MODULES"
    return "" if Path("/lib/modules").is_dir() else "guestfish needs /lib/modules, if only an empty one"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("libguestfs")
    raw, target = folder / "disk.raw", folder / "disk.qcow2"
    done = subprocess.run(
        ["guestfish", "-N", f"{raw}=disk:1536M"], input=DISK, capture_output=True, text=True, timeout=600, check=False,
        env=environment(os.environ, tcg=True), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target], check=True)
    return target


@pytest.fixture(scope="module", params=["guestfish", "without"])
def files(disk: Path, request: pytest.FixtureRequest) -> Iterator[WholeSystem]:
    if request.param == "guestfish":
        patient = Deadline(clock=SystemClock(), slowness=5.0)
        with LibguestfsFiles.open_disk(disk, "qcow2", patient) as by_guestfish:
            assert {"/", "/var", "/home"} <= set(by_guestfish.mounted())
            yield by_guestfish
        return
    told: list[str] = []
    opened = open_files(disk, "qcow2", disk.parent / "scratch", forever(), tell=told.append)
    assert opened is not None, told
    assert isinstance(opened, SystemFiles) and opened.unread == ()
    with opened:
        yield opened
    assert list((disk.parent / "scratch").iterdir()) == [], "the raw view is still there"


def test_files_of_xfs_lvm_and_btrfs(files: WholeSystem) -> None:
    assert (files.read("/etc/os-release") or "").startswith('NAME="Red Hat')
    assert files.read('/etc/a "quoted" $name | x') == "café\n"
    assert files.list("/etc/folder") == ["lib"]
    assert files.list("/var/lib/waagent") == ["ovf-env.xml"]
    assert files.list("/home") == ["packer"]
    assert files.list("/home/packer") == []
    for path in ("/none", "/etc", "/etc/dangling", "/etc/pipe", "/etc/passwd/x", "/a\nquit\nb"):
        assert files.read(path) is None, path
    for path in ("/none", "/etc/passwd", "/etc/dangling"):
        assert files.list(path) is None, path
    assert [files.exists(path) for path in ("/etc", "/etc/os-release", "/etc/dangling", "/none")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_the_check_of_generalisation_reads_them(files: WholeSystem) -> None:
    found = {finding.check for finding in check_generalized(files, "packer") if finding.level is Level.ERROR}
    assert found >= {"home of the build user removed", "agent state removed", "host name reset"}
    assert "build user removed" not in found


# The same by a guestfish of ours, on every host

FAKE = """\
import os, sys
open({log!r}, "a").write(os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "kvm") + " " + " ".join(sys.argv[1:]) + "\\n")
{start}
for line in sys.stdin:
    if line.startswith("-echo "):
        print(line.split()[1], flush=True)
    {answer}
"""
Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """fake(start=, answer=): put it on PATH, its Python code run before, and for each `line`; its log."""
    for name in [name for name in os.environ if name.startswith(("LIBGUESTFS_", "SUPERMIN_"))]:
        monkeypatch.delenv(name)

    def make(*, start: str = "", answer: str = "pass") -> Path:
        log, program = tmp_path / "log", tmp_path / "bin" / "guestfish"
        program.parent.mkdir()
        code = FAKE.format(log=str(log), start=dedent(start), answer=answer)
        # Through a shell: the path of this checkout, and so of its Python, may have a blank in it.
        (program.parent / "fake.py").write_text(code)
        words = shlex.join([sys.executable, str(program.parent / "fake.py")])
        # The shell, which is there at once, says the pid that Python goes on with.
        program.write_text(f'#!/bin/sh\necho "pid $$" >> {shlex.quote(str(log))}\nexec {words} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return log

    return make


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    path = tmp_path / "blank.raw"
    path.write_bytes(bytes(1024 * 1024))
    return path


def calls(log: Path) -> list[tuple[str, str]]:
    """How the fake was started each time: the accelerator that the environment says, and its arguments."""
    lines = [line for line in log.read_text().splitlines() if not line.startswith("pid ")]
    return [(settings, argv) for settings, _, argv in (line.partition(" ") for line in lines)]


def launches(log: Path) -> list[str]:
    return [settings for settings, _ in calls(log)]


def test_what_guestfish_is_asked(fake: Fake, blank: Path) -> None:
    log = fake(answer="print(line, end='', file=sys.stderr)")
    with LibguestfsFiles.open_disk(blank, None, forever()) as files:
        assert files.read("/x") is None
    assert calls(log)[0][1] == f"--ro --format=raw --add {blank} --inspector"


def test_content_that_looks_like_answers_is_content(fake: Fake, blank: Path) -> None:
    answer = "print(end={'is': 'true\\n', 'pr': 'true\\n-echo x', 'ls': 'b\\0a\\0'}.get(line[1:3], ''))"
    fake(answer=answer)
    with LibguestfsFiles.open_disk(blank, "raw", forever()) as files:
        assert files.read("/x") == "true\n-echo x"
        assert files.list("/x") == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "guestfish: no operating system was found on this disk\n\nIf using guestfish",
            "no operating system was found",
        ),
        ("libguestfs: error: /usr/bin/supermin exited with error status 1.\nTo see", "SUPERMIN_KERNEL"),
        ("", "it ended"),
    ],
)
def test_a_guestfish_that_does_not_start(said: str, told: str, fake: Fake, blank: Path, tmp_path: Path) -> None:
    fake(start=f"sys.stderr.write({said!r}); sys.exit(1)")
    reasons: list[str] = []
    assert open_files(blank, "raw", tmp_path / "s", forever(), tell=reasons.append) is None
    assert len(reasons) == 1 and told in reasons[0] and "To see" not in reasons[0]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            'supermin: exception: Sys_error("/k/modules.dep: No such file or directory")\nlibguestfs: error: it failed',
            "modules.dep: No such file or directory",
        ),
        ("cp: cannot open '/boot/vmlinuz' for reading: Permission denied\nsupermin: cp: command failed", "cannot open"),
        ("supermin: failed to find a suitable kernel (host_cpu=x86_64).", "failed to find a suitable kernel"),
        ("libguestfs: x\nqemu-system-x86_64: cannot set up guest memory\nlibguestfs: error: y", "set up guest memory"),
        ("[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs", "Kernel panic - not syncing: VFS"),
    ],
)  # fmt: skip
def test_the_true_reason_is_told(said: str, told: str, fake: Fake, blank: Path) -> None:
    """guestfish itself says no more than which program failed, and which variables would make it say more."""
    general = "libguestfs: error: /usr/bin/supermin exited with error status 1.\nTo see full error messages"
    log = fake(
        start=f"""
        sys.stderr.write({said!r} if "LIBGUESTFS_DEBUG" in os.environ else {general!r})
        sys.exit(1)
        """
    )
    with pytest.raises(Unreadable) as caught:
        LibguestfsFiles.open_disk(blank, "raw", Deadline(clock=SystemClock(), slowness=5.0))
    assert told in caught.value.message and "To see" not in caught.value.message
    assert len(launches(log)) == 2


def test_where_kvm_opens_and_does_not_work_it_is_tried_without(
    fake: Fake, blank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake(start="if 'LIBGUESTFS_BACKEND_SETTINGS' not in os.environ: sys.exit('libguestfs: error: appliance')")
    monkeypatch.setattr("aibemu.disks.libguestfs._KVM", blank)
    LibguestfsFiles.open_disk(blank, "raw", forever()).close()
    assert launches(log) == ["kvm", "force_tcg"]


def test_it_is_not_tried_twice_where_that_cannot_help(fake: Fake, blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fake(start="sys.exit('guestfish: no operating system was found on this disk')")
    monkeypatch.setattr("aibemu.disks.libguestfs._KVM", blank)
    with pytest.raises(Unreadable, match="no operating system"):
        LibguestfsFiles.open_disk(blank, "raw", forever())
    assert launches(log) == ["kvm"]
    slow = Deadline(clock=SystemClock(), slowness=5.0)
    with pytest.raises(Unreadable):
        LibguestfsFiles.open_disk(blank, "raw", slow)
    assert launches(log) == ["kvm", "force_tcg"], "nor to learn more"


def test_a_guestfish_that_ends_in_the_middle(fake: Fake, blank: Path) -> None:
    fake(answer="if line.startswith('-is-file'): sys.exit('libguestfs: error: gone')")
    files = LibguestfsFiles.open_disk(blank, "raw", forever())
    with files, pytest.raises(Unreadable, match=r"^gone$"):
        files.read("/x")


def test_it_is_bounded_and_leaves_no_process(fake: Fake, blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibemu.disks.libguestfs._CLOSE_BOUND", 0.1)
    monkeypatch.setattr("aibemu.disks.libguestfs._KVM", blank.with_name("none"))
    log = fake(start="import time; time.sleep(60)")

    class Leaping(SystemClock):
        """Has the bound pass while the fake, which runs by then, is waited for."""

        passed = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.passed

        def wait(self, event: threading.Event, seconds: float) -> bool:
            self.passed = libguestfs.LAUNCH_BOUND if runs(log) else 0.0
            return super().wait(event, seconds)

    with pytest.raises(Unreadable, match="does not answer"):
        LibguestfsFiles.open_disk(blank, "raw", forever(Leaping()))
    assert gone(log)


def test_it_ends_when_the_build_is_cancelled(fake: Fake, blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aibemu.disks.libguestfs._CLOSE_BOUND", 0.1)
    log = fake(start="import time; time.sleep(60)")
    token = CancelToken()

    def cancel_it() -> None:
        while not runs(log):
            time.sleep(0.05)
        token.cancel("enough")

    threading.Thread(target=cancel_it, daemon=True).start()
    with pytest.raises(BuildCancelled):
        LibguestfsFiles.open_disk(blank, "raw", Deadline(clock=SystemClock(), cancel=token))
    assert gone(log)


def runs(log: Path) -> bool:
    """A process has written its pid into the log."""
    return log.exists() and "\n" in log.read_text()


def gone(log: Path) -> bool:
    """No process that wrote into the log is left."""
    pids = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("pid ")]
    return bool(pids) and not any(Path("/proc", pid).exists() for pid in pids)


def test_without_guestfish_it_is_said(blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aibemu.errors import HostNotReady

    def missing(name: str) -> str:
        raise HostNotReady(f"the program {name} is not installed")

    monkeypatch.setattr("aibemu.disks.dialogue.find_program", missing)
    reasons: list[str] = []
    assert open_files(blank, "raw", tmp_path / "s", forever(), tell=reasons.append) is None
    assert "libguestfs-tools" in reasons[0]


def test_what_is_set_stays() -> None:
    known = {"LIBGUESTFS_BACKEND": "libvirt", "SUPERMIN_KERNEL": "/k", "LC_ALL": "de_DE.UTF-8"}
    assert environment(known, tcg=False) == known | {"LC_ALL": "C"}
    assert environment({}, tcg=True) == {
        "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", "LC_ALL": "C",
    }  # fmt: skip


def test_any_name_is_one_word() -> None:
    assert quote('/a "b"\n') == r'"\x2f\x61\x20\x22\x62\x22\x0a"'
