"""Demonstrations made in-process, with the real environment and expert."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vd_policy.arm.expert import Expert, ExpertSettings
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.files import lock_directory
from vd_policy.base.seeds import Seeds
from vd_policy.cli.main import main
from vd_policy.demos.bag import bag_paths, read_episode
from vd_policy.demos.demonstrate import cuts, demonstrate
from vd_policy.demos.demonstrator import CUT, DemonstrationSettings, Demonstrator, make_env
from vd_policy.demos.destination import RUN_MANIFEST, SETTINGS_FILE, check_mixes, remove_beyond
from vd_policy.demos.episode_report import EpisodeReport, Tally, recorded
from vd_policy.demos.foreign import MAP_FILE
from vd_policy.demos.info import EpisodeInfo
from vd_policy.demos.reader import custom_data
from vd_policy.demos.recording import read_recording
from vd_policy.demos.storage import episode_name, episode_paths
from vd_policy.sim.tasks import load_task

SETTINGS = DemonstrationSettings(image_height=16, image_width=20, noise_std_rad=0.3)


def content(directory: Path) -> dict[str, bytes]:
    return {str(f.relative_to(directory)): f.read_bytes() for f in sorted(directory.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def thirty(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demos") / "thirty"
    made = demonstrate(SETTINGS, 30, out, seed=3)
    assert made.samples == 30 and made.successes + made.failures <= made.episodes
    return out


def test_just_as_many_pairs_are_made_as_were_asked_for(thirty):
    episodes = [read_episode(p) for p in bag_paths(thirty)]
    assert sum(len(e) for e in episodes if len(e) > 1) == 30


def test_the_bag_holds_what_the_environment_gave_bit_for_bit(thirty):
    env = make_env(SETTINGS)
    episode = read_episode(bag_paths(thirty)[0])
    seed = Seeds(3).integer("episode", 0)
    expert = Expert(np.zeros((1, 6)), env.robot.continuous)
    obs, _ = env.reset(seed=seed)
    settings = ExpertSettings("clipped", SETTINGS.noise_std_rad, True, env.settings.max_step_rad)
    expert, rng = Expert(env.goals(), env.robot.continuous, settings), Seeds(seed).rng("expert")
    for step in range(len(episode)):
        for key in ("rgb", "depth", "q"):
            assert np.array_equal(obs[key], episode.obs[key][step]), (key, step)
        noisy, label = expert.act(env.q, rng)
        assert np.allclose(episode.label[step], label / env.settings.max_step_rad, atol=1e-7)
        assert np.allclose(episode.action[step], noisy / env.settings.max_step_rad, atol=1e-7)
        obs, reward, terminated, truncated, info = env.step_to(env.q + noisy)
        assert episode.reward[step] == np.float32(reward)
    assert (episode.terminated, episode.success, episode.failure) == (terminated, info["success"], info["failure"])
    assert np.array_equal(episode.scene, info["scene"]) and episode.seed == seed
    env.close()


def test_labels_and_actions_lie_between_minus_one_and_one(thirty):
    for episode in map(read_episode, bag_paths(thirty)):
        for values in (episode.label, episode.action, episode.applied):
            assert np.abs(values).max() <= 1.0


def test_the_number_of_workers_changes_nothing(thirty, tmp_path):
    demonstrate(SETTINGS, 30, tmp_path / "two", seed=3, workers=2)
    assert content(tmp_path / "two") == content(thirty)


def test_an_episode_is_the_same_wherever_a_worker_begins_to_look_ahead(tmp_path):
    directories = [tmp_path / name for name in ("in order", "apart")]
    for out, order, stride in zip(directories, (range(4), (3, 1, 0, 2)), (1, 2)):
        demonstrator = Demonstrator(SETTINGS.whole(), out, seed=3, stride=stride)
        for index in order:
            demonstrator.record(index)
        demonstrator.env.close()
    assert content(directories[0]) == content(directories[1])


def test_a_run_that_was_killed_ahead_of_its_end_is_completed_to_what_it_would_have_become(thirty, tmp_path):
    """Workers run ahead, and the last episode is cut last: a kill just then leaves more than was asked for."""
    longer, out = tmp_path / "longer", tmp_path / "killed"
    demonstrate(SETTINGS, 60, longer, seed=3)
    shutil.copytree(thirty, out)
    ahead = len(bag_paths(thirty)) + 2
    for bag in bag_paths(longer)[len(bag_paths(thirty)) - 1 : ahead]:
        shutil.rmtree(out / bag.name, ignore_errors=True)
        shutil.copytree(bag, out / bag.name)
    demonstrate(SETTINGS, 30, out, seed=3, existing="resume")
    assert content(out) == content(thirty)
    with pytest.raises(BadInput, match="at least the 30"):
        demonstrate(SETTINGS, 20, out, seed=3, existing="resume")


def test_what_another_command_appended_is_not_resumed_over(thirty, tmp_path):
    out = tmp_path / "appended"
    shutil.copytree(thirty, out)
    demonstrate(replace(SETTINGS, noise_std_rad=0.1), 20, out, seed=4, existing="append")
    before = content(out)
    with pytest.raises(BadInput, match=f"appended last, from episode {len(bag_paths(thirty))} on"):
        demonstrate(SETTINGS, 60, out, seed=3, existing="resume")
    assert content(out) == before


def test_an_interrupted_append_is_completed_to_what_it_would_have_become(thirty, tmp_path):
    added, whole, out = replace(SETTINGS, noise_std_rad=0.1), tmp_path / "whole", tmp_path / "appended"
    for directory in (whole, out):
        shutil.copytree(thirty, directory)
        demonstrate(SETTINGS, 10, directory, seed=5, existing="append")
        demonstrate(added, 20, directory, seed=4, existing="append")
    bags = bag_paths(out)
    shutil.rmtree(bags[-3])
    shutil.rmtree(bags[-1])
    assert demonstrate(added, 20, out, seed=4, existing="resume").samples == 20
    assert content(out) == content(whole)
    demonstrate(added, 25, out, seed=4, existing="resume")
    with pytest.raises(BadInput, match="at least the 25"):
        demonstrate(added, 20, out, seed=4, existing="resume")


def test_two_commands_do_not_record_in_one_directory_at_once(thirty, tmp_path):
    out = tmp_path / "shared"
    shutil.copytree(thirty, out)
    before = content(out)
    with lock_directory(out):
        for existing in ("append", "resume", "overwrite"):
            with pytest.raises(BadInput, match="wait for that one"):
                demonstrate(SETTINGS, 30, out, seed=3, existing=existing)
    assert content(out) == before
    assert demonstrate(SETTINGS, 4, out, seed=3, existing="append").samples == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"image_width": 16}, "image size is '16x16'; allowed: 16x20"), ({"task": "grasp"}, "'grasp'; allowed: reach")],
)
def test_pairs_that_no_dataset_would_mix_are_not_appended(thirty, tmp_path, changes, said):
    out = tmp_path / "appended"
    shutil.copytree(thirty, out)
    with pytest.raises(BadInput, match=said):
        demonstrate(replace(SETTINGS, **changes), 20, out, existing="append")
    assert content(out) == content(thirty)


def test_what_another_expert_labelled_is_not_appended_to(tmp_path):
    mine = replace(SETTINGS, task=str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text("extends: reach\ngoals: all\n")
    demonstrate(mine, 6, tmp_path / "out", seed=3)
    with pytest.raises(BadInput, match="task is 'reach'; allowed: reach with goals all"):
        demonstrate(SETTINGS, 6, tmp_path / "out", existing="append")
    older = EpisodeInfo.from_custom(  # grasped before tasks said it
        {k: v for k, v in custom_data(bag_paths(tmp_path / "out")[0]).items() if k != "goals"}, "an older bag"
    )
    assert older.goals == "found"


def test_a_task_file_that_was_edited_is_not_resumed_with(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: reach\nhorizon: 9\n")
    mine = replace(SETTINGS, task=str(tmp_path / "mine.yaml"))
    demonstrate(mine, 6, tmp_path / "out", seed=3)
    (tmp_path / "mine.yaml").write_text("extends: reach\nhorizon: 12\n")
    with pytest.raises(BadInput, match="reach with horizon 12'; allowed: reach with horizon 9"):
        demonstrate(mine, 12, tmp_path / "out", seed=3, existing="resume")


def test_an_interrupted_run_is_completed_to_what_it_would_have_become(thirty, tmp_path):
    out = tmp_path / "resumed"
    shutil.copytree(thirty, out)
    bags = bag_paths(out)
    shutil.rmtree(bags[1])
    shutil.rmtree(bags[-1])
    (out / ".tmp-episode_000001-0badcafe").mkdir()
    demonstrate(SETTINGS, 30, out, seed=3, existing="resume")
    assert content(out) == content(thirty)


def test_a_finished_run_can_be_made_longer(thirty, tmp_path):
    shutil.copytree(thirty, tmp_path / "longer")
    demonstrate(SETTINGS, 36, tmp_path / "longer", seed=3, existing="resume")
    demonstrate(SETTINGS, 36, tmp_path / "fresh", seed=3)
    assert content(tmp_path / "longer") == content(tmp_path / "fresh")
    with pytest.raises(BadInput, match="at least the 36"):
        demonstrate(SETTINGS, 10, tmp_path / "longer", seed=3, existing="resume")


def test_bags_of_somebody_elses_beside_the_episodes_are_left_alone(thirty, tmp_path):
    shutil.copytree(thirty, tmp_path / "longer")
    own = shutil.copytree(bag_paths(thirty)[0], tmp_path / "longer" / "my_bag")
    made = demonstrate(SETTINGS, 36, tmp_path / "longer", seed=3, existing="resume")
    demonstrate(SETTINGS, 36, tmp_path / "fresh", seed=3)
    assert content(own) == content(bag_paths(thirty)[0]) and made.samples == 36
    shutil.rmtree(own)
    assert content(tmp_path / "longer") == content(tmp_path / "fresh")


def test_episodes_are_counted_by_their_numbers_beyond_a_million(tmp_path):
    for index in (999_998, 999_999, 1_000_000, 1_000_001):
        (tmp_path / episode_name(index)).mkdir()
    remove_beyond(tmp_path, 1_000_000)
    assert list(episode_paths(tmp_path)) == [999_998, 999_999, 1_000_000]


def test_a_tally_reads_what_was_added_since_it_looked_last(thirty, tmp_path):
    bags = bag_paths(thirty)
    shutil.copytree(bags[0], tmp_path / bags[0].name)
    tally = Tally(tmp_path)
    assert [report.index for report in tally.reports()] == [0]
    for bag in bags[1:]:
        shutil.copytree(bag, tmp_path / bag.name)
    assert tally.reports() == recorded(thirty) and Tally(tmp_path, 2).reports() == recorded(thirty)[2:]


def test_what_is_there_is_kept_unless_told_otherwise(thirty, tmp_path):
    out = tmp_path / "kept"
    shutil.copytree(thirty, out)
    (out / "notes.txt").write_text("mine")
    before = content(out)
    with pytest.raises(BadInput, match="--append, --resume or --overwrite"):
        demonstrate(SETTINGS, 5, out)
    with pytest.raises(BadInput, match="--resume: noise_std_rad"):
        demonstrate(replace(SETTINGS, noise_std_rad=0.1), 40, out, seed=3, existing="resume")
    with pytest.raises(BadInput, match="--resume: seed"):
        demonstrate(SETTINGS, 40, out, seed=4, existing="resume")
    with pytest.raises(BadInput, match="rech"):
        demonstrate(replace(SETTINGS, task="rech"), 5, out, existing="overwrite")
    assert content(out) == before
    made = demonstrate(SETTINGS, 4, out, seed=3, existing="append")
    assert made.samples == 4
    noted = before.pop(SETTINGS_FILE)
    assert before.items() <= content(out).items()
    assert json.loads((out / SETTINGS_FILE).read_text()).items() >= json.loads(noted).items()
    demonstrate(SETTINGS, 4, out, seed=3, existing="overwrite")
    assert sum(len(read_episode(p)) for p in bag_paths(out)) == 4 and (out / "notes.txt").exists()


def test_an_episode_that_was_cut_where_something_happened_is_made_whole_when_more_are_asked_for(tmp_path):
    settings = replace(SETTINGS, rule="literal", noise_std_rad=0.5, end_on_contact=False)
    demonstrate(settings, 200, tmp_path / "whole", seed=0)
    lengths, reasons = [], []
    for bag in bag_paths(tmp_path / "whole"):
        outcomes = [outcome for _, outcome in read_recording(bag).steps()][1:]
        lengths.append(len(outcomes))
        reasons.append([outcome.reason for outcome in outcomes[1:-1]])
    episode = next(i for i, words in enumerate(reasons) if any(words))
    steps = next(step for step, reason in enumerate(reasons[episode], start=2) if reason)
    demonstrate(settings, sum(lengths[:episode]) + steps, tmp_path / "cut", seed=0)
    assert custom_data(bag_paths(tmp_path / "cut")[-1])["reason"] == CUT
    demonstrate(settings, 200, tmp_path / "cut", seed=0, existing="resume")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_what_was_never_begun_is_not_resumed_and_no_directory_is_none(tmp_path, capsys):
    words = ["demonstrate", "--samples", "2", "--image-size", "16"]
    assert main([*words, "--out", str(tmp_path / "mistyped"), "--resume"]) == 2
    assert "--resume is" in capsys.readouterr().err and not (tmp_path / "mistyped").exists()
    assert main([*words, "--out", "", "--overwrite"]) == 2
    assert "--out is ''; allowed: a path" in capsys.readouterr().err


def test_a_task_whose_episodes_are_all_too_short_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("vd_policy.demos.demonstrate.FRUITLESS_EPISODES", 4)
    (tmp_path / "at_once.yaml").write_text("extends: reach\ntask: at_once\nrules: reach\ntolerance_m: 6\n")
    settings = replace(SETTINGS, task=str(tmp_path / "at_once.yaml"))
    with pytest.raises(VdPolicyError, match="4 episodes in a row") as caught:
        demonstrate(settings, 10, tmp_path / "out")
    assert all(part in str(caught.value) for part in ("task at_once", "tolerance_m 6", "horizon 25", "home_rad [4.80"))
    assert len(bag_paths(tmp_path / "out")) == 4


def test_short_episodes_among_others_are_no_reason_to_give_up(tmp_path, monkeypatch):
    monkeypatch.setattr("vd_policy.demos.demonstrate.FRUITLESS_EPISODES", 2)
    lengths = iter([1, 3, 0, 4, 1, 2])
    monkeypatch.setattr(
        Demonstrator, "record", lambda self, index, max_steps=None: EpisodeReport(index, next(lengths, 2), False, False)
    )
    monkeypatch.setattr("vd_policy.demos.demonstrate.summary", lambda out, reports, wall_s: reports)
    assert [report.steps for report in demonstrate(SETTINGS, 9, tmp_path / "out")] == [1, 3, 0, 4, 1, 2]


def test_the_file_that_a_run_is_told_by_is_that_of_checkpoints():
    from vd_policy.policy.checkpoint import MANIFEST

    assert RUN_MANIFEST == MANIFEST


@pytest.mark.parametrize("existing", ["refuse", "append", "resume", "overwrite"])
@pytest.mark.parametrize(("file", "owner"), [(RUN_MANIFEST, "a run has"), (MAP_FILE, "another robot's bags have")])
def test_nothing_is_recorded_into_a_run_or_beside_another_robots_bags(tmp_path, existing, file, owner):
    (tmp_path / file).write_text("{}")
    with pytest.raises(BadInput, match=f"--out is .*{file}, which {owner}"):
        demonstrate(SETTINGS, 4, tmp_path, existing=existing)
    with pytest.raises(BadInput, match="--out"):
        check_mixes(tmp_path, load_task("reach"), "j2n6s300", (16, 20))
    assert list(content(tmp_path)) == [file]


def test_contact_may_end_a_demonstration_or_not(tmp_path):
    settings = replace(SETTINGS, noise_std_rad=0.6)
    ended = demonstrate(replace(settings, end_on_contact=True), 30, tmp_path / "ended")
    going = demonstrate(replace(settings, end_on_contact=False), 30, tmp_path / "going")
    assert ended.failures > 0 and going.episodes < ended.episodes


def test_the_command_says_what_it_made(tmp_path, capsys):
    out, file = str(tmp_path / "demos"), tmp_path / "f.json"
    words = ["demonstrate", "--samples", "6", "--noise", "0.25", "--out", out, "--image-size", "16", "--workers", "1"]
    assert main([*words, "--json", str(file), "--seed", "4"]) == 0
    result = json.loads(file.read_text())
    assert (result["command"], result["seed"], result["samples"]) == ("demonstrate", 4, 6)
    assert result["episodes"] == len(bag_paths(tmp_path / "demos"))
    capsys.readouterr()
    for wrong, named in (([], "--append, --resume or --overwrite"), (["--graph", "--resume"], "leave out --resume"),
                         (["--graph", "--workers", "3"], "leave out --workers or --graph")):  # fmt: skip
        assert main([*words, *wrong]) == 2
        said = capsys.readouterr().err
        assert named in said and said.count("\n") == 1
    assert main(["inspect", out]) == 0


@pytest.mark.parametrize(
    "steps,excess,expected",
    [
        ([5, 4], 0, {}),
        ([5, 4], 2, {1: 2}),
        ([5, 4], 3, {0: 4, 1: 2}),
        ([5, 2, 4], 3, {0: 4, 2: 2}),
        ([4], 3, {0: 2}),
        ([2, 4], 3, {1: 2}),
    ],
)
def test_the_last_episode_is_cut_so_that_no_single_step_is_left(steps, excess, expected):
    assert cuts(steps, excess) == expected
