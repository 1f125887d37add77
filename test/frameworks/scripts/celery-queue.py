"""Celery: tasks, results, countdown, retry, chain, chord, control: python3 celery-queue.py PORT [PREFIX]"""
import os
import signal
import subprocess
import sys
import tempfile
import time

os.environ["REDIS_URL"] = f"redis://127.0.0.1:{sys.argv[1]}/0"
if len(sys.argv) > 2:
    os.environ["PREFIX"] = sys.argv[2]
from celery import chain, chord
from tasks import app, double, fails_once, total

log = tempfile.NamedTemporaryFile("w+", suffix=".log")
command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "threads", "-c", "4"]
worker = subprocess.Popen([*command, "--without-mingle", "-l", "INFO"], stdout=log, stderr=log)
try:
    results = [double.delay(n) for n in range(30)]
    assert [result.get(timeout=20) for result in results] == [n * 2 for n in range(30)]
    begun = time.monotonic()
    assert double.apply_async((21,), countdown=0.5).get(timeout=20) == 42
    assert time.monotonic() - begun >= 0.45
    assert fails_once.delay().get(timeout=20) == "second time"
    assert chain(double.s(1), double.s(), double.s())().get(timeout=20) == 8
    assert chord([double.s(n) for n in range(5)])(total.s()).get(timeout=20) == 20
    assert double.map([1, 2, 3]).delay().get(timeout=20) == [2, 4, 6]
    # Questions to all workers: Pub/Sub there, a list back.
    (answer,) = app.control.ping(timeout=2)
    assert list(answer.values()) == [{"ok": "pong"}], answer
except BaseException:
    log.seek(0)
    sys.stderr.write(log.read())
    raise
finally:
    worker.send_signal(signal.SIGTERM)
    worker.wait(20)
print("round of work done")
