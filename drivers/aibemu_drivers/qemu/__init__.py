"""The default driver: QEMU as a child process."""

from aibemu_drivers.qemu.driver import QemuDriver

__all__ = ["QemuDriver"]
