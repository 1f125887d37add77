# redis-py, as an application would use it: python3 redis-py.py PORT
import os
import sys

import redis

port = int(sys.argv[1])
r = redis.Redis(port=port)
p = "redis-py:"

assert r.set(p + "s", "value", ex=100) is True
assert r.get(p + "s") == b"value"
assert r.incrby(p + "n", 5) == 5
assert r.mset({p + "a": 1, p + "b": 2, p + "c": 3})
assert r.mget(p + "a", p + "b", p + "c", p + "none") == [b"1", b"2", b"3", None]

assert r.hset(p + "h", mapping={"name": "Ada", "born": 1815}) == 2
assert r.hgetall(p + "h") == {b"name": b"Ada", b"born": b"1815"}
r.rpush(p + "l", "x", "y", "z")
assert r.lrange(p + "l", 0, -1) == [b"x", b"y", b"z"]
r.sadd(p + "set", "m", "n")
assert r.smembers(p + "set") == {b"m", b"n"}
r.zadd(p + "z", {"one": 1, "two": 2.5})
assert r.zrange(p + "z", 0, -1, withscores=True) == [(b"one", 1.0), (b"two", 2.5)]
entry = r.xadd(p + "x", {"field": "entry"})
assert r.xrange(p + "x") == [(entry, {b"field": b"entry"})]

assert r.eval("return redis.call('incr', KEYS[1])", 1, p + "script") == 1
script = r.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
assert script(keys=[p + "script"], args=[4]) == 5

pipe = r.pipeline(transaction=False)
for i in range(1000):
    pipe.set(p + "p:%d" % i, i)
    pipe.get(p + "p:%d" % i)
results = pipe.execute()
assert results == [x for i in range(1000) for x in (True, b"%d" % i)]

seen = set(r.scan_iter(match=p + "p:*", count=100))
assert len(seen) == 1000

binary = os.urandom(3000000)
r.set(p + "big", binary)
assert r.get(p + "big") == binary


def refused(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError("no error")


refused(redis.ResponseError, "WRONGTYPE", lambda: r.lpush(p + "s", "x"))
refused(redis.ResponseError, "unknown command", lambda: r.execute_command("NOSUCH"))
refused(redis.ResponseError, "CROSSSLOT", lambda: r.rename(p + "a", p + "b"))

second = redis.Redis(port=port, db=5, client_name="second", decode_responses=True)
assert second.get(p + "s") is None
second.set(p + "s", "of five")
assert second.get(p + "s") == "of five"
assert r.get(p + "s") == b"value"
assert any(client["name"] == "second" for client in r.client_list())
assert r.delete(p + "a", p + "b", p + "c") == 3
assert r.dbsize() > 1000
assert r.info()["redis_version"]
second.close()
print("round of work done")
