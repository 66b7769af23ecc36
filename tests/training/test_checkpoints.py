"""A run that is killed goes on as if it had not been."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training.tiny import CONFIG, Line, Recorder, Stop, StopsAt, job, points, weights
from training.checkpoints import Checkpoint, Checkpoints
from training.errors import CheckpointError
from training.fit import fit
from training.fit.history import Epoch, History
from training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # as the other tests here
TREE = {"weights": np.arange(3, dtype=np.float32), "moments": (np.zeros((2, 2)), np.int32(7))}


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.training.tiny", str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **QUICK}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_killed_in_the_middle_and_resumed_it_comes_to_the_same(tmp_path: Path) -> None:
    with start(tmp_path, "--hold-at", "10") as process:
        assert process.stdout is not None
        held = [json.loads(process.stdout.readline())["step"] for _ in range(10)]
        process.send_signal(signal.SIGKILL)
    assert held[-1] == 10
    assert process.returncode == -signal.SIGKILL
    whole, after = Recorder(), Recorder()
    expected = fit(Line(), job(), observer=whole)
    fitted = fit(Line(), job(), run=RunFolder(path=tmp_path, resume=True), observer=after)
    assert 1 <= after.begun_at < 14  # a loss is told four steps late at most
    assert after.steps == {step: loss for step, loss in whole.steps.items() if step > after.begun_at}
    assert len(fitted.history.epochs) == 4
    np.testing.assert_allclose(weights(fitted), weights(expected), rtol=1e-6)


@pytest.mark.parametrize("step", [2, 8, 13])
def test_stopped_anywhere_each_step_has_the_loss_that_it_would_have_had(tmp_path: Path, step: int) -> None:
    whole, before, after = Recorder(), StopsAt(step), Recorder()
    expected = fit(Line(), job(), observer=whole)
    with pytest.raises(Stop):
        fit(Line(), job(), run=RunFolder(path=tmp_path, checkpoint_seconds=0.0), observer=before)
    fitted = fit(Line(), job(), run=RunFolder(path=tmp_path, resume=True), observer=after)
    assert after.begun_at >= 1
    assert {**before.steps, **after.steps} == whole.steps
    assert [epoch.train_loss for epoch in fitted.history.epochs] == [epoch.train_loss for epoch in whole.epochs]
    np.testing.assert_array_equal(weights(fitted), weights(expected))


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first = fit(Line(), job(), run=RunFolder(path=tmp_path))
    heard = Recorder()
    again = fit(Line(), job(), run=RunFolder(path=tmp_path, resume=True), observer=heard)
    assert not heard.steps
    assert not heard.epochs
    assert heard.ends == 1
    assert again.history == first.history
    np.testing.assert_array_equal(weights(again), weights(first))


def test_a_run_is_not_begun_twice_unasked(tmp_path: Path) -> None:
    fit(Line(), job(), run=RunFolder(path=tmp_path))
    with pytest.raises(CheckpointError, match="go on with --resume"):
        fit(Line(), job(), run=RunFolder(path=tmp_path))


def test_there_need_be_nothing_to_resume(tmp_path: Path) -> None:
    heard = Recorder()
    fit(Line(), job(), run=RunFolder(path=tmp_path, resume=True), observer=heard)
    assert heard.begun_at == 0
    assert len(heard.epochs) == 4


def test_another_configuration_data_set_or_network_is_refused(tmp_path: Path) -> None:
    fit(Line(), job(), run=RunFolder(path=tmp_path))
    run = RunFolder(path=tmp_path, resume=True)
    for other, what in (
        (job(replace(CONFIG, ema=0.6)), "another configuration"),
        (job(seed=1), "another configuration"),
        (job(train=points(70, seed=2)), "another training set"),
        (replace(job(), validation=points(38, seed=1)), "another validation set"),
    ):
        with pytest.raises(CheckpointError, match=what):
            fit(Line(), other, run=run)
    with pytest.raises(CheckpointError, match="another network"):
        fit(Line(seed=1), job(), run=run)


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    fit(Line(), job(), run=RunFolder(path=tmp_path, keep=2))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["12", "16"]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, {"data": "a"}, keep=2) as checkpoints:
        checkpoints.save(Checkpoint(3, TREE, {"note": [1, None]}))
    with Checkpoints(tmp_path, {"data": "a"}, keep=2) as checkpoints:
        found = checkpoints.latest(jax.tree.map(np.zeros_like, TREE), resume=True)
    assert found is not None
    assert (found.step, found.document) == (3, {"note": [1, None]})
    jax.tree.map(np.testing.assert_array_equal, found.tree, TREE)


def test_a_checkpoint_cut_short_is_not_read(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, {}, keep=3) as checkpoints:
        checkpoints.save(Checkpoint(1, TREE, {}))
    cut = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", cut)
    shutil.rmtree(cut / "arrays")
    with Checkpoints(tmp_path, {}, keep=3) as checkpoints:
        found = checkpoints.latest(TREE, resume=True)
    assert found is not None
    assert found.step == 1
    assert not cut.exists()


def test_a_broken_checkpoint_is_told_apart(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, {}, keep=3) as checkpoints:
        checkpoints.save(Checkpoint(1, TREE, {}))
    shutil.rmtree(tmp_path / "1" / "arrays")
    with (
        Checkpoints(tmp_path, {}, keep=3) as checkpoints,
        pytest.raises(CheckpointError, match=r"checkpoint 1 in .* cannot be read"),
    ):
        checkpoints.latest(TREE, resume=True)


def test_a_history_outlives_json() -> None:
    epoch = Epoch(
        number=1,
        step=4,
        train_loss=0.7,
        validation_loss=0.6,
        figures={"AUROC": float("nan"), "accuracy": 0.5},
        learning_rate=1e-3,
        images_per_second=10.0,
        seconds=2.0,
    )
    document = json.dumps(History((epoch,)).to_json(), allow_nan=False)
    back = History.from_json(json.loads(document)).epochs[0]
    assert np.isnan(back.figures["AUROC"])
    assert replace(back, figures={}) == replace(epoch, figures={})
