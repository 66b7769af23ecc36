import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "models.spec",
        "models.geometry",
        "models.pixels",
        "models.bundle",
        "models.scope",
        "models.decision",
        "models.openvino_engine",
    ],
)
def test_only_the_network_imports_jax(module: str) -> None:
    program = f"import sys, {module}; print(sorted({{'jax', 'flax', 'optax'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_engine_does_import_it() -> None:
    program = "import sys, models.engine; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
