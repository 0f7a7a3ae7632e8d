"""The ARM template language: what stands in `[...]`.

`syntax` makes a tree of the text; `scope` says what an expression may ask. The functions are a table (`arm.functions`);
the interpreter, above them, makes a value of the tree (`arm.evaluate.interpreter`).
Values are Nodes throughout, so that whatever comes out still knows where it came from.
"""

from __future__ import annotations

from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.syntax import (
    Access,
    Call,
    Expression,
    Literal,
    is_expression,
    loses_bracket,
    parse,
    unescape,
)

__all__ = [
    "Access", "Call", "Expression", "ExpressionError", "Literal", "Unknowable", "is_expression", "loses_bracket",
    "parse", "unescape",
]  # fmt: skip
