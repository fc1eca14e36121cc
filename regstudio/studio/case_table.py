"""The table of all cases of a run: measured in the background by one method, or two side by side, worst first."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from regstudio.errors import RegStudioError, RunError
from regstudio.evaluation.scores import COLUMNS, CaseScores
from regstudio.evaluation.tables import format_score, title
from regstudio.studio.page_words import on_the_page
from regstudio.studio.viewer_session import Choice, ViewerSession

SHOWN = ("dice", "hd95", "tre", "ncc", "njd_percent", "quality")  # of each method
BEFORE = ("dice_before", "tre_before", "ncc_before")  # once, as they are the same for all methods
WORST_BY = ("dice", "tre", "quality")  # the first that was measured

Cell = str | float | None


@dataclass(frozen=True, kw_only=True)
class CaseRow:
    """A case with the scores of each method, or why it has none."""

    case: str
    scores: tuple[CaseScores, ...] = ()
    error: str = ""

    def value(self, column: str, method: int = 0) -> float | None:
        """Return a score by one of the methods, None where it was not measured."""
        return self.scores[method].values.get(column) if method < len(self.scores) else None

    @property
    def note(self) -> str:
        """Why there are no scores, or whether the first method made it worse, and whether the second is better."""
        if self.error:
            return self.error
        name = next((name for name in ("dice", "tre", "ncc") if self.value(name) is not None), None)
        if name is None:
            return ""
        before, first, second = self.value(f"{name}_before"), self.value(name), self.value(name, 1)
        words = ["got worse"] if _better(name, before, first) else []
        return ", ".join([*words, *(["second is better"] if _better(name, second, first) else [])])


class CaseTable:
    """Measures all cases of a choice in a background thread; one choice at a time. Thread-safe."""

    def __init__(self, session: ViewerSession) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._state, self._message = "idle", ""
        self.choice = Choice()
        self._titles: list[str] = []
        self._total = 0
        self._rows: list[CaseRow] = []

    def start(self, choice: Choice) -> None:
        """Begin to measure; raises a RegStudioError where there is nothing to measure, or while it is measuring."""
        titles, names = self._session.titles(choice), self._session.measured_cases(choice)
        if not names:
            raise RunError("There are no cases to measure.")
        with self._lock:
            if self._state == "running":
                raise RunError("Cases are being measured. Stop that first, or wait until it is done.")
            self._state, self._message, self.choice = "running", "", choice
            self._titles, self._total, self._rows = titles, len(names), []
            self._stop.clear()
            self._thread = threading.Thread(target=self._measure, args=(choice, names), name="measuring", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End once the case under way is done."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is done."""
        if thread := self._thread:
            thread.join(timeout)

    def progress(self) -> dict[str, Any]:
        """Return the state, the number of cases done and of all, and the names of the methods, JSON-ready."""
        return {
            "state": self._state,
            "done": len(self._rows),
            "total": self._total,
            "methods": self._titles,
            "run": self.choice.run or self.choice.path or "",
            "message": self._message,
        }

    def table(self) -> tuple[list[str], list[list[Cell]]]:
        """Return the headings and the rows of what is measured by now, worst first."""
        rows, titles = list(self._rows), self._titles
        unit = next((scores.unit for row in rows for scores in row.scores), "pixels")
        columns = [(name, 0) for name in BEFORE] + [(name, number) for number in range(len(titles)) for name in SHOWN]
        columns = [column for column in columns if any(row.value(*column) is not None for row in rows)]
        headings = [_heading(name, number if len(titles) > 1 else None, unit) for name, number in columns]
        cells = [
            [row.case, row.note, *(_cell(name, row.value(name, number)) for name, number in columns)]
            for row in _worst_first(rows)
        ]
        return ["Case", "Note", *headings], cells

    def _measure(self, choice: Choice, names: Sequence[str]) -> None:
        end, message = "finished", ""
        try:
            for name in names:
                if self._stop.is_set():
                    end = "stopped"
                    break
                try:
                    row = CaseRow(case=name, scores=self._session.scores(replace(choice, case=name)))
                except RegStudioError as error:
                    row = CaseRow(case=name, error=on_the_page(str(error)))
                self._rows.append(row)
        except Exception as error:
            end, message = "failed", f"{type(error).__name__}: {error}"
        self._message = message
        self._state = end


def _worst_first(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Return rows with those that have no scores first, then by the first method's Dice, TRE or quality."""
    by = next((name for name in WORST_BY if any(row.value(name) is not None for row in rows)), "quality")
    sign = 1 if COLUMNS[by].higher_is_better else -1

    def key(row: CaseRow) -> tuple[bool, float]:
        value = row.value(by)
        return not row.error, float("inf") if value is None else sign * value

    return sorted(rows, key=key)


def _better(name: str, one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return one > other if COLUMNS[name].higher_is_better else one < other


def _heading(name: str, number: int | None, unit: str) -> str:
    heading = "Folds %" if name == "njd_percent" else title(COLUMNS[name], unit)
    if name in BEFORE:
        return f"{heading} before"
    return heading if number is None else f"{heading} {'AB'[number]}"


def _cell(name: str, value: float | None) -> float | None:
    return None if value is None else float(format_score(COLUMNS[name], value))
