# redis-py in Sentinel mode: python3 sentinel-redis-py.py NAME SENTINELPORT...
# Prints the port of the server that it has reached, whenever that is another one; runs until its input ends.
import os
import sys
import threading
import time

from redis.exceptions import RedisError
from redis.sentinel import Sentinel


def end_with_input():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
name, *ports = sys.argv[1:]
sentinel = Sentinel([("127.0.0.1", int(port)) for port in ports], socket_timeout=2)
master = sentinel.master_for(name)
last = None
while True:
    try:
        port = master.info("server")["tcp_port"]
        if port != last:
            print(port, flush=True)
        last = port
    except RedisError:
        pass
    time.sleep(0.1)
