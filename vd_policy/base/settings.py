"""Frozen dataclasses filled from YAML or a mapping, with every mistake named.

A field may carry ``metadata={"help": str, "choices": tuple, "minimum": x, "maximum": x, "infinite": bool}`` (see
`setting`); the same fields give ROS parameters, command-line options and the documentation.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vd_policy.base.errors import BadInput, Missing

T = TypeVar("T")
MAX_YAML_BYTES = 1 << 20


def setting(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    infinite: bool = False,
    factory: Any = dataclasses.MISSING,
) -> Any:
    """A dataclass field with its documentation and its allowed range, which is of finite numbers unless it says so."""
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "infinite": infinite}
    if factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; refuses missing, oversized, malformed and non-mapping files."""
    path = Path(path)
    if not path.is_file():
        raise Missing("configuration file", str(path), "a YAML file that exists", "check the path")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise BadInput(str(path), path.stat().st_size, f"at most {MAX_YAML_BYTES} bytes", "is this the right file?")
    try:
        loaded = parse_yaml(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(str(path), str(error), "valid YAML", "correct the file") from None
    except OSError as error:
        raise BadInput(str(path), error.strerror, "a readable file", "change its permissions") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise BadInput(str(path), type(loaded).__name__, "a mapping of names to values", "correct the file")
    return loaded


def parse_yaml(text: str) -> Any:
    """The value that a text in YAML is; `yaml.YAMLError` for one that is none."""
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML silently takes the last, and reads 1e-3 as a number,
    as YAML 1.2 does: to PyYAML's 1.1 it is text without a point and a sign."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from a mapping.

    Args:
        cls: the dataclass.
        values: names to values; nested dataclasses take nested mappings, tuples take lists.
        where: what the mapping is, for the error messages (a path or an option).

    Raises:
        BadInput: unknown key (the nearest valid one is suggested), missing key, wrong type, or out of range.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
            fix = f"did you mean {near[0]!r}?" if near else "remove it"
            raise BadInput(f"{where}: key", key, "one of " + ", ".join(fields), fix)
    arguments = {}
    for name, f in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}: {name}", f.metadata)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise BadInput(f"{where}: {name}", None, str(hints[name]), f"add {name!r}")
    return cls(**arguments)


def from_yaml(cls: type[T], path: str | Path) -> T:
    """`build` from a YAML file."""
    return build(cls, load_yaml(path), str(path))


def replaced(settings: T, changes: Mapping[str, Any], where: str) -> T:
    """A copy with some fields changed, checked as `build` checks them."""
    return build(type(settings), {**as_dict(settings), **changes}, where)


def at_home(settings: T) -> T:
    """A copy whose texts that begin with ``~`` are paths in the home directory: no shell expands parameter files."""
    fields = dataclasses.fields(settings)  # type: ignore[arg-type]
    texts = {f.name: value for f in fields if isinstance(value := getattr(settings, f.name), str)}
    expanded = {name: os.path.expanduser(text) for name, text in texts.items() if text.startswith("~")}
    return dataclasses.replace(settings, **expanded)  # type: ignore[type-var]


def as_dict(settings: Any) -> dict[str, Any]:
    """Plain values (lists, not tuples) that YAML and JSON can hold; `build` takes them back."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(settings))


def _convert(hint: Any, value: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        hint = next(a for a in args if a is not type(None))
        origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise BadInput(where, value, "a mapping", "correct it")
        return build(hint, value, where)
    if origin is tuple:
        return _tuple(args, value, where, metadata)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise BadInput(where, value, "a mapping", "correct it")
        inner = args[1] if args else Any
        return {str(k): _convert(inner, v, f"{where}.{k}", {}) for k, v in value.items()}
    return _checked(_scalar(hint, value, where), where, metadata)


def _tuple(args: tuple[Any, ...], value: Any, where: str, metadata: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadInput(where, value, "a list", "write it as [a, b, ...]")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], v, f"{where}[{i}]", metadata) for i, v in enumerate(value))
    if len(value) != len(args):
        raise BadInput(where, value, f"a list of {len(args)} values", "correct its length")
    return tuple(_convert(a, v, f"{where}[{i}]", metadata) for i, (a, v) in enumerate(zip(args, value)))


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise BadInput(where, value, f"a value of type {name}", "correct its type")


def _checked(value: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    choices, low, high = (metadata.get(k) for k in ("choices", "minimum", "maximum"))
    if choices is not None and value not in choices:
        near = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1)
        raise BadInput(where, value, "one of " + ", ".join(map(str, choices)),
                       f"did you mean {near[0]!r}?" if near else "choose one of them")  # fmt: skip
    if isinstance(value, float) and value != value:
        raise BadInput(where, value, "a number", "it is not one")
    if isinstance(value, float) and math.isinf(value) and not metadata.get("infinite"):
        raise BadInput(where, value, "a finite number", "write one")
    if low is not None and value < low:
        raise BadInput(where, value, f"at least {low}", "raise it")
    if high is not None and value > high:
        raise BadInput(where, value, f"at most {high}", "lower it")
    return value
