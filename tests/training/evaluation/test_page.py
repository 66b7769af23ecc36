"""The page: one file, nothing from elsewhere, every picture and plot in words, no data that it must not hold."""

import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from training.evaluation.findings import Plan
from training.evaluation.run import evaluate, write
from training.evaluation.source import Problem

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Checks that every element is closed in turn, and gathers what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def parsed(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def report(play, tmp_path):
    """The page of some lines, with problems."""

    def make(lines, problems=()):
        predictor, source = play(lines)
        source.items = [*source.items, *problems]
        evaluation = evaluate(predictor, source, Plan("accuracy", resamples=20), Console(file=io.StringIO()))
        write(evaluation, source, tmp_path / "out")
        return (tmp_path / "out" / "report.html").read_text()

    return make


LINES = [
    {"label": "normal", "says": (0.9, 0.1, 0.1), "attributes": {"device": "<b>ACME</b>"}},
    {"label": "normal", "says": (0.1, 0.1, 0.1), "modality": "MR"},
    {"label": "viral pneumonia", "says": (0.8, 0.1, 0.9), "patient": "Jane^Doe"},
    {"label": "bacterial pneumonia", "says": (0.2, 0.9, 0.1)},
]


def test_it_is_whole_and_needs_nothing_else(report) -> None:
    text = report(LINES)
    page = parsed(text)
    assert not page.all("script")
    assert not page.all("link")
    assert not re.search(r"https?://|@import|url\(", text)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))


def test_every_picture_and_plot_is_said_in_words(report) -> None:
    page = parsed(report(LINES))
    assert len(page.all("img")) >= 2
    assert all(image["alt"] for image in page.all("img"))
    plots = [plot for plot in page.all("svg") if plot.get("aria-hidden") != "true"]
    assert len(plots) > 15
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    assert page.all("html")[0]["lang"] == "en"
    anchors = {link["href"] for link in page.all("a")}
    assert anchors <= {f"#{section['id']}" for section in page.all("section") if "id" in section}


def test_every_plot_is_drawn_within_its_frame(report) -> None:
    text = report(LINES)
    plots = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(plots) > 15
    for plot in plots:
        _, _, width, height = map(float, plot.get("viewBox").split())
        for element in plot.iter():
            for axis, most in (("x", width), ("cx", width), ("x1", width), ("y", height), ("cy", height)):
                if element.tag != "rect" and (value := element.get(axis)) and "translate" not in str(plot.attrib):
                    assert -4 <= float(value) <= most
        lines = [line.get("points") for line in plot.iter("polyline")]
        assert all(0 <= float(value) <= 340 for line in lines for value in re.split("[ ,]", line))


def test_what_comes_from_a_header_is_text(report) -> None:
    text = report(LINES)
    assert "&lt;b&gt;ACME&lt;/b&gt;" in text
    assert "<b>ACME" not in text


def test_a_patient_is_not_named(report, tmp_path) -> None:
    report(LINES)
    for path in (tmp_path / "out").iterdir():
        assert "Jane^Doe" not in path.read_text()


def test_what_was_refused_and_what_is_unreadable_is_there(report) -> None:
    text = report(LINES, [Problem(name="file-5", label="normal", kind="cut short", reason="10 bytes")])
    assert "modality MR is not one that lungs@7 reads" in text
    assert "cut short" in text
    assert "Said to be <b>present</b>; the class is <b>normal</b>" in text


@pytest.mark.parametrize(
    "lines",
    [
        [{"label": "normal", "says": (0.9, 0.1, 0.1)}],
        [{"label": "pneumonia", "says": (1.0, 1.0, 1.0)}],
        [{"label": "normal", "says": (0.0, 0.0, 0.0), "modality": "CT"}],
        [{"label": "normal", "says": (0.5, 0.5, 0.5)}, {"label": "pneumonia", "says": (0.5, 0.5, 0.5)}],
    ],
    ids=["one negative", "one positive", "one refused", "all alike"],
)
def test_the_smallest_evaluations_have_a_page_too(report, lines) -> None:
    parsed(report(lines))


def test_no_readable_image_has_a_page_too(report) -> None:
    page = report([], [Problem(name="file-1", label="normal", kind="cut short", reason="10 bytes")])
    assert "The truth of this finding is not known for any image." in page


def test_a_model_without_error_is_drawn_too(report) -> None:
    lines = [
        {"label": label, "says": says} for label, says in (("normal", (0.1,) * 3), ("viral pneumonia", (0.9, 0.1, 0.9)))
    ]
    text = report(lines * 40)
    assert "None: whatever was decided was right" in text
    parsed(text)
