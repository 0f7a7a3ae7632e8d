"""The value of an expression.

Arguments are evaluated first, except those of the few functions that decide what is evaluated (`if`, `and`, `or`) and
of lambdas. What a function returns stands at its call; values that are passed on keep the place they came from.
"""

from __future__ import annotations

from aibemu.arm.evaluate.limits import MOST_CHARACTERS
from aibemu.arm.expressions.errors import ExpressionError, Unknowable
from aibemu.arm.expressions.frame import Frame
from aibemu.arm.expressions.secrets import SHORTEST_PIECE
from aibemu.arm.expressions.syntax import Access, Call, Expression, Literal
from aibemu.arm.expressions.values import node_of
from aibemu.arm.functions import LAZY, find, names
from aibemu.arm.functions.access import found_at, nothing_there
from aibemu.arm.functions.signature import Argument, Function, Lambda, bind
from aibemu.arm.nodes import Node, NodeKind
from aibemu.arm.places import Locate
from aibemu.suggestions import did_you_mean

MAX_CALLS = 64


def characters(text: str) -> int:
    """The length of a text as .NET counts it, in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


# What only Azure knows the answer of: a property that is not there may be there in Azure.
_ASKS_AZURE = ("reference", "references", "list")


class Interpreter:
    """Evaluates in one frame. place: where the n-th character of the expression's text stands in the file."""

    def __init__(self, frame: Frame, place: Locate) -> None:
        self.frame = frame
        self.place = place

    def value(self, expression: Expression) -> Node:
        """The value; raises ExpressionError with `at` set, or Unknowable."""
        if isinstance(expression, Literal):
            return node_of(expression.value, self.place(expression.at))
        if isinstance(expression, Access):
            return self.access(expression)
        try:
            return self.call(expression)
        except ExpressionError as error:
            if error.at is None:
                error.at = expression.at
            raise

    def call(self, call: Call) -> Node:
        self.frame.scope.spend()
        lazy = LAZY.get(call.name.casefold())
        if lazy is not None:
            return lazy(self, call)
        if "." in call.name:
            arguments = [self.value(argument) for argument in call.arguments]
            return self.frame.scope.call_own(call.name, arguments, self.frame.depth)
        function = find(call.name)
        if function is None:
            raise unknown_function(call)
        take = self.kept if function.lenient else self.argument
        return self.apply(function, call, [take(argument) for argument in call.arguments])

    def argument(self, expression: Expression) -> Argument:
        """An argument's value; of a lambda, something that can be called."""
        if isinstance(expression, Call) and expression.name.casefold() == "lambda":
            return self.closure(expression)
        return self.value(expression)

    def kept(self, expression: Expression) -> Argument:
        """An argument that is only passed on: what is not known of something that is stands in the result as such."""
        try:
            return self.argument(expression)
        except Unknowable:
            if not isinstance(expression, Access):
                raise
            return Node(NodeKind.UNKNOWN, self.place(expression.at))

    def apply(self, function: Function, call: Call, arguments: list[Argument]) -> Node:
        try:
            bound = bind(function, arguments)
        except ExpressionError as error:
            error.at = call.at if error.at is None else call.arguments[error.at].at
            error.in_call(call.name)
            raise
        for argument in arguments:
            if isinstance(argument, Node) and (argument.items or argument.members):
                self.frame.scope.weigh(argument, worked_on=True)
        if function.scoped:
            bound.insert(0, self.frame)
        secrets = self.frame.scope.secrets
        try:
            made = function.call(*bound)
        except ExpressionError as error:
            if not function.public and secrets.in_(arguments):  # its words may hold a part of the secret
                error.message, error.hint = f"{function.name} cannot work with this value, which is secret", None
                error.azure = None
            error.in_call(call.name)
            raise
        kept = function.public or made is None or isinstance(made, Node | bool)
        sources = [] if kept else secrets.in_(arguments)
        if isinstance(made, str) and len(made) > MOST_CHARACTERS // 2 and characters(made) > MOST_CHARACTERS:
            count = characters(made)
            message = (
                f"what {function.name} gives is too long: {count} characters, and ARM takes {MOST_CHARACTERS} at most"
            )
            raise ExpressionError(message, at=call.at)
        node = secrets.computed(made, self.place(call.at), sources, whole=function.whole)
        if node.items or node.members:
            self.frame.scope.weigh(node, worked_on=node is not made)
        return secrets.hide(node, shortest=SHORTEST_PIECE) if function.secret else node

    def closure(self, call: Call) -> Lambda:
        """`lambda('name', ..., body)` as a Python function of as many Nodes as it has names."""
        *heads, body = call.arguments or (Literal("", call.at),)
        labels = [head.value for head in heads if isinstance(head, Literal) and isinstance(head.value, str)]
        if len(labels) != len(heads) or not call.arguments:
            message = "a lambda takes the names of its variables as text, and an expression"
            raise ExpressionError(message, id_="X02", at=call.at, hint="for example lambda('x', lambdaVariables('x'))")
        if self.frame.depth > MAX_CALLS:
            raise ExpressionError("lambdas inside each other go too deep", at=call.at)

        def run(*values: Node) -> Node:
            self.frame.scope.spend()
            inner = self.frame.bound(dict(zip(labels, values, strict=False)))
            return Interpreter(inner, self.place).value(body)

        return Lambda(variables=len(labels), run=run)

    def access(self, access: Access) -> Node:
        base = self.value(access.base)
        key = self.value(access.key)
        found = found_at(base, key)
        if found is None:
            raise self.nothing_there(access, base, key)
        return found

    def nothing_there(self, access: Access, base: Node, key: Node) -> ExpressionError:
        root = access.base
        while isinstance(root, Access):
            root = root.base
        asked = base.kind is NodeKind.OBJECT and isinstance(key.value, str)
        if asked and isinstance(root, Call) and root.name.casefold().startswith(_ASKS_AZURE):
            target = self.value(root.arguments[0]).value if root.arguments else ""
            message = f"'{key.value}' of {root.name}('{target}') is something only Azure knows"
            from aibemu.arm.functions.azure import how_to_supply

            hint = how_to_supply(root.name, str(target), f'{{"{key.value}": VALUE}}')
            return ExpressionError(message, id_="X07", at=access.at, hint=hint)
        return nothing_there(base, key, at=access.at)


def unknown_function(call: Call) -> ExpressionError:
    """The error for a name that is no function."""
    hint = did_you_mean(call.name, names()) or "text in brackets that is no expression starts with `[[`"
    azure = f"The template function '{call.name}' is not valid"
    return ExpressionError(f"there is no function '{call.name}'", id_="X02", at=call.at, hint=hint, azure=azure)


__all__ = ["Interpreter", "unknown_function"]
