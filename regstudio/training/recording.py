"""Writes the events of a training to the record of its run, and to the log what they say of it."""

from regstudio.config import TrainConfig
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.runs.diagnosis import diagnose
from regstudio.runs.events import EpochDone, PairsExamined, TrainEvent
from regstudio.runs.run import Run
from regstudio.training.messages import log_lines


def record(run: Run, event: TrainEvent, group: Group = SINGLE_PROCESS) -> None:
    """Write an event to the run's events.jsonl and log; only the group's first process does."""
    if group.is_first:
        run.append(event)
        for line in log_lines(event):
            run.log(line)


class Recorder:
    """Records the events of one training and logs, once each, the findings that they lead to."""

    def __init__(self, config: TrainConfig, run: Run, group: Group = SINGLE_PROCESS) -> None:
        self._config, self._run, self._group = config, run, group
        self._seen = [event for event in run.milestones() if _tells(event)] if group.is_first else []
        self._said = {finding.kind for finding in diagnose(config, self._seen)}

    def __call__(self, event: TrainEvent) -> None:
        """Record an event."""
        record(self._run, event, self._group)
        if not self._group.is_first or not _tells(event):
            return
        self._seen.append(event)
        for finding in diagnose(self._config, self._seen):
            if finding.kind not in self._said:
                self._said.add(finding.kind)
                self._run.log(str(finding))


def _tells(event: TrainEvent) -> bool:
    return isinstance(event, EpochDone | PairsExamined)
