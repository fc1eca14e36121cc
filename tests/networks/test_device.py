import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from regstudio.networks.device import images_at_once

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


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_freed_memory_serves_again_and_can_be_given_back() -> None:
    result = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    faults, given_back = map(int, result.stdout.split())
    assert faults < 1000  # of the 100,000 or so pages
    assert given_back > 300 * 2**20


@pytest.fixture
def six_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("six_threads")
def test_small_images_go_several_at_once_on_the_cpu() -> None:
    cpu, sides = torch.device("cpu"), (32, 256, 512, 1024)
    assert [images_at_once(cpu, side**2) for side in sides] == [6, 6, 2, 1]
    assert images_at_once(torch.device("cuda"), 256**2) == 1
