"""cmd.exe of the guests in fixtures/guests: its language and its own commands, without PowerShell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.guests.cmd_syntax import Joined, parse
from fixtures.guests.machine import WindowsMachine
from tests.guest_calls import Done, call

NO_PROGRAM = "'{}' is not recognized as an internal or external command,\noperable program or batch file.\n"
PATH_NOT_FOUND = "The system cannot find the path specified.\n"


@pytest.fixture(scope="module")
def machine() -> Iterator[WindowsMachine]:
    with WindowsMachine(engine=None) as made:
        yield made


def out(text: str, code: int = 0) -> Done:
    return Done(code=code, stdout=text, stderr="")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("echo  two  blanks", out(" two  blanks\n"), id="echo keeps blanks"),
        pytest.param('echo "a & b" ^& c', out('"a & b" & c\n'), id="quotes and carets"),
        pytest.param("echo.", out("\n"), id="echo dot"),
        pytest.param("echo a& echo b", out("a\nb\n"), id="and then"),
        pytest.param("exit /b 3 & echo no", out("", 3), id="exit /b ends the line"),
        pytest.param("cmd /c exit 3&& echo no", out("", 3), id="&& stops at a failure"),
        pytest.param("cmd /c exit 3|| echo yes", out("yes\n"), id="|| goes on after a failure"),
        pytest.param("ver>nul&& echo yes|| echo no", out("yes\n"), id="&& before ||"),
        pytest.param("cmd /c exit 7 & echo %errorlevel%", out("0\n"), id="variables are put in before the line runs"),
        pytest.param("cmd /c exit -1", out("", 4294967295), id="32 bits"),
        pytest.param("exit -1073741819", out("", 3221225477), id="a negative code"),
        pytest.param('cmd /c "echo a & exit 5"', out("a \n", 5), id="/c takes outer quotes off"),
        pytest.param('cmd /s /c ""C:\\Windows\\System32\\cmd.exe" /c exit 6"', out("", 6), id="quotes in quotes"),
        pytest.param("cmd /d/c exit 4", out("", 4), id="switches without blanks"),
        pytest.param("set AB=one two& set ab", out("AB=one two\n"), id="set"),
        pytest.param('set "B=x & y" & set b', out("B=x & y\n"), id="set in quotes, found without regard to case"),
        pytest.param("echo %ProgramFiles(x86)% %nope%", out("C:\\Program Files (x86) %nope%\n"), id="expansion"),
        pytest.param(
            "set V=abcde& echo %V:~1,2% %V:~-2% %V:bc=x% %V:*c=y%", out("%V:~1,2% %V:~-2% %V:bc=x% %V:*c=y%\n"),
            id="values are those from before the line",
        ),
        pytest.param(
            "echo %windir:~3,-3% %windir:~-4% %windir:\\=/% %windir:*:=D:%", out("Wind dows C:/Windows D:\\Windows\n"),
            id="parts of values",
        ),
        pytest.param('echo "%nope%windir%"', out('"%nopeC:\\Windows"\n'), id="the % of an unknown name may begin one"),
        pytest.param('cmd /c "exit 3"', out("", 3), id="/c takes quotes off what is no program"),
        pytest.param('cmd /s /c "echo a"', out("a\n"), id="/s takes them off in any case"),
        pytest.param("if exist c:\\WINDOWS (echo yes) else (echo no)", out("yes\n"), id="if exist"),
        pytest.param("if not exist C:\\*.nope echo none", out("none\n"), id="if not exist with a pattern"),
        pytest.param("if /i Abc==aBC echo same", out("same\n"), id="if /i"),
        pytest.param("if 10 gtr 9 (echo number) else echo text", out("number\n"), id="numbers are compared as numbers"),
        pytest.param("if defined windir (if 1==2 (echo a) else (echo b))", out("b\n"), id="if in if"),
        pytest.param("if 1==2 echo a & echo b", out(""), id="the rest of the line belongs to if"),
        pytest.param("cmd /c exit 2 & if errorlevel 2 echo at least 2", out("at least 2\n"), id="errorlevel"),
        pytest.param("for %i in (a b,c) do @echo [%i]", out("[a]\n[b]\n[c]\n"), id="for"),
        pytest.param("for /l %i in (3,-1,1) do @echo %i", out("3\n2\n1\n"), id="for /l"),
        pytest.param("(echo b& echo a) | find \"a\"", out("a\n"), id="pipe"),
        pytest.param("(echo x) | (cmd /c exit 300)", out("", 300), id="the code of a pipe is its last one's"),
        pytest.param("cd /d C:\\Windows\\TEMP & cd", out("C:\\Windows\\Temp\n"), id="cd"),
        pytest.param("pushd C:\\Windows & cd & popd & cd", out("C:\\Windows\nC:\\Users\\packer\n"), id="pushd"),
        pytest.param("start /wait cmd /c exit 70000", out("", 70000), id="start /wait"),
        pytest.param("start cmd /c exit 5", out(""), id="start does not wait"),
        pytest.param("rem all & of | this", out(""), id="rem"),
    ],
)  # fmt: skip
def test_the_language(machine: WindowsMachine, line: str, expected: Done) -> None:
    assert call(machine, line) == expected


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("nosuch /x", 1, NO_PROGRAM.format("nosuch")),
        ("type C:\\nope", 1, "The system cannot find the file specified.\n"),
        ("cd C:\\nope", 1, PATH_NOT_FOUND),
        ("echo a > C:\\nope\\x", 1, PATH_NOT_FOUND),
        ("dir C:\\nope", 1, "File Not Found\n"),
        ("del C:\\nope", 0, "Could Not Find C:\\nope\n"),
        ("md C:\\Windows", 1, "A subdirectory or file C:\\Windows already exists.\n"),
        ("rd C:\\Windows", 145, "The directory is not empty.\n"),
        ("(echo a", 1, "The syntax of the command is incorrect.\n"),
        ("&& echo a", 1, "&& was unexpected at this time.\n"),
        ("setlocal EnableDelayedExpansion", 1, "stand-in: delayed expansion is not known\n"),
        ("for /f %i in (x) do echo %i", 1, "stand-in: FOR /f is not known\n"),
        ("timeout 5", 1, "ERROR: Input redirection is not supported, exiting the process immediately.\n"),
        (f"echo {'x' * 8200}", 1, "The command line is too long.\n"),
    ],
    ids=lambda value: value[:25] if isinstance(value, str) else str(value),
)  # fmt: skip
def test_what_goes_wrong_is_said_as_cmd_says_it(machine: WindowsMachine, line: str, code: int, message: str) -> None:
    assert call(machine, line) == Done(code=code, stdout="", stderr=message)


def test_redirections(machine: WindowsMachine) -> None:
    call(machine, 'md C:\\redirect & echo one> "C:\\redirect\\a b.txt"& echo two>> "C:\\REDIRECT\\A B.TXT"')
    assert machine.host(r"C:\redirect\a b.txt").read_bytes() == b"one\r\ntwo\r\n"
    call(machine, "type C:\\nope > C:\\redirect\\both 2>&1")
    assert machine.host(r"C:\redirect\both").read_bytes() == b"The system cannot find the file specified.\r\n"
    assert call(machine, 'find "two" < "C:\\redirect\\a b.txt"') == out("two\n")
    assert call(machine, "(echo a & type C:\\nope) 2>nul") == out("a \n", 1)


def test_files_are_made_listed_copied_moved_and_deleted(machine: WindowsMachine) -> None:
    call(machine, "md C:\\files\\deep & echo 1>C:\\files\\a.log& echo 2 2>nul >C:\\files\\b.log")
    machine.host(r"C:\files\one").write_bytes(b"\0\1")
    call(machine, "copy /y C:\\files\\one+C:\\files\\one C:\\files\\two")
    assert machine.host(r"C:\files\two").read_bytes() == b"\0\1\0\1"
    assert call(machine, "copy C:\\FILES\\two C:\\files\\deep").stdout == "        1 file(s) copied.\n"
    assert call(machine, "ren C:\\files\\two three & move C:\\files\\three C:\\files\\deep > nul").code == 0
    assert call(machine, "del /q C:\\files\\*.LOG & dir /b C:\\files", directory="C:\\") == out("deep\none\n")
    call(machine, "rd /s /q C:\\files")
    assert not machine.host(r"C:\files").exists()


def test_slash_c_keeps_the_quotes_of_a_programs_name(machine: WindowsMachine) -> None:
    machine.host(r"C:\Windows\Temp\a b.cmd").write_text("exit /b 9")
    assert call(machine, 'cmd /c "C:\\Windows\\Temp\\a b.cmd"').code == 9
    assert call(machine, 'cmd /s /c "C:\\Windows\\Temp\\a b.cmd"').code == 1, "without them it is C:\\Windows\\Temp\\a"


def test_two_percent_signs_in_a_batch_file_are_one(machine: WindowsMachine) -> None:
    machine.host(r"C:\Windows\Temp\for.cmd").write_text("for %%i in (a b) do @echo %%i %windir:~0,2%")
    assert call(machine, "C:\\Windows\\Temp\\for.cmd").stdout == "a C:\nb C:\n"


def test_a_batch_file(machine: WindowsMachine) -> None:
    text = """@echo off
        set COUNT=0
        :again
        set /a COUNT=%COUNT%+1
        if %COUNT% lss 3 goto again
        if "%~1"=="x y" (
            echo first %COUNT%
            echo folder %~dp0
        ) else (
            echo other
        )
        cmd /c exit 12
        if errorlevel 12 exit /b %errorlevel%
        echo never
    """
    machine.host(r"C:\Windows\Temp\step.cmd").write_text(text.replace("\n", "\r\n"))
    done = call(machine, 'c:\\windows\\temp\\STEP.CMD "x y"')
    assert done == out("first 3\nfolder C:\\Windows\\Temp\\\n", 12)
    assert call(machine, "call C:\\Windows\\Temp\\step.cmd z & echo after %nope%").stdout == "other\nafter %nope%\n"


@pytest.mark.parametrize(
    ("end", "done"),
    [
        ("", out("one\ntwo\n")),
        ("& exit /b 3", out("one\n", 3)),
        ("& exit 4", out("one\n", 4)),
    ],
)
def test_a_batch_file_is_opened_anew_for_each_line(machine: WindowsMachine, end: str, done: Done) -> None:
    """One that is replaced while it runs is read on where the old one ended."""
    first = f"@(copy /y C:\\other.cmd C:\\batch.cmd >nul) & echo one{end}\r\n"
    machine.host("C:\\batch.cmd").write_text(first, newline="")
    machine.host("C:\\other.cmd").write_text("@".ljust(len(first) - 2) + "\r\n@echo two\r\n", newline="")
    assert call(machine, "C:\\batch.cmd") == done


def test_a_batch_file_that_deletes_itself_ends_with_an_error_unless_it_exits(machine: WindowsMachine) -> None:
    machine.host("C:\\gone.cmd").write_text("@del C:\\gone.cmd\r\n@echo never\r\n")
    done = call(machine, "C:\\gone.cmd")
    assert (done.code, done.stdout, done.stderr) == (1, "", "The batch file cannot be found.\n")


def test_how_operators_bind() -> None:
    node = parse("a & b || c && d | e")
    assert isinstance(node, Joined)
    assert node.operator == "&"
    assert isinstance(node.right, Joined)
    assert node.right.operator == "||"
