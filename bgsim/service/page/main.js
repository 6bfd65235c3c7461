// The page of bgsim's service: from its address to a view.

import { Component, html, render, useEffect, useReducer, useState } from "./vendor/htm-preact.js";
import { get, onSignedOut } from "./api.js";
import { isReady, reconnect, startLive } from "./live.js";
import { Empty, Pending } from "./parts.js";
import { useRoute } from "./route.js";
import { Session } from "./session.js";
import { onSettings } from "./settings.js";
import { Shell } from "./shell.js";
import { loadStats } from "./store.js";
import { DeadLetters } from "./views/dead_letters.js";
import { Health } from "./views/health.js";
import { Job } from "./views/job.js";
import { Jobs } from "./views/jobs.js";
import { NewJob } from "./views/new_job.js";
import { Overview } from "./views/overview.js";
import { Schedules } from "./views/schedules.js";
import { SignIn } from "./views/sign_in.js";
import { Slots } from "./views/slots.js";
import { NewSweep, Sweep, Sweeps } from "./views/sweeps.js";

function view(parts, query) {
  const [first = "", second] = parts;
  if (first === "") return html`<${Overview} />`;
  if (first === "jobs") return second ? html`<${Job} key=${second} id=${second} query=${query} />` : html`<${Jobs} query=${query} />`;
  if (first === "new") return html`<${NewJob} key=${query.from ?? query.letter ?? ""} query=${query} />`;
  if (first === "sweeps") return second === "new" ? html`<${NewSweep} query=${query} />` : second ? html`<${Sweep} key=${second} id=${second} />` : html`<${Sweeps} />`;
  if (first === "slots") return html`<${Slots} workspace=${second} />`;
  if (first === "dead-letters") return html`<${DeadLetters} />`;
  if (first === "schedules") return html`<${Schedules} />`;
  if (first === "health") return html`<${Health} />`;
  return html`<${Empty} title="There is no such view."><a href="#/">Go to the overview</a><//>`;
}

// A fault of one view leaves the frame standing.
class Guard extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error, place: this.props.place });
  }

  render({ children, place }, { error, place: at }) {
    if (error && at === place) return html`<${Empty} title="This view could not be drawn."><p>${String(error)}</p><a href="#/">Go to the overview</a><//>`;
    return children;
  }
}

function App() {
  const { parts, query } = useRoute();
  const [session, setSession] = useState(null);
  const [problem, setProblem] = useState(null);
  const [, again] = useReducer((turn) => turn + 1, 0);
  const load = async () => {
    try {
      setSession(await get("v1/session"));
      setProblem(null);
      loadStats().catch(() => {});
    } catch (found) {
      if (found.status !== 401) setProblem(found);
    }
  };
  useEffect(() => onSettings(again), []);
  useEffect(() => {
    onSignedOut(() => setSession({ verbs: [] }));
    isReady.then(load);
  }, []);
  const place = parts[0] ?? "";
  useEffect(() => {
    if (document.activeElement === document.body || !document.activeElement?.isConnected) document.querySelector("main h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [parts.join("/")]);
  if (!session) return html`<main class="alone"><${Pending} load=${{ problem, reload: load }} /></main>`;
  if (!session.verbs.length) return html`<${SignIn} onDone=${() => { reconnect(); load(); }} />`;
  return html`<${Session.Provider} value=${session}>
    <${Shell} place=${place} session=${session} onSession=${load}><${Guard} place=${location.hash}>${view(parts, query)}<//><//>
  <//>`;
}

startLive();
render(html`<${App} />`, document.getElementById("page"));
