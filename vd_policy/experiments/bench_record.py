"""What the recorder loses, and takes of a core, under four RGBD cameras and joint states at 1000 Hz over real DDS."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.demos.bag import bag_paths
from vd_policy.demos.reader import open_bag
from vd_policy.graph.domain import own_domain
from vd_policy.graph.process import NodeSpec
from vd_policy.graph.up import run


def bench_record(
    size: int = 256, *, cameras: int = 4, frame_rate_hz: float = 30.0, joint_rate_hz: float = 1000.0,
    seconds: float = 20.0, folder: str | Path | None = None, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Record the same load with compressed chunks and without, one after the other.

    Args:
        size: image height and width [pixels].
        cameras: with colour (rgb8) and depth (32FC1) each.
        frame_rate_hz: of each camera.
        joint_rate_hz: joint states a second, no fewer than frames: a picture is sent with a joint state.
        seconds: sending time of each recording.
        folder: where to record; a temporary one by default.
        seed: of the pictures.

    Returns:
        ``<compressed|plain>_<figure>`` for each: messages sent and lost, the rate achieved by the sender, MB a second
        of messages and on the disk, and the recorder's share of one core.

    Raises:
        BadInput: fewer joint states than frames.
    """
    if joint_rate_hz < frame_rate_hz:
        raise BadInput("joint_rate_hz", joint_rate_hz, f"at least frame_rate_hz, {frame_rate_hz:g}", "raise it")
    load = {"size": size, "cameras": cameras, "frame_rate_hz": frame_rate_hz, "joint_rate_hz": joint_rate_hz,
            "seconds": seconds, "seed": seed}  # fmt: skip
    figures: dict[str, float] = {}
    for name, compress in (("compressed", True), ("plain", False)):
        with tempfile.TemporaryDirectory(prefix="vd_policy-", dir=folder) as place, own_domain():
            found = _measure(Path(place), load, compress)
            figures |= {f"{name}_{key}": value for key, value in found.items()}
    return figures


def _measure(folder: Path, load: dict[str, Any], compress: bool) -> dict[str, float]:
    out, bags = folder / "sent.json", folder / "bags"
    extra = tuple(f"camera{i}/{kind}/image_raw" for i in range(1, load["cameras"]) for kind in ("color", "depth"))
    nodes = [
        NodeSpec("recorder", {"out": str(bags), "bag": "session", "extra_topics": extra, "compress": compress}),
        NodeSpec("cameras", {"out": str(out), **load}),
    ]
    lines: list[str] = []
    if run(nodes, lambda node, line: lines.append(f"{node}: {line}")) or not out.is_file():
        raise VdPolicyError("bench record: a node failed: " + " | ".join(lines[-5:]))
    said = json.loads(out.read_text())
    (bag,) = bag_paths(bags)
    received, size = _contents(bag)
    lost = {topic: count - received.get(topic, 0) for topic, count in said["sent"].items()}
    joints = said["sent"]["/joint_states"]
    return {
        "sent": sum(said["sent"].values()),
        "lost_images": sum(lost.values()) - lost["/joint_states"],
        "lost_joint_states": lost["/joint_states"],
        "joint_states_per_s": joints / said["seconds"],
        "mb_per_s": size / said["seconds"] / 1e6,
        "disk_mb_per_s": sum(f.stat().st_size for f in bag.iterdir()) / said["seconds"] / 1e6,
        "recorder_share_of_core": said["recorder_cpu_share"],
    }


def _contents(path: Path) -> tuple[dict[str, int], int]:
    """Messages by topic, and bytes in all, as they can be read back."""
    counts: dict[str, int] = {}
    size = 0
    with open_bag(path) as bag:
        for message in bag.messages():
            counts[message.topic] = counts.get(message.topic, 0) + 1
            size += len(message.cdr)
    return counts, size
