"""The Lua that moves, removes and brings back single jobs: each script is one atomic step over the ids it is given.

All keys are of one queue and so of one cluster slot. A script run twice, or late, does nothing the second time.
"""

from __future__ import annotations

# KEYS pending or quarantine. ARGV prefix of the task hashes, ids... → the ids that were removed. The oldest job is at
# the end: from there it is found at once. LREM and DEL work out of memory.
DELETE_PENDING = """
local removed = {}
for i = 2, #ARGV do
  local id, hash = ARGV[i], ARGV[1] .. ARGV[i]
  if redis.call('HGET', hash, 'state') == 'pending' and redis.call('LREM', KEYS[1], -1, id) == 1 then
    local lock = redis.call('HGET', hash, 'unique_key')
    if lock and lock ~= '' and redis.call('GET', lock) == id then redis.call('DEL', lock) end
    redis.call('DEL', hash)
    removed[#removed + 1] = id
  end
end
return removed
"""

# KEYS archived. ARGV prefix of the task hashes, ids... → the ids that were removed.
DELETE_ARCHIVED = """
local removed = {}
for i = 2, #ARGV do
  local id, hash = ARGV[i], ARGV[1] .. ARGV[i]
  if redis.call('HGET', hash, 'state') == 'archived' and redis.call('ZREM', KEYS[1], id) == 1 then
    local lock = redis.call('HGET', hash, 'unique_key')
    if lock and lock ~= '' and redis.call('GET', lock) == id then redis.call('DEL', lock) end
    redis.call('DEL', hash)
    removed[#removed + 1] = id
  end
end
return removed
"""

# KEYS archived, pending, retry, scheduled, active, lease. ARGV prefix, now, ids... → archived now, archived in all,
# ids that are still held by a lease. A job that a worker holds is left to it; asynq's own archive does the same.
# What takes a job away works out of memory and what adds it does not, so ZADD comes first.
ARCHIVE = """
local moved, there, held = 0, 0, 0
for i = 3, #ARGV do
  local id, hash = ARGV[i], ARGV[1] .. ARGV[i]
  local state = redis.call('HEXISTS', hash, 'msg') == 1 and redis.call('HGET', hash, 'state') or ''
  local lease = redis.call('ZSCORE', KEYS[6], id)
  if state == 'archived' then
    there = there + 1
  elseif state == 'active' and lease and tonumber(lease) >= tonumber(ARGV[2]) then
    held = held + 1
  elseif state == 'pending' or state == 'retry' or state == 'scheduled' or state == 'active' then
    redis.call('ZADD', KEYS[1], ARGV[2], id)
    local gone = redis.call('LREM', KEYS[2], -1, id) + redis.call('ZREM', KEYS[3], id)
    gone = gone + redis.call('ZREM', KEYS[4], id) + redis.call('LREM', KEYS[5], 0, id)
    redis.call('ZREM', KEYS[6], id)
    if gone > 0 then
      redis.call('HSET', hash, 'state', 'archived')
      redis.call('HDEL', hash, 'pending_since')
      moved, there = moved + 1, there + 1
    else
      redis.call('ZREM', KEYS[1], id)
    end
  end
end
return {moved, there, held}
"""

# KEYS the list or sorted set. ARGV prefix, 'list', 'zset' or 'hash', then for each job: id, score, milliseconds of its
# lock (0 without), how many names and values follow, these. → brought back, and those that were there already.
IMPORT = """
local i, restored, existing = 3, 0, 0
while i <= #ARGV do
  local id, score, lock_ms, n = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local hash, lock, fields = ARGV[1] .. id, nil, {}
  for j = 1, n, 2 do
    fields[j], fields[j + 1] = ARGV[i + 3 + j], ARGV[i + 4 + j]
    if fields[j] == 'unique_key' then lock = fields[j + 1] end
  end
  i = i + 4 + n
  if redis.call('EXISTS', hash) == 1 or (lock_ms > 0 and lock and redis.call('EXISTS', lock) == 1) then
    existing = existing + 1
  else
    redis.call('HSET', hash, unpack(fields))
    if ARGV[2] == 'zset' then redis.call('ZADD', KEYS[1], score, id) end
    if ARGV[2] == 'list' then redis.call('LPUSH', KEYS[1], id) end
    if lock_ms > 0 and lock then redis.call('SET', lock, id, 'PX', lock_ms) end
    restored = restored + 1
  end
end
return {restored, existing}
"""
