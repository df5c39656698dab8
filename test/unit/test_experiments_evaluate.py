"""Evaluation: fixed starts, intervals, baselines, runs, clips and maps."""

from __future__ import annotations

import json
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pytest
import scipy.stats

from vd_policy.base.errors import BadInput
from vd_policy.cli.main import main
from vd_policy.experiments.evaluate import Evaluation, Played, Request, carry_out, evaluate
from vd_policy.experiments.film import SEAM, frame
from vd_policy.experiments.interval import wilson
from vd_policy.experiments.subject import open_subject
from vd_policy.policy.checkpoint import save_run
from vd_policy.policy.gaussian import GaussianPolicy, PolicySettings, new_policy
from vd_policy.policy.network import NetworkSettings
from vd_policy.policy.observation import ObservationSpec
from vd_policy.sim.env import ArmEnv

SIZE = 16


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (8, 10), (10, 10), (31, 50), (0, 1), (999, 1000)])
def test_the_interval_is_wilsons(successes: int, trials: int):
    reference = scipy.stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert np.allclose(wilson(successes, trials), reference, atol=1e-12)


def test_no_trials_leave_everything_open_and_impossible_counts_are_refused():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError):
        wilson(3, 2)


def test_the_figures_are_those_of_the_episodes():
    played = (Played(0, (0.4, 0.0), True, "success", 3, 20.0), Played(1, (0.5, 0.1), False, "horizon", 25, -10.0))
    figures = Evaluation(played).figures()
    assert figures["successes"] == 1 and figures["episodes"] == 2 and figures["success_rate"] == 0.5
    assert figures["successes_per_200_steps"] == pytest.approx(200 / 28)
    assert figures["mean_return"] == 5.0 and figures["mean_length"] == 14.0
    assert figures["endings"] == {"success": 1, "failure": 0, "horizon": 1}


def test_the_clipped_expert_always_succeeds_and_the_literal_one_often_circles():
    clipped = carry_out(Request("expert", 3, image_size=SIZE), 25)
    literal = carry_out(Request("expert-literal", 3, image_size=SIZE), 25)
    assert clipped.success_rate == 1.0
    assert literal.success_rate < 0.9
    assert [p.cup_m for p in clipped.played] == [p.cup_m for p in literal.played], "everybody meets the same cups"


def test_random_and_untrained_actions_do_not_solve_the_task():
    for name in ("random", "untrained"):
        assert carry_out(Request(name, 0, image_size=SIZE), 10).interval_95[1] < 0.7


def test_a_directory_of_its_name_does_not_hide_the_expert(tmp_path, monkeypatch):
    (tmp_path / "expert").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "expert", "--episodes", "2", "--image-size", "8", "--workers", "1"]) == 0


def test_the_result_depends_on_the_seed_and_not_on_the_processes():
    request = Request("random", 5, image_size=SIZE)
    alone = carry_out(request, 7)
    assert carry_out(request, 7, workers=2) == alone
    assert carry_out(replace(request, seed=6), 7) != alone
    assert carry_out(request, 3).played == alone.played[:3], "a longer list begins with the shorter one"


@pytest.fixture(scope="module")
def policy() -> GaussianPolicy:
    """A tiny untrained policy for the default robot and task."""
    env = ArmEnv(image_height=SIZE, image_width=SIZE)
    robot, step = env.robot, env.settings.max_step_rad
    env.close()
    spec = ObservationSpec(robot.joints, SIZE, SIZE, robot.home_rad, (1.0,) * len(robot), 2.0, step, 0.9)
    small = NetworkSettings(conv_channels=(4,), image_widths=(8,), joint_widths=(8,))
    return new_policy(spec, PolicySettings(mean=small, sigma=small, initial_std=0.3), seed=1)


def test_a_run_is_evaluated_by_its_mean_or_by_samples(policy, tmp_path, capsys):
    run = save_run(tmp_path / "run", policy, config={})
    results = {}
    for option in ([], ["--stochastic"]):
        words = ["evaluate", str(run), "--task", "reach", "--episodes", "4", "--json", str(tmp_path / "f.json")]
        assert main([*words, *option]) == 0
        assert "95 % interval" in capsys.readouterr().out
        result = json.loads((tmp_path / "f.json").read_text())
        results[result["acting"]] = result["mean_return"]
    assert set(results) == {"mean", "sampled"} and results["mean"] != results["sampled"]
    assert result["image_height"] == SIZE, "the run brings its own image size"
    keys = {"command", "version", "seed", "ok", "episodes", "successes", "success_rate", "interval_95",
            "successes_per_200_steps", "mean_return", "mean_length"}  # fmt: skip
    assert keys <= set(result) and result["episodes"] == 4


def test_a_policy_in_hand_gives_what_its_saved_run_gives(policy, tmp_path):
    request = Request(str(save_run(tmp_path / "run", policy, config={})), 2, explore=True)
    env, actor = request.open()
    here = evaluate(env, actor, episodes=3, seed=2, explore=True)
    env.close()
    assert carry_out(request, 3) == here


def test_a_run_for_other_joints_or_another_step_is_refused(policy, tmp_path):
    for change in ({"joints": tuple("abcdef")}, {"max_step_rad": 0.1}):
        spec = replace(policy.spec, **change)
        run = save_run(tmp_path / next(iter(change)), new_policy(spec, policy.settings, seed=0), config={})
        with pytest.raises(BadInput, match="learned with"):
            Request(str(run), 0).open()


def test_a_run_has_one_image_size(policy, tmp_path):
    run = str(save_run(tmp_path / "run", policy, config={}))
    rows = policy.spec.image_height
    Request(run, 0, image_size=rows).open()
    with pytest.raises(BadInput, match=f"image size is 99; allowed: {rows} rows as in"):
        Request(run, 0, image_size=99).open()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["no-such-run"], "expert, expert-literal, untrained, random"),
        (["expert", "--episodes", "0"], "--episodes is '0'"),
        (["expert", "--motion", "flying"], "one of kinematic, position"),
        (["expert", "--image-size", "2"], "at least 8"),
        (["expert", "--video", "clip.gif"], ".mp4"),
        (["expert", "--map", "/nowhere/map.png"], "--map"),
    ],
)
def test_bad_input_is_refused_before_any_work(words, part, capsys):
    assert main(["evaluate", *words]) == 2
    line = capsys.readouterr().err
    assert part in line and line.count("\n") == 1


def test_a_damaged_run_is_refused_by_its_file(policy, tmp_path):
    run = save_run(tmp_path / "run", policy, config={})
    weights = run / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BadInput, match=r"weights\.safetensors"):
        open_subject(str(run), 0)


def test_a_clip_shows_what_the_camera_sees_in_its_own_proportions():
    obs = {"rgb": np.zeros((72, 128, 3), np.uint8), "depth": np.zeros((72, 128), np.uint16)}
    obs["rgb"][:, 64:] = 255
    shown = frame(np.zeros((360, 480, 3), np.uint8), obs, None)
    assert shown.shape == (360 + SEAM, 480 + 2 * 640, 3)
    assert not shown[:, : 480 + 320].any() and (shown[:360, 480 + 320 : 480 + 640] == 255).all()


def test_the_clip_shows_the_evaluated_episodes_and_the_map_is_drawn(tmp_path, capsys):
    clip, chart = tmp_path / "clip.mp4", tmp_path / "map.png"
    words = ["evaluate", "expert", "--episodes", "2", "--image-size", str(SIZE)]
    assert main([*words, "--video", str(clip), "--map", str(chart)]) == 0
    frames = imageio_ffmpeg.read_frames(str(clip))
    width, height = next(frames)["size"]
    pictures = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]
    steps = carry_out(Request("expert", 0, image_size=SIZE), 2).played
    assert len(pictures) == sum(10 + 3 * p.steps for p in steps)
    assert len({picture.tobytes() for picture in pictures}) > 4, "the arm moves"
    assert np.median(pictures[-1][-4:], axis=(0, 1)).argmax() == 1, "a success ends with a green seam"
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "map.png"]
