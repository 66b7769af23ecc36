"""The manifests name what the code has: commands, settings, ports, groups, topics, and the figures of the formula.

Nothing here runs them: that takes a cluster.
"""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from radiolog.log.clients import member_config, transactional_config
from radiolog.log.membership import Seat
from radiolog.services import COMMANDS
from radiolog.settings import Settings
from schemas.topics import IMAGES, PREPROCESSED

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from formula import CR, Demand, lag_threshold, need  # noqa: E402

DOCUMENTS: list[dict[str, Any]] = [
    document
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]
READS = {"preprocess": IMAGES, "inference": PREPROCESSED}
DRAIN_SECONDS = 60


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in DOCUMENTS if one["kind"] == kind}


SETS, SCALED = of_kind("StatefulSet"), of_kind("ScaledObject")
VALUES = of_kind("ConfigMap")["radiolog"]["data"]


def container(stage: str) -> dict[str, Any]:
    (found,) = SETS[stage]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def from_secret(stage: str) -> set[str]:
    return {one["name"] for one in container(stage)["env"]}


def settings(stage: str, tmp_path: Path) -> Settings:
    """As a pod of the stage has them; secrets are of the kind that they are to be."""
    values = VALUES | dict.fromkeys(from_secret(stage) - {"RADIOLOG_ORDINAL"}, "0123456789abcdef" * 2)
    return Settings(
        _env_file=None,
        state_dir=tmp_path,
        **{name.removeprefix("RADIOLOG_").lower(): value for name, value in values.items()},
    )


def test_every_stage_is_there():
    assert set(SETS) == set(of_kind("PodDisruptionBudget")) == {"preprocess", "inference", "sink"}
    assert set(SCALED) == set(READS)


@pytest.mark.parametrize("stage", SETS)
def test_it_runs_the_command_of_the_stage(stage):
    assert tuple(container(stage)["args"]) == tuple(COMMANDS[stage])


@pytest.mark.parametrize("stage", SETS)
def test_its_settings_exist_and_are_valid(stage, tmp_path):
    known = {f"RADIOLOG_{name}".upper() for name in Settings.model_fields} | {"RADIOLOG_ORDINAL"}
    assert set(VALUES) | from_secret(stage) <= known
    settings(stage, tmp_path)


@pytest.mark.parametrize("stage", SETS)
def test_its_ordinal_is_the_number_of_its_pod(stage):
    (ordinal,) = [one for one in container(stage)["env"] if one["name"] == "RADIOLOG_ORDINAL"]
    assert ordinal["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"


@pytest.mark.parametrize("stage", SETS)
def test_its_probes_ask_where_it_answers(stage):
    (port,) = container(stage)["ports"]
    assert str(port["containerPort"]) == VALUES["RADIOLOG_PROBE_PORT"]
    assert container(stage)["readinessProbe"]["exec"]["command"] == ["radiolog", "probe", "ready"]
    for kind in ("livenessProbe", "startupProbe"):
        assert container(stage)[kind]["exec"]["command"] == ["radiolog", "probe", "live"]


@pytest.mark.parametrize("stage", SETS)
def test_it_has_longer_to_end_than_a_transaction(stage, tmp_path):
    longest = transactional_config(settings(stage, tmp_path), "any")["transaction.timeout.ms"] / 1000
    assert SETS[stage]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > longest


@pytest.mark.parametrize("kind", ["StatefulSet", "PodDisruptionBudget"])
def test_selectors_find_the_pods_of_their_stage(kind):
    for stage, document in of_kind(kind).items():
        labels = SETS[stage]["spec"]["template"]["metadata"]["labels"]
        assert document["spec"]["selector"]["matchLabels"] == labels


@pytest.mark.parametrize("stage", SCALED)
def test_the_autoscaler_looks_at_the_group_and_topic_of_the_stage(stage, tmp_path):
    values = settings(stage, tmp_path)
    (trigger,) = SCALED[stage]["spec"]["triggers"]
    topic = READS[stage].full_name(values.topic_prefix)
    assert trigger["type"] == "kafka"
    assert trigger["metadata"]["consumerGroup"] == Seat.of(stage, 0, values.app).group
    assert trigger["metadata"]["topic"] == topic
    assert trigger["metadata"]["bootstrapServers"] == values.bootstrap_servers
    assert SCALED[stage]["spec"]["scaleTargetRef"]["name"] == stage
    assert "replicas" not in SETS[stage]["spec"], "applying it again would undo what the autoscaler did"


@pytest.mark.parametrize("stage", SCALED)
def test_the_autoscaler_counts_as_the_formula_does(stage, tmp_path):
    spec, found = SCALED[stage]["spec"], need(Demand(hospitals=1000), CR)
    assert spec["triggers"][0]["metadata"]["lagThreshold"] == str(lag_threshold(CR.stages[stage], DRAIN_SECONDS))
    assert spec["minReplicaCount"] == found.stages[stage].instances
    assert spec["maxReplicaCount"] == settings(stage, tmp_path).partitions == found.partitions


def test_what_is_said_of_a_member_that_leaves(tmp_path):
    text = (ROOT / "deploy" / "kubernetes" / "autoscaling.yaml").read_text()
    seconds = member_config(settings("sink", tmp_path), "group", "instance")["session.timeout.ms"] // 1000
    assert set(re.findall(r"wait (\d+) s for a member", text)) == {str(seconds)}
