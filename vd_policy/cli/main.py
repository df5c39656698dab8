"""``vd_policy <command>``: find the command, read its arguments, run it, print and store its `Result`."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from vd_policy import __version__
from vd_policy.base.errors import BadInput, Missing, VdPolicyError
from vd_policy.base.files import write_json
from vd_policy.base.seeds import MAX_SEED
from vd_policy.cli.arguments import Parser, check_writable, nearest, path, whole
from vd_policy.cli.result import Result

COMMANDS = Path(__file__).parent / "commands"
T = TypeVar("T")
INTERRUPTED = 130
"""128 + SIGINT, what a shell expects of an interrupted program."""

INSTALLED_BY = {
    "rclpy": "ros", "onnx": "export", "onnxruntime": "export", "sb3_contrib": "bench", "stable_baselines3": "bench",
}  # fmt: skip
"""Optional modules and the extra of the package that brings them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        0; 1 when the command failed; 2 for bad input, with one line on stderr; 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    prefix = "vd_policy"
    try:
        name = command_of(words)
        prefix = f"vd_policy {name}"
        return run(name, words)
    except VdPolicyError as error:
        print(f"{prefix}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{prefix}: interrupted; what was saved before is intact", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our pipe left: not our failure
        return 0
    except OSError as error:
        print(f"{prefix}: {error.filename or 'system call'}: {error.strerror or error}", file=sys.stderr)
        return 1


def command_names() -> list[str]:
    """The files of `commands/`, with ``-`` for ``_``."""
    return sorted(file.stem.replace("_", "-") for file in COMMANDS.glob("[a-z]*.py"))


def command_of(words: list[str]) -> str:
    """The command that the words name; ``--help`` and ``--version`` before it print and leave."""
    names = command_names()
    parser = Parser(prog="vd_policy", usage="vd_policy COMMAND [options]", description=_overview(names))
    parser.add_argument("--version", action="version", version=f"vd_policy {__version__}")
    parser.add_argument("command", metavar="COMMAND", nargs="?", help=argparse.SUPPRESS)
    name = parser.parse_args(words[:1]).command
    if name is None:
        raise BadInput("command", None, "one of " + ", ".join(names), "see vd_policy --help")
    if name not in names:
        raise BadInput("command", name, "one of " + ", ".join(names), nearest(name, names) or "see vd_policy --help")
    return name


def _overview(names: list[str]) -> str:
    width = max(map(len, names))
    lines = [f"  {name:<{width}} {_summary(COMMANDS / (name.replace('-', '_') + '.py'))}" for name in names]
    return "\n".join(["Teach a robot arm from demonstrations, prune what it learned, and go on improving it.", "",
                      "commands:", *lines, "", "Each has its own --help."])  # fmt: skip


def _summary(file: Path) -> str:
    """First line of a command's help, read without importing it, so that a broken one cannot break the list."""
    try:
        help_text = ast.get_docstring(ast.parse(file.read_text()))
    except (SyntaxError, OSError):
        help_text = None
    return (help_text or "(no help)").splitlines()[0]


def run(name: str, words: list[str]) -> int:
    """Parse the words of one command, run it, print its text, write its JSON; returns the exit code."""
    module = _load(name)
    parser = _parser(name, module)
    args = parser.parse_args(words[1:])
    check_writable("--json", args.json)
    try:
        result: Result = _needing(name, lambda: module.run(args))
    except (VdPolicyError, KeyboardInterrupt, OSError) as error:
        if args.json is not None:
            failed = Result(ok=False).as_json(name, __version__, args.seed)
            write_json(args.json, {**failed, "error": str(error) or "interrupted"})
        raise
    if args.json is not None:
        write_json(args.json, result.as_json(name, __version__, args.seed))
    if result.text:
        print(result.text, flush=True)
    return 0 if result.ok else 1


def _load(name: str) -> ModuleType:
    return _needing(name, lambda: importlib.import_module(f"vd_policy.cli.commands.{name.replace('-', '_')}"))


def _needing(name: str, act: Callable[[], T]) -> T:
    """Call `act`; a third-party module that is not installed becomes one line with the fix."""
    try:
        return act()
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "vd_policy"):
            raise
        extra = INSTALLED_BY.get(missing)
        fix = f"pip install 'vd_policy[{extra}]'" if extra else "make setup, or vd_policy doctor for what is missing"
        raise Missing(f"package needed by {name}", missing, "an installed one", fix) from None


def _parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = Parser(prog=f"vd_policy {name}", description=(module.__doc__ or "").strip())
    module.arguments(parser)
    shared = parser.add_argument_group("shared by all commands")
    shared.add_argument("--seed", type=whole(0, MAX_SEED), default=0, metavar="N", help="fixes every random choice (0)")
    shared.add_argument("--json", type=path, metavar="FILE", help="also write the result there, as one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
