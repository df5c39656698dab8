"""The command line: exit codes, one-line errors, the JSON file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vd_policy import __version__
from vd_policy.cli import main as cli
from vd_policy.cli.main import command_names, main

HEAD = '''"""Do the thing.

More about it.
"""
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.cli.arguments import number, whole
from vd_policy.cli.result import Result

def arguments(parser):
    parser.add_argument("--count", type=whole(1, 9), default=1)
    parser.add_argument("--scale", type=number(0.0), default=1.0)
    parser.add_argument("--kind", choices=("fast", "slow"), default="fast")

def run(args):
'''


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put commands into a folder of their own; returns a function (name, body of run)."""
    from vd_policy.cli import commands

    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setattr(cli, "COMMANDS", folder)
    monkeypatch.setattr(commands, "__path__", [str(folder)])
    for loaded in [name for name in sys.modules if name.startswith("vd_policy.cli.commands.")]:
        monkeypatch.delitem(sys.modules, loaded)

    def write(name: str, body: str, head: str = HEAD) -> None:
        (folder / f"{name}.py").write_text(head + "".join(f"    {line}\n" for line in body.splitlines()))

    yield write
    for loaded in [name for name in sys.modules if name.startswith("vd_policy.cli.commands.")]:
        del sys.modules[loaded]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.endswith("\n"), captured.err
    assert captured.out == ""
    return captured.err


def test_a_file_in_the_folder_is_a_command(command, capsys):
    command("say_hello", 'return Result(True, {}, f"hello {args.count} {args.seed}")')
    assert main(["say-hello", "--count", "3", "--seed", "5"]) == 0
    assert capsys.readouterr().out == "hello 3 5\n"


def test_the_json_file_holds_command_version_seed_ok_and_the_figures(command, tmp_path, capsys):
    body = 'return Result(False, {"rate_hz": np.float32(0.5), "n": np.int64(2), "xs": np.arange(2), "bad": np.nan})'
    command("work", f"import numpy as np\n{body}")
    assert main(["work", "--seed", "4", "--json", str(tmp_path / "f.json")]) == 1
    head = {"command": "work", "version": __version__, "seed": 4, "ok": False}
    figures = {"rate_hz": 0.5, "n": 2, "xs": [0, 1], "bad": None}
    assert json.loads((tmp_path / "f.json").read_text()) == head | figures


def test_a_failure_still_writes_its_json(command, tmp_path, capsys):
    command("work", 'raise VdPolicyError("the disk is full")')
    assert main(["work", "--json", str(tmp_path / "f.json")]) == 1
    assert one_line(capsys) == "vd_policy work: the disk is full\n"
    written = json.loads((tmp_path / "f.json").read_text())
    assert written["ok"] is False and written["error"] == "the disk is full"


def test_bad_input_is_one_line_and_exit_code_2(command, capsys):
    command("work", 'raise BadInput("--kind", "x", "y", "z")')
    assert main(["work"]) == 2
    assert one_line(capsys) == "vd_policy work: --kind is 'x'; allowed: y; fix: z\n"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["command", "one of work"]),
        (["wrok"], ["'wrok'", "did you mean 'work'?"]),
        (["--verbose"], ["--verbose", "one of --help, --version"]),
        (["work", "--cuont", "2"], ["option is '--cuont'", "did you mean '--count'?"]),
        (["work", "--coun", "2"], ["option is '--coun'", "did you mean '--count'?"]),
        (["work", "extra"], ["'extra'", "nothing more"]),
        (["work", "--count"], ["--count", "expected one argument"]),
        (["work", "--count", "two"], ["--count is 'two'", "a whole number, at least 1 and at most 9"]),
        (["work", "--count", "0"], ["--count is '0'", "at least 1"]),
        (["work", "--scale", "nan"], ["--scale is 'nan'", "a number, at least 0.0"]),
        (["work", "--scale", "-1"], ["--scale is '-1'"]),
        (["work", "--kind", "slwo"], ["--kind is 'slwo'", "one of fast, slow", "did you mean 'slow'?"]),
        (["work", "--seed", "-1"], ["--seed is '-1'", "at least 0"]),
        (["work", "--seed", "1.5"], ["--seed is '1.5'", "a whole number"]),
        (["work", "--json", "/nowhere/at/all.json"], ["--json", "can be written"]),
    ],
)
def test_a_wrong_command_line_says_what_is_allowed_and_what_to_do(command, capsys, words, parts):
    command("work", "return Result(True)")
    assert main(words) == 2
    line = one_line(capsys)
    assert all(part in line for part in [*parts, "; allowed: ", "; fix: "]), line


def test_an_unusable_json_path_is_refused_before_the_work(command, tmp_path, capsys):
    command("work", f'open({str(tmp_path / "worked")!r}, "w").close(); return Result(True)')
    assert main(["work", "--json", str(tmp_path)]) == 2
    assert not (tmp_path / "worked").exists()


def test_a_broken_command_does_not_break_the_others_nor_the_help(command, capsys):
    command("good", "return Result(True)")
    command("worse", "", head='"""Bad\n')
    command("lacking", "return Result(True)", head=HEAD + "    import no_such_package_anywhere\n")
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "Do the thing." in capsys.readouterr().out
    assert main(["good"]) == 0
    assert main(["lacking"]) == 2
    assert "no_such_package_anywhere" in one_line(capsys)


def test_a_missing_optional_package_names_the_extra_that_brings_it(command, capsys):
    command("work", "raise ModuleNotFoundError(\"No module named 'onnx'\", name='onnx.helper')")
    assert main(["work"]) == 2
    assert "pip install 'vd_policy[export]'" in one_line(capsys)


def test_an_interrupt_ends_with_130_and_one_line(command, tmp_path, capsys):
    command("work", "raise KeyboardInterrupt")
    assert main(["work"]) == 130
    assert one_line(capsys) == "vd_policy work: interrupted; what was saved before is intact\n"


def test_a_storage_error_is_one_line_with_the_path(command, capsys):
    command("work", 'open("/", "w")')
    assert main(["work"]) == 1
    assert one_line(capsys) == "vd_policy work: /: Is a directory\n"


def test_the_help_of_a_command_is_its_docstring(command, capsys):
    command("work", "return Result(True)")
    with pytest.raises(SystemExit):
        main(["work", "--help"])
    shown = capsys.readouterr().out
    assert "More about it." in shown and "--seed" in shown and "--json" in shown


def test_every_command_declares_its_arguments_without_importing_torch_or_ros():
    code = (
        "import sys\nfrom vd_policy.cli.main import _load, _parser, command_names\n"
        "for name in command_names():\n    _parser(name, _load(name)).format_help()\n"
        "heavy = {'torch', 'rclpy', 'pybullet', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_has_a_summary_that_fits_the_overview():
    for name in command_names():
        summary = cli._summary(cli.COMMANDS / (name.replace("-", "_") + ".py"))
        assert summary != "(no help)" and len(summary) <= 100 and summary.endswith("."), name


def test_a_reader_that_leaves_early_is_not_an_error():
    help_command = [sys.executable, "-m", "vd_policy.cli.main", "--help"]
    process = subprocess.Popen(help_command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()


def test_a_real_interrupt_reaches_the_command():
    code = (
        "import sys, types; from vd_policy.cli import main as cli\n"
        "m = types.ModuleType('m'); m.arguments = lambda p: None\n"
        "def run(args):\n    print('ready', flush=True)\n    sys.stdin.read()\n"
        "m.run = run; cli._load = lambda name: m; cli.command_names = lambda: ['work']\n"
        "sys.exit(cli.main(['work']))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], text=True, env=os.environ,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
