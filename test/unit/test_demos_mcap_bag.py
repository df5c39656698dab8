"""What is kept around the messages of a bag: the same as rosbags writes, which is slower."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from rosbags.interfaces import Qos as RosbagsQos
from rosbags.interfaces import QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from ruamel.yaml import YAML

from vd_policy.demos.factory import typestore
from vd_policy.demos.mcap_bag import McapBag
from vd_policy.demos.metadata import Qos

TOPICS = {
    "/joint_states": ("sensor_msgs/msg/JointState", Qos(10, True, False)),
    "/camera/color/image_raw": ("sensor_msgs/msg/Image", Qos(5, False, False)),
    "/camera/depth/image_raw": ("sensor_msgs/msg/Image", Qos(0, True, True)),
    "/silent": ("std_msgs/msg/String", Qos(1, True, True)),
}
MESSAGES = [(name, 1_000 + 7 * i, bytes([i % 251]) * 60_000) for i in range(50) for name in [*TOPICS][:3]]
"""More than one chunk of them."""
NAME = "episode_000003"
CUSTOM = {
    "number": "1e-09",
    "word": "yes",
    "empty": "",
    "json": '{"/a": 12, "b": [1, 2]}',
    "lines": "two\n  lines: of 'text' # and é \U0001f600",
    "long": "a  b " * 1000,
}


def ours(folder: Path, messages: list[tuple[str, int, bytes]], compress: bool) -> Path:
    folder.mkdir()
    path = folder / NAME
    bag = McapBag(path, compress=compress)
    bag.open()
    channels = {name: bag.add_topic(name, type_name, qos) for name, (type_name, qos) in TOPICS.items()}
    for name, t_ns, cdr in messages:
        bag.write(channels[name], t_ns, cdr)
    assert bag.message_count == len(messages)
    bag.close(CUSTOM)
    return path


def theirs(folder: Path, messages: list[tuple[str, int, bytes]], compress: bool) -> Path:
    path = folder / NAME
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE if compress else CompressionMode.NONE, CompressionFormat.ZSTD)
    writer.open()
    connections = {
        name: writer.add_connection(name, type_name, typestore=typestore(), offered_qos_profiles=[spelled(qos)])
        for name, (type_name, qos) in TOPICS.items()
    }
    for name, t_ns, cdr in messages:
        writer.write(connections[name], t_ns, cdr)
    for key, value in CUSTOM.items():
        writer.set_custom_data(key, value)
    writer.close()
    return path


def spelled(qos: Qos) -> RosbagsQos:
    unset = QosTime(0, 0)
    return RosbagsQos(
        QosHistory.KEEP_LAST if qos.depth else QosHistory.KEEP_ALL,
        qos.depth,
        QosReliability.RELIABLE if qos.reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if qos.latched else QosDurability.VOLATILE,
        unset, unset, QosLiveliness.AUTOMATIC, unset, False,
    )  # fmt: skip


def metadata(text: str) -> dict:
    """As rosbags, whose YAML is 1.2, parses it."""
    return YAML(typ="safe").load(text)


def inside(bag: Path) -> tuple:
    """Schemas, channels, messages, chunks' compression and metadata record of a bag's MCAP file."""
    (file,) = bag.glob("*.mcap")
    with open(file, "rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        (record,) = reader.iter_metadata()
        return (
            reader.get_header().profile,
            {s.id: (s.name, s.encoding, s.data) for s in summary.schemas.values()},
            {c.id: (c.topic, c.message_encoding, c.schema_id, yaml.safe_load(c.metadata["offered_qos_profiles"]))
             for c in summary.channels.values()},
            [(m.channel_id, m.log_time, m.publish_time, m.sequence, m.data) for _, _, m in reader.iter_messages()],
            [(c.compression, c.message_start_time, c.message_end_time) for c in summary.chunk_indexes],
            record.name,
            metadata(record.metadata["serialized_metadata"]),
        )  # fmt: skip


@pytest.mark.parametrize("compress", [True, False])
def test_a_bag_holds_what_rosbags_would_have_written(tmp_path: Path, compress: bool) -> None:
    bags = [write(tmp_path / write.__name__, MESSAGES, compress) for write in (ours, theirs)]
    mine, reference = ((bag / "metadata.yaml").read_text("utf-8") for bag in bags)
    assert metadata(mine) == yaml.safe_load(mine) == metadata(reference)
    assert metadata(mine)["rosbag2_bagfile_information"]["custom_data"] == CUSTOM
    assert inside(bags[0]) == inside(bags[1])
    assert len(inside(bags[0])[4]) > 1


def test_rosbags_reads_a_bag_as_it_reads_its_own(tmp_path: Path) -> None:
    read = []
    for write in (ours, theirs):
        with Reader(write(tmp_path / write.__name__, MESSAGES, True)) as reader:
            topics = {c.topic: (c.msgtype, c.digest, c.msgdef, c.msgcount, c.ext) for c in reader.connections}
            messages = [(c.topic, t_ns, bytes(cdr)) for c, t_ns, cdr in reader.messages()]
            read.append((topics, messages, reader.start_time, reader.duration))
    assert read[0] == read[1]


def test_a_bag_without_messages_says_so(tmp_path: Path) -> None:
    mine, reference = (
        metadata((write(tmp_path / write.__name__, [], True) / "metadata.yaml").read_text("utf-8"))
        for write in (ours, theirs)
    )
    assert mine == reference
    assert mine["rosbag2_bagfile_information"]["message_count"] == 0
