"""OpenVINO, imported such that nothing but the runtime comes with it."""

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Final

INSTALL: Final = "pip install 'radiolog[openvino]'"
_CONVERTER: Final = "openvino.tools.ovc"
_TELEMETRY: Final = "openvino_telemetry"


class EngineMissing(Exception):
    """The engine that was asked for is not installed; the message says how to install it."""


@cache
def openvino() -> ModuleType:
    """The package, without its converter of models and without the telemetry that it depends on.

    `import openvino` loads the converter where it can, and that loads a client of Google Analytics. Neither is needed,
    so neither can be imported: a name that `sys.modules` has as None is not looked for. The telemetry stays locked out
    for good, whoever asks for it later.

    Raises:
        EngineMissing: it is not installed.
    """
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    before = sys.modules.get(_CONVERTER)
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise EngineMissing(f"the engine openvino is not installed here ({error}): {INSTALL}") from None
    finally:
        del sys.modules[_CONVERTER]
        if before is not None:
            sys.modules[_CONVERTER] = before
