"""No registered secret survives, shapes of unknown ones are found, and redacting twice changes nothing."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu import redact
from aibemu.redact import MASK, Redactor, redact_url
from aibemu.text import clean, harmless

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAAB3Nz\n-----END OPENSSH PRIVATE KEY-----"
PIECES = [*"ab*=&?;: /@.", "sig=", "Authorization: ", "Bearer ", "://", "eyJ", "token=", "https"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXT | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing here", "nothing here"),
        ("https://a.blob/c/x.sh?sv=2024&sig=a%2Bb%3D&se=9", "https://a.blob/c/x.sh?sv=2024&sig=***&se=9"),
        ("curl 'https://a/x?sig=abc' -o y", "curl 'https://a/x?sig=***' -o y"),
        ("https://a/x?SIG=abc", "https://a/x?SIG=***"),
        ("https://a/x?access_token=abc&x=1", "https://a/x?access_token=***&x=1"),
        ("https://a/x?X-Amz-Signature=abc&X-Amz-Date=1", "https://a/x?X-Amz-Signature=***&X-Amz-Date=1"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ('{"authorization": "Basic dXNlcg=="}', '{"authorization": "***"}'),
        ("curl -H 'Authorization: token ghp_1' x", "curl -H 'Authorization: ***' x"),
        ("sent bearer abcdefghijklmnop123", "sent bearer ***"),
        ("the bearer of this letter", "the bearer of this letter"),
        ("basic internationalization", "basic internationalization"),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt *** end"),
        ("AccountName=a;AccountKey=abc==;EndpointSuffix=x", "AccountName=a;AccountKey=***;EndpointSuffix=x"),
        ("git clone https://me:pass@host/x", "git clone https://me:***@host/x"),
        ("git clone https://ghp_abc@host/x", "git clone https://***@host/x"),
        ("ssh://git@host/x and mail me@host", "ssh://git@host/x and mail me@host"),
        (f"before {KEY} after", "before *** after"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "***"),
        ("-----BEGIN CERTIFICATE-----\nabc", "-----BEGIN CERTIFICATE-----\nabc"),
        ("assign=1 design=2", "assign=1 design=2"),
    ],
)
def test_shapes(text: str, expected: str) -> None:
    assert Redactor()(text) == expected


def test_registered_secrets() -> None:
    redactor = Redactor(["hunter2", "hunter2-longer", "abc"])
    assert redactor("hunter2 hunter2-longer abc xhunter2x") == "*** *** abc x***x"
    redactor.add("p@ss word")
    assert redactor(["p@ss word", {"deep": ("p%40ss%20word", 5, None)}]) == [MASK, {"deep": (MASK, 5, None)}]


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    redactor = Redactor(["first-line-of-it\n{\nsecond-line-of-it\n"])
    assert [redactor(line) for line in ("first-line-of-it", "{", "x second-line-of-it")] == [MASK, "{", f"x {MASK}"]


def test_secrets_are_known_in_the_forms_that_texts_have_them_in() -> None:
    secret = 'it\'s <a> "b" & c\td'
    redactor = Redactor([secret])
    texts = [
        json.dumps(secret), repr(secret), html.escape(secret), quote(secret), quote_plus(secret), shlex.quote(secret),
        base64.b64encode(secret.encode()).decode(), secret.upper(), " ".join(secret.split()), harmless(secret),
        base64.urlsafe_b64encode(f"{secret}\n".encode()).decode(),
    ]  # fmt: skip
    assert [text for text in texts if redactor(text) == text] == []
    assert "<a>" not in "".join(map(redactor.text, texts))


@pytest.mark.parametrize("mark", ["...", "\u2026", ""])
@pytest.mark.parametrize("length", [8, 9, 15, 16, 17])
def test_half_a_secret_is_one_too(mark: str, length: int) -> None:
    secret = "battery.staple.battery.staple"
    cut = f"Field 'x' has a bad value: '{secret[:length]}{mark}"
    assert Redactor([secret])(cut).startswith("Field 'x' has a bad value: '***")
    assert "batt" not in Redactor([secret])(f"{cut}'. It must be short" if mark else cut)


def test_a_beginning_that_was_not_cut_stays() -> None:
    assert Redactor(["https://account/container/blob"])("see https://account/other") == "see https://account/other"


def test_a_secret_with_colours_in_it() -> None:
    redactor = Redactor(["hunter2222"])
    assert redactor("a \x1b[31mb\x1b[0m\nsee hun\x1b[01;31mter\x1b[0m2222 end") == "a \x1b[31mb\x1b[0m\nsee *** end"
    assert redactor("x?sig=ab\x1b[mc&y") == "x?sig=***&y"
    assert redactor("\x1b[1mhunter2222\x1b[0m") == "***"


def test_keys_and_numbers_of_a_document() -> None:
    redactor = Redactor(["4711471147", "hunter2222"])
    assert redactor.document({"hunter2222": [4711471147, 1, True, None]}) == {MASK: [MASK, 1, True, None]}


def test_secrets_are_learned_while_others_read() -> None:
    redactor = Redactor(["hunter2222"])
    other = redactor.apart()
    redactor.learn({"swordfish1", "hunter2222"})
    assert redactor("swordfish1 hunter2222") == "*** ***"
    assert other("swordfish1 hunter2222") == "swordfish1 ***"


def test_keys_of_dicts_stay() -> None:
    assert Redactor(["line"])({"line": "a line", "x": 1}) == {"line": "a ***", "x": 1}


def test_a_private_key_that_is_printed_line_by_line() -> None:
    redactor = Redactor()

    def say(line: str, stream: str = "stdout") -> str:
        event = redactor({"stream": stream, "line": line})
        return str(redactor(event)["line"])

    assert [say(line) for line in ("hello", *KEY.split("\n"), "AAAA")] == ["hello", *[MASK] * 4, "AAAA"]
    say("-----BEGIN RSA PRIVATE KEY-----")
    assert say("AAAA", "stderr") == "AAAA"  # another stream
    assert say("Proc-Type: 4,ENCRYPTED") == MASK
    assert say("AAAA") == MASK
    assert say("make: done.") == "make: done."  # cannot be part of a key: it ended without saying so
    assert say("AAAA") == "AAAA"


@given(st.lists(st.text(alphabet="ab*=&", min_size=1, max_size=8), max_size=4), VALUES)
def test_no_secret_survives_and_twice_is_once(secrets: list[str], value: Any) -> None:
    redactor = Redactor(secrets)
    clean = redactor(value)
    assert redactor(clean) == clean
    for text in strings(clean):
        assert not any(secret in text for secret in secrets if len(secret) >= 4)


@given(VALUES)
def test_the_shape_is_kept(value: Any) -> None:
    def shape(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: shape(inner) for key, inner in item.items()}
        return [shape(inner) for inner in item] if isinstance(item, list) else type(item)

    clean = Redactor(["abab"])(value)
    assert shape(clean) == shape(value)
    json.dumps(clean)


@given(TEXT)
def test_redact_url_is_idempotent(url: str) -> None:
    assert redact_url(redact_url(url)) == redact_url(url)


def test_redact_url() -> None:
    assert redact_url("https://u:p@h/x?sig=a&v=1#f") == "https://u:***@h/x?sig=***&v=1#f"
    assert redact_url("../scripts/x.sh") == "../scripts/x.sh"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Continue? [Y/n] ", "Continue? [Y/n] "),
        ("Reading package lists... 45%", "Reading package lists... 45%"),
        ("1.2/3.4 MB 5.6 MB/s eta 0:00:01", "1.2/3.4 MB 5.6 MB/s eta 0:00:01"),
        # What comes next may make a secret of it.
        ("GET https://user:passw", "GET "),
        ("Authorization: Bearer abc", ""),
        ("curl -u bearer abc", "curl -u "),
        ("a token eyJhbGciOi", "a "),
        ("sig=abc", ""),
        ("key: AAAAB3NzaC1yc2EAAA", "key: "),
        ("-----BEGIN OPENSSH PRIV", ""),
        ("the secret hunter2-", "the secret "),
        ("the secret hunter2-secret", "the secret ***"),
    ],
)
def test_a_line_without_its_end_shows_no_half_of_a_secret(text: str, shown: str) -> None:
    assert Redactor(["hunter2-secret"]).unfinished(text) == shown


def test_inside_a_private_key_nothing_unfinished_is_shown() -> None:
    redactor = Redactor()
    redactor({"stream": "stdout", "line": "-----BEGIN OPENSSH PRIVATE KEY-----"})
    assert redactor.unfinished("b3Blb") == ""


@given(st.text("abc", min_size=4, max_size=12), st.text("abcx ", max_size=30))
def test_no_beginning_of_a_secret_is_at_the_end(secret: str, before: str) -> None:
    redactor = Redactor([secret])
    for count in range(1, len(secret)):
        shown = redactor.unfinished(before + secret[:count])
        assert MASK in shown or len(shown) <= len(before)


# Each was, or could be, looked through again from each of its places: a megabyte took minutes, a quarter of one a
# sixteenth of that.
SLOW = ["-eyJ", "eyJaaaaaaaa-", "a://b:", "http://a", "a.", "authorization: ", "bearer ", "&a.token", "?sig=a&", "&;?",
        "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ", "PRIVATE KEY", "\x1b[", "a://\u212a"]  # fmt: skip


@pytest.mark.parametrize("piece", SLOW)
@pytest.mark.parametrize("end", ["", ":@x", ".bbbbbbbbb"])
def test_a_text_made_to_be_slow(piece: str, end: str) -> None:
    began = time.process_time()
    Redactor(["hunter2"])((piece * 2**18)[: 2**18] + end)
    assert time.process_time() - began < 2.5


def test_a_text_in_which_something_is_found_again_and_again_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_by_shape", lambda text: f"{text}x")
    assert Redactor()("secret") == MASK
    assert redact_url("secret") == MASK


def test_a_token_in_the_midst_of_a_word() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
    assert Redactor()(f"zeyJ-{token} x.{token},{token}") == "zeyJ-*** x.***,***"


@pytest.mark.parametrize("hidden", ["\xad", "\u2060", "\u180e", "\U000e0041", "\x1b[31m", "\u200b"])
def test_what_the_screen_takes_out_hides_no_secret(hidden: str) -> None:
    """What is masked is what is left when the line has been cleaned: the mask comes first."""
    shown = Redactor(["hunter2-secret"]).text(f"it is hunter2{hidden}-sec{hidden}ret here")
    assert clean(shown) == "it is *** here"


def test_a_tab_and_a_colour_in_a_line_hide_no_secret() -> None:
    assert Redactor(["hunter2\tsecret"]).text("a\x1b[1m bc hunter2\tse\x1b[0mcret") == "a bc ***"


@pytest.mark.parametrize("end", ["", "\x1b", "\x1b[3", "\x1b]0;ti"])
def test_half_a_secret_with_colours_in_it_is_not_shown(end: str) -> None:
    assert Redactor(["hunter2-secret"]).unfinished(f"it is \x1b[31mhun\x1b[0mter{end}") == "it is "


def test_the_end_of_a_secret_that_was_cut_off_is_not_shown() -> None:
    assert Redactor(["hunter2-secret"]).unfinished("2-secret is it, or") == "*** is it, or"


@pytest.mark.parametrize("size", [100, redact.LONGEST_UNFINISHED, redact.LOOKED_AT, 3 * redact.LOOKED_AT])
@pytest.mark.parametrize("secret", ["?sig=Zm9v%2BYmFyYmF6", "Authorization: Bearer abcDEF123", "://me:Zm9vYmFy@h"])
def test_wherever_a_long_line_is_cut_nothing_of_a_secret_is_shown(secret: str, size: int) -> None:
    value = re.split("[=: @]", secret)[-2 if "@" in secret else -1]
    for room in range(size - len(secret) - 30, size + 5, 3):
        shown = Redactor().unfinished(f"GET https{secret} {'45% ' * (room // 4)}{'x' * (room % 4)} 46% ")
        assert value[-5:] not in shown and shown.endswith("46% ") and len(shown) <= redact.LONGEST_UNFINISHED


TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.c2lnbmF0dXJl"
CUT = ["https://a.blob/c?sv=1&sig=Zm9v%2BYmFyYmF6Zm9v&se=1", "Authorization: Bearer abcDEF123ghiJKL456", TOKEN,
       "https://me:Zm9vYmFyYmF6Zm9v@h/x", "AccountKey=Zm9vYmFyYmF6Zm9v==;x", "hunter2 of many words",
       KEY.replace("\n", "\\n"), "hunter2\x1b[31m of many\x1b[0m words"]  # fmt: skip


@pytest.mark.parametrize("secret", CUT)
def test_a_text_is_cut_before_the_secret_that_stands_there(secret: str) -> None:
    redactor = Redactor(["hunter2 of many words"])
    text = f"{'45% ' * 20}{secret} {'46% ' * 20}"
    whole = clean(redactor.text(text))
    for most in range(60, 80 + len(secret) + 10):
        at = redactor.cut(text, most)
        assert most - len(secret) <= at <= most
        assert clean(redactor.text(text[:at]) + redactor.text(text[at:])) == whole


def test_a_secret_that_is_longer_than_what_is_looked_at() -> None:
    secret = " ".join(map(str, range(redact.AROUND // 2)))
    text = f"{'45% ' * 20}{secret} 46%"
    assert Redactor([secret]).cut(text, 1000) == 80
    assert Redactor([secret])(text[1000:]).startswith(text[1000:1010]), "it would have been shown"
    assert Redactor(["hunter2"]).cut("hunter2", 3) == 0
    assert Redactor(["hunter2"]).cut("hunter2", 7) == 7


@pytest.mark.parametrize("mark", ["...", "\u2026"])
@pytest.mark.parametrize(
    "secret", [TOKEN, "https://me:Zm9v.YmFyYmF6Zm9v@h/x", "Authorization: Bearer abcDEF123ghiJKL456"]
)
def test_half_of_what_is_known_by_its_shape(secret: str, mark: str) -> None:
    shown = Redactor()(f"is not '{secret[:26]}{mark}'")
    assert not any(piece in shown for piece in ("bGci", "Zm9v", "abc")) and MASK in shown


def test_the_end_of_a_secret_at_the_beginning() -> None:
    assert Redactor(["hunter2-secret"]).beheaded("2-secret, or not") == "***, or not"
    assert Redactor(["hunter2-secret"]).beheaded("hunter3") == "hunter3"


@pytest.mark.parametrize("before", ["", "x", "xy", "user:"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_secret_inside_of_what_is_encoded(before: str, encoding: str) -> None:
    secret = "h\u00fcnter2?>/secret"
    redactor = Redactor([secret])
    around = f"{before}{secret} and more".encode(encoding)
    for text in (base64.b64encode(around).decode(), base64.urlsafe_b64encode(around).decode(), around.hex(),
                 around.hex().upper()):  # fmt: skip
        shown = redactor(text)
        start = text[len(text) // 4 : len(text) // 2]
        assert MASK in shown and start not in shown


def test_a_secret_in_json_of_other_programs() -> None:
    secret = "it's <a> & b+c"
    for text in ("it\\u0027s \\u003ca\\u003e \\u0026 b\\u002bc", "it's \\u003ca\\u003e \\u0026 b+c",
                 "it\\u0027s \\u003Ca\\u003E \\u0026 b\\u002Bc"):  # fmt: skip
        assert Redactor([secret])(text) == MASK


@given(st.text("ab", max_size=30), st.text("ab", min_size=1, max_size=30))
def test_the_end_of_a_text_that_a_secret_begins_with(text: str, secret: str) -> None:
    most = min(len(text), len(secret) - 1)
    counts = [count for count in range(1, most + 1) if secret.startswith(text[-count:])]
    assert redact._overlap(text, secret) == max(counts, default=0)
