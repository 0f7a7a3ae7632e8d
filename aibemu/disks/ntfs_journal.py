"""Whether the journal of an NTFS volume ($LogFile) was closed: Windows does that when it lets go of a volume for good.

The flag that is called dirty says something else: that chkdsk is to look at the volume. A machine whose power was cut
leaves that flag alone, and a journal that is open.

Source: the layout and the rule as the Linux kernel and ntfs-3g have them (logfile.h, ntfs_is_logfile_clean). Tests ask
ntfs-3g, which refuses to write to such a volume.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator

from aibemu.disks import Unreadable
from aibemu.disks.ntfs_parts import STRIDE, protected

Read = Callable[[int, int], bytes]

# What begins its first two pages; chkdsk writes the second.
_MAGICS = (b"RSTR", b"CHKD")
_USUAL_PAGE = 4096
_LARGEST_PAGE = 64 * 1024
_NOBODY = 0xFFFF  # no client has it open
_CLEAN = 2


def is_closed(read: Read) -> bool:
    """read: gives bytes of the file. False too for a journal that makes no sense: then nobody knows."""
    head = read(0, _USUAL_PAGE)
    size = struct.unpack_from("<I", head, 0x10)[0] if len(head) >= STRIDE and head.startswith(_MAGICS) else _USUAL_PAGE
    if not STRIDE <= size <= _LARGEST_PAGE or size & (size - 1):
        size = _USUAL_PAGE
    pages = (read(0, size), read(size, size))
    if all(pages) and not any(page.strip(b"\xff") for page in pages):
        return True  # as chkdsk, mkntfs and ntfs-3g leave it: it is empty
    states = [state for page in pages for state in _states(page)]
    return max(states, key=lambda state: state[0])[1] if states else False


def _states(page: bytes) -> Iterator[tuple[int, bool]]:
    """(its number, whether it says closed) of a page; none of one that is no such page. The higher number counts."""
    with contextlib.suppress(Unreadable):
        whole = protected(page, *_MAGICS)
        at = struct.unpack_from("<H", whole, 0x18)[0]
        if at + 0x10 <= len(whole):
            number, _, _, client, flags = struct.unpack_from("<QHHHH", whole, at)
            if not whole.startswith(_MAGICS[0]):
                number = struct.unpack_from("<Q", whole, 8)[0]
            yield number, client == _NOBODY or bool(flags & _CLEAN)
