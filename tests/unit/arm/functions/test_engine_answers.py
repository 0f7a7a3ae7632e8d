"""Each expression that Azure's own engine was asked gives what it gave, or is wanted otherwise, with the reason."""

from __future__ import annotations

import json
import re
from itertools import pairwise

from aibemu.arm.functions.collation import before
from tests.unit.arm.functions.engine import ANSWERS, ours, recorded

# The part of our refusals that may be without the engine's very words.
MOST_WITHOUT = 0.17

# What is wanted otherwise: a pattern of the whole expression, and why.
WANTED = {
    r"(resourceGroup|subscription|tenant|environment|managementGroup)\(\).*": "settings and documents answer"
    " what the engine leaves to Azure",
    r"deployment\(\).*": "the engine has no deployment around the template: what Azure gives is documented",
    r"deployer\(\)": "an id that no account has",
    r"\[concat\('a'\)\]": "recorded as text that is no expression",
    r"endsWith\('a', substring\('\U0001f600x', 1\)\)": "half a character is refused at once",
    r"(to(Logical|Physical)Zones?|listKeys|list|pickZones)\(.*": "what Azure has to answer is checked here already",
    r"resourceInfo\(.*": "the engine wants a languageVersion for it",
    r"(lambdaVariables|externalInput|getSecret)\(.*": "known by name here, so that the message can say more",
}


def test_each_answer_is_the_engines() -> None:
    differences = []
    used = set()
    for expression, answer in (recorded("expressions") | recorded("types")).items():
        mine = ours(expression)
        if mine.as_engine(answer):
            continue
        wanted = next((pattern for pattern in WANTED if re.fullmatch(pattern, expression)), None)
        used.add(wanted)
        if wanted is None:
            differences.append(f"{expression}\n  engine: {answer.what!r}\n  aibemu: {mine.what!r}")
    assert not differences, "\n".join([f"{len(differences)} differ:", *differences[:50]])
    assert set(WANTED) - used == set(), "these do not differ any more"


def test_text_is_in_the_engines_order() -> None:
    order = json.loads((ANSWERS / "order.json").read_text(encoding="utf-8"))
    for groups in (order["characters"], order["words"]):
        for group, after in pairwise(groups):
            assert before(group[0], after[0])
            assert not before(after[0], group[0])


def test_our_refusals_have_the_engines_words_beside_them() -> None:
    """Where both refuse. Not in all: .NET's own words, and those of the parser, are not."""
    refused = 0
    without = []
    for expression, answer in recorded("expressions").items():
        mine = ours(expression)
        if answer.kind == mine.kind == "error":
            refused += 1
            if mine.azure != answer.what:
                without.append((expression, answer.what, mine.azure))
    assert len(without) < refused * MOST_WITHOUT, without[:20]
