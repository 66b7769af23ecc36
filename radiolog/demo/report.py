"""What the demo shows: the live table, the result, the count of what was sent, and how long each step took."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from rich.table import Table

from models.decision import in_words
from radiolog.demo.run import Way
from sinks.queries import DiagnosisRow, FindingRow

STEPS = {
    "publish (received to log)": ("received_at", "published_at"),
    "preprocess": ("published_at", "preprocessed_at"),
    "inference": ("preprocessed_at", "diagnosed_at"),
    "sink (diagnosis to row)": ("diagnosed_at", "stored_at"),
    "end to end (received to row)": ("received_at", "stored_at"),
}
COLOURS = {
    "DIAGNOSED": "green",
    "OUT_OF_SCOPE": "yellow",
    "NOT_AN_IMAGE": "yellow",
    "dead letter": "red",
    "refused": "red",
    "waiting": "dim",
}


def live_table(ways: Sequence[Way]) -> Table:
    """Each sample and where it has got to."""
    table = Table("file", "what it is", "device was told", "has reached", header_style="bold")
    for way in ways:
        told = way.sent.status.name.lower().replace("_", " ") if way.sent and way.sent.status is not None else "–"
        colour = COLOURS.get(way.stage, "cyan")
        table.add_row(way.sample.path.name, way.sample.what, told, f"[{colour}]{way.stage}[/{colour}]")
    return table


def result_table(ways: Sequence[Way]) -> Table:
    """What PostgreSQL holds of each sample, or why it holds nothing."""
    table = Table(header_style="bold")
    table.add_column("file", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("answer")
    for way in ways:
        table.add_row(way.sample.path.name, _status(way), _answer(way))
    return table


def latency_table(ways: Sequence[Way]) -> Table:
    """Milliseconds of each step over the diagnosed, out-of-scope and pixel-less images of this run."""
    table = Table("step", "p50 [ms]", "p95 [ms]", header_style="bold")
    for step, figures in latencies(ways).items():
        table.add_row(step, f"{figures['p50_ms']:.0f}", f"{figures['p95_ms']:.0f}")
    return table


def latencies(ways: Sequence[Way]) -> dict[str, dict[str, float]]:
    """The median and the 95th percentile of each step, in milliseconds; empty without rows."""
    rows = [way.diagnosis for way in ways if way.diagnosis is not None]
    return {step: percentiles(rows, *ends) for step, ends in STEPS.items() if rows}


def counts(ways: Sequence[Way]) -> Counter[str]:
    """How many were sent, and how many of these ended as rows, as dead letters, refused, or nowhere."""
    found: Counter[str] = Counter(sent=len(ways))
    for way in ways:
        found[_end(way)] += 1
    return found


def balanced(found: Counter[str]) -> bool:
    """Whether sent = rows + dead letters + refused."""
    return found["sent"] == found["rows"] + found["dead letters"] + found["refused"]


def to_json(ways: Sequence[Way]) -> dict[str, Any]:
    """The whole report as JSON values."""
    return {"images": [_image(way) for way in ways], "counts": counts(ways), "latencies": latencies(ways)}


def _end(way: Way) -> str:
    if way.diagnosis is not None:
        return "rows"
    if way.dead_letter is not None:
        return "dead letters"
    return "refused" if way.refused else "lost"


def _status(way: Way) -> str:
    if way.diagnosis is not None:
        return way.diagnosis.status
    return "dead letter" if way.dead_letter is not None else "refused"


def _answer(way: Way) -> str:
    row = way.diagnosis
    if row is None or not row.findings:
        return _reason(way) or "–"
    return "\n".join(in_words(one.name, one.decision, one.probability, one.severity) for one in row.findings)


def _reason(way: Way) -> str | None:
    """Why there is no finding."""
    if way.diagnosis is not None:
        return way.diagnosis.reason
    if way.dead_letter is not None:
        return f"{way.dead_letter.stage}: {way.dead_letter.reason}"
    return way.sent.comment if way.sent else None


def _image(way: Way) -> dict[str, Any]:
    row = way.diagnosis
    return {
        "file": way.sample.path.name,
        "what": way.sample.what,
        "image_event_id": way.image_event_id,
        "status": _status(way),
        "reason": _reason(way),
        "findings": [_finding(one) for one in row.findings] if row else [],
        "scope_distance": row.scope_distance if row else None,
        "scope_threshold": row.scope_threshold if row else None,
        "picture": way.picture,
    }


def _finding(row: FindingRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "probability": row.probability,
        "decision": row.decision,
        "severity": row.severity,
        "area_share": row.area_share,
    }


def percentiles(rows: Sequence[DiagnosisRow], start: str, end: str) -> dict[str, float]:
    """The median and the 95th percentile, in milliseconds, of the time between two moments of each row."""
    spans: list[timedelta] = [_moment(row, end) - _moment(row, start) for row in rows]
    milliseconds = [span.total_seconds() * 1000 for span in spans]
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}


def _moment(row: DiagnosisRow, name: str) -> datetime:
    moment: datetime = getattr(row, name)
    return moment
