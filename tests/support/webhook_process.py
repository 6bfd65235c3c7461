"""A process that ends 150 jobs and sends their messages, and waits to be killed: ``python webhook_process.py FILE URL``."""

from __future__ import annotations

import sys
import time

from store_helpers import history_job

from bgsim.service.webhooks import Sender, check_webhook, deliveries_of
from bgsim.storage import ResultStore
from bgsim.storage.times import time_text

path, url = sys.argv[1:]
history = ResultStore(path).history
sender = Sender(history, allow_private=True)
sender.start()
for number in range(150):
    now = time_text(time.time())
    row = history_job(number, state="completed", submitted_at=now, ended_at=now)
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
    hook = check_webhook({"url": f"{url}&n={number % 7}", "secret": secret}, allow_private=True)
    history.end_job(row, deliveries_of(row, [hook], now), lambda _: sender.wake())
    if number % 20 == 19:
        history.open_jobs()  # waits for the writer
sys.stdin.read()
