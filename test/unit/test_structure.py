"""The house rules of docs/architecture.md, read off the source itself."""

from __future__ import annotations

import ast
import functools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "vd_policy"
FLOORS = {
    "base": 0,
    "arm": 1, "policy": 1,
    "sim": 2, "messages": 2, "control": 2,
    "demos": 3,
    "learning": 4, "graph": 4,
    "nodes": 5, "experiments": 5,
    "cli": 6,
}  # fmt: skip
ROS = {
    "rclpy", "rosidl_runtime_py", "launch", "launch_ros", "ament_index_python", "builtin_interfaces",
    "diagnostic_msgs", "lifecycle_msgs", "rcl_interfaces", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs",
    "trajectory_msgs",
}  # fmt: skip
ONLY_IN = {
    **{module: {"nodes"} for module in ROS},
    "cv_bridge": {"messages", "nodes"},
    "pybullet": {"sim"}, "pybullet_data": {"sim"},
    "argparse": {"cli"},
    "rosbags": {"demos"}, "mcap": {"demos"},
    "matplotlib": {"experiments"},
    "honcho": {"graph"},
}  # fmt: skip
"""Third-party and heavy modules, and the rooms that may import them."""
NO_TORCH = {"base", "arm", "sim", "messages", "control", "demos", "graph"}
UNSAFE_YAML = {f"yaml.{name}" for name in ("Loader", "CLoader", "FullLoader", "UnsafeLoader", "unsafe_load")}
UNSAFE = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


@functools.cache
def sources() -> dict[Path, ast.Module]:
    return {file.relative_to(PACKAGE): ast.parse(file.read_text()) for file in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all imports of a module: also those inside functions, and by `import_module` of a literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for function, call in calls(tree):
        if function in ("importlib.import_module", "import_module") and isinstance(call.args[0], ast.Constant):
            yield call.args[0].value


def room_of(file: Path) -> str:
    return file.parts[0] if len(file.parts) > 1 else ""


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_every_room_has_a_floor_and_says_in_a_paragraph_what_lives_there():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(FLOORS), "a new room needs a floor in docs/architecture.md and here"
    for room in rooms:
        docstring = ast.get_docstring(sources()[Path(room) / "__init__.py"]) or ""
        assert docstring.startswith(f"Floor {FLOORS[room]}"), f"{room}/__init__.py does not name its floor"
        assert len(docstring) > 120, f"{room}/__init__.py does not say what lives there"


def test_imports_run_from_a_higher_floor_to_a_lower_one():
    wrong = []
    for file, tree in sources().items():
        room = room_of(file)
        for name in imports(tree):
            parts = name.split(".")
            if parts[0] != "vd_policy" or len(parts) < 2 or parts[1] not in FLOORS or parts[1] == room:
                continue
            if not room or parts[1] == "nodes" or FLOORS[parts[1]] >= FLOORS[room]:
                wrong.append(f"{file} imports {name}")
    assert not wrong


def test_ros_and_pybullet_are_imported_by_their_own_rooms_only():
    wrong = [
        f"{file} imports {name}"
        for file, tree in sources().items()
        for name in imports(tree)
        if room_of(file) not in ONLY_IN.get(name.split(".")[0], {room_of(file)})
    ]
    assert not wrong


def test_rooms_that_need_no_networks_do_not_import_torch():
    wrong = [str(file) for file, tree in sources().items() if room_of(file) in NO_TORCH
             for name in imports(tree) if name.split(".")[0] == "torch"]  # fmt: skip
    assert not wrong


def test_nothing_read_from_disk_or_wire_can_run_code():
    wrong = []
    for file, tree in sources().items():
        wrong += [f"{file} imports {name}" for name in imports(tree) if name.split(".")[0] in UNSAFE]
        wrong += [f"{file}:{node.lineno} uses {ast.unparse(node)}" for node in ast.walk(tree)
                  if isinstance(node, ast.Attribute) and ast.unparse(node) in UNSAFE_YAML]  # fmt: skip
        for function, call in calls(tree):
            if function in ("torch.load", "torch.save", "eval", "exec"):
                wrong.append(f"{file}:{call.lineno} calls {function}")
            if any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in call.keywords):
                wrong.append(f"{file}:{call.lineno} allows pickle")
    assert not wrong


def test_the_library_does_not_print():
    wrong = [f"{file}:{call.lineno}" for file, tree in sources().items() if file != Path("cli/main.py")
             for function, call in calls(tree) if function == "print"]  # fmt: skip
    assert not wrong


def test_the_library_asserts_nothing_but_a_type_for_the_type_checker():
    narrowing = re.compile(r"(\S+ is not None|isinstance\(.*\))( and (\S+ is not None|isinstance\(.*\)))*")
    wrong = [f"{file}:{node.lineno}" for file, tree in sources().items() for node in ast.walk(tree)
             if isinstance(node, ast.Assert) and not narrowing.fullmatch(ast.unparse(node.test))]  # fmt: skip
    assert not wrong


def test_every_module_says_what_it_is_and_delays_its_annotations():
    for file, tree in sources().items():
        assert ast.get_docstring(tree), f"{file} has no docstring"
        if file.name != "__init__.py":
            future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
            assert future, f"{file} lacks from __future__ import annotations"


def test_nothing_is_left_to_do():
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = []
    for file in [*PACKAGE.rglob("*.py"), *(ROOT / "launch").rglob("*.py"), *(ROOT / "test").rglob("*.py")]:
        with tokenize.open(file) as handle:
            comments = [t for t in tokenize.generate_tokens(handle.readline) if t.type == tokenize.COMMENT]
        wrong += [f"{file}:{comment.start[0]}" for comment in comments if words.search(comment.string)]
    assert not wrong


def test_tests_wait_for_conditions_and_never_sleep():
    wrong = []
    for file in (ROOT / "test").rglob("*.py"):
        wrong += [f"{file}:{call.lineno}" for function, call in calls(ast.parse(file.read_text()))
                  if function in ("time.sleep", "sleep")]  # fmt: skip
    assert not wrong


def test_test_files_have_unique_names():
    names = [file.name for file in (ROOT / "test").rglob("test_*.py")]
    assert len(names) == len(set(names))
