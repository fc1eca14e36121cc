"""How the report looks: light or dark as the reader has it, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2228; --soft: #5b6570; --line: #d5dae0; --paper: #fff; --shade: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --soft: #9aa4ae; --line: #3a424b; --paper: #16191d; --shade: #1f242a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { max-width: 48rem; margin: .4rem 0; }
.soft, dt, figcaption { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 400; white-space: pre; }
figure { margin: 1rem 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; background: #fff; }
svg { display: block; max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0; }
dt, dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--shade); padding: .75rem; overflow-x: auto; font-size: 12px; white-space: pre-wrap; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --shade: #f5f5f5; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .15rem .4rem; }
  h2, h3 { break-after: avoid; }
}
"""
