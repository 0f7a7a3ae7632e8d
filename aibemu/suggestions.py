"""Did you mean: the name that somebody probably meant who typed another one."""

from __future__ import annotations

from collections.abc import Iterable

# Comparing takes time in the square of the length; no name is longer.
_LONGEST = 100
_CUTOFF = 0.6


def nearest(word: str, options: Iterable[str], count: int) -> list[str]:
    """Up to `count` options that `word` may mean, the best first: whatever its case, or a small slip away."""
    folded = {option.casefold(): option for option in options}
    if word.casefold() in folded:
        return [folded[word.casefold()]]
    from difflib import get_close_matches

    near = get_close_matches(word.casefold()[:_LONGEST], folded, n=count, cutoff=_CUTOFF)
    return [folded[name] for name in near]


def closest(word: str, options: Iterable[str]) -> str | None:
    """The option that `word` probably means, else None."""
    return next(iter(nearest(word, options, 1)), None)


def did_you_mean(word: str, options: Iterable[str], *, quoted: bool = False) -> str | None:
    """The question for a hint, `did you mean NAME?`; None when nothing is near."""
    near = closest(word, options)
    if near is None:
        return None
    return f"did you mean '{near}'?" if quoted else f"did you mean {near}?"
