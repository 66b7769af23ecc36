"""The model card: what a person should know before trusting a bundle.

Its sections are those of Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Every number comes from the
bundle or from an evaluation, so that a card cannot drift from its model. The words are in `training/report`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from models.bundle import Bundle
from training.metrics import FIGURES
from training.templates import MARKDOWN

_TEMPLATE: Final = "card.md.j2"
_UNSAID: Final = "The bundle does not say."


class Words(Protocol):
    """What figures cannot say; a training configuration has it."""

    @property
    def data(self) -> str:
        """What the training data are, and under which licence."""

    @property
    def limits(self) -> str:
        """What the model must not be trusted with."""


@dataclass(frozen=True, slots=True)
class LineageWords:
    """The words that a bundle carries in its lineage, as `data` and `limits`."""

    data: str
    limits: str

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Those of a bundle; where it has none, that is said."""
        return cls(*(str(bundle.lineage.get(key) or _UNSAID) for key in ("data", "limits")))


def write_card(bundle: Bundle, words: Words | None = None, evaluation: Mapping[str, Any] | None = None) -> str:
    """Write the card of a bundle in Markdown.

    Args:
        bundle: the model.
        words: about its data and limits; those in its lineage if None.
        evaluation: the summary of an evaluation (`training.evaluation.summary`); without one, the card has the figures
            that the bundle brings.
    """
    said = words or LineageWords.of(bundle)
    groups = list(_subgroups(evaluation)) if evaluation else []
    return MARKDOWN.get_template(_TEMPLATE).render(
        bundle=bundle,
        parameters=sum(array.size for array in bundle.weights.values()),
        data=said.data.rstrip("."),
        limits=said.limits,
        evaluation=evaluation,
        figures=FIGURES,
        own=[name for name in ("images", *FIGURES) if any(name in row for row in bundle.metrics.values())],
        factors=list(dict.fromkeys(attribute for attribute, _, _ in groups)),
        small=list(dict.fromkeys(f"{attribute} {value}" for attribute, value, small in groups if small)),
    )


def _subgroups(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Attribute, value, and whether the group is small; of each finding."""
    for finding in evaluation["findings"].values():
        for attribute, groups in finding["subgroups"].items():
            for value, group in groups.items():
                yield attribute, value, group["small"]
