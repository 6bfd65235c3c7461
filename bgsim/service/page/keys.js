// The keyboard: views register what a key does; keys typed into a field stay there.

import { useLayoutEffect, useRef } from "./vendor/htm-preact.js";

const handlers = [];
let first = "";
let clear = 0;

const typing = (target) => target.closest?.("input:not([type=checkbox]), textarea, select, dialog");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (typing(event.target)) {
    if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
    return;
  }
  if (event.key === "Enter" && event.target.closest("a, button, summary, [role=tab]")) return;
  const key = first ? `${first} ${event.key}` : event.key;
  clearTimeout(clear);
  first = "";
  for (const handler of [...handlers].reverse()) {
    const act = handler.current[key];
    if (act) {
      event.preventDefault();
      act();
      return;
    }
  }
  if (key === "g") {
    first = key;
    clear = setTimeout(() => (first = ""), 1200);
  }
});

export function useKeys(keys) {
  const newest = useRef(keys);
  newest.current = keys;
  useLayoutEffect(() => {
    handlers.push(newest);
    return () => handlers.splice(handlers.indexOf(newest), 1);
  }, []);
}

export const HELP = [
  ["j, k", "next row, row before"],
  ["Enter", "open the row"],
  ["x", "select the row"],
  ["/", "search"],
  ["n", "new job"],
  ["g o", "overview"],
  ["g j", "jobs"],
  ["g w", "sweeps"],
  ["g s", "slots"],
  ["g d", "dead letters"],
  ["g c", "schedules"],
  ["g h", "health"],
  ["Esc", "leave a field, close a dialog, clear the selection"],
  ["?", "these keys"],
];
