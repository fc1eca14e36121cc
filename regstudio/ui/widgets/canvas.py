"""The canvas viewer: one component that draws a registered case in the browser.

Its value is JSON: the payload of regstudio.drawing.canvas_payload with the case's `place` in the list of `places`
cases, or `empty` with a message. When the user asks for another case, it triggers the event `step` with the case's
`place` (null for own images, which are in no list) and the direction `by`, 1 or -1. When landmarks were placed, or the
moving image was laid by hand, it triggers the event `correct` with all complete `pairs`, each y and x in the fixed
image, then in the moving one, and the `start` (see regstudio.studio.hand_start) or null.
"""

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from regstudio.files import read_asset
from regstudio.ui.widgets.icons import EMPTY, tool_row

# One script in several files, in the order in which they are joined; the first declares what the others share.
_SCRIPTS = (
    "state",
    "reading",
    "panels",
    "detail",
    "layers",
    "marks",
    "tools",
    "numbers",
    "placing",
    "laying",
    "pointer",
    "figure",
    "controls",
    "load_case",
)
_MODES = ("Side by side", "Overlay", "Swipe", "Checkerboard", "Difference", "Magenta/green")


# To place landmarks: a click on the fixed and on the moving or warped image makes a pair.
PLACING = """<button type="button" class="place-marks" aria-pressed="false"
  title="Click a place on the fixed image, then on the moving or warped one. Drag to move, right click to delete."
  >Place</button>
<button type="button" class="undo-marks">Undo</button>
<button type="button" class="clear-marks">Delete all</button>
<label class="wide"><input type="checkbox" class="steer" checked> steer the registration by them</label>
<span class="marks-said" role="status"></span>"""


# To lay the moving image on the fixed one before any method looks at them.
LAYING = """<fieldset><legend>Start by hand</legend>
  <button type="button" class="lay" aria-pressed="false"
    title="Lay the moving image on the fixed one with the mouse; every method then starts from there">Lay it</button>
  <button type="button" class="lay-quarter" title="A quarter turn clockwise">Turn 90°</button>
  <button type="button" class="lay-reset" title="As the files lie">Reset</button>
  <label><input type="checkbox" class="lay-flip"> flip left to right</label>
  <label>turn <input type="number" class="lay-number" data-lay="turn" step="1"> °</label>
  <label>size <input type="number" class="lay-number" data-lay="scale" step="1" min="5" max="2000"> %</label>
  <label>right <input type="number" class="lay-number" data-lay="right" step="1"> px</label>
  <label>down <input type="number" class="lay-number" data-lay="down" step="1"> px</label>
</fieldset>"""


def canvas(answer: Callable[[Any], dict[str, Any]], *, elem_id: str, correcting: bool) -> gr.HTML:
    """Return the component; `answer` has more pixels, `correcting` is whether landmarks may be placed on it."""

    def region(request: Any) -> dict[str, Any]:
        return answer(request)

    return gr.HTML(
        empty("Nothing is opened yet."),
        html_template=_template(correcting),
        css_template=read_asset("canvas/canvas.css"),
        js_on_load="\n".join(read_asset(f"canvas/{name}.js") for name in _SCRIPTS),
        server_functions=[region],
        apply_default_css=False,
        elem_id=elem_id,
    )


def filled(payload: dict[str, Any]) -> str:
    """Return the component's value for a case."""
    return json.dumps(payload, allow_nan=False, separators=(",", ":"))


def empty(message: str) -> str:
    """Return the component's value without a case; `message` says what to do next."""
    return json.dumps({"empty": message})


def _template(correcting: bool) -> str:
    tools, laying = (PLACING, LAYING) if correcting else ("", "")
    modes = "".join(
        f'<button type="button" class="mode" data-mode="{number}" aria-pressed="{str(number == 1).lower()}">'
        f"<kbd>{number}</kbd> {name}</button>"
        for number, name in enumerate(_MODES, start=1)
    )
    return f"""
<div class="viewer dark" role="group" aria-label="Registration viewer">
  {EMPTY}<p class="empty"></p>
  <div class="bar">
    <button type="button" class="previous" aria-label="Previous case" title="Left arrow key">&#8592;</button>
    <strong class="name"></strong> <span class="place"></span>
    <button type="button" class="next" aria-label="Next case" title="Right arrow key">&#8594;</button>
    <span class="zoom" title="100 %: a pixel of the fixed file is one of the screen"></span>
    <span class="networks"></span>
    <span class="modes" role="group" aria-label="How the images are shown">{modes}</span>
  </div>
  <div class="body">
    <div class="stage">
      <canvas tabindex="0" role="img" aria-label="Fixed, moving and warped image"></canvas>
      <p class="readout">Point at or touch a pixel to read its displacement, intensities and labels.</p>
      <div class="scale"><span class="low"></span><span class="ramp"></span><span class="high"></span>
        <span class="what"></span></div>
    </div>
    <div class="side">
      <div class="controls">
        <label class="blend"><span class="blend-name">Opacity</span>
          <input type="range" class="blend-value" min="0" max="1" step="0.01" value="0.5"></label>
        <div class="tools" role="group" aria-label="Tools">{tool_row()}</div>
        <fieldset class="labels"><legend>Labels</legend>
          <label><input type="checkbox" data-label="fixed" checked>
            <span class="fixed-name">atlas</span> (dashed)</label>
          <label><input type="checkbox" data-label="moving" checked> moving</label>
          <label><input type="checkbox" data-label="warped" checked> warped</label>
          <label class="masks" hidden><input type="checkbox" data-label="masks" checked> masks (dotted)</label>
          <label>as <select class="style" aria-label="How labels are drawn">
            <option value="outlines">outlines</option><option value="fills">fills</option></select></label>
        </fieldset>
        <fieldset><legend>Displacement</legend>
          <label class="wide"><select class="flow" aria-label="How the displacement is drawn">
            <option value="none">not shown</option><option value="arrows">arrows</option>
            <option value="grid">deformed grid</option><option value="magnitude">magnitude</option></select></label>
          <label title="Without the affine map that is nearest to it"><input type="checkbox" class="no-affine">
            without its affine part</label>
          <label><input type="checkbox" class="jacobian"> Jacobian, folds marked</label>
          <label class="wide"><span>Strength of fills and maps</span>
            <input type="range" class="strength" min="0" max="1" step="0.05" value="0.6"></label>
        </fieldset>
        <fieldset><legend>Landmarks</legend>
          <label><input type="checkbox" class="show-marks" checked> shown, with their residuals</label>
          {tools}
        </fieldset>
        {laying}
      </div>
      <table class="numbers"><thead></thead><tbody></tbody></table>
    </div>
  </div>
  <p class="keys">Arrow keys: previous and next case. 1 to 6: how it is shown. Space: before and after. Wheel or pinch:
    zoom. Drag: move. Double
    click: whole image.</p>
</div>"""
