"""Run a graph of ROS nodes without ros2 launch: sim, demonstrate, deploy or train.

The same nodes with the same options as the launch file of that name. It ends when one of its nodes does, or at Ctrl-C.

  vd_policy up sim                                  the simulated arm alone
  vd_policy up demonstrate --out DIR --samples 500  the expert drives, the recorder writes
  vd_policy up deploy --run RUN                     a trained policy drives the simulated arm (--no-sim: a real one)
  vd_policy up train --run RUN --out NEW            a learner improves the policy while it acts
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from typing import Any

from vd_policy.base.errors import BadInput
from vd_policy.base.settings import build
from vd_policy.cli.arguments import number, whole
from vd_policy.cli.result import Result
from vd_policy.graph.options import OPTIONS, options_of, plain_type

SHARED = "seed"
"""The option that every command has."""
TARGETS = ("samples", "episodes", "updates")
"""Options that say when a graph is done; one that was stopped before that was interrupted."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", choices=tuple(OPTIONS), help="what to run")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, graphs in _users().items():
        title = "all graphs" if len(graphs) == len(OPTIONS) else " and ".join(graphs)
        if title not in groups:
            groups[title] = parser.add_argument_group(f"options of {title}")
        _add(groups[title], name, graphs)


def _users() -> dict[str, list[str]]:
    """Every option but the shared one, with the graphs that have it."""
    users: dict[str, list[str]] = defaultdict(list)
    for graph, options_class in OPTIONS.items():
        for field in dataclasses.fields(options_class):
            if field.name != SHARED:
                users[field.name].append(graph)
    return users


def _add(group: argparse._ArgumentGroup, name: str, graphs: list[str]) -> None:
    """One option; what is not given stays out of the namespace, since its default depends on the graph."""
    fields = [field for graph in graphs for field in dataclasses.fields(OPTIONS[graph]) if field.name == name]
    kind, metadata = plain_type(OPTIONS[graphs[0]], name), fields[-1].metadata
    flag = "--" + name.replace("_", "-")
    help_text = " / ".join(dict.fromkeys(field.metadata["help"] for field in fields))
    common: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": help_text + _defaults(fields)}
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
    elif metadata["choices"]:
        group.add_argument(flag, choices=metadata["choices"], **common)
    elif kind is str:
        group.add_argument(flag, metavar="X", **common)
    else:
        limits = whole if kind is int else number
        low = min(field.metadata["minimum"] for field in fields)
        group.add_argument(flag, type=limits(low, metadata["maximum"]), metavar="N", **common)


def _defaults(fields: list[dataclasses.Field]) -> str:
    """The defaults in brackets, several where graphs differ."""
    shown = dict.fromkeys(_shown(field.default) for field in fields if field.default not in (None, ""))
    return f" ({', '.join(shown)})" if shown else ""


def _shown(default: Any) -> str:
    return ("yes" if default else "no") if isinstance(default, bool) else str(default)


def options_from(args: argparse.Namespace) -> Any:
    """The options of the graph that the command line names.

    Raises:
        BadInput: an option that this graph does not have.
    """
    given = {name: getattr(args, name) for name in (*_users(), SHARED) if hasattr(args, name)}
    known = {field.name for field in dataclasses.fields(options_of(args.graph))}
    if foreign := sorted(set(given) - known):
        flags = ", ".join("--" + name.replace("_", "-") for name in sorted(known))
        raise BadInput("option", "--" + foreign[0].replace("_", "-"), f"for {args.graph}: {flags}", "remove it")
    return build(options_of(args.graph), given, f"up {args.graph}")


def run(args: argparse.Namespace) -> Result:
    from vd_policy.graph.up import INTERRUPTED, up

    options = options_from(args)
    code = up(args.graph, options)
    if code in INTERRUPTED and any(getattr(options, target, 0) for target in TARGETS):
        raise KeyboardInterrupt
    if code == BadInput.exit_code:
        raise BadInput(f"up {args.graph}", "refused", "what the node's own line above says", "correct that")
    return Result(ok=code == 0 or code in INTERRUPTED, figures={"graph": args.graph, "exit_code": code})
