"""States in Redis, which the services of several processes and hosts share. Needs the extra `server`.

A spec's states are one hash, customer to header and data, so that Redis evicts or loses them as a whole or not at all.
Beside the hash stands a sorted set of (newest, customer) of those with a state; its last member is the newest of all.

All that is written goes through scripts, which Redis runs alone and whole: a `put_many` is one transaction, however
many processes write. How durable that is depends on the server (`appendfsync`, snapshots, failover): it may come back
empty, or as it was a while ago. Therefore what `note` keeps stands in the same hash and names the life of the server,
its `run_id`, which changes with every start. `get_many` reads it in the same round trip, and answers StatesLost where
there is none, or one of a former life, until somebody has looked through the log and noted anew.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from feature_repo.state.availability import Availability
from feature_repo.state.storage import Progress, StatesLost, StateUnavailable, StoredState

# Together less than what any service lets a request take.
_TIMEOUT_SECONDS = 1.5
_REWRITE_SECONDS = 120.0
_FIELDS_A_SCAN = 1_000

# Fields of the hash that are no customer: an id is UTF-8, which has no such bytes.
_NOTED, _LIFE = b"\xffnoted", b"\xfflife"
# Each with 2^63 added, so that bytes compare as numbers do.
_HEADER = struct.Struct(">QQQ")
_OFFSET = 2**63

# A Lua number holds 53 bits, so integers of 64 are compared in halves. `fields` and `members` are KEYS[1] and KEYS[2].
_PUT = """
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
_REMOVE = """
for _, who in ipairs(ARGV) do
  local old = redis.call('HGET', KEYS[1], who)
  if old then
    redis.call('ZREM', KEYS[2], string.sub(old, 17, 24) .. who)
    redis.call('HDEL', KEYS[1], who)
  end
end
"""
# Names alone: what HSCAN itself gives has the states too.
_NAMES = """
local found, names = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]), {}
for i = 1, #found[2], 2 do names[#names + 1] = found[2][i] end
return {found[1], names}
"""
_RUN = "string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')"
_BEGIN = f"""
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return {_RUN} .. ' ' .. redis.call('HGET', KEYS[1], ARGV[1])
"""
_NOTE = f"""
local run = {_RUN}
if run .. ' ' .. (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[3] then return 0 end
local position, build = ARGV[4], ARGV[6]
local _, old, _, last = string.match(redis.call('HGET', KEYS[1], ARGV[2]) or '', '(%S+) (%S+) (%S+) (%S*)')
if old and tonumber(old) > tonumber(position) then position = old end
if ARGV[7] == '0' then build = last or '' end
redis.call('HSET', KEYS[1], ARGV[2], run .. ' ' .. position .. ' ' .. ARGV[5] .. ' ' .. build)
return 1
"""


class RedisStateStorage:
    """States under keys `customer_twin:{namespace}:`, all of them in one slot of a cluster."""

    def __init__(self, url: str, namespace: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        """`url` as redis-py reads it: redis://[user:password@]host:port/database. Connects when first used.

        Raises ValueError for what is no address.
        """
        self._prefix = f"customer_twin:{{{namespace}}}:"
        self._specs = f"{self._prefix}specs"
        self._run = b""
        self._checked = True
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # Once more on a fresh connection: one that lay idle may be of a server that was restarted since.
            # What takes too long is not waited for again.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            redis_connect_func=self._connected,
        )
        self._available = Availability("Redis", self._client.ping, (redis.RedisError, OSError), _is_away)
        scripts = (_PUT, _REMOVE, _NAMES, _BEGIN, _NOTE)
        self._put, self._remove, self._names, self._begin, self._note = map(self._client.register_script, scripts)

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        connection.send_command("INFO", "server")
        lines = cast(bytes, connection.read_response()).split()
        self._run = next(line[7:] for line in lines if line.startswith(b"run_id:"))

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        fields = [_NOTED, *(_bytes(who) for who in customer_ids)]
        with self._available.needed():
            noted, *rows = cast("list[bytes | None]", self._client.hmget(self._states(spec_hash), fields))
        if self._checked:
            self._check(noted)
        return {who: _decoded(who, row) for who, row in zip(customer_ids, rows, strict=True) if row is not None}

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> list[str]:
        return [who.decode("utf-8", "surrogatepass") for who in self._written(spec_hash, states, guarded=True)]

    def replace_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        self._written(spec_hash, states, guarded=False)

    def newest(self, spec_hash: str) -> int | None:
        with self._available.needed():
            last = cast("list[bytes]", self._client.zrange(self._members(spec_hash), -1, -1))
        return int.from_bytes(last[0][:8], "big") - _OFFSET if last else None

    def count(self, spec_hash: str) -> int:
        with self._available.needed():
            return cast(int, self._client.zcard(self._members(spec_hash)))

    def keep_only(self, spec_hash: str, customer_ids: Iterable[str]) -> None:
        kept = {_NOTED, _LIFE, *(_bytes(who) for who in customer_ids)}
        cursor = b"0"
        while True:
            with self._available.needed():
                cursor, names = self._names([self._states(spec_hash)], [cursor, _FIELDS_A_SCAN])
                self._remove(self._keys(spec_hash), [who for who in names if who not in kept])
            if cursor == b"0":
                return

    def begin(self, spec_hash: str) -> str:
        with self._available.needed():
            keys, mark = [self._states(spec_hash), self._specs], secrets.token_hex(8)
            return cast(bytes, self._begin(keys, [_LIFE, mark, spec_hash])).decode()

    def note(self, spec_hash: str, position: int, version: int, life: str, build: str | None = None) -> None:
        values: list[Any] = [_LIFE, _NOTED, life, position, version, build or "", int(build is not None)]
        with self._available.needed():
            done = self._note([self._states(spec_hash)], values)
        if not done:
            raise StatesLost("Redis was emptied or started again while states were made; make them again")

    def noted(self, spec_hash: str) -> Progress | None:
        with self._available.needed():
            found = cast("bytes | None", self._client.hget(self._states(spec_hash), cast(str, _NOTED)))
        if found is None:
            return None
        _, position, version, build = found.decode().split(" ")
        return Progress(int(position), int(version), build)

    def as_found(self) -> RedisStateStorage:
        other = object.__new__(RedisStateStorage)
        other.__dict__.update(self.__dict__, _checked=False)
        return other

    def remove_spec(self, spec_hash: str) -> None:
        with self._available.needed(), self._client.pipeline(transaction=True) as pipeline:
            pipeline.unlink(self._states(spec_hash), self._members(spec_hash))
            pipeline.srem(self._specs, spec_hash)
            pipeline.execute()

    def spec_hashes(self) -> list[str]:
        with self._available.needed():
            specs = sorted(spec.decode() for spec in cast("set[bytes]", self._client.smembers(self._specs)))
            with self._client.pipeline(transaction=False) as pipeline:
                for spec in specs:
                    pipeline.hlen(self._states(spec))
                    pipeline.hexists(self._states(spec), cast(str, _NOTED))
                    pipeline.hexists(self._states(spec), cast(str, _LIFE))
                found = pipeline.execute()
        return [spec for i, spec in enumerate(specs) if found[3 * i] > found[3 * i + 1] + found[3 * i + 2]]

    def erase(self, customer_ids: Sequence[str]) -> None:
        names = [_bytes(who) for who in customer_ids]
        with self._available.needed():
            for spec in cast("set[bytes]", self._client.smembers(self._specs)):
                self._remove(self._keys(spec.decode()), names)
            self._rewrite_files()

    def _written(self, spec_hash: str, states: Iterable[StoredState], guarded: bool) -> list[bytes]:
        values: list[Any] = [int(guarded), spec_hash]
        for state in states:
            values += (_bytes(state.customer_id), _encoded(state))
        if len(values) == 2:
            return []
        with self._available.needed():
            return cast("list[bytes]", self._put([*self._keys(spec_hash), self._specs], values))

    def _check(self, noted: bytes | None) -> None:
        """Raises StatesLost."""
        if noted is None:
            raise StatesLost("Redis does not hold all states: they were not built there, or it was emptied since")
        if noted.partition(b" ")[0] != self._run:
            raise StatesLost("Redis was started again: its states are being compared with the log")

    def _rewrite_files(self) -> None:
        """What was removed stands in the server's own files until these are written anew; who writes none has none."""
        try:
            if self._persistence()["aof_enabled"]:
                self._rewrite("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status")
            if cast("dict[str, str]", self._client.config_get("save")).get("save"):
                self._rewrite("BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")
        except redis.ResponseError:
            # Who rents a Redis may not tell it to. What an erasure does not reach says so.
            return

    def _rewrite(self, command: str, running: str, status: str) -> None:
        until = time.monotonic() + _REWRITE_SECONDS
        self._wait(lambda about: not (about["aof_rewrite_in_progress"] or about["rdb_bgsave_in_progress"]), until)
        self._client.execute_command(command)  # type: ignore[no-untyped-call]
        self._wait(lambda about: not about[running], until)
        if self._persistence()[status] != "ok":
            raise StateUnavailable(f"Redis could not write its file anew ({command})")

    def _wait(self, done: Callable[[dict[str, Any]], bool], until: float) -> None:
        while not done(self._persistence()):
            if time.monotonic() > until:
                raise StateUnavailable("Redis takes too long to write its files anew; repeat the erasure")
            time.sleep(0.05)

    def _persistence(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self._client.info("persistence"))

    def _keys(self, spec_hash: str) -> list[str]:
        return [self._states(spec_hash), self._members(spec_hash)]

    def _states(self, spec_hash: str) -> str:
        return f"{self._prefix}states:{spec_hash}"

    def _members(self, spec_hash: str) -> str:
        return f"{self._prefix}newest:{spec_hash}"


def _bytes(customer_id: str) -> bytes:
    return customer_id.encode("utf-8", "surrogatepass")


def _encoded(state: StoredState) -> bytes:
    header = (state.revision + _OFFSET, state.position + _OFFSET, state.newest + _OFFSET)
    return _HEADER.pack(*header) + state.data


def _decoded(customer_id: str, row: bytes) -> StoredState:
    revision, position, newest = _HEADER.unpack_from(row)
    return StoredState(customer_id, position - _OFFSET, newest - _OFFSET, row[_HEADER.size :], revision - _OFFSET)


def _is_away(error: Exception) -> bool:
    """Whether nobody answers; a server that refuses what it is asked does."""
    return isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError)
