"""What is computed of a secret is a secret, wherever it goes; what does not say what the secret is stays readable."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from aibemu import redact
from aibemu.arm.expressions import secrets
from aibemu.arm.expressions.surroundings import Surroundings, key_of
from tests.unit.arm.evaluate.workbench import Result, build, given_of, image_template

SECRET = "hunter2-Secret+Key/1"
S = "parameters('s')"
TEMPLATE: dict[str, Any] = {
    "parameters": {
        "s": {"type": "securestring"},
        "o": {"type": "secureObject", "defaultValue": {"user": "root", "word": 'xk29 jq"z', "pin": 482913}},
        "plain": {"type": "string", "defaultValue": "plain"},
    },
    "functions": [
        {"namespace": "my", "members": {"f": {
            "parameters": [{"name": "x", "type": "string"}],
            "output": {"type": "string", "value": "[base64(concat('q', parameters('x')))]"},
        }}}
    ],
    "variables": {
        "copy": [{"name": "loop", "count": 2, "input": f"[toUpper(concat(copyIndex('loop'), {S}))]"}],
        "member": {"a": [f"[toLower({S})]"]},
    },
}  # fmt: skip


def evaluated(*expressions: str, **more: Any) -> Result:
    """The template with these as outputs, 0 and up."""
    outputs = {str(number): {"value": f"[{text}]"} for number, text in enumerate(expressions)}
    return build({**TEMPLATE, "outputs": outputs, **more}, given_of({"s": SECRET}))


def shown(expression: str, **more: Any) -> Any:
    """An expression's value as it may be shown."""
    result = evaluated(expression, **more)
    assert not result.findings, result.errors
    return redact.Redactor(result.evaluated.secrets)(result.outputs["0"])


@pytest.mark.parametrize(
    "expression",
    [
        S,
        f"base64({S})",
        f"toUpper({S})",
        f"toLower({S})",
        f"uriComponent({S})",
        f"dataUri({S})",
        f"replace({S}, '-', '_')",
        f"substring({S}, 0, 8)",
        f"take({S}, 12)",
        f"skip({S}, 12)",
        f"last(split({S}, '-'))",
        f"first(split({S}, '-'))",
        f"base64(concat('user:', {S}))",
        f"base64ToString(base64(toUpper({S})))",
        f"my.f({S})",
        f"uniqueString({S})",
        f"guid({S})",
        f"base64(base64({S}))",
        f"if(true(), base64({S}), '')",
        f"coalesce(null(), base64({S}))",
        f"base64(resourceId('A.B/c', replace({S}, '/', '-')))",
        f"json(toUpper(format('\"{{0}}\"', {S})))",
        f"base64ToJson(base64(toUpper(format('\"{{0}}\"', {S}))))",
        "variables('member').a[0]",
        "parameters('o').word",
        "base64(parameters('o').word)",
        "string(parameters('o'))",
        "string(parameters('o').pin)",
        "concat('x', add(parameters('o').pin, 1))",
        f"first(map(createArray({S}), lambda('x', base64(lambdaVariables('x')))))",
        f"tryGet(union(createObject('a', toUpper({S})), createObject('b', 'c')), 'a')",
        f"first(createArray(toUpper({S})))",
        f"base64(string(createObject({S}, 'x')))",
        f"toUpper(first(objectKeys(createObject({S}, 'x'))))",
        f"toUpper(items(createObject({S}, 'x'))[0].key)",
        f"base64(join(createArray('a', {S}), ','))",
        f"reduce(createArray({S}), 'b', lambda('a', 'b', base64(lambdaVariables('b'))))",
    ],
)
def test_all_of_it_is_masked(expression: str) -> None:
    assert shown(expression) == redact.MASK


def test_taking_it_apart_does_not_help() -> None:
    letters = f"map(range(0, length({S})), lambda('i', substring({S}, lambdaVariables('i'), 1)))"
    assert shown(f"join({letters}, '.')") == redact.MASK
    assert shown(f"concat(substring({S}, 0, 3), '-', substring({S}, 3, 3), '-', substring({S}, 6))") == redact.MASK


@pytest.mark.parametrize(
    ("expression", "readable"),
    [
        (f"concat('user:', {S}, '@host')", "user:***@host"),
        (f"format('{{0}}-{{1}}', 'a', {S})", "a-***"),
        (f"string(createArray('a', {S}))", '["a","***"]'),
        (f"join(createArray('a', base64({S})), ',')", "a,***"),
        (f"replace('mysql -p@@ db', '@@', {S})", "mysql -p*** db"),
        (f"uri('https://host.example/', {S})", "https://host.example/***"),
        (f"split(concat('administrator:', {S}), ':')", ["administrator", "***"]),
        (f"json(concat('{{\"a\": \"', {S}, '\", \"b\": \"public words\"}}'))", {"a": "***", "b": "public words"}),
        (f"length({S})", len(SECRET)),
        (f"string(length({S}))", "20"),
        (f"indexOf({S}, '-')", 7),
        (f"equals({S}, 'x')", False),
        (f"if(startsWith({S}, 'hunter'), 'long words', 'others')", "long words"),
        (f"empty({S})", False),
        ("objectKeys(parameters('o'))", ["pin", "user", "word"]),
        ("items(createObject('password', parameters('s')))[0]", {"key": "password", "value": "***"}),
        (f"createObject('user', 'public', 'password', base64({S})).user", "public"),
        (f"concat(parameters('plain'), if(empty({S}), '', '-set'))", "plain-set"),
    ],
)  # fmt: skip
def test_the_rest_stays_readable(expression: str, readable: Any) -> None:
    assert shown(expression) == readable


@pytest.mark.parametrize(
    ("secret", "piece"),
    [("https://u:pw@host.example/x", "https"), ("Server=tcp:db,1433;Pwd=x9", "Server"), ("1234567890", "12345")],
)
def test_a_word_of_it_does_not_black_out_logs(secret: str, piece: str) -> None:
    template = {**TEMPLATE, "outputs": {"o": {"type": "string", "value": f"[substring({S}, 0, {len(piece)})]"}}}
    result = build(template, given_of({"s": secret}))
    line = f"a line with {piece} in it"
    assert redact.Redactor(result.evaluated.secrets).text(line) == line


def test_a_short_password_inside_of_one_is_masked() -> None:
    for secret, expression in (
        ('{"user": "bob", "password": "secret"}', f"json({S}).password"),
        ("user=bob;password=abc123", f"last(split(last(split({S}, ';')), '='))"),
        ("pw12", f"toUpper({S})"),
    ):
        template = {**TEMPLATE, "outputs": {"o": {"type": "string", "value": f"[{expression}]"}}}
        result = build(template, given_of({"s": secret}))
        assert redact.Redactor(result.evaluated.secrets)(result.outputs["o"]) == redact.MASK


def test_a_loop_of_variables() -> None:
    assert shown("variables('loop')") == ["***", "***"]


def test_a_number_that_is_secret_is_not_shown() -> None:
    result = evaluated("createArray(parameters('o').pin, add(parameters('o').pin, 1), 5)")
    assert result.evaluated.outputs["0"].value.shown() == [None, None, 5]
    assert result.outputs["0"] == [482913, 482914, 5]


class TestWhereItGoes:
    def module(self, kind: str, **outputs: Any) -> dict[str, Any]:
        inner = image_template(name="[concat('t', length(parameters('p')))]", tags={"v": "[toUpper(parameters('p'))]"})
        template = {"parameters": {"p": {"type": kind}}, "resources": [inner], "outputs": outputs}
        return {
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "n",
            "properties": {
                "mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}, "template": template,
                "parameters": {"p": {"value": f"[base64({S})]"}},
            },
        }  # fmt: skip

    @pytest.mark.parametrize("kind", ["string", "securestring"])
    def test_into_a_nested_deployment_and_out_of_it(self, kind: str) -> None:
        up = {"type": "string", "value": "[toLower(parameters('p'))]"}
        again = "base64(reference('n').outputs.up.value)"
        result = evaluated(again, resources=[self.module(kind, up=up)])
        mask = redact.Redactor(result.evaluated.secrets)
        assert mask(result.resources[0]["tags"]) == {"v": redact.MASK}
        assert mask(result.outputs["0"]) == redact.MASK

    def test_a_secure_output_of_a_nested_deployment(self) -> None:
        made = {"type": "securestring", "value": "[concat('made-', 'of-public-words')]"}
        assert shown("reference('n').outputs.made.value", resources=[self.module("string", made=made)]) == redact.MASK

    def test_a_name_a_key_and_a_condition(self) -> None:
        named = image_template(
            name=f"[uniqueString({S})]", tags={f"[toUpper({S})]": "x"}, condition=f"[not(empty({S}))]"
        )
        result = evaluated("base64(reference(uniqueString(parameters('s')), '1', 'full').name)", resources=[named])
        mask = redact.Redactor(result.evaluated.secrets)
        assert mask(result.resources[0]["name"]) == redact.MASK
        assert mask.text(next(iter(result.resources[0]["tags"]))) == redact.MASK
        assert mask(result.outputs["0"]) == redact.MASK

    def test_a_default_value(self) -> None:
        parameters = {**TEMPLATE["parameters"], "d": {"type": "string", "defaultValue": f"[base64({S})]"}}
        assert shown("toLower(parameters('d'))", parameters=parameters) == redact.MASK


def test_parts_that_are_declared_secure() -> None:
    """As Bicep's @secure() on a property of a type."""
    each = "lambdaVariables('e')"
    entry = {"type": "object", "properties": {"name": {"type": "string"}, "key": {"$ref": "#/definitions/key"}}}
    template = {
        "languageVersion": "2.0", "definitions": {"key": {"type": "securestring"}, "entry": entry}, "resources": {},
        "parameters": {"p": {"type": "array", "items": {"$ref": "#/definitions/entry"}}},
        "outputs": {
            "o": {"type": "array", "value": f"[map(parameters('p'), lambda('e', toUpper({each}.key)))]"},
            "names": {"type": "array", "value": f"[map(parameters('p'), lambda('e', {each}.name))]"},
        },
    }  # fmt: skip
    result = build(
        template, given_of({"p": [{"name": "public-name", "key": "first-key-1"}, {"name": "b", "key": "k2-second"}]})
    )
    mask = redact.Redactor(result.evaluated.secrets)
    assert not result.findings
    assert result.evaluated.secrets >= {"first-key-1", "k2-second"}
    assert mask(result.outputs) == {"o": ["***", "***"], "names": ["public-name", "b"]}


def test_answers_of_the_list_functions() -> None:
    keys = {"keys": [{"keyName": "key1", "value": "c3RvcmFnZS1rZXk=", "permissions": "FULL"}]}
    around = Surroundings(supplied={key_of("listKeys", "store"): keys, key_of("getSecret", "v"): "vault-secret"})
    key = "listKeys('store', '2023-01-01').keys[0]"
    outputs = {
        "key": {"type": "string", "value": f"[toUpper({key}.value)]"}, "all": {"type": "object", "value": f"[{key}]"},
        "secret": {"type": "string", "value": "[getSecret('v')]"},
    }  # fmt: skip
    result = build({"outputs": outputs}, around=around)
    assert redact.Redactor(result.evaluated.secrets)(result.outputs) == {
        "key": "***", "secret": "***", "all": {"keyName": "key1", "value": "***", "permissions": "FULL"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "call", ["int({0})", "json({0})", "bool({0})", "base64ToString({0})", "fail({0})", "dateTimeAdd({0}, 'P1D')"]
)
def test_an_error_does_not_repeat_it(call: str) -> None:
    long = "x" * 30 + " long secret! " + "y" * 60
    template = {**TEMPLATE, "resources": [image_template(location=f"[{call.format(S)}]")]}
    (found,) = build(template, given_of({"s": long})).findings
    assert "xxx" not in f"{found.message} {found.hint}"
    assert "secret" in found.message


def test_there_is_an_end_of_them() -> None:
    many = f"map(range(0, 9999), lambda('i', base64(concat(lambdaVariables('i'), {S}))))"
    result = evaluated(f"length({many})")
    assert result.errors == [f"X03: more than {secrets.MOST} values are computed of secrets"]


def test_what_masks_them_agrees_on_what_is_short() -> None:
    assert secrets.SHORTEST == redact.SHORTEST


class TestWhateverIsComputed:
    """Two secrets that differ in each letter: once masked, nothing that is computed of one differs from the other."""

    steps = (
        "base64({0})", "toUpper({0})", "toLower({0})", "concat({0}, {1})", "format('{{0}}-{{1}}', {0}, {1})",
        "skip({0}, 3)", "take({0}, 28)", "replace({0}, '-', '_')", "join(split({0}, '-'), '::')", "uriComponent({0})",
        "my.f({0})", "string(createArray({0}, {1}))", "string(createObject('k', {0}, 'l', {1}))", "uniqueString({0})",
        "join(map(createArray({0}, 'b'), lambda('x', toUpper(lambdaVariables('x')))), '+')",
        "padLeft(take({0}, 12), 16, '.')",
        "tryGet(createObject('k', {0}), 'k')", "resourceId('A.B/c', replace({0}, '/', '-'))",
        "base64ToString(base64({0}))", "trim({0})",
        "last(split({0}, '-'))", "toUpper(first(objectKeys(createObject({0}, 'x'))))", "dataUri({0})",
    )  # fmt: skip

    def made(self, random: Random, depth: int) -> str:
        if not depth:
            return random.choice([S, S, "'public words'", "variables('loop')[0]", "parameters('plain')"])
        return random.choice(self.steps).format(self.made(random, depth - 1), self.made(random, depth - 1))

    @pytest.mark.parametrize("seed", range(4))
    def test_does_not_tell_secrets_apart(self, seed: int) -> None:
        random = Random(seed)
        expressions = [self.made(random, random.randint(1, 4)) for _ in range(60)]
        for expression in expressions:
            masked = []
            for secret in ("bcdbf4eK-Tgh76ghkCeLpq", "qrsqr9eD-Tnm58nmrGeMsj"):
                template = {**TEMPLATE, "outputs": {"0": {"type": "string", "value": f"[{expression}]"}}}
                result = build(template, given_of({"s": secret}))
                assert not result.findings, result.errors
                masked.append(redact.Redactor(result.evaluated.secrets)(result.outputs["0"]))
            assert masked[0] == masked[1], expression
