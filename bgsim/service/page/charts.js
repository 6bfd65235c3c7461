// Charts: a histogram, lines with a band, and a small line of what was; drawn by uPlot in the page's colours.

import { html, useEffect, useRef } from "./vendor/htm-preact.js";
import { compact, moment, number } from "./format.js";
import { onSettings } from "./settings.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A colour of the theme; a canvas wants it worked out.
function worked(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found || colour(name);
}

function axis(extra = {}) {
  return { stroke: () => worked("--faint"), font: "11px system-ui, sans-serif", grid: { stroke: () => worked("--line"), width: 1 }, ticks: { show: false }, gap: 4, ...extra };
}

const numbers = (_, splits) => splits.map((value) => (value == null ? "" : Math.abs(value) >= 10_000 ? compact(value) : number(value, 5)));

function Chart({ options, data, height = 180, label }) {
  const box = useRef();
  const plot = useRef(null);
  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot({ width: box.current.clientWidth || 300, height, legend: { show: false }, ...options() }, data, box.current);
    };
    make();
    const sizes = new ResizeObserver(() => plot.current.setSize({ width: box.current.clientWidth, height }));
    sizes.observe(box.current);
    const off = onSettings(make);
    return () => {
      off();
      sizes.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData(data), [data]);
  return html`<div class="chart" role="img" aria-label=${label} ref=${box} />`;
}

export function Histogram({ histogram, label, height }) {
  const { edges, counts } = histogram;
  const middles = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
  return html`<${Chart}
    key=${counts.length}
    height=${height}
    label=${label}
    data=${[middles, counts]}
    options=${() => ({
      scales: { x: { time: false, range: (plot, low, high) => around(plot, low, high) }, y: { range: (_, low, high) => [0, Math.max(1, 1.05 * high)] } },
      cursor: { y: false, points: { show: false } },
      axes: [axis({ values: numbers, grid: { show: false }, size: 26 }), axis({ values: numbers, size: 52 })],
      series: [{}, { paths: uPlot.paths.bars({ size: [0.94, 100] }), fill: () => worked("--accent"), width: 0, points: { show: false } }],
    })}
  />`;
}

// Half a bar of room on each side.
function around(plot, low, high) {
  const step = plot.data[0].length > 1 ? plot.data[0][1] - plot.data[0][0] : 1;
  return [low - 0.6 * step, high + 0.6 * step];
}

// points: [replicates, mean, standard error]
export function RunningMean({ points, label, height }) {
  const data = [0, 1, 2, 3].map(() => []);
  for (const [replicates, mean, error] of points) {
    data[0].push(replicates);
    data[1].push(mean);
    data[2].push(mean - 1.96 * error);
    data[3].push(mean + 1.96 * error);
  }
  return html`<${Chart}
    height=${height}
    label=${label}
    data=${data}
    options=${() => ({
      scales: { x: { time: false, distr: 3, range: (_, low, high) => [low, Math.max(high, low + 1)] }, y: { range: (_, low, high) => padded(low, high) } },
      cursor: { y: false },
      axes: [axis({ size: 26, splits: decades, values: (_, splits) => splits.map(compact), filter: (_, splits) => splits }), axis({ values: numbers, size: 60 })],
      bands: [{ series: [3, 2], fill: worked("--accent-soft") }],
      series: [{}, { stroke: () => worked("--accent"), width: 1.5, points: { show: false } }, { stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } }],
    })}
  />`;
}

// Powers of ten, and what lies between when there are few.
function decades(plot, _, low, high) {
  const found = [];
  const factors = high / low > 300 ? [1] : [1, 2, 5];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) for (const factor of factors) if (factor * power >= low && factor * power <= high) found.push(factor * power);
  return found.length ? found : [low];
}

function padded(low, high) {
  const room = 0.08 * (high - low) || Math.abs(low) * 0.01 || 1;
  return [low - room, high + room];
}

export function Line({ points, label, height, time = true }) {
  const data = [points.map(([at]) => at), points.map(([, value]) => value)];
  return html`<${Chart}
    height=${height}
    label=${label}
    data=${data}
    options=${() => ({
      scales: { x: { time }, y: { range: (_, low, high) => (time ? [0, Math.max(1, 1.1 * high)] : padded(low, high)) } },
      cursor: { y: false },
      axes: [axis({ size: 26, space: 80, grid: { show: false }, ...(time ? { incrs: [1, 5, 10, 30, 60, 300, 600, 1800, 3600], values: (_, splits) => splits.map(clock) } : { values: numbers }) }), axis({ values: numbers, size: 56 })],
      series: [{}, { stroke: () => worked("--accent"), width: 1.5, fill: time ? () => worked("--accent-soft") : undefined, points: { show: !time } }],
    })}
  />`;
}

const clock = (at) => moment(new Date(1000 * at).toISOString());
