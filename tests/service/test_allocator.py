"""Memory that was freed is used again, and not asked of the kernel anew."""

import subprocess
import sys

import pytest

PAGES_OF_A_RADIOGRAPH = 1750
ROUNDS = 40
PROGRAM = """
import resource
from radiolog.allocator import keep_freed_memory
{begin}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    kept = [bytes(bytearray(7_168_000)) for _ in range(3)]
work()
before = faults()
for _ in range({rounds}):
    work()
print(faults() - before)
"""


def faults(begin: str) -> int:
    """Pages that the kernel had to give while arrays of a radiograph's size came and went."""
    program = PROGRAM.format(begin=begin, rounds=ROUNDS)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_arrays_find_the_pages_of_those_before_them():
    assert faults("") > ROUNDS * PAGES_OF_A_RADIOGRAPH
    assert faults("keep_freed_memory()") < PAGES_OF_A_RADIOGRAPH
