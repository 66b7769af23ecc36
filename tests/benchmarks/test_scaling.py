"""What is made of moments and of a calibration, and that the simulated hospitals fare as the formula has it."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import hospitals
from formula import CR, Demand, lag_growth
from scaling import Calibration, growth, lag_over_time

KNOWN = Calibration(
    limit=50.0,
    idle=0.1,
    cpu_seconds={"preprocess-0": 0.002, "inference-0": 0.02, "sink-0": 0.001, "kafka": 0.002, "publisher": 0.005},
    alone=0.05,
    busy_seconds={"preprocess-0": 0.002, "inference-0": 0.015, "sink-0": 0.001, "kafka": 0.002},
)


def test_lag_is_what_had_come_and_had_no_row():
    lags = lag_over_time([0.0, 0.1, 0.2, 1.0], [0.3, 0.9, 1.1, 5.0], every=0.5)
    assert lags == [(0.0, 1), (0.5, 2), (1.0, 2)]


def test_growth_is_the_slope():
    assert growth([(10.0, 5), (11.0, 8), (12.0, 11)]) == pytest.approx(3)


def test_a_site_beyond_its_limit_falls_behind_by_the_difference():
    draw, came, stored, moment, free = random.Random(1), [], [], 0.0, 0.0
    for _ in range(3000):
        moment += draw.expovariate(60.0)
        free = max(free, moment) + 1 / 50
        came.append(moment)
        stored.append(free)
    lags = lag_over_time(came, stored)
    assert growth(lags[len(lags) // 2 :]) == pytest.approx(lag_growth(60, 50), rel=0.15)


def test_who_publishes_takes_from_the_limit():
    assert KNOWN.capacity == pytest.approx(50 * 0.02 / 0.025)


def test_cores_rise_with_the_rate_up_to_the_limit():
    assert KNOWN.cores(0) == KNOWN.idle
    assert KNOWN.cores(20) == pytest.approx(0.1 + 20 * (0.03 + 0.025) / 2), "batches are half full"
    assert KNOWN.cores(1000) == KNOWN.cores(KNOWN.capacity)


def test_the_simulated_site_has_the_limit_and_the_latency_that_were_calibrated():
    assert max(stage.seconds for stage in KNOWN.stages()) == pytest.approx(1 / KNOWN.capacity)
    lonely = KNOWN.simulated(0.01, 200)
    assert sum(lonely) / len(lonely) == pytest.approx(KNOWN.alone, rel=0.05)
    assert sum(KNOWN.simulated(36.0, 4000)) > 4000 * 2 * KNOWN.alone


def test_as_many_instances_as_the_formula_gives_hold_the_busiest_hour():
    demand = Demand(hospitals=20_000, outage_hours=0.005, drain_hours=0.01)
    found = hospitals.simulate(demand, CR, 8_000)
    assert found.p99 < 1
    assert found.p99_without_one < 2
    assert 5 < found.worst_without_one < 10, "the group notices after 6 s"
    assert found.caught_up == pytest.approx(found.caught_up_predicted, rel=0.5)


def test_the_command(capsys):
    assert hospitals.main(["--hospitals", "1", "--images", "200"]) == 0
    assert "| p99 in the busiest hour |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        hospitals.main(["--images", "1"])
