"""The page's only style sheet: light and dark by the reader's setting, plain on paper."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --text: #1a1f26; --muted: #57606c; --line: #d8dde4; --faint: #eef1f4;
  --ok: #0b6437; --ok-bg: #e2f3e8; --bad: #a11a17; --bad-bg: #fde8e6; --warn: #744d00; --warn-bg: #fcf0d3;
  --accent: #1d5bbf; --bar: #9db9e3; }
@media (prefers-color-scheme: dark) { :root {
  --page: #0f1216; --card: #171c22; --text: #e4e8ee; --muted: #9ea8b5; --line: #2d3641; --faint: #1e252d;
  --ok: #74d79e; --ok-bg: #12301f; --bad: #ffa198; --bad-bg: #3b1a1a; --warn: #efc46d; --warn-bg: #352910;
  --accent: #8ab4ff; --bar: #3d5f94; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .9rem; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .8rem; letter-spacing: -.005em; }
h3 { font-size: .8rem; margin: 1.6rem 0 .5rem; color: var(--muted); font-weight: 600; letter-spacing: .06em;
  text-transform: uppercase; }
p { margin: .4rem 0; }
a { color: var(--accent); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem;
  margin: 0 0 1rem; overflow-x: auto; }
.banner { display: flex; gap: 1rem; align-items: center; border-width: 0 0 0 6px; border-radius: 4px 10px 10px 4px; }
.banner.pass { border-color: var(--ok); } .banner.fail { border-color: var(--bad); }
.banner.unclear { border-color: var(--warn); }
.banner .word { font-size: 1.35rem; font-weight: 700; letter-spacing: .01em; }
.pass .word { color: var(--ok); } .fail .word { color: var(--bad); } .unclear .word { color: var(--warn); }
.muted { color: var(--muted); }
.badge { display: inline-block; border-radius: 999px; padding: 0 .6em; font-size: .8rem; font-weight: 600;
  line-height: 1.65; white-space: nowrap; }
.badge.pass { color: var(--ok); background: var(--ok-bg); }
.badge.fail { color: var(--bad); background: var(--bad-bg); }
.badge.unclear { color: var(--warn); background: var(--warn-bg); }
.badge.skipped { color: var(--muted); background: var(--faint); font-weight: 500; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; color: var(--muted); padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .34rem .9rem .34rem 0; border-bottom: 1px solid var(--faint); }
thead th { color: var(--muted); font-weight: 600; border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody th { font-weight: 500; }
tr:last-child > th, tr:last-child > td { border-bottom: 0; }
.group th { padding-top: .9rem; color: var(--muted); font-weight: 600; font-size: .8rem; letter-spacing: .04em; }
.number { font-variant-numeric: tabular-nums; color: var(--muted); white-space: nowrap; width: 3.2rem; }
.outcome { width: 5.6rem; }
tr.skipped td { color: var(--muted); }
tr.fail td { font-weight: 600; }
.facts td, .data td { overflow-wrap: anywhere; }
.steps td { padding-top: .2rem; padding-bottom: .2rem; }
.facts th { color: var(--muted); font-weight: 500; white-space: nowrap; width: 12rem; padding-right: 1.2rem; }
code { font: .86em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  overflow-wrap: anywhere; }
.heading { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; margin: 2.4rem 0 .8rem; }
.heading h2 { margin: 0; overflow-wrap: anywhere; }
.warning { border-left: 4px solid var(--warn); padding: .55rem .9rem; background: var(--warn-bg); color: var(--warn);
  border-radius: 6px; margin: 0 0 1rem; }
figure { margin: 0; } figcaption { color: var(--muted); font-size: .88rem; margin-bottom: .6rem; }
svg { display: block; width: 100%; min-width: 38rem; height: auto; }
svg text { fill: var(--text); font-size: 12px; } svg .tick { fill: var(--muted); font-size: 11px; }
svg .grid { stroke: var(--line); } svg .bar { fill: var(--bar); } svg .bar.first { fill: var(--accent); }
svg .bar.over { fill: var(--bad); } svg .when { fill: var(--muted); }
.domains, .domains ul { list-style: none; margin: 0; padding: 0; }
.domains { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); }
.provider { border: 1px solid var(--line); border-radius: 10px; padding: .8rem .9rem; }
.provider.none { border-style: dashed; }
.provider > .label { font-weight: 600; } .region > .label { color: var(--muted); font-size: .85rem; }
.region { border: 1px dashed var(--line); border-radius: 8px; padding: .5rem .6rem .6rem; margin-top: .6rem; }
.nodes { display: flex; flex-wrap: wrap; gap: .4rem; margin-top: .35rem !important; }
.node { border-radius: 7px; padding: .2rem .55rem; font-size: .88rem; border: 1px solid transparent; }
.node.pass { color: var(--ok); background: var(--ok-bg); border-color: var(--ok); }
.node.fail { color: var(--bad); background: var(--bad-bg); border-color: var(--bad); }
.node.unclear { color: var(--warn); background: var(--warn-bg); border-color: var(--warn); }
footer { color: var(--muted); font-size: .85rem; margin-top: 2.5rem; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 40rem) { .facts th { width: auto; white-space: normal; } main { padding: 1.25rem .8rem 3rem; } }
@page { margin: 16mm 14mm; }
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --text: #000; --muted: #444; --line: #bbb; --faint: #ddd;
    --ok: #0b6437; --ok-bg: #fff; --bad: #a11a17; --bad-bg: #fff; --warn: #744d00; --warn-bg: #fff;
    --accent: #1d5bbf; --bar: #9db9e3; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  .card { border-radius: 0; padding: .6rem .8rem; overflow: visible; }
  .badge, .node { border: 1px solid currentColor; }
  h2, h3, .heading, caption { break-after: avoid; } tr, figure, .provider, .warning { break-inside: avoid; }
  section { break-before: page; } svg { min-width: 0; }
  thead { display: table-header-group; }
  * { print-color-adjust: exact; } }
""".strip()
