//! What the store does by itself, at once and under its own clock. Lua, as Redis 6 and Valkey have it.
//!
//! `KEYS` are always those of [`super::store::Keys`]: the bans, what is known about them, the list of changes.

/// How the store is: its time, the name of this life of the list of changes, how many changes there were, the text of
/// change `ARGV[2]` and of the last one, and how many entries there are. `ARGV[1]` names the next life where there is
/// none: a store that begins empty.
pub(super) const LOOK: &str = r"
local t = redis.call('TIME')
local life = redis.call('HGET', KEYS[2], 'life')
if not life then
  redis.pcall('DEL', KEYS[3])
  redis.pcall('HSET', KEYS[2], 'life', ARGV[1], 'count', '0')
  life = redis.call('HGET', KEYS[2], 'life') or ''
end
local count = redis.call('HGET', KEYS[2], 'count') or '0'
local function text(number)
  local found = redis.call('XRANGE', KEYS[3], number .. '-0', number .. '-0')[1]
  if found then return found[2][1] .. ' ' .. found[2][2] end
  return ''
end
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
return { now, life, count, text(ARGV[2]), text(count), redis.call('HLEN', KEYS[1]) }
";

/// Takes orders, of which the latest given for a network holds. `ARGV[1]` is the store's time as the sender knows it:
/// what was under way for too long is refused as a whole, since it is older than it says. Then six values for each:
/// network, age and time left in milliseconds, seconds ordered (0 lifts), node, reason.
///
/// Answers for each the number of its change, or what is known that is newer.
pub(super) const MERGE: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if math.abs(now - ARGV[1]) > 2000 then return redis.error_reply('LATE by more than 2 s') end
local answers = {}
for i = 2, #ARGV, 6 do
  local network, lasts = ARGV[i], ARGV[i + 3]
  local at, till = now - ARGV[i + 1], now + ARGV[i + 2]
  local old = redis.call('HGET', KEYS[1], network)
  local newer = false
  if old then
    local old_at, old_till = string.match(old, '^(%d+)\t(%d+)\t')
    old_at, old_till = tonumber(old_at) or 0, tonumber(old_till) or 0
    -- By a clock that was ahead, such as of a master that is gone: as far behind us as it seems to be ahead. Otherwise
    -- nobody could lift a ban of the last minute until that minute has come.
    if old_at > now and old_at <= now + 120000 then old_at = 2 * now - old_at end
    newer = old_at > at and old_at <= now
    if lasts == '0' and old_till > till then till = math.min(old_till, now + 31622400000) end
  end
  if newer then
    answers[#answers + 1] = old
  else
    local value = string.format('%.0f\t%.0f\t%s\t%s\t%s', at, till, lasts, ARGV[i + 4], ARGV[i + 5])
    redis.call('HSET', KEYS[1], network, value)
    local number = redis.call('HINCRBY', KEYS[2], 'count', 1)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', '100000', number .. '-0', network, value)
    answers[#answers + 1] = number
  end
end
return answers
";

/// Notes what node `ARGV[1]` says of its busiest clients, and answers with what the others said within three seconds.
/// `KEYS[4]` holds it; who says nothing for a minute is forgotten.
pub(super) const COUNTS: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[4], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[4], 60000)
local said, all = {}, redis.call('HGETALL', KEYS[4])
for i = 1, #all, 2 do
  local at, text = string.match(all[i + 1], '^(%d+) (.*)$')
  at = tonumber(at) or 0
  if now - at > 60000 or at > now + 60000 then
    redis.call('HDEL', KEYS[4], all[i])
  elseif all[i] ~= ARGV[1] and now - at < 3000 and #text > 0 and #text < 131072 and #said < 64 then
    said[#said + 1] = text
  end
end
return said
";

/// Removes entries that are still what they were when they were found to have ended.
pub(super) const FORGET: &str = r"
local gone = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    gone = gone + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return gone
";
