"""What a guest's login shell is given when a person has a command run."""

from __future__ import annotations

import pytest

from aibemu.systems.linux.system import LinuxSystem


@pytest.mark.parametrize(
    ("words", "sudo", "text"),
    [
        (("dmesg | tail",), False, "dmesg | tail"),
        (("printf", "%s\n", "a b", "$HOME"), False, "printf '%s\n' 'a b' '$HOME'"),
        (("id", "-u"), True, "sudo -n -- id -u"),
        (("id -u | cat",), True, "sudo -n -- \"${SHELL:-/bin/sh}\" -c 'id -u | cat'"),
        (("reboot",), True, 'sudo -n -- "${SHELL:-/bin/sh}" -c reboot'),
    ],
)
def test_one_word_is_for_the_shell_and_several_are_quoted(words: tuple[str, ...], sudo: bool, text: str) -> None:
    assert LinuxSystem().command(words, as_root=sudo) == text
