"""A libvirt of the test process's own: without a daemon, in a folder that nobody else has (`qemu:///embed`)."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
from pathlib import Path

import pytest

# As root libvirt would run QEMU as another user, in a cgroup and with a /dev of its own, and with a log daemon.
SETTINGS = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""


def need_libvirt() -> None:
    """Skip the test where libvirt, or its library, is not installed."""
    if importlib.util.find_spec("libvirt") is None:
        pytest.skip("libvirt-python is not installed: ./test.sh installs it")
    if shutil.which("libvirtd") is None:
        pytest.skip("libvirt's driver of QEMU is not installed: ./test.sh installs it")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("libvirt-qemu")
        except KeyError:
            pytest.skip("there is no user libvirt-qemu, whom root's libvirt wants to know: ./test.sh adds it")


def embed_settings(root: Path) -> str:
    """Prepare the folder of a libvirt without a daemon; its uri."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc" / "qemu.conf").write_text(SETTINGS)
    return f"qemu:///embed?root={root}"


def made_ready(root: Path) -> str:
    """A libvirt in `root`, ready to be used; its uri."""
    need_libvirt()
    # It has a word for each oddity of the host, on standard error.
    os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", f"3:file:{root}/log.txt")
    from aibemu_drivers.libvirt.addresses import parse_address
    from aibemu_drivers.libvirt.connection import connection_to

    connection = connection_to(parse_address(embed_settings(root)))
    # libvirt asks each QEMU what it can, and again whenever the host's CPU looks otherwise: on some hosts it differs
    # from core to core.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        connection.call(lambda virt: virt.getCapabilities(), seconds=300)
    finally:
        os.sched_setaffinity(0, cores)
    return connection.address.uri
