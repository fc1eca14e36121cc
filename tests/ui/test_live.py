"""The live panel over a long training, in a real browser: it neither grows nor jumps."""

import itertools
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from regstudio.runs.events import EpochDone, PreviewSaved, StepDone, TrainEvent
from regstudio.runs.run import Run
from regstudio.training import job
from regstudio.training.trainer import train
from tests.browser import Served
from tests.ui.acting import change_settings, open_train_tab, wait_for_points, wait_for_state

UPDATES = 60  # what half a minute brings
STEPS = 20  # of an epoch, as the recorded ones have it
# The panel asks twice a second; here it asks again as soon as it has drawn.
HURRY = """{
  const later = setTimeout;
  window.setTimeout = (act, ms, ...more) => later(act, ms === 500 ? 1 : ms, ...more);
}"""
# Where things are, looked at in every frame: bars, figures, curves, pictures, log.
WATCH = """() => {
  const parts = [".bar", ".facts", ".facts dd", "[data-chart=loss]", "[data-chart=dice]", ".pictures", ".log"];
  window.places = new Set();
  const look = () => {
    const at = parts.map((part) => document.querySelector("#live " + part).getBoundingClientRect());
    places.add(JSON.stringify(at.map(({ x, y, width, height }) => [x, y + scrollY, width, height].map(Math.round))));
    requestAnimationFrame(look);
  };
  look();
}"""


def long_training(config: Any, index: Any, *, run: Run, stop: threading.Event, **_: Any) -> Iterator[TrainEvent]:
    """Train one epoch; then go on in the record alone, faster than any network, until `stop`."""
    metrics = {}
    for event in train(config, index, run=run):
        metrics = event.metrics if isinstance(event, EpochDone) else metrics
        if not isinstance(event, PreviewSaved | StepDone | EpochDone):
            continue
        yield event
    losses = {"loss": 0.5, "ncc": -0.5, "grad": 1.0}
    for number in itertools.count():
        epoch, step = number // STEPS + 2, number % STEPS + 1
        terms = {name: value + 0.1 * (number % 7) for name, value in losses.items()}
        events: list[TrainEvent] = [StepDone(epoch=epoch, step=step, losses=terms, seconds=0.1 + number % 13)]
        if step == STEPS:
            shutil.copy(run.preview_path(1), run.preview_path(epoch))
            events.append(EpochDone(epoch=epoch, epochs=9999, seconds=999.0, losses=losses, metrics=metrics))
            events.append(PreviewSaved(path=str(run.preview_path(epoch)), epoch=epoch))
        for event in events:
            run.append(event)
            run.log(f"event {number}")
            yield event
        if stop.wait(0.02):
            return


class Weight:
    """What a page weighs, after its garbage is collected."""

    def __init__(self, page: Any) -> None:
        self._tools = page.context.new_cdp_session(page)
        self._tools.send("Performance.enable")

    def __call__(self) -> tuple[int, float]:
        """Return the number of DOM nodes and the megabytes of the heap."""
        for _ in range(2):  # what finalisers let go in the first is collected in the second
            self._tools.send("HeapProfiler.collectGarbage")
        values = {entry["name"]: entry["value"] for entry in self._tools.send("Performance.getMetrics")["metrics"]}
        return int(values["Nodes"]), values["JSHeapUsedSize"] / 1e6


@pytest.mark.browser
def test_half_a_minute_of_updates_neither_grow_the_page_nor_move_anything(
    page: Any, studio_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "train", long_training)
    polls: list[str] = []
    page.on("response", lambda answer: "component_server" in answer.url and polls.append(answer.url))
    page.add_init_script(HURRY)
    open_train_tab(page, studio_server.url)
    change_settings(page, epochs=1, run_name="long")
    page.click("#train-start")
    wait_for_state(page, "running")
    wait_for_points(page, 30)
    page.wait_for_selector("#live .pictures img")
    weigh = Weight(page)

    def updated(times: int) -> None:
        until = len(polls) + times
        while len(polls) < until:
            page.wait_for_timeout(50)

    updated(20)
    nodes, heap = weigh()
    page.evaluate(WATCH)
    updated(UPDATES)
    places = page.evaluate("[...places]")
    nodes_after, heap_after = weigh()
    assert len(places) == 1, "\n".join(places)
    assert nodes_after < nodes + 150, f"{nodes} -> {nodes_after} DOM nodes"
    assert heap_after < heap + 3, f"{heap} -> {heap_after} MB"
