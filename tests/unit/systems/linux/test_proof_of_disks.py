"""The proof on whole disks: traces planted on each file system of a system are found, and what was not looked at is
told."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks.system_files import SystemFiles, open_system
from aibemu.disks.tree import Missed
from aibemu.errors import HostNotReady
from aibemu.hypervisor import Level
from aibemu.systems.findings import GeneralizeFinding
from aibemu.systems.linux.generalized import prove
from aibemu.systems.linux.system import LinuxSystem
from tests.linux_disks import LinuxDisks, Part
from tests.unit.systems.linux.test_generalized import CLEAN, INSTANCE, KEY

# Each trace, on the file system on which it is: what the proof calls it.
HOME = {
    "home/packer/.ssh/authorized_keys": "ssh-ed25519 A packer\n", "home/mary/.ssh/authorized_keys": "ssh-ed25519 A\n",
    "home/mary/.ssh/id_ed25519": KEY, "home/mary/.bash_history": "az login\n", "home/mary/.netrc": "machine x\n",
}  # fmt: skip
VAR = {
    "var/lib/waagent/ovf-env.xml": "<x/>", "var/lib/cloud/data/instance-id": "31ca356f\n",
    f"{INSTANCE.strip('/')}/user-data.txt": "#cloud-config\nusers: [packer]\n",
    "var/lib/systemd/random-seed": "x", "var/lib/dhcp/dhclient.leases": "lease {}\n", "var/tmp/left": "x",
    "var/lib/cloud/data/reported_ready": "",
}  # fmt: skip
LOG = {"var/log/cloud-init.log": "x", "var/log/journal/31ca/system.journal": "x"}
OPT = {"opt/agent/.ssh/authorized_keys": "ssh-ed25519 A\n"}
ETC = {
    "etc/machine-id": "31ca356f1cc84783b7198490ef40b8a7\n", "etc/ssh/ssh_host_rsa_key": KEY,
    "etc/passwd": CLEAN["/etc/passwd"] + "packer:x:1000:1::/home/packer:/bin/sh\nagent:x:9:9::/opt/agent:/bin/sh\n",
}  # fmt: skip
FOUND = {
    "home": {
        "home of the build user removed", "no other logins", "no private keys", "no saved credentials",
        "no shell history",
    },
    "var": {
        "agent state removed", "no cloud-init instance cache", "cloud-init keeps no user data", "no random seed",
        "no DHCP leases", "no temporary files", "no seeded reported_ready marker",
    },
    "var/log": {"no logs of the build machine"},
    "opt": {"no other logins"},
    "": {"machine-id empty", "SSH host keys removed", "build user removed"},
}  # fmt: skip
EMPTY = dict.fromkeys(("home/", "var/", "var/log/", "opt/", "usr/"), "")
LVM = ("rootlv", "homelv", "varlv", "app-data")


def below(folder: str, contents: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(f"{folder}/"): text for name, text in contents.items()}


def root(fstab: str) -> dict[str, str]:
    clean = {path.lstrip("/"): text for path, text in CLEAN.items() if not path.startswith("/var")}
    return EMPTY | clean | ETC | {"etc/fstab": fstab}


def plain(disks: LinuxDisks) -> Path:
    """As CIS wants it, each of another kind."""
    fstab = (
        "LABEL=root / ext4\nLABEL=home /home xfs\nLABEL=var /var btrfs\nLABEL=log /var/log ext4\nLABEL=opt /opt xfs\n"
    )
    return disks.disk(
        Part(content=disks.ext4(root(fstab), label="root")),
        Part(content=disks.xfs(below("home", HOME), label="home")),
        Part(content=disks.btrfs(below("var", VAR) | {"log/": ""}, label="var")),
        Part(content=disks.ext4(below("var/log", LOG), label="log")),
        Part(content=disks.xfs(below("opt", OPT), label="opt")),
    )


def logical(disks: LinuxDisks) -> Path:
    """The root on LVM; /opt and /var/log on partitions beside it."""
    places = ("/", "/home", "/var", "/usr")
    lines = [f"/dev/rootvg/{name} {place} auto" for name, place in zip(LVM, places, strict=True)]
    fstab = "\n".join([*lines, "LABEL=opt /opt ext4", "LABEL=log /var/log btrfs", ""])
    usr = {name: text for name, text in root(fstab).items() if name.startswith("usr/")}
    rest = {name: text for name, text in root(fstab).items() if name not in usr}
    volumes = {
        "rootlv": disks.xfs(rest | {"usr/": ""}), "homelv": disks.xfs(below("home", HOME)),
        "varlv": disks.ext4(below("var", VAR) | {"log/": ""}, size=64),
        "app-data": disks.btrfs(below("usr", {name: text for name, text in usr.items() if name != "usr/"})),
    }  # fmt: skip
    return disks.disk(
        Part(content=disks.group(volumes), kind="lvm"), Part(content=disks.ext4(below("opt", OPT), label="opt")),
        Part(content=disks.btrfs(below("var/log", LOG), label="log")),
    )  # fmt: skip


def looked_at(disk: Path, scratch: Path) -> tuple[dict[str, GeneralizeFinding], str]:
    files = open_system(disk, scratch, forever())
    assert isinstance(files, SystemFiles)
    with files:
        found, unseen = prove(files, "packer")
    return {one.check: one for one in found}, unseen


@pytest.mark.parametrize("make", [plain, logical])
def test_traces_on_each_file_system_are_found(make: type, tmp_path: Path) -> None:
    found, unseen = looked_at(make(LinuxDisks(tmp_path)), tmp_path / "scratch")
    wrong = {check for check, one in found.items() if one.level is not Level.OK}
    assert wrong == set().union(*FOUND.values()) and unseen == ""
    assert "/opt/agent/.ssh" in found["no other logins"].message
    assert "/home/mary/.ssh" in found["no other logins"].message


def closed(disks: LinuxDisks, *, also: str = "") -> Path:
    """/home and, if wanted, another one cannot be read."""
    locked = disks.folder / "locked"
    locked.write_bytes(b"LUKS\xba\xbe".ljust(1 << 20, b"\1"))
    fstab = "/dev/sda1 / ext4\n/dev/sda2 /home auto\n" + (f"/dev/sda2 {also} auto\n" if also else "")
    files = root(fstab) | VAR | LOG
    return disks.disk(Part(content=disks.ext4(files)), Part(content=locked))


def test_nothing_is_ok_where_something_was_not_looked_at(tmp_path: Path) -> None:
    found, unseen = looked_at(closed(LinuxDisks(tmp_path)), tmp_path / "scratch")
    assert unseen == "not looked at: /home (partition 2: it is encrypted (LUKS))"
    assert FOUND["home"].isdisjoint(found), "neither OK nor found"
    assert FOUND["var"] <= {check for check, one in found.items() if one.level is not Level.OK}, "what is seen is told"
    last = found["the whole system was looked at"]
    assert (last.level, last.message) == (Level.NOTE, "/home (partition 2: it is encrypted (LUKS))")


def test_what_is_missing_is_not_told_of_what_was_not_looked_at(tmp_path: Path) -> None:
    found, unseen = looked_at(closed(LinuxDisks(tmp_path), also="/usr"), tmp_path / "scratch")
    assert "/usr (" in unseen
    assert "Azure agent installed and enabled" not in found
    assert found["first boot provisioned"].level is Level.OK, "/etc/cloud says enough"


def test_it_is_told_to_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libguestfs it costs a sentence, not a build."""

    def missing(*_: object) -> None:
        raise HostNotReady("the program guestfish is not installed")

    monkeypatch.setattr("aibemu.disks.libguestfs.LibguestfsFiles.open_disk", missing)
    from tests.linux_disks import run

    disk = tmp_path / "disk.qcow2"
    run("qemu-img", "convert", "-O", "qcow2", closed(LinuxDisks(tmp_path)), disk)
    told: list[str] = []
    found = LinuxSystem().generalized(disk, "packer", scratch=tmp_path / "s", deadline=forever(), tell=told.append)
    assert told == ["not looked at: /home (partition 2: it is encrypted (LUKS))"]
    assert any(one.check == "agent state removed" for one in found)


def test_many_places_are_one_sentence() -> None:
    class Files:
        def __init__(self) -> None:
            self.missed = [Missed(what="/a", why="x"), Missed(what="/a", why="x")]
            self.unread = tuple(Missed(what=f"partition {number}", why="y") for number in range(5))

        def read(self, path: str) -> str | None:
            return None

        def list(self, path: str) -> list[str] | None:
            return None

    found, unseen = prove(Files(), "packer")
    assert unseen.startswith("not looked at: partition 0 (y), ") and unseen.endswith(" and 2 more")
    assert found[-1].message.endswith("/a (x)")
