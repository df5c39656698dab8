"""What an episode bag says of itself, kept in the ``custom_data`` of its metadata."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vd_policy import __version__
from vd_policy.arm.driver import DriverJoint
from vd_policy.base.errors import BadInput
from vd_policy.base.settings import as_dict, build, setting

SCHEMA = 1


@dataclass(frozen=True)
class EpisodeInfo:
    """Known when the recording starts: what turns joint angles into actions, and who did it."""

    task: str = setting(help="name of the task")
    robot: str = setting(help="name of the robot")
    joints: tuple[str, ...] = setting(help="arm joints in the order of q and the actions")
    max_step_rad: float = setting(
        help="largest joint step of one decision [rad]; actions are divided by it", minimum=1e-9
    )
    period_s: float = setting(help="time of one decision [s]", minimum=0.0)
    horizon: int = setting(help="most steps an episode may have", minimum=1)
    source: str = setting("expert", help="who acted")
    sequence: int = setting(0, help="running number of the episode within its source", minimum=0)
    task_changes: str = setting("", help="where the task had other settings than the one of its name: which")
    expert_rule: str = setting("", help="the expert's eq. 10: clipped or literal")
    expert_noise_rad: float = setting(0.0, help="standard deviation of the noise on the expert's action [rad]")
    goals: str = setting("found", help="which goals its eq. 9 chose among: found, all or free; older bags do not say")
    driver_joints: dict[str, DriverJoint] = setting(
        factory=dict, help="joints that joint_states and the executed trajectory name or count otherwise than `joints`"
    )
    around_rad: dict[str, float] = setting(
        factory=dict, help="joints that a driver may wrap anywhere, and the angle that each is read near [rad]"
    )
    software: str = setting(f"vd_policy {__version__}", help="what wrote the bag")
    schema: int = setting(SCHEMA, help="version of this format")

    def to_custom(self) -> dict[str, str]:
        """As ``custom_data``: text as it is, everything else as JSON."""
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in as_dict(self).items()}

    @classmethod
    def from_custom(cls, custom: Mapping[str, str], where: str) -> EpisodeInfo:
        """Back from ``custom_data``, whose other keys (the closing ones) are left alone.

        Raises:
            BadInput: a key is missing, does not parse, or the schema is another one.
        """
        hints = typing.get_type_hints(cls)
        known = [f.name for f in fields(cls) if f.name in custom]
        values = {name: custom[name] if hints[name] is str else _parsed(custom[name], name, where) for name in known}
        info = build(cls, values, where)
        if info.schema != SCHEMA:
            raise BadInput(f"{where}: schema", info.schema, str(SCHEMA), "read it with the version that wrote it")
        return info


def _parsed(text: str, name: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        raise BadInput(f"{where}: {name}", text, "JSON", "the bag was not written by vd_policy") from None
