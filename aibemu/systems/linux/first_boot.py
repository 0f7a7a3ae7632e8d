"""Waiting until cloud-init has finished, so that no customizer races it (the service's users do: facts, service 7.1 no.
24): by what it says on the console, then by what it left in the guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from aibemu.clock import Deadline
from aibemu.communicators import Communicator
from aibemu.communicators.login_shell import in_sh
from aibemu.errors import Expired

# On the console, where nearly every image has it: that cloud-init works, is in its last stage or over, is over.
WORKS = "Cloud-init v."
LAST_STAGE = re.compile(r"Cloud-init v\. \S+ (?:running 'modules:final'|finished at)")
ENDED = re.compile(r"Cloud-init v\. \S+ finished at")
# Seconds, before scaling, to wait for one of these; then cloud-init itself is asked.
CONSOLE_PATIENCE = 60.0
LOOK = 0.1
# What cloud-init leaves says it as well as `cloud-init status --wait`, which takes seconds to start in an emulated
# guest; only where that is not plain, it is asked itself. It leaves it a moment after it said that it has finished.
FIRST_BOOT = r"""command -v cloud-init >/dev/null 2>&1 || exit 127
cd /run/cloud-init 2>/dev/null || exec cloud-init status --wait >/dev/null 2>&1
tries=0
while [ -e enabled ] && [ ! -e result.json ] && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
if grep -qs '"errors": *\[\]' result.json; then
grep -qsE '"(WARNING|ERROR|CRITICAL|DEPRECATED)": *\[' status.json || exit 0
fi
cloud-init status --wait >/dev/null 2>&1"""
WORDS = {0: "done", 1: "error", 2: "degraded", 127: "absent"}


def await_on_console(
    console: Callable[[], str], words: re.Pattern[str], alive: Callable[[], None], bound: Deadline
) -> bool:
    """Wait until the console has said `words`; False if it never said that cloud-init works, or takes too long.

    console: gives what is new, all that was said before at first.
    """
    patience = bound.within(CONSOLE_PATIENCE)
    if WORKS not in (text := console()):
        return False
    while True:
        if words.search(text):
            return True
        alive()
        try:
            patience.sleep(LOOK)
        except Expired:
            bound.check()
            return False
        text = console()


def wait_for_first_boot(communicator: Communicator, warn: Callable[[str], None], bound: Deadline) -> str:
    """Wait until cloud-init has finished; one of `WORDS`. What went wrong is a warning, for the service goes on too."""
    status = communicator.run(in_sh(FIRST_BOOT), deadline=bound)
    word = WORDS.get(status.code if status.code is not None else -1, "error")
    if word in {"error", "degraded"}:
        _, text = communicator.output(in_sh("cloud-init status --long 2>&1 | tail -n 8"), deadline=bound)
        warn(f"first boot ended {word}: {' / '.join(text.split(chr(10)))}")
    return word
