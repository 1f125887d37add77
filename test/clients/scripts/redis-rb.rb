# redis-rb, as an application would use it: ruby redis-rb.rb PORT
require "redis"
require "securerandom"

port = Integer(ARGV[0])
r = Redis.new(port: port)
p = "redis-rb:"

def check(got, wanted)
  raise "got #{got.inspect[0, 200]}, wanted #{wanted.inspect[0, 200]}" unless got == wanted
end

check r.set(p + "s", "value", ex: 100), "OK"
check r.get(p + "s"), "value"
check r.incrby(p + "n", 5), 5
r.mset(p + "a", 1, p + "b", 2, p + "c", 3)
check r.mget(p + "a", p + "b", p + "c", p + "none"), ["1", "2", "3", nil]

r.mapped_hmset(p + "h", { "name" => "Ada", "born" => "1815" })
check r.hgetall(p + "h"), { "name" => "Ada", "born" => "1815" }
r.rpush(p + "l", %w[x y z])
check r.lrange(p + "l", 0, -1), %w[x y z]
r.sadd(p + "set", %w[m n])
check r.smembers(p + "set").sort, %w[m n]
r.zadd(p + "z", [[1, "one"], [2.5, "two"]])
check r.zrange(p + "z", 0, -1, with_scores: true), [["one", 1.0], ["two", 2.5]]
id = r.xadd(p + "x", { "field" => "entry" })
check r.xrange(p + "x"), [[id, { "field" => "entry" }]]

check r.eval("return redis.call('incr', KEYS[1])", keys: [p + "script"]), 1
sha = r.script(:load, "return ARGV[1]")
check r.evalsha(sha, keys: [p + "script"], argv: ["said"]), "said"

results = r.pipelined do |pipeline|
  1000.times do |i|
    pipeline.set(p + "p:#{i}", i)
    pipeline.get(p + "p:#{i}")
  end
end
check results, (0...1000).flat_map { |i| ["OK", i.to_s] }

seen = r.scan_each(match: p + "p:*", count: 100).to_a.uniq
check seen.size, 1000

binary = SecureRandom.random_bytes(3_000_000)
r.set(p + "big", binary)
check r.get(p + "big").b, binary

def refused(words)
  yield
  raise "no error"
rescue Redis::CommandError => e
  raise "got #{e.message}" unless e.message.include?(words)
end

refused("WRONGTYPE") { r.lpush(p + "s", "x") }
refused("unknown command") { r.call("NOSUCH") }
refused("CROSSSLOT") { r.rename(p + "a", p + "b") }

second = Redis.new(port: port, db: 5, id: "second")
check second.get(p + "s"), nil
second.set(p + "s", "of five")
check second.get(p + "s"), "of five"
check r.get(p + "s"), "value"
check second.client(:setname, "second"), "OK"
raise "not listed" unless r.client(:list).any? { |client| client["name"] == "second" }
check r.del(p + "a", p + "b", p + "c"), 3
second.close
r.close
puts "round of work done"
