import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from tests.events import image

__all__ = ["image", "make_archive", "make_masks"]

MakeArchive = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def compiled_soon() -> Iterator[None]:
    """Programs here run for moments: most of the time would go into making them fast."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


LUNGS = cv2.ellipse(np.zeros((48, 48), np.uint8), (24, 24), (19, 20), 0, 0, 360, 255, -1) > 0


@pytest.fixture(scope="session")
def make_masks(tmp_path_factory: pytest.TempPathFactory) -> MakeArchive:
    """Write a zip of lung masks, of three in four images of an archive that `make_archive` made."""

    def make(archive: Path) -> Path:
        path = tmp_path_factory.mktemp("masks") / "masks.zip"
        mask = cv2.imencode(".png", np.where(LUNGS, 255, 0).astype(np.uint8))[1].tobytes()
        with zipfile.ZipFile(archive) as images, zipfile.ZipFile(path, "w") as masks:
            lines = images.read("index.csv").decode().splitlines()[1:]
            files = [line.split(",")[0] for number, line in enumerate(lines) if number % 4]
            masks.writestr("index.csv", "".join(["image,mask\n", *(f"{file},masks/{file}\n" for file in files)]))
            for file in files:
                masks.writestr(f"masks/{file}", mask)
        return path

    return make


@pytest.fixture(scope="session")
def make_archive(tmp_path_factory: pytest.TempPathFactory) -> MakeArchive:
    """Write a labelled zip; images that have the finding show a bright disc in dark lungs on grey."""

    def make(images: int = 160, patients: int = 80, columns: str = "file,label,patient", broken: str = "") -> Path:
        rng = np.random.default_rng(0)
        path = tmp_path_factory.mktemp("archive") / "images.zip"
        text = io.StringIO()
        rows = csv.DictWriter(text, columns.split(","), extrasaction="ignore")
        rows.writeheader()
        with zipfile.ZipFile(path, "w") as archive:
            for index in range(images):
                patient = index % patients
                label = "pneumonia" if patient % 4 else "normal"
                picture = np.where(LUNGS, 0, 120).astype(np.uint8) + rng.integers(0, 60, (48, 48), dtype=np.uint8)
                if label == "pneumonia":
                    cv2.circle(picture, tuple(int(at) for at in rng.integers(14, 34, 2)), 9, 255, -1)
                file = f"{label}/{index}.png"
                rows.writerow({"file": file, "label": label, "patient": f"p{patient}"})
                data = b"no picture" if file == broken else cv2.imencode(".png", picture)[1].tobytes()
                archive.writestr(file, data)
            archive.writestr("index.csv", text.getvalue())
        return path

    return make
