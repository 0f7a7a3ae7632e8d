"""Text of expressions to trees: the grammar, and slips at their exact places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.arm.expressions import Access, Call, Expression, ExpressionError, Literal, is_expression, unescape
from aibemu.arm.expressions.syntax import MAX_DEPTH, MAX_LENGTH, parse


def written(tree: Expression) -> str:
    """The tree as text again."""
    if isinstance(tree, Literal):
        return str(tree.value) if isinstance(tree.value, int) else "'" + tree.value.replace("'", "''") + "'"
    if isinstance(tree, Call):
        return f"{tree.name}({', '.join(map(written, tree.arguments))})"
    return f"{written(tree.base)}[{written(tree.key)}]"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("'a'", Literal("a", 0)),
        ("'it''s'", Literal("it's", 0)),
        ("''", Literal("", 0)),
        ("12", Literal(12, 0)),
        ("-3", Literal(-3, 0)),
        ("f()", Call("f", (), 0)),
        (" f ( 1 , 'b' ) ", Call("f", (Literal(1, 5), Literal("b", 9)), 1)),
        ("f().x", Access(Call("f", (), 0), Literal("x", 4), 4)),
        ("f()[0]", Access(Call("f", (), 0), Literal(0, 4), 4)),
        ("f()['a b'].c", Access(Access(Call("f", (), 0), Literal("a b", 4), 4), Literal("c", 11), 11)),
        ("my.f(1)", Call("my.f", (Literal(1, 5),), 0)),
        ("f(g(h()))", Call("f", (Call("g", (Call("h", (), 4),), 2),), 0)),
        ("concat(\n  'a',\n  'b'\n)", Call("concat", (Literal("a", 10), Literal("b", 17)), 0)),
    ],
)
def test_trees(text: str, tree: Expression) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 0, "empty"),
        ("'a", 0, "never closed"),
        ("f(", 1, "`(` of f is never closed"),
        ("f('a'", 5, "`,` or `)` is missing in the call of f, before the end"),
        ("f('a' 'b')", 6, "`,` or `)` is missing"),
        ("f('a',)", 6, "an argument of f is missing before `)`"),
        ("f(,'a')", 2, "an argument of f is missing before `,`"),
        ("f()[0", 3, "`[` is never closed"),
        ("f().", 4, "a name is missing after `.`"),
        ("f() g()", 4, "unexpected `g` after the end"),
        ("parameters", 0, "`parameters` is not a function call"),
        ("f(true)", 2, "`true` is not a function call"),
        ('f("a")', 2, 'unexpected `"`'),
        ("f(1.5)", 2, "whole"),
        ("f(+)", 2, "unexpected `+`"),
        ("f(123456789012345678901)", 2, "does not fit 64 bits"),
    ],
)
def test_slips_have_their_places(text: str, at: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.id, caught.value.at) == ("X01", at)
    assert words in caught.value.message


def test_true_without_brackets_gets_the_right_hint() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("f(True)")
    assert caught.value.hint == "write true()"


def test_bounds() -> None:
    with pytest.raises(ExpressionError, match="levels"):
        parse("f(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1))
    with pytest.raises(ExpressionError, match="longer"):
        parse("'" + "x" * MAX_LENGTH + "'")
    parse("f(" * (MAX_DEPTH - 1) + ")" * (MAX_DEPTH - 1))


@pytest.mark.parametrize(
    ("text", "expression", "plain"),
    [
        ("[f()]", True, "[f()]"),
        ("[[f()]", False, "[f()]"),
        ("[[ -f /x ]]", False, "[ -f /x ]]"),
        ("[x", False, "[x"),
        ("[[x", False, "[[x"),
        (" [f()]", False, " [f()]"),
        ("[f()] ", False, "[f()] "),
        ("", False, ""),
    ],
)
def test_what_is_an_expression(text: str, expression: bool, plain: str) -> None:
    assert is_expression(text) is expression
    assert expression or unescape(text) == plain


names = st.from_regex(r"[a-z][A-Za-z0-9]{0,6}", fullmatch=True)
literals = st.text(max_size=8).map(lambda text: Literal(text, 0)) | st.integers(-(10**9), 10**9).map(
    lambda number: Literal(number, 0)
)
trees = st.recursive(
    literals,
    lambda inner: (
        st.builds(Call, names, st.lists(inner, max_size=3).map(tuple), st.just(0))
        | st.builds(lambda base, key: Access(base, key, 0), inner, inner)
    ),
    max_leaves=12,
)


@given(trees)
def test_what_is_written_is_read_again(tree: Expression) -> None:
    assert written(parse(written(tree))) == written(tree)


@given(st.text(alphabet="fg'()[].,1 \n-$\"\\é", max_size=30))
def test_any_text_is_a_tree_or_an_error_inside_it(text: str) -> None:
    try:
        parse(text)
    except ExpressionError as error:
        assert error.at is not None
        assert 0 <= error.at <= len(text)
