"""Shell text for a guest whose login shell is not known: sshd gives it every command, and fish and csh are no sh.

Plain words (`cat FILE`, `sudo -n sh`) mean the same to all of them; whatever is more than that goes through here.
"""

from __future__ import annotations

# Not even within single quotes do all shells take these as they are: csh an exclamation mark and the end of a line,
# fish a backslash before another or before a quote. `printf %b` makes them again.
_WRITTEN = {"\\": "\\0134", "!": "\\0041", "\n": "\\0012", "'": "\\0047"}


def in_sh(text: str) -> str:
    """A command that has `sh` run `text`, whatever the login shell is. The shell is in the place of the login shell
    then: the same process, with its environment and standard streams."""
    plain = not any(letter in text for letter in ("\\", "!", "\n"))
    if plain:
        # Ending the quotes for a quote is what all of them have in common.
        return "exec sh -c '" + text.replace("'", "'\\''") + "'"
    written = "".join(_WRITTEN.get(letter, letter) for letter in text)
    return f"""exec sh -c 'eval "$(printf %b "$1")"' sh '{written}'"""
