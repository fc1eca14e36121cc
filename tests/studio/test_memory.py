"""However many cases are opened, the Viewer keeps few: its memory stays where it was."""

import gc
import tracemalloc
from dataclasses import replace

from regstudio.studio.hand_start import HandStart
from regstudio.studio.prefetcher import Prefetcher
from regstudio.studio.studio import Studio
from regstudio.studio.viewer import Viewer
from regstudio.studio.viewer_session import Choice, ViewerSession

BEFORE, AFTER = 10, 28  # opened cases


def test_memory_does_not_grow_with_the_cases_that_are_opened(studio: Studio) -> None:
    five_drawings, four_views = 80_000, 800_000  # bytes, about
    session = ViewerSession(Viewer(studio, max_bytes=five_drawings), Prefetcher(), max_view_bytes=four_views)
    choice = Choice(run="no training", checkpoint="none", case="validation/phantom_05")
    registrar = session.viewer.registrar("no training", "none")
    chosen = session.viewer.chosen(session.viewer.config(choice.run), choice.case)
    drawn = 0
    tracemalloc.start()
    try:
        for number in range(AFTER):
            start = HandStart(right=number / 10)
            drawn += len(str(session.viewer.drawing(replace(chosen, start=start), [registrar])))
            session.view(choice, start)
            if number == BEFORE:
                gc.collect()
                before, _ = tracemalloc.get_traced_memory()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert drawn > 400_000  # to keep all of them would show
    assert after - before < 150_000
