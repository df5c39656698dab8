"""FAULTS 32 to 35: what disks and crashes do to recordings."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import demo_bags
import numpy as np
import pytest
import yaml
from demo_bags import INFO, write_episode, write_steps
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.cli.main import main
from vd_policy.demos import arrays as arrays_module
from vd_policy.demos.bag import EpisodeWriter, bag_paths, next_index, read_episode, unfinished_paths
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.demos.factory import RosbagsFactory, to_cdr, typestore
from vd_policy.demos.inspect import inspect, table
from vd_policy.demos.reader import UnusableEpisode, custom_data, open_bag
from vd_policy.demos.recover import complete_messages, recover
from vd_policy.demos.storage import check_space
from vd_policy.messages.images import encode_color
from vd_policy.messages.outcome import Outcome, encode_outcome
from vd_policy.messages.topics import COLOR, DEPTH, EXPERT_ACTION, OUTCOME
from vd_policy.nodes.raw import raw_message
from vd_policy.nodes.session import SessionRecorder


def in_a_child(action: Callable[[], None]) -> int:
    """Run `action` in a forked process; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def outcome_of(action: Callable[[], None]) -> int:
    """The exit code of `action` in a forked process."""
    return os.waitstatus_to_exitcode(os.waitpid(in_a_child(action), 0)[1])


def expect_clear_error(action: Callable[[], object], path: Path) -> None:
    try:
        action()
    except VdPolicyError as error:
        assert str(path) in str(error) and "intact" in str(error), error
    else:
        raise AssertionError("it succeeded")


def big_episode(directory: Path, index: int) -> None:
    write_episode(directory, index, 8, height=200, width=200)  # noise does not compress: about 1.6 MB


def test_a_disk_that_fills_up_costs_the_open_episode_only(tmp_path):
    """FAULT 32."""
    write_episode(tmp_path, 0)

    def record_on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # a write beyond fails as it does on a full disk
        expect_clear_error(lambda: big_episode(tmp_path, 1), tmp_path)
        assert unfinished_paths(tmp_path) == []
        write_episode(tmp_path, 2)

    assert outcome_of(record_on_a_full_disk) == 0
    assert inspect(tmp_path).all_problems == [] and len(bag_paths(tmp_path)) == 2


def test_a_disk_that_fills_up_leaves_what_a_session_had_written_to_recover(tmp_path):
    """FAULT 32, 33."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)

    def record_on_a_full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
        session = SessionRecorder(tmp_path, INFO, compress=False)

        def fill() -> None:
            for stamp in range(1, 100):
                message = encode_color(RosbagsFactory(), picture, stamp, "camera")
                session.take(raw_message(COLOR, bytes(to_cdr(message)), stamp))

        expect_clear_error(fill, tmp_path)
        session.stop()

    assert outcome_of(record_on_a_full_disk) == 0
    assert bag_paths(tmp_path) == [] and len(unfinished_paths(tmp_path)) == 1
    (salvage,) = recover(tmp_path)
    assert salvage.target is not None and salvage.messages >= 15


def test_an_outcome_that_cannot_be_read_ends_neither_a_session_nor_a_recovery(tmp_path):
    """FAULTS 33, 34."""
    (tmp_path / "session").mkdir()
    session = SessionRecorder(tmp_path / "session", INFO)
    outcome = Outcome("reach", 0, 1, 0.5, 0.1, False, False, "", False, False, 1, (0.4, 0.0, 0.0))
    good = bytes(to_cdr(encode_outcome(RosbagsFactory(), outcome, 5)))
    for stamp, cdr in enumerate((good, good.replace(b"false", b"galse"), good), 1):
        session.take(raw_message(OUTCOME, cdr, stamp))
    session.stop()
    with open_bag(*bag_paths(tmp_path / "session")) as bag:
        assert bag.counts[f"/{OUTCOME}"] == 3

    for index in range(2):
        with EpisodeWriter(tmp_path, index, INFO, compress=False) as writer:
            write_steps(writer, demo_bags.truth(0, 6, 20, 20))
    first, second = (path / f"{path.name}.mcap" for path in bag_paths(tmp_path))
    first.write_bytes(first.read_bytes().replace(b"false\0", b"galse\0", 1))
    os.truncate(second, second.stat().st_size // 2)
    found = {salvage.source.name: salvage for salvage in recover(tmp_path)}
    assert "damaged: /task/outcome" in found["episode_000000"].symptom
    assert all(salvage.messages > 0 for salvage in found.values()) and len(found) == 2


def test_checksums_that_cannot_be_read_are_damage_and_no_crash(tmp_path):
    """FAULT 34."""
    write_episode(tmp_path, 0)
    metadata = bag_paths(tmp_path)[0] / "metadata.yaml"
    text = metadata.read_text()
    metadata.write_text(re.sub(r"(checksums: .*?)\{", r"\1", text))
    assert metadata.read_text() != text
    with open_bag(bag_paths(tmp_path)[0]) as bag, pytest.raises(UnusableEpisode, match="JSONDecodeError"):
        bag.damaged_topics()
    assert inspect(tmp_path).all_problems and recover(tmp_path)


def test_a_disk_that_fills_up_while_converting_keeps_what_was_converted(tmp_path):
    """FAULT 32."""
    for index in range(3):
        write_episode(tmp_path, index, 4, height=40, width=40)
    row = 40 * 40 * 3 * 4

    def convert_on_a_full_disk() -> None:
        arrays_module.COMMIT_BYTES = 0
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * row + 100, 2 * row + 100))
        expect_clear_error(lambda: Dataset(tmp_path), tmp_path / ".dataset")

    assert outcome_of(convert_on_a_full_disk) == 0
    seen: list[int] = []
    data = Dataset(tmp_path, progress=lambda done, total: seen.append(done))
    assert len(data) == 12 and seen[0] > 1
    assert np.array_equal(data.rgb[8:], demo_bags.truth(2, 4, 40, 40).rgb[:-1])


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    """FAULT 32."""
    write_episode(tmp_path / "demos", 0)
    os.chmod(tmp_path / "demos", 0o555)

    def record_without_permission() -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        expect_clear_error(lambda: EpisodeWriter(tmp_path / "demos", 1, INFO), tmp_path / "demos")

    def read_without_permission() -> None:
        os.chmod(tmp_path / "demos", 0o000)
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        for read in (inspect, recover, Dataset):
            try:
                read(tmp_path / "demos")
            except BadInput as error:
                assert "may read" in str(error)
            else:
                raise AssertionError(f"{read} succeeded")

    assert outcome_of(record_without_permission) == 0
    assert outcome_of(read_without_permission) == 0
    os.chmod(tmp_path / "demos", 0o755)
    assert [p.name for p in (tmp_path / "demos").iterdir()] == ["episode_000000"]
    (tmp_path / "file").write_text("")
    expect_clear_error(lambda: EpisodeWriter(tmp_path / "file" / "demos", 0, INFO), tmp_path / "file")


def test_an_episode_is_not_begun_on_a_disk_that_cannot_hold_it(tmp_path):
    """FAULT 32."""
    with pytest.raises(VdPolicyError, match=f"MB are free at {tmp_path}"):
        check_space(tmp_path, needed_bytes=2**62)


def kill_while_recording(directory: Path, number: int, delay_s: float) -> None:
    """Start a recorder, wait for its first episode, and let a signal strike at some moment after that."""
    done, tell = os.pipe()

    def record_for_ever() -> None:
        while True:
            write_episode(directory, next_index(directory), 6, height=60, width=60)
            os.write(tell, b".")

    pid = in_a_child(record_for_ever)
    os.close(tell)  # a child that dies early then ends the read
    assert os.read(done, 1) == b"."
    threading.Timer(delay_s, os.kill, (pid, number)).start()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
    os.close(done)


def test_sigkill_at_any_moment_loses_at_most_the_open_episode(tmp_path):
    """FAULT 33: 30 recorders in one directory, each killed at a random moment."""
    for trial, delay_s in enumerate(np.random.default_rng(0).uniform(0, 0.05, 30)):
        before = set(bag_paths(tmp_path))
        kill_while_recording(tmp_path, signal.SIGKILL, delay_s)
        assert before < set(bag_paths(tmp_path))
        assert len(unfinished_paths(tmp_path)) <= trial + 1
    bags, left = bag_paths(tmp_path), unfinished_paths(tmp_path)
    assert left, "no trial caught an open episode: the test has lost its point"
    found = inspect(tmp_path)
    assert [e.problems for e in found.episodes] == [[]] * len(bags)
    assert len(found.problems) == len(left) and all("never closed" in p for p in found.problems)
    for bag in bags:
        made = demo_bags.truth(int(bag.name[-6:]), 6, 60, 60)
        assert np.array_equal(read_episode(bag).obs["rgb"], made.rgb), bag
    before = {f: f.read_bytes() for p in left for f in p.rglob("*") if f.is_file()}
    for salvage in recover(tmp_path, tmp_path / "recovered"):
        assert salvage.target is None or salvage.messages > 0
    assert {f: f.read_bytes() for p in left for f in p.rglob("*") if f.is_file()} == before
    assert len(Dataset(tmp_path)) == 6 * len(bags)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_demonstrating_leaves_whole_episodes_that_can_be_resumed(tmp_path, number):
    """FAULT 33."""
    settings = DemonstrationSettings(image_height=16, image_width=16)

    done, tell = os.pipe()

    def demonstrate_for_long() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it shows its KeyboardInterrupt
        demonstrate(settings, 10**6, tmp_path / "cut", progress=lambda _: os.write(tell, b"."))

    pid = in_a_child(demonstrate_for_long)
    os.close(tell)
    assert os.read(done, 1) + os.read(done, 1) == b".."
    os.kill(pid, number)
    os.waitpid(pid, 0)
    os.close(done)
    whole = bag_paths(tmp_path / "cut")
    assert len(whole) >= 2 and inspect(tmp_path / "cut").all_problems == []
    samples = sum(len(read_episode(bag)) for bag in whole) + 2
    demonstrate(settings, samples, tmp_path / "cut", existing="resume")
    demonstrate(settings, samples, tmp_path / "fresh")
    assert Dataset(tmp_path / "cut").content_hash == Dataset(tmp_path / "fresh").content_hash


def crash(directory: Path, index: int = 0, *, compress: bool = True, height: int = 300) -> demo_bags.Truth:
    """A recording whose process was killed after 5 of 6 steps, several chunks of it on the disk."""
    made = demo_bags.truth(index, 6, height, 300)

    def record_and_die() -> None:
        writer = EpisodeWriter(directory, index, INFO, compress=compress)
        write_steps(writer, made, until=6)
        os.kill(os.getpid(), signal.SIGKILL)

    assert outcome_of(record_and_die) == -signal.SIGKILL
    return made


@pytest.mark.parametrize("compress", [True, False])
def test_recover_saves_what_a_killed_recorder_had_on_the_disk(tmp_path, compress):
    """FAULT 33."""
    made = crash(tmp_path, 7, compress=compress)
    assert bag_paths(tmp_path) == [] and len(unfinished_paths(tmp_path)) == 1
    (salvage,) = recover(tmp_path)
    assert salvage.target == tmp_path / "recovered" / "episode_000007" and salvage.symptom == "never closed"
    episode = read_episode(salvage.target)
    assert len(episode) >= 3
    assert np.array_equal(episode.obs["rgb"], made.rgb[: len(episode) + 1])
    assert (custom_data(salvage.target)["outcome"], custom_data(salvage.target)["task"]) == ("unfinished", "reach")
    assert recover(tmp_path) == [], "the second run has nothing left to do"
    looked_at = inspect(tmp_path)
    assert not any("vd_policy recover" in problem for problem in looked_at.all_problems)
    assert f"recovered to {salvage.target}: move that beside the others, and delete this" in looked_at.notes[0]
    assert "note: " in table(looked_at)


def test_two_recordings_whose_names_end_alike_are_both_recovered(tmp_path):
    """FAULT 33."""
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        write_steps(writer, demo_bags.truth(0, 6, 300, 300))
    data = (writer.path / "episode_000000.mcap").read_bytes()
    for name in ("run_1", "walk_1"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / f"{name}_0.mcap").write_bytes(data[: len(data) * 2 // 3])
    salvaged = recover(tmp_path / "broken")
    assert {s.source.name: s.target and s.target.name for s in salvaged} == {
        "run_1": "episode_000001", "walk_1": "episode_000002"}  # fmt: skip


@pytest.mark.parametrize("compress", [True, False])
def test_every_whole_message_of_a_truncated_file_is_saved(tmp_path, compress):
    """FAULTS 33, 34."""
    with EpisodeWriter(tmp_path, 0, INFO, compress=compress) as writer:
        write_steps(writer, demo_bags.truth(0, 6, 300, 300))
    file = writer.path / "episode_000000.mcap"
    whole, size = list(complete_messages(file)), file.stat().st_size
    assert len(whole) == 7 * 6 + 6 * 3
    last = len(whole)
    for keep in (0.99, 0.8, 0.5, 0.2, 0.01):
        os.truncate(file, int(size * keep))
        saved = list(complete_messages(file))
        assert saved == whole[: len(saved)] and len(saved) <= last
        assert len(saved) >= len(whole) * keep - 9, keep
        last = len(saved)


def test_a_damaged_chunk_costs_its_own_messages_only(tmp_path):
    """FAULT 34."""
    with EpisodeWriter(tmp_path, 0, INFO) as writer:
        write_steps(writer, demo_bags.truth(0, 6, 300, 300))
    file = writer.path / "episode_000000.mcap"
    whole = list(complete_messages(file))
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    file.write_bytes(data)
    saved = list(complete_messages(file))
    assert len(whole) / 3 < len(saved) < len(whole)
    assert saved[-1] == whole[-1]
    (salvage,) = recover(tmp_path)
    assert 0 < salvage.messages < len(whole)


SPOILED = (
    "whole", "truncated", "empty file", "no metadata", "flipped", "empty", "no depth", "sparse depth", "unknown type",
    "no outcome", "no labels", "one step", "too long", "not yaml",
)  # fmt: skip


def spoiled(directory: Path) -> dict[str, Path]:
    """One bag for each fault, by name, among whole ones."""
    bags = {name: directory / f"episode_{index:06d}" for index, name in enumerate(SPOILED)}
    steps = {"one step": 1, "too long": 12}
    for index, name in enumerate(bags):
        if name not in ("empty", "no depth", "sparse depth", "unknown type", "no outcome", "no labels"):
            write_episode(directory, index, steps.get(name, 4))
    files = {name: path / f"{path.name}.mcap" for name, path in bags.items()}
    os.truncate(files["truncated"], files["truncated"].stat().st_size // 2)
    os.truncate(files["empty file"], 0)
    (bags["no metadata"] / "metadata.yaml").unlink()
    (bags["not yaml"] / "metadata.yaml").write_text("{")
    bags["empty"].mkdir()
    for name, keep in (
        ("no depth", lambda topic, i: topic != f"/{DEPTH}"),
        ("sparse depth", lambda topic, i: topic != f"/{DEPTH}" or i == 0),
        ("unknown type", lambda topic, i: True),
        ("no outcome", lambda topic, i: topic != f"/{OUTCOME}"),
        ("no labels", lambda topic, i: topic != f"/{EXPERT_ACTION}"),
    ):
        copy(bags["whole"], bags[name], keep)
    return bags


def copy(source: Path, target: Path, keep: Callable[[str, int], bool]) -> None:
    """A bag with some messages left out, by topic and by their number in the topic."""
    with EpisodeWriter(target.parent, int(target.name[-6:]), INFO) as writer, open_bag(source) as bag:
        seen: dict[str, int] = {}
        for m in bag.messages():
            if keep(m.topic, seen.setdefault(m.topic, 0)):
                writer.write_raw(m.topic[1:], m.type_name, m.cdr, m.log_ns)
            seen[m.topic] += 1


def add_unknown_topic(path: Path) -> None:
    """A topic of a type that nobody here knows, as another robot's bag has."""
    shutil.rmtree(path)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        strange = writer.add_connection("/strange", "my_msgs/msg/Thing", msgdef="uint8 x", rihs01="RIHS01_" + "0" * 64)
        writer.write(strange, 1, b"\0\1\0\0\7")
    assert path.is_dir()


@pytest.fixture(scope="module")
def spoiled_bags(tmp_path_factory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("spoiled")
    bags = spoiled(directory)
    file = bags["flipped"] / f"{bags['flipped'].name}.mcap"
    rewrite_uncompressed_with_a_flipped_byte(bags["flipped"], file)
    add_unknown_topic(bags["unknown type"])
    return bags


def rewrite_uncompressed_with_a_flipped_byte(path: Path, file: Path) -> None:
    made = demo_bags.truth(4, 4)
    shutil.rmtree(path)
    with EpisodeWriter(path.parent, int(path.name[-6:]), INFO, compress=False) as writer:
        write_steps(writer, made)
    data = bytearray(file.read_bytes())
    data[bytes(data).index(made.rgb[2].tobytes()) + 5] ^= 1
    file.write_bytes(data)


SAID = {
    "truncated": "unreadable",
    "empty file": "unreadable",
    "no metadata": "no metadata.yaml",
    "flipped": "/camera/color/image_raw: damaged",
    "empty": "no metadata.yaml and no storage file",
    "no depth": f"{DEPTH}: no messages",
    "sparse depth": "observations missing: of 5 steps depth at 4",
    "unknown type": "foreign",
    "no outcome": f"{OUTCOME}: no messages",
    "no labels": f"{EXPERT_ACTION}: no messages",
    "too long": "longer than the horizon",
    "not yaml": "unreadable",
}


def test_inspect_says_of_each_spoiled_bag_what_is_wrong(spoiled_bags):
    """FAULTS 34, 35."""
    found = {e.name: e for e in inspect(spoiled_bags["whole"].parent).episodes}
    for name, path in spoiled_bags.items():
        said = found[path.name].problems
        if name in SAID:
            assert any(SAID[name] in line for line in said), (name, said)
        else:
            assert said == [], name
    assert any("too short" in note for note in found[spoiled_bags["one step"].name].notes)


def test_inspect_exits_with_1_and_names_the_bag(spoiled_bags, tmp_path, capsys):
    """FAULT 34."""
    directory = spoiled_bags["whole"].parent
    assert main(["inspect", str(directory), "--json", str(tmp_path / "f.json")]) == 1
    assert f"problem: {spoiled_bags['truncated'].name}: unreadable" in capsys.readouterr().out
    result = json.loads((tmp_path / "f.json").read_text())
    assert not result["ok"] and len(result["problems"]) >= len(SAID)
    assert main(["inspect", str(spoiled_bags["whole"])]) == 0
    (tmp_path / "nothing").mkdir()
    assert main(["inspect", str(tmp_path / "nothing")]) == 1
    assert "no episode bags" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2


def test_the_dataset_uses_the_rest_and_counts_what_it_leaves_out(spoiled_bags, tmp_path):
    """FAULTS 34, 35."""
    data = Dataset(spoiled_bags["whole"].parent, cache=tmp_path)
    assert data.skipped == {
        "unreadable": 5, "foreign": 1, "no outcome": 1, "no labels": 1, "observation missing": 1, "too short": 1,
        "longer than the horizon": 1,
    }  # fmt: skip
    assert data.episodes == 3, "the whole one, the one with a flipped bit, and one step of the sparse one"
    assert data.steps_dropped == 3 and len(data) == 4 + 4 + 1


def test_recover_exits_with_1_when_there_was_nothing_to_save(spoiled_bags, tmp_path, capsys):
    """FAULT 34."""
    directory = spoiled_bags["whole"].parent
    assert main(["recover", str(directory), "--out", str(tmp_path / "new"), "--json", str(tmp_path / "f.json")]) == 1
    said = capsys.readouterr().out
    assert f"{spoiled_bags['empty file'].name}: " in said and "nothing to save" in said
    saved = {Path(s["source"]).name: s for s in json.loads((tmp_path / "f.json").read_text())["recordings"]}
    assert spoiled_bags["whole"].name not in saved
    for name in ("no metadata", "not yaml"):
        again = read_episode(Path(saved[spoiled_bags[name].name]["target"]))
        assert len(again) == 4 and again.success, name
    assert main(["recover", str(spoiled_bags["whole"])]) == 0
    assert "nothing to recover" in capsys.readouterr().out
    assert main(["recover", str(tmp_path / "nowhere")]) == 2


def test_a_killed_foreign_recording_is_recovered_without_what_nobody_can_write(tmp_path):
    """FAULT 34: another robot's bag, of which only the MCAP file is left."""
    path, made = write_episode(tmp_path / "a", 0)
    with Writer(tmp_path / "run", version=9, storage_plugin=StoragePlugin.MCAP) as writer, open_bag(path) as bag:
        strange = writer.add_connection("/strange", "my_msgs/msg/Thing", msgdef="uint8 x", rihs01="RIHS01_" + "0" * 64)
        color = writer.add_connection("/cam", "sensor_msgs/msg/Image", typestore=typestore())
        writer.write(strange, 1, b"\0\1\0\0\7")
        for m in bag.messages({"/camera/color/image_raw"}):
            writer.write(color, m.log_ns, m.cdr)
    shutil.copytree(tmp_path / "run", tmp_path / "foreign" / "run")
    (tmp_path / "foreign" / "run" / "metadata.yaml").unlink()
    (salvage,) = recover(tmp_path / "foreign")
    assert (salvage.messages, salvage.topics_dropped) == (4, ("/strange",))
    with open_bag(salvage.target) as bag:
        assert bag.counts == {"/cam": 4}


def test_a_recovered_recording_latches_what_was_latched(tmp_path):
    """FAULT 33."""
    writer = EpisodeWriter(tmp_path / "demos", 0, None)
    text = to_cdr(RosbagsFactory().make("std_msgs/msg/String", data="a robot"))
    for topic, latched in (("/robot_description", True), ("/chatter", False)):
        for t_ns in range(1, 30_000):  # beyond the first chunk, so that some of it is on the disk
            writer.write_raw(topic, "std_msgs/msg/String", text, t_ns, latched=latched)
    (salvage,) = recover(tmp_path / "demos")  # it was never closed
    writer.abort()
    with Reader(salvage.target) as reader:
        offered = {c.topic: c.ext.offered_qos_profiles[0].durability.name for c in reader.connections}
    assert offered == {"/robot_description": "TRANSIENT_LOCAL", "/chatter": "VOLATILE"}


@pytest.mark.parametrize("name", ["../../outside.mcap", "/etc/passwd"])
def test_a_bag_cannot_point_outside_itself(tmp_path, name):
    """FAULT 36."""
    path, _ = write_episode(tmp_path / "demos")
    metadata = yaml.safe_load((path / "metadata.yaml").read_text())
    shutil.copy(path / "episode_000000.mcap", tmp_path / "outside.mcap")
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = [name]
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert any("unreadable" in p for p in inspect(tmp_path / "demos").all_problems)


def test_a_message_that_is_not_what_it_says_is_damage_and_no_crash(tmp_path):
    """FAULT 34."""
    path, _ = write_episode(tmp_path)
    shutil.move(path, tmp_path / "source")
    rng = np.random.default_rng(0)
    for index in range(20):
        with EpisodeWriter(tmp_path / "demos", index, INFO) as writer, open_bag(tmp_path / "source") as bag:
            for m in bag.messages():
                cdr = m.cdr
                if m.topic not in (f"/{OUTCOME}",) and rng.random() < 0.2:
                    cdr = cdr[: rng.integers(4, len(cdr))] if rng.random() < 0.5 else cdr[:4] + rng.bytes(len(cdr) - 4)
                writer.write_raw(m.topic[1:], m.type_name, cdr, m.log_ns)
    found = inspect(tmp_path / "demos")
    assert sum(bool(e.problems) for e in found.episodes) > 10
