"""The processes that do one job together, as torchrun starts them; a process by itself is a group of one.

All run the same program. `barrier`, `any_true`, `mean`, `gather`, `broadcast_from_first` and `gather_in_order` are
collective calls: every process makes them in the same order, or the others wait. A process that fails leaves its reason
in the shared store and ends; the others raise WorkerLostError with that reason.
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

# Longer than the others ever wait for what one does alone; a process that dies is noticed at once, a machine that
# vanishes from the network after this.
TIMEOUT = timedelta(minutes=30)
_FROM_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Group:
    """`size` processes, of which this is number `rank`; on its machine it is number `local_rank` of `local_size`."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Any = None  # torch's Store that all share

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks for all."""
        return self.rank == 0

    @property
    def shard(self) -> slice:
        """This process's share of any sequence: every `size`-th item."""
        return slice(self.rank, None, self.size)

    @property
    def cores(self) -> int:
        """The number of CPU cores for this process."""
        return max(1, (os.cpu_count() or 1) // self.local_size)

    def device(self, name: str) -> str:
        """Return the name of this process's own device, where `name` says which kind; DeviceError if there is none."""
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
        """Wait until all processes have come here; WorkerLostError where one has ended instead."""
        self.any_true(False)

    def any_true(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        if self.size == 1:
            return flag
        flags = torch.tensor([int(flag)])
        with self.translate_lost_peer():
            distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        if self.size == 1:
            return values
        with self.translate_lost_peer():
            distributed.all_reduce(values)
        return values / self.size

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, in their order; they travel pickled, from this program to itself."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        with self.translate_lost_peer():
            distributed.all_gather_object(values, value)
        return values

    def broadcast_from_first(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in the first process, in all of them."""
        values = [work() if self.is_first else None]
        if self.size > 1:
            with self.translate_lost_peer():
                distributed.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]

    def gather_in_order(self, own: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield in all processes, in the order of the whole, what each of them yields of its `own` share."""
        with closing(own):
            if self.size == 1:
                yield from own
                return
            going = True
            while going:
                found = self.gather(list(islice(own, 1)))
                yield from chain.from_iterable(found)
                going = all(found)

    def parallel(self, module: nn.Module) -> DistributedDataParallel:
        """Return the module with the first process's weights, and with gradients that are the means over all."""
        self.barrier()
        wrapped = DistributedDataParallel(module, forward_sync_buffers=False)
        # Where its last reference goes, a process group waits for its threads, and these may wait for the interpreter's
        # lock. DDP's own reference goes without releasing that lock; this one, which goes after it, releases it.
        vars(wrapped)["last_reference"] = distributed.group.WORLD
        return wrapped

    def leave_reason(self, why: str) -> None:
        """Leave word of why this process is about to end, for the others to tell."""
        if self.store is not None:
            with suppress(RuntimeError):  # the process that keeps the words may be gone
                self.store.set(f"why_{self.rank}", why)

    @contextmanager
    def translate_lost_peer(self) -> Iterator[None]:
        """Raise WorkerLostError where something within the block fails because another process has ended."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_loss_of_contact(error):
                raise
            raise WorkerLostError(self._why_lost()) from error

    def _why_lost(self) -> str:
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
    """Join the process group that torchrun set up, and leave it in the end; without torchrun, yield SINGLE_PROCESS."""
    if any(name not in os.environ for name in _FROM_TORCHRUN) or os.environ["WORLD_SIZE"] == "1":
        yield SINGLE_PROCESS
        return
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    # What is on the CPU goes by gloo, which notices at once that a process is lost; NCCL would wait for it.
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


def _is_loss_of_contact(error: RuntimeError) -> bool:
    # gloo raises plain RuntimeErrors that name its own source file.
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
