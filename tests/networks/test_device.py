import subprocess
import sys

import pytest

pytest.importorskip("resource")
KEPT = """
import resource
import torch
from regstudio.networks.device import keep_freed_memory, release_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

keep_freed_memory()
torch.ones(100, 2**20)
before, held = faults(), resident()
torch.ones(90, 2**20)
print(faults() - before)
release_freed_memory()
print(held - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_freed_memory_serves_again_and_can_be_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    faults, given_back = map(int, result.stdout.split())
    assert faults < 1000  # of the 100,000 or so pages
    assert given_back > 300 * 2**20
