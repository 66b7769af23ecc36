"""Each expected failure has its line, and none of the names in that table is out of date."""

import importlib

import pytest

from radiolog.cli.errors import ADVICE, explain


@pytest.mark.parametrize("name", ADVICE)
def test_every_named_class_exists(name):
    module, _, cls = name.rpartition(".")
    assert issubclass(getattr(importlib.import_module(module), cls), Exception)


def test_a_subclass_is_explained_by_its_nearest_parent():
    from radiolog.log.errors import DeliveryUnknown, LogRefused

    assert "radiolog stack up" in explain(DeliveryUnknown("no answer"))
    assert "radiolog topics apply" in explain(LogRefused("unknown topic"))


def test_what_nobody_expected_is_not_explained():
    assert explain(ZeroDivisionError()) is None
