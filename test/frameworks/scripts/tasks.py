"""The tasks of celery-queue.py, imported by its worker."""
import os

from celery import Celery
from celery.backends.redis import RedisBackend

url = os.environ["REDIS_URL"]
app = Celery("app", broker=url, backend=url)
prefix = os.environ.get("PREFIX", "")
app.conf.broker_transport_options = {"global_keyprefix": prefix}
# A chord counts its parts in one MULTI over several keys; this version of Celery has no setting for their prefix.
RedisBackend.group_keyprefix = f"{prefix}{RedisBackend.group_keyprefix}"
app.conf.worker_hijack_root_logger = False


@app.task
def double(n):
    return n * 2


@app.task(bind=True, max_retries=2)
def fails_once(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0.1)
    return "second time"


@app.task
def total(numbers):
    return sum(numbers)
