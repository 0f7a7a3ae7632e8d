"""`vagrant up` of a box that is our own base image, with Debian's Vagrant and vagrant-libvirt: the transcript in
docs/vagrant.md, once more. Only with VAGRANT_UP=1: it takes minutes without KVM, and needs root, dnsmasq and
iptables.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.images import BaseImage
from aibemu.images.box import KEY, make_box
from tests.libvirt_embed import PrivateDaemon, need_private_daemon

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif("VAGRANT_UP" not in os.environ, reason="takes minutes, and more packages: VAGRANT_UP=1"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def daemon() -> Iterator[PrivateDaemon]:
    need_private_daemon()
    if missing := [name for name in ("vagrant", "dnsmasq", "iptables") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (packages vagrant-libvirt, dnsmasq-base, iptables)")
    with tempfile.TemporaryDirectory(prefix="aibemu-lv-", ignore_cleanup_errors=True) as root:
        daemon = PrivateDaemon(Path(root), network=True)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.kill()


def test_a_box_of_our_base_image_comes_up(daemon: PrivateDaemon, base_image: BaseImage, tmp_path: Path) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "a checkout"
    scratch.mkdir()
    folder.mkdir()
    shutil.copy(ROOT / "Vagrantfile", folder)
    make_box(base_image.path, folder / "image.box", scratch, deadline=forever(), say=lambda text: None)
    env = os.environ | {
        "VAGRANT_HOME": str(tmp_path / "vagrant"), "VAGRANT_CHECKPOINT_DISABLE": "1", "AIBEMU_VM_DRIVER": "qemu",
        "LIBVIRT_DEFAULT_URI": daemon.uri,
    }  # fmt: skip

    def vagrant(*words: str) -> str:
        done = subprocess.run(
            [*daemon.inside(folder), "vagrant", *words], env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=1500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Machine booted and ready!" in vagrant("up", "image", "--provider", "libvirt")
    user, root, *keys = vagrant("ssh", "image", "-c", "id -un; sudo -n id -u; cat .ssh/authorized_keys").splitlines()
    assert (user, root) == ("vagrant", "0")
    assert len(keys) == 1 and KEY.split()[1] not in keys[0]
    vagrant("destroy", "--force", "image")
    assert "not created" in vagrant("status", "image")
