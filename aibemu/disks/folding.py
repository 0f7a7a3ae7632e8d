"""How Windows compares names of files and of the registry: without regard to case."""

from __future__ import annotations


def folded(name: str) -> str:
    """The same for names that Windows takes for one: letter by letter, each becoming one letter.

    Python's upper() makes several of some (`ß`), and ASCII ones of two others (`ı`, `ſ`): Windows leaves all these as
    they are, so that a file called `ſystem` is not `System`.
    """
    if name.isascii():
        return name.upper()
    return "".join(_upper(letter) for letter in name)


def _upper(letter: str) -> str:
    upper = letter.upper()
    return upper if len(upper) == 1 and upper.isascii() == letter.isascii() else letter
