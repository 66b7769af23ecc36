"""Several devices and several processes come to what one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training.tiny import Line, Recorder, Stop, StopsAt, job, weights
from training.errors import FitError, ParallelError
from training.fit import fit
from training.parallel import Hosts, Layout, join, lost_hosts_told, told, told_tree
from training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # as the other tests here


def start(folder: Path, *options: str, devices: int = 1) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.training.tiny", str(folder), *options]
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **QUICK}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def lines(process: "subprocess.Popen[str]") -> list[dict[str, object]]:
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def alone() -> tuple[Recorder, np.ndarray]:
    """What one device of this process comes to: each loss, and the weights."""
    whole = Recorder()
    return whole, weights(fit(Line(), job(), observer=whole, layout=Layout.over(jax.devices()[:1])))


def test_eight_devices_have_the_losses_of_one(tmp_path: Path, alone: tuple[Recorder, np.ndarray]) -> None:
    said = lines(start(tmp_path, devices=8))
    assert said[-1]["devices"] == 8
    np.testing.assert_allclose([line["loss"] for line in said[:-1]], list(alone[0].steps.values()), rtol=1e-5)
    np.testing.assert_allclose(said[-1]["weights"], alone[1], rtol=1e-4, atol=1e-5)


def test_two_processes_go_on_as_one_would_have_and_the_first_alone_has_files(
    tmp_path: Path, alone: tuple[Recorder, np.ndarray]
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    with pytest.raises(Stop):
        fit(Line(), job(), run=RunFolder(path=folders[0]), observer=StopsAt(7))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        start(folder, "--resume", "--hosts", coordinator, "2", str(index), devices=2)
        for index, folder in enumerate(folders)
    ]
    said = [lines(process) for process in processes]
    assert said[0] == said[1]
    assert said[0][-1]["devices"] == 4
    assert [line["step"] for line in said[0][:-1]] == list(range(5, 17))  # after the epoch that was saved
    expected = [loss for step, loss in alone[0].steps.items() if step > 4]
    np.testing.assert_allclose([line["loss"] for line in said[0][:-1]], expected, rtol=1e-5)
    np.testing.assert_allclose(said[0][-1]["weights"], alone[1], rtol=1e-4, atol=1e-5)
    assert (folders[0] / "checkpoints" / "16").is_dir()
    assert not folders[1].exists()


def test_a_host_0_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.parallel._CONNECT_SECONDS", 0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listened on: nobody answers
        coordinator = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ParallelError, match="is it started"):
            join(Hosts(coordinator=coordinator, count=2, index=1))


def test_a_failed_exchange_means_a_lost_host_only_if_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(jax.errors.JaxRuntimeError), lost_hosts_told():
        raise jax.errors.JaxRuntimeError("out of memory")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ParallelError, match="start all of them again"), lost_hosts_told():
        raise jax.errors.JaxRuntimeError("connection closed by peer")


def test_a_batch_is_split_evenly_or_not_at_all() -> None:
    layout = Layout.over()
    assert layout.fits(7 * layout.count) == 7 * layout.count
    assert layout.fits(7 * layout.count - layout.count + 1) == 7 * layout.count


def test_a_batch_that_cannot_be_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Layout, "count", 3)
    with pytest.raises(FitError, match="a batch of 16 cannot be split over 3 devices"):
        fit(Line(), job())


@pytest.mark.parametrize(
    ("coordinator", "count", "index"), [("gpu1:1234", 2, 2), ("gpu1:1234", 2, -1), ("gpu1", 2, 0), ("gpu1:", 2, 0)]
)
def test_hosts_that_make_no_sense_are_refused(coordinator: str, count: int, index: int) -> None:
    with pytest.raises(ParallelError):
        Hosts(coordinator=coordinator, count=count, index=index)


def test_one_host_alone_needs_no_other() -> None:
    join(Hosts(coordinator="127.0.0.1:1", count=1, index=0))
    assert told(b"all") == b"all"
    assert told_tree({"a": 1}) == {"a": 1}
