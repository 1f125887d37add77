"""python-rq: a queue, results, a retry, a dependent and a scheduled job: python3 rq-queue.py PORT"""
import datetime
import sys

import jobs
import redis
import rq
from rq.registry import FinishedJobRegistry, ScheduledJobRegistry
from rq.scheduler import RQScheduler

connection = redis.Redis(port=int(sys.argv[1]))
queue = rq.Queue("mail", connection=connection)
doubled = [queue.enqueue(jobs.double, n) for n in range(20)]
retried = queue.enqueue(jobs.fails_once, "attempts", retry=rq.Retry(max=2))
first = queue.enqueue(jobs.double, 100)
dependent = queue.enqueue(jobs.double, 101, depends_on=first)
assert queue.count == 22, queue.count
assert dependent.get_status() == "deferred"
scheduled = queue.enqueue_in(datetime.timedelta(seconds=0), jobs.double, 7)
assert scheduled in ScheduledJobRegistry(queue=queue)

worker = rq.SimpleWorker([queue, rq.Queue("low", connection=connection)], connection=connection)
scheduler = RQScheduler([queue], connection=connection)
assert scheduler.acquire_locks() == {"mail"}
scheduler.enqueue_scheduled_jobs()
scheduler.release_locks()
worker.work(burst=True, logging_level="CRITICAL")

assert [job.result for job in doubled] == [n * 2 for n in range(20)]
retried.refresh()
assert retried.result == "second time", retried.result
dependent.refresh()
assert dependent.result == 202
assert scheduled.result == 14
assert queue.count == 0
assert len(FinishedJobRegistry(queue=queue)) == 24
assert rq.Worker.count(connection=connection) == 0
print("round of work done")
