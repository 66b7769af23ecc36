"""What a process has counted since it began, from its /metrics."""

from collections import Counter
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

NAMES = {
    "radiolog_consumed_total": "consumed",
    "radiolog_published_total": "published",
    "radiolog_rejected_total": "rejected",
    "radiolog_repeated_total": "repeated",
    "radiolog_publish_failed_total": "failed",
}


@dataclass(frozen=True, slots=True)
class Counters:
    """Sums over all labels: records consumed, events published, records rejected, batches repeated, calls failed."""

    consumed: int = 0
    published: int = 0
    rejected: int = 0
    repeated: int = 0
    failed: int = 0

    @classmethod
    def of(cls, exposition: str) -> "Counters":
        """What the text says; what is not in it is 0.

        Raises:
            ValueError: it is not Prometheus's text format.
        """
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name in NAMES:
                    sums[NAMES[sample.name]] += int(sample.value)
        return cls(**sums)

    @property
    def records(self) -> int:
        """What it has done: a stage consumes, an adapter publishes."""
        return self.consumed + self.published
