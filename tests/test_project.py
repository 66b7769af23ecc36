"""The checkout itself: what is tested is what is here, and what is pinned is pinned."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["models", "producers", "radiolog", "schemas", "sinks", "stream_processors", "training"]
LOCKS = ["requirements.lock", "requirements-dev.lock"]


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_come_from_this_checkout(name):
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / name


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes_and_no_lock_names_a_host(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|index-url|find-links", text)
    pins = re.split(r"\n(?=[a-z0-9])", text.strip(), flags=re.IGNORECASE)
    assert len(pins) > 50
    for pin in pins:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ]+", pin), pin[:60]
        assert "--hash=sha256:" in pin, pin[:60]


def test_the_image_installs_what_the_tests_ran_with():
    """Each pin of the runtime lock stands in the development lock too."""
    runtime, everything = (re.findall(r"^(\S+==\S+)", (ROOT / name).read_text(), re.MULTILINE) for name in LOCKS)
    assert set(runtime) <= set(everything)


def test_no_gpl_decoder_is_pinned():
    assert "pylibjpeg-libjpeg" not in (ROOT / "requirements-dev.lock").read_text()


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md", "docs/figures.md", "docs/peers.md"])
def test_every_link_leads_somewhere(name):
    path = ROOT / name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target
