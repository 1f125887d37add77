# Sidekiq: jobs in two queues, scheduled, retried; the statistics of its web page: ruby sidekiq.rb PORT [NAMESPACE]
port, namespace = ARGV
ENV["REDIS_URL"] = "redis://127.0.0.1:#{port}/0"
ENV["NAMESPACE"] = namespace
require_relative "sidekiq-jobs"
require "sidekiq/api"

def check(expected, got)
  abort("expected #{expected.inspect}, got #{got.inspect}\n#{caller.first}\n#{File.read(LOG)}") unless expected == got
end

def wait_until(what)
  deadline = Time.now + 20
  until yield
    abort("Not so in time: #{what}\n#{File.read(LOG)}") if Time.now > deadline
    sleep 0.02
  end
end

def done
  Sidekiq.redis { |redis| redis.lrange("done", 0, -1) }.map(&:to_i).sort
end

LOG = "/tmp/shoal-sidekiq-#{Process.pid}.log"
jobs = File.expand_path("sidekiq-jobs.rb", __dir__)
# Strictly by queue: one BRPOP over several keys, which have to be in one slot.
server = spawn("sidekiq", "-r", jobs, "-q", "critical", "-q", "default", "-c", "3", out: LOG, err: LOG)
begin
  50.times { |number| Count.perform_async(number) }
  Sidekiq::Client.push_bulk("class" => Count, "args" => (50...100).map { |number| [number] })
  begun = Time.now
  Count.perform_in(1, 100)
  FailsOnce.perform_async(101)
  # It would be tried again after some seconds drawn by lot.
  wait_until("a job has failed") { Sidekiq::RetrySet.new.size == 1 }
  Sidekiq::RetrySet.new.first.retry
  wait_until("all jobs are done") { done.size == 102 }
  check((0..101).to_a, done)
  check(true, Time.now - begun >= 0.9)
  check("2", Sidekiq.redis { |redis| redis.get("attempts") })
  check([0, 0], [Sidekiq::RetrySet.new.size, Sidekiq::ScheduledSet.new.size])
  wait_until("the process has said that it is there") { Sidekiq::ProcessSet.new.size == 1 }
ensure
  Process.kill("TERM", server)
  Process.wait(server)
end
# What it writes when it ends, in a MULTI.
check(0, Sidekiq::ProcessSet.new.size)
check([103, 1], [Sidekiq::Stats.new.processed, Sidekiq::Stats.new.failed])
File.delete(LOG)
puts "round of work done"
