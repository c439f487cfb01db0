"""The command line at its edges: what a terminal would obey, streams that are closed."""

import subprocess

import pytest

from signbind_jax import cli
from signbind_jax.processes import child

HOSTILE = "a\x1b[31m\nsignbind done\u202e"  # colours, a second line, text from right to left
SHOWN = "a\\x1b[31m\\nsignbind done\\u202e"


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", f"--hypotheses={HOSTILE}", "--references=r"],
        ["train", "--workdir=w", f"--config={HOSTILE}.py"],
        ["evaluate", f"--checkpoint={HOSTILE}", "--data=d"],
    ],
)
def test_an_error_is_one_line_that_no_terminal_obeys(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").write_text("Anna came.\n")
    assert cli.main(arguments) == 1
    told = capsys.readouterr().err
    assert SHOWN in told and told.removesuffix("\n").isprintable()


def test_bad_usage_is_told_so_that_no_terminal_obeys_it(capsys):
    with pytest.raises(SystemExit):
        cli.main(["score", f"--{HOSTILE}", "--hypotheses=h", "--references=r"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert SHOWN in last and last.isprintable()


@pytest.mark.parametrize("place", ["file", "file/below", "a" * 300, "loop"])
def test_a_working_directory_that_cannot_be_one_is_named(tmp_path, capsys, place):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    workdir = tmp_path / place
    arguments = ["train", "--config=signing", "--config.data.directory=d", f"--workdir={workdir}"]
    assert cli.main(arguments) == 1
    told = capsys.readouterr().err
    assert f"{workdir}: cannot be used: " in told and told.count("\n") == 1
    assert "--debug" not in told


def shell(line: str, *arguments, **variables) -> subprocess.CompletedProcess:
    """What a shell makes of a line in which "$@" stands for a `signbind` command."""
    command, environment = child.python("signbind_jax.cli", *map(str, arguments))
    return subprocess.run(
        ["sh", "-c", line, "sh", *command],
        capture_output=True,
        text=True,
        env=environment | variables,
        timeout=300,
    )


def test_closed_streams_change_no_exit_code_and_put_no_error_elsewhere(tmp_path):
    line = tmp_path / "line"
    line.write_text("Anna came.\n")
    score = "score", f"--hypotheses={line}", f"--references={line}"
    assert shell('"$@" >&- 2>&- <&-', *score).returncode == 0
    failed = shell('"$@" 2>&-', "score", "--hypotheses=none", "--references=none")
    assert failed.returncode == 1 and failed.stdout == failed.stderr == ""


def test_a_name_outside_the_terminals_encoding_ends_no_work(tmp_path):
    path = tmp_path / "手語"
    path.write_text("Anna came.\n")
    given = "score", f"--hypotheses={path}", f"--references={path}", "--json"
    done = shell('"$@"', *given, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "\\u624b" in done.stdout


def test_a_full_disk_behind_standard_output_is_told(tmp_path):
    path = tmp_path / "line"
    path.write_text("Anna came.\n")
    done = shell(
        '"$@" >/dev/full',
        "score",
        f"--hypotheses={path}",
        f"--references={path}",
        PYTHONUNBUFFERED="1",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("signbind: error: standard output or a file: cannot be written")
    assert done.stderr.count("\n") == 1
