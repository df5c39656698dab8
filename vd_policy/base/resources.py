"""Where the installed `urdf/`, `config/` and `launch/` files are.

The same lookup serves a source checkout, `pip install` (``<prefix>/share/vd_policy``) and a colcon install space
(``install/vd_policy/share/vd_policy``, plain or symlinked).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from vd_policy.base.errors import BadInput, Missing


@lru_cache(maxsize=1)
def share_directory() -> Path:
    """The directory that holds `urdf/`, `config/` and `launch/`."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    if (checkout / "package.xml").is_file() and (checkout / "urdf").is_dir():
        return checkout
    for parent in package.parents:
        share = parent / "share" / "vd_policy"
        if (share / "package.xml").is_file():
            return share
    raise Missing("the package's share directory", str(package), "an installed vd_policy", "install it again")


def resource(*parts: str) -> Path:
    """The path of one installed file, for example ``resource("config", "robots", "j2n6s300.yaml")``."""
    path = share_directory().joinpath(*parts)
    if not path.exists():
        there = sorted(p.name for p in path.parent.glob("*")) if path.parent.is_dir() else []
        raise Missing("/".join(parts), path.name, "one of " + ", ".join(there or ["(nothing)"]), "check the name")
    return path


def is_path(name: str) -> bool:
    """Whether a configuration is meant by its path, not by its bare name."""
    return name.endswith((".yaml", ".yml"))


def named_or_path(kind: str, name: str) -> Path:
    """A file of ``config/<kind>/`` by bare name, or any path that ends in ``.yaml``."""
    if is_path(name):
        path = Path(name)
        if not path.is_file():
            raise Missing(f"{kind} file", name, "a YAML file that exists", "check the path")
        return path
    if Path(name).name != name or name in ("", ".", ".."):
        raise BadInput(f"{kind} file", name, f"a name in config/{kind}, or a path that ends in .yaml", "correct it")
    return resource("config", kind, f"{name}.yaml")
