"""The offline base image, as a file. How it boots is seen where it is booted anyway: without aibemu's driver and
platform in test_packer_parity.py, grown and with a kernel update in test_builds.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.disks.guestfs import GuestFiles
from aibemu.images import BaseImage, Generation, Provisioning

pytestmark = pytest.mark.vm

GIB = 1024**3


def test_it_is_stored_as_what_it_is(base_image: BaseImage, tmp_path: Path) -> None:
    info = base_image.info
    assert (info.os_type, info.os_name) == ("Linux", "Debian GNU/Linux 12 (bookworm)")
    assert (info.generation, info.provisioning, info.generalized) == (Generation.V1, Provisioning.AZURE, True)
    assert base_image.virtual_size == 4 * GIB
    assert base_image.file_size < GIB
    assert base_image.path.stat().st_mode & 0o222 == 0


def test_it_is_generalised(base_image: BaseImage, tmp_path: Path) -> None:
    files = GuestFiles.open_disk(base_image.path, "qcow2", tmp_path, forever())
    assert files is not None
    with files:
        assert files.read("/etc/machine-id") == ""
        assert [name for name in files.list("/etc/ssh") or [] if name.startswith("ssh_host_")] == []
        (root,) = (line for line in (files.read("/etc/shadow") or "").splitlines() if line.startswith("root:"))
        assert root.split(":")[1][:1] in ("!", "*")
        assert not any(":1000:" in line for line in (files.read("/etc/passwd") or "").splitlines())
        for folder in ("/home", "/var/lib/cloud", "/var/lib/waagent", "/dev"):
            assert files.list(folder) in ([], None), folder
        assert [name for name in files.list("/root") or [] if "aibemu" in name] == []
        assert "99mmdebstrap" not in (files.list("/etc/apt/apt.conf.d") or [])
