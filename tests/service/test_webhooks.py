"""Webhooks: what is signed and sent, to whom never, and when again."""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
import logging
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import pytest
from new_process import start_script
from paths import SUPPORT
from receivers import raw_receiver, receiver
from served import served
from standardwebhooks import Webhook
from store_helpers import delivery, history_job

from bgsim.clock import ManualClock
from bgsim.errors import InvalidInputError, StoreError
from bgsim.service import webhooks
from bgsim.service.posting import Poster, PostError, check_url, is_public
from bgsim.service.webhooks import CLAIM_S, RETRY_AFTER_S, Sender, check_webhook, deliveries_of
from bgsim.storage import MemoryStore, ResultStore
from bgsim.storage.history import JobQuery
from bgsim.storage.times import time_text

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
NOW = time.time()


@pytest.fixture
def store(tmp_path):
    opened = ResultStore(tmp_path / "s.db")
    yield opened
    opened.close()


@pytest.fixture
def clock():
    return ManualClock(NOW)


def ended(number: int = 0, **more):
    given = {
        "state": "completed",
        "submitted_at": time_text(NOW),
        "started_at": time_text(NOW),
        "ended_at": time_text(NOW),
    }
    return history_job(number, **{**given, **more})


def end(store, url: str, number: int = 0, **more) -> None:
    """End a job with a webhook."""
    row = ended(number, **more)
    hook = check_webhook({"url": url, "secret": SECRET}, allow_private=True)
    store.history.end_job(row, deliveries_of(row, [hook], time_text(NOW)))


def states(store) -> list[tuple[str, int, int]]:
    return [(row.state, row.attempts, row.status) for row in store.history.deliveries()[::-1]]


def sender(store, clock, **options) -> Sender:
    return Sender(store.history, clock=clock, poster=Poster(allow_private=True, **options))


# ---- what is sent ----------------------------------------------------------------------------------


class AtNow(datetime):
    """A clock that stands, as the sender's does: the library refuses messages that are older than five minutes."""

    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(NOW, tz)


def test_a_message_is_signed_as_the_standard_says(store, clock, monkeypatch) -> None:
    """By the judgement of the standard's own library."""
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", AtNow)
    with receiver() as found:
        end(store, found.url, tags='["a"]', error="", tenant="lab", result_hash="f" * 32)
        assert sender(store, clock).step() == pytest.approx(60)
    ((path, headers, body),) = found.got
    content = Webhook(SECRET).verify(body, headers)
    assert path == "/hook?a=1"
    assert (headers["Content-Type"], headers["Host"]) == ("application/json", found.url.split("/")[2])
    assert (content["type"], content["timestamp"]) == ("job.completed", time_text(NOW))
    job = content["data"]["job"]
    assert (job["id"], job["state"], job["tags"], job["tenant"]) == ("j0", "completed", ["a"], "lab")
    assert (job["parameters"], job["seed"], job["error"]) == ({"x": 1.0}, 0, None)
    assert states(store) == [("delivered", 1, 200)]
    assert SECRET not in body.decode()
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(base64.b64encode(b"another").decode()).verify(body, headers)


def test_each_event_goes_to_those_who_ask_for_it() -> None:
    hooks = [
        check_webhook({"url": f"https://example.com/{number}", "secret": SECRET, **events})
        for number, events in enumerate(
            [{}, {"events": ["job.dead_lettered"]}, {"events": ["job.failed", "job.completed"]}]
        )
    ]
    for state, expected in (
        ("completed", ["job.completed 0", "job.completed 2"]),
        ("failed", ["job.failed 0", "job.failed 2", "job.dead_lettered 1"]),
        ("cancelled", ["job.cancelled 0"]),
    ):
        found = deliveries_of(ended(state=state), hooks, time_text(NOW))
        assert [f"{each.event} {each.url[-1]}" for each in found] == expected
        assert all(json.loads(each.payload)["type"] == each.event for each in found)
        assert len({each.id for each in found}) == len(found)
        assert all(len(each.id) == 28 and each.id.startswith("msg_") for each in found)
        assert found == deliveries_of(ended(state=state), hooks, time_text(NOW))


def test_large_parameters_and_damage_are_left_out() -> None:
    hook = check_webhook({"url": "https://example.com", "secret": SECRET})
    large = ended(parameters=json.dumps({"x": "y" * 3000}))
    odd = ended(parameters="no JSON", tags="5 5", seed="x")
    found = [json.loads(deliveries_of(row, [hook], time_text(0))[0].payload)["data"]["job"] for row in (large, odd)]
    assert found[0]["parameters"] == {"...": "3,009 characters"}
    assert (found[1]["parameters"], found[1]["tags"], found[1]["seed"]) == (None, None, None)
    assert deliveries_of(ended(), [{}, {"url": 5}], time_text(0)) == []


def test_a_job_over_http_tells_its_webhook_and_those_of_every_job(tmp_path) -> None:
    """With the secret of each; the answers of the API show neither."""
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with receiver() as own, receiver() as every:
        settings = {"allow_private_webhooks": True, "webhook_secret": other, "webhooks": [{"url": every.url}]}
        with served(tmp_path / "s.db", **settings) as one:
            job = one.submit(webhook={"url": own.url, "secret": SECRET, "events": ["job.completed"]})
            assert own.arrived.acquire(timeout=60)
            assert every.arrived.acquire(timeout=60)
            shown = one.http.get(f"/v1/jobs/{job['id']}").text
    for found, secret in ((own, SECRET), (every, other)):
        ((_, headers, body),) = found.got
        content = Webhook(secret).verify(body, headers)
        assert (content["type"], content["data"]["job"]["id"]) == ("job.completed", job["id"])
        assert (
            content["data"]["job"].items()
            <= {**json.loads(shown), "tenant": None, "error": None, "store_error": None}.items()
        )
        assert secret not in shown


# ---- when again ------------------------------------------------------------------------------------


def test_a_message_is_sent_again_at_the_times_of_the_standard(store, clock) -> None:
    """Under the same id, each time with a signature of its own; then it has failed."""
    with receiver(500, 404, 429, 503, 400, 302, 199 + 301) as found:
        end(store, found.url)
        times = [clock.time()]
        for after in RETRY_AFTER_S:
            assert sender(store, clock).step() == pytest.approx(min(60, after))
            clock.advance(after - 0.001)
            sender(store, clock).step()
            assert len(found.got) == len(times)
            clock.advance(0.001)
            times.append(clock.time())
        sender(store, clock).step()
        assert states(store) == [("failed", 7, 500)]
        clock.advance(1e6)
        sender(store, clock).step()
    assert len(found.got) == len(RETRY_AFTER_S) + 1
    assert len({headers["webhook-id"] for _, headers, _ in found.got}) == 1
    for (_, headers, body), at in zip(found.got, times, strict=True):
        assert int(headers["webhook-timestamp"]) == int(at)
        moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        assert headers["webhook-signature"] == Webhook(SECRET).sign(headers["webhook-id"], moment, body.decode())


def test_a_message_that_is_taken_at_last_is_delivered(store, clock) -> None:
    with receiver(500, 204) as found:
        end(store, found.url)
        sender(store, clock).step()
        assert states(store) == [("pending", 1, 500)]
        clock.advance(RETRY_AFTER_S[0])
        sender(store, clock).step()
    assert states(store) == [("delivered", 2, 204)]
    assert store.history.deliveries()[0].error == ""


def test_gone_ends_it(store, clock) -> None:
    with receiver(410) as found:
        end(store, found.url)
        sender(store, clock).step()
    assert states(store) == [("failed", 1, 410)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(store, clock, status) -> None:
    """It is a failure, that says so."""
    with receiver() as elsewhere, receiver(status, Location=elsewhere.url) as found:
        end(store, found.url)
        sender(store, clock).step()
        assert elsewhere.got == []
    (row,) = store.history.deliveries()
    assert (row.state, row.error) == ("pending", f"status {status}: redirects are not followed")


# ---- receivers that do not answer ------------------------------------------------------------------


def test_a_receiver_that_is_not_there_costs_itself_alone(store, clock) -> None:
    """Whatever keeps it from answering, the next one gets its message, and the reason is kept."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with ExitStack() as opened:
        urls = [f"http://127.0.0.1:{port}/"]
        for answer in (
            lambda connection: connection.recv(1),
            lambda connection: connection.sendall(b"HTTP/1.1 200"),
            lambda connection: connection.sendall(b"nonsense\r\n\r\n"),
            lambda connection: connection.sendall(b"HTTP/1.1 999999 x\r\n\r\n"),
        ):
            urls.append(opened.enter_context(raw_receiver(answer)))
        found = opened.enter_context(receiver())
        urls += [found.url, f"https://127.0.0.1:{found.url.split(':')[2].split('/')[0]}/"]
        for number, url in enumerate(urls):
            end(store, url, number)
        sender(store, clock, timeout_s=5.0).step()
    rows = store.history.deliveries()[::-1]
    assert [row.state for row in rows] == ["pending"] * 5 + ["delivered", "pending"]
    assert rows[0].error.startswith("no connection: ")
    assert all(row.error.startswith(("no connection", "no answer")) for row in (*rows[:5], rows[6]))
    assert all(row.attempts == 1 for row in rows)


def _silent(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def _dripping(connection: socket.socket) -> None:
    """Send a header, a byte at a time, until the other side has had enough."""
    connection.settimeout(0.01)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    content = b"?"
    while content:
        connection.sendall(b"x")
        with suppress(TimeoutError):
            content = connection.recv(1000)


def _endless_headers(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n" * 1000)


def _endless_interim(connection: socket.socket) -> None:
    connection.recv(1)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def _endless_body(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 100_000)


@pytest.mark.parametrize(
    ("answer", "timeout_s", "error"),
    [
        (_silent, 0.2, "no answer within 0.2 s"),
        (_dripping, 0.2, "no answer within 0.2 s"),
        (_endless_headers, 30.0, "no answer that makes sense (HTTPException)"),
        (_endless_interim, 30.0, "no answer that makes sense (HTTPException)"),
        (_endless_body, 30.0, ""),
    ],
)
def test_an_attempt_ends_whatever_comes(answer, timeout_s, error) -> None:
    """In time, and having read little: of an answer its status alone is of interest."""
    with raw_receiver(answer) as url, closing(Poster(allow_private=True, timeout_s=timeout_s)) as poster:
        began = time.monotonic()
        if error:
            with pytest.raises(PostError) as refused:
                poster.post(url, b"{}", {})
            assert str(refused.value) in (error, "no answer that makes sense (LineTooLong)")
        else:
            assert poster.post(url, b"{}", {}) == 200
        assert time.monotonic() - began < 10


def test_a_receiver_that_hangs_holds_up_no_other(store, gate) -> None:
    """Its next messages wait for it, and those of all others are sent."""

    def answer(connection: socket.socket) -> None:
        gate.stop_here()

    with raw_receiver(answer) as hanging, receiver() as found:
        running = Sender(store.history, True)
        with started(running):
            for number in range(10):
                end(store, hanging.replace("/hook", f"/{number}"), number)
            running.wake()
            gate.wait_until_reached()
            for number in range(10, 20):
                end(store, f"{found.url}&n={number}".replace("127.0.0.1", "localhost"), number)
            running.wake()
            for _ in range(10):
                assert found.arrived.acquire(timeout=30)
            gate.open()
    assert len(found.got) == 10


@contextmanager
def started(running: Sender):
    running.start()
    try:
        yield running
    finally:
        running.close()


def test_the_end_of_a_service_does_not_wait_for_a_receiver(store, gate) -> None:
    """Its message is tried again by the next one, at once; the attempt does not count."""
    with raw_receiver(lambda _: gate.stop_here()) as url:
        end(store, url)
        running = Sender(store.history, True)
        with started(running):
            gate.wait_until_reached()
            began = time.monotonic()
        running.close()
        assert time.monotonic() - began < 1.0
        gate.open()
    (row,) = store.history.deliveries()
    assert (row.state, row.attempts, row.error) == ("pending", 0, "")
    assert row.due_at <= time_text(time.time())


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="how a connection is ended depends on the system")
def test_the_end_of_a_service_does_not_wait_for_a_connection(store) -> None:
    """Of a server that takes none: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as opened:
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        poster = Poster(allow_private=True, timeout_s=60)
        connecting, errors = threading.Event(), []

        class Watched(set):
            def add(self, each) -> None:
                super().add(each)
                connecting.set()

        poster._open = Watched()

        def post() -> None:
            try:
                poster.post(f"http://127.0.0.1:{full.getsockname()[1]}/", b"", {})
            except PostError as error:
                errors.append(error)

        thread = threading.Thread(target=post)
        thread.start()
        assert connecting.wait(30)
        poster.close()
        thread.join(30)
        assert len(errors) == 1
    with pytest.raises(PostError, match="being closed"):
        poster.post("http://127.0.0.1:1/", b"", {})


# ---- several senders -------------------------------------------------------------------------------


def test_of_two_senders_on_a_file_one_sends(tmp_path) -> None:
    """Each with threads, and a store of its own."""
    with ExitStack() as opened:
        found = opened.enter_context(receiver())
        stores = [opened.enter_context(closing(ResultStore(tmp_path / "s.db"))) for _ in range(2)]
        for number in range(40):
            end(stores[0], f"{found.url}&n={number % 5}", number)
        stores[0].flush()
        for each in stores:
            opened.enter_context(started(Sender(each.history, True)))
        for _ in range(40):
            assert found.arrived.acquire(timeout=60)
    assert len({headers["webhook-id"] for _, headers, _ in found.got}) == len(found.got) == 40


def test_a_message_that_a_dead_process_took_is_sent_after_a_while(store, clock) -> None:
    with receiver() as found:
        end(store, found.url)
        (row,) = store.history.due_deliveries(time_text(clock.time()), 1)
        assert store.history.claim_delivery(row.id, row.due_at, time_text(clock.time() + CLAIM_S))
        assert sender(store, clock).step() == pytest.approx(60)
        clock.advance(CLAIM_S)
        assert found.got == []
        sender(store, clock).step()
        assert len(found.got) == 1


def test_the_outbox_outlives_kill_9(tmp_path) -> None:
    """A process ends jobs and sends their messages until it is killed; the next one sends the rest."""
    path = tmp_path / "s.db"
    with receiver() as found:
        process = start_script(SUPPORT / "webhook_process.py", path, found.url)
        for _ in range(30):
            assert found.arrived.acquire(timeout=60)
        process.kill()
        process.communicate(timeout=60)
        with closing(ResultStore(path)) as store:
            assert store.check().problems == ()
            jobs = {row.id for row in store.history.jobs(JobQuery(limit=10**6))}
            waiting = [row.job for row in store.history.deliveries(state="pending", limit=10**6)]
            assert len(jobs) > 30
            later = ManualClock(time.time() + CLAIM_S)
            sender(store, later).step()
            assert {state for state, _, _ in states(store)} == {"delivered"}
        told = [json.loads(body)["data"]["job"]["id"] for _, _, body in found.got]
    assert set(told) == jobs
    twice = {job for job in told if told.count(job) > 1}
    assert twice <= set(waiting)
    assert len(twice) <= 4, "one for each thread that was killed between the answer and its note"


def test_a_store_that_cannot_be_used_is_waited_for(clock, monkeypatch, caplog) -> None:
    history = MemoryStore().history

    def refuse(*_: object) -> None:
        raise StoreError("locked")

    running = Sender(history, True, clock=clock)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "bgsim.service"):
        patched.setattr(history, "due_deliveries", refuse)
        assert [running._look(), running._look()] == [RETRY_AFTER_S[0]] * 2
    assert running._look() == pytest.approx(60)
    assert [record.message for record in caplog.records] == ["webhooks wait for the store: locked"]


@pytest.mark.parametrize(
    "odd",
    [
        {"attempts": -(10**6)}, {"attempts": 2**63 - 1}, {"url": "no address"}, {"url": ""}, {"secret": "ü"}, {"payload": "ü"},
        {"id": "a\r\nX: y"}, {"id": "ü" * 9}, {"job": "", "event": ""}, {"due_at": ""}, {"due_at": "0 no time"}, {"due_at": "no time"},
        {"created_at": ""}, {"state": "other"},
    ],
)  # fmt: skip
def test_an_odd_row_costs_itself_alone(store, clock, odd) -> None:
    """Another program may have written it."""
    with receiver() as found:
        row = delivery(0, url=found.url, secret=SECRET, created_at=time_text(NOW), due_at=time_text(NOW))
        store.history.end_job(ended(), [replace(row, id="msg_whole", url=f"{found.url}&b"), replace(row, **odd)])
        running = sender(store, clock)
        for _ in range(9):
            assert 0 <= running.step() <= 60
            clock.advance(36_000)
    assert "msg_whole" in {headers["webhook-id"] for _, headers, _ in found.got}
    left = {each.state for each in store.history.deliveries() if each.id != "msg_whole"}
    assert left <= ({"pending", "other"} if odd.keys() & {"due_at", "state"} else {"delivered", "failed"}) | {
        "delivered"
    }


# ---- to whom never ---------------------------------------------------------------------------------

PRIVATE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::10.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "2002:7f00:1::1", "2001::1", "2001:db8::1", "100::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_a_private_network_gets_nothing(address, monkeypatch) -> None:
    """Nor does a name that stands for one, also among others that are public; no socket is made."""
    monkeypatch.setattr(socket, "socket", None)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("8.8.8.8", address)]
    asked = []

    def resolve(*given, **_):
        asked.append(given)
        return found

    poster = Poster(resolve=resolve)
    with pytest.raises(PostError, match="address of this machine or of a private network"):
        poster.post("http://example.com/", b"", {})
    assert asked == [("example.com", 80)]
    if "%" not in address:
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(InvalidInputError, match="everybody can reach"):
            check_url("webhook.url", f"http://{host}:8080/x")
        with pytest.raises(PostError, match="not allowed"):
            poster.post(f"http://{host}/", b"", {})
        assert len(asked) == 1
        assert check_url("webhook.url", f"http://{host}/", allow_private=True).port == 80


def test_what_is_public() -> None:
    assert all(is_public(ipaddress.ip_address(address)) for address in PUBLIC)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "LOCALHOST."])
def test_other_ways_to_write_this_machine_lead_nowhere(host) -> None:
    """By the system's own resolver."""
    with pytest.raises(PostError):
        Poster().post(f"http://{host}:9/", b"", {})


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch) -> None:
    """The name is asked for once, so that a second answer cannot be another; the receiver sees the name."""
    monkeypatch.setattr("bgsim.service.posting.is_public", lambda address: str(address) == "127.0.0.1")
    with receiver() as found:
        port = int(found.url.split(":")[2].split("/")[0])
        answers = itertools.chain(
            [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]], itertools.repeat(None)
        )
        poster = Poster(resolve=lambda *_, **__: next(answers))
        assert poster.post(f"http://hooks.example.com:{port}/a", b"{}", {}) == 200
    assert found.got[0][1]["Host"] == f"hooks.example.com:{port}"


def test_an_address_that_does_not_answer_is_followed_by_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()
    with receiver() as found:
        place = ("127.0.0.1", int(found.url.split(":")[2].split("/")[0]))
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each) for each in (closed, place)]
        assert Poster(allow_private=True, resolve=lambda *_, **__: both).post("http://example.com/", b"", {}) == 200
        for none in ([], both[:1]):
            with pytest.raises(PostError):
                Poster(allow_private=True, resolve=lambda *_, none=none, **__: none).post("http://a.com/", b"", {})


@pytest.mark.skipif(which("openssl") is None, reason="makes the certificate")
def test_https_checks_the_certificate(tmp_path) -> None:
    """One that is not trusted gets no message."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.example.com -addext subjectAltName=DNS:hooks.example.com -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with receiver(tls=serving) as found:
        port = int(found.url.split(":")[2].split("/")[0])
        here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        for tls, host, expected in (
            (trusting, "hooks.example.com", 200),
            (trusting, "other.example.com", "certificate is not accepted"),
            (None, "hooks.example.com", "certificate is not accepted"),
        ):
            poster = Poster(allow_private=True, tls=tls, resolve=lambda *_, **__: here)
            url = f"https://{host}:{port}/a"
            if expected == 200:
                assert poster.post(url, b"{}", {}) == 200
            else:
                with pytest.raises(PostError, match=expected):
                    poster.post(url, b"{}", {})
    assert len(found.got) == 1


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        (None, "webhook", "an object"),
        ([], "webhook", "an object"),
        ({"url": "https://example.com", "secret": SECRET, "secrets": 1}, "webhook", "did you mean 'secret'"),
        ({"secret": SECRET}, "webhook.url", "http or https"),
        *[
            ({"url": url, "secret": SECRET}, "webhook.url", "http or https")
            for url in (
                "", "example.com", "ftp://example.com", "file:///etc/passwd", "https://", "https:///x", "http://[::1", "http://a:x/",
                "http://a:99999/", "http://a:0/", "https://ex ample.com", "https://exämple.com", "https://example.com/\n", 5,
                "https://example.com/" + "x" * 2000, "https://user@example.com", "https://user:pass@example.com", "https://:@a.com",
                "https://exa\\mple.com", "https://a%00.com", "gopher://a", "http://a\x7f/",
            )
        ],
        ({"url": "http://127.0.0.1", "secret": SECRET}, "webhook.url", "everybody can reach"),
        ({"url": "http://localhost:80/x", "secret": SECRET}, "webhook.url", "everybody can reach"),
        *[
            ({"url": "https://example.com", "secret": secret}, "webhook.secret", "whsec_")
            for secret in (
                None, "", "whsec_", "whsec_c2hvcnQ=", SECRET[6:], SECRET + "!", SECRET + " ", "whsec_" + "A" * 200, 5, "whsec_ü"
            )
        ],
        ({"url": "https://example.com", "secret": SECRET, "events": "job.failed"}, "webhook.events", "a list of"),
        ({"url": "https://example.com", "secret": SECRET, "events": ["job.faild"]}, "webhook.events", "did you mean 'job.failed'"),
        ({"url": "https://example.com", "secret": SECRET, "events": [5]}, "webhook.events", "text"),
    ],
)  # fmt: skip
def test_a_webhook_that_cannot_be_is_refused_by_its_field(given, field, message) -> None:
    with pytest.raises(InvalidInputError, match=message) as refused:
        check_webhook(given)
    assert refused.value.field == field
    told = f"{refused.value} {refused.value.value!r}"
    assert not any(secret in told for secret in ("c2hvcnQ", SECRET[6:], "user:pass", "AAAA"))


def test_a_webhook_is_kept_with_all_its_entries() -> None:
    found = check_webhook({"url": "https://example.com:8443/x?y#z", "secret": SECRET})
    assert found == {
        "url": "https://example.com:8443/x?y#z",
        "secret": SECRET,
        "events": ["job.completed", "job.failed", "job.cancelled"],
    }
    assert check_webhook({**found, "events": ("job.failed", "job.failed")})["events"] == ["job.failed"]
    target = check_url("url", found["url"])
    assert (target.is_secure, target.host, target.port, target.path) == (True, "example.com", 8443, "/x?y")


def test_no_secret_is_shown(store, clock, caplog) -> None:
    """Neither in the text of anything, nor in the log, nor in the errors that are kept."""
    with caplog.at_level(logging.DEBUG), receiver(410) as found:
        end(store, found.url.replace("/hook", "/hook/t0psecret"))
        row = replace(delivery(7), url="http://127.0.0.1:1/t0psecret", secret="whsec_bm8=", due_at=time_text(NOW))
        store.history.end_job(ended(1), [row])
        running = sender(store, clock)
        running.step()
    told = f"{running!r} {store.history.deliveries()!r} {caplog.text} {[r.error for r in store.history.deliveries()]}"
    for secret in (SECRET[6:], "t0psecret", "bm8="):
        assert secret not in told
    assert "is given up: status 410" in caplog.text
    assert {each.error for each in store.history.deliveries()} == {"status 410", "its secret cannot be read"}


def test_senders_have_the_events_of_the_api() -> None:
    assert webhooks.EVENTS == ("job.completed", "job.failed", "job.cancelled", "job.dead_lettered")
