"""The style and the script of the page that shows a model's routing.

Knows CSS and JavaScript that need nothing from anywhere else; refuses to know the figures.
"""

from typing import Final

from mixchat.ui.experts_letters import COLOURS
from mixchat.ui.experts_markup import HEAT

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Nothing is fetched, whatever the text says."""

STYLE: Final = (
    ":root{color-scheme:light dark;--ink:#212529;--soft:#5c636a;--paper:#fff;--line:#ced4da}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e9ecef;--soft:#adb5bd;--paper:#16191d;--line:#495057}}"
    "body{font:15px/1.5 ui-sans-serif,system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:70rem;margin:0 auto;padding:1.5rem}"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .4rem}p{margin:.3rem 0}"
    ".soft{color:var(--soft)}.scroll{overflow-x:auto}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.15rem .6rem;text-align:right;white-space:nowrap}th{font-weight:600}"
    "thead th{border-bottom:1px solid var(--line)}tr>:first-child{text-align:left;padding-left:0}"
    f".heat td{{background:rgba({HEAT},var(--h));text-align:center;min-width:2.2rem;padding:.1rem .2rem;"
    "border:1px solid var(--paper)}.heat thead th{text-align:center;border:0}"
    ".fine td{min-width:6px;height:13px;padding:0;border-width:0 1px 1px 0}"
    ".fine th{padding:0 .5rem 0 0;line-height:1;font-size:.75rem}"
    ".controls{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;margin:.5rem 0}"
    ".controls input[type=range]{width:16rem;max-width:100%}button{font:inherit;padding:.1rem .6rem}"
    "#legend span{display:inline-block;margin:.1rem .9rem .1rem 0}#legend b{padding:0 .35rem;border-radius:3px}"
    "#text{font:14px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4;border:1px solid var(--line);border-radius:4px;"
    "padding:.8rem;max-height:75vh;overflow-y:auto;margin:.4rem 0}"
    "#text i{font-style:normal;border-radius:3px;box-shadow:inset -1px 0 var(--paper);padding:1px 0 3px}"
    "#text.letters{line-height:2.6}#text.letters i{position:relative}"
    "#text.letters i::after{content:attr(data-e);position:absolute;left:calc(var(--lead,0)*1ch/.7);top:2.2em;"
    "line-height:1;font-size:.7em;color:var(--ink)}"
    + "".join(f".c{place}{{background:{ground};color:{ink}}}" for place, (ground, ink) in enumerate(COLOURS))
    + "@media print{.controls{display:none}#text{max-height:none}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{max-width:none;padding:0}}"
)

SCRIPT: Final = """\
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const text = document.getElementById("text");
const tokens = Array.from(text.querySelectorAll("i"));
const slider = document.getElementById("layer");
const legend = document.getElementById("legend");
const place = new Map(Array.from(data.codes).map((code, expert) => [code, expert]));
const expertOf = (layer, token) => place.get(layer.firsts[token]);

for (const token of tokens) {
  const lead = /^ +(?=\\S)/.exec(token.textContent);
  if (lead) token.style.setProperty("--lead", lead[0].length);
}

function item(name, colour, rest) {
  const span = document.createElement("span"), letter = document.createElement("b");
  letter.textContent = name;
  letter.className = colour === null ? "" : "c" + colour;
  span.append(letter, rest);
  return span;
}

function show(at) {
  const layer = data.layers[at], looks = new Map(layer.legend.map((entry) => [entry[0], entry]));
  tokens.forEach((token, index) => {
    const look = looks.get(expertOf(layer, index));
    token.className = look && look[2] !== null ? "c" + look[2] : "";
    token.dataset.e = look ? look[1] : data.other;
  });
  legend.replaceChildren(...layer.legend.map(([expert, letter, colour, share]) =>
    item(letter, colour, (data.numbers ? " expert " + expert + "," : "") + " " + share)));
  if (layer.rest !== null) legend.append(item(data.other, null, " others " + layer.rest));
  slider.value = at;
  document.getElementById("shown").textContent = layer.layer;
}

slider.addEventListener("input", () => show(Number(slider.value)));
document.querySelectorAll("button[data-at]").forEach((button) =>
  button.addEventListener("click", () => show(Number(button.dataset.at))));
document.getElementById("letters").addEventListener("change", (event) =>
  text.classList.toggle("letters", event.target.checked));
text.addEventListener("mouseover", (event) => {
  const index = tokens.indexOf(event.target);
  if (index < 0) return;
  const layer = data.layers[slider.value];
  event.target.title = "token " + index + ", first expert in layer " + layer.layer + ": " + expertOf(layer, index) +
    "\\nin layers " + data.layers[0].layer + " to " + data.layers[data.layers.length - 1].layer + ": " +
    data.layers.map((each) => expertOf(each, index)).join(" ");
});
show(Number(slider.value));
"""
