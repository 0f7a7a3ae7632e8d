"""Work of a build that nothing waits for until its phases are over."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from types import TracebackType


class Beside:
    """Threads of their own for such work. Leaving it waits for them; what they raised then is of a build that has
    failed already."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[[], None]) -> None:
        """Do `work` beside what comes next."""
        context = contextvars.copy_context()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by `join`
                self._errors.append(error)

        thread = threading.Thread(target=context.run, args=(run,), name="beside")
        thread.start()
        self._threads.append(thread)

    def join(self) -> None:
        """Wait for all of it; raise what the first that failed raised."""
        self.wait()
        if self._errors:
            error = self._errors[0]
            self._errors.clear()
            raise error

    def wait(self) -> None:
        """Wait for all of it, whatever came of it."""
        while self._threads:
            self._threads[-1].join()  # an interrupt here must not lose it
            self._threads.pop()

    def forget(self) -> None:
        """Wait for all of it, and pass over what it raised: another attempt begins."""
        self.wait()
        self._errors.clear()

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()
