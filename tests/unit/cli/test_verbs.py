"""Words that people try who come from other tools; `aibemu help` and `-h`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aibemu.cli import main
from aibemu.cli.main import VERBS
from aibemu.cli.verbs import TRIED, TRIED_BELOW
from aibemu.paths import Home
from aibemu.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
Answer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aibemu(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Answer:
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))

    def call(*words: str) -> tuple[int, str, str]:
        code = main.run(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.parametrize(
    ("word", "instead"),
    [("build", "run TEMPLATE"), ("ps", "status"), ("ssh", "shell RUN"), ("rm", "clean"), ("Build", "run TEMPLATE"),
     ("bild", "run TEMPLATE"), ("dry-run", "run TEMPLATE --driver dryrun"), ("version", "--version")],
)  # fmt: skip
def test_a_word_of_another_tool_is_answered_with_the_verb_of_ours(aibemu: Answer, word: str, instead: str) -> None:
    code, out, err = aibemu(word)
    assert (code, out) == (2, "")
    assert f"has no verb '{word}'" in err and f"    aibemu {instead}\n" in err


def test_what_is_to_be_typed_instead_exists() -> None:
    for words in TRIED.values():
        for other in words:
            assert other.split()[0] in {*VERBS, "--version"}
    assert not set(TRIED) & set(VERBS)


def test_a_group_knows_them_too(aibemu: Answer) -> None:
    assert "aibemu images remove\n" in aibemu("images", "rm")[2]
    assert "aibemu cache prune\n" in aibemu("cache", "clean")[2]
    assert "did you mean list?" in aibemu("images", "lst")[2]
    assert "see: aibemu cache --help" in aibemu("cache", "xyzzy")[2]
    assert set(TRIED_BELOW["ls"]) == {"list"}


@pytest.mark.parametrize("words", [("run",), ("images", "import"), ("images",), ()])
def test_help_and_h_are_the_same_as_the_long_option(aibemu: Answer, words: tuple[str, ...]) -> None:
    long, short, verb = aibemu(*words, "--help"), aibemu(*words, "-h"), aibemu("help", *words)
    assert long == short == verb
    assert long[1].startswith("Usage: aibemu")


def test_help_on_what_is_no_verb(aibemu: Answer) -> None:
    assert "aibemu has no verb 'bild'" in aibemu("help", "bild")[2]
    assert "aibemu run has no verbs" in aibemu("help", "run", "fast")[2]


def test_config_says_value_source_and_meaning(aibemu: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Home.at(tmp_path / "home").config / "config.yaml"
    assert f"file: {file} (not there)" in aibemu("config")[1]
    file.parent.mkdir(parents=True)
    file.write_text("cache_age: 12h\nmappings: ['https://user:pass@host/=/tmp']\n")
    monkeypatch.setenv("AIBEMU_LOCATION", "northeurope")
    code, out, err = aibemu("config")
    assert (code, err) == (0, "")
    assert f"file: {file}\n" in out
    assert "cache_age: 12h  [config.yaml:1]\n" in out and "(built-in: 14d)" in out
    assert "location: northeurope  [AIBEMU_LOCATION]\n" in out
    assert "mappings: (1 value, not shown: a secret may be in it)  [config.yaml:2]" in out and "pass@" not in out
    described = {one["name"]: one for one in json.loads(aibemu("config", "-o", "json")[1])["data"]["settings"]}
    assert described["mappings"] == described["mappings"] | {"hidden": True, "value": None, "text": None}
    assert described["cache_age"]["value"] == 43200 and described["cache_age"]["variable"] == "AIBEMU_CACHE_AGE"


def test_config_of_one_setting(aibemu: Answer) -> None:
    for name in ("cache_size", "cache-size", "AIBEMU_CACHE_SIZE"):
        assert aibemu("config", name)[1].splitlines()[0] == "cache_size: 20G  [built-in]"
    code, _, err = aibemu("config", "lokation")
    assert code == 2 and "there is no setting 'lokation'" in err and "did you mean location?" in err


def test_the_page_is_that_of_the_table(aibemu: Answer) -> None:
    code, out, _ = aibemu("config", "--markdown")
    assert code == 0
    assert PAGE.read_text(encoding="utf-8") == out, "a setting has changed: aibemu config --markdown > docs/settings.md"


def test_a_value_as_it_is_shown_is_read_as_the_same(tmp_path: Path) -> None:
    other = Settings(
        cache_age=90061.0, console_limit=65537, boot_timeout=1.5, check_scripts=False, cache_size=0,
        supplied=("a('b')={}", "c('d')=1"), hardware=("nic=e1000",),
    )  # fmt: skip
    for settings in (Settings(), other):
        texts = {one.variable: one.text for one in settings.table()}
        assert Settings.load(tmp_path, texts) == settings
