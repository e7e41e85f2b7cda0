"""The Lua that changes asynq's queues: each script is one atomic step, bounded by the ids or the limit it is given.

All keys are of one queue and so of one cluster slot. Nothing here may touch a task whose hash does not say that it is
in the state expected, so that a script run twice, or late, does nothing the second time. Where memory is short, the
first write is one that Redis refuses (LPUSH, ZADD, LMOVE), so that such a script stops before it has begun.
"""

from __future__ import annotations

# KEYS paused. ARGV the value expected, or "". → 1 when it was removed.
RESUME = """
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# KEYS pending, quarantine. ARGV most. → jobs moved, jobs in quarantine; -1 and the pending when they are more.
# Moves nothing when the quarantine is already there.
QUARANTINE = """
if redis.call('EXISTS', KEYS[2]) == 1 then return {0, redis.call('LLEN', KEYS[2])} end
local n = redis.call('LLEN', KEYS[1])
if n == 0 then return {0, 0} end
if n > tonumber(ARGV[1]) then return {-1, n} end
redis.call('RENAMENX', KEYS[1], KEYS[2])
return {n, n}
"""

# KEYS quarantine, pending. ARGV limit, prefix of the task hashes. → moved, dropped, left; the oldest job first.
RESTORE = """
local n = redis.call('LLEN', KEYS[1])
if n == 0 then return {0, 0, 0} end
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('RENAMENX', KEYS[1], KEYS[2])
  return {n, 0, 0}
end
local moved, dropped = 0, 0
for _ = 1, math.min(n, tonumber(ARGV[1])) do
  local hash = ARGV[2] .. redis.call('LINDEX', KEYS[1], -1)
  if redis.call('HEXISTS', hash, 'msg') == 1 and redis.call('HGET', hash, 'state') == 'pending' then
    redis.call('LMOVE', KEYS[1], KEYS[2], 'RIGHT', 'LEFT')
    moved = moved + 1
  else
    redis.call('RPOP', KEYS[1])
    dropped = dropped + 1
  end
end
return {moved, dropped, redis.call('LLEN', KEYS[1])}
"""

# KEYS archived, pending. ARGV prefix of the task hashes, unix ns, ids... → jobs that are pending now.
# asynq's own retry leaves pending_since out; with it the wait of these jobs stays visible.
RETRY_ARCHIVED = """
local moved = 0
for i = 3, #ARGV do
  local hash = ARGV[1] .. ARGV[i]
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) and redis.call('HEXISTS', hash, 'msg') == 1
     and redis.call('HGET', hash, 'state') == 'archived' then
    redis.call('LPUSH', KEYS[2], ARGV[i])
    redis.call('HSET', hash, 'state', 'pending', 'pending_since', ARGV[2])
    redis.call('ZREM', KEYS[1], ARGV[i])
    moved = moved + 1
  end
end
return moved
"""

# KEYS completed. ARGV prefix of the task hashes, latest score, limit. → records removed, records left by then.
PURGE_COMPLETED = """
local removed = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local hash = ARGV[1] .. id
  local state = redis.call('HGET', hash, 'state')
  if state == 'completed' then redis.call('DEL', hash) end
  redis.call('ZREM', KEYS[1], id)
  removed = removed + 1
end
return {removed, redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[2])}
"""

# KEYS archived. ARGV prefix of the task hashes, ids... → jobs removed. A unique lock goes only when this job holds it.
DELETE_ARCHIVED = """
local removed = 0
for i = 2, #ARGV do
  local id, hash = ARGV[i], ARGV[1] .. ARGV[i]
  local state = redis.call('HGET', hash, 'state')
  if redis.call('ZSCORE', KEYS[1], id) and (state == 'archived' or not state) then
    local lock = redis.call('HGET', hash, 'unique_key')
    if lock and lock ~= '' and redis.call('GET', lock) == id then redis.call('DEL', lock) end
    redis.call('DEL', hash)
    redis.call('ZREM', KEYS[1], id)
    removed = removed + 1
  end
end
return removed
"""

# KEYS active, lease. ARGV prefix of the task hashes, an expired time, ids... → leases given.
# An active job without a lease is never recovered by asynq; with an expired one it is, at the next tick.
LEASE_ORPHANS = """
local leased = 0
for i = 3, #ARGV do
  local id = ARGV[i]
  if redis.call('HEXISTS', ARGV[1] .. id, 'msg') == 1 and redis.call('LPOS', KEYS[1], id) then
    leased = leased + redis.call('ZADD', KEYS[2], 'NX', ARGV[2], id)
  end
end
return leased
"""

# KEYS active, pending, lease. ARGV prefix of the task hashes, ids... → ghosts removed: ids that have no message.
DROP_GHOSTS = """
local dropped = 0
for i = 2, #ARGV do
  local id, hash = ARGV[i], ARGV[1] .. ARGV[i]
  if redis.call('HEXISTS', hash, 'msg') == 0 then
    local gone = redis.call('LREM', KEYS[1], 0, id) + redis.call('LREM', KEYS[2], 0, id)
    gone = gone + redis.call('ZREM', KEYS[3], id) + redis.call('DEL', hash)
    if gone > 0 then dropped = dropped + 1 end
  end
end
return dropped
"""

# KEYS archived, completed, retry, scheduled, lease, pending, active. ARGV prefix of the task hashes, ids... → removed.
# A hash goes only when nothing holds its job: by its state it is in one of the sets, and is in none of them; or it has
# no message, and is in no list either. A pending or active one stays: its message may be the only copy of a job.
PURGE_UNREFERENCED = """
local by_state = {archived = true, completed = true, retry = true, scheduled = true}
local removed = 0
for i = 2, #ARGV do
  local id, hash = ARGV[i], ARGV[1] .. ARGV[i]
  local held = false
  for set = 1, 5 do held = held or redis.call('ZSCORE', KEYS[set], id) end
  local empty = redis.call('HEXISTS', hash, 'msg') == 0
  local gone = by_state[redis.call('HGET', hash, 'state') or '']
  if not held and not gone and empty then
    gone = not redis.call('LPOS', KEYS[6], id) and not redis.call('LPOS', KEYS[7], id)
  end
  if not held and gone and redis.call('EXISTS', hash) == 1 then
    local lock = redis.call('HGET', hash, 'unique_key')
    if lock and lock ~= '' and redis.call('GET', lock) == id then redis.call('UNLINK', lock) end
    redis.call('UNLINK', hash)
    removed = removed + 1
  end
end
return removed
"""
