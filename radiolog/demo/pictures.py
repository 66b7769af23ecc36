"""An overlay picture of each diagnosis, drawn from the log's image and the database's row."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from models.geometry import Geometry
from models.overlay import encode_png, overlay
from models.pixels import NotAnImage, PixelError, decode, to_display
from radiolog.log.objects import ObjectAltered, ObjectMissing, ObjectStore
from radiolog.log.replay import fetch
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import ImageEvent
from schemas.topics import IMAGES
from sinks.queries import DiagnosisRow


def draw(rows: list[DiagnosisRow], folder: Path, settings: Settings, codec: Codec) -> Iterator[tuple[UUID, Path]]:
    """Writes one PNG per diagnosis that has pixels, and gives each image's event_id and the picture's path."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = ObjectStore.from_settings(settings)
    for row in rows:
        image = fetch(settings, codec, IMAGES, row.image_partition, row.image_offset)
        try:
            display = to_display(decode(_payload(image.event, objects)))
        except (NotAnImage, PixelError, ObjectAltered, ObjectMissing):
            continue
        path = folder / f"{row.image_event_id}.png"
        heat = _laid(row, row.findings[0].explanation) if row.findings else None
        path.write_bytes(encode_png(overlay(display, heat, caption(row), _laid(row, row.lungs))))
        yield row.image_event_id, path


def caption(row: DiagnosisRow) -> list[str]:
    """What the picture says below the image, whose map is of the first of the findings."""
    if not row.findings:
        return [f"{row.status}: {row.reason}"]
    lines = [
        f"{one.name}: {one.decision}  probability {one.probability:.3f} (threshold {one.threshold:.3f})"
        for one in row.findings
    ]
    first = row.findings[0]
    marked = f"{first.name}: severity {first.severity}, {100 * first.area_share:.0f}% of the lungs marked."
    return [*lines, f"{marked} Not a medical device."]


def _payload(image: ImageEvent, objects: ObjectStore) -> bytes:
    return image.payload if image.payload_ref is None else objects.get(image.payload_ref)


def _laid(row: DiagnosisRow, values: NDArray[np.uint8] | None) -> NDArray[np.float32] | None:
    """A map of the diagnosis in the geometry of its image."""
    if values is None or row.geometry is None:
        return None
    return Geometry.from_json(row.geometry.model_dump()).to_original(values.astype(np.float32) / 255)
