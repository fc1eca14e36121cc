"""Run tasks in two processes on this machine; `python -m tests.distributed_worker` is one of the processes."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.config import build_config
from regstudio.distributed import Group, join_group
from regstudio.errors import DataError, RegStudioError
from regstudio.training.setup import build_learner
from regstudio.training.step import Begun, Learner, NotFiniteError

EVERYTHING = {"augment_affine": 1.0, "augment_smooth": 1.0, "augment_intensity": 1.0, "both_directions": True}
TERMS = {"mse_weight": 1.0, "global_ncc_weight": 1.0, "mi_weight": 1.0, "fold_weight": 1.0, "transform": "svf"}
SMALL = {"encoder_channels": 2, "decoder_channels": 4}
SIGNAL_STEP = 4
ROOT = Path(__file__).parents[1]


def unused_port() -> int:
    """A free port below the ephemeral ones, which the system may give to another program at any time."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def environment(**values: object) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **{k: str(v) for k, v in values.items()}}


def torchrun(*arguments: object) -> subprocess.Popen[str]:
    """Start two processes as a user would, their output in pipes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", unused_port()]
    return subprocess.Popen(
        [*map(str, command), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    )


def run_in_two_processes(folder: Path, tasks: dict[str, list[str]], **variables: object) -> dict[str, list[Any]]:
    """Run tasks (commands, or functions of this module) in two processes, and return both results of each task."""
    rounds = {name: (unused_port(), task) for name, task in tasks.items()}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.distributed_worker", folder, json.dumps(rounds)],
            cwd=ROOT,
            env=environment(RANK=rank, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=0, **variables),
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return {name: [torch.load(folder / f"{name}_{rank}.pt") for rank in range(2)] for name in tasks}


def images(seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch of one fixed and four moving images."""
    random = torch.Generator().manual_seed(seed)
    fixed, moving = (torch.rand(count, 1, 8, 8, generator=random) for count in (1, 4))
    larger = torch.nn.Upsample(scale_factor=4, mode="bilinear")
    return {"fixed_image": larger(fixed), "moving_image": larger(moving)}


def small_learner(group: Group, **settings: object) -> Learner:
    config = build_config({**SMALL, **settings})
    learner = build_learner(config, steps_per_epoch=4, device=torch.device("cpu"), group=group)
    for head in learner.model.heads:  # otherwise the flow and most gradients are almost zero
        torch.nn.init.normal_(head.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    return learner


def one_step(group: Group, **settings: object) -> dict[str, Any]:
    """Losses, gradients and weights of a step on this process's shard of the batch."""
    learner, batch = small_learner(group, **settings), images()
    losses = learner.step({**batch, "moving_image": batch["moving_image"][group.shard]}, 3)
    gradients = {name: parameter.grad for name, parameter in learner.model.named_parameters()}
    return {"losses": losses, "gradients": gradients, "weights": learner.averaged.state_dict()}


def gradients() -> list[dict[str, Any]]:
    with join_group() as group:
        return [one_step(group), one_step(group, ema=0.5, **EVERYTHING, **TERMS)]


def nan_in_one() -> bool:
    """Whether NaN in the second process's image stops both processes, with unchanged weights."""
    with join_group() as group:
        learner, batch = small_learner(group), images()
        before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
        batch["moving_image"][1] = torch.nan
        try:
            learner.step({**batch, "moving_image": batch["moving_image"][group.shard]}, 0)
        except NotFiniteError:
            return all(torch.equal(before[name], tensor) for name, tensor in learner.model.state_dict().items())
        return False


def failure_of_one() -> str:
    """What each process raises when the second one fails."""
    try:
        with join_group() as group:
            if not group.is_first:
                raise DataError("b.png: is torn. Mend it.")
            while True:
                group.any_true(False)
    except RegStudioError as error:
        return f"{type(error).__name__}: {error}"


def stopped(arguments: list[str]) -> dict[str, Any]:
    with signal_second_process(signal.SIGTERM):
        return command(arguments)


def command(arguments: list[str]) -> dict[str, Any]:
    result = CliRunner().invoke(main, arguments)
    return {"code": result.exit_code, "stdout": result.stdout, "stderr": result.stderr}


def work(folder: Path, rounds: dict[str, tuple[int, list[str]]]) -> None:
    torch.set_num_threads(1)
    functions: dict[str, Callable[..., Any]] = {f.__name__: f for f in (gradients, nan_in_one, failure_of_one, stopped)}
    for name, (port, task) in rounds.items():
        os.environ["MASTER_PORT"] = str(port)
        function, *arguments = task
        result = functions[function](*([arguments] * bool(arguments))) if function in functions else command(task)
        torch.save(result, folder / f"{name}_{os.environ['RANK']}.pt")


@contextmanager
def signal_second_process(number: signal.Signals) -> Iterator[None]:
    """Let the second process send itself a signal at the start of SIGNAL_STEP."""
    begin = Learner.begin

    def signalled(self: Learner, batch: Any, at: int) -> Begun:
        if at == SIGNAL_STEP and os.environ["RANK"] == "1":
            os.kill(os.getpid(), number)
        return begin(self, batch, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "begin", signalled)
        yield


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        with signal_second_process(signal.SIGKILL):
            main(sys.argv[2:])
    else:
        work(Path(sys.argv[1]), json.loads(sys.argv[2]))
