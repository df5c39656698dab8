"""Bags of other robots, read through a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from vd_policy.base.errors import BadInput
from vd_policy.cli.main import main
from vd_policy.demos.bag import RosbagsFactory
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.factory import to_cdr, typestore
from vd_policy.demos.foreign import MAP_FILE
from vd_policy.demos.inspect import inspect
from vd_policy.demos.sheet import contact_sheet
from vd_policy.messages.header import header
from vd_policy.messages.joints import encode_joints
from vd_policy.policy.checkpoint import load_run

MAKE = RosbagsFactory()
TOPICS = {"/arm/joint_states": "sensor_msgs/msg/JointState", "/camera/camera/color/image_raw": "sensor_msgs/msg/Image",
          "/camera/camera/aligned_depth_to_color/image_raw": "sensor_msgs/msg/Image"}  # fmt: skip
JOINTS, COLOR, DEPTH = TOPICS
MAP = {
    "joint_states": JOINTS, "color": COLOR, "depth": DEPTH, "joints": {"j2": "elbow", "j1": "shoulder"},
    "robot": "other", "task": "pour", "rate_hz": 10.0, "max_step_rad": 0.2, "signs": {"j1": -1.0},
}  # fmt: skip
START_NS, SECONDS = 50_000_000_000, 1.0


def as_yaml(mapping: dict) -> str:
    return yaml.safe_dump(mapping, sort_keys=False)


def image(encoding: str, pixels: np.ndarray, t_ns: int):
    height, width = pixels.shape[:2]
    return MAKE.make(
        "sensor_msgs/msg/Image", header=header(MAKE, t_ns, "camera"), height=height, width=width, encoding=encoding,
        is_bigendian=0, step=pixels.strides[0], data=MAKE.u8(np.ascontiguousarray(pixels).view(np.uint8).ravel()),
    )  # fmt: skip


def colour_at(t_s: float) -> np.ndarray:
    return np.full((4, 6, 3), int(100 * t_s), np.uint8)


def depth_at(t_s: float) -> np.ndarray:
    return np.full((4, 6), 500 + int(100 * t_s), np.uint16)


def record(path: Path, *, storage: StoragePlugin, mode: CompressionMode, without: str = "", speed: float = 1.0,
           every: int = 1) -> None:  # fmt: skip
    """One second of an arm: joints at 100 Hz, colour (bgr8) at 30 Hz, depth (16UC1) at 15 Hz.

    Of the joints only each `every`-th message is there.
    """
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        to = {t: writer.add_connection(t, kind, typestore=typestore()) for t, kind in TOPICS.items() if t != without}
        for ms in range(int(SECONDS * 1000) + 1):
            t_s, t_ns = ms / 1000, START_NS + ms * 1_000_000
            made = {}
            if ms % (10 * every) == 0:
                made[JOINTS] = encode_joints(MAKE, ("finger", "j1", "j2"), np.array([9.0, -speed * t_s, 2 * t_s]), t_ns)
            if ms % 33 == 0:
                made[COLOR] = image("bgr8", colour_at(t_s), t_ns)
            if ms % 66 == 0:
                made[DEPTH] = image("16UC1", depth_at(t_s), t_ns)
            for topic, msg in made.items():
                if topic in to:
                    writer.write(to[topic], t_ns, to_cdr(msg))


def split(path: Path) -> None:
    """Turn a bag into one of two files, as ``ros2 bag record --max-bag-duration`` makes."""
    other = path.with_name("second-half")
    record(other, storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    file = path / f"{path.name}.mcap"
    file.with_name("first.mcap").write_bytes(file.read_bytes())
    file.unlink()
    metadata = yaml.safe_load((path / "metadata.yaml").read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = ["first.mcap", "second.mcap"]
    shifted(other / "second-half.mcap", path / "second.mcap", 1_001_000_000)
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))


def shifted(source: Path, target: Path, by_ns: int) -> None:
    """A copy of an MCAP file with later times of receipt."""
    from mcap.reader import make_reader
    from mcap.writer import Writer as McapWriter

    with open(source, "rb") as inp, open(target, "wb") as out:
        writer = McapWriter(out)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for schema, channel, m in make_reader(inp).iter_messages():
            if channel.topic not in channels:
                kind = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", kind)
            writer.add_message(channels[channel.topic], m.log_time + by_ns, m.data, m.publish_time + by_ns)
        writer.finish()


def check_pairs(data: Dataset, decisions: int) -> None:
    """Joints by name, sign and order; colour and depth of the last frame before each decision; labels of eq. 6."""
    t = np.arange(decisions) / 10
    assert len(data) == decisions
    assert np.allclose(data.q, np.stack([2 * t, t], axis=1), atol=1e-6)
    assert np.allclose(data.label, [[1.0, 0.5]] * decisions, atol=1e-5)
    for index, now in enumerate(t):
        assert np.array_equal(data.rgb[index], colour_at((round(now * 1000) // 33) * 33 / 1000)), index
        assert np.array_equal(data.depth[index], depth_at((round(now * 1000) // 66) * 66 / 1000)), index
    assert (data.shape.joints, data.shape.task, data.shape.robot) == (("elbow", "shoulder"), "pour", "other")


@pytest.mark.parametrize(
    "storage,mode",
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_a_foreign_bag_in_any_storage_becomes_pairs(tmp_path, storage, mode):
    record(tmp_path / "pouring", storage=storage, mode=mode)
    (tmp_path / MAP_FILE).write_text(as_yaml(MAP))
    check_pairs(Dataset(tmp_path), 10)
    assert inspect(tmp_path).all_problems == []


def test_one_foreign_bag_finds_the_map_beside_it_and_has_pictures_on_the_contact_sheet(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    (tmp_path / MAP_FILE).write_text(as_yaml(MAP))
    assert inspect(tmp_path / "pouring").all_problems == []
    for directory in (tmp_path, tmp_path / "pouring"):
        assert contact_sheet(directory, tmp_path / "sheet.png") == 1
    assert Image.open(tmp_path / "sheet.png").width > 1


def test_a_joint_that_the_driver_wraps_in_the_middle_of_a_bag_goes_the_short_way(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    (tmp_path / MAP_FILE).write_text(as_yaml({**MAP, "around_rad": {"j2": -2.5}}))
    data, turned = Dataset(tmp_path), 2 * np.arange(10) / 10
    elbow = np.where(turned > np.pi - 2.5, turned - 2 * np.pi, turned)
    assert elbow.min() < -4 < 0 < elbow.max()
    assert np.allclose(data.q[:, 0], elbow, atol=1e-6)
    assert np.allclose(data.label, [[1.0, 0.5]] * 10, atol=1e-5)


def test_a_split_bag_is_read_through(tmp_path):
    record(tmp_path / "demos" / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    split(tmp_path / "demos" / "pouring")
    second = tmp_path / "demos" / "second-half"
    second.rename(tmp_path / "second-half")
    (tmp_path / "demos" / MAP_FILE).write_text(as_yaml({**MAP, "max_step_rad": 3.0}))
    data = Dataset(tmp_path / "demos")
    assert len(data) == 20
    assert np.array_equal(data.depth[15], depth_at((499 // 66) * 66 / 1000))


def test_images_are_scaled_to_the_size_asked_for(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    (tmp_path / MAP_FILE).write_text(as_yaml({**MAP, "image_height": 2, "image_width": 3}))
    data = Dataset(tmp_path)
    assert data.rgb.shape[1:] == (2, 3, 3) and data.depth.shape[1:] == (2, 3)
    assert np.array_equal(data.depth[5], depth_at((500 // 66) * 66 / 1000)[:2, :3])


def test_a_foreign_bag_trains_a_policy(tmp_path):
    for name, storage in (("first", StoragePlugin.SQLITE3), ("second", StoragePlugin.MCAP)):
        record(tmp_path / "demos" / name, storage=storage, mode=CompressionMode.FILE)
    mapping = {**MAP, "image_height": 16, "image_width": 16, "fit": "stretch"}
    (tmp_path / "demos" / MAP_FILE).write_text(as_yaml(mapping))
    words = ["pretrain", str(tmp_path / "demos"), "--method", "none", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    spec = load_run(tmp_path / "run").spec
    assert (spec.joints, spec.image_height, spec.rate_hz) == (("elbow", "shoulder"), 16, 10.0)


def test_a_sensor_that_came_ten_times_more_rarely_than_usual_is_named(tmp_path):
    for name, every in (("first", 1), ("second", 1), ("third", 10)):
        record(tmp_path / name, storage=StoragePlugin.MCAP, mode=CompressionMode.NONE, every=every)
    (tmp_path / MAP_FILE).write_text(as_yaml(MAP))
    assert inspect(tmp_path).all_problems == [f"third: {JOINTS}: 10 Hz, where 100 Hz is usual"]


def test_another_map_converts_anew(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    (tmp_path / MAP_FILE).write_text(as_yaml(MAP))
    assert np.allclose(Dataset(tmp_path).q[3], [0.6, 0.3])
    (tmp_path / MAP_FILE).write_text(as_yaml({**MAP, "signs": {}}))
    assert np.allclose(Dataset(tmp_path).q[3], [0.6, -0.3])


def test_decisions_without_a_fresh_picture_are_dropped_and_counted(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE)
    (tmp_path / MAP_FILE).write_text(as_yaml({**MAP, "max_age_s": 0.03}))
    data = Dataset(tmp_path)
    ages = [(round(100 * k) % 66, round(100 * k) % 33) for k in range(10)]
    fresh = [k for k, (depth, colour) in enumerate(ages) if max(depth, colour) <= 30]
    assert len(data) == len(fresh) and data.steps_dropped == 10 - len(fresh)
    assert np.allclose(data.q[:, 1], np.array(fresh) / 10)


def test_what_the_map_gets_wrong_is_named(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE, without=DEPTH)
    record(tmp_path / "racing", storage=StoragePlugin.MCAP, mode=CompressionMode.NONE, speed=5.0)
    (tmp_path / MAP_FILE).write_text(as_yaml(MAP))
    with pytest.raises(BadInput, match="1 topic missing, 1 step too large"):
        Dataset(tmp_path)
    problems = "\n".join(inspect(tmp_path).all_problems)
    assert f"type of {DEPTH}" in problems and "raise max_step_rad" in problems
    (tmp_path / MAP_FILE).write_text(as_yaml({**MAP, "colour": "/x"}))
    with pytest.raises(BadInput, match="did you mean 'color'"):
        Dataset(tmp_path)


def test_without_a_map_a_foreign_bag_is_called_one(tmp_path):
    record(tmp_path / "pouring", storage=StoragePlugin.SQLITE3, mode=CompressionMode.NONE)
    with pytest.raises(BadInput, match="1 foreign"):
        Dataset(tmp_path)
    assert any("put a foreign.yaml beside the bags" in p for p in inspect(tmp_path).all_problems)
