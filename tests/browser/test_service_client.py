"""The example's client in JavaScript, in a page of the service."""

from __future__ import annotations

from paths import ROOT
from playwright.sync_api import sync_playwright
from served import served, token

CLIENT = ROOT / "examples" / "service" / "client.js"

RUN = """async (token) => {
  const { connect } = await import("/page/client.js");
  const service = await connect("", token);
  const names = [];
  const job = await service.submit({ simulation: "asian_call", replicates: 200000, seed: 3 });
  const ended = await service.follow(job, (name) => names.push(name));
  const result = await service.fetchResult(job, 5);
  const refused = await service.submit({ simulation: "asian_cal", replicates: 1 }).catch((error) => error.message);
  return { ended: ended.state, names, payoff: result.columns.payoff, refused };
}"""


def test_it_submits_follows_and_fetches() -> None:
    with served(with_tokens=True) as one, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        page = browser.new_page()
        page.route("**/page/client.js", lambda route: route.fulfill(path=CLIENT, content_type="text/javascript"))
        page.goto(f"{one.running.url}/")
        found = page.evaluate(RUN, token(one, "operator"))
        browser.close()
    assert found["ended"] == "completed"
    assert found["names"][-1] == "job.completed"
    assert len(found["payoff"]) == 5
    assert "did you mean 'asian_call'" in found["refused"]
