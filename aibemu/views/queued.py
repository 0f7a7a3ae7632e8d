"""A view with a thread of its own, so that one that is slow or blocked never holds up the build.

Events wait in a queue of bounded length. When it is full, those that follow are left out of it: the view's thread reads
them from the run's record once it has shown what waits. So nothing is lost, and memory does not grow.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, runtime_checkable

from aibemu.events import Event, Kind, View

ROOM, ROOM_BYTES = 1000, 16 << 20  # events that wait in memory, and characters of output in them
# Seconds for which a view may show nothing at the end of a run before it is given up, and how often that is looked at:
# one that goes on showing, however slowly, is waited for this many times as long at most.
STALLED, LOOKS = 3.0, 10
# The same of a build that somebody stopped: they wait for the end, and not for what it printed before.
STALLED_SOON, LOOKS_SOON = 1.5, 2
RELEASED = 1.0  # seconds in which a view that was given up should end

# Reads on in the record: the events with higher numbers than the given one.
ReadOn: TypeAlias = Callable[[int], Iterable[Event]]


@runtime_checkable
class CanGiveUp(Protocol):
    """A view whose blocked `on_event` can be ended from another thread."""

    def give_up(self) -> None:
        """Show nothing more, and let what waits for the reader return soon. Takes no lock."""
        ...


class QueuedView:
    """Hands events to `view` in its own thread, in order, each once. Closes it there too.

    read_on: for what the queue had no room for; called by that thread only. failed: called by that thread when the view
    raised; it gets no more events then. room: how many events may wait in memory.
    """

    def __init__(
        self, view: View, *, read_on: ReadOn, failed: Callable[[QueuedView, Exception], None], room: int = ROOM
    ) -> None:
        self.view = view
        self._read_on = read_on
        self._failed = failed
        self._room = room
        self._changed = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._held = 0  # characters of output that wait
        self._behind = False  # what follows the queue must be read from the record
        self._given = self._shown = 0  # numbers of the last event that it was told, and that the view has seen
        self._last = self._over = False  # no more is to come; nothing more is shown
        self._done = False  # its thread has said all that it has to say
        self._thread: threading.Thread | None = None

    def on_event(self, event: Event) -> None:
        """Take it in without waiting. It must be in the record by now, if it ever gets there."""
        with self._changed:
            if self._over:
                return
            self._given = event.seq
            if event.seq <= self._shown:  # it was read from the record, where it was a moment before
                return
            self._behind = self._behind or len(self._waiting) >= self._room or self._held > ROOM_BYTES
            if not self._behind:
                self._waiting.append(event)
                self._held += _length(event)
            self._changed.notify_all()
            if self._thread is None:
                self._shown = event.seq - 1
                self._thread = threading.Thread(target=self._work, name="view", daemon=True)
                self._thread.start()

    def flush(self, seconds: float) -> bool:
        """Wait until the view has seen all events so far; False if it has not within `seconds`."""
        with self._changed:
            wanted = self._given
            return self._changed.wait_for(lambda: self._done or self._shown >= wanted, seconds)

    def end(self) -> None:
        """No more events will come."""
        with self._changed:
            self._last = True
            self._changed.notify_all()

    def close(self, *, soon: bool = False) -> None:
        """Wait until the view has seen everything and is closed; give it up if it makes no progress.

        soon: wait for a few seconds only, whatever progress it makes.
        """
        stalled, looks = (STALLED_SOON, LOOKS_SOON) if soon else (STALLED, LOOKS)
        self.end()
        if (thread := self._thread) is None:
            close_quietly(self.view)
            return
        for _ in range(looks):
            before = self._shown
            thread.join(stalled)
            if not thread.is_alive():
                return
            if self._shown == before:
                break
        with self._changed:
            self._over = True
        if isinstance(self.view, CanGiveUp):
            self.view.give_up()
        thread.join(RELEASED)

    def _work(self) -> None:
        try:
            while self._go_on():
                pass
        except Exception as error:  # noqa: BLE001 - whatever a view does, the build goes on
            with self._changed:
                self._over = True
                self._waiting.clear()
            close_quietly(self.view)
            self._failed(self, error)
        else:
            close_quietly(self.view)
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _go_on(self) -> bool:
        """Show the next event, or those that the queue had no room for; False when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._behind or self._last or self._over)
            if self._over or not (self._waiting or self._behind):
                return False
            event, wanted = self._waiting.popleft() if self._waiting else None, self._given
            self._held -= _length(event) if event else 0
        if event is not None:
            self._show(event)
        else:
            self._catch_up(wanted)
        return True

    def _show(self, event: Event) -> None:
        self.view.on_event(event)
        with self._changed:
            self._shown = event.seq
            self._changed.notify_all()

    def _catch_up(self, wanted: int) -> None:
        """Show what the record has after what was shown last; say it if the events up to `wanted` are not all there."""
        last = None
        for last in self._read_on(self._shown):
            if self._over:
                return
            self._show(last)
        lost = wanted - self._shown
        if lost > 0:
            self.view.on_event(_not_shown(lost, wanted, last))
        with self._changed:
            self._shown = max(self._shown, wanted)
            self._behind = self._shown < self._given
            self._changed.notify_all()


def _length(event: Event) -> int:
    return len(str(event.fields.get("line") or ""))


def _not_shown(count: int, number: int, last: Event | None) -> Event:
    """What a view is told instead of `count` events that are not in the record: a disk was full."""
    message = f"{count} events are not shown: they came faster than they could be shown, and the record lacks them"
    return Event(
        seq=number, at=last.at if last else "", run=last.run if last else "", kind=Kind.NOTICE, phase=None, step=None,
        fields={"level": "warning", "message": message},
    )  # fmt: skip


def close_quietly(view: View) -> None:
    """Close a view that is being given up: whatever goes wrong, there is nobody left to tell."""
    try:
        view.close()
    except Exception:  # noqa: BLE001 - see above
        return
