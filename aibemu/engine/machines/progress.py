"""What people are told while somebody waits for a guest: how far its boot is, and that it does not answer.

The watchdog has it look at the console, many times a second. A new stage is an event; the console's last line is only
shown in passing. When nothing moves for a while, or a guest that was there does not answer, it says once, and again at
growing intervals, what is known and what can be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aibemu.communicators.silence import FIRST_NOTICE, Growing
from aibemu.engine.machines.boot_times import BootTimes
from aibemu.engine.machines.console import ConsoleReader, last_lines
from aibemu.engine.machines.logins import Logins
from aibemu.engine.services import Services
from aibemu.events import Kind
from aibemu.fabric.handle import Platform
from aibemu.hypervisor import Machine
from aibemu.redact import cut_by_shape
from aibemu.systems import BootSigns
from aibemu.text import short

# Seconds without an answer that are worth a word in a notice.
NOTICEABLE = 5.0
# New stages, and notices, that are told of one machine: one that boots, or falls silent, again and again must not fill
# the record.
MOST_STAGES = 50
MOST_NOTICES = 50
SHORTEST_LINE, LONGEST_LINE = 4, 200  # characters
# What is waited for while a machine comes up, besides its server.
REPORT = "the guest's report that it is provisioned"
FIRST_BOOT = "the end of its first boot"


@dataclass(slots=True, kw_only=True)
class _Known:
    """What is known of a machine that is waited for. Times are monotonic seconds."""

    # When it was started; when it made progress, and when its console said something, for the last time.
    started: float
    moved: float
    heard: float
    # What is waited for; "" when nothing is.
    awaited: str = ""
    # What the guest's server answered last, as far as that is worth a word.
    answer: str = ""
    stage: str = ""
    # The newest piece of the console, and the last line on it that was shown.
    text: str = ""
    line: str = ""
    # The stage and the wait that were told last.
    told: tuple[str, str] = ("", "")

    def last(self) -> str:
        """The console's last line, as it is now; not the dots with which boot loaders end theirs."""
        lines = last_lines(self.text, 5)
        telling = [line for line in lines if len(line) >= SHORTEST_LINE]
        line = "".join((telling or lines)[-1:])
        return line[: cut_by_shape(line, LONGEST_LINE)] or self.line


class _Teller:
    """Tells, within bounds. stages: whether there are any to tell of."""

    def __init__(self, services: Services, machine: str, role: str, *, stages: bool) -> None:
        self.services, self.machine, self.role = services, machine, role
        self.tells_stages = stages
        self._stages = self._notices = 0

    def stage(self, known: _Known) -> None:
        """An event, if it is another stage than was told last."""
        if not self.tells_stages or known.told == (known.stage, known.awaited):
            return
        known.told, self._stages = (known.stage, known.awaited), self._stages + 1
        if self._stages <= MOST_STAGES:
            self.services.emit(
                Kind.MACHINE_BOOTING, machine=self.machine, stage=known.stage, awaited=known.awaited, line=known.line,
                seconds=self.services.clock.monotonic() - known.started,
            )  # fmt: skip

    def warn(self, message: str) -> None:
        """A warning."""
        self._notices += 1
        if self._notices <= MOST_NOTICES:
            self.services.emit(Kind.NOTICE, level="warning", message=message)

    def relieve(self, message: str) -> None:
        """What a warning was about is over."""
        if self._notices <= MOST_NOTICES:
            self.services.emit(Kind.NOTICE, level="note", message=message)


class Progress:
    """Of one machine, from its start on. signs: `aibemu.systems.GuestSystem.boot_signs`."""

    def __init__(
        self, services: Services, machine: Machine, role: str, signs: Callable[[str], BootSigns], *,
        platform: Platform | None = None, last_boot: float | None = None, boots: bool = True,
    ) -> None:  # fmt: skip
        """last_boot: seconds that one like this took. boots: False when it goes on from a layer, or is no real one;
        then there are no stages to tell of."""
        slowness = services.accelerator.slowness
        self.last_boot = last_boot
        self.logins = Logins(platform, slowness)
        self._teller = _Teller(services, machine.id, role, stages=boots)
        self._signs, self._console = signs, ConsoleReader(machine)
        self._clock = services.clock
        now = self._clock.monotonic()
        self._known = _Known(started=now, moved=now, heard=now)
        self._troubles: set[str] = set()
        first = FIRST_NOTICE * slowness
        self._standing, self._silent = Growing(max(first, (last_boot or 0.0) / 2)), Growing(first)

    @contextmanager
    def awaiting(self, what: str) -> Iterator[None]:
        """Inside, somebody waits for `what`: its stages are told."""
        known = self._known
        before, known.awaited, known.answer = known.awaited, what, ""
        known.heard = known.moved = self._clock.monotonic()
        self._teller.stage(known)
        try:
            yield
        finally:
            known.awaited = before
        if before:
            self._teller.stage(known)

    def booted(self, key: str) -> None:
        """Steps can run. Keep how long it took; key: `boot_key`."""
        if self._teller.tells_stages:
            times = BootTimes(self._teller.services.home.cache)
            times.note(key, self._clock.monotonic() - self._known.started)

    def __call__(self) -> None:
        """Look at the console and at the time."""
        now, console, known = self._clock.monotonic(), self._console.read(), self._known
        if console != known.text:
            known.text, known.heard = console, now
            if known.awaited:
                self._look(console)
        if known.awaited and self._standing.due(now - known.moved):
            self._teller.warn(self._not_reached(now))

    def silent(self, seconds: float, answer: str) -> None:
        """The guest, which somebody wants something of, has not answered for so long. See `Watch.on_silence`."""
        if self._known.awaited:
            self._known.answer = answer if seconds >= NOTICEABLE else ""
            return
        told = self._silent.told
        if self._silent.due(seconds):
            self._teller.warn(self._does_not_answer(seconds, answer))
        elif told and not self._silent.told:
            self._teller.relieve(f"the {self._teller.role} machine answers again")

    def _look(self, console: str) -> None:
        signs, known = self._signs(console), self._known
        self.logins.over = self.logins.over or signs.first_boot_over
        line = known.last()
        if line != known.line:
            self._teller.services.telemetry.show_passing(machine=self._teller.machine, text=line)
        known.line = line
        if signs.stage and signs.stage != known.stage:
            known.stage, known.moved = signs.stage, self._clock.monotonic()
            self._teller.stage(known)
        for trouble in signs.troubles:
            if trouble not in self._troubles:
                self._troubles.add(trouble)
                self._teller.warn(f"{trouble}; {self._last_line()}; see: {self._see()}")

    def _not_reached(self, now: float) -> str:
        known, quiet = self._known, now - self._known.heard
        usual = f"; the last boot like this took {short(self.last_boot)} in all" if self.last_boot else ""
        at = f", it is at: {known.stage}" if known.stage else ""
        since = f", nothing new on the console for {short(quiet)}" if quiet >= FIRST_NOTICE else ""
        return "; ".join([
            f"the {self._teller.role} machine: waiting for {known.awaited}, no progress for {short(now - known.moved)}",
            f"it was started {short(now - known.started)} ago{at}{since}{usual}", *self._rest()
        ])  # fmt: skip

    def _does_not_answer(self, seconds: float, why: str) -> str:
        return "; ".join([
            f"the {self._teller.role} machine has not answered for {short(seconds)}: {why}",
            "its SSH server or its network may be gone, or its memory or its processes exhausted", *self._rest()
        ])  # fmt: skip

    def _rest(self) -> list[str]:
        """What else is known, and what can be done."""
        rest = [self._known.answer] if self._known.answer else []
        if self.logins.report and self._known.awaited != REPORT:
            rest.append(f"the guest has reported {self.logins.report}")
        cancel = f"aibemu cancel {self._teller.services.run.id}"
        return [*rest, self._last_line(), f"see its console: {self._see()}; stop: {cancel}"]

    def _last_line(self) -> str:
        line = self._known.last()
        return f"the console's last line: {line}" if line else "the console says nothing"

    def _see(self) -> str:
        return f"aibemu logs {self._teller.services.run.id} --console"
