"""The page of the service, as a person uses it: a real server, and Debian's Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lab import chromium, shot, until
from playwright.sync_api import Locator, Page, expect
from reverse_proxy import proxied
from served import Served, served, token

import bgsim

MARKUP = "<img src=x onerror=alert(1)>"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LONG = 100_000_000
STRIKE = {"strike": 105.0}

expect.set_options(timeout=30_000)


@dataclass(frozen=True)
class Words:
    text: str = "plain"
    limit: float = 0.5


@bgsim.simulation(outputs={"y": "f8", "half": "f8"}, compile=False)
def wordy(p: Words, rng: Any) -> Any:
    """Say a text, and fail above a limit."""
    x = rng.random()
    if x > p.limit:
        raise ValueError(p.text)
    return x, x / 2


class Desk:
    """A browser that looks at a service, and what its console said."""

    def __init__(self, page: Page, one: Served, url: str) -> None:
        self.page = page
        self.one = one
        self.url = url
        self.said: list[str] = []
        page.context.on("page", self._listen)
        self._listen(page)

    def _listen(self, page: Page) -> None:
        page.on("console", lambda message: message.type in ("error", "warning") and self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))

    def at(self, address: str = "") -> Page:
        """Go to a view."""
        self.page.goto(f"{self.url}/#/{address}")
        return self.page

    def head(self, text: str) -> None:
        """Wait for a view's heading."""
        expect(self.page.locator("main h1")).to_have_text(text)

    def state(self, word: str) -> None:
        """Wait until the job that is shown is in a state."""
        expect(self.page.locator(".progress-card .top .state")).to_have_text(word)

    def press(self, name: str, within: Page | Locator | None = None) -> None:
        (within or self.page).get_by_role("button", name=name, exact=True).click()


@contextmanager
def desk(
    folder: Path, *, signed_in: bool = True, color_scheme: str = "light", engine: Any = None, **settings: Any
) -> Iterator[Desk]:
    with (
        served(folder / "runs.db", engine=engine, **settings) as one,
        chromium(folder, color_scheme=color_scheme) as page,
    ):
        one.service.simulations.add(wordy)
        page.set_viewport_size(WIDE)
        made = Desk(page, one, one.running.url)
        if signed_in:
            page.goto(one.running.page_url)
            made.head("Overview")
        yield made


def test_a_job_from_the_form_is_watched_cancelled_and_run_again_with_edits(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        page.keyboard.press("n")
        at.head("New job")
        page.get_by_label("Simulation").select_option("bgsim.models.options.asian_call")
        strike = page.get_by_label("strike")
        expect(strike).to_have_value("100")
        strike.fill("-1")
        page.get_by_label("Replicates").fill("100M")
        page.get_by_label("Tags").fill("desk 3, nightly")
        at.press("Submit")
        expect(strike).to_have_attribute("aria-invalid", "true")
        expect(page.locator(".field.wrong .error")).to_contain_text("strike")
        expect(strike).to_be_focused()
        strike.fill("105")
        at.press("Submit")
        at.head("asian_call")
        at.state("running")
        (job,) = at.one.engine.jobs()
        assert (job.request.replicates, dict(job.request.parameters)["strike"]) == (LONG, 105.0)
        bar = page.locator(".progress-card [role=progressbar]")
        expect(bar).to_have_attribute("aria-label", re.compile(r"^[0-9.]+ % of 100,000,000 replicates$"))
        expect(page.locator(".outputs")).to_contain_text("payoff")
        expect(page.locator("figure canvas")).to_have_count(2)  # the histogram and the running mean, while it runs
        before = page.locator(".outputs td").first.inner_text()
        expect(page.locator(".outputs td").first).not_to_have_text(before)
        expect(page.locator(".timeline li.current .word")).to_have_text("running")
        at.press("Pause")
        at.state("suspended")
        at.press("Resume")
        at.state("running")
        at.press("Cancel")
        at.press("Cancel the job", page.get_by_role("dialog"))
        at.state("cancelled")
        expect(page.locator(".timeline li.current .word")).to_have_text("cancelled")
        page.get_by_role("link", name="Run again").click()
        at.head("Run again")
        expect(page.get_by_label("strike")).to_have_value("105")
        expect(page.get_by_label("Tags")).to_have_value("desk 3, nightly")
        page.get_by_label("strike").fill("110")
        page.get_by_label("Replicates").fill("2000")
        at.press("Submit")
        at.head("asian_call")
        at.state("completed")
        expect(page.locator("aside")).to_contain_text("110")
        expect(page.locator("aside")).to_contain_text("nightly")
        payoffs = at.one.http.get(f"/v1/jobs/{page.url.rpartition('/')[2]}/result").json()["columns"]["payoff"]
        page.get_by_role("tab", name="Replay").click()
        page.get_by_role("textbox", name="Replicate").fill("3")
        at.press("Replay")
        value = f"{payoffs[3]:.6g}"
        expect(page.locator(".replay dd")).to_have_text(value)
        page.get_by_role("tab", name="Log").click()
        expect(page.locator("#shown")).to_contain_text("Nothing was logged")
        page.get_by_role("tab", name="Results").click()
        with page.expect_download() as download:
            at.press("CSV")
        assert len(Path(download.value.path()).read_text().splitlines()) == 2001
        assert [text for text in at.said if "422" not in text] == []


def test_what_a_result_shows_after_its_job_has_ended(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        job = at.one.submit("asian_call", wait=60, replicates=20_000, tags=["a"])
        at.at(f"jobs/{job['id']}")
        at.state("completed")
        expect(at.page.locator("figure canvas")).to_have_count(2)
        payoffs = at.one.http.get(f"/v1/jobs/{job['id']}/result").json()["columns"]["payoff"]
        shown = at.page.locator(".outputs td").first.inner_text()
        assert abs(float(shown.partition(" ")[0]) - sum(payoffs) / len(payoffs)) < 0.01
        at.press("Edit")
        at.page.get_by_label("Tags, separated by commas").fill("b, c d")
        at.press("Save")
        expect(at.page.locator("aside .tag")).to_have_text(["b", "c d"])
        assert at.one.job(job["id"])["tags"] == ["b", "c d"]
        assert at.said == []


def test_a_summary_and_a_precision_are_shown_and_run_again(tmp_path: Path) -> None:
    rule = {"output": "payoff", "standard_error": 0.5, "minimum": 64, "maximum": 20_000}
    with desk(tmp_path) as at:
        page = at.page
        body = {"simulation": "asian_call", "precision": rule, "keep": "summary", "seed": 1}
        job = at.one.http.post("/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
        at.at(f"jobs/{job['id']}")
        at.state("completed")
        expect(page.locator("main")).to_contain_text("the precision is reached")
        aside = page.locator("aside")
        for text in ("at most 20,000", "standard error of payoff at most 0.5", "a summary, no rows"):
            expect(aside).to_contain_text(text)
        expect(page.locator("figure canvas")).to_have_count(1)  # the histogram; a running mean needs rows
        expect(page.locator(".save")).to_have_count(0)
        shot(page, "service_summary")
        page.get_by_role("link", name="Run again").click()
        at.head("Run again")
        page.get_by_label("Replicates").fill("100")
        at.press("Submit")
        at.head("asian_call")
        at.state("completed")
        expect(page.locator("main")).to_contain_text("the precision is not reached")
        again = at.one.job(page.url.rpartition("/")[2])
        assert (again["keep"], again["replicates_completed"]) == ("summary", 100)
        assert at.said == []


def test_why_a_job_waits_and_a_more_urgent_one_overtakes(tmp_path: Path) -> None:
    with desk(tmp_path, engine={"max_concurrent_simulations": 1}) as at:
        at.one.submit("asian_call", replicates=LONG)
        waiting = at.one.submit("asian_call", replicates=1000, parameters=STRIKE, priority="low")
        at.at()
        row = at.page.get_by_role("table", name="Waiting jobs").locator("tbody tr")
        expect(row).to_have_count(1)
        expect(row).to_contain_text("a place")
        at.at(f"jobs/{waiting['id']}")
        at.state("queued")
        expect(at.page.locator(".why")).to_contain_text("Waits for a place")
        at.page.get_by_label("Priority").select_option("critical")
        at.state("completed")
        assert at.said == []


def test_two_results_side_by_side(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        for strike in (100.0, 105.0):
            at.one.submit("asian_call", wait=60, replicates=4000, workspace="desk 3", parameters={"strike": strike})
        at.at("slots")
        at.page.get_by_role("link", name="desk 3").click()
        at.head("desk 3")
        expect(at.page.locator(".slot").first.locator(".differs")).to_have_text("105")
        expect(at.page.locator(".slot").last.locator(".differs")).to_have_text("100")
        row = at.page.get_by_role("table", name="Differences").locator("tbody tr")
        expect(row).to_contain_text("payoff")
        expect(row).to_contain_text("lower")
        expect(at.page.locator("main")).to_contain_text("paired replicate by replicate")
        at.press("Swap")
        expect(at.page.locator(".slot").first.locator(".differs")).to_have_text("100")
        expect(row).to_contain_text("higher")
        assert at.said == []


def test_a_dead_letter_is_tried_again_with_edits(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        at.one.submit("wordy", wait=60, parameters={"limit": 0.0})
        at.at("dead-letters")
        letter = page.locator(".letter")
        expect(letter).to_contain_text("ValueError")
        letter.locator("summary").click()
        expect(letter.locator("pre")).to_contain_text("raise ValueError(p.text)")
        at.press("Retry with edits…")
        box = page.get_by_role("dialog")
        expect(box.get_by_label("limit")).to_have_value("0")
        box.get_by_label("limit").fill("1")
        at.press("Retry", box)
        at.head("wordy")
        at.state("completed")
        at.at("dead-letters")
        expect(page.locator("main")).to_contain_text("No job failed for good.")
        assert at.said == []


def test_a_schedule_is_added_paused_run_and_removed(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        at.at("schedules")
        expect(page.locator("main")).to_contain_text("Nothing is scheduled.")
        page.get_by_role("button", name="New schedule").first.click()
        box = page.get_by_role("dialog")
        box.get_by_label("Name").fill("nightly")
        box.get_by_label("When").fill("0 25 * * *")
        box.get_by_label("Simulation").select_option("bgsim.models.options.european_call")
        box.get_by_label("Replicates").fill("2000")
        at.press("Add the schedule", box)
        expect(box.get_by_label("When")).to_have_attribute("aria-invalid", "true")
        box.get_by_label("When").fill("0 2 * * *")
        at.press("Add the schedule", box)
        card = page.locator(".schedule")
        expect(card).to_contain_text("nightly")
        expect(card.locator(".runs time")).to_have_count(5)
        at.press("Pause", card)
        expect(card).to_contain_text("paused")
        (schedule,) = at.one.engine.schedules()
        assert schedule.paused
        at.press("Resume", card)
        expect(card.get_by_role("button", name="Pause")).to_be_visible()
        at.press("Run now", card)
        at.head("european_call")
        at.state("completed")
        at.at("schedules")
        at.press("Remove…")
        at.press("Remove it", page.get_by_role("dialog"))
        expect(page.locator("main")).to_contain_text("Nothing is scheduled.")
        assert [text for text in at.said if "422" not in text] == []


def test_all_that_match_are_counted_and_then_cancelled(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        at.one.engine.pause()
        for number in range(12):
            at.one.submit("asian_call", replicates=1000, seed=number, tags=["batch"])
        kept = at.one.submit("asian_call", replicates=1000, seed=99, tags=["other"])
        at.at("jobs")
        expect(page.locator("tbody tr")).to_have_count(13)
        page.keyboard.press("/")
        page.keyboard.type("tag:batch")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(12)
        assert "tag=batch" in page.url
        at.press("Cancel…")
        box = page.get_by_role("dialog")
        expect(box).to_contain_text("12 jobs match: tag:batch.")
        at.press("Cancel 12 jobs", box)
        expect(box).to_contain_text("12 of 12 cancelled.")
        at.press("Close", box.locator("footer"))
        expect(page.locator("tbody .state")).to_have_text(["cancelled"] * 12)
        assert at.one.job(kept["id"])["state"] == "queued"
        page.go_back()
        at.at("jobs")
        expect(page.locator("tbody tr")).to_have_count(13)
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.locator(".bulk")).to_contain_text("1 job selected")
        page.keyboard.press("Escape")
        expect(page.locator("tr.selected")).to_have_count(0)
        assert at.said == []


def test_the_keyboard_goes_everywhere(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        jobs = [at.one.submit("asian_call", wait=60, replicates=100, seed=number) for number in range(3)]
        for keys, title in (
            ("gj", "Jobs"),
            ("gw", "Sweeps"),
            ("gs", "Slots"),
            ("gd", "Dead letters"),
            ("gc", "Schedules"),
            ("gh", "Health"),
            ("go", "Overview"),
            ("gj", "Jobs"),
        ):
            for key in keys:
                page.keyboard.press(key)
            at.head(title)
        expect(page.locator("tbody tr")).to_have_count(3)
        for key in "jjk":
            page.keyboard.press(key)
        page.keyboard.press("j")
        expect(page.locator("tr.current")).to_have_count(1)
        page.keyboard.press("Enter")
        at.head("asian_call")
        assert jobs[1]["id"] in page.url
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert at.said == []


def test_markup_in_every_text_is_shown_as_text(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page, one = at.page, at.one
        given = {"workspace": MARKUP, "tags": [MARKUP], "group": MARKUP}
        good = one.submit("wordy", wait=60, parameters={"text": MARKUP, "limit": 1.0}, **given)
        bad = one.submit("wordy", wait=60, parameters={"text": MARKUP, "limit": 0.0}, **given)
        assert MARKUP in bad["error"]
        body = {
            "name": MARKUP,
            "cron": "0 2 * * *",
            "simulation": "wordy",
            "replicates": 10,
            "parameters": {"text": MARKUP},
        }
        one.http.post("/v1/schedules", json=body).raise_for_status()
        for view, where in (
            ("", ".tag"), ("jobs", ".tag"), (f"jobs/{good['id']}", "aside"), (f"jobs/{bad['id']}", ".failure"), ("dead-letters", ".letter"),
            ("slots", ".cards"), ("schedules", ".schedule"), (f"new?from={good['id']}", "main"), (f"jobs?tag={MARKUP}", ".tag"), ("health", "main"),
        ):  # fmt: skip
            at.at(view)
            shown = page.locator(where).first
            if view.startswith("new"):
                expect(page.get_by_label("text", exact=True)).to_have_value(MARKUP)
            elif view != "health":
                expect(shown).to_contain_text(MARKUP)
            expect(page.locator(".pending")).to_have_count(0)
            assert page.locator("img").count() == 0
        assert at.said == []


def test_seven_tabs_share_one_stream_and_the_next_takes_it_over(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        first, events = at.page, at.one.service.events
        expect(first.locator(".stream")).to_have_text("Live")
        tabs = [first.context.new_page() for _ in range(6)]
        for tab in tabs:
            tab.goto(f"{at.url}/#/jobs")
            expect(tab.locator(".stream")).to_have_text("Live")
            expect(tab.locator(".empty")).to_contain_text("There are no jobs yet.")
        assert events.streams == 1
        job = at.one.submit("asian_call", replicates=LONG)
        for tab in tabs:
            tab.bring_to_front()
            tab.get_by_role("button", name="1 new job: show").click()
            expect(tab.locator("tbody .state").first).to_have_text(re.compile("running|compiling"))
        first.close()
        until(lambda: events.streams == 1, "the next tab's stream")
        at.one.http.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
        for tab in tabs:
            tab.bring_to_front()
            expect(tab.locator("tbody .state").first).to_have_text("cancelled")
        assert events.streams == 1
        assert at.said == []


def test_over_plain_http_a_tab_without_locks_has_its_own_stream(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        at.page.context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})")
        at.page.reload()
        tabs = [at.page, at.page.context.new_page()]
        tabs[1].goto(f"{at.url}/#/")
        for tab in tabs:
            expect(tab.locator(".stream")).to_have_text("Live")
        until(lambda: at.one.service.events.streams == 2, "both streams")
        job = at.one.submit("asian_call", replicates=LONG)
        for tab in tabs:
            tab.bring_to_front()
            expect(tab.get_by_role("table", name="Running jobs").locator("tbody tr")).to_have_count(1)
        at.one.http.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
        expect(at.page.locator("main")).to_contain_text("Nothing runs and nothing waits.")
        assert at.said == []


def test_what_happened_while_the_connection_was_down_is_caught_up_with(tmp_path: Path) -> None:
    with desk(tmp_path, signed_in=False, prefix="/sim") as at:
        job = at.one.submit("asian_call", replicates=LONG)
        behind = at.url.removesuffix("/sim")
        with proxied(behind, "/sim") as url:
            at.page.goto(f"{url}/?{at.one.running.page_url.partition('?')[2]}")
            at.head("Overview")
            at.page.goto(f"{url}/#/jobs/{job['id']}")
            at.state("running")
            expect(at.page.locator(".stream")).to_have_text("Live")
        expect(at.page.locator(".stream")).to_have_text("Reconnecting")
        at.one.http.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
        with proxied(behind, "/sim", port=urlsplit(url).port or 0):
            expect(at.page.locator(".stream")).to_have_text("Live")
            at.state("cancelled")


def test_it_works_under_a_path_behind_a_proxy(tmp_path: Path) -> None:
    with (
        desk(tmp_path, signed_in=False, prefix="/sim") as at,
        proxied(at.one.running.url.removesuffix("/sim"), "/sim") as url,
    ):
        page = at.page
        at.url = url
        one_time = at.one.running.page_url.partition("?")[2]
        page.goto(f"{url}/?{one_time}")
        at.head("Overview")
        assert page.url == f"{url}/"
        job = at.one.submit("asian_call", replicates=LONG)
        page.locator(".places a[href='#/jobs']").click()
        assert page.url == f"{url}/#/jobs"
        page.locator("tbody tr a").first.click()
        at.head("asian_call")
        at.state("running")
        expect(page.locator(".stream")).to_have_text("Live")
        at.press("Cancel")
        at.press("Cancel the job", page.get_by_role("dialog"))
        at.state("cancelled")
        assert job["id"] in page.url
        assert at.said == []


def test_a_viewer_signs_in_with_a_token_and_is_offered_nothing_that_it_may_not(tmp_path: Path) -> None:
    with desk(tmp_path, signed_in=False, with_tokens=True) as at:
        page = at.page
        job = at.one.submit("asian_call", replicates=LONG)
        at.at(f"jobs/{job['id']}")
        page.get_by_label("Token").fill("bgs_00000000_wrong")
        at.press("Sign in")
        expect(page.get_by_role("alert")).to_contain_text("this token is unknown, expired or revoked")
        page.get_by_label("Token").fill(token(at.one, "viewer"))
        at.press("Sign in")
        at.head("asian_call")
        at.state("running")
        expect(page.locator(".stream")).to_have_text("Live")
        assert page.locator("main .actions").get_by_role("button").count() == 0
        assert page.get_by_role("link", name=re.compile("New job|Run again")).count() == 0
        for view in ("jobs", "dead-letters", "schedules", "health", "sweeps"):
            at.at(view)
            expect(page.locator(".pending")).to_have_count(0)
            assert page.locator("main .head").get_by_role("button").count() == 0
            assert page.locator("main input[type=checkbox]").count() == 0
        at.press("Sign out")
        expect(page.locator(".sign-in")).to_be_visible()
        assert [text for text in at.said if "401" not in text] == []


def test_a_sweep_from_the_form_fills_its_map(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        at.at("sweeps/new")
        page.get_by_label("Simulation").select_option("bgsim.models.options.european_call")
        for name, text in (("strike", "90 to 110 in 5"), ("volatility", "0.1, 0.2, 0.3")):
            page.locator(".field", has=page.locator(f"[name='parameters.{name}']")).get_by_role(
                "button", name="Vary"
            ).click()
            page.get_by_label(name).fill(text)
        page.get_by_label("Replicates").fill("500")
        at.press("Submit the sweep")
        at.head("european_call")
        expect(page.locator(".heat-cells .known")).to_have_count(15)
        expect(page.locator(".sweep-top")).to_contain_text("15 of 15")
        page.locator(".heat-cells button").first.click()
        at.head("european_call")
        at.state("completed")
        at.at("sweeps")
        expect(page.locator("tbody tr")).to_have_count(1)
        assert at.said == []


def test_the_engine_is_paused_and_resumed(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        at.one.submit("asian_call", wait=60, replicates=100)
        at.at("health")
        expect(at.page.locator(".verdict")).to_contain_text("All is well.")
        at.press("Pause the engine")
        expect(at.page.locator(".side .paused")).to_have_text("The engine is paused")
        assert at.one.engine.paused
        at.press("Resume the engine")
        expect(at.page.locator(".side .paused")).to_have_count(0)
        queue = at.page.get_by_role("table", name="Queues").locator("tbody tr", has_text="asian_call")
        at.press("Pause", queue)
        expect(queue).to_contain_text("paused")
        expect(at.page.get_by_role("table", name="Audit log")).to_contain_text("pause")
        assert at.said == []


def test_times_are_local_or_utc_and_the_theme_is_kept(tmp_path: Path) -> None:
    with desk(tmp_path) as at:
        page = at.page
        at.one.submit("asian_call", wait=60, replicates=100)
        at.at("jobs")
        time = page.locator("tbody time").first
        assert "UTC" in (time.get_attribute("title") or "")
        at.press("Local time")
        iso = time.get_attribute("datetime") or ""
        expect(time).to_have_text(iso[11:19])
        page.get_by_role("button", name="Theme: Auto").click()
        page.get_by_role("button", name="Theme: Light").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 17, 20)"
        page.reload()
        expect(page.get_by_role("button", name="Theme: Dark")).to_be_visible()
        expect(time).to_have_text(iso[11:19])


def test_small_functions_of_the_page(tmp_path: Path) -> None:
    with desk(tmp_path) as at:

        def call(module: str, expression: str) -> Any:
            return at.page.evaluate(f"import(new URL('page/{module}', document.baseURI)).then((m) => {expression})")

        assert call("format.js", "[0.0312, 4.5, 61, 3599.9, 3601, 90000].map(m.duration)") == [
            "31 ms",
            "4.5 s",
            "1 min 1 s",
            "1 h",
            "1 h",
            "1 d 1 h",
        ]
        assert call(
            "format.js",
            "[[10.50289, 0.00203], [-3, 0], [0.00001234, 2e-7], [1e12, 3]].map(([a, b]) => m.measured(a, b))",
        ) == ["10.5029 ± 0.0020", "−3", "0.00001234 ± 0.00000020", "1000000000000 ± 3"]
        assert call("format.js", "[999, 1000, 999_499_999].map(m.bytes)") == ["999 B", "1.0 kB", "999 MB"]
        assert (
            call(
                "api.js", "m.encode({a: new m.Raw('12345678901234567890'), b: undefined, c: [null, 'x'], d: {e: 1.5}})"
            )
            == '{"a":12345678901234567890,"c":[null,"x"],"d":{"e":1.5}}'
        )
        assert call("api.js", 'm.decode(\'{"seed": 12345678901234567890, "x": 1e300, "y": 7}\')') == {
            "seed": "12345678901234567890",
            "x": 1e300,
            "y": 7,
        }
        assert (
            call(
                "fields.js",
                "m.parametersOf([{name: 'x', type: 'float', required: true}, {name: 'y', type: 'int', default: 3}, {name: 's', type: 'str'}], {x: '+.50e3', y: '3', s: '1'}).x.text",
            )
            == "0.50e3"
        )
        assert call(
            "fields.js", "['2_000', '2e5', '1.5M', 'many'].map((text) => m.counted(text)).map((n) => n.text ?? n)"
        ) == ["2000", 200_000, 1_500_000, "many"]
        typed = 'asian_call strike=100 tag:"desk 3" since:24h'
        assert call("filters.js", f"m.fromTyped({typed!r}, 'failed')") == {
            "state": "failed",
            "simulation": "asian_call",
            "parameter.strike": "100",
            "tag": "desk 3",
            "since": "24h",
        }
        assert call("filters.js", f"m.asTyped(m.fromTyped({typed!r}, ''))") == typed
        assert call("filters.js", "m.instant('2h', Date.UTC(2026, 0, 1, 12))") == "2026-01-01T10:00:00.000Z"
        assert call("filters.js", f"m.forBulk({{...m.fromTyped('strike=100 kind=CALL', ''), tag: {MARKUP!r}}})") == {
            "tag": MARKUP,
            "parameters": {"strike": 100, "kind": "CALL"},
        }
        assert call("views/sweeps.js", "m.gridValues('80 to 120 in 5')") == [80, 90, 100, 110, 120]
        assert call("views/sweeps.js", "m.gridValues('1, 2.50, CALL').map((one) => one.text ?? one)") == [
            "1",
            "2.50",
            "CALL",
        ]
        way = call("results.js", "m.running(Array.from({length: 1000}, (_, i) => i % 2))")
        assert way[0][0] == 10
        assert way[-1] == pytest.approx([1000, 0.5, 0.5 / 999**0.5])
        assert at.said == []


VIEWS = (
    "",
    "jobs",
    "jobs?state=running,suspended,cancelling",
    "new?simulation=bgsim.models.options.asian_call",
    "sweeps",
    "sweeps/new",
    "slots",
    "slots/desk 3",
    "dead-letters",
    "schedules",
    "health",
    "jobs?tag=none",
)


@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_every_view_has_no_fault_and_fits(tmp_path: Path, look: str) -> None:
    with desk(
        tmp_path, color_scheme="dark" if look == "dark" else "light", engine={"max_concurrent_simulations": 2}
    ) as at:
        page, one = at.page, at.one
        page.set_viewport_size(NARROW if look == "narrow" else WIDE)
        for strike in (100.0, 105.0):
            done = one.submit(
                "asian_call",
                wait=60,
                replicates=200_000,
                workspace="desk 3",
                tags=["nightly"],
                parameters={"strike": strike},
            )
        failed = one.submit("wordy", wait=60, parameters={"limit": 0.0})
        sweep = one.http.post(
            "/v1/sweeps",
            json={
                "simulation": "european_call",
                "grid": {"strike": [90 + 2 * i for i in range(11)], "volatility": [0.05 * i for i in range(1, 7)]},
                "replicates": 20_000,
            },
        ).json()
        for name in ("nightly", "weekly"):
            one.http.post(
                "/v1/schedules",
                json={"name": name, "cron": "0 2 * * *", "simulation": "asian_call", "replicates": 1000},
            ).raise_for_status()
        at.at(f"sweeps/{sweep['id']}")
        expect(page.locator(".heat-cells .known")).to_have_count(66)
        running = [
            one.submit("asian_call", replicates=LONG, seed=seed, priority="high", tags=["desk 3"]) for seed in (1, 2)
        ]
        waiting = [one.submit("asian_call", replicates=1_000_000, seed=seed) for seed in range(3, 7)]
        jobs = [f"jobs/{each['id']}" for each in (running[0], waiting[0], done, failed)]
        for number, view in enumerate((*VIEWS, f"sweeps/{sweep['id']}", *jobs)):
            at.at(view)
            expect(page.locator("main h1")).to_be_visible()
            expect(page.locator(".pending")).to_have_count(0)
            if view == jobs[0]:
                expect(page.locator("figure canvas")).to_have_count(2)
            name = re.sub(r"\W+", "-", view.partition("-")[0] if view in jobs else view) or "overview"
            shot(page, f"page-{number:02}-{name}-{look}")
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), view
        assert at.said == []
