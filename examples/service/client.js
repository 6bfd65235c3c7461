// Submit a simulation over HTTP, follow it, and fetch its result: in a page of the same site, or in Node with the
// package `eventsource`. A browser sends a cookie for the token, since an EventSource can send no header.
//
//   const service = await connect("http://127.0.0.1:8517", token);
//   const job = await service.submit({ simulation: "asian_call", replicates: 500000 });
//   await service.follow(job, (name, now) => console.log(name, now.fraction));
//   const result = await service.fetchResult(job);

export async function connect(url, token) {
  const base = url.replace(/\/$/, "");

  async function ask(path, { method = "GET", body, headers = {} } = {}) {
    const answer = await fetch(base + path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.status === 204) return null;
    const found = await answer.json();
    if (!answer.ok) throw new Error(`${answer.status}: ${found.detail}`);
    return found;
  }

  if (token) await ask("/v1/session", { method: "POST", body: { token } });

  return {
    // With a key of its own a request may be sent again after an error: it stays one job.
    submit(job) {
      return ask("/v1/jobs", { method: "POST", body: job, headers: { "Idempotency-Key": crypto.randomUUID() } });
    },

    // Calls back with name and job of each event; resolves with the job when it has ended.
    follow(job, callback = () => {}) {
      return new Promise((resolve) => {
        const source = new EventSource(`${base}/v1/jobs/${job.id}/events`, { withCredentials: true });
        for (const name of ["changed", "started", "progress", "completed", "failed", "cancelled"]) {
          source.addEventListener(`job.${name}`, (event) => {
            const now = JSON.parse(event.data).job;
            callback(`job.${name}`, now);
            if (["completed", "failed", "cancelled"].includes(now.state)) {
              source.close();
              resolve(now);
            }
          });
        }
      });
    },

    fetchResult(job, count = 1000) {
      return ask(`/v1/jobs/${job.id}/result?count=${count}`);
    },
  };
}
