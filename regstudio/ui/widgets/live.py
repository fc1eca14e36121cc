"""The live panel: progress, curves, preview and log of the run in training; the scripts in assets/live/ draw it."""

from typing import Any

import gradio as gr

from regstudio.files import asset, read_asset
from regstudio.studio.live_feed import Feed

# One script in several files, in the order in which they are joined.
SCRIPTS = ("charts", *(f"live/{name}" for name in ("state", "poll", "progress", "preview", "curves", "events")))

# Static: the scripts fill in text with textContent.
TEMPLATE = """
<section class="live" aria-label="Live view of the training">
  <header>
    <strong class="state" role="status">Idle</strong> <span class="run"></span> <span class="device"></span>
    <label class="watch">watch
      <select class="which" aria-label="run to watch"><option value="">the run in training</option></select>
    </label>
  </header>
  <div class="empty"><svg viewBox="0 0 96 64" aria-hidden="true"><path d="M10 6v50h80M16 14c8 26 20 34 70 36"/>
    <path d="M16 50c10-22 26-30 70-32" stroke-dasharray="3 3"/></svg>
    <p>Nothing trains yet. Press Start; progress, curves and a preview appear here.</p></div>
  <div class="failure" role="alert" hidden><p class="message"></p><p class="advice"></p></div>
  <div class="body" hidden>
    <div class="bars">
      <span class="name">epoch</span>
      <div class="bar" data-bar="epoch" role="progressbar" aria-label="progress of the epoch"><i></i></div>
      <span class="of" data-of="epoch"></span>
      <span class="name">run</span>
      <div class="bar" data-bar="run" role="progressbar" aria-label="progress of the run"><i></i></div>
      <span class="of" data-of="run"></span>
    </div>
    <dl class="facts">
      <div><dt>steps per second</dt><dd data-fact="speed"></dd></div>
      <div><dt>time left</dt><dd data-fact="left"></dd></div>
      <div><dt>time trained</dt><dd data-fact="seconds"></dd></div>
      <div><dt>memory</dt><dd data-fact="memory"></dd></div>
      <div><dt>best epoch</dt><dd data-fact="best"></dd></div>
    </dl>
    <div class="findings" role="status" aria-label="What is seen in the training" tabindex="0"></div>
    <div class="settings">
      <label>losses by <select class="by"><option value="steps">step</option><option value="epochs">epoch</option>
      <option value="seconds">time</option>
      </select></label>
      <label>smoothing <input class="smoothing" type="range" min="0" max="0.99" step="0.01" value="0.6"></label>
      <label><input class="log-scale" type="checkbox"> logarithmic</label>
      <button class="csv" type="button">CSV</button>
    </div>
    <div class="charts">
      <figure><figcaption>Losses</figcaption><div class="chart" data-chart="loss"></div></figure>
      <figure><figcaption>Validation</figcaption><div class="chart" data-chart="dice"></div></figure>
    </div>
    <div class="preview" hidden>
      <div class="settings">
        <span>One pair, as the network registers it after epoch <b class="shown"></b></span>
        <label>epoch <input class="epoch" type="range" min="0" max="0" step="1" value="0"></label>
      </div>
      <div class="pictures"></div>
      <p class="hint">Fixed is magenta, moving and warped are green; where they agree, the overlay is grey.</p>
    </div>
    <details class="log-box" open><summary>Log</summary><pre class="log" tabindex="0" aria-label="log"></pre></details>
  </div>
</section>
"""


def live_panel(feed: Feed) -> gr.HTML:
    """Return the panel, which polls the feed; the page itself keeps the cursor."""

    def poll(request: Any) -> dict[str, Any]:
        return feed.poll(request)

    def preview(request: Any) -> dict[str, Any]:
        return feed.preview(request)

    return gr.HTML(
        html_template=TEMPLATE,
        css_template=read_asset("live/live.css"),
        js_on_load="\n".join(read_asset(f"{name}.js") for name in SCRIPTS),
        server_functions=[poll, preview],
        apply_default_css=False,
        elem_id="live",
        plotly=f"/gradio_api/file={asset('plotly/plotly-basic.min.js').as_posix()}",
    )
