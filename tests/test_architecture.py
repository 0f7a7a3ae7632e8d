"""The rules that keep the source readable (design: architecture), read off the source itself with `ast`.

A rule collects every offender and fails with the whole list, so that one run shows all of them.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from typing import Any

import pytest

from aibemu.events import FIELDS, Kind
from tests.slow import SLOW, SLOW_TESTS, is_slow
from tests.source import (
    ROOT,
    Module,
    calls,
    dotted,
    imported_names,
    imports,
    modules,
    nodes,
    top_level,
    tracked,
    tracked_texts,
)

TESTS = ROOT / "tests"
MODULE_LINES, FUNCTION_LINES, MEDIAN_LINES = 400, 40, 150
# The middle of the house, where everything meets: shorter modules, and no bag that holds more than a person can.
MIDDLE, MIDDLE_LINES, MOST_FIELDS = ("aibemu/engine/", "aibemu/runs/", "aibemu/systems/"), 300, 12

# What may be at the top level of the repository; a new name there is a decision, made here.
TOP_LEVEL = {
    ".ci", ".gitattributes", ".github", ".gitignore", ".pre-commit-config.yaml", ".pre-commit-hooks.yaml",
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "Vagrantfile", "action.yml",
    "aibemu", "docs", "drivers", "fixtures", "pyproject.toml", "quickstart.sh", "test.sh", "tests",
}  # fmt: skip
# Each costs about a quarter of a second to import; `aibemu validate` must start fast.
HEAVY = {"paramiko", "requests", "rich", "pycdlib", "azure", "libvirt", "winrm", "cryptography", "distributed"}
# Imported by name from outside, so at once: the program, and packages themselves.
ENTRY_MODULES = {"aibemu/__init__.py", "aibemu/__main__.py", "aibemu/cli/main.py"}
YAML_PARSERS = {
    "load", "load_all", "safe_load", "safe_load_all", "full_load", "unsafe_load", "compose", "compose_all", "parse",
}  # fmt: skip
CLOCK_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns", "time.monotonic",
    "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns", "time.sleep",
}  # fmt: skip
# What a process has only one of: several builds in one process would share it, so builds are handed what they need.
PER_PROCESS = {"os.environ", "os.getenv", "os.putenv", "os.getcwd", "os.chdir", "Path.cwd"}
BUILDS = ("aibemu/engine/", "aibemu/runs/", "aibemu/systems/", "aibemu/plan/", "aibemu/template/", "aibemu/arm/")
# Who opens a file to read it without `aibemu.reading`, and why that has an end: it made the file itself, in a folder of
# its own, or it is one of the kernel's.
OPENS_ITS_OWN = {
    "aibemu/cli/main.py": "/dev/null",
    "aibemu/communicators/ssh/communicator.py": "what was fetched, or made, to be uploaded",
    "aibemu/communicators/winrm/files.py": "what was fetched, or made, to be uploaded",
    "aibemu/distributors/sparse.py": "disks of the run",
    "aibemu/distributors/vhd.py": "the VHD that it makes",
    "aibemu/fabric/depot.py": "what this run lends",
    "aibemu/fabric/handle.py": "the log of the platform's process",
    "aibemu/fabric/peers.py": "/proc",
    "aibemu/files.py": "what it wrote; disks of the store and of a run",
    "aibemu/images/bootable.py": "disks that it makes",
    "aibemu/images/build.py": "an archive that it makes",
    "aibemu/systems/windows/media.py": "the secrets that login.py has written beside it",
    "aibemu/process_id.py": "/proc",
    "aibemu/reading.py": "this is the place",
    "aibemu/runs/admission.py": "/proc",
    "aibemu/views/stream.py": "/proc/self/fd: standard error",
    "aibemu/cli/init.py": "a file of this package",
    "aibemu/customizers/windows/texts.py": "files of this package",
    "aibemu/template/": "files of this package",
    "drivers/aibemu_drivers/local.py": "/proc",
    "drivers/aibemu_drivers/libvirt/connection.py": "no file: a connection to libvirt",
    "drivers/aibemu_drivers/qemu/accelerator.py": "/proc, and whether /dev/kvm opens",
    "aibemu/testing/": "what tests made",
}
READS = {"open", "read_text", "read_bytes"}
NO_PATHS = {"tarfile", "running", "reading", "records", "yaml_places", "webbrowser"}
# Package registries are somebody's configuration. Written so that this file does not name them itself.
REGISTRIES = [
    "pypi" + ".org", "files.pythonhosted" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org",
    "security.debian" + ".org", "archive.ubuntu" + ".com",
]  # fmt: skip
# The catalogue says where distributions publish their cloud images: that is its content.
CATALOGUE = re.compile(r"(^|/)(catalogue|catalog)[^/]*\.ya?ml$")


def none_of(offenders: Sequence[str]) -> None:
    """Fail with all of them."""
    if offenders:
        pytest.fail(f"{len(offenders)} offender(s):\n" + "\n".join(offenders), pytrace=False)


def test_there_is_something_to_check() -> None:
    assert len(modules()) > 50
    assert {"aibemu/clock.py", "aibemu/cli/app.py"} <= {module.name for module in modules()}


def test_only_the_command_line_ends_the_program() -> None:
    ends = {"sys.exit", "exit", "quit", "os._exit"}
    none_of([
        m.at(node, name) for m in modules() if not m.name.startswith("aibemu/cli/")
        for node, name in calls(m) if name in ends
    ] + [
        m.at(node, "raise SystemExit") for m in modules() if not m.name.startswith("aibemu/cli/")
        for node in nodes(m) if isinstance(node, ast.Raise) and node.exc is not None
        and dotted(node.exc.func if isinstance(node.exc, ast.Call) else node.exc) == "SystemExit"
    ])  # fmt: skip


def test_only_the_command_line_and_the_views_print() -> None:
    none_of([m.at(node, name) for m in modules() if not m.is_outer for node, name in calls(m) if name == "print"])


def test_only_the_clock_reads_the_clock() -> None:
    none_of([
        m.at(node, name) for m in modules() if m.name != "aibemu/clock.py" for node, name in calls(m)
        if name in CLOCK_CALLS
    ])  # fmt: skip


def test_a_build_reads_no_environment_and_no_working_directory() -> None:
    none_of([
        m.at(node, name) for m in modules() if m.name.startswith(BUILDS) for node, name in uses(m)
        if name in PER_PROCESS
    ])  # fmt: skip


def uses(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Every name and attribute, as what it was imported as."""
    real = imported_names(module)
    for node in nodes(module):
        if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node)):
            first, _, rest = name.partition(".")
            yield node, (real.get(first, first) + (f".{rest}" if rest else "")).replace("pathlib.Path", "Path")


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """Not when a module is imported; unless nobody imports that module itself but where it is used."""
    offenders = []
    eager = {name for module in modules() for _, name in eager_imports(module)}
    for module in modules():
        if module.dotted not in eager and module.name not in ENTRY_MODULES:
            continue
        found = [(node, name) for node, name in eager_imports(module) if name.partition(".")[0] in HEAVY]
        offenders += [module.at(node, f"import {name}") for node, name in found]
    none_of(offenders)


def eager_imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """What is imported together with `module`; `from a import b` gives a and a.b, for b may be a module."""
    for node in top_level(module.tree.body):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def test_one_downloader_talks_http() -> None:
    """A second one would have bounds, retries and a comparison of lengths of its own, or none. WinRM is no download."""
    allowed = {"aibemu/download.py", "aibemu/http_answers.py", "aibemu/communicators/winrm/wire.py"}
    none_of([
        module.name for module in modules()
        if module.name not in allowed and {"requests", "urllib3", "httpx", "aiohttp"} & set(imports(module))
    ])  # fmt: skip


def test_files_of_others_are_opened_in_one_place() -> None:
    """A pipe, a device or a sparse file of terabytes may be there instead: `aibemu.reading` refuses them."""
    none_of([
        module.at(node, ast.unparse(node)[:80]) for module in modules()
        if not module.name.startswith(tuple(OPENS_ITS_OWN))
        for node in nodes(module) if isinstance(node, ast.Call) and opens_to_read(node)
    ])  # fmt: skip


def opens_to_read(call: ast.Call) -> bool:
    """`path.open()`, `open(path)`, `path.read_text()`, `os.open(path, flags)` and their like."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else dotted(function)
    if name not in READS or (isinstance(function, ast.Name) and name != "open"):
        return False
    if isinstance(function, ast.Attribute) and dotted(function.value) in NO_PATHS:
        return False
    words = [ast.unparse(word) for word in (*call.args, *(keyword.value for keyword in call.keywords))]
    return not any(re.match(r"'[wax]", word) or "O_WRONLY" in word or "O_APPEND" in word for word in words)


def test_one_reader_parses_what_may_be_damaged() -> None:
    """`aibemu.records` for JSON, `aibemu.yaml_places` for YAML: each has bounds, and errors that name the file. The
    language of templates has a JSON of its own; examples and kits for tests come with aibemu."""
    own = ("aibemu/records.py", "aibemu/yaml_places.py", "aibemu/arm/functions/json_text.py", "aibemu/testing/")
    examples = "aibemu/template/catalogue/example.py"
    parsers = {"json.load", "json.loads", "json.JSONDecoder", "pickle.load", "pickle.loads", "tomllib.load"}
    none_of([
        m.at(node, name) for m in modules() if not m.name.startswith((*own, examples)) for node, name in calls(m)
        if name in parsers or (name.startswith("yaml.") and name.partition(".")[2] in YAML_PARSERS)
    ])  # fmt: skip


def test_validate_imports_none_of_them() -> None:
    program = "import sys, aibemu.cli.main, aibemu.cli.validate; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


def test_modules_keep_no_state() -> None:
    none_of([
        module.at(node, ast.unparse(node).splitlines()[0][:100])
        for module in modules() for node in top_level(module.tree.body)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and holds_state(node)
        and not in_class(module, node)
    ] + [
        module.at(node, f"global {', '.join(node.names)}")
        for module in modules() for node in nodes(module) if isinstance(node, ast.Global)
    ])  # fmt: skip


def in_class(module: Module, statement: ast.stmt) -> bool:
    return any(statement in ast.walk(node) for node in module.tree.body if isinstance(node, ast.ClassDef))


def holds_state(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> bool:
    """True for a module-level list, dict or set that is not marked as a constant, by its name or its annotation."""
    if isinstance(node, ast.AugAssign):
        return True
    value, targets = node.value, node.targets if isinstance(node, ast.Assign) else [node.target]
    mutable: tuple[type[ast.AST], ...] = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    made = isinstance(value, ast.Call) and dotted(value.func).rpartition(".")[2] in {
        "list", "dict", "set", "defaultdict", "OrderedDict", "Counter", "deque", "bytearray",
    }  # fmt: skip
    if not (isinstance(value, mutable) or made):
        return False
    if isinstance(node, ast.AnnAssign) and re.search(
        r"\b(Mapping|Sequence|Final|Set|Collection)\b", ast.unparse(node.annotation)
    ):
        return False
    return not all(re.fullmatch(r"_{0,2}[A-Z][A-Z0-9_]*|__\w+__", dotted(target)) for target in targets)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_modules_are_short() -> None:
    none_of([
        f"{m.name}: {lines} lines" for m in modules() if (lines := len(m.text.splitlines())) > MODULE_LINES
    ])  # fmt: skip


def test_modules_of_the_middle_are_shorter_and_no_bag_is_large() -> None:
    middle = [m for m in modules() if m.name.startswith(MIDDLE)]
    assert len(middle) > 30
    none_of([
        f"{m.name}: {lines} lines" for m in middle if (lines := len(m.text.splitlines())) > MIDDLE_LINES
    ] + [
        m.at(node, f"{node.name}: {len(fields)} fields") for m in middle for node in nodes(m)
        if isinstance(node, ast.ClassDef) and len(fields := fields_of(node)) > MOST_FIELDS
    ])  # fmt: skip


def fields_of(node: ast.ClassDef) -> list[str]:
    """What an object of the class holds: annotated in its body, or set in `__init__`."""
    found = [
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            found += [
                part.attr for part in ast.walk(item)
                if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store) and dotted(part.value) == "self"
            ]  # fmt: skip
    return found


def test_most_modules_fit_on_a_page_or_two() -> None:
    sizes = [lines for module in modules() if (lines := len(module.text.splitlines())) > 1]
    assert statistics.median(sizes) <= MEDIAN_LINES


def test_functions_are_short() -> None:
    none_of([
        module.at(node, f"{node.name}: {lines} lines") for module in modules() for node in functions(module)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ])  # fmt: skip


def test_everything_public_says_what_it_is() -> None:
    """Modules, public classes and public module-level functions."""
    offenders = []
    for module in modules():
        if module.text.strip() and not ast.get_docstring(module.tree):
            offenders.append(module.at(module.tree, "module without a docstring"))
        for node in module.tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and not explains_itself(node):
                offenders.append(module.at(node, f"{node.name} without a docstring"))
    none_of(offenders)


def explains_itself(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """A function of at most eight lines, an enum, or a class of a few values may go by its name."""
    if isinstance(node, ast.ClassDef):
        enum = any(dotted(base).endswith("Enum") for base in node.bases)
        values = all(isinstance(item, ast.Assign | ast.AnnAssign | ast.Pass) for item in node.body)
        return values and (enum or len(node.body) <= 8)
    return (node.end_lineno or node.lineno) - node.lineno < 8


def test_no_error_is_swallowed() -> None:
    """No bare `except:`; no `except Exception` that only passes, `contextlib.suppress(Exception)` included."""
    offenders = []
    for module in modules():
        for node in nodes(module):
            if isinstance(node, ast.ExceptHandler):
                everything = node.type is None or dotted(node.type) in {"Exception", "BaseException"}
                if node.type is None or (everything and all(is_nothing(item) for item in node.body)):
                    offenders.append(module.at(node, "except " + (ast.unparse(node.type) if node.type else "")))
        offenders += [
            module.at(node, ast.unparse(node)) for node, name in calls(module)
            if name in {"contextlib.suppress", "suppress"}
            and any(dotted(argument) in {"Exception", "BaseException"} for argument in node.args)
        ]  # fmt: skip
    none_of(offenders)


def is_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass | ast.Continue) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def test_no_registry_is_named() -> None:
    none_of([
        f"{name}:{number}: {host}" for name, text in tracked_texts() if not CATALOGUE.search(name)
        for number, line in enumerate(text.splitlines(), 1) for host in REGISTRIES if host in line
    ])  # fmt: skip


def test_no_path_of_somebodys_machine() -> None:
    if len(ROOT.parts) < 3 or ROOT.is_relative_to("/tmp"):
        pytest.skip(f"{ROOT} is too ordinary a name to look for")
    none_of([
        f"{name}:{number}: {ROOT}" for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1) if re.search(re.escape(str(ROOT)) + r"(?![\w-])", line)
    ])  # fmt: skip


def test_top_level_of_the_repository() -> None:
    none_of(sorted({name.partition("/")[0] for name in tracked()} - TOP_LEVEL))


def test_scripts_can_be_run() -> None:
    none_of([name for name in ("quickstart.sh", "test.sh", ".ci/run") if not os.access(ROOT / name, os.X_OK)])


def test_every_verb_has_its_module() -> None:
    """`aibemu VERB` lives in aibemu/cli/VERB.py, and only there: the way to add one is to add a file."""
    verbs = [name.split()[1] for name, _ in walk_commands(program(), "aibemu") if name.count(" ") == 1]
    assert {"run", "validate", "images", "doctor"} <= set(verbs)
    missing = [verb for verb in verbs if not (ROOT / "aibemu" / "cli" / f"{verb.replace('-', '_')}.py").is_file()]
    none_of([f"{verb}: no aibemu/cli/{verb.replace('-', '_')}.py" for verb in missing])


def test_every_command_has_help() -> None:
    commands = walk_commands(program(), "aibemu")
    none_of([name for name, command in commands if not (command.help or command.short_help)])


def program() -> Any:
    """The click group that is `aibemu`."""
    import click

    main = importlib.import_module("aibemu.cli.main")
    return next(value for value in vars(main).values() if isinstance(value, click.Group))


def walk_commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    import click

    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from walk_commands(command, f"{prefix} {name}")


def test_layers() -> None:
    """The import-linter contracts of pyproject.toml."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Words of one operating system. What a user's script may say to it is the business of the customizers.
LINUX = re.compile(r"cloud-init|waagent|\bsshd\b|\bsudo\b|/tmp\b|Kernel panic")


def test_only_a_system_knows_its_words() -> None:
    """In texts, docstrings included, and names; a setting's name like script_uri_sudo is a word of its own."""
    rooms = [m for m in modules() if m.name.startswith(("aibemu/engine/", "aibemu/runs/", "aibemu/layers/"))]
    assert len(rooms) > 20
    none_of([
        m.at(node, found[0]) for m in rooms for node in nodes(m)
        for text in (node.value if isinstance(node, ast.Constant) else None, getattr(node, "id", None),
                     getattr(node, "attr", None), getattr(node, "name", None))
        if isinstance(text, str) and (found := LINUX.search(text))
    ])  # fmt: skip


def test_only_ssh_imports_paramiko() -> None:
    none_of([
        m.name for m in modules() if not m.name.startswith("aibemu/communicators/ssh/")
        and any(name.partition(".")[0] == "paramiko" for name in imports(m))
    ])  # fmt: skip


def test_every_dependency_is_used() -> None:
    """What pyproject.toml makes people install is imported somewhere in the product."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["blob"]]
    imported = {name for module in modules() for name in (*imports(module), *imported_by_name(module))}
    offers: dict[str, set[str]] = {}
    for package, distributions in packages_distributions().items():
        for distribution in distributions:
            offers.setdefault(distribution.lower().replace("_", "-"), set()).add(package)
    names = [re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-") for requirement in wanted]
    none_of([name for name in names if not offers.get(name, {name.partition("-")[0]}) & imported])


def imported_by_name(module: Module) -> Iterator[str]:
    """Texts in calls of import_module."""
    for node, name in calls(module):
        if name == "importlib.import_module":
            inside = (part for argument in node.args for part in ast.walk(argument))
            yield from (part.value for part in inside if isinstance(part, ast.Constant) and isinstance(part.value, str))


# How a test file gets at a real PowerShell.
_REAL_POWERSHELL = re.compile(
    r"^from tests\.(judges import .*\b(need_engine|pwsh)\b|windows_guest import)"
    r"|^from tests\.windows_first_boot import .*\bfirst_boot\b|\bjudges\.(need_engine|pwsh)\(",
    re.MULTILINE,
)


def test_what_is_listed_as_slow_is_there() -> None:
    """`./test.sh --fast` leaves them out: a name that has changed would be back in it unnoticed."""
    tests = ROOT / "tests"
    none_of([name for name in SLOW if not (tests / name).exists()])
    listed = [name.split("::") for name in sorted(SLOW_TESTS)]
    none_of(["::".join(name) for name in listed if f"def {name[1]}(" not in (tests / name[0]).read_text("utf-8")])


def test_what_starts_a_real_powershell_is_slow() -> None:
    """Each start takes half a second of a core, a script some seconds: `./test.sh --fast` has none of them."""
    starts = [path for path in TESTS.rglob("test_*.py") if _REAL_POWERSHELL.search(path.read_text(encoding="utf-8"))]
    assert len(starts) > 10
    none_of([str(path.relative_to(ROOT)) for path in starts if not is_slow(path)])


def test_test_files_have_names_of_their_own() -> None:
    """importlib mode needs no __init__.py, and a name that is there twice confuses people and mypy."""
    names = [path.name for path in TESTS.rglob("test_*.py")]
    none_of(sorted({name for name in names if names.count(name) > 1}))
    none_of([str(path.relative_to(ROOT)) for path in TESTS.rglob("__init__.py")])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("from time import sleep as nap\nnap(1)", "time.sleep"),
        ("import time as t\nt.monotonic()", "time.monotonic"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now"),
        ("import datetime\ndatetime.datetime.now()", "datetime.now"),
        ("import sys\nsys.exit(1)", "sys.exit"),
    ],
)
def test_calls_are_seen_under_any_name(source: str, name: str) -> None:
    """The rules above stand on this."""
    module = Module(path=ROOT, name="x.py", text=source, tree=ast.parse(source))
    assert [found for _, found in calls(module)] == [name]


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ("cache = {}", True),
        ("known: list[str] = []", True),
        ("seen = set()", True),
        ("table = collections.defaultdict(list)", True),
        ("TABLE = {}", False),
        ("_NAMES = [1]", False),
        ("__all__ = ['a']", False),
        ("table: Mapping[str, int] = {}", False),
        ("name = 'x'", False),
    ],
)
def test_state_is_told_from_constants(source: str, state: bool) -> None:
    """The rule about state stands on this."""
    statement = ast.parse(source).body[0]
    assert isinstance(statement, ast.Assign | ast.AnnAssign)
    assert holds_state(statement) is state


# Who may write for people without `aibemu.views.screen`, and why that is right.
PAST_THE_DOOR = {
    "aibemu/views/screen.py": "the door",
    "aibemu/views/stream.py": "what the door writes to; one sentence of its own when it was given up",
    "aibemu/views/ndjson.py": "the record, a file",
    "aibemu/views/customization_log.py": "logs as the service writes them: files",
    "aibemu/views/packer_lines.py": "lines of those files",
    "aibemu/cli/bug.py": "a file with a traceback",
    "aibemu/cli/exec.py": "bytes of a guest's command: `PassedOn`, or as they are where that was asked for",
    "aibemu/cli/shell.py": "a guest's shell, as a terminal has it; `PassedOn` in a pipeline",
    "aibemu/cli/logs.py": "--raw",
    "aibemu/communicators/winrm/console.py": "the guest has the terminal, as with ssh",
}
WRITES = {
    "print", "click.echo", "click.secho", "click.echo_via_pager", "click.confirm", "click.prompt", "input",
    "os.write", "warnings.warn", "sys.excepthook", "traceback.print_exc", "traceback.print_exception",
}  # fmt: skip
# What may be given a standard stream: it writes through the door, or asks only what kind of stream that is.
TAKERS = {"Screen", "Prompter", "releasable", "use_color", "getattr"}
# They speak to a process of aibemu's, never to a person.
NO_PERSON = {"aibemu/fabric/pump.py", "aibemu/fabric/serve.py"}


def test_foreign_text_has_one_door() -> None:
    """Whatever is shown passes `Screen`, which cleans it and in a pipeline defuses it."""
    none_of([
        m.at(node, name) for m in modules() if m.is_outer and m.name not in PAST_THE_DOOR for node, name in calls(m)
        if name in WRITES or name.endswith((".write", ".writelines", ".buffer"))
    ] + [
        m.at(node, name) for m in modules() if m.name not in PAST_THE_DOOR and m.name not in NO_PERSON
        for node, name in uses(m) if name in {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
        and not is_handed_on(m, node)
    ])  # fmt: skip
    none_of(sorted(set(PAST_THE_DOOR) - {m.name for m in modules()}))


def is_handed_on(module: Module, node: ast.AST) -> bool:
    """Whether a standard stream is only looked at, or given to what writes through the door."""
    if module.name == "aibemu/cli/main.py":  # sets up the streams, and silences them at the end
        return True
    for call, name in calls(module):
        if name.rpartition(".")[2] in TAKERS and node in [*call.args, *(keyword.value for keyword in call.keywords)]:
            return True
        looked_at = isinstance(call.func, ast.Attribute) and call.func.attr in {"isatty", "flush"}
        if looked_at and isinstance(call.func, ast.Attribute) and call.func.value is node:
            return True
    return False


def test_what_other_programs_print_is_not_inherited() -> None:
    """It would get past the door: their output is taken, or thrown away."""
    starts = {
        "subprocess.run",
        "subprocess.Popen",
        "subprocess.call",
        "subprocess.check_call",
        "subprocess.check_output",
    }
    # A shell of a person's, and aibemu itself.
    allowed = {"aibemu/cli/shell.py", "aibemu/cli/prompt.py"}
    none_of([
        m.at(node, name) for m in modules() if m.name not in allowed for node, name in calls(m) if name in starts
        and not ({"capture_output"} & given(node) or {"stdout", "stderr"} <= given(node) or None in given(node))
    ] + [
        m.at(node, name) for m in modules() for node, name in calls(m)
        if name in {"os.system", "os.popen", "os.execvp", "os.execvpe", "os.posix_spawn", "os.spawnvp"}
    ])  # fmt: skip


def given(call: ast.Call) -> set[str | None]:
    """Names of its keywords; None for `**more`."""
    return {keyword.arg for keyword in call.keywords}


def test_nothing_paints_but_the_door() -> None:
    """Codes that a terminal obeys are made where foreign text is taken apart from them."""
    allowed = {
        "aibemu/text.py",
        "aibemu/views/screen.py",
        "aibemu/views/stream.py",
        "aibemu/engine/machines/console.py",
    }
    none_of([
        m.at(node, repr(node.value)) for m in modules() if m.name not in allowed for node in nodes(m)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\x1b" in node.value
    ])  # fmt: skip


def test_an_event_has_only_fields_that_are_known() -> None:
    """Telemetry refuses others, in the midst of a build."""
    checked, wrong = 0, []
    for m in modules():
        for call, name in calls(m):
            kind = next((dotted(word) for word in call.args), "")
            if name.endswith(("emit", "keep")) and kind.startswith("Kind."):
                checked += 1
                given = {keyword.arg for keyword in call.keywords if keyword.arg}
                # A step and a phase are places of an event.
                unknown = given - FIELDS[Kind[kind.removeprefix("Kind.")]] - {"step", "phase"}
                wrong += [m.at(call, f"{kind}: {name}") for name in sorted(unknown)]
    assert checked > 50
    none_of(wrong)
