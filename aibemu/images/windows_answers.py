"""Answer files of Windows' setup that a disk has itself: where they lie, and whether they are still to be used."""

from __future__ import annotations

import re

# Where Setup looks for an answer file before it looks at removable media (facts: windows-images 3).
ANSWERS = tuple(
    f"Windows\\Panther\\{name}"
    for name in ("Unattend\\Unattend.xml", "Unattend\\Autounattend.xml", "Unattend.xml", "Autounattend.xml")
)
_SETTINGS = re.compile(r"<(?:\w+:)?settings\b([^<>]{0,2000})>", re.IGNORECASE)
# Passes that are run at the first boot of a generalised image.
_FIRST_BOOT = re.compile(r"""\bpass\s*=\s*["'](?:specialize|oobeSystem)["']""", re.IGNORECASE)
_PROCESSED = re.compile(r"""\bwasPassProcessed\s*=\s*["']true["']""", re.IGNORECASE)


def has_unused_settings(content: bytes) -> bool:
    """Whether an answer file has settings for the first boot that Setup has not marked as used."""
    first, *rest = content.decode(_encoding(content), "replace").split("<!--")
    text = first + "".join(part.partition("-->")[2] for part in rest)  # without comments
    return any(_FIRST_BOOT.search(one[1]) and not _PROCESSED.search(one[1]) for one in _SETTINGS.finditer(text))


def _encoding(content: bytes) -> str:
    """As XML finds it: by a byte-order mark, or by the zeros in UTF-16 that has none."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(content[:2], "utf-8-sig")
