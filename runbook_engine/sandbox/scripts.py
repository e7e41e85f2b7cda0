"""asynq's state transitions as Lua, one transition all or nothing, as its own client does them. Text only."""

from __future__ import annotations

# KEYS task, pending · ARGV msg, id, now in ns
ENQUEUE = """
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
redis.call("HSET", KEYS[1], "msg", ARGV[1], "state", "pending", "pending_since", ARGV[3])
redis.call("LPUSH", KEYS[2], ARGV[2])
return 1
"""

# KEYS pending, paused, active, lease · ARGV lease expiry, task key prefix
DEQUEUE = """
if redis.call("EXISTS", KEYS[2]) == 1 then return nil end
local id = redis.call("RPOPLPUSH", KEYS[1], KEYS[3])
if not id then return nil end
local key = ARGV[2] .. id
redis.call("HSET", key, "state", "active")
redis.call("HDEL", key, "pending_since")
redis.call("ZADD", KEYS[4], ARGV[1], id)
return redis.call("HGET", key, "msg")
"""

# KEYS active, lease, completed, task, processed, processed today · ARGV id, expiry, msg, day ttl
COMPLETE = """
if redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then return 0 end
if redis.call("ZREM", KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call("ZADD", KEYS[3], ARGV[2], ARGV[1])
redis.call("HSET", KEYS[4], "msg", ARGV[3], "state", "completed")
redis.call("INCR", KEYS[5])
if redis.call("INCR", KEYS[6]) == 1 then redis.call("EXPIRE", KEYS[6], ARGV[4]) end
return 1
"""

# KEYS active, lease, retry or archived, task, processed, processed today, failed, failed today
# ARGV id, score, msg, day ttl, state
FAIL = """
if redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then return 0 end
redis.call("ZREM", KEYS[2], ARGV[1])
redis.call("ZADD", KEYS[3], ARGV[2], ARGV[1])
redis.call("HSET", KEYS[4], "msg", ARGV[3], "state", ARGV[5])
redis.call("INCR", KEYS[5])
if redis.call("INCR", KEYS[6]) == 1 then redis.call("EXPIRE", KEYS[6], ARGV[4]) end
redis.call("INCR", KEYS[7])
if redis.call("INCR", KEYS[8]) == 1 then redis.call("EXPIRE", KEYS[8], ARGV[4]) end
return 1
"""

# KEYS active, lease, pending, task · ARGV id
REQUEUE = """
if redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then return 0 end
redis.call("ZREM", KEYS[2], ARGV[1])
redis.call("RPUSH", KEYS[3], ARGV[1])
redis.call("HSET", KEYS[4], "state", "pending")
return 1
"""

# KEYS scheduled or retry, pending · ARGV now, task key prefix, now in ns
FORWARD = """
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, 100)
for _, id in ipairs(ids) do
    redis.call("LPUSH", KEYS[2], id)
    redis.call("ZREM", KEYS[1], id)
    redis.call("HSET", ARGV[2] .. id, "state", "pending", "pending_since", ARGV[3])
end
return #ids
"""

# KEYS completed · ARGV now, task key prefix
CLEAN = """
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, 100)
for _, id in ipairs(ids) do
    redis.call("DEL", ARGV[2] .. id)
    redis.call("ZREM", KEYS[1], id)
end
return #ids
"""

# KEYS leader · ARGV value, ttl in ms
RENEW = """
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end
return 0
"""

# KEYS leader · ARGV value
RELEASE = """
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0
"""

# KEYS global, workspace · ARGV now in ns, window in ns, global limit, workspace limit, member
DISPATCH = """
for _, key in ipairs(KEYS) do redis.call("ZREMRANGEBYSCORE", key, "-inf", ARGV[1] - ARGV[2]) end
if redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[3]) or redis.call("ZCARD", KEYS[2]) >= tonumber(ARGV[4]) then
    return 0
end
for _, key in ipairs(KEYS) do
    redis.call("ZADD", key, ARGV[1], ARGV[5])
    redis.call("PEXPIRE", key, math.floor(ARGV[2] / 1000000))
end
return 1
"""
