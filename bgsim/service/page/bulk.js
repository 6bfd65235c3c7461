// One action on all that match: the service counts first, and only then is anything done.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { post } from "./api.js";
import { count, plural } from "./format.js";
import { Dialog, Trouble } from "./parts.js";

export const ACTIONS = {
  cancel: { verb: "Cancel", done: "cancelled", dangerous: true },
  pause: { verb: "Pause", done: "paused" },
  resume: { verb: "Resume", done: "resumed" },
  retry: { verb: "Retry", done: "retried" },
  discard: { verb: "Discard", done: "discarded", dangerous: true },
};

// The whole of it in steps: the service takes some hundreds at a time and says where the next begin.
async function all(body, told, stop) {
  let done = 0;
  const failed = [];
  for (let cursor = ""; ; ) {
    const answer = await post("v1/bulk", { ...body, cursor, dry_run: false });
    done += answer.done;
    failed.push(...(answer.failed ?? []));
    told({ done, failed });
    if (!answer.more || stop.asked) return { done, failed };
    cursor = answer.next;
  }
}

export function Bulk({ action, filter, words, onClose, onDone }) {
  const { verb, done: past, dangerous } = ACTIONS[action];
  const [matched, setMatched] = useState(null);
  const [told, setTold] = useState(null);
  const [phase, setPhase] = useState("counting");
  const [problem, setProblem] = useState(null);
  const [stop] = useState({ asked: false });
  useEffect(() => {
    post("v1/bulk", { action, filter, dry_run: true })
      .then((answer) => {
        setMatched(answer.matched);
        setPhase("asking");
      })
      .catch(setProblem);
    return () => (stop.asked = true);
  }, []);
  const act = async () => {
    setPhase("doing");
    try {
      await all({ action, filter }, setTold, stop);
      setPhase("done");
      onDone();
    } catch (refused) {
      setProblem(refused);
    }
  };
  return html`<${Dialog} title="${verb} jobs" onClose=${onClose}>
    <p class="matched" role="status" aria-live="polite">${
      phase === "counting" && !problem ? "Counting…" : phase === "asking" ? html`<b>${plural(matched, "job")}</b> ${matched === 1 ? "matches" : "match"}: ${words}.` : told ? html`<b>${count(told.done)}</b> of ${count(matched)} ${past}.` : ""
    }</p>
    ${phase === "asking" && html`<p class="faint">Jobs that join the list meanwhile and match are ${past}, too.</p>`}
    ${phase === "doing" && html`<div class="bar"><i style=${{ transform: `scaleX(${matched ? Math.min(1, (told?.done ?? 0) / matched) : 0})` }} /></div>`}
    ${told?.failed.length > 0 && html`<div class="trouble"><p>${plural(told.failed.length, "job")} could not be ${past}:</p><ul>${told.failed.slice(0, 8).map(({ id, detail }) => html`<li key=${id}><code>${id}</code> ${detail}</li>`)}</ul></div>`}
    <${Trouble} problem=${problem} />
    <footer>
      <button onClick=${onClose}>${phase === "done" ? "Close" : "Leave them"}</button>
      ${phase !== "done" && html`<button class=${dangerous ? "danger" : "primary"} disabled=${phase !== "asking" || !matched} aria-busy=${phase === "doing"} onClick=${act}>${verb} ${matched == null ? "" : plural(matched, "job")}</button>`}
    </footer>
  <//>`;
}
