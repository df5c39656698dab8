"""Settings: dataclasses filled from YAML, with every mistake named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vd_policy.base.errors import BadInput, Missing
from vd_policy.base.settings import as_dict, at_home, build, from_yaml, load_yaml, parse_yaml, replaced, setting


@dataclass(frozen=True)
class Inner:
    width: int = setting(4, "units", minimum=1)


@dataclass(frozen=True)
class Outer:
    rate_hz: float = setting(10.0, "decisions a second", minimum=0.1, maximum=1000.0)
    method: str = setting("vd", "regulariser", choices=("vd", "l2", "none"))
    widths: tuple[int, ...] = setting((8, 8), "layers", minimum=1)
    region: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 1.0), (0.0, 1.0))
    inner: Inner = field(default_factory=Inner)
    limit: float | None = None
    file: Path | None = None
    enabled: bool = False
    names: dict[str, int] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    bounds: tuple[float, ...] = setting((), "none where infinite", infinite=True)


def test_defaults_stand_where_nothing_is_given():
    assert build(Outer, {}, "x") == Outer()


def test_values_nest_convert_and_come_back_unchanged():
    given = {"rate_hz": 30, "widths": [3, 2], "region": [[0, 1], [2, 3]], "inner": {"width": 7}, "limit": 1,
             "file": "a/b", "names": {"a": 1}, "enabled": True}  # fmt: skip
    outer = build(Outer, given, "x")
    assert outer.rate_hz == 30.0 and isinstance(outer.rate_hz, float)
    assert outer.widths == (3, 2) and outer.region == ((0.0, 1.0), (2.0, 3.0))
    assert outer.inner == Inner(7) and outer.file == Path("a/b") and outer.limit == 1.0
    assert build(Outer, as_dict(outer), "again") == outer


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"rat_hz": 3}, ["rat_hz", "did you mean 'rate_hz'?"]),
        ({"zzz": 3}, ["zzz", "one of rate_hz, method", "remove it"]),
        ({"rate_hz": "fast"}, ["x: rate_hz", "fast", "type float"]),
        ({"rate_hz": -1}, ["x: rate_hz", "-1", "at least 0.1"]),
        ({"rate_hz": 2000}, ["at most 1000.0"]),
        ({"rate_hz": float("nan")}, ["nan", "a number"]),
        ({"limit": float("inf")}, ["x: limit", "inf", "a finite number"]),
        ({"region": [[0, 1], [float("-inf"), 1]]}, ["region[1][0]", "-inf", "a finite number"]),
        ({"anything": {"a": float("inf")}}, ["anything.a", "a finite number"]),
        ({"bounds": [1, float("nan")]}, ["bounds[1]", "nan", "a number"]),
        ({"rate_hz": True}, ["type float"]),
        ({"method": "non"}, ["one of vd, l2, none", "did you mean 'none'?"]),
        ({"widths": 3}, ["widths", "a list"]),
        ({"widths": [3, 0]}, ["widths[1]", "at least 1"]),
        ({"region": [[0, 1]]}, ["region", "a list of 2 values"]),
        ({"inner": {"widht": 1}}, ["x: inner: key", "did you mean 'width'?"]),
        ({"inner": 3}, ["x: inner", "a mapping"]),
        ({"inner": {"width": 1.5}}, ["type int"]),
        ({"enabled": 1}, ["enabled", "type bool"]),
        ({"limit": "x"}, ["limit", "type float"]),
        ({"names": {"a": "b"}}, ["names.a", "type int"]),
    ],
)
def test_a_mistake_is_refused_by_name_value_allowed_and_fix(values: dict, named: list[str]):
    with pytest.raises(BadInput) as caught:
        build(Outer, values, "x")
    assert all(part in str(caught.value) for part in [*named, "; allowed: ", "; fix: "])
    assert "\n" not in str(caught.value)


def test_a_number_is_infinite_where_its_field_says_so_alone():
    assert build(Outer, {"bounds": [float("-inf"), 1]}, "x").bounds == (float("-inf"), 1.0)


def test_a_field_without_default_must_be_given():
    @dataclass(frozen=True)
    class Needs:
        name: str

    with pytest.raises(BadInput, match="name"):
        build(Needs, {}, "x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2.5E+2", -250.0),
        (".5e1", 5.0),
        ("1e", "1e"),
        ("e3", "e3"),
        ("7", 7),
        ("0.5", 0.5),
        ("[1e-2, on]", [0.01, True]),
    ],
)
def test_numbers_are_read_as_everybody_writes_them(text: str, value: object):
    """PyYAML takes 1e-3 for text."""
    assert parse_yaml(text) == value and type(parse_yaml(text)) is type(value)


def test_changes_are_checked_like_files():
    assert replaced(Outer(), {"method": "l2"}, "options").method == "l2"
    with pytest.raises(BadInput, match="options: method"):
        replaced(Outer(), {"method": "?"}, "options")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"rate_hz: [1, 2", "valid YAML"),
        (b"- 1\n- 2\n", "a mapping"),
        (b"\xff\xfe\x00", "valid YAML"),
        (b"rate_hz: 1\nrate_hz: 2\n", "rate_hz"),
        (b"a: !!python/object/apply:os.system [ls]\n", "valid YAML"),
        (b"#" * (1 << 21), "bytes"),
    ],
    ids=["cut off", "a list", "binary", "a key twice", "code", "too large"],
)
def test_an_unusable_yaml_file_is_refused_by_its_path(tmp_path: Path, content: bytes, named: str):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        from_yaml(Outer, file)
    assert str(file) in str(caught.value) and named in str(caught.value)


def test_a_missing_yaml_file_and_a_directory_are_refused(tmp_path: Path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(Missing, match=str(path)):
            load_yaml(path)


def test_an_empty_yaml_file_means_all_defaults(tmp_path: Path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert from_yaml(Outer, tmp_path / "empty.yaml") == Outer()


def test_a_text_that_begins_with_a_tilde_is_a_path_in_the_home_directory(monkeypatch):
    @dataclass(frozen=True)
    class Paths:
        run: str = ""
        out: str = "~/runs/a"
        count: int = 3
        topics: tuple[str, ...] = ("~/own",)

    monkeypatch.setenv("HOME", "/home/me")
    assert at_home(Paths()) == Paths(out="/home/me/runs/a")
    assert at_home(Paths(run="~nobody-here/b", out="a/~b")) == Paths(run="~nobody-here/b", out="a/~b")
