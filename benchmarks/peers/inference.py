"""A bundle's network on ONNX Runtime and OpenVINO, set for latency as their guides advise, a thread for each core."""

import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
from answering import answer
from reader_onnx import reader_onnx

OUTPUTS = ("logits", "maps", "embeddings", "lungs")
Network = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def prepare(bundle: str, images: str, engine: str) -> dict[str, Any]:
    """What the engine says of `[n, size, size]` images in a .npy file, all outputs as lists; and its version."""
    pixels = np.load(images)
    said = _network(bundle, engine, len(pixels))(pixels)
    version = {"ONNX Runtime": onnxruntime.__version__, "OpenVINO": openvino.__version__}[engine]
    return {"version": version.partition("-")[0], **{name: np.asarray(said[name]).tolist() for name in OUTPUTS}}


def measure(bundle: str, images: str, engine: str, batch: int, repeats: int) -> dict[str, float]:
    """Images in a second."""
    pixels, network = np.load(images)[:batch], _network(bundle, engine, batch)
    began = time.perf_counter()
    for _ in range(repeats):
        network(pixels)
    return {"reached": batch * repeats / (time.perf_counter() - began)}


@cache
def _network(bundle: str, engine: str, batch: int) -> Network:
    """Compiled for the one batch size; the first run is behind it."""
    model = reader_onnx(Path(bundle)).SerializeToString()
    size = _size(model)
    network = {"ONNX Runtime": _onnx_runtime, "OpenVINO": _openvino}[engine](model, batch, size)
    network(np.zeros((batch, size, size), np.uint8))
    return network


def _size(model: bytes) -> int:
    shape = openvino.Core().read_model(model).input(0).partial_shape
    return int(shape[1].get_length())


def _onnx_runtime(model: bytes, batch: int, size: int) -> Network:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.add_free_dimension_override_by_name("n", batch)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: dict(zip(OUTPUTS, session.run(OUTPUTS, {"images": pixels}), strict=True))


def _openvino(model: bytes, batch: int, size: int) -> Network:
    read = openvino.Core().read_model(model)
    read.reshape([batch, size, size])
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(read, "CPU", config).create_infer_request()

    def said(pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        request.infer([pixels], share_inputs=True)
        return {name: request.get_output_tensor(at).data.copy() for at, name in enumerate(OUTPUTS)}

    return said


if __name__ == "__main__":
    answer({"prepare": prepare, "measure": measure})
