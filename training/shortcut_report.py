"""What the probes of a data set came to, as a document and as a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from training.contact_sheet import tiled, write_contact_sheet
from training.errors import TrainingError
from training.shortcuts import CHANCE, Reached

DOCUMENT_FILE: Final = "probes.json"
SHEET_FILE: Final = "probes.png"
_TILE: Final = 160


def document(reached: Sequence[Reached], finding: str, lineage: Mapping[str, Any]) -> dict[str, Any]:
    """All figures as JSON values.

    Args:
        reached: what each network reached.
        finding: whose label the networks were to tell.
        lineage: what they were fitted to, and how.
    """
    return {"finding": finding, "chance": CHANCE, "probes": [each.to_json() for each in reached], **lineage}


def draw(reached: Sequence[Reached], finding: str) -> NDArray[np.uint8]:
    """A row for each probe: in each view, what was seen of a picture without the finding and of one with it.

    Returns:
        uint8 `[height, width, 3]` in BGR.
    """
    rows: dict[str, list[tuple[NDArray[np.uint8], str]]] = {}
    for each in reached:
        without, with_finding = (np.asarray(cv2.cvtColor(one, cv2.COLOR_GRAY2BGR), np.uint8) for one in each.shown)
        caption = f"{each.probe}, AUROC {each.judged.auroc:.3f}"
        rows.setdefault(each.probe, []).extend([(without, caption), (with_finding, finding)])
    seen = ", ".join(dict.fromkeys(each.view for each in reached))
    return tiled(list(rows.values()), f"{seen}: without and with {finding}; chance is {CHANCE}", _TILE)


def write(out: Path, figures: Mapping[str, Any], sheet: NDArray[np.uint8]) -> None:
    """Write both into the folder `out`, which is made when absent.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / DOCUMENT_FILE).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_contact_sheet(out / SHEET_FILE, sheet)
    except OSError as error:
        raise TrainingError(f"the figures cannot be written to {out}: {error.strerror}") from error
