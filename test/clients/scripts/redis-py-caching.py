# redis-py (5.1 and later) with its client-side caching on: python3 redis-py-caching.py PORT
#
# Somebody else writes. What is read is never older than what was read before, and soon the newest; and the
# cache is used, or it would prove nothing.
import sys
import threading
import time

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

# It refuses servers older than 7.4 and goes by the version that HELLO tells, which is that of the servers
# behind the proxy. What it needs of them is in 7.0 too.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"

port = int(sys.argv[1])
KEYS = ["cached:%d" % i for i in range(50)]
ROUNDS = 20
ARRIVAL_S = 5


def caching():
    return redis.Redis(port=port, protocol=3, cache_config=CacheConfig(), decode_responses=True)


cached = caching()
writer = redis.Redis(port=port, decode_responses=True)


def until(holds, what):
    end = time.monotonic() + ARRIVAL_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.001)


# One key after the other: read, changed elsewhere, read again.
for round in range(ROUNDS):
    for key in KEYS[:5]:
        writer.set(key, round)
        until(lambda: cached.get(key) == str(round), "%s is stale in round %d" % (key, round))
        assert cached.get(key) == str(round)
assert cached.get_cache().size > 0

# Several readers, each with a cache of its own, while somebody writes growing numbers. (One cache for several
# threads is where redis-py 8.1 itself fails at times, with a server too.)
stop = threading.Event()
problems = []


def read():
    try:
        latest = {}
        own = caching()
        while not stop.is_set():
            for key in KEYS:
                value = int(own.get(key) or 0)
                assert value >= latest.get(key, 0), "%s went from %d to %d" % (key, latest[key], value)
                latest[key] = value
    except Exception as error:
        problems.append(error)


for key in KEYS:
    writer.set(key, 1)
readers = [threading.Thread(target=read) for _ in range(4)]
for reader in readers:
    reader.start()
for number in range(2, 2 + ROUNDS):
    for key in KEYS:
        writer.set(key, number)
stop.set()
for reader in readers:
    reader.join()
assert problems == [], problems
for key in KEYS:
    until(lambda: cached.get(key) == str(1 + ROUNDS), "%s is stale at the end" % key)

# Other commands, several keys, deletion, and everything at once.
writer.mset({"{tag}a": "1", "{tag}b": "2"})
assert cached.mget("{tag}a", "{tag}b") == ["1", "2"]
writer.set("{tag}b", "3")
until(lambda: cached.mget("{tag}a", "{tag}b") == ["1", "3"], "MGET is stale")
writer.hset("hash", "field", "1")
assert cached.hget("hash", "field") == "1"
writer.hset("hash", "field", "2")
until(lambda: cached.hget("hash", "field") == "2", "HGET is stale")
writer.delete("hash")
until(lambda: cached.hget("hash", "field") is None, "HGET is stale after DEL")
writer.flushall()
until(lambda: all(cached.get(key) is None for key in KEYS), "GET is stale after FLUSHALL")

print("round of work done")
