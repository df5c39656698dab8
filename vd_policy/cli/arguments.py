"""Argument parsing whose every refusal is a `BadInput`: what, its value, what is allowed, what to do."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vd_policy.base.errors import BadInput


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `BadInput` in place of printing its usage and leaving."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise self._refusal(message)

    def _refusal(self, message: str) -> BadInput:
        see = f"see {self.prog} --help"
        if found := re.fullmatch(r"unrecognized arguments: (.*)", message):
            return self._unknown(found[1].split()[0], see)
        if found := re.fullmatch(r"the following arguments are required: (.*)", message):
            return BadInput(found[1], None, "a value", f"give it; {see}")
        if found := re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL):
            return self._unusable(found[1], found[2], see)
        return BadInput("arguments", message, "a valid command line", see)

    def _unknown(self, word: str, see: str) -> BadInput:
        if not word.startswith("-"):
            return BadInput("argument", word, "nothing more", f"remove it; {see}")
        known = [option for option in self._option_string_actions if option.startswith("--")]
        return BadInput("option", word, "one of " + ", ".join(known), nearest(word.split("=")[0], known) or see)

    def _unusable(self, name: str, complaint: str, see: str) -> BadInput:
        if found := re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", complaint):
            choices = [choice.strip("' ") for choice in found[2].split(",")]
            return BadInput(name, found[1], "one of " + ", ".join(choices), nearest(found[1], choices) or see)
        if found := re.fullmatch(r"out of range: '(.*)'; allowed: (.*)", complaint):
            return BadInput(name, found[1], found[2], f"correct it; {see}")
        if found := re.fullmatch(r"invalid (\w+) value: '(.*)'", complaint):
            allowed = {"int": "a whole number", "float": "a number"}.get(found[1], f"a {found[1]}")
            return BadInput(name, found[2], allowed, f"correct it; {see}")
        return BadInput(name, None, complaint, see)


def nearest(word: str, known: list[str]) -> str | None:
    """``"did you mean 'x'?"`` for the closest of `known`, or None when nothing is close."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else None


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """An argparse `type`: a whole number in [minimum, maximum]."""
    return _ranged(int, "a whole number", minimum, maximum)


def number(minimum: float | None = None, maximum: float | None = None) -> Callable[[str], float]:
    """An argparse `type`: a finite number in [minimum, maximum]."""
    return _ranged(float, "a number", minimum, maximum)


def path(text: str) -> Path:
    """An argparse `type`: a path. An empty one, as of a shell variable that is not set, would be this directory."""
    if not text:
        raise OutOfRange(text, "a path")
    return Path(text)


def check_writable(option: str, file: Path | None, suffix: str = "") -> None:
    """Refuse a file that cannot be written before the work, not after it.

    Args:
        option: that it was given with.
        file: None where none was asked for.
        suffix: what its name ends in; empty: anything.

    Raises:
        BadInput: it is a directory, or in none that can be written, or its name ends otherwise.
    """
    if file is None:
        return
    parent = file.absolute().parent
    if (suffix and file.suffix != suffix) or file.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK):
        kind = f"a *{suffix} file" if suffix else "a file"
        raise BadInput(option, str(file), f"{kind} in a directory that exists and can be written", "choose another")


def _ranged(cast: Callable[[str], Any], kind: str, low: float | None, high: float | None) -> Callable[[str], Any]:
    bounds = [f"{word} {bound}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    allowed = f"{kind}, {' and '.join(bounds)}" if bounds else kind

    def convert(text: str) -> Any:
        try:
            value = cast(text)
        except ValueError:
            raise OutOfRange(text, allowed) from None
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            raise OutOfRange(text, allowed)
        return value

    return convert


class OutOfRange(argparse.ArgumentTypeError):
    """Carries a value and what is allowed through argparse, which adds the option's name."""

    def __init__(self, value: str, allowed: str) -> None:
        super().__init__(f"out of range: {value!r}; allowed: {allowed}")
