"""What data sets call findings, and their SNOMED CT concepts.

Codes are here only where the data sets' word has one meaning; of the others (a "nodule" of what?) whoever imports must
say which concept is meant.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

NORMAL: Final = frozenset({"normal", "no finding"})
"""What data sets call an image without any of the findings that they know."""

CODES: Final = {
    "atelectasis": "46621007",
    "bacterial pneumonia": "53084003",
    "cardiomegaly": "8186001",
    "consolidation": "95436008",
    "edema": "19242006",
    "effusion": "60046008",
    "emphysema": "87433001",
    "fibrosis": "51615001",
    "mass": "309529002",
    "pleural effusion": "60046008",
    "pneumonia": "233604007",
    "pneumothorax": "36118008",
    "viral pneumonia": "75570004",
}
"""SNOMED CT concept id by name: in a chest radiograph, an edema, a mass or an emphysema is of the lungs."""

PARENTS: Final = {"bacterial pneumonia": "pneumonia", "viral pneumonia": "pneumonia"}
"""The finding that each of these is a kind of (SNOMED CT, "is a"): what has the one has the other."""

PARENT_CODES: Final = {CODES[child]: CODES[parent] for child, parent in PARENTS.items()}
"""The same by concept id."""

SUBTYPES: Final = {"bacteria": "bacterial pneumonia", "virus": "viral pneumonia"}
"""What a column `subtype` says, and the finding that it means."""


class FindingError(Exception):
    """A finding without a concept; the message says how to give one."""


def concepts(named: Iterable[str], wanted: Sequence[str] = ()) -> dict[str, str]:
    """The SNOMED CT concept id of each finding.

    Args:
        named: the findings that a data set knows.
        wanted: those that are asked for, as `NAME` or `NAME=CODE`; without any, all that the data set knows.

    Raises:
        FindingError: a finding has no code, or the data set does not know it.
    """
    known = set(named)
    given = {spelled(name): code.strip() for name, _, code in (entry.partition("=") for entry in wanted)}
    if strangers := sorted(set(given) - known):
        raise FindingError(f"the archive knows nothing of {', '.join(strangers)}, only of {', '.join(sorted(known))}")
    codes = {name: given.get(name) or CODES.get(name, "") for name in sorted(given or known)}
    if missing := [name for name, code in codes.items() if not code.isascii() or not code.isdigit()]:
        raise FindingError(
            f"no SNOMED CT code is known for {', '.join(missing)}: give it, --finding '{missing[0]}=CODE', "
            "and name each finding that is wanted"
        )
    return codes


def spelled(word: str) -> str:
    """A finding's name as it is spelled here: lower case, with blanks between its words."""
    return " ".join(word.replace("_", " ").replace("-", " ").lower().split())


def implied(code: str, present: bool) -> Iterator[str]:
    """The findings of which the same follows, by concept id: who has a kind of it has it, who lacks it has no kind."""
    for child, parent in PARENT_CODES.items():
        if code == (child if present else parent):
            yield parent if present else child


def with_parents(names: Iterable[str]) -> frozenset[str]:
    """The findings, and those that they are a kind of."""
    given = frozenset(names)
    return given | {PARENTS[name] for name in given if name in PARENTS}
