"""The one table of topics and services: name, type, QoS, who sends, who receives."""

from __future__ import annotations

from dataclasses import dataclass

JOINT_STATES = "joint_states"
COLOR = "camera/color/image_raw"
COLOR_INFO = "camera/color/camera_info"
DEPTH = "camera/depth/image_raw"
DEPTH_INFO = "camera/depth/camera_info"
OUTCOME = "task/outcome"
EXPERT_ACTION = "expert/action"
COMMAND = "command"
TRAJECTORY = "joint_trajectory_controller/joint_trajectory"
GRIPPER_COMMAND = "gripper/command"
GRIPPER_TRAJECTORY = "gripper_controller/joint_trajectory"
ROLLOUT = "policy/rollout"
WEIGHTS = "policy/weights"
DIAGNOSTICS = "/diagnostics"
CLOCK = "/clock"

_IMAGE = "sensor_msgs/msg/Image"
_INFO = "sensor_msgs/msg/CameraInfo"
_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
_BLOB = "std_msgs/msg/UInt8MultiArray"


@dataclass(frozen=True)
class Topic:
    """One topic as its publisher offers it."""

    name: str
    """Relative to the namespace (remappable), or absolute."""
    type: str
    depth: int
    """Queue length; 0 keeps all."""
    sender: str
    receivers: str
    reliable: bool = True
    latched: bool = False
    """transient_local: a late subscriber still gets the last message."""
    subscribe_as_sensor: bool = False
    """Subscribe best effort, so that a lossy camera driver connects too."""


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(JOINT_STATES, "sensor_msgs/msg/JointState", 10, "sim or driver", "expert, policy, safety, recorder"),
        Topic(COLOR, _IMAGE, 5, "sim or camera", "policy, recorder", subscribe_as_sensor=True),
        Topic(COLOR_INFO, _INFO, 5, "sim or camera", "recorder", subscribe_as_sensor=True),
        Topic(DEPTH, _IMAGE, 5, "sim or camera", "policy, recorder", subscribe_as_sensor=True),
        Topic(DEPTH_INFO, _INFO, 5, "sim or camera", "recorder", subscribe_as_sensor=True),
        Topic(OUTCOME, "diagnostic_msgs/msg/DiagnosticArray", 100, "sim", "expert, gripper, policy, recorder"),
        Topic(EXPERT_ACTION, _TRAJECTORY, 100, "expert", "recorder"),
        Topic(COMMAND, _TRAJECTORY, 10, "expert or policy", "safety, recorder"),
        Topic(TRAJECTORY, _TRAJECTORY, 10, "safety", "sim or ros2_control, recorder"),
        Topic(GRIPPER_COMMAND, _TRAJECTORY, 10, "gripper", "safety, recorder"),
        Topic(GRIPPER_TRAJECTORY, _TRAJECTORY, 10, "safety", "sim in real time or ros2_control, recorder"),
        Topic(ROLLOUT, _BLOB, 0, "policy", "learner"),
        Topic(WEIGHTS, _BLOB, 1, "learner", "policy", latched=True),
        Topic(DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray", 10, "all", "monitors"),
        Topic(CLOCK, "rosgraph_msgs/msg/Clock", 10, "sim, when faster than real time", "all"),
    )
}

RECORDED: tuple[str, ...] = (
    JOINT_STATES, COLOR, COLOR_INFO, DEPTH, DEPTH_INFO, OUTCOME, EXPERT_ACTION, COMMAND, TRAJECTORY,
    GRIPPER_COMMAND, GRIPPER_TRAJECTORY,
)  # fmt: skip
"""What an episode bag holds."""


@dataclass(frozen=True)
class Service:
    """One `std_srvs/Trigger` service."""

    name: str
    server: str
    does: str
    type: str = "std_srvs/srv/Trigger"
    callers: tuple[str, ...] = ()
    """Nodes that call it; besides them an operator may."""


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service("sim/reset", "sim", "starts a new episode", callers=("recorder",)),
        Service("recorder/start", "recorder", "opens an episode bag"),
        Service("recorder/stop", "recorder", "closes the open episode bag"),
        Service("safety/stop", "safety", "holds the arm until reset"),
        Service("safety/reset", "safety", "releases the stop"),
        Service("gripper/open", "gripper", "opens the hand"),
        Service("gripper/close", "gripper", "closes the hand"),
        Service("learner/save", "learner", "saves a checkpoint now"),
    )
}
