"""Distributed work: the group of processes that torchrun starts; a single process is a group of one.

All processes run the same program. `barrier`, `any_true`, `mean`, `gather`, `broadcast_from_first` and
`gather_in_order` are collective calls: every process must make them in the same order, or the others wait. A process
that fails leaves its reason in the shared store and ends; the others raise WorkerLostError with that reason.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from regstudio.errors import DeviceError, RegStudioError, WorkerLostError

T = TypeVar("T")

# Longer than one process ever works while the others wait. A dead process is noticed at once; a machine that has left
# the network is noticed after this time.
TIMEOUT = timedelta(minutes=30)
_TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process is number `rank` of `size`, and on its machine number `local_rank` of `local_size`, all from 0."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Any = None  # torch's key-value Store, shared by all processes

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints messages for all."""
        return self.rank == 0

    @property
    def shard(self) -> slice:
        """This process's shard of any sequence: every `size`-th item, from number `rank`."""
        return slice(self.rank, None, self.size)

    @property
    def cores(self) -> int:
        """This process's share of the machine's CPU cores, as a number."""
        return max(1, (os.cpu_count() or 1) // self.local_size)

    def device(self, name: str) -> str:
        """Return the name of this process's device, as "cuda:1" for "cuda"; DeviceError if it does not exist."""
        if self.size == 1 or name == "cpu" or not torch.cuda.is_available():
            return name
        if name not in ("auto", "cuda"):
            raise DeviceError(f"device {name}: {self.size} processes need a device each. Use --device cuda.")
        if self.local_size > torch.cuda.device_count():
            raise DeviceError(
                f"{self.local_size} processes on this machine, but {torch.cuda.device_count()} CUDA devices. "
                "Start as many with --nproc-per-node, or use --device cpu."
            )
        return f"cuda:{self.local_rank}"

    def barrier(self) -> None:
        """Wait until all processes call this; WorkerLostError if one has ended."""
        self.any_true(False)

    def any_true(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process (an all-reduce)."""
        if self.size == 1:
            return flag
        flags = torch.tensor([int(flag)])
        with self.translate_lost_peer():
            distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes (an all-reduce)."""
        if self.size == 1:
            return values
        with self.translate_lost_peer():
            distributed.all_reduce(values)
        return values / self.size

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes in the order of their ranks (an all-gather); they are pickled."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        with self.translate_lost_peer():
            distributed.all_gather_object(values, value)
        return values

    def broadcast_from_first(self, work: Callable[[], T]) -> T:
        """Run `work` in the first process only, and return its result in all of them (a broadcast)."""
        values = [work() if self.is_first else None]
        if self.size > 1:
            with self.translate_lost_peer():
                distributed.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]

    def gather_in_order(self, items: Generator[T, None, None]) -> Generator[T, None, None]:
        """Gather the shards' items in global order; every process yields all of them."""
        with closing(items):
            if self.size == 1:
                yield from items
                return
            more = True
            while more:
                gathered = self.gather(list(islice(items, 1)))
                yield from chain.from_iterable(gathered)
                more = all(gathered)

    def parallel(self, module: nn.Module) -> DistributedDataParallel:
        """Wrap a module in DistributedDataParallel: the first process's weights, and gradients averaged over all."""
        self.barrier()
        wrapped = DistributedDataParallel(module, forward_sync_buffers=False)
        # When its last reference is dropped, a process group waits for its threads, which may wait for the interpreter
        # lock. Dropping DDP's reference does not release that lock; dropping this one, which comes later, does.
        vars(wrapped)["last_reference"] = distributed.group.WORLD
        return wrapped

    def leave_reason(self, why: str) -> None:
        """Write to the shared store why this process ends, for the messages of the others."""
        if self.store is not None:
            with suppress(RuntimeError):  # the process that holds the store may have ended
                self.store.set(f"why_{self.rank}", why)

    @contextmanager
    def translate_lost_peer(self) -> Iterator[None]:
        """Turn an error in the block that comes from a lost process into WorkerLostError with that process's reason."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_lost_peer(error):
                raise
            raise WorkerLostError(self._lost_peer_message()) from error

    def _lost_peer_message(self) -> str:
        with suppress(RuntimeError):
            for rank in range(self.size):
                if self.store.check([f"why_{rank}"]):
                    return f"{self.store.get(f'why_{rank}').decode()} (Said by process {rank + 1} of {self.size}.)"
        return (
            f"A worker was lost: one of the {self.size} processes ended without a word. It was killed, perhaps because "
            "memory ran out, or its machine is gone; torchrun's own messages name it."
        )


SINGLE_PROCESS = Group()


@contextmanager
def join_group() -> Iterator[Group]:
    """Join torchrun's process group for the block; without torchrun, yield SINGLE_PROCESS."""
    if any(name not in os.environ for name in _TORCHRUN_VARIABLES) or os.environ["WORLD_SIZE"] == "1":
        yield SINGLE_PROCESS
        return
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    # CPU tensors use gloo, which notices a lost process at once; NCCL would wait for it.
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    group = Group(rank=rank, size=size, local_rank=local_rank, local_size=local_size, store=store)
    try:
        yield group
    except WorkerLostError:
        raise
    except Exception as error:
        group.leave_reason(str(error) if isinstance(error, RegStudioError) else f"{type(error).__name__}: {error}")
        raise
    finally:
        distributed.destroy_process_group()


def _is_lost_peer(error: RuntimeError) -> bool:
    # gloo raises plain RuntimeErrors that name its own source file.
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
