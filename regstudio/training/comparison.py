"""At the end of a training: whether what needs no training registers the validation images better."""

from collections.abc import Callable
from statistics import fmean

from regstudio.methods.general import general_method
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.runs.run import Run
from regstudio.training.setup import Parts
from regstudio.training.validation import network_method, register_case

CASES = 8  # that both register, evenly spaced among the validation images: a few seconds
MARGIN = 0.002  # of Dice; less is not worth a word


def advice(parts: Parts, run: Run, stop_requested: Callable[[], bool]) -> str | None:
    """Say so if the method that needs no training is better than the run's best network; None if it is not.

    None, too, where there are no labels to tell by, or when a stop is requested.
    """
    every = max(1, len(parts.validation) // CASES)
    if not run.best_path.is_file() or not parts.validation:
        return None
    model = load_checkpoint(run.best_path).model(str(run.best_path)).to(parts.device).eval().requires_grad_(False)
    general = general_method(device=parts.device)
    scores = []
    for case in parts.validation[::every][:CASES]:
        if stop_requested():
            return None
        both = [register_case(parts, case, method).dice for method in (network_method(parts, model, case), general)]
        if all(both):
            scores.append([dice.mean for dice in both if dice])
    trained, untrained = map(fmean, zip(*scores, strict=True)) if scores else (0.0, 0.0)
    if untrained < trained + MARGIN:
        return None
    return (
        f"On {len(scores)} of the validation images, the {general.name} method, which needs no training, reaches a "
        f"Dice of {untrained:.3f}; this network reaches {trained:.3f}. Register with --method {general.name}, or train "
        "longer from the general network: --preset best."
    )
