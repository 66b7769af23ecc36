"""DICOM to the pixels of a model as pydicom's and scikit-image's guides show it, with the fastest plugin that is there.

The picture becomes what radiolog makes of it but for the crop of its borders: grey levels as displayed, uint8.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from answering import answer
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.pixels.decoders.base import get_decoder
from skimage.color import rgb2gray
from skimage.transform import resize

SIZE = 224


def model_input(content: bytes, plugin: str) -> np.ndarray:
    """`[SIZE, SIZE]` in uint8, of a DICOM Part 10 file."""
    dataset = dcmread(BytesIO(content))
    dataset.pixel_array_options(decoding_plugin=plugin)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    if shown.ndim == 3:
        shown = rgb2gray(shown)
    small = resize(shown, (SIZE, SIZE), anti_aliasing=True, preserve_range=True)
    low, high = small.min(), small.max()
    grey = (small - low) / (high - low or 1.0)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1.0 - grey
    return (grey * 255).round().astype(np.uint8)


def prepare(file: str) -> dict[str, Any]:
    """What it makes of the file, row by row, and the plugin that does it fastest; empty where there is no choice."""
    content, plugin = _fastest(file)
    return {"plugin": plugin, "pixels": model_input(content, plugin).ravel().tolist()}


def measure(file: str, repeats: int) -> dict[str, float]:
    """Images in a second."""
    content, plugin = _fastest(file)
    return {"reached": repeats / _seconds(partial(model_input, content, plugin), repeats)}


@cache
def _fastest(file: str) -> tuple[bytes, str]:
    content = Path(file).read_bytes()
    syntax = dcmread(BytesIO(content), stop_before_pixels=True).file_meta.TransferSyntaxUID
    plugins = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ("",)
    return content, min(plugins, key=lambda plugin: _seconds(partial(model_input, content, plugin), 2))


def _seconds(work: Callable[[], object], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return time.perf_counter() - began


if __name__ == "__main__":
    answer({"prepare": prepare, "measure": measure})
