"""What Redis runs of the storage of states: each script alone and whole, so each is one transaction.

KEYS[1] is the hash of a spec's states, whose values begin with 24 bytes: revision, position and newest, each big-endian
with 2^63 added. PUT and REMOVE have KEYS[2], the sorted set of (newest, customer).
"""

# ARGV: whether the older of two stays, the spec's hash, then customer and value of each. Gives whose value stayed.
# A Lua number holds 53 bits, so integers of 64 are compared in halves.
PUT = """
local guarded, stayed = ARGV[1] == '1', {}
local function older(a, b)
  local a1, a2, a3, a4 = struct.unpack('>I4I4I4I4', a)
  local b1, b2, b3, b4 = struct.unpack('>I4I4I4I4', b)
  if a1 ~= b1 then return a1 < b1 end
  if a2 ~= b2 then return a2 < b2 end
  if a3 ~= b3 then return a3 < b3 end
  return a4 < b4
end
redis.call('SADD', KEYS[3], ARGV[2])
for i = 3, #ARGV, 2 do
  local who, new = ARGV[i], ARGV[i + 1]
  local old = redis.call('HGET', KEYS[1], who)
  if guarded and old and older(new, old) then
    stayed[#stayed + 1] = who
  else
    if old then redis.call('ZREM', KEYS[2], string.sub(old, 17, 24) .. who) end
    redis.call('HSET', KEYS[1], who, new)
    if #new > 24 then redis.call('ZADD', KEYS[2], 0, string.sub(new, 17, 24) .. who) end
  end
end
return stayed
"""
# ARGV: customers.
REMOVE = """
for _, who in ipairs(ARGV) do
  local old = redis.call('HGET', KEYS[1], who)
  if old then
    redis.call('ZREM', KEYS[2], string.sub(old, 17, 24) .. who)
    redis.call('HDEL', KEYS[1], who)
  end
end
"""
# ARGV: the cursor of a scan, and how many to look at. Names alone: what HSCAN itself gives has the states too.
NAMES = """
local found, names = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]), {}
for i = 1, #found[2], 2 do names[#names + 1] = found[2][i] end
return {found[1], names}
"""
_RUN = "string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')"
# ARGV: the field of the life, a random name for it, the spec's hash. KEYS[2] is the set of specs. Gives the life.
BEGIN = f"""
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return {_RUN} .. ' ' .. redis.call('HGET', KEYS[1], ARGV[1])
"""
# ARGV: the fields of life and note, the life that work began in, position, version, build, whether there is a build.
NOTE = f"""
local run = {_RUN}
if run .. ' ' .. (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[3] then return 0 end
local position, build = ARGV[4], ARGV[6]
local _, old, _, last = string.match(redis.call('HGET', KEYS[1], ARGV[2]) or '', '(%S+) (%S+) (%S+) (%S*)')
if old and tonumber(old) > tonumber(position) then position = old end
if ARGV[7] == '0' then build = last or '' end
redis.call('HSET', KEYS[1], ARGV[2], run .. ' ' .. position .. ' ' .. ARGV[5] .. ' ' .. build)
return 1
"""
# KEYS[1] is the set of specs. ARGV: what the names of their hashes begin with, the field of the note.
BUILT = """
local found = {}
for _, spec in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if redis.call('HEXISTS', ARGV[1] .. spec, ARGV[2]) == 1 then found[#found + 1] = spec end
end
return found
"""
