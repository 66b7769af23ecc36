"""Inference in OpenVINO, for machines without an accelerator: a single image takes less time than in JAX there.

It compiles in about a second, and nothing is kept of that: its own cache saved a fifth of it, and began anew each time.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError
from models.openvino_runtime import openvino
from models.predictor import Predictor, Program
from models.reader_openvino import OUTPUTS, reader_model

_SIZES: Final = (1, 2, 4)


class OpenVinoEngine(Predictor):
    """A bundle's network in OpenVINO, on the CPU and in float32.

    A single image gets all cores that the process may use. Of a batch each part gets one core: it waits for no other.

    Args:
        bundle: the model.
        batch_sizes: sizes to compile for, ascending; what suits a CPU by default.

    Raises:
        BundleError: the weights do not fit the architecture.
        EngineMissing: OpenVINO is not installed.
    """

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int] | None = None) -> None:
        super().__init__(bundle, _SIZES if batch_sizes is None else batch_sizes, shares=len(os.sched_getaffinity(0)))
        self._core = openvino().Core()
        self._model(self._batch_sizes[0])  # now, so that weights that do not fit are refused here

    def _compile(self, batch: int) -> Program:
        compiled = self._core.compile_model(self._model(batch), "CPU", self._configuration(batch))
        requests = threading.local()

        def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            # A request has room for one set of inputs and outputs, and so each thread has its own.
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()
            requests.own.infer([pixels], share_inputs=True)
            return [requests.own.get_output_tensor(number).data.copy() for number in range(len(OUTPUTS))]

        return run

    def _configuration(self, batch: int) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self._shares,
            "NUM_STREAMS": 1 if batch == 1 else self._shares,
            # Other processes of the site use the same cores: a thread that may not leave its core waits for them.
            "ENABLE_CPU_PINNING": False,
        }

    def _model(self, batch: int) -> Any:
        try:
            return reader_model(self.bundle, batch)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.bundle.id} cannot be built: {error}") from error
