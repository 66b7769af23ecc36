"""What hospitals need, by the formula and by a simulation that knows nothing of it."""

import json
import math
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import capacity
import formula
from formula import CR, Demand, Stage, need
from queues import Instances, arrivals, caught_up_after, pass_through, percentile, waits

demands = st.builds(
    Demand,
    hospitals=st.integers(1, 3000),
    images_per_day=st.floats(1, 5000),
    peak_hour_share=st.floats(0.05, 1),
    utilisation=st.floats(0.1, 0.9),
    outage_hours=st.floats(0, 24),
    drain_hours=st.floats(0.5, 24),
)


@given(demands)
def test_the_others_hold_the_peak_when_one_is_gone_and_drain_in_time(demand):
    found = need(demand, CR)
    for name, stage in found.stages.items():
        others = stage.instances - 1
        assert demand.per_second * CR.stages[name].seconds / others <= demand.utilisation + 1e-6
        assert stage.drain_hours <= demand.drain_hours + 1e-6


@given(demands)
def test_no_instance_is_without_a_partition(demand):
    found = need(demand, CR)
    stages = [stage.instances for name, stage in found.stages.items() if name != "adapter"]
    assert found.partitions >= max(stages) * demand.partitions_per_instance


@given(demands)
def test_twice_the_hospitals_never_need_less_and_keep_twice_the_bytes(demand):
    once, twice = need(demand, CR), need(replace(demand, hospitals=2 * demand.hospitals), CR)
    assert all(twice.stages[name].instances >= stage.instances for name, stage in once.stages.items())
    assert twice.brokers >= once.brokers
    assert twice.log_disk_bytes == pytest.approx(2 * once.log_disk_bytes)


def test_a_case_by_hand():
    """100 a second of 7 ms on one core at 0.7: one instance does 100 a second, so 2 at half load, and a spare."""
    demand = Demand(images_per_day=3_600_000, peak_hour_share=0.1, utilisation=0.5, outage_hours=1, drain_hours=4)
    assert demand.per_second == pytest.approx(100)
    stage = Stage(cpu_seconds=0.007, efficiency=0.7)
    assert formula.instances(demand, stage) == 3
    fares = formula.stage_need(demand, stage, 3, 12)
    assert (fares.busy, fares.busy_without_one) == (pytest.approx(1 / 3), pytest.approx(0.5))
    assert fares.waits_seconds == pytest.approx(0.005)
    assert fares.lag == pytest.approx(1.5)
    assert fares.drain_hours == pytest.approx(0.5)


def test_partitions_that_do_not_share_evenly_make_one_instance_busier():
    demand, stage = Demand(images_per_day=3_600_000, peak_hour_share=0.1), Stage(cpu_seconds=0.007, efficiency=0.7)
    assert formula.busiest(demand.per_second, stage, 4, 6) == pytest.approx(100 * 0.01 * 2 / 6)


def test_an_accelerator_takes_the_place_of_inference_alone():
    cpu, accelerated = (
        need(Demand(hospitals=1000), CR),
        need(Demand(hospitals=1000), replace(CR, accelerator_per_second=1e6)),
    )
    assert accelerated.accelerators == accelerated.stages["inference"].instances == 2
    assert cpu.accelerators == 0
    assert accelerated.stages["preprocess"].instances == cpu.stages["preprocess"].instances


@pytest.mark.parametrize(
    "wrong", [{"hospitals": 0}, {"utilisation": 1.0}, {"peak_hour_share": 1.5}, {"replicas": 0}, {"drain_hours": 0}]
)
def test_a_demand_that_makes_no_sense(wrong):
    with pytest.raises(ValueError):
        need(Demand(**wrong), CR)


def test_the_page_has_what_the_command_prints(capsys):
    assert capacity.main([]) == 0
    assert capsys.readouterr().out in (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()


def test_the_command(capsys):
    assert capacity.main(["--hospitals", "1", "10"]) == 0
    assert "| brokers |" in capsys.readouterr().out
    assert capacity.main(["--hospitals", "10", "--by-reference", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["10"]["object_bytes"] > 0
    with pytest.raises(SystemExit):
        capacity.main(["--utilisation", "2"])
    assert "between 0 and 1" in capsys.readouterr().err


@pytest.mark.parametrize("variation", [0.0, 1.0])
def test_the_simulation_waits_as_the_formula_says(variation):
    draw, stage = random.Random(1), Stage(cpu_seconds=0.07, variation=variation)
    images = arrivals(24.0, 60_000, 12, draw)
    took = waits(images, [Instances(count=4, seconds=stage.seconds, variation=variation)], draw)
    busy = formula.busiest(24.0, stage, 4, 12)
    assert sum(took) / len(took) == pytest.approx(formula.mean_wait(busy, stage) + stage.seconds, rel=0.1)


def test_batches_lose_nobody_and_keep_the_order_of_a_partition():
    draw = random.Random(2)
    images = arrivals(50.0, 5_000, 6, draw)
    came = pass_through(images, Instances(count=3, seconds=0.03, batch=8, commit_seconds=0.01), draw)
    assert sorted(image.number for image in came) == list(range(5_000))
    for partition in range(6):
        numbers = [image.number for image in came if image.partition == partition]
        assert numbers == sorted(numbers)


def test_what_a_lost_instance_had_is_done_by_the_others_later():
    draw = random.Random(3)
    images = arrivals(50.0, 5_000, 12, draw)
    whole = Instances(count=3, seconds=0.02, variation=0)
    took = waits(images, [replace(whole, lost_at=30.0)], draw)
    hit = [
        seconds
        for image, seconds in zip(images, took, strict=True)
        if image.partition % 3 == 2 and 30 < image.came < 36
    ]
    assert max(hit) > 5.9
    assert percentile(took[-500:], 0.99) < 1.0, "the others keep up"
    with pytest.raises(ValueError, match="only instance"):
        pass_through(images, Instances(count=1, seconds=0.02, lost_at=1.0), draw)


def test_an_outage_drains_as_the_formula_says():
    draw = random.Random(4)
    images = arrivals(20.0, 30_000, 60, draw)
    took = waits(images, [Instances(count=4, seconds=0.1, closed_until=300.0)], draw)
    expected = formula.drain_seconds(20.0, 300.0, 40.0)
    assert expected == 300
    assert caught_up_after(images, took, 300.0, 0.5) == pytest.approx(expected, rel=0.25)


def test_no_capacity_never_drains():
    assert formula.drain_seconds(20, 1, 20) == math.inf
    assert formula.mean_wait(1.0, Stage(cpu_seconds=1)) == math.inf
    assert formula.lag_growth(12, 10) == 2
    assert formula.lag_growth(9, 10) == 0
