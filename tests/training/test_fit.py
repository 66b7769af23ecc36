"""The loop, on a network of nine parameters."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.tiny import CONFIG, Line, LineTask, Recorder, job, points, weights
from training.config import Precision
from training.errors import FitError, NonFiniteLossError
from training.fit import Batch, Columns, Fitted, Losses, fit
from training.fit.columns import in_order, shuffled
from training.fit.feed import feed
from training.fit.history import History
from training.fit.optimiser import make_optimiser, make_schedule
from training.fit.program import compute_type
from training.parallel import Layout


def test_the_loss_falls_and_the_seed_decides() -> None:
    heard = Recorder()
    first = fit(Line(), job(), observer=heard)
    assert heard.epochs[-1].train_loss < heard.epochs[0].train_loss
    assert heard.epochs[-1].figures["accuracy"] > 0.85
    assert sorted(heard.steps) == list(range(1, 4 * 4 + 1))
    assert heard.ends == 1
    np.testing.assert_array_equal(weights(first), weights(fit(Line(), job())))
    assert np.abs(weights(first) - weights(fit(Line(), job(seed=1)))).max() > 1e-6


def test_every_example_is_evaluated_and_filling_does_not_count() -> None:
    fitted = fit(Line(), job())
    assert fitted.history.epochs[0].figures["examples"] == 37
    best = fitted.history.best
    assert best is not None
    held = points(37, seed=1).arrays
    logits = np.asarray(fitted.model(held["values"]))
    expected = np.mean(np.logaddexp(0, logits) - held["labels"] * logits)
    assert best.validation_loss == pytest.approx(float(expected), abs=1e-5)


def test_the_mean_loss_of_an_epoch_is_of_its_own_steps() -> None:
    heard = Recorder()
    fit(Line(), job(), observer=heard)
    for epoch in heard.epochs:
        steps = [heard.steps[step] for step in range(epoch.step - 3, epoch.step + 1)]
        assert epoch.train_loss == pytest.approx(float(np.mean(steps)), abs=1e-6)


def test_the_network_that_is_given_does_not_change() -> None:
    model = Line()
    before = np.asarray(model.layer.kernel[...]).copy()
    fit(model, job())
    np.testing.assert_array_equal(model.layer.kernel[...], before)


def test_it_stops_when_validation_no_longer_improves_and_keeps_the_best() -> None:
    train = points()
    turned = Columns({**train.arrays, "labels": 1 - train.arrays["labels"]})
    config = replace(CONFIG, epochs=30, patience=2, learning_rate=0.1, warmup_epochs=0.0)
    fitted = fit(Line(), job(config, train=turned))
    history = fitted.history
    assert history.best is not None
    assert len(history.epochs) == history.best.number + 2 < 30
    assert history.best.validation_loss < history.epochs[-1].validation_loss
    held = points(37, seed=1).arrays
    logits = np.asarray(fitted.model(held["values"]))
    kept = np.mean(np.logaddexp(0, logits) - held["labels"] * logits)
    assert history.best.validation_loss == pytest.approx(float(kept), abs=1e-5)


def test_a_loss_that_is_no_number_stops_the_run_soon() -> None:
    train = points(160)
    train.arrays["labels"][7] = np.nan
    heard = Recorder()
    with pytest.raises(NonFiniteLossError, match=r"epoch 1\): lower the learning rate"):
        fit(Line(), job(replace(CONFIG, epochs=50), train=train), observer=heard)
    assert all(math.isfinite(loss) for loss in heard.steps.values())
    assert not heard.epochs


def test_a_batch_must_be_filled() -> None:
    with pytest.raises(FitError, match="70 training images do not fill a batch of 71"):
        fit(Line(), job(replace(CONFIG, batch=71)))


def test_there_must_be_something_to_validate_on() -> None:
    nothing = Columns({name: values[:0] for name, values in points().arrays.items()})
    with pytest.raises(FitError, match="no validation images"):
        fit(Line(), replace(job(), validation=nothing))


def test_bfloat16_computes_near_float32_and_keeps_its_parameters() -> None:
    exact, rounded = (
        fit(Line(), job(replace(CONFIG, precision=kind))) for kind in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert weights(rounded).dtype == np.float32
    difference = np.abs(weights(exact) - weights(rounded)).max()
    assert 0 < difference < 0.02
    assert compute_type(Precision.AUTO) == (jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)


class OfPositives(LineTask):
    def losses(self, outputs: jax.Array, inputs: Batch) -> Losses:
        return Losses(LineTask().losses(outputs, inputs).values, inputs["labels"])


def test_examples_count_as_much_as_their_task_says() -> None:
    fitted = fit(Line(), replace(job(replace(CONFIG, epochs=1)), task=OfPositives()))
    held = points(37, seed=1).arrays
    logits = np.asarray(fitted.model(held["values"]))[held["labels"] > 0.5]
    assert fitted.history.epochs[0].validation_loss == pytest.approx(float(np.logaddexp(0, -logits).mean()), abs=1e-5)


def test_gradients_are_clipped() -> None:
    # Adam divides by the size of gradients, so that only a change of their proportions over time shows.
    train = points()
    train.arrays["values"][:8] *= 1000
    free, clipped = (fit(Line(), job(replace(CONFIG, clip_norm=norm), train=train)) for norm in (1e9, 1e-2))
    assert np.abs(weights(free) - weights(clipped)).max() > 1e-4


def test_each_step_draws_anew() -> None:
    # Examples that are all the same and a rate of nearly nothing: only what is drawn tells steps apart.
    one = {name: np.repeat(values[:1], 64, axis=0) for name, values in points().arrays.items()}
    heard = Recorder()
    fit(Line(), job(replace(CONFIG, epochs=2, learning_rate=1e-12), train=Columns(one)), observer=heard)
    assert len(set(heard.steps.values())) == 8


def test_what_is_kept_is_an_average_over_steps() -> None:
    slow = weights(fit(Line(), job(replace(CONFIG, ema=1 - 1e-6))))
    np.testing.assert_allclose(slow, weights(Fitted(Line(), History())), atol=1e-4)
    assert np.abs(weights(fit(Line(), job(replace(CONFIG, ema=0.0)))) - slow).max() > 0.1


def test_weight_decay_is_on_kernels_alone() -> None:
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimiser = make_optimiser(replace(CONFIG, weight_decay=0.1), lambda step: 1.0)
    updates, _ = optimiser.update(jax.tree.map(jnp.zeros_like, params), optimiser.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1, atol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0.0)


def test_the_schedule_rises_and_falls() -> None:
    schedule = make_schedule(replace(CONFIG, epochs=10, warmup_epochs=1.0), 20)
    rates = [float(schedule(step)) for step in range(200)]
    assert np.argmax(rates) == 20
    assert max(rates) == pytest.approx(CONFIG.learning_rate)
    assert rates[-1] < 0.001 * CONFIG.learning_rate


def test_an_epoch_is_a_permutation_of_its_own() -> None:
    first, second = shuffled(70, 16, 0, 1), shuffled(70, 16, 0, 2)
    assert first.shape == (4, 16)
    assert len(np.unique(first)) == 64
    assert (first != second).any()
    np.testing.assert_array_equal(first, shuffled(70, 16, 0, 1))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 37])
def test_a_plan_in_order_has_every_row_once(count: int) -> None:
    rows = np.concatenate(list(in_order(count, 16)))
    assert len(rows) % 16 == 0
    np.testing.assert_array_equal(rows[rows >= 0], np.arange(count))


def test_rows_are_read_from_files_when_they_are_needed(tmp_path: Path) -> None:
    values = np.arange(40, dtype=np.uint8).reshape(20, 2)
    np.save(tmp_path / "values.npy", values)
    columns = Columns({"values": np.load(tmp_path / "values.npy", mmap_mode="r")})
    assert columns.sha256() == Columns({"values": values}).sha256()
    batches = list(feed(columns, in_order(20, 8), Layout.over()))
    read = np.concatenate([np.asarray(batch["values"]) for batch in batches])
    real = np.concatenate([np.asarray(batch["real"]) for batch in batches])
    np.testing.assert_array_equal(read[real > 0], values)
    assert real.sum() == 20


def test_a_failure_to_read_reaches_the_loop() -> None:
    with pytest.raises(IndexError):
        list(feed(points(), iter([np.array([0, 70])]), Layout.over()))


def test_a_set_is_known_by_its_values_names_and_types() -> None:
    values = np.zeros((3, 2), np.uint8)
    known = Columns({"values": values}).sha256()
    assert Columns({"values": values.copy()}).sha256() == known
    for other in ({"value": values}, {"values": values.astype(np.int8)}, {"values": values + np.uint8(1)}):
        assert Columns(other).sha256() != known


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(2), "b": np.zeros(3)}, {"real": np.zeros(2)}])
def test_columns_have_one_length_and_names_of_their_own(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="one length"):
        Columns(arrays)


_TRACED: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingTask(LineTask):
    """Says when it is traced, which it is when it is compiled."""

    def forward(self, model: Line, inputs: Batch) -> jax.Array:
        _TRACED.append("forward")
        return LineTask.forward(self, model, inputs)


def test_a_fit_that_differs_in_its_data_alone_is_not_compiled_again() -> None:
    first, other = points(), points(seed=5)
    alone = fit(Line(), replace(job(train=other), task=TellingTask()))
    fit(Line(), replace(job(train=first), task=TellingTask()))
    traced = len(_TRACED)
    again = fit(Line(), replace(job(train=other), task=TellingTask()))
    assert len(_TRACED) == traced > 0
    np.testing.assert_array_equal(weights(again), weights(alone))
    fit(Line(), replace(job(), task=TellingTask(noise=0.1)))
    assert len(_TRACED) > traced
