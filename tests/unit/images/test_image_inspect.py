"""What a disk is, seen from outside: file systems made for real, tables made by hand."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.clock import Deadline
from aibemu.disks import convert
from aibemu.disks.guestfs import DebugfsFailed, GuestFiles
from aibemu.disks.partitions import partitions
from aibemu.errors import HostNotReady, UsageError
from aibemu.images import Generation, Provisioning
from aibemu.images.inspect import datasource_list, inspect
from tests.linux_disks import LinuxDisks, Part
from tests.unit.images.conftest import DEBIAN, MIB, ext4, tree

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def without_guestfish(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes half a minute for each disk that it is asked about."""

    def missing(*_: object) -> None:
        raise HostNotReady("the program guestfish is not installed")

    monkeypatch.setattr("aibemu.disks.libguestfs.LibguestfsFiles.open_disk", missing)


def test_a_debian_disk(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    facts = inspect(make_disk(), scratch=tmp_path, deadline=deadline)
    assert (facts.os_type, facts.os_name) == ("Linux", "Debian GNU/Linux 12 (bookworm)")
    assert (facts.table, facts.generation, facts.generations) == ("mbr", Generation.V1, (Generation.V1,))
    assert (facts.provisioning, facts.generalized, facts.notes) == (Provisioning.NOCLOUD, True, ())
    assert facts.virtual_size == 9 * MIB


@pytest.mark.parametrize("kind", ["qcow2", "vhdx", "vpc"])
def test_other_formats_are_looked_into_too(kind: str, make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    target, scratch = tmp_path / "disk.img", tmp_path / "scratch"
    subprocess.run(["qemu-img", "convert", "-O", kind, make_disk(), target], check=True)
    facts = inspect(target, scratch=scratch, deadline=deadline)
    assert (facts.format, facts.os_name) == (kind, "Debian GNU/Linux 12 (bookworm)")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("efi", "bios", "generations"),
    [(True, False, ("V2",)), (True, True, ("V2", "V1")), (False, True, ("V1",))],
)
def test_generation_by_partition_table(
    efi: bool, bios: bool, generations: tuple[str, ...], make_disk: Make, tmp_path: Path, deadline: Deadline
) -> None:
    facts = inspect(make_disk(efi=efi, bios=bios), scratch=tmp_path, deadline=deadline)
    assert facts.table == "gpt"
    assert facts.generations == generations
    assert facts.generation == generations[0]
    assert facts.os_type == "Linux"


LIST = "etc/cloud/cloud.cfg.d/91_datasources.cfg"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({LIST: "datasource_list: [ Azure ]\n"}, Provisioning.AZURE),
        ({LIST: "datasource_list: [ Ec2 ]\n"}, Provisioning.NONE),
        ({LIST: None, "etc/cloud/cloud.cfg": "users: []\n"}, Provisioning.NOCLOUD),
        ({"etc/cloud/cloud.cfg.d/99_last.cfg": "datasource_list: [ Azure ]\n"}, Provisioning.AZURE),
        ({"etc/cloud/cloud.cfg.d/99_last.cfg.off": "datasource_list: [ Azure ]\n"}, Provisioning.NOCLOUD),
        ({"etc/cloud/cloud.cfg.d/99_bad.cfg": "a: [\n"}, Provisioning.NOCLOUD),
        ({"etc/cloud/cloud-init.disabled": ""}, Provisioning.NONE),
        ({"etc/cloud/cloud-init.disabled": "", "etc/waagent.conf": "x"}, Provisioning.AZURE),
        ({LIST: None, "etc/cloud/cloud.cfg": None}, Provisioning.NONE),
        ({LIST: None, "etc/cloud/cloud.cfg": None, "etc/waagent.conf": "x"}, Provisioning.AZURE),
    ],
)
def test_provisioning(
    changes: dict[str, str | None], expected: Provisioning, make_disk: Make, tmp_path: Path, deadline: Deadline
) -> None:
    assert inspect(make_disk(changes), scratch=tmp_path, deadline=deadline).provisioning is expected


def test_accounts_mean_not_generalised(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    changes = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nmary:x:1000:1000::/home/mary:/bin/sh\n",
        "etc/ssh/ssh_host_rsa_key": "k",
        "etc/machine-id": "edab480b3be34c1994db776d09695d90\n",
    }
    facts = inspect(make_disk(changes), scratch=tmp_path, deadline=deadline)
    assert not facts.generalized
    assert len(facts.notes) == 3
    assert "mary" in facts.notes[0]


def test_a_disk_whose_ntfs_cannot_be_read_is_not_taken_for_windows(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "w.raw"
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\0\0", 7, b"\0\0\0", 2048, 2048)
    path.write_bytes(
        (bytes(446) + entry + bytes(48) + b"\x55\xaa").ljust(MIB, b"\0") + b"\xeb\x52\x90NTFS    ".ljust(MIB)
    )
    facts = inspect(path, scratch=tmp_path, deadline=deadline)
    assert (facts.os_type, facts.provisioning, facts.windows) == ("", Provisioning.UNKNOWN, None)
    assert "the NTFS volume is damaged" in facts.unread


@pytest.mark.parametrize(("at", "magic", "word"), [(0, b"XFSB", "xfs"), (0x10040, b"_BHRfS_M", "btrfs")])
def test_file_systems_that_cannot_be_read(at: int, magic: bytes, word: str, tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(bytes(at) + magic + bytes(MIB))
    facts = inspect(path, scratch=tmp_path, deadline=deadline)
    assert (facts.os_type, facts.provisioning, facts.table) == ("Linux", Provisioning.UNKNOWN, "none")
    assert word in facts.notes[0]


def logical(disks: LinuxDisks) -> Part:
    return Part(
        content=disks.group({"rootlv": disks.xfs(ROOT), "homelv": disks.xfs({}), "varlv": disks.ext4({})}), kind="lvm"
    )


ROOT = DEBIAN | {
    "etc/fstab": "/dev/mapper/rootvg-rootlv / auto\n/dev/sda1 /boot auto\n",
    "boot/": "",
    "usr/sbin/waagent": "",
}


@pytest.mark.parametrize(
    ("make", "root"),
    [
        (lambda disks: Part(content=disks.xfs(ROOT)), "xfs"), (lambda disks: Part(content=disks.btrfs(ROOT)), "btrfs"),
        (lambda disks: Part(content=disks.ext4(ROOT)), "ext4"), (logical, "xfs on LVM"),
    ],
)  # fmt: skip
def test_roots_of_each_kind_are_read(
    make: Callable[[LinuxDisks], Part], root: str, tmp_path: Path, deadline: Deadline
) -> None:
    """Without libguestfs, without root; what is in /boot of its own is found, too."""
    disks = LinuxDisks(tmp_path)
    disk = disks.disk(Part(content=disks.ext4({"vmlinuz-6.1.0-1-amd64": "", "config-6.1.0-1-amd64": ""})), make(disks))
    facts = inspect(disk, scratch=tmp_path / "scratch", deadline=deadline)
    assert (facts.os_type, facts.os_name) == ("Linux", "Debian GNU/Linux 12 (bookworm)")
    assert (facts.provisioning, facts.generalized) == (Provisioning.NOCLOUD, True)
    assert facts.linux is not None and facts.linux.root == root


def test_what_nobody_here_reads_costs_a_note(tmp_path: Path, deadline: Deadline) -> None:
    disks = LinuxDisks(tmp_path)
    facts = inspect(disks.disk(Part(content=disks.group({}), kind="lvm")), scratch=tmp_path / "s", deadline=deadline)
    assert (facts.os_type, facts.provisioning, facts.linux) == ("Linux", Provisioning.UNKNOWN, None)
    assert "guestfish" in facts.notes[0] and "not installed" in facts.notes[0]


def test_refused(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello " * 1000)
    with pytest.raises(UsageError, match="not the image of a disk"):
        inspect(text, scratch=tmp_path, deadline=deadline)
    overlay = tmp_path / "o.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", make_disk(), "-F", "raw", overlay], check=True)
    with pytest.raises(UsageError, match="refers to other files"):
        inspect(overlay, scratch=tmp_path, deadline=deadline)


@pytest.mark.parametrize("terminal", ["dumb", "xterm", ""])  # readline prints differently on each
def test_guest_files_follow_links_like_the_guest(
    terminal: str, make_disk: Make, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    deep = "/".join(["a" * 20] * 5)  # a link target of more than 60 bytes lies in a block of its own
    changes = {
        "dir with spaces/a file, 'quoted'": "content\n",
        "absolute": "-> /etc/os-release",
        "long": f"-> {deep}/f",
        f"{deep}/f": "deep",
        "loop": "-> loop",
        "dangling": "-> nowhere",
        "lib": "-> usr/lib",
        "outside": "-> ../../../../../../usr/lib/os-release",
        "etc/abs": "-> /usr",
    }
    files = GuestFiles.open_disk(make_disk(changes), None, tmp_path / "s", deadline)
    assert files is not None
    with files:
        assert files.read("/dir with spaces/a file, 'quoted'") == "content\n"
        assert files.list("/dir with spaces") == ["a file, 'quoted'"]
        for path in ("/absolute", "/lib/os-release", "/etc/os-release", "/outside", "/etc/abs/lib/os-release"):
            assert (files.read(path) or "").startswith("PRETTY_NAME"), path
        assert files.read("/long") == "deep"
        for path in ("/loop", "/dangling", "/none", "/etc", '/a"b', "/a\nb"):
            assert files.read(path) is None, path
        assert files.list("/lib") == ["os-release"]
        assert files.list("/etc/passwd") is None
        assert files.list("/none") is None
        assert files.read("/etc/machine-id") == ""


ANSWER_LIKE = "debugfs:  dx_hash 0\nHash of 0 is 0x1 (minor 0x0)\ndebugfs:  stat /\nInode: 2   Type: socket\ndebugfs:  "


def test_content_that_looks_like_answers_is_content(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    large = "".join(f"line {number}\n" for number in range(20_000))
    contents = {"like": ANSWER_LIKE, "none": "", "prompt": "debugfs:  ", "lines": "\n\n", "large": large}
    files = GuestFiles.open_disk(make_disk(contents), None, tmp_path / "s", deadline)
    assert files is not None
    with files:
        for name, content in contents.items():
            assert files.read(f"/{name}") == content
        assert files.list("/none") is None
        assert not files.exists("/not there")


def test_a_guest_whose_links_make_a_long_path_gets_no_shell(
    make_disk: Make, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """debugfs reads 8191 bytes of a line; what is beyond would be a command, and `!` starts a shell."""
    monkeypatch.chdir(tmp_path)
    step, steps = "./" * 480, 8
    rest = 8191 - len('stat "/') - steps * len(step)
    around = range(-4, 5)  # wherever exactly the line is broken
    links: dict[str, str] = {}
    for more in around:
        links |= {f"{more}_{at}": f"-> {step}{more}_{at + 1}" for at in range(steps)}
        links[f"{more}_{steps}"] = f"-> .{'/' * (rest + more - 1)}!touch got-out;#"
    files = GuestFiles.open_disk(make_disk(links), None, tmp_path / "s", deadline)
    assert files is not None
    with files:
        assert [files.read(f"/{more}_0") for more in around] == [None] * len(around)
        assert (files.read("/etc/os-release") or "").startswith("PRETTY_NAME"), "it still answers"
    assert not Path("got-out").exists()


def test_a_debugfs_that_ends_is_an_error_and_none_is_left(
    make_disk: Make, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, program, pids = make_disk(), tmp_path / "bin" / "debugfs", tmp_path / "pids"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho $$ >> {pids}\necho 'no such luck' >&2\nread -r line\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(DebugfsFailed, match="no such luck"):
        GuestFiles.open_disk(disk, None, tmp_path / "s", deadline)
    program.write_text(f"#!/bin/sh\necho $$ >> {pids}\nexec sleep 60\n")
    monkeypatch.setattr("aibemu.disks.debugfs._ASK_BOUND", 0.3)
    monkeypatch.setattr("aibemu.disks.debugfs._CLOSE_BOUND", 0.1)
    with pytest.raises(DebugfsFailed, match=r"it does not answer$"):
        GuestFiles.open_disk(disk, None, tmp_path / "s", deadline)
    assert not any(Path("/proc", pid).exists() for pid in pids.read_text().split())


def test_guest_files_of_an_overlay_see_through_it_and_clean_up(
    make_disk: Make, tmp_path: Path, deadline: Deadline
) -> None:
    base, overlay, scratch = tmp_path / "b.qcow2", tmp_path / "o.qcow2", tmp_path / "s"
    convert.to_qcow2(make_disk(), base, deadline=deadline)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay, "64M"], check=True)
    files = GuestFiles.open_disk(overlay, "qcow2", scratch, deadline)
    assert files is not None
    with files:
        assert "root:x:0:0" in (files.read("/etc/passwd") or "")
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


def test_no_root_file_system(tmp_path: Path, deadline: Deadline) -> None:
    path = tmp_path / "e.raw"
    ext4(path, tree(tmp_path / "t", {"data/x": "y"}), offset=0, size=4 * MIB)
    assert GuestFiles.open_disk(path, "raw", tmp_path / "s", deadline) is None


def test_datasource_lists() -> None:
    assert datasource_list("datasource_list: [ NoCloud, Azure ]") == ["nocloud", "azure"]
    assert datasource_list("datasource:\n  Azure: {}\n") is None
    assert datasource_list("- a") is None
    assert datasource_list("\t: : [") is None


@given(st.binary(max_size=4096), st.booleans())
def test_damaged_tables_never_raise(data: bytes, gpt: bool) -> None:
    import tempfile

    head = bytearray(data.ljust(4096, b"\0"))
    head[510:512] = b"\x55\xaa"
    if gpt:
        head[450], head[512:520] = 0xEE, b"EFI PART"
    with tempfile.NamedTemporaryFile() as file:
        file.write(head)
        file.flush()
        table = partitions(Path(file.name))
    assert all(0 <= part.start < 4096 for part in table.partitions)


@given(st.lists(st.tuples(st.uuids(), st.integers(34, 2000), st.integers(0, 50)), max_size=20))
def test_gpt_entries_come_back(parts: list[tuple[UUID, int, int]]) -> None:
    import tempfile

    parts = [part for part in parts if part[0].int]
    entries = b"".join(
        kind.bytes_le + bytes(16) + struct.pack("<QQQ", first, first + more, 0) + bytes(72)
        for kind, first, more in parts
    )
    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"", 0xEE, b"", 1, 9999) + bytes(48) + b"\x55\xaa"
    header = (b"EFI PART" + bytes(64) + struct.pack("<QII", 2, 128, 128)).ljust(512, b"\0")
    with tempfile.NamedTemporaryFile() as file:
        file.write((mbr + header + entries).ljust(2100 * 512, b"\0"))
        file.flush()
        table = partitions(Path(file.name))
    assert [(part.start, part.size) for part in table.partitions] == [
        (first * 512, (more + 1) * 512) for _, first, more in parts
    ]


def test_a_hostile_cloud_configuration_costs_nothing() -> None:
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert datasource_list(f"a0: &a0 [x]\n{levels}datasource_list: [Azure, *a29]\n") == ["azure"]
    assert datasource_list("[" * 20_000) is None
    assert datasource_list("datasource_list: [Azure]\nx: 2020-99-99\n") is None
