"""Virtual machines through libvirt. The driver is `LibvirtDriver`; libvirt's own library is loaded when it is used."""

from aibemu_drivers.libvirt.driver import LibvirtDriver as LibvirtDriver

__all__ = ["LibvirtDriver"]
