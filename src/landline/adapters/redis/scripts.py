"""The steps that Redis has to take in one go, and the only ones that are scripts.

`ENTER` compares and sets the server's key, which no plain command does. Registrations go in with it
for two reasons. Nobody may read them and find their server dead, after a FLUSHALL, say. And one
command for two hundred sessions costs a tenth of four hundred commands.
The others delete only what is still as it was seen, and nothing that was made since.

A key may be somebody else's, and of another type. One of a user is left alone: nothing of ours is
there, and that concerns this user, not those behind it. The server's own is an error that the
caller puts into words.
"""

# KEYS: the server's, then the users'. ARGV: incarnation, life, milliseconds to live of the
# server's key and of the users', beat, then one member for each user. Returns what the server's key
# held before, '' for nothing. It is ours now, unless another run of a server held it; the
# registrations are made either way. A beat that comes late, on another connection, does not
# set ours back.
ENTER = """
local held = redis.pcall('GET', KEYS[1]) or ''
if type(held) == 'table' then
  return held
end
local ours = ARGV[1] .. '/'
local is_ours = string.sub(held, 1, #ours) == ours
local is_newer = is_ours and (tonumber(string.sub(held, #ours + 1)) or 0) > tonumber(ARGV[5])
if held == '' or (is_ours and not is_newer) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
for i = 2, #KEYS do
  local made = redis.pcall('HSET', KEYS[i], ARGV[i + 4], ARGV[5])
  if type(made) ~= 'table' then
    redis.call('PEXPIRE', KEYS[i], ARGV[4])
  elseif string.sub(made['err'], 1, 9) ~= 'WRONGTYPE' then
    return made
  end
end
return held
"""

# KEYS: users. ARGV: for each, member and the value that it was seen with.
REMOVE_IF_UNCHANGED = """
for i = 1, #KEYS do
  local found = redis.pcall('HGET', KEYS[i], ARGV[2 * i - 1])
  if found == ARGV[2 * i] then
    redis.call('HDEL', KEYS[i], ARGV[2 * i - 1])
  elseif type(found) == 'table' and string.sub(found['err'], 1, 9) ~= 'WRONGTYPE' then
    return found
  end
end
return 1
"""

# KEYS: the server's. ARGV: the value it was seen with ('' for none), new value, milliseconds to
# live. Returns 1 when it was still so and is the new one now; with '' as new value it is gone.
REPLACE_IF_UNCHANGED = """
local held = redis.pcall('GET', KEYS[1]) or ''
if type(held) == 'table' then
  return held
end
if held ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
"""
