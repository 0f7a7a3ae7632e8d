"""What a Linux on a disk is, seen without booting it: its kernel's drivers, who sets it up, what is left in it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import Deadline, SystemClock
from aibemu.images import Generation
from aibemu.images.importing import import_image
from aibemu.images.inspect import DiskFacts, inspect
from aibemu.images.linux import DriverFacts, LinuxFacts
from aibemu.images.linux_look import package_version
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from tests.unit.images.conftest import MIB, Call, ext4, tree
from tests.unit.images.initramfs_files import PACKERS, cpio, modules

Make = Callable[..., Path]
Tree = Mapping[str, str | bytes | None]
KERNEL = "6.12.0-9-amd64"


def kernel(
    version: str = KERNEL, *, builtin: tuple[str, ...] = ("scsi/sd_mod",), root: tuple[str, ...] = (),
    early: tuple[str, ...] = (), packer: str = "zstd", name: str = "boot/initrd.img-{}",
) -> dict[str, str | bytes]:  # fmt: skip
    """Files of an installed kernel. builtin, root, early: modules in it, on the root, in the initramfs."""
    folder = f"usr/lib/modules/{version}"
    return {
        "lib": "-> usr/lib",
        f"boot/vmlinuz-{version}": "MZ",
        f"{folder}/modules.builtin": "".join(f"kernel/drivers/{one}.ko\n" for one in builtin),
        f"{folder}/modules.dep": "".join(f"kernel/drivers/{one}.ko.xz: kernel/x.ko.xz\n" for one in root),
        name.format(version): PACKERS[packer](cpio(["init", *modules(version, *early)])),
    }


VIRTIO = (
    "virtio/virtio_pci",
    "scsi/virtio_scsi",
    "block/virtio_blk",
    "net/virtio_net",
    "scsi/sr_mod",
    "fs/isofs/isofs",
)
OLD = ("ata/ahci", "ata/ata_piix", "net/e1000", "net/e1000e", "scsi/sr_mod", "fs/udf/udf")


@pytest.fixture
def seen(make_disk: Make, tmp_path: Path, deadline: Deadline) -> Callable[..., DiskFacts]:
    def look(changes: Tree, **options: Any) -> DiskFacts:
        return inspect(make_disk(changes, **options), scratch=tmp_path / "s", deadline=deadline)

    return look


def linux(facts: DiskFacts) -> LinuxFacts:
    assert facts.linux is not None
    return facts.linux


@pytest.mark.parametrize("packer", PACKERS)
def test_the_drivers_of_kernel_and_initramfs(packer: str, seen: Callable[..., DiskFacts]) -> None:
    facts = linux(seen(kernel(root=VIRTIO, early=("virtio/virtio-pci", "scsi/virtio_scsi"), packer=packer)))
    assert facts.kernel == KERNEL
    assert facts.drivers == DriverFacts(
        disks=("virtio-scsi",), loadable=("virtio-blk",), cdroms=("virtio-scsi",), nics=("virtio-net",)
    )


@pytest.mark.parametrize(
    ("files", "disks", "cdroms", "nics"),
    [
        (kernel(root=OLD, early=("ata/ahci",)), ("sata",), ("sata", "ide"), ("e1000e", "e1000")),
        (kernel(builtin=(*VIRTIO, "scsi/sd_mod")), ("virtio-scsi", "virtio-blk"), ("virtio-scsi",), ("virtio-net",)),
        # no file system of CDs
        (kernel(builtin=("nvme/host/nvme",), root=OLD[:-1]), ("nvme",), (), ("e1000e", "e1000")),
        (kernel(early=("net/e1000",), root=VIRTIO), (), ("virtio-scsi",), ("virtio-net", "e1000")),
    ],
)  # fmt: skip
def test_which_devices_it_may_have(
    files: Tree, disks: tuple[str, ...], cdroms: tuple[str, ...], nics: tuple[str, ...],
    seen: Callable[..., DiskFacts],
) -> None:  # fmt: skip
    found = linux(seen(files)).drivers
    assert (found.disks, found.cdroms, found.nics, found.unread) == (disks, cdroms, nics, "")


def test_modules_of_another_kernel_in_the_initramfs_do_not_count(seen: Callable[..., DiskFacts]) -> None:
    other = PACKERS["gzip"](cpio(modules("5.0-1", "ata/ahci")))
    found = linux(seen(kernel(root=OLD) | {f"boot/initrd.img-{KERNEL}": other})).drivers
    assert (found.disks, found.loadable) == ((), ("sata", "ide"))


def test_of_several_kernels_the_newest_that_can_be_started(seen: Callable[..., DiskFacts]) -> None:
    removed = {f"usr/lib/modules/7.0.0/{name}": "" for name in ("modules.dep", "modules.builtin")}
    files = kernel("6.9.0-1-amd64") | kernel("6.12.0-10-amd64", early=("ata/ahci",)) | kernel() | removed
    assert linux(seen(files)).kernel == "6.12.0-10-amd64"


@pytest.mark.parametrize("name", ["boot/initramfs-{}.img", "boot/initrd-{}", "usr/lib/modules/{}/initrd"])
def test_names_of_the_initramfs_elsewhere(name: str, seen: Callable[..., DiskFacts]) -> None:
    assert linux(seen(kernel(early=("ata/ahci",), name=name))).drivers.disks == ("sata",)


def test_what_is_built_in_by_its_configuration(seen: Callable[..., DiskFacts]) -> None:
    config = "CONFIG_SATA_AHCI=y\nCONFIG_BLK_DEV_SD=y\nCONFIG_BLK_DEV_NVME=m\n# CONFIG_E1000 is not set\n"
    files = kernel() | {f"usr/lib/modules/{KERNEL}/modules.builtin": "", f"boot/config-{KERNEL}": config}
    assert linux(seen(files)).drivers.disks == ("sata",)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({f"boot/initrd.img-{KERNEL}": None}, f"the initramfs of {KERNEL} was not found"),
        ({f"boot/initrd.img-{KERNEL}": b"\x89LZO and so on"}, "nor one that is packed in a known way"),
        ({f"boot/initrd.img-{KERNEL}": cpio(["a"])[:-20]}, "ends too early"),
        ({f"usr/lib/modules/{KERNEL}/modules.builtin": None}, "built in"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_made_of_it(
    changes: Tree, why: str, seen: Callable[..., DiskFacts]
) -> None:
    facts = seen({**kernel(), **changes})
    assert why in linux(facts).drivers.unread
    assert facts.notes == (f"it is not known which drivers it has: {linux(facts).drivers.unread}",)


def test_kernels_on_a_partition_of_their_own(make_disk: Make, tmp_path: Path, deadline: Deadline) -> None:
    """As Ubuntu's and RHEL's images have them: /boot is empty on the root."""
    files = kernel(early=("ata/ahci",))
    boot = {name.removeprefix("boot/"): text for name, text in files.items() if name.startswith("boot/")}
    disk = make_disk({name: text for name, text in files.items() if name.startswith("usr/")} | {"lib": "-> usr/lib"})
    ext4(disk, tree(tmp_path / "boot", boot), offset=16 * MIB, size=4 * MIB)
    with disk.open("r+b") as stream:
        stream.seek(446 + 16)
        stream.write(bytes(4) + b"\x83\0\0\0" + (16 * 2048).to_bytes(4, "little") + (4 * 2048).to_bytes(4, "little"))
    facts = linux(inspect(disk, scratch=tmp_path / "s", deadline=deadline))
    assert (facts.kernel, facts.drivers.disks, facts.drivers.unread) == (KERNEL, ("sata",), "")


DPKG = """\
Package: waagent-tools
Status: install ok installed
Version: 9

Package: waagent
Status: install ok installed
Architecture: amd64
Version: 2.12.0.2-1~deb13u1
Description: Azure
 Status: deinstall ok config-files

Package: cloud-init
Status: deinstall ok config-files
Version: 1:25.1-3
"""


def test_agents_and_cloud_init_with_their_versions(seen: Callable[..., DiskFacts]) -> None:
    python = "usr/lib/python3/dist-packages"
    facts = linux(seen({
        "usr/sbin/waagent": "x", "usr/bin/cloud-init": "x", "usr/bin/azure-init": "x", "var/lib/dpkg/status": DPKG,
        f"{python}/cloud_init-22.4.2.egg-info/PKG-INFO": "x", f"{python}/WALinuxAgent-1.0-py3.11.egg-info": "x",
    }))  # fmt: skip
    assert (facts.agents, facts.cloud_init) == (("waagent 2.12.0.2", "azure-init"), "cloud-init 22.4.2")
    assert facts.has_waagent and facts.provisioner == "cloud-init"


def test_versions_where_there_is_no_dpkg(seen: Callable[..., DiskFacts]) -> None:
    found = linux(seen({
        "usr/sbin/waagent": "x", "usr/lib/python3.9/site-packages/WALinuxAgent-2.13.1.1-py3.9.egg-info/PKG-INFO": "x",
    }))  # fmt: skip
    assert found.agents == ("waagent 2.13.1.1",)


def test_a_package_of_which_only_settings_are_left_is_not_there() -> None:
    assert package_version(DPKG, "cloud-init") == "" and package_version(DPKG, "waagent") == "2.12.0.2"
    assert package_version(DPKG.replace("deinstall ok config-files", "install ok installed"), "cloud-init") == "25.1"


@pytest.mark.parametrize(
    ("files", "who"),
    [
        ({"usr/bin/cloud-init": "x"}, "cloud-init"),
        ({"usr/bin/cloud-init": "x", "usr/sbin/waagent": "x", "etc/cloud/cloud-init.disabled": ""}, "waagent"),
        ({"usr/sbin/waagent": "x", "etc/waagent.conf": "Provisioning.Agent=auto\n"}, "waagent"),
        ({"usr/sbin/waagent": "x", "etc/waagent.conf": "Provisioning.Agent=disabled\n"}, ""),
        ({"usr/sbin/waagent": "x", "etc/waagent.conf": "Provisioning.Enabled=n\n", "usr/bin/azure-init": "x"},
         "azure-init"),
        ({}, ""),
    ],
)  # fmt: skip
def test_who_sets_it_up(files: Tree, who: str, seen: Callable[..., DiskFacts]) -> None:
    assert linux(seen(files)).provisioner == who


def test_an_image_that_azure_init_sets_up_waits_for_azure(seen: Callable[..., DiskFacts]) -> None:
    facts = seen({"usr/bin/azure-init": "x", "etc/cloud/cloud.cfg": None,
                  "etc/cloud/cloud.cfg.d/91_datasources.cfg": None})  # fmt: skip
    assert facts.provisioning == "azure"


def test_what_is_left_of_an_earlier_machine(seen: Callable[..., DiskFacts]) -> None:
    facts = seen({
        "etc/machine-id": "0123\n", "var/lib/waagent/GoalState.1.xml": "x", "var/lib/cloud/instances/i-1/x": "x",
        "etc/ssh/ssh_host_ed25519_key": "x",
    })  # fmt: skip
    assert facts.generalized
    assert linux(facts).traces == (
        "SSH host keys", "a machine id", "the state of the Azure agent", "what cloud-init made for a machine"
    )  # fmt: skip


@pytest.mark.parametrize(("loader", "generations"), [(True, ("V2", "V1")), (False, ("V1",))])
def test_an_empty_efi_partition_does_not_make_it_generation_2(
    loader: bool, generations: tuple[str, ...], make_disk: Make, tmp_path: Path, deadline: Deadline
) -> None:
    disk = make_disk(efi=True, bios=True)
    with disk.open("r+b") as stream:  # there is room for a file system behind the root
        stream.truncate(16 * MIB)
        stream.seek(2 * 512 + 32)
        stream.write((20480).to_bytes(8, "little") + (28671).to_bytes(8, "little"))
    volume, content = tmp_path / "esp.img", tmp_path / "x.efi"
    volume.write_bytes(bytes(4 * MIB))
    content.write_bytes(b"MZ")
    env = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(["mkfs.vfat", volume], check=True, env=env, stdout=subprocess.DEVNULL)
    if loader:
        subprocess.run(["mmd", "-i", volume, "::/EFI", "::/EFI/debian"], check=True, env=env)
        subprocess.run(["mcopy", "-i", volume, content, "::/EFI/debian/grubx64.efi"], check=True, env=env)
    with disk.open("r+b") as stream:
        stream.seek(20480 * 512)
        stream.write(volume.read_bytes())
    facts = inspect(disk, scratch=tmp_path / "s", deadline=deadline)
    assert facts.generations == generations
    word = "EFI/DEBIAN/GRUBX64.EFI and not EFI/BOOT/BOOTX64.EFI" if loader else "holds no boot loader: generation 1"
    assert any(word in note for note in facts.notes)


def test_all_of_it_is_in_the_record_and_shown(make_disk: Make, store: ImageStore, deadline: Deadline) -> None:
    disk = make_disk(kernel(root=VIRTIO, early=VIRTIO[:3]) | {"usr/sbin/waagent": "x"}, efi=True, bios=True)
    image = import_image(disk, store, deadline=deadline, say=lambda text: None).image
    again = store.get(image.digest).info
    assert again == image.info and again.linux is not None and again.looked_at
    assert LinuxFacts.of(json.loads(json.dumps(asdict(again)))["linux"]) == again.linux
    assert LinuxFacts.of({"distribution": "an older version"}) is not None


def test_show_says_what_was_seen(make_disk: Make, call: Call) -> None:
    disk = make_disk(kernel(root=VIRTIO, early=VIRTIO[:3]) | {"usr/sbin/waagent": "x"}, efi=True, bios=True)
    data = call("import", disk, "--alias", "mine")
    assert data["lookedAt"] and data["generations"] == ["V2", "V1"]
    assert data["linux"]["drivers"]["disks"] == ["virtio-scsi", "virtio-blk"] and data["linux"]["kernel"] == KERNEL
    text = call("show", "mine", human=True)
    for line in (
        "generation    V2, and it can boot as V1 too", f"kernel        {KERNEL}", "azure agent   waagent",
        "generalized   yes: nothing of an earlier machine was seen on it",
        "drivers       disk: virtio-scsi, virtio-blk; CD: virtio-scsi; network: virtio-net",
    ):  # fmt: skip
        assert line in text


def test_a_disk_that_nobody_read_is_not_called_generalised(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "x.raw"
    path.write_bytes(b"XFSB" + bytes(MIB))
    assert call("import", path, "--alias", "x")["lookedAt"] is False
    assert "generalized   not looked at" in call("show", "x", human=True)


def test_describe_looks_again_at_what_an_earlier_version_did_not_read(
    make_disk: Make, call: Call, home: Home, deadline: Deadline
) -> None:
    store = ImageStore(home.images, SystemClock())
    image = import_image(make_disk(kernel()), store, deadline=deadline, say=lambda text: None, aliases=["old"]).image
    store.describe(image.digest, replace(image.info, linux=None, generalized=False))
    assert call("show", "old")["linux"] is None
    seen = call("describe", "old", "--look", "--security-type", "TrustedLaunch")
    assert seen["linux"]["kernel"] == KERNEL and seen["generalized"] and seen["securityType"] == "TrustedLaunch"
    assert "security      TrustedLaunch" in call("show", "old", human=True)
    assert call("describe", "old", "--security-type", "Standard")["securityType"] is None


def test_a_generation_that_its_disk_does_not_boot_as_is_told(
    make_disk: Make, store: ImageStore, deadline: Deadline
) -> None:
    done = import_image(make_disk(), store, deadline=deadline, say=lambda text: None, generation=Generation.V2)
    assert done.image.info.generation is Generation.V2 and done.image.info.generations == (Generation.V1,)
    assert "nothing on its disk boots as that" in done.notes[0]
