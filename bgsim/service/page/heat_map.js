// A grid of points that fills in: colour for the mean, hatching for what failed, and each cell a way to its job.

import { html, useRef, useState } from "./vendor/htm-preact.js";
import { number, value } from "./format.js";
import { go, to } from "./route.js";

// viridis, by Smith and van der Walt (2015)
const STEPS = [
  [68, 1, 84], [72, 26, 108], [71, 47, 125], [65, 68, 135], [57, 86, 140], [49, 104, 142], [42, 120, 142], [35, 136, 142],
  [31, 152, 139], [34, 168, 132], [53, 183, 121], [84, 197, 104], [122, 209, 81], [165, 219, 54], [210, 226, 27], [253, 231, 37],
];

function shade(part) {
  const at = Math.max(0, Math.min(0.9999, part)) * (STEPS.length - 1);
  const [low, high] = [STEPS[Math.floor(at)], STEPS[Math.ceil(at)]];
  return `rgb(${low.map((channel, i) => Math.round(channel + (at % 1) * (high[i] - channel))).join(" ")})`;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The two axes, and which point stands in which cell.
function arrange(sweep, across, down) {
  const columns = sweep.grid[across] ?? [null];
  const rows = down ? sweep.grid[down] : [null];
  const place = (list, found) => Math.max(0, list.findIndex((one) => same(one, found)));
  const cells = new Map();
  for (const point of sweep.points) {
    const key = place(rows, point.parameters[down]) * columns.length + place(columns, point.parameters[across]);
    if (!cells.has(key)) cells.set(key, point);
  }
  return { columns, rows, cells };
}

export function HeatMap({ sweep, output, across, down }) {
  const [looked, look] = useState(null);
  const grid = useRef();
  const { columns, rows, cells } = arrange(sweep, across, down);
  const means = sweep.points.map(({ means: found }) => found?.[output]).filter((mean) => typeof mean === "number");
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const part = (mean) => (high > low ? (mean - low) / (high - low) : 0.5);
  const words = ({ parameters, means: found, state, error }) =>
    `${[across, down].filter(Boolean).map((name) => `${name} ${value(parameters[name])}`).join(", ")}: ${found?.[output] == null ? (error ?? state) : number(found[output])}`;
  const move = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: -columns.length, ArrowUp: columns.length }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    grid.current.querySelector(`[data-at="${Number(event.target.dataset.at) + by}"]`)?.focus();
  };
  const upwards = rows.map((_, i) => rows.length - 1 - i);
  return html`<div class="heat">
    <div class="heat-down">${down && html`<b>${down}</b>`}<span>${value(rows.at(-1))}</span><span>${rows.length > 1 ? value(rows[0]) : ""}</span></div>
    <div class="heat-cells ${columns.length > 40 || rows.length > 30 ? "fine" : ""}" ref=${grid} role="group" aria-label="Means of ${output}" onKeyDown=${move}
      style=${{ gridTemplateColumns: `repeat(${columns.length}, minmax(0, 1fr))` }} onMouseLeave=${() => look(null)}>
      ${upwards.map((row) => columns.map((_, column) => {
        const at = row * columns.length + column;
        const point = cells.get(at);
        if (!point) return html`<i key=${at} class="none" />`;
        const mean = point.means?.[output];
        const known = typeof mean === "number";
        return html`<button key=${at} data-at=${at} tabindex=${at === 0 ? 0 : -1} class="${known ? "known" : `is-${point.state}`}" aria-label=${words(point)}
          style=${{ background: known ? shade(part(mean)) : "" }} onMouseEnter=${() => look(point)} onFocus=${() => look(point)} onClick=${() => point.job && go(to(["jobs", point.job]))} />`;
      }))}
    </div>
    <div class="heat-across"><span>${value(columns[0])}</span><b>${across}</b><span>${columns.length > 1 ? value(columns.at(-1)) : ""}</span></div>
    <div class="heat-scale"><span class="looked">${looked ? words(looked) : means.length ? "Point at a cell; press it for its job." : "The cells fill in as points end."}</span>
      ${means.length > 0 && html`<span class="number">${number(low, 4)}</span><span class="steps" aria-hidden="true">${STEPS.map((_, i) => html`<i key=${i} style=${{ background: shade(i / (STEPS.length - 1)) }} />`)}</span><span class="number">${number(high, 4)}</span>`}</div>
  </div>`;
}
