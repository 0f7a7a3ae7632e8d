"""Rules about what the commands of a shell script do (facts: service 5 and 7.2)."""

from __future__ import annotations

from aibemu.template.scripts.access import check_access, check_deprovision
from aibemu.template.scripts.bashisms import check_bashisms
from aibemu.template.scripts.deletions import check_deletions
from aibemu.template.scripts.failures import check_piped_downloads
from aibemu.template.scripts.home import check_home
from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.questions import check_cloud_init, check_early_apt, check_questions
from aibemu.template.scripts.root import check_redirect, check_root


def check_reboot(judge: Judge) -> None:
    """W35: a reboot ends the SSH session, and with it the step."""
    for command in judge.commands:
        name, arguments = command.name, command.arguments
        reboots = name in ("reboot", "poweroff", "halt") or (name == "shutdown" and "-c" not in arguments)
        reboots = reboots or (name in ("init", "telinit") and arguments[:1] in (("0",), ("6",)))
        reboots = reboots or (name == "systemctl" and bool({"reboot", "poweroff", "halt", "kexec"} & set(arguments)))
        if reboots and not {"--help", "--version", "-k"} & set(arguments):
            message = (
                f"`{name}` in a Shell step: there is no restart customizer for Linux, and the service fails or races"
            )
            judge.warn("W35", command.words[0].at, message, "leave it out: the image boots freshly wherever it is used")


CHECKS: tuple[Check, ...] = (
    check_bashisms,
    check_root,
    check_redirect,
    check_reboot,
    check_questions,
    check_early_apt,
    check_cloud_init,
    check_access,
    check_deletions,
    check_deprovision,
    check_piped_downloads,
    check_home,
)
