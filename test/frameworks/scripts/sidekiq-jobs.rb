# The jobs of sidekiq.rb, loaded by it and by the Sidekiq process that it starts.
require "sidekiq"

# Debian's redis-rb is newer than its Sidekiq and would say so at each command.
Redis.silence_deprecations = true
Redis.sadd_returns_boolean = false

REDIS = { url: ENV.fetch("REDIS_URL"), namespace: ENV["NAMESPACE"] }.compact
Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.configure_server do |config|
  config.redis = REDIS
  config.options[:poll_interval_average] = 0.2
end

class Count
  include Sidekiq::Worker
  sidekiq_options queue: "default"

  def perform(number)
    Sidekiq.redis { |redis| redis.rpush("done", number) }
  end
end

class FailsOnce
  include Sidekiq::Worker
  sidekiq_options queue: "critical", retry: 3

  def perform(number)
    first = Sidekiq.redis { |redis| redis.incr("attempts") } == 1
    raise "the first time fails" if first

    Sidekiq.redis { |redis| redis.rpush("done", number) }
  end
end
