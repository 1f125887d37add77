<?php
// phpredis, as an application would use it: php phpredis.php PORT
$port = (int) $argv[1];
$r = new Redis();
$r->connect("127.0.0.1", $port);
$p = "phpredis:";

function check($got, $wanted): void
{
    if ($got !== $wanted) {
        throw new Exception("got " . substr(json_encode($got), 0, 200) . ", wanted " . substr(json_encode($wanted), 0, 200));
    }
}

check($r->set($p . "s", "value", ["ex" => 100]), true);
check($r->get($p . "s"), "value");
check($r->incrBy($p . "n", 5), 5);
check($r->mset([$p . "a" => "1", $p . "b" => "2", $p . "c" => "3"]), true);
check($r->mget([$p . "a", $p . "b", $p . "c", $p . "none"]), ["1", "2", "3", false]);

check($r->hMSet($p . "h", ["name" => "Ada", "born" => "1815"]), true);
check($r->hGetAll($p . "h"), ["name" => "Ada", "born" => "1815"]);
$r->rPush($p . "l", "x", "y", "z");
check($r->lRange($p . "l", 0, -1), ["x", "y", "z"]);
$r->sAdd($p . "set", "m", "n");
$members = $r->sMembers($p . "set");
sort($members);
check($members, ["m", "n"]);
$r->zAdd($p . "z", 1, "one", 2.5, "two");
check($r->zRange($p . "z", 0, -1, true), ["one" => 1.0, "two" => 2.5]);
$id = $r->xAdd($p . "x", "*", ["field" => "entry"]);
check($r->xRange($p . "x", "-", "+"), [$id => ["field" => "entry"]]);

check($r->eval("return redis.call('incr', KEYS[1])", [$p . "script"], 1), 1);
$sha = $r->script("load", "return ARGV[1]");
check($r->evalSha($sha, [$p . "script", "said"], 1), "said");

$pipe = $r->multi(Redis::PIPELINE);
for ($i = 0; $i < 1000; $i++) {
    $pipe->set($p . "p:" . $i, $i);
    $pipe->get($p . "p:" . $i);
}
$results = $pipe->exec();
check(count($results), 2000);
for ($i = 0; $i < 1000; $i++) {
    check($results[2 * $i + 1], (string) $i);
}

$r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
$seen = [];
$cursor = null;
while ($keys = $r->scan($cursor, $p . "p:*", 100)) {
    foreach ($keys as $key) {
        $seen[$key] = true;
    }
}
check(count($seen), 1000);

$binary = random_bytes(3000000);
$r->set($p . "big", $binary);
check($r->get($p . "big") === $binary, true);

// phpredis answers false and keeps the text for ERR and WRONGTYPE; other errors are exceptions.
function refused(Redis $r, string $words, callable $call): void
{
    $r->clearLastError();
    try {
        check($call(), false);
        $text = (string) $r->getLastError();
    } catch (RedisException $exception) {
        $text = $exception->getMessage();
    }
    if (!str_contains($text, $words)) {
        throw new Exception("got " . $text);
    }
}
refused($r, "WRONGTYPE", fn () => $r->lPush($p . "s", "x"));
refused($r, "unknown command", fn () => $r->rawCommand("NOSUCH"));
refused($r, "CROSSSLOT", fn () => $r->rename($p . "a", $p . "b"));

$second = new Redis();
$second->connect("127.0.0.1", $port);
check($second->select(5), true);
check($second->client("setname", "second"), true);
check($second->get($p . "s"), false);
$second->set($p . "s", "of five");
check($second->get($p . "s"), "of five");
check($r->get($p . "s"), "value");
check(in_array("second", array_column($r->client("list"), "name")), true);
check($r->del($p . "a", $p . "b", $p . "c"), 3);
$second->close();
echo "round of work done\n";
