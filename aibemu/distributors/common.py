"""What distributors share: errors that name their target, and one stored image per disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aibemu.clock import Deadline
from aibemu.distributors import DistributorTools, FinishedImage
from aibemu.errors import AibemuError, BuildCancelled, BuildTimedOut, DistributeFailed
from aibemu.images import BaseImage
from aibemu.template.model import Target

_MADE_OF = "disk"
_LOOK_EVERY = 0.05  # seconds


@contextmanager
def distributing(target: Target) -> Iterator[None]:
    """Turn what goes wrong inside into a `DistributeFailed` at the target; let the end of the build through."""
    try:
        yield
    except (BuildCancelled, BuildTimedOut):
        raise
    except AibemuError as error:
        raise DistributeFailed(
            error.message,
            hint=error.hint,
            details=error.details,
            span=error.span or target.span,
            commands=error.commands,
        ) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise DistributeFailed(
            f"{target.kind} output {target.run_output_name} could not be written: {error.strerror or error}{where}",
            span=target.span,
        ) from error


def stored_image(finished: FinishedImage, tools: DistributorTools, deadline: Deadline) -> BaseImage:
    """The finished disk as an image of the store; converted once per run however many targets want it, also at once.

    The store itself remembers which disk an image was made of: as the same file of the same run, unchanged since.
    """
    stat = finished.disk.stat()
    made_of = f"{finished.run_id}:{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
    with _held(tools.storing, deadline):
        if finished.digest:
            return tools.store.find(finished.digest) or tools.store.take(
                finished.disk, finished.digest, finished.info, deadline=deadline
            )
        if known := tools.store.find_label(_MADE_OF, made_of):
            return known
        return tools.store.add(
            finished.disk, finished.info, deadline=deadline, source_format="qcow2", labels={_MADE_OF: made_of}
        )


@contextmanager
def _held(lock: threading.Lock, deadline: Deadline) -> Iterator[None]:
    """With the lock, for which a build that is over does not wait. The wait is real: a clock of tests may not let any
    time pass."""
    deadline.poll(lambda: lock.acquire(timeout=_LOOK_EVERY), every=0)
    try:
        yield
    finally:
        lock.release()
