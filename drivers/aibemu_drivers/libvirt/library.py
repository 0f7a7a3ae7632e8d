"""libvirt's own library (libvirt-python): optional, and loaded only when the driver talks to libvirt."""

from __future__ import annotations

import importlib
import threading
from functools import cache
from typing import Any

from aibemu.errors import HostNotReady

# It is built when it is installed, for there are no wheels.
INSTALL_HEADERS = "sudo apt-get install --yes libvirt-dev pkg-config gcc python3-dev"
INSTALL_LIBRARY = "pip install 'aibemu[libvirt]'"


def load() -> Any:
    """The module `libvirt`, ready to be used. `HostNotReady` when it is not installed."""
    library = _load("libvirt")
    _start_loop()
    return library


def load_qemu() -> Any:
    """The module `libvirt_qemu`: what libvirt offers for QEMU alone. `HostNotReady` when it is not installed."""
    return _load("libvirt_qemu")


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HostNotReady(
            "the driver libvirt needs the Python package libvirt-python, which cannot be loaded",
            details=[str(error), "pip builds it from source: that takes libvirt's headers and a C compiler"],
            hint=f"install them, then the package: {INSTALL_HEADERS} && {INSTALL_LIBRARY}",
            commands=[INSTALL_HEADERS, INSTALL_LIBRARY],
        ) from error


@cache  # libvirt has one loop for each process, before its first connection, which may never be stopped or replaced
def _start_loop() -> threading.Thread:
    """The thread in which libvirt tells of events. It waits without holding Python up, and ends with the program."""
    library = _load("libvirt")
    # Each error is raised as well: it would be printed besides.
    library.registerErrorHandler(_ignore, None)
    library.virEventRegisterDefaultImpl()
    thread = threading.Thread(target=_run, args=(library,), name="libvirt events", daemon=True)
    thread.start()
    return thread


def _ignore(_: object, __: object) -> None:
    pass


def _run(library: Any) -> None:
    while True:
        library.virEventRunDefaultImpl()
