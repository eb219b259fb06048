"""The Rust core: ring, pump, journal, followers behind one boundary. Hosts import `auditring`, not this module."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, final, overload
from uuid import UUID

from typing_extensions import Buffer

from auditring.types import Authority, ContextMap, Dialect, Outcome, Text

__all__ = [
    "SCHEMA_VERSION",
    "ArrowBatch",
    "ArrowSchema",
    "Authorizer",
    "Broker",
    "Directory",
    "Follower",
    "LineWriter",
    "Living",
    "Log",
    "Orphan",
    "Plugin",
    "RedactionKey",
    "RowBatch",
    "Session",
    "Snapshot",
    "Tail",
    "Tap",
    "Topics",
    "actions",
    "adopt_orphans",
    "check_policy",
    "check_windows",
    "columns",
    "compile_policy",
    "content_length",
    "cursors",
    "explain",
    "forget_sink",
    "in_memory",
    "judge",
    "kafka_apis",
    "lines",
    "literal",
    "outside",
    "processes",
    "request_ids",
    "sample_by",
    "schema",
    "scope_columns",
]

SCHEMA_VERSION: int
"""Version of the rows' schema: in Parquet metadata, heads of journal segments, `ProxyStartup`, the JSON Schema's id."""

def actions() -> list[dict[str, Any]]:
    """The catalog: one dictionary an action (`name`, `code`, `method`, `category`, `outcome`, `doc`, `fields`)."""

def columns() -> list[dict[str, Any]]:
    """The table's columns, in order: one dictionary a column (`name`, `type`, `required`, `words`, `doc`)."""

def kafka_apis() -> list[tuple[int, str, int, int, int | None, str]]:
    """Kafka's APIs that a tap reads: key, name, first and last version, first flexible one, what comes from it."""

def schema() -> ArrowSchema:
    """The Arrow schema of the rows; `pyarrow.schema(schema())` makes it pyarrow's."""

def lines(
    columns: Sequence[str],
    rows: Sequence[Sequence[int | str | Sequence[str] | None]],
    *,
    json: bool = False,
    dialect: Dialect | None = None,
    colour: bool = False,
) -> list[bytes]:
    """The lines of rows of the table, as `Tail` would give them.

    `columns` names what is in each row; times are nanoseconds since the epoch. Raises `ValueError` for a column or a
    dialect that there is not, and for a dialect of lines that are not JSON.
    """

def check_policy(policy: bytes) -> None:
    """Raises `ValueError` for a policy that a host may not write: the message names the rule, counted from 1."""

def check_windows(log: bytes, own: bytes) -> None:
    """Raises `ValueError` where a window does not divide the longest of the log's policy and a sink's own."""

@final
class RedactionKey:
    """A key by which values are hashed. What goes in never comes out. Raises `ValueError` below 16 bytes."""

    def __new__(cls, key: bytes) -> Self: ...
    @property
    def id(self) -> str:
        """What names the key in rows."""
    def hash(self, field: str, value: str) -> list[str]:
        """What stands in rows for a value of a field that is hashed, the likeliest first.

        Raises `ValueError` for a field that there is not.
        """

def compile_policy(policy: bytes, redact: bytes, key: RedactionKey | None = None) -> bytes:
    """The policy of a log that redacts, or of one of its sinks, as it stands in the journal.

    `redact` is the log's, as JSON. Exact values of hashed fields become their hashes. Raises `ValueError`.
    """

def in_memory(path: str) -> bool:
    """Whether a path lies on tmpfs."""

def explain(policy: bytes, event: Mapping[str, object]) -> dict[str, Any]:
    """What a policy says of an event, and why.

    `event` has `action`, `category`, `outcome`, `authority`, `origin`, `status` (bool), `filter`, `tap`, `resource`,
    `principals` (`Type:name`), `virtual_cluster` and `peer`; what is None is the catalog's, or not there. Returns
    `category`, `outcome`, `authority`, `origin` as they were taken; `rules`, for each rule before the one that decides
    a pair: `misses` and the condition, `protected` and the reason, `request` or `apart`; `rule`, the one that decides,
    from 0, or None; `keep`, `one_in`, `by`, `window_ns`; `protected`, why no rule leaves it out, or None; `refused`,
    whether the emit call itself refuses it. Raises `ValueError`.
    """

def judge(
    policy: bytes, own: bytes | None, kinds: Sequence[tuple[Sequence[object], Sequence[object]]]
) -> list[tuple[bool, int | None, Literal["all", "off", "sample"], int]]:
    """What the log's policy, and a sink's own where there is one, make of kinds of recorded events.

    A kind: action, category, outcome, authority, origin, whether there is a status; and filter, tap, resource,
    principals, virtual cluster, peer. An answer: whether it is the sink's rule that decides, which one, from 0, or
    None; what it says; and one in how many it keeps. What only a later version knows is kept. Raises `ValueError`.
    """

def literal(text: str) -> str:
    """The pattern of exactly this text."""

def sample_by() -> list[str]:
    """What a sample can go by, in order."""

def scope_columns() -> list[str]:
    """The columns that rows can be counted by, beside action and outcome."""

@final
class Directory:
    """An audit directory that is looked at again and again: each look reads what has come since the last one."""

    def __new__(cls, root: str) -> Self: ...
    def read(self) -> dict[str, Any]:
        """Looks once, without the GIL, at all processes that ever were. Safe from any thread.

        `samples`: counters, each `(name, labels, value)`, none of them ever less than before. `sinks`: by name,
        `pending`, `oldest_ns` and `last_success_ns`. `processes`: how many, by state. `in_ring`, `ring_bytes`,
        `ring_used`, `ring_high_water`, `pressure`, `journal_bytes`. `unreadable`: what cannot be read, with the
        reason; the last numbers of it stay. Raises `OSError` where the directory cannot be listed.
        """

def outside(root: str, *, unreadable: list[tuple[Path, str]] | None = None) -> list[dict[str, Any]]:
    """The balance of every process under `root`, read from its files alone.

    `unreadable` is given the directories of processes that cannot be read, each with the reason. Without it the first
    of them raises `OSError`, as it does when the audit directory itself cannot be read.
    """

def forget_sink(root: str, sink: str, *, really: bool = False) -> list[dict[str, Any]]:
    """Every process under `root` that lists `sink` and of which it lacks rows.

    Each with `process`, `instance`, `rows`, `removed`, and `held`: `living`, `unended` (nobody has recovered it),
    `driven` (somebody brings it its rows now) or `ended`. With `really` the sink is forgotten wherever that is `ended`.
    Raises `OSError`.
    """

def cursors(root: str) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """How far each sink of each process under `root` is, and of each process that has gone the seq behind its last row.

    Raises `OSError` when the directory, a cursor or totals cannot be read.
    """

def content_length(headers: object) -> int | None:
    """The `content-length` among the headers of an ASGI message; `None` where there is none, or no number that fits.

    Raises nothing: what is no pair of bytes is no header, and what can be walked over but once is left to the server.
    """

def request_ids(headers: object) -> tuple[str | bytes | None, str | None]:
    """The `x-request-id` among the headers of an ASGI scope, and the trace id of a valid `traceparent`.

    The last of each name that is not empty counts. An id that is no ASCII stays bytes. Raises nothing, as above.
    """

@final
class ArrowBatch:
    """A record batch, handed over by the C data interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class ArrowSchema:
    """An Arrow schema, handed over by the C data interface."""

    def __arrow_c_schema__(self) -> object: ...

@final
class RowBatch:
    """Rows of one process and one contiguous range of seq, after the policy."""

    @property
    def rows(self) -> int: ...
    @property
    def merged(self) -> int:
        """Events that were merged into the rows, beside the first of each."""
    @property
    def first_seq(self) -> int:
        """First seq of the range; behind `last_seq` where rows of an earlier one have closed, and no more."""
    @property
    def last_seq(self) -> int: ...
    @property
    def sampled_out(self) -> int: ...
    @property
    def filtered_out(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def lost_budget(self) -> int:
        """Those of them that were let go at the journal's budget."""
    @property
    def lost_rejected(self) -> int:
        """Those of them that the sink has refused."""
    @property
    def min_time_ns(self) -> int: ...
    @property
    def max_time_ns(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_schema__(self) -> object: ...
    def touched(self) -> ArrowBatch | None:
        """Who touched what: the rows that name a resource, added up.

        A row for each resource, principal, action, operation, outcome, authority, origin and tap that are met together,
        with `events`, `records`, `bytes` (weighted sums), `first_seen`, `last_seen`. `None` where there are more than
        16,384, or a sum is beyond 64 bits.
        """
    def json_lines(self, dialect: Dialect | None = None) -> bytes:
        """Canonical JSON, one object a line, each line ended by a newline; UTF-8. A `dialect` names actions otherwise.

        Raises `RuntimeError` where the rows were asked for as Arrow alone, `ValueError` for an unknown dialect.
        """
    def records(
        self, dialect: Dialect | None = None
    ) -> list[tuple[bytes, int, int, str, str, str, str | None, str | None]]:
        """A tuple a row, for what addresses rows one by one.

        Its line as `json_lines` has it, without the newline; its seq; its wall time in nanoseconds since the epoch; the
        action, by the catalog's name whatever the dialect; category; outcome; session and virtual cluster, or `None`.

        Raises as `json_lines` does.
        """

@final
class LineWriter:
    """Writes the lines of batches into one file."""

    def __new__(cls, path: str, inode: int, dialect: Dialect | None = None) -> Self:
        """Opens the file that the caller has open as `inode`. Raises `OSError`, also if its path leads to another."""
    def write(self, batch: RowBatch, offset: int) -> int:
        """Writes the lines of a batch at `offset`, without the GIL, and returns their bytes.

        Raises `OSError`; whatever then lies behind `offset` ends with a line.
        """
    def close(self) -> None: ...
    def forked(self) -> None:
        """In a forked child: closes the inherited descriptor, and waits for nobody."""

@final
class Snapshot:
    """Every journal under `root`, opened at one moment, with the Parquet sink's cursors."""

    def __new__(cls, root: str) -> Self: ...
    @property
    def parquet(self) -> bool:
        """Whether any process lists a Parquet follower (without one nothing becomes a table)."""
    @property
    def primary_taps(self) -> dict[str, str]:
        """The primary tap of each process that has one; complete after `fresh`."""
    @property
    def unknown(self) -> int:
        """Rows that only a later version can read, which `fresh` leaves out; complete after it."""
    @property
    def gone(self) -> int:
        """Rows that no file has and no journal any more; complete after `fresh`."""
    def fresh(self, sealed: Sequence[tuple[str, int, int]]) -> list[RowBatch]:
        """Rows that are in no sealed file: `sealed` lists (process, first seq, last seq) of those that are."""

@final
class Tail:
    """A reader that follows every journal under `root`, also of processes that are born later. It holds no lock."""

    def __new__(
        cls,
        root: str,
        *,
        json: bool = False,
        dialect: Dialect | None = None,
        colour: bool = False,
        from_now: bool = False,
        actions: Sequence[str] = ...,
        categories: Sequence[str] = ...,
        outcomes: Sequence[str] = ...,
        principals: Sequence[str] = ...,
        sessions: Sequence[str] = ...,
        since_ns: int | None = None,
    ) -> Self:
        """Opens every journal at its beginning, or `from_now` behind its last row.

        What is not wanted is never decoded; an empty list asks for nothing in particular. Principals are `Type:name` or
        a name. Raises `OSError`; `ValueError` for a category, an outcome or a dialect that there is not.
        """
    @property
    def processes(self) -> list[str]:
        """The processes whose journals are being followed."""
    @property
    def unreadable(self) -> int:
        """Rows that were met and could not be read."""
    def missed(self) -> list[tuple[str, int, int]]:
        """What was in a journal and is there no more: process, first and last seq. Each is told once."""
    def last(self, most: int) -> list[tuple[int, str, int, bytes]]:
        """The last rows of what was journaled when the reader was made, at most `most` of each process.

        Each with its time in nanoseconds, its process, its seq, and its line. Raises `OSError`.
        """
    def rest(self) -> bytes:
        """Lines of the rows that wait in windows that are not over, as they stand."""
    def next(self) -> bytes:
        """Lines of the rows that were journaled since the last call, merged by time; empty when there are none for now.

        Raises `OSError`, also when the directory has gone.
        """

@final
class Topics:
    """Names of Kafka's topics by id, learnt from the Metadata that taps see. Taps that see the same share it."""

    def __new__(cls, limit: int = 100_000) -> Self:
        """Room for `limit` topics; when it is full, further ones are not learnt."""
    def __len__(self) -> int: ...
    def name(self, topic_id: UUID) -> str | None:
        """What a topic is called, or None where no answer has said so yet. Raises `TypeError`."""

@final
class Tap:
    """One client's connection to a broker. It is shown every byte, in whatever pieces, and changes none.

    May be fed by two threads, one a direction. A call raises what an emit call of the session does (`LogClosed`,
    `SessionClosed`, and `AuditUnavailable` where a full ring is configured to raise) after it has tried every event of
    its bytes, and nothing for what the bytes say, nor for an event that is not wanted.
    """

    def __new__(cls, handle: Session | Broker, *, name: str | None = None, topics: Topics | None = None) -> Self:
        """A tap of a session, or better of `session.broker(…)`, so that rows say which server answered.

        `name` stands in the column `tap`: a proxy with filters has a tap before and a tap after them. `topics` are the
        names that it learns and uses; without them, those of all taps with the same virtual cluster and name. Raises
        `TypeError`, `ValueError`, `SessionClosed`, `LogClosed`.
        """
    def from_client(self, data: Buffer, /) -> None:
        """What the client sent, as it sent it."""
    def from_broker(self, data: Buffer, /) -> None:
        """What the broker answered, as it answered it."""
    def rewrote(self, client_id: int, server_id: int) -> None:
        """The request that `from_client` shows as `client_id` goes on as `server_id`, which `from_broker` will show."""
    def answered(self, correlation_id: int) -> None:
        """The proxy answers this request itself; no broker's answer to it will be shown."""
    def close(self) -> None:
        """The connection has ended; closing twice is one close. To be called before the session's close.

        A request that changes something and has no answer becomes a row with the outcome `forwarded`: whether it was
        done is not known here.
        """
    @property
    def opaque(self) -> bool:
        """Whether it has given up reading this connection; an `auditring.TapBlind` row says why."""
    @property
    def in_flight(self) -> int:
        """Requests that have no answer yet."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class Log:
    """A ring, its counters and its journal; Python owns the threads that drive them."""

    def __new__(
        cls,
        root: str | None,
        *,
        instance: str,
        host: str,
        policy: bytes,
        sinks: Sequence[tuple[str, bytes]],
        primary_tap: str | None = None,
        ring_dir: str | None = None,
        ring_bytes: int = ...,
        droppable: tuple[float | None, bool] = ...,
        protected: tuple[float | None, bool] = ...,
        journal_bytes: int = ...,
        segment_bytes: int = ...,
        segment_seconds: float = ...,
        power_seconds: float | None = None,
        balance_seconds: float | None = None,
        startup: Sequence[tuple[str, str]] = ...,
        key: RedactionKey | None = None,
        required: Sequence[str] = ...,
        by_agent: Sequence[str] = ...,
        lanes: int | None = None,
        label_scopes: Sequence[tuple[str, str]] = ...,
        label_scope_limit: int = 0,
    ) -> Self:
        """`sinks`: names, each with its own policy in its journaled form, empty where it has none.

        `required`: those of them for which the pump stops at the journal's budget; `by_agent`: those left to an agent.
        `droppable` and `protected`: seconds to wait for space (`None`: for ever), then raise (`True`) or drop.
        `lanes`: of the ring; by default one where there is a GIL, else one a processor, at most 8.
        `power_seconds`: what was written is durable after so long, and no sink has it before; `None`: no such promise.
        `label_scopes`: by what rows are counted beside action and outcome: labels, each with its column.
        """
    @property
    def process(self) -> str:
        """UUID of this open log; empty for a log that keeps nothing."""
    @property
    def ring_path(self) -> str | None: ...
    @property
    def directory(self) -> str | None:
        """The journal directory of this process."""
    @property
    def clock(self) -> Literal["tsc", "monotonic"]: ...
    @property
    def ring_linked(self) -> bool:
        """Whether the ring's file is still where it was made."""
    @property
    def pressure(self) -> float:
        """Share of the ring in use, 0.0 to 1.0; of its fullest lane where it has several."""
    @property
    def lanes(self) -> int:
        """Lanes of the ring; 0 in a log that keeps nothing."""
    def session(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the public name of design and docs
        peer: str | tuple[Any, ...] | None = None,
        local: str | tuple[Any, ...] | None = None,
        virtual_cluster: Text | None = None,
        client_id: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        context: ContextMap | None = None,
    ) -> Session: ...
    def record(self, action: str, *fields: object, **kwargs: object) -> None:
        """Records an event that no session has: an action of the catalog by its name, or a package-qualified one."""
    def declare(
        self, name: str, *, object_ref: Sequence[str] = ..., context: Sequence[str] = ..., outcome: Outcome = "success"
    ) -> Callable[..., None]:
        """Declares an event of the host's own; returns what emits it."""
    def plugin(
        self,
        *,
        filter: Text,
        namespace: Text,
        tap: Text | None = None,
        authorizer: bool = False,
        authority: Authority | None = None,
    ) -> Plugin | Authorizer:
        """A handle for a plugin that acts on its own account, with no client in sight."""
    def post(
        self,
        action: str,
        *,
        status: str | None = None,
        reason: str | None = None,
        context: ContextMap | None = None,
        **fields: str | int,
    ) -> int:
        """Hands one of the library's own events (`auditring.…`) to the pump; never goes through the ring.

        Returns its number, for `posted`.
        """
    def exempt(self, topic: str, client_id: str) -> None:
        """Lets taps that are made from now on not audit Produces to `topic` under `client_id`.

        `*` is any text in a topic, and stands for what follows at the end of a client id.
        """
    def posted(self, number: int) -> bool:
        """Whether what was handed over under this number is in the journal."""
    def set_policy(self, policy: bytes, diff: str, timeout: float | None = None) -> bool:
        """Brings another policy, in its journaled form, into force; returns once that is journaled.

        `False` where the same one was in force. Raises `TimeoutError`, `LogClosed` and `ValueError`.
        """
    @property
    def policy(self) -> bytes:
        """The policy in force, in its journaled form; empty for a log that keeps nothing."""
    def run_pump(self, timeout: float) -> bool:
        """Moves records from ring to journal for up to `timeout` seconds with the GIL released.

        Returns `True` when the final batch is written.

        Raises `OSError` when a batch could not be written; the next call tries it again in a new segment.
        """
    def replace_ring(self, *, refused: str | None = None) -> bool:
        """Looks whether the ring's file is still there and if not goes on with a new one; returns whether it did.

        From the pump's thread, between two calls of `run_pump`. Raises `OSError` when no new ring can be made; why that
        was so is `refused` at the next call, and the row that tells of the new ring says it.
        """
    @property
    def pump_sound(self) -> bool:
        """Whether the pump may run again: no panic has left it half-changed."""
    def abandon(self) -> None:
        """Lets go of ring and journal as they are, after a pump that cannot go on: the next opener recovers them."""
    def keep_journal(self) -> tuple[list[tuple[str, str, str, bool]], str | None]:
        """Looks whether the journal is still where it was, and puts back what was taken away.

        Returns what was: path, `journal` or `segment`, what became of it, whether it is there again; and why not, where
        it is not. From the pump's thread, between two calls of `run_pump`.
        """
    def pump_failed(self, cause: str, *, dead: bool = False) -> None:
        """Declares the pump troubled: `AuditUnavailable` names `cause`; with `dead` no caller waits for it any more."""
    def pump_recovered(self) -> None: ...
    def wait_journaled(self, timeout: float | None = None) -> int:
        """Waits, without the GIL, until all that was accepted before the call is journaled; returns the next seq.

        Raises `TimeoutError`.
        """
    def presses(self, cursor: int) -> bool:
        """Whether a sink with this cursor holds back half of the journal's budget."""
    def sinks(self) -> list[tuple[str, bool, bool, bool]]:
        """The sinks that the journal is kept for: name, left to an agent, required, driven by somebody now."""
    def cursor_of(self, sink: str) -> tuple[int, dict[str, int]]:
        """What a sink's cursor says: next seq, and what became of the rows before it. Raises `OSError`."""
    def assign(self, sink: str, *, by_agent: bool, policy: bytes = ...) -> bool:
        """Says whose turn it is at a sink; one that is not there is entered, with its own policy.

        Whether it has that policy. Raises `OSError`.
        """
    def sync(self, seq: int, timeout: float | None = None) -> None:
        """Waits, without the GIL, until the rows before `seq`, which are journaled, are on the disk itself.

        All who wait at a time share one `fdatasync`. Raises `OSError` and `TimeoutError`.
        """
    def sync_soon(self) -> None:
        """Followers that wait for the disk are not kept waiting for the rest of the interval."""
    def stats(self) -> dict[str, Any]:
        """The terms of the balance.

        offered, claimed, accepted, torn, off, dropped, refused, born, journaled, in_ring (int); lost (dict by cause);
        actions (dict of (action, outcome) to int: journaled at the primary tap + off + dropped); journal_bytes,
        blocked_ns, waits, next_seq, durable_seq, durable_lag_ns (int); alive (bool); over_budget (bool: the journal's
        budget is used up); scope_labels (tuple); scoped (dict of (action, outcome, values, None past the limit) to
        int: journaled at the primary tap); ring_bytes, ring_used, ring_high_water (int); clock (`tsc`, `monotonic`).
        """
    def time_of(self, seq: int) -> int | None:
        """When the first row at or behind `seq` happened, in nanoseconds since the epoch; `None` where there is none.

        As its batch in the journal says. Raises `OSError`.
        """
    def close_sessions(self, timeout: float = 2.0) -> int:
        """Ends every open session with status `ProxyShutdown`; returns how many there were.

        A full ring is waited for `timeout` seconds in all; what finds no room is dropped, counted.
        """
    def close(self) -> None:
        """No emit is accepted from now on; the pump drains, writes `ProxyCleanShutdown` and ends. Idempotent."""
    def finish(self, *, leave: bool = False, behind: bool = False) -> bool:
        """After pump and followers have ended: stores the totals, removes ring and journal if every sink is past.

        `leave`: where others are not, lets go of the directory, for whoever drives them. `behind`: one of ours is not
        at its end, whatever its cursor says; only the ring goes. Returns whether nothing is left. Raises `OSError`.
        """
    def forked(self) -> bytes | None:
        """In a forked child: lets go of the parent's ring, files and locks without touching them.

        Returns the policy that was in force, unless another thread of the parent was about to change it.
        """

@final
class Follower:
    """One sink's reader of one process's journal, with its durable cursor and its lock."""

    def __new__(cls, log: Log, sink: str, declined: Sequence[tuple[str, str]] = ..., *, tables: bool = False) -> Self:
        """`declined`: (action, outcome) pairs that the sink is not interested in; they are counted as filtered out.

        `tables`: rows are handed out as Arrow alone, converted as they are read.

        Raises `OSError`; `BlockingIOError` when another holder has the sink's lock.
        """
    @staticmethod
    def of_orphan(
        orphan: Orphan, sink: str, declined: Sequence[tuple[str, str]] = ..., *, tables: bool = False
    ) -> Follower:
        """One of a process that has died, over what is left of its journal; it ends."""
    @staticmethod
    def of_living(
        living: Living, sink: str, declined: Sequence[tuple[str, str]] = ..., *, tables: bool = False
    ) -> Follower:
        """One of a process that lives elsewhere; it ends when that has ended its journal, or another for it."""
    @property
    def state(self) -> bytes:
        """What the sink's last commit returned; empty at first."""
    @property
    def cursor(self) -> int:
        """Next seq after the last commit."""
    @property
    def position(self) -> int:
        """Next seq after the last batch handed out."""
    @property
    def seen(self) -> int:
        """Next seq behind what the journal is known to have, as of the last call."""
    @property
    def presses(self) -> bool:
        """Whether it holds back half of the journal's budget."""
    @property
    def boundary(self) -> bool:
        """The next row begins a later UTC date, or lies behind a jump in seq: nothing is handed out before a commit."""
    @property
    def at_cut(self) -> bool:
        """What was handed out ends at a cut, so it may be committed. Without a window in force every row is one."""
    @property
    def ended(self) -> bool:
        """The final row has been handed out."""
    @property
    def totals(self) -> dict[str, int]:
        """delivered, merged, sampled_out, filtered_out and lost_… up to the last commit."""
    def next(
        self, max_rows: int, timeout: float, *, partial: bool, to_cut: bool = False, ahead: int = 0
    ) -> RowBatch | None:
        """The next rows, waiting up to `timeout` seconds without the GIL; with `to_cut` up to the next cut.

        With `partial` whatever is there at once counts, else only a full batch of `max_rows`, the last row before
        a new UTC date, or the end (what is short of that stays inside and is given later). An empty batch can come: its
        range was left out whole. While a full batch is made use of, another thread gathers the next, of `ahead` rows.
        """
    def wake(self) -> None:
        """Ends a `next` that waits, from another thread."""
    def commit(self, state: bytes) -> None:
        """All that was handed out is safe: moves the durable cursor. Raises `OSError`, `ValueError` past 4 KiB."""
    def reject(self, seqs: Sequence[int]) -> int:
        """The sink has refused these rows and always will; how many of them are news.

        They are left out, counted as lost, when they come again after `rewind`.
        """
    def forked(self) -> None:
        """In a forked child: closes the inherited descriptor of the sink's lock."""
    def advance(self, seq: int, totals: Mapping[str, int]) -> None:
        """The sink has all rows before `seq`, a cut, safe already: moves the durable cursor.

        `totals`: what became of those behind it.

        Raises `ValueError` where the cursor is there already, or for a term that there is not, and `OSError`.
        """
    def rewind(self) -> None:
        """Back to the cursor, after a sink has failed."""
    def close(self) -> None: ...

@final
class Orphan:
    """The journal of a process that has died, held by this one; its last row is there."""

    @property
    def process(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def primary_tap(self) -> str | None: ...
    @property
    def salvage(self) -> dict[str, Any] | None:
        """What was found beside its journal; `None` where it had ended before."""
    @property
    def sinks(self) -> list[str]:
        """The sinks that follow it, whether or not they lack rows. Raises `OSError`."""
    @property
    def policy(self) -> bytes:
        """The log's policy, in its journaled form, as its last segment has it."""
    def enter(self, sink: str, policy: bytes) -> bool:
        """Enters a sink, where it is not there, which is owed what its journal still has; whether it has that policy.

        Raises `OSError`.
        """
    @property
    def held(self) -> bool:
        """Whether it is in our hands: not let go of, nor its journal removed."""
    def behind(self) -> list[str]:
        """The sinks that still lack rows of it; none once its journal is removed."""
    def finish(self) -> bool:
        """Removes the journal if every sink is past it; its totals stay. Whether it is removed. Raises `OSError`.

        What could not be removed of it is removed by the next call.
        """
    def close(self) -> None:
        """Lets go of it: the next opener goes on."""
    def forked(self) -> None:
        """In a forked child: the hold is the parent's."""

@final
class Living:
    """The journal of a process that lives elsewhere, and what it shows."""

    @staticmethod
    def open(directory: str | PathLike[str]) -> Living | None:
        """Of a process's directory; `None` where it is not born yet. Raises `OSError`."""
    @property
    def process(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def primary_tap(self) -> str | None: ...
    @property
    def policy(self) -> bytes:
        """The log's policy, in its journaled form, as its newest segment has it."""
    @property
    def shown(self) -> bool:
        """Whether it shows how far its journal may be read, as of the last look of a follower."""
    @property
    def urgent(self) -> bool:
        """Whether its journal or its disk has no room."""
    def sinks(self) -> list[tuple[str, bool, bool, bool]]:
        """The sinks that its journal is kept for: name, left to an agent, required, driven by somebody now."""
    def enter(self, sink: str, policy: bytes) -> bool:
        """Enters a sink, if it is not there, with its own policy; whether it has that policy. Raises `OSError`."""

def processes(root: str | PathLike[str]) -> list[tuple[str, Path, bool, bool]]:
    """Each process whose journal is under `root`: UUID, directory, whether it is held, whether nobody can tell."""

def adopt_orphans(
    root: str | PathLike[str], *, by: str = "", keys: Sequence[RedactionKey] = ..., only: set[str] | None = None
) -> tuple[list[Orphan], list[tuple[Path, str]]]:
    """Adopts and recovers every process under `root` that has died; beside them what could not be, and why.

    What those that had one of `keys` hashed is hashed by it; without theirs such values are left out. `only`: the UUIDs
    of those that are meant. Raises `OSError` if the directory cannot be read.
    """

@final
class Session:
    """One client connection. Made by `AuditLog.session`; every method is safe from any thread."""

    @property
    def id(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def update(
        self,
        *,
        client_id: Text | None = None,
        virtual_cluster: Text | None = None,
        local: str | tuple[Any, ...] | None = None,
        context: ContextMap | None = None,
    ) -> None: ...
    def broker(
        self,
        server: str | tuple[Any, ...],
        /,
        *,
        node_id: int | None = None,
        local: str | tuple[Any, ...] | None = None,
        duration_ns: int | None = None,
        status: Text | None = None,
        reason: Text | None = None,
    ) -> Broker:
        """Opens a connection to a broker or upstream and records `BrokerConnect`; a session may have several at once.

        With a status it could not be opened: the handle is closed already.
        """
    @overload
    def plugin(
        self, *, filter: Text, namespace: str, tap: Text | None = None, authorizer: Literal[False] = False
    ) -> Plugin: ...
    @overload
    def plugin(self, *, filter: Text, namespace: str, tap: Text | None = None, authorizer: Literal[True]) -> Authorizer:
        """A handle for a plugin that acts because of this session: origin `filter`, names of its `namespace` alone."""
    def close(self, *, initiator: str | None = None, status: Text | None = None, reason: Text | None = None) -> None:
        """Ends the session with `ClientClose`, and first its brokers. A second close does nothing."""
    def emit(
        self,
        action: str,
        /,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        operation: Text | None = None,
        resource_type: Text | None = None,
        resource: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, str] | None = None,
        context: ContextMap | None = None,
    ) -> None: ...
    # --- session methods: made from rust/event/catalog.toml by docs/generate.py ---
    def client_sasl_auth_success(
        self,
        principal: Text,
        mechanism: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A client authenticated by SASL; its principal stands in every later event of the session.

        Action `ClientSaslAuthSuccess`.
        """
    def client_sasl_auth_failure(
        self,
        attempted_principal: Text | None = None,
        mechanism: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A client failed to authenticate by SASL.

        Action `ClientSaslAuthFailure`.
        """
    def client_tls_auth_success(
        self,
        principal: Text,
        subject: Text | None = None,
        issuer: Text | None = None,
        serial: Text | None = None,
        san: Text | None = None,
        sha256: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A client authenticated by its certificate; its principal stands in every later event of the session.

        Action `ClientTlsAuthSuccess`.
        """
    def client_tls_auth_failure(
        self,
        attempted_principal: Text | None = None,
        subject: Text | None = None,
        issuer: Text | None = None,
        serial: Text | None = None,
        san: Text | None = None,
        sha256: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A client failed to authenticate by a certificate.

        Action `ClientTlsAuthFailure`.
        """
    def operation_allowed(
        self,
        operation: Text,
        resource_type: Text,
        resource: Text,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An authorizer allowed an attempted operation; not yet the server's yes.

        Action `OperationAllowed`.
        """
    def operation_denied(
        self,
        operation: Text,
        resource_type: Text,
        resource: Text,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An authorizer denied an attempted operation.

        Action `OperationDenied`.
        """
    def read(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        records: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        group_id: Text | None = None,
        topic_id: Text | None = None,
        log_start_offset: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records of a topic's partition were read.

        Action `Read`.
        """
    def write(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        records: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        transactional_id: Text | None = None,
        topic_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records were written to a topic's partition.

        Action `Write`.
        """
    def delete(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        records: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records of a topic's partition were deleted.

        Action `Delete`.
        """
    def create_topics(
        self,
        topic: Text,
        partitions: int | None = None,
        replication_factor: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A topic was created.

        Action `CreateTopics`.
        """
    def delete_topics(
        self,
        topic: Text,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A topic was deleted.

        Action `DeleteTopics`.
        """
    def create_partitions(
        self,
        topic: Text,
        partitions: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A topic was given more partitions.

        Action `CreatePartitions`.
        """
    def alter_configs(
        self,
        resource_type: Text,
        resource: Text,
        settings: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Settings of a resource were changed.

        Action `AlterConfigs`.
        """
    def reset_offsets(
        self,
        group_id: Text,
        topic: Text,
        partition: int,
        offset: int | None = None,
        previous_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A group's position in a partition was set by somebody.

        Action `ResetOffsets`.
        """
    def create_acls(
        self,
        resource_type: Text,
        resource: Text,
        acl_principal: Text | None = None,
        acl_operation: Text | None = None,
        acl_permission: Text | None = None,
        acl_pattern: Text | None = None,
        acl_host: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An ACL was created.

        Action `CreateAcls`.
        """
    def delete_acls(
        self,
        resource_type: Text | None = None,
        resource: Text | None = None,
        acl_principal: Text | None = None,
        acl_operation: Text | None = None,
        acl_permission: Text | None = None,
        acl_pattern: Text | None = None,
        acl_host: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An ACL was deleted, or all that match.

        Action `DeleteAcls`.
        """
    def describe_acls(
        self,
        resource_type: Text | None = None,
        resource: Text | None = None,
        acl_principal: Text | None = None,
        acl_operation: Text | None = None,
        acl_permission: Text | None = None,
        acl_pattern: Text | None = None,
        acl_host: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """ACLs were looked at.

        Action `DescribeAcls`.
        """
    def alter_user_scram_credentials(
        self,
        user: Text,
        scram_mechanism: Text | None = None,
        change: Literal["upsert", "delete"] | None = None,
        iterations: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A user's SCRAM credentials were set or removed; never the password, salt or key.

        Action `AlterUserScramCredentials`.
        """
    def describe_user_scram_credentials(
        self,
        user: Text | None = None,
        scram_mechanism: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """It was asked which SCRAM credentials a user has.

        Action `DescribeUserScramCredentials`.
        """
    def create_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A delegation token was made.

        Action `CreateDelegationToken`.
        """
    def renew_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A delegation token was given more time.

        Action `RenewDelegationToken`.
        """
    def expire_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A delegation token was ended.

        Action `ExpireDelegationToken`.
        """
    def describe_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Delegation tokens were looked at.

        Action `DescribeDelegationToken`.
        """
    def request_ingress(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        bytes: int | None = None,
        group_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A client's request has come in.

        Action `RequestIngress`.
        """
    def request_egress(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A request goes on to the server.

        Action `RequestEgress`.
        """
    def request_inject(
        self,
        api: Text,
        api_version: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        filter: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Proxy or filter send a request of their own to the server.

        Action `RequestInject`.
        """
    def request_shortcircuit(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        bytes: int | None = None,
        filter: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Proxy or filter answer a client's request themselves.

        Action `RequestShortcircuit`.
        """
    def response_egress(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        group_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A response goes back to the client.

        Action `ResponseEgress`.
        """
    def http_request(
        self,
        method: Text,
        path: Text,
        status_code: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        principal: Text | None = None,
        request_id: Text | None = None,
        trace_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An HTTP request and what it was answered with; never its query string.

        Action `HttpRequest`.
        """
    # --- end ---

@final
class Broker:
    """One of a session's connections to a broker or upstream: its events say which, and carry all of the session's."""

    @property
    def id(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def server(self) -> str: ...
    @property
    def local(self) -> str | None: ...
    @property
    def node_id(self) -> int | None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def close(self, *, initiator: str | None = None, status: Text | None = None, reason: Text | None = None) -> None:
        """Ends the connection with `BrokerClose`. A second close does nothing."""
    def emit(
        self,
        action: str,
        /,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        operation: Text | None = None,
        resource_type: Text | None = None,
        resource: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, str] | None = None,
        context: ContextMap | None = None,
    ) -> None: ...
    # --- broker methods: made from rust/event/catalog.toml by docs/generate.py ---
    def read(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        records: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        group_id: Text | None = None,
        topic_id: Text | None = None,
        log_start_offset: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records of a topic's partition were read.

        Action `Read`.
        """
    def write(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        records: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        transactional_id: Text | None = None,
        topic_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records were written to a topic's partition.

        Action `Write`.
        """
    def delete(
        self,
        topic: Text,
        partition: int,
        first_offset: int | None = None,
        last_offset: int | None = None,
        records: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Records of a topic's partition were deleted.

        Action `Delete`.
        """
    def create_topics(
        self,
        topic: Text,
        partitions: int | None = None,
        replication_factor: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A topic was created.

        Action `CreateTopics`.
        """
    def delete_topics(
        self,
        topic: Text,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A topic was deleted.

        Action `DeleteTopics`.
        """
    def create_partitions(
        self,
        topic: Text,
        partitions: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A topic was given more partitions.

        Action `CreatePartitions`.
        """
    def alter_configs(
        self,
        resource_type: Text,
        resource: Text,
        settings: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        validate_only: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Settings of a resource were changed.

        Action `AlterConfigs`.
        """
    def reset_offsets(
        self,
        group_id: Text,
        topic: Text,
        partition: int,
        offset: int | None = None,
        previous_offset: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        topic_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A group's position in a partition was set by somebody.

        Action `ResetOffsets`.
        """
    def create_acls(
        self,
        resource_type: Text,
        resource: Text,
        acl_principal: Text | None = None,
        acl_operation: Text | None = None,
        acl_permission: Text | None = None,
        acl_pattern: Text | None = None,
        acl_host: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An ACL was created.

        Action `CreateAcls`.
        """
    def delete_acls(
        self,
        resource_type: Text | None = None,
        resource: Text | None = None,
        acl_principal: Text | None = None,
        acl_operation: Text | None = None,
        acl_permission: Text | None = None,
        acl_pattern: Text | None = None,
        acl_host: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An ACL was deleted, or all that match.

        Action `DeleteAcls`.
        """
    def describe_acls(
        self,
        resource_type: Text | None = None,
        resource: Text | None = None,
        acl_principal: Text | None = None,
        acl_operation: Text | None = None,
        acl_permission: Text | None = None,
        acl_pattern: Text | None = None,
        acl_host: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """ACLs were looked at.

        Action `DescribeAcls`.
        """
    def alter_user_scram_credentials(
        self,
        user: Text,
        scram_mechanism: Text | None = None,
        change: Literal["upsert", "delete"] | None = None,
        iterations: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A user's SCRAM credentials were set or removed; never the password, salt or key.

        Action `AlterUserScramCredentials`.
        """
    def describe_user_scram_credentials(
        self,
        user: Text | None = None,
        scram_mechanism: Text | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """It was asked which SCRAM credentials a user has.

        Action `DescribeUserScramCredentials`.
        """
    def create_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A delegation token was made.

        Action `CreateDelegationToken`.
        """
    def renew_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A delegation token was given more time.

        Action `RenewDelegationToken`.
        """
    def expire_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A delegation token was ended.

        Action `ExpireDelegationToken`.
        """
    def describe_delegation_token(
        self,
        token_id: Text | None = None,
        owner: Text | None = None,
        requester: Text | None = None,
        expires_ms: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Delegation tokens were looked at.

        Action `DescribeDelegationToken`.
        """
    def request_ingress(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        bytes: int | None = None,
        group_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A client's request has come in.

        Action `RequestIngress`.
        """
    def request_egress(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A request goes on to the server.

        Action `RequestEgress`.
        """
    def request_inject(
        self,
        api: Text,
        api_version: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        filter: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Proxy or filter send a request of their own to the server.

        Action `RequestInject`.
        """
    def request_shortcircuit(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        bytes: int | None = None,
        filter: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """Proxy or filter answer a client's request themselves.

        Action `RequestShortcircuit`.
        """
    def response_egress(
        self,
        api: Text,
        api_version: int | None = None,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        group_id: Text | None = None,
        transactional_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """A response goes back to the client.

        Action `ResponseEgress`.
        """
    def http_request(
        self,
        method: Text,
        path: Text,
        status_code: int | None = None,
        bytes: int | None = None,
        duration_ns: int | None = None,
        principal: Text | None = None,
        request_id: Text | None = None,
        trace_id: Text | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An HTTP request and what it was answered with; never its query string.

        Action `HttpRequest`.
        """
    # --- end ---

@final
class Plugin:
    """A plugin's handle: its events name the filter and begin with its own package."""

    @property
    def id(self) -> str | None:
        """The session's id, where there is one."""
    @property
    def closed(self) -> bool: ...
    @property
    def filter(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    def emit(
        self,
        action: str,
        /,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        operation: Text | None = None,
        resource_type: Text | None = None,
        resource: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, str] | None = None,
        context: ContextMap | None = None,
    ) -> None: ...

@final
class Authorizer:
    """An authorizer's handle: a plugin's, and what it decided."""

    @property
    def id(self) -> str | None:
        """The session's id, where there is one."""
    @property
    def closed(self) -> bool: ...
    @property
    def filter(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    def emit(
        self,
        action: str,
        /,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        operation: Text | None = None,
        resource_type: Text | None = None,
        resource: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, str] | None = None,
        context: ContextMap | None = None,
    ) -> None: ...
    # --- authorizer methods: made from rust/event/catalog.toml by docs/generate.py ---
    def operation_allowed(
        self,
        operation: Text,
        resource_type: Text,
        resource: Text,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An authorizer allowed an attempted operation; not yet the server's yes.

        Action `OperationAllowed`.
        """
    def operation_denied(
        self,
        operation: Text,
        resource_type: Text,
        resource: Text,
        client_correlation_id: int | None = None,
        server_correlation_id: int | None = None,
        duration_ns: int | None = None,
        api: Text | None = None,
        server: Text | None = None,
        server_local: Text | None = None,
        node_id: int | None = None,
        *,
        outcome: Outcome | None = None,
        status: Text | None = None,
        reason: Text | None = None,
        authority: Authority | None = None,
        tap: Text | None = None,
        object_ref: Mapping[str, Text] | None = None,
        context: ContextMap | None = None,
    ) -> None:
        """An authorizer denied an attempted operation.

        Action `OperationDenied`.
        """
    # --- end ---
