"""Building the offline base image from Debian packages as a recipe says: mmdebstrap, then `bootable`, then the store.

The disk boots both ways, BIOS and UEFI; a recipe's generation only says which of them the image is started with.
Works as root and as an ordinary user with user namespaces (packages mmdebstrap, uidmap; a line in /etc/subuid).
About 75 s on two cores. The package sources are those that this host's apt has for the recipe's suite, else
mmdebstrap's own default, and they stay in the image.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from aibemu.clock import Deadline
from aibemu.disks.convert import ensure_space
from aibemu.errors import AibemuError, HostNotReady
from aibemu.files import FileLock
from aibemu.images import BaseImage, ImageInfo
from aibemu.images.bootable import PROGRAMS, make_disk, volume_id
from aibemu.images.recipes import Recipe
from aibemu.images.store import ImageStore
from aibemu.processes import ToolFailed, find_program, run_tool

Say = Callable[[str], None]
RECIPE = "recipe"  # label in the store: the digest of the recipe an image was built from
_GIB = 1024**3
_DISTRIBUTION = "Debian"  # Origin of the archive and its mirrors; third parties use the same suite names

# Answers what the real program will find in the guest, where there is no disk to look at: so that `update-grub` here
# writes the grub.cfg that it will write there.
_GRUB_PROBE = """\
#!/bin/sh
target=
while [ $# -gt 0 ]; do
  case "$1" in
    --target=*) target=${1#--target=} ;;
    -t|--target) target=$2; shift ;;
  esac
  shift
done
case "$target" in
  device) echo /dev/sda1 ;;
  disk) echo /dev/sda ;;
  fs) echo ext2 ;;
  fs_uuid) echo @UUID@ ;;
  fs_label) echo root ;;
  partmap) echo gpt ;;
  drive) echo '(hd0,gpt1)' ;;
  bios_hints|compatibility_hint) echo hd0,gpt1 ;;
  hints_string) echo '--hint-bios=hd0,gpt1 --hint-efi=hd0,gpt1 --hint-baremetal=ahci0,gpt1 ' ;;
esac
"""

# Runs in the image. grub-mkconfig writes root=UUID= only if /dev/disk/by-uuid has it (facts: host, traps); what is made
# below /dev never reaches the disk. Both of GRUB's core images, for BIOS and for UEFI, find their folder and the one
# grub.cfg by UUID, so a later update-grub takes effect for both. /boot/efi becomes the EFI system partition.
_FINISH = """\
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
sh -e /root/aibemu-recipe.sh
echo 'UUID=@UUID@ / ext4 rw,discard,errors=remount-ro 0 1' > /etc/fstab
# An emulated machine on a busy host may need more than the 90 s after which systemd gives a device up, and its boot.
echo 'UUID=@ESP@ /boot/efi vfat defaults,x-systemd.device-timeout=15min 0 0' >> /etc/fstab
mkdir -p /boot/efi/EFI/BOOT
for target in i386-pc x86_64-efi; do
  if ! [ -d /usr/lib/grub/$target ]; then
    echo "no GRUB for $target: the recipe's packages need grub-pc-bin, grub-efi-amd64-bin and grub2-common" >&2
    exit 1
  fi
  mkdir -p /boot/grub/$target
  cp /usr/lib/grub/$target/*.mod /usr/lib/grub/$target/*.lst /boot/grub/$target/
  printf 'search.fs_uuid %s root hd0,gpt1\\nset prefix=($root)/boot/grub\\n' @UUID@ > /boot/grub/$target/load.cfg
done
cp /usr/lib/grub/i386-pc/boot.img /boot/grub/i386-pc/
grub-mkimage -O i386-pc -c /boot/grub/i386-pc/load.cfg -p /boot/grub -o /boot/grub/i386-pc/core.img \\
  biosdisk part_gpt ext2 search_fs_uuid
grub-mkimage -O x86_64-efi -c /boot/grub/x86_64-efi/load.cfg -p /boot/grub -o /boot/efi/EFI/BOOT/BOOTX64.EFI \\
  part_gpt ext2 search_fs_uuid
grub-editenv /boot/grub/grubenv create
mkdir -p /dev/disk/by-uuid
: > /dev/disk/by-uuid/@UUID@
dpkg-divert --quiet --local --rename --divert /usr/sbin/grub-probe.real --add /usr/sbin/grub-probe
cp /root/aibemu-grub-probe /usr/sbin/grub-probe
chmod 755 /usr/sbin/grub-probe
update-grub
rm /usr/sbin/grub-probe
dpkg-divert --quiet --local --rename --remove /usr/sbin/grub-probe
rm -r /dev/disk
grep -q 'root=UUID=@UUID@' /boot/grub/grub.cfg
# generalised: cloud-init and the agent start from nothing
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /var/lib/dhcp/* /root/.bash_history /var/lib/systemd/random-seed
rm -rf /var/lib/cloud/* /var/log/cloud-init* /var/lib/waagent/* /var/log/waagent* /var/log/apt/* /var/log/*.log
rm -f /etc/apt/apt.conf.d/99mmdebstrap
passwd -l root > /dev/null
rm -f /root/aibemu-*
"""


def build(recipe: Recipe, store: ImageStore, deadline: Deadline, say: Say, *, force: bool = False) -> BaseImage:
    """Build `recipe` into the store and set its aliases, or reuse the image of an unchanged recipe unless `force`.

    Two builds of one recipe at once: the second waits and reuses. Raises HostNotReady (programs, disk space) and
    ToolFailed with the tool's last lines.
    """
    with _only_one(store, recipe, deadline, say):
        if not force and (image := store.find_label(RECIPE, recipe.digest)):
            say(f"{recipe.name} is built already: {image.short} (--force builds it again)")
            _set_aliases(recipe, store, image)
            return image
        for program in ("mmdebstrap", *PROGRAMS, "qemu-img", *(() if os.geteuid() == 0 else ("newuidmap",))):
            find_program(program)
        with store.scratch() as work:
            ensure_space(work, 3 * _GIB, f"building {recipe.name}")
            disk = _make(recipe, work, deadline, say)
            say("storing the image")
            image = store.add(
                disk, _info(recipe, disk, work, deadline), deadline=deadline, source_format="raw",
                labels={RECIPE: recipe.digest, "recipe_name": recipe.name},
            )  # fmt: skip
        _set_aliases(recipe, store, image)
    return image


def _make(recipe: Recipe, work: Path, deadline: Deadline, say: Say) -> Path:
    uuid = uuid4()
    _write_payload(recipe, uuid, work / "payload.tar")
    say(f"installing {len(recipe.packages)} packages of {recipe.suite} and what they need (about a minute)")
    _bootstrap(recipe, work, deadline)
    say(f"making a {recipe.disk_gib} GiB disk that boots")
    return make_disk(work, size=recipe.disk_gib * _GIB, uuid=uuid, deadline=deadline)


def _bootstrap(recipe: Recipe, work: Path, deadline: Deadline) -> None:
    """Run mmdebstrap to `work/rootfs.tar`."""
    mode = "auto" if os.geteuid() == 0 else "unshare"
    argv: list[str | Path] = [
        *_apart(deadline), "mmdebstrap", f"--mode={mode}", "--variant=minbase", "--architectures=amd64", "--format=tar",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in _proxies(deadline)),
        f"--customize-hook=tar-in {shlex.quote(str(work / 'payload.tar'))} /",
        '--customize-hook=chroot "$1" sh /root/aibemu-finish.sh',
        recipe.suite, work / "rootfs.tar", *_sources(recipe.suite, deadline),
    ]  # fmt: skip
    # As root the tree is made where `sweep` finds it; an ordinary user's mapped root cannot look into a home folder.
    place = {"TMPDIR": str(work)} if os.geteuid() == 0 else {}
    try:
        run_tool(argv, deadline=deadline, env=os.environ | {"LC_ALL": "C.UTF-8"} | place)
    except ToolFailed as error:
        raise _explained(error) from error


def _apart(deadline: Deadline) -> list[str]:
    """Words before mmdebstrap, which as root mounts /proc, /sys and parts of /dev in the tree that it makes: with
    mounts of its own nothing stays mounted when it is killed. None where root may not: nothing is mounted there."""
    words = ["unshare", "--mount", "--propagation=private", "--"]
    if os.geteuid() != 0 or shutil.which(words[0]) is None:
        return []
    return words if run_tool([*words, "true"], deadline=deadline, check=False).status == 0 else []


def _explained(error: ToolFailed) -> AibemuError:
    """The two things that hosts lack most often, in words; anything else as it is."""
    if "subuid" in error.output or "newuidmap" in error.output:
        return HostNotReady(
            "this user may not create user namespaces with other ids",
            details=error.details,
            hint="add a line for this user to /etc/subuid and /etc/subgid, or run as root",
            commands=["sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"],
        )
    if "NO_PUBKEY" in error.output:
        return HostNotReady(
            f"this host does not have the keys of {_DISTRIBUTION}'s package archive",
            details=error.details,
            commands=["sudo apt-get install --yes debian-archive-keyring"],
        )
    return error


def _sources(suite: str, deadline: Deadline) -> list[str]:
    """One-line apt sources for `suite` (with its updates and security) that this host uses; empty if it has none."""
    if shutil.which("apt-get") is None:
        return []
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    argv = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    argv += ["Architecture: amd64", f"Origin: {_DISTRIBUTION}"]
    found: dict[tuple[str, str], list[str]] = {}
    for line in run_tool(argv, deadline=deadline, check=False).stdout.splitlines():
        site, release, component, *_ = [*line.split(), "", "", ""]
        if component and release in wanted and "@" not in site:  # credentials do not belong into an image
            found.setdefault((site, release), []).append(component)
    if not any(release == suite for _, release in found):
        return []
    return [f"deb {site} {release} {' '.join(dict.fromkeys(parts))}" for (site, release), parts in found.items()]


def _proxies(deadline: Deadline) -> list[str]:
    """The host's apt proxies, for the build only: finish.sh takes them out again."""
    if shutil.which("apt-config") is None:
        return []
    lines = run_tool(["apt-config", "dump"], deadline=deadline, check=False).stdout.splitlines()
    wanted = ("Acquire::http::Proxy ", "Acquire::https::Proxy ")
    return [line for line in lines if line.startswith(wanted) and not line.endswith('"";')]


def _write_payload(recipe: Recipe, uuid: UUID, target: Path) -> None:
    """The tar with the recipe's files and the builder's scripts."""
    texts = [(file.path, file.content, file.mode) for file in recipe.files]
    texts += [
        ("/root/aibemu-recipe.sh", recipe.script, 0o600),
        ("/root/aibemu-grub-probe", _GRUB_PROBE.replace("@UUID@", str(uuid)), 0o755),
        ("/root/aibemu-finish.sh", _FINISH.replace("@UUID@", str(uuid)).replace("@ESP@", volume_id(uuid)), 0o600),
    ]
    with tarfile.open(target, "w") as archive:
        for path, content, mode in texts:
            member = tarfile.TarInfo(f".{path}")
            data = content.encode()
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))


def _info(recipe: Recipe, disk: Path, work: Path, deadline: Deadline) -> ImageInfo:
    from aibemu.images.inspect import inspect

    facts = inspect(disk, scratch=work, deadline=deadline, format="raw")
    return ImageInfo(
        os_type="Linux", os_name=facts.os_name, generation=recipe.generation, provisioning=facts.provisioning,
        generalized=True, origin=f"build {recipe.name}", linux=facts.linux, generations=facts.generations,
    )  # fmt: skip


def _set_aliases(recipe: Recipe, store: ImageStore, image: BaseImage) -> None:
    """The recipe's name, and a marketplace version (0.YYYYMMDD.N) unless this image has one for the offer already."""
    aliases = store.aliases()
    if aliases.get(recipe.name) != image.digest:
        store.set_alias(recipe.name, image.digest)
    for offer in recipe.stands_for[:1]:
        if any(
            alias.lower().startswith(f"{offer.lower()}:") for alias, digest in aliases.items() if digest == image.digest
        ):
            continue
        day = f"{offer}:0.{store.clock.now():%Y%m%d}."
        taken = [int(alias[len(day) :]) for alias in aliases if alias.startswith(day) and alias[len(day) :].isdigit()]
        store.set_alias(f"{day}{max(taken, default=0) + 1}", image.digest)


@contextmanager
def _only_one(store: ImageStore, recipe: Recipe, deadline: Deadline, say: Say) -> Iterator[None]:
    lock = FileLock(store.root / "locks" / f"build-{recipe.digest[:12]}.lock")
    if not lock.acquire(blocking=False):
        say(f"waiting for another build of {recipe.name} to end")
        deadline.poll(lambda: lock.acquire(blocking=False), every=0.5)
    try:
        yield
    finally:
        lock.release()
