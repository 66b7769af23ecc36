import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

MakeArchive = Callable[..., Path]


@pytest.fixture(scope="session")
def make_archive(tmp_path_factory: pytest.TempPathFactory) -> MakeArchive:
    """Write a labelled zip; images that have the finding show a bright disc on noise."""

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
                picture = rng.integers(0, 60, (48, 48), dtype=np.uint8)
                if label == "pneumonia":
                    cv2.circle(picture, tuple(int(at) for at in rng.integers(14, 34, 2)), 9, 255, -1)
                file = f"{label}/{index}.png"
                rows.writerow({"file": file, "label": label, "patient": f"p{patient}"})
                data = b"no picture" if file == broken else cv2.imencode(".png", picture)[1].tobytes()
                archive.writestr(file, data)
            archive.writestr("index.csv", text.getvalue())
        return path

    return make
