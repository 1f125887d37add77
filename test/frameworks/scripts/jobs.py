"""The jobs of rq-queue.py, imported by its worker."""
import rq


def double(n):
    return n * 2


def fails_once(key):
    if rq.get_current_job().connection.incr(key) == 1:
        raise RuntimeError("the first time fails")
    return "second time"
