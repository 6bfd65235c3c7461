"""The examples of the service: the clients run, the demo ends, the board shows metrics that there are."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from paths import ROOT
from served import served, token

from bgsim.config import EngineConfig
from bgsim.service.settings import ServiceSettings, read_settings

EXAMPLES = ROOT / "examples" / "service"


def test_the_client_in_python_submits_follows_and_fetches() -> None:
    with served(with_tokens=True) as one:
        command = [sys.executable, str(EXAMPLES / "client.py"), one.running.url, token(one, "operator")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[-2].startswith("job.completed  100.0%")
        assert re.fullmatch(r"price \d\.\d{4} ± 0\.\d{4}", lines[-1])
        refused = subprocess.run([*command[:-1], "bgs_x"], capture_output=True, text=True, timeout=100, check=False)
        assert (refused.returncode, "bgsim token new" in refused.stderr) == (1, True)


def test_the_demo_prints_its_address_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py")], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=.+\n", process.stdout.readline())
        assert "Ctrl-C" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_the_settings_are_settings() -> None:
    service, engine = read_settings(EXAMPLES / "settings.toml")
    settings = ServiceSettings.of(service)
    assert settings.overrides["asian_call"].retry.retries == 3
    assert settings.limits_of("operator").max_open_jobs == 200
    assert EngineConfig.of(None, engine).limits == {"pricing": 2}
    assert tomllib.loads((EXAMPLES / "settings.toml").read_text())["service"].keys() <= set(
        ServiceSettings.__dataclass_fields__
    )


def test_compose_names_what_there_is() -> None:
    compose = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        assert ("image" in service) != ("build" in service), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./") and source != "./metrics-token":  # which its user makes
                assert (EXAMPLES / source).exists(), source
            elif not source.startswith("./"):
                assert source in compose["volumes"]
        assert set(service.get("depends_on", ())) <= set(compose["services"])
    build = compose["services"]["bgsim"]["build"]
    assert (EXAMPLES / build["context"] / build["dockerfile"]).is_file()
    options = (ROOT / "bgsim" / "ui" / "serve_cli.py").read_text()
    for variable in compose["services"]["bgsim"]["environment"]:
        assert f'"--{variable.removeprefix("BGSIM_").lower().replace("_", "-")}"' in options
    for path in EXAMPLES.rglob("*.yml"):
        assert yaml.safe_load(path.read_text()), path


def test_the_board_shows_metrics_that_there_are() -> None:
    board = json.loads((EXAMPLES / "grafana" / "bgsim.json").read_text())
    with served() as one:
        one.until(one.submit()["id"])
        text = one.http.get("/metrics").text
    shown = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"bgsim_\w+", target["expr"])
    }
    assert len(shown) > 10
    assert [name for name in shown if not re.search(rf"^{name}[ {{]", text, flags=re.MULTILINE)] == []


@pytest.mark.parametrize("name", [
    "bgsim_jobs", "bgsim_jobs_total", "bgsim_queue_depth", "bgsim_queue_wait_seconds", "bgsim_run_seconds",
    "bgsim_replicates_total", "bgsim_replicates_from_store_total", "bgsim_retries_total", "bgsim_dead_letters",
    "bgsim_workers_busy", "bgsim_store_bytes", "bgsim_sse_clients", "bgsim_http_requests_total", "bgsim_http_seconds",
])  # fmt: skip
def test_each_metric_is_there_and_no_label_is_an_id(name: str) -> None:
    with served() as one:
        job = one.submit()["id"]
        one.until(job)
        text = one.http.get("/metrics").text
    assert re.search(rf"^{name}(_bucket)?[ {{]", text, flags=re.MULTILINE)
    assert job not in text
