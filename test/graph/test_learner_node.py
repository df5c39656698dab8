"""The learner node over real DDS, with the test process in the place of the policy nodes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_graph import LATCHED, Probe, RosGraph
from std_msgs.msg import UInt8MultiArray
from trained import saved, small_policy

from vd_policy.base.episode import Episode
from vd_policy.base.settings import load_yaml
from vd_policy.learning.metrics import read_csv
from vd_policy.learning.recipe import OUR_RECIPE, load_recipe
from vd_policy.learning.rollout import rollout
from vd_policy.messages.blobs import decode_blob, encode_blob, pack_episode, unpack_weights
from vd_policy.messages.topics import ROLLOUT, WEIGHTS
from vd_policy.nodes.rollouts import Sessions
from vd_policy.nodes.ros import RclpyFactory
from vd_policy.policy.actor import GaussianActor
from vd_policy.policy.checkpoint import load_metrics, load_run
from vd_policy.sim.env import ArmEnv

BATCH = 20
RECIPE = f"method: trpo\nsettings: {{batch_steps: {BATCH}, cg_steps: 2, critic: {{warmup_batches: 1}}}}\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("runs") / "start", small_policy())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipes") / "small.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def episodes() -> Iterator[list[Episode]]:
    """Rollouts of the start's policy, all of which its first learner may use."""
    env = ArmEnv(image_height=16, image_width=16)
    actor = GaussianActor(small_policy())
    yield [rollout(env, actor, seed=i, sequence=i, source="/policy", task="reach") for i in range(14)]
    env.close()


class Hub:
    """Sends rollouts and hears weights."""

    def __init__(self, probe: Probe) -> None:
        self.diagnostics = probe.diagnostics()
        self._heard = probe.listen(UInt8MultiArray, WEIGHTS, LATCHED)
        self._publisher = probe.publisher(UInt8MultiArray, ROLLOUT)

    def send(self, *episodes: Episode, version: int = 0) -> None:
        for episode in episodes:
            self.send_bytes(pack_episode(replace(episode, weight_version=version)))

    def send_bytes(self, data: bytes) -> None:
        self._publisher.publish(encode_blob(RclpyFactory(), data))

    @property
    def weights(self) -> list[tuple[dict[str, np.ndarray], dict[str, Any]]]:
        return [unpack_weights(decode_blob(m)) for m in list(self._heard)]

    @property
    def versions(self) -> list[int]:
        return [manifest["weight_version"] for _, manifest in self.weights]

    def value(self, name: str) -> float:
        return float(self.diagnostics("learner").get(name, 0))


def batches(episodes: list[Episode]) -> list[list[Episode]]:
    """The episodes cut where the learner will cut them."""
    cut: list[list[Episode]] = [[]]
    for episode in episodes:
        if sum(map(len, cut[-1])) >= BATCH:
            cut.append([])
        cut[-1].append(episode)
    return cut[:-1]


def test_rollouts_come_in_and_better_weights_go_out_until_the_updates_asked_for(
    ros: RosGraph, tmp_path: Path, run: str, recipe: str, episodes: list[Episode]
) -> None:
    learner = ros.start("learner", run=run, out=str(tmp_path / "out"), recipe=recipe, updates=4)
    hub = Hub(ros.probe)
    ros.wait_for(lambda: hub.versions == [0], "the start's weights, though heard late")
    hub.send(*(e for batch in batches(episodes)[:4] for e in batch))
    assert learner.wait() == 0, learner.output
    assert hub.versions == sorted(hub.versions) and hub.versions[-1] >= 1
    before, after = hub.weights[0][0], hub.weights[-1][0]
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    out = load_run(tmp_path / "out")
    rows = read_csv(load_metrics(tmp_path / "out"))
    assert len(rows) == 4 and rows[-1]["step"] == out.manifest["env_steps"]["rl"]
    assert out.manifest["parents"]["init"]["name"] == "start"
    assert out.manifest["weight_version"] >= hub.versions[-1]


@pytest.mark.parametrize(
    ("asked", "taken"), [({}, OUR_RECIPE), ({"task": "grasp"}, "trpo_grasp"), ({"recipe": "trpo"}, "trpo")]
)
def test_without_a_recipe_the_learner_takes_the_tasks_own(
    ros: RosGraph, tmp_path: Path, run: str, episodes: list[Episode], asked: dict[str, str], taken: str
) -> None:
    learner = ros.start("learner", run=run, out=str(tmp_path / "out"), updates=1, **asked)
    hub = Hub(ros.probe)
    ros.wait_for(lambda: hub.weights, "the start's weights")
    (_, manifest), *_ = hub.weights
    settings = load_recipe(taken).settings
    assert manifest["batch_steps"] == settings.get("batch_steps", 200)
    hub.send(*(replace(e, sequence=i) for i, e in enumerate(episodes * (settings.get("batch_steps", 200) // 100 + 1))))
    assert learner.wait() == 0, learner.output
    assert load_yaml(tmp_path / "out" / "config.yaml")["train"]["settings"] == settings


@pytest.fixture(scope="module")
def learning(run: str, recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RosGraph, Hub, Path]]:
    """One learner for the tests that only look at it, saving when told and at its end."""
    with RosGraph() as graph:
        out = tmp_path_factory.mktemp("learning") / "out"
        graph.start("learner", run=run, out=str(out), recipe=recipe, save_every=1000)
        hub = Hub(graph.probe)
        graph.wait_for(lambda: hub.versions, "the start's weights")
        yield graph, hub, out


def test_what_is_no_rollout_is_counted_and_stops_nothing(learning: tuple, episodes: list[Episode]) -> None:
    graph, hub, _ = learning
    before = hub.value("updates")
    hub.send_bytes(b"not an episode")
    hub.send_bytes(pack_episode(episodes[0])[:-100])
    hub.send(*batches(episodes)[0], version=hub.versions[-1])
    graph.wait_for(lambda: hub.value("updates") > before, "the update after the garbage")
    graph.wait_for(lambda: hub.value("unreadable") == 2, "both counted")


def test_rollouts_sent_twice_are_used_once(learning: tuple, episodes: list[Episode]) -> None:
    graph, hub, _ = learning
    first = [replace(e, source="/twin") for e in batches(episodes)[1]]
    others = [replace(e, source="/other") for e in batches(episodes)[2]]
    duplicates = hub.value("rollouts_duplicate")
    hub.send(*first, *first, *others, *others, version=hub.versions[-1])
    graph.wait_for(lambda: hub.value("rollouts_duplicate") >= duplicates + len(first), "the duplicates counted")


def test_a_second_learner_beside_it_is_told(learning: tuple) -> None:
    graph, hub, _ = learning

    def message() -> str:
        return hub.diagnostics("learner").get("message", "")

    other = graph.probe.publisher(UInt8MultiArray, WEIGHTS, LATCHED, matched=0)
    graph.wait_for(lambda: f"2 learners publish {WEIGHTS}" in message(), "the second one named")
    graph.probe.node.destroy_publisher(other)
    graph.wait_for(lambda: message().startswith("learning to"), "one alone to be fine")


def test_save_writes_a_whole_run_at_once(learning: tuple, episodes: list[Episode]) -> None:
    graph, hub, out = learning
    fresh = [replace(e, source="/before saving") for e in batches(episodes)[3]]
    before = hub.value("updates")
    hub.send(*fresh, version=hub.versions[-1])
    graph.wait_for(lambda: hub.value("updates") > before, "an update to save")
    answer = graph.probe.call("learner/save")
    assert answer.success and str(out) in answer.message
    assert len(read_csv(load_metrics(out))) >= before + 1


def test_a_stopped_learner_saves_and_a_resumed_one_goes_on_from_there(
    ros: RosGraph, tmp_path: Path, run: str, recipe: str, episodes: list[Episode]
) -> None:
    first, second = batches(episodes)[:2]
    options = {"run": run, "out": str(tmp_path / "out"), "recipe": recipe}
    learner = ros.start("learner", save_every=1000, **options)
    hub = Hub(ros.probe)
    ros.wait_for(lambda: hub.versions, "the start's weights")
    hub.send(*first)
    ros.wait_for(lambda: hub.value("updates") == 1, "one update")
    assert learner.stop(signal.SIGTERM) == 0, learner.output
    assert len(read_csv(load_metrics(tmp_path / "out"))) == 1
    resumed = ros.start("learner", resume=True, updates=2, **options)
    heard = len(hub.versions)
    ros.wait_for(lambda: len(hub.versions) > heard, "the resumed learner's weights")
    hub.send(*second, version=hub.versions[-1])
    assert resumed.wait() == 0, resumed.output
    assert len(read_csv(load_metrics(tmp_path / "out"))) == 2
    finished = ros.start("learner", resume=True, updates=2, **options)
    assert finished.wait() == 0 and len(read_csv(load_metrics(tmp_path / "out"))) == 2, finished.output


def test_what_was_saved_before_the_first_update_can_be_resumed(
    ros: RosGraph, tmp_path: Path, run: str, recipe: str, episodes: list[Episode]
) -> None:
    options = {"run": run, "out": str(tmp_path / "out"), "recipe": recipe}
    learner = ros.start("learner", **options)
    assert ros.probe.call("learner/save").success
    learner.kill()
    resumed = ros.start("learner", resume=True, updates=1, **options)
    hub = Hub(ros.probe)
    ros.wait_for(lambda: hub.versions, "the resumed learner's weights")
    hub.send(*batches(episodes)[0], version=hub.versions[-1])
    assert resumed.wait() == 0, resumed.output


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"run": ""}, ("run", "directory of a trained run")), ({"run": "nowhere"}, ("nowhere", "a run directory"))],
)
def test_a_start_without_a_run_is_refused_with_one_line(ros: RosGraph, parameters: dict, words: tuple) -> None:
    process = ros.start("learner", **parameters)
    assert process.wait() == 2
    assert len(process.lines) == 1 and all(word in process.output for word in words)


def test_a_restarted_policy_counts_as_a_new_source_and_a_repeat_does_not(episodes: list[Episode]) -> None:
    sessions = Sessions(first=3)
    names = [sessions.named(e).source for e in (*episodes[:2], *episodes[:2])]
    assert len(set(names)) == 1 and names[0] != "/policy"
    restarted = replace(episodes[5], sequence=0)
    assert sessions.named(restarted).source != names[0]
    assert sessions.named(episodes[1]).source == sessions.named(restarted).source
    assert Sessions(first=4).named(episodes[0]).source != names[0]
