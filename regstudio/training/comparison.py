"""At the end of a training: whether what needs no training registers the validation images better."""

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

from regstudio.methods.general import general_method
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.runs.run import Run
from regstudio.training.setup import Parts
from regstudio.training.validation import landmark_errors, network_method, register_case

CASES = 8  # that both register, evenly spaced among the validation images: a few seconds
MARGINS = {"Dice": 0.002, "TRE": 0.05}  # less is not worth a word


def advice(parts: Parts, run: Run, stop_requested: Callable[[], bool]) -> str | None:
    """Say so if the method that needs no training is better than the run's best network; None if it is not.

    None, too, where there are neither labels nor landmarks to tell by, or when a stop is requested.
    """
    every = max(1, len(parts.validation) // CASES)
    if not run.best_path.is_file() or not parts.validation:
        return None
    best = load_checkpoint(run.best_path)
    model = best.model(str(run.best_path)).to(parts.device).eval().requires_grad_(False)
    general = general_method(device=parts.device)
    scores: dict[str, list[list[float]]] = {"Dice": [], "TRE": []}
    for case in parts.validation[::every][:CASES]:
        if stop_requested():
            return None
        network = replace(network_method(parts, model, case), refine="auto" if best.refining_pays else 0)
        both = [register_case(parts, case, method) for method in (network, general)]
        dice, points = [found.dice for found in both], parts.landmarks(case, case.fixed or parts.reference)
        if all(dice):
            scores["Dice"].append([score.mean for score in dice if score])
        elif points is not None:
            scores["TRE"].append([dict(landmark_errors(points, found.flow))["tre"] for found in both])
    name = next((name for name, measured in scores.items() if measured), None)
    if name is None:
        return None
    trained, untrained = map(fmean, zip(*scores[name], strict=True))
    gain, unit = (untrained - trained, "") if name == "Dice" else (trained - untrained, " pixels")
    if gain < MARGINS[name]:
        return None
    return (
        f"On {len(scores[name])} of the validation images, the {general.name} method, which needs no training, reaches "
        f"a {name} of {untrained:.3f}{unit}; this network reaches {trained:.3f}. Register with --method "
        f"{general.name}, or train longer from the general network: --preset best."
    )
