"""`vd_policy up`: whole graphs without ros2 launch, as real processes."""

from __future__ import annotations

import dataclasses
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import alive
from ros_graph import RosGraph
from trained import saved, small_policy, turning_policy

from vd_policy.base.errors import BadInput
from vd_policy.base.resources import named_or_path
from vd_policy.base.seeds import Seeds
from vd_policy.cli.main import main
from vd_policy.demos.bag import bag_paths, read_episode
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings
from vd_policy.demos.destination import RUN_MANIFEST
from vd_policy.demos.foreign import MAP_FILE
from vd_policy.graph.nodes import graph
from vd_policy.graph.options import OPTIONS, DemonstrateOptions, DeployOptions, SimOptions, TrainOptions, from_text
from vd_policy.graph.process import NodeSpec, given
from vd_policy.messages.topics import OUTCOME
from vd_policy.nodes.expert import ExpertNodeSettings
from vd_policy.nodes.gripper import GripperSettings
from vd_policy.nodes.learner import LearnerSettings
from vd_policy.nodes.parameters import parameters_file
from vd_policy.nodes.policy import PolicyNodeSettings
from vd_policy.nodes.recorder import RecorderSettings
from vd_policy.nodes.safety import SafetySettings
from vd_policy.nodes.sim import SimSettings
from vd_policy.policy.checkpoint import load_run

SETTINGS = {"sim": SimSettings, "expert": ExpertNodeSettings, "recorder": RecorderSettings, "learner": LearnerSettings,
            "policy": PolicyNodeSettings, "safety": SafetySettings, "gripper": GripperSettings}  # fmt: skip
CONFIG = Path(__file__).resolve().parents[2] / "config" / "nodes"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("runs") / "start", small_policy())


def up(*words: str) -> list[str]:
    return [sys.executable, "-m", "vd_policy.cli.main", "up", *words]


def options_of_each(run: str) -> dict[str, object]:
    given_run = {"deploy": {"run": run}, "train": {"run": run}}
    return {name: options_class(**given_run.get(name, {})) for name, options_class in OPTIONS.items()}


def test_a_graph_ends_with_the_node_that_has_done_its_work_and_stops_the_others(ros: RosGraph, tmp_path: Path) -> None:
    process = ros.run("up", up("demonstrate", "--samples", "20", "--image-height", "16", "--image-width", "16",
                               "--out", str(tmp_path / "demos")))  # fmt: skip
    assert process.wait() == 0, process.output
    assert sum(len(read_episode(path)) for path in bag_paths(tmp_path / "demos")) >= 20
    for name in ("sim", "expert", "safety", "recorder"):
        assert any(f"{name} stopped (rc=0)" in line for line in process.lines), process.output
    assert "Traceback" not in process.output


def test_rollouts_reach_the_learner_and_the_policy_takes_its_weights_between_two_episodes(
    ros: RosGraph, tmp_path: Path, run: str
) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text("method: trpo\nsettings: {batch_steps: 30, cg_steps: 2, critic: {warmup_batches: 1}}\n")
    diagnostics = ros.probe.diagnostics()
    swapped: list[int] = []
    process = ros.run("up", up("train", "--run", run, "--out", str(tmp_path / "out"), "--recipe", str(recipe),
                               "--seed", "3"))  # fmt: skip

    def learns() -> bool:
        swapped.append(int(diagnostics("policy").get("weight_version", 0)))
        return swapped[-1] >= 2

    ros.wait_for(learns, "the policy acting with twice improved weights")
    assert float(diagnostics("policy")["dropped_episodes"]) == 0
    process.send(signal.SIGINT)
    assert process.wait() == 0, process.output
    out = load_run(tmp_path / "out")
    assert out.manifest["weight_version"] >= swapped[-1]
    assert (out.spec.image_height, out.spec.image_width) == (16, 16)
    assert "Traceback" not in process.output


def nodes_of(process: Any) -> list[int]:
    """The processes that `up` says it started."""
    return [int(found[1]) for line in process.lines if (found := re.search(r"started \(pid=(\d+)\)", line))]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_no_node_outlives_the_command_that_started_it(ros: RosGraph, number: int) -> None:
    """A terminal that is closed, and a command that is killed: nobody is left to stop the nodes."""
    process = ros.run("up", up("sim", "--image-height", "16", "--image-width", "16"))
    ros.wait_for(lambda: ros.probe.node.count_publishers(OUTCOME), "the sim")
    (node,) = nodes_of(process)
    process.send(number)
    process.process.wait(60)
    ros.wait_for(lambda: not alive(node), "the sim to end")


def test_a_graph_under_nohup_outlives_its_terminal(ros: RosGraph) -> None:
    arguments = ["nohup", *up("sim", "--image-height", "16", "--image-width", "16")]
    process = ros.run("up", arguments)
    ros.wait_for(lambda: ros.probe.node.count_publishers(OUTCOME), "the sim")
    process.send(signal.SIGHUP)
    ros.probe.call("sim/reset")
    process.send(signal.SIGINT)
    assert process.wait() == 0, process.output
    assert "SIGINT received" in process.output and "SIGTERM received" not in process.output


@pytest.mark.parametrize("after", [1, 2])
def test_a_signal_while_the_nodes_are_being_started_ends_them_all(ros: RosGraph, tmp_path: Path, after: int) -> None:
    process = ros.run("up", up("demonstrate", "--out", str(tmp_path / "demos"), "--image-height", "16"))
    ros.wait_for(lambda: len(nodes_of(process)) >= after or not process.running, "the first nodes")
    process.send(signal.SIGINT)
    assert process.wait() == 0, process.output
    assert len(nodes_of(process)) == 4 and not any(map(alive, nodes_of(process)))
    assert "Traceback" not in process.output


def test_a_deployed_policy_is_recorded_and_needs_no_labels(ros: RosGraph, tmp_path: Path, run: str) -> None:
    process = ros.run("up", up("deploy", "--run", run, "--record", str(tmp_path / "seen"), "--episodes", "2"))
    assert process.wait() == 0, process.output
    episodes = [read_episode(path) for path in bag_paths(tmp_path / "seen")]
    assert len(episodes) == 2 and all(e.label is None and e.source == "policy" for e in episodes)
    assert episodes[0].obs["rgb"].shape[1:3] == (16, 16), "the sim renders what the run was trained on"


def test_what_a_node_refuses_makes_exit_code_2_and_shows_its_line(ros: RosGraph, tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text("task: juggle\n")
    process = ros.run("up", up("sim", "--task", str(task)))
    assert process.wait() == 2
    assert any("juggle" in line and "fix:" in line for line in process.lines)
    assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("fly",), ("fly", "sim, demonstrate, deploy, train")),
        (("deploy",), ("run", "directory of a trained run")),
        (("deploy", "--run", "/nowhere"), ("/nowhere",)),
        (("sim", "--samples", "3"), ("--samples", "for sim")),
        (("demonstrate", "--noise", "-1"), ("--noise", "at least 0")),
        (("demonstrate", "--task", "juggle"), ("juggle", "reach")),
    ],
)
def test_bad_options_are_refused_before_anything_starts(words: tuple, named: tuple, capsys) -> None:
    assert main(["up", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert all(word in shown.err for word in named), shown.err


def test_the_graphs_run_the_nodes_of_the_design(run: str, tmp_path: Path) -> None:
    nodes = {name: [spec.name for spec in graph(name, options)] for name, options in options_of_each(run).items()}
    assert nodes == {
        "sim": ["sim"],
        "demonstrate": ["sim", "expert", "safety", "recorder"],
        "deploy": ["sim", "policy", "safety"],
        "train": ["sim", "policy", "safety", "learner"],
    }
    assert [s.name for s in graph("deploy", DeployOptions(run=run, sim=False))] == ["policy", "safety"]
    grasping = DeployOptions(run=run, sim=False, task="grasp")
    assert [s.name for s in graph("deploy", grasping)] == ["policy", "gripper", "safety"]
    assert graph("deploy", grasping)[-1].parameters["gripper"] is True
    other_arm = saved(tmp_path / "gen3", turning_policy("gen3_7dof"))
    handless = DeployOptions(run=other_arm, sim=False, task="grasp", robot="gen3_7dof")
    assert [s.name for s in graph("deploy", handless)] == ["policy", "safety"]
    assert [s.name for s in graph("deploy", DeployOptions(run=run, record="d"))][-1] == "recorder"


def test_a_real_arm_begins_slowly(run: str) -> None:
    def speed(**options: Any) -> float:
        (policy,) = (s for s in graph("deploy", DeployOptions(run=run, **options)) if s.name == "policy")
        return policy.parameters["speed"]

    assert (speed(), speed(sim=False), speed(sim=False, speed=0.5), speed(speed=0.2)) == (1.0, 0.1, 0.5, 0.2)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("deploy", {"robot": "gen3_7dof"}, "robot is 'gen3_7dof'"),
        ("deploy", {"image_height": 64, "image_width": 64}, "image size is '64x64'; allowed: 16x16"),
        ("train", {"rollouts": False}, "rollouts is False"),
        ("deploy", {"sim": False, "episodes": 5}, "episodes is 5; allowed: 0 where neither"),
    ],
)
def test_what_could_only_wait_for_ever_is_refused(run: str, name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        graph(name, OPTIONS[name](run=run, **options))


def test_a_task_with_another_largest_step_is_refused(run: str, tmp_path: Path) -> None:
    slower = tmp_path / "slower.yaml"
    slower.write_text(re.sub("max_step_rad: .*", "max_step_rad: 0.1", named_or_path("tasks", "reach").read_text()))
    with pytest.raises(BadInput, match="max_step_rad of the task is 0.1"):
        graph("deploy", DeployOptions(run=run, task=str(slower)))


def test_a_recording_that_is_added_to_has_other_cups(tmp_path: Path) -> None:
    options = DemonstrateOptions(out=str(tmp_path), seed=3)
    first = graph("demonstrate", options)[0].parameters["seed"]
    (tmp_path / "episode_000004").mkdir()
    assert first == 3 and graph("demonstrate", options)[0].parameters["seed"] != 3
    assert graph("demonstrate", options) == graph("demonstrate", options)


def test_a_home_directory_that_no_shell_expanded_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bags" / "episode_000004").mkdir(parents=True)
    options = from_text(DemonstrateOptions, {"out": "~/bags", "seed": "3"}, "demonstrate.launch.py")
    assert options.out == str(tmp_path / "bags") and graph("demonstrate", options)[0].parameters["seed"] != 3


def test_a_recorded_simulator_by_the_clock_waits_between_episodes_where_it_is_told_to() -> None:
    def resets(**options: Any) -> bool:
        return graph("demonstrate", DemonstrateOptions(**options))[0].parameters["auto_reset"]

    assert resets(mode="realtime") and not resets(mode="realtime", auto_reset=False) and not resets()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_height": 24, "image_width": 24}, "image size is '24x24'; allowed: 16x16, as "),
        ({"image_height": 16, "image_width": 16, "task": "grasp"}, "task is 'grasp'; allowed: reach, as "),
        ({"image_height": 16, "image_width": 16, "task": "{}/short.yaml"}, "'reach with horizon 9'; allowed: reach"),
        ({"image_height": 16, "image_width": 16, "task": "{}/one.yaml"}, "horizon of reach is 1; allowed: at least 2"),
    ],
)
def test_episodes_that_no_dataset_would_mix_are_not_recorded_beside_others(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "short.yaml").write_text("extends: reach\nhorizon: 9\n")
    (tmp_path / "one.yaml").write_text("extends: reach\nhorizon: 1\n")
    options = {key: str(value).format(tmp_path) if key == "task" else value for key, value in options.items()}
    demonstrate(DemonstrationSettings(image_height=16), 30, tmp_path)
    (next(iter(bag_paths(tmp_path))) / "metadata.yaml").write_text("damaged")  # the first one that reads counts
    assert graph("demonstrate", DemonstrateOptions(out=str(tmp_path), image_height=16, image_width=16))
    with pytest.raises(BadInput, match=said):
        graph("demonstrate", DemonstrateOptions(out=str(tmp_path), **options))


@pytest.mark.parametrize(("file", "owner"), [(RUN_MANIFEST, "a run has"), (MAP_FILE, "another robot's bags have")])
def test_a_deployed_policy_is_not_recorded_into_a_run_or_beside_another_robots_bags(
    run: str, tmp_path: Path, file: str, owner: str
) -> None:
    assert graph("deploy", DeployOptions(run=run, record=str(tmp_path)))
    (tmp_path / file).write_text("{}")
    for sim in (True, False):
        with pytest.raises(BadInput, match=f"record is .*{file}, which {owner}"):
            graph("deploy", DeployOptions(run=run, record=str(tmp_path), sim=sim))


def test_a_run_in_the_home_directory_is_found_by_graphs_and_nodes(
    ros: RosGraph, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path(run).parent))
    there = "~/" + Path(run).name
    nodes = graph("train", TrainOptions(run=there, record="~/seen", out="~/better"))
    assert {s.name: s.parameters["run"] for s in nodes if "run" in s.parameters} == {"policy": run, "learner": run}
    assert {s.name: Path(s.parameters["out"]) for s in nodes if "out" in s.parameters} == {
        "recorder": Path(run).parent / "seen", "learner": Path(run).parent / "better"}  # fmt: skip
    for node in ("policy", "learner"):
        process = ros.start(node, run="~/nowhere")
        assert process.wait() == 2 and str(Path.home() / "nowhere") in process.output, process.output


def test_every_node_knows_the_parameters_that_the_graphs_give_it(run: str) -> None:
    others = [("deploy", DeployOptions(run=run, record="d")), ("demonstrate", DemonstrateOptions(mode="realtime")),
              ("demonstrate", DemonstrateOptions(task="grasp"))]  # fmt: skip
    for name, options in [*options_of_each(run).items(), *others]:
        for spec in graph(name, options):
            known = {field.name for field in dataclasses.fields(SETTINGS[spec.executable])}
            assert set(spec.parameters) <= known, spec


def test_without_a_sim_nothing_is_in_lockstep(run: str) -> None:
    specs = {s.name: s.parameters for s in graph("deploy", DeployOptions(run=run, sim=False, record="d"))}
    assert not specs["policy"]["lockstep"] and not specs["safety"]["lockstep"]
    assert not specs["recorder"]["paced"] and not specs["recorder"]["lossless"]


def test_defaults_agree_wherever_the_same_option_stands() -> None:
    sim, node = SimOptions(), SimSettings()
    for field in dataclasses.fields(SimOptions):
        assert getattr(sim, field.name) == getattr(node, field.name), field.name
    options, expert, in_process = DemonstrateOptions(), ExpertNodeSettings(), DemonstrationSettings()
    assert options.noise is expert.noise_std_rad is in_process.noise_std_rad is None, "the task's"
    assert options.rule == expert.rule == in_process.rule
    assert options.clip_noise == expert.clip_noise == in_process.clip_noise
    train, learner = TrainOptions(), LearnerSettings()
    for name in ("out", "task", "recipe", "updates", "save_every", "resume", "seed"):
        assert getattr(train, name) == getattr(learner, name), name


def test_the_stop_of_a_simulated_arm_is_not_that_of_the_real_one(run: str) -> None:
    def told(**options: Any) -> dict[str, Any]:
        (spec,) = (s for s in graph("deploy", DeployOptions(run=run, **options)) if s.executable == "safety")
        return dict(spec.parameters)

    assert "simulated" in told(mode="realtime")["latch_file"]
    assert "latch_file" not in told(sim=False) and "latch_file" not in told()
    assert told(mode="realtime")["follow_timeout_s"] == 0.0 and "follow_timeout_s" not in told(sim=False)


@pytest.mark.parametrize("name", ["sim", "expert", "recorder", "gripper", "learner"])
def test_the_parameter_files_hold_every_parameter_at_its_default(name: str) -> None:
    assert (CONFIG / f"{name}.yaml").read_text() == parameters_file(SETTINGS[name])


def test_values_that_a_parameter_file_cannot_hold_are_left_out() -> None:
    values = {"a": None, "b": (), "c": {}, "d": 0, "e": "", "f": Path("x"), "g": (1, 2), "h": {"i": None, "j": 1}}
    assert given(values) == {"d": 0, "e": "", "f": "x", "g": [1, 2], "h": {"j": 1}}


@pytest.mark.parametrize("text", ["123", "1e5", "y"])
def test_text_that_looks_like_a_number_or_a_truth_value_reaches_a_node_as_text(ros: RosGraph, text: str) -> None:
    process = ros.start("sim", task=text)
    assert process.wait() == 2
    assert f"'{text}'" in process.output or f"{text}.yaml" in process.output


def test_a_node_keeps_its_executable_name_unless_renamed() -> None:
    assert NodeSpec("sim").name == "sim" and NodeSpec("sim", rename="left_arm").name == "left_arm"


def test_an_unknown_graph_is_refused() -> None:
    with pytest.raises(BadInput, match="juggle"):
        graph("juggle")


def test_a_deployed_policy_meets_other_cups_than_the_demonstrations_of_the_same_seed(run: str) -> None:
    """The cups of in-process training, so that neither success nor improvement is measured on what was cloned."""
    seeds = {
        name: graph(name, options)[0].parameters["seed"]
        for name, options in (
            ("demonstrate", DemonstrateOptions(seed=3)),
            ("deploy", DeployOptions(seed=3, run=run)),
            ("train", TrainOptions(seed=3, run=run)),
        )
    }
    assert seeds["demonstrate"] == 3
    assert seeds["deploy"] == seeds["train"] == Seeds(3).integer("rollouts")
