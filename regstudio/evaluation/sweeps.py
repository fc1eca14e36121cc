"""What a sweep came to: its table and its plot, as files."""

from pathlib import Path

from regstudio.files import atomic_path
from regstudio.runs.sweep import Sweep, outcomes, summaries_in, to_rows, write_table


def write_outcome(sweep: Sweep, runs_dir: Path, folder: Path) -> list[Path]:
    """Write table.csv and, as soon as two runs have a score, plot.png to `folder`; return their paths."""
    from regstudio.drawing.sweep_plot import sweep_plot  # imports matplotlib

    found = outcomes(sweep, summaries_in(runs_dir))
    written = [write_table(folder, to_rows(sweep, found))]
    points = [
        (outcome.folds_percent, outcome.score, ", ".join(outcome.values))
        for outcome in found
        if outcome.score is not None and outcome.folds_percent is not None
    ]
    if len(points) < 2:
        return written
    name = next(outcome.score_name for outcome in found if outcome.score_name)
    with atomic_path(folder / "plot.png") as temporary:
        sweep_plot(points, f"{name}, by {' and '.join(sweep.settings)}").savefig(temporary, format="png")
    return [*written, folder / "plot.png"]
