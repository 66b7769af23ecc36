"""Who runs on a state folder, and who only seems to."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import psutil
import pytest

from radiolog.instances import FOLDER, Instance, announced, instances


@pytest.fixture
def announce(tmp_path):
    return lambda service="preprocess", ordinal=0: announced(tmp_path, service, ordinal, "http://127.0.0.1:1")


def leave(tmp_path, instance: Instance) -> None:
    (tmp_path / FOLDER / f"{instance.name}.json").write_text(json.dumps(asdict(instance)))


def names(tmp_path) -> list[str]:
    return [instance.name for instance in instances(tmp_path)]


def test_nobody(tmp_path):
    assert instances(tmp_path) == []
    assert instances(tmp_path / "nowhere") == []


def test_an_instance_is_seen_while_it_lasts(tmp_path, announce):
    with announce() as me:
        (file,) = (tmp_path / FOLDER).iterdir()
        assert instances(tmp_path) == [me]
        assert (me.pid, me.process_started) == (os.getpid(), psutil.Process().create_time())
        assert file.name == "preprocess-0.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == []
    assert not list((tmp_path / FOLDER).iterdir())


def test_two_ordinals_and_two_services(tmp_path, announce):
    with announce(ordinal=0), announce(ordinal=1), announce("sink"):
        assert names(tmp_path) == ["preprocess-0", "preprocess-1", "sink-0"]
    assert names(tmp_path) == []


def test_without_an_ordinal_the_lowest_free_one_is_taken(tmp_path, announce):
    with announce("folder", None) as first:
        with announce("folder", None), announce("folder", None):
            assert names(tmp_path) == ["folder-0", "folder-1", "folder-2"]
        with announce("folder", None) as next_one:
            assert (first.ordinal, next_one.ordinal) == (0, 1)


def test_a_dead_process_is_tidied(tmp_path, announce):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process, announce() as me:
        started = psutil.Process(process.pid).create_time()
        leave(tmp_path, replace(me, ordinal=1, pid=process.pid, process_started=started))
        assert names(tmp_path) == ["preprocess-0", "preprocess-1"]
        process.kill()
        process.wait()
        assert names(tmp_path) == ["preprocess-0"]
        assert [file.name for file in (tmp_path / FOLDER).iterdir()] == ["preprocess-0.json"]


def test_a_process_that_was_given_the_id_later_is_another(tmp_path, announce):
    with announce() as me:
        leave(tmp_path, replace(me, ordinal=1, process_started=me.process_started - 60))
        assert names(tmp_path) == ["preprocess-0"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"service": "x"}', "null"])
def test_a_broken_file_is_tidied(tmp_path, announce, text):
    with announce():
        (tmp_path / FOLDER / "sink-0.json").write_text(text)
        assert names(tmp_path) == ["preprocess-0"]


def test_who_was_replaced_leaves_the_successor_alone(tmp_path, announce):
    with announce() as me:
        successor = replace(me, probe="http://127.0.0.1:2")
        leave(tmp_path, successor)
    assert instances(tmp_path) == [successor]
