"""Store: the files of all runs that are being written, and the journal that says how far they are.

Plain synchronous code; the service calls it in a thread, one call at a time. Every method that writes either succeeds
whole, or raises and leaves what :meth:`Store.position` says: the next call first cuts away what a failed one left.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from basis.event_logger import files
from basis.event_logger.core import digests, journal, plan, seal
from basis.event_logger.core.canonical import order_of, sorted_log
from basis.event_logger.core.journal import FileMark, Position, Record, RunMark
from basis.event_logger.digester import Digester
from basis.event_logger.directories import STATE_DIR, write_atomically
from basis.models.errors import ComponentError, InputError
from basis.models.events import EVENT_MODELS
from basis.models.messages import RunEnd, RunMetadata, RunSealed, RunStart
from basis.runtime import codec
from basis.runtime.structured_logger import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from basis.event_logger.core.digests import EventDigest
    from basis.event_logger.core.plan import Incoming, Kind, Target
    from basis.event_logger.core.seal import Inspected
    from basis.event_logger.directories import LogDirectoryManager, RunDir
    from basis.runtime.clock import Clock

JOURNAL_BYTES: Final = 1_000_000
"""A journal longer than this is rewritten as one record."""
_REMEMBERED: Final = 10_000
"""Sealed runs known without a look at the disk."""
_OPERATIONS: Final = plan.event_path(seal.OPERATIONS)


class Store:
    """One stream's way into the files under one root.

    Args:
        logs: where runs go.
        stream_id: identity of the stream; each has its own lock and journal.
        clock: wall clock of the seals.
        fsync: True syncs every batch to the disk; live runs are always synced.
    """

    def __init__(self, logs: LogDirectoryManager, stream_id: str, clock: Clock, *, fsync: bool) -> None:
        self._logs = logs
        self.stream_id = stream_id
        self._clock = clock
        self._fsync = fsync
        self._directory = logs.root / STATE_DIR
        self.lock_path = self._directory / f"{stream_id}.lock"
        self._journal_path = self._directory / f"{stream_id}.journal"
        self._lock: int | None = None
        self._files = files.AppendFiles()
        self._digester = Digester()
        self._journal_size = 0
        self._had_journal = False
        self._beginning: set[str] = set()
        self._recovered = False
        self._dirty: set[tuple[str, str]] = set()
        self._sealed: OrderedDict[str, None] = OrderedDict()
        self.position = Position()

    # ------------------------------------------------------------------------------------------------ lock

    def try_lock(self) -> bool:
        """Become the one writer of this stream; False while another process is.

        Raises:
            OSError: the root cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # the last writer took the directory away just now
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        if not self._is_current(handle):
            os.close(handle)
            return False
        self._lock = handle
        return True

    def _is_current(self, handle: int) -> bool:
        """The file may have been removed between opening and locking: then the lock is worth nothing."""
        try:
            return os.path.samestat(os.fstat(handle), self.lock_path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Close the files and let another write; leaves nothing behind where every run is sealed.

        Without a journal the stream is read from its start: sealed runs are recognised by their metadata.
        """
        self._files.close()
        self._digester.close()
        if self._lock is None:
            return
        if self._recovered and not self.position.runs:
            self._journal_path.unlink(missing_ok=True)
            self.lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
        try:
            self._directory.rmdir()
        except OSError:  # another stream's, or gone already
            return

    # --------------------------------------------------------------------------------------------- recovery

    def recover(self) -> list[str]:
        """Read the journal and cut the files to it; returns warnings.

        Raises:
            OSError: the disk is broken.
        """
        self._had_journal = self._journal_path.exists()
        content = self._journal_path.read_bytes() if self._had_journal else b""
        self.position, self._journal_size = journal.replay(content)
        warnings = []
        if self._journal_size < len(content):
            warnings.append(f"{self._journal_path}: {len(content) - self._journal_size} torn bytes dropped")
        for cid, mark in list(self.position.runs.items()):
            run = self._logs.run_dir(cid, mark.pid)
            if self._sealed_metadata(cid) is not None:
                self.position = journal.advance(self.position, Record(self.position.seq, ended=(cid,)))
            elif self._is_short(run, mark):
                warnings.append(f"{run.path}: shorter than the journal says, the run is read again from the stream")
                self.position = journal.rewound(self.position, cid)
            else:
                self._cut(run, mark)
        self._compact()
        self._recovered = True
        return warnings

    @staticmethod
    def _is_short(run: RunDir, mark: RunMark) -> bool:
        paths = {run.path / path: file.size for path, file in mark.files.items()}
        if not run.metadata.exists():
            return True
        return any(not path.exists() or path.stat().st_size < size for path, size in paths.items())

    def _cut(self, run: RunDir, mark: RunMark) -> None:
        for path in _present(run):
            file = mark.files.get(path)
            self._files.truncate(run.path / path, file.size if file else 0)

    # ---------------------------------------------------------------------------------------------- messages

    def segments(self, messages: Sequence[Incoming]) -> Iterator[tuple[Kind, list[tuple[Incoming, Target]]]]:
        """What is not yet in the files, split at starts and ends of runs."""
        new = [message for message in messages if message.seq > self.position.seq]
        return plan.segments(new, EVENT_MODELS, COMPONENTS)

    def append(self, routed: Sequence[tuple[Incoming, Target]]) -> tuple[str, ...]:
        """Append what lies between starts and ends; returns warnings.

        Raises:
            OSError: the disk is full or broken.
        """
        self._undo()
        unknown = {where.cid for _, where in routed if where.kind in {"events", "logs"}} - self.position.runs.keys()
        sealed = {cid for cid in unknown if cid not in self.position.early and self._is_sealed(cid)}
        work = plan.plan(self.position, routed, sealed)
        for cid, by_path in work.appends.items():
            mark = self.position.runs[cid]
            run = self._logs.run_dir(cid, mark.pid)
            for path, parts in by_path.items():
                self._dirty.add((cid, path))
                self._files.append(run.path / path, parts, sync=self._fsync or mark.durable)
        self._write_journal(work.record)
        self._dirty.clear()
        behind = min((message.behind for message, _ in routed), default=0)
        self._digester.feed(work.appends, behind)
        return work.warnings

    def open_run(self, message: Incoming, cid: str) -> list[str]:
        """A run begins: its directory, its metadata, and the log lines that came early; returns warnings.

        Raises:
            OSError: the disk is full or broken.
            ComponentError: LOG-003, the directory cannot be made.
        """
        self._undo()
        if cid in self.position.runs or self._is_sealed(cid):
            self._write_journal(Record(message.seq))
            return []
        try:
            start = codec.decode(message.payload, RunStart)
        except ComponentError as error:
            self._write_journal(Record(message.seq))
            return [f"a run's start is dropped: {error}"]
        self._begin(message, start.model_copy(update={"correlation_id": cid}))
        return []

    def _begin(self, message: Incoming, start: RunStart) -> None:
        cid, durable = start.correlation_id, start.mode == "live"
        sync = self._fsync or durable
        run = self._logs.create(cid, start.pid)
        marks = self._adopt(run)
        adopted = bool(marks)
        self._beginning.add(cid)
        self._logs.write_metadata(run, RunMetadata(**dict(start), status="running"), sync=sync)
        if sync:
            for directory in (run.events, run.path, run.path.parent, self._logs.root):
                files.sync_directory(directory)
        early = self.position.early.get(cid, ())
        lines: dict[str, list[bytes]] = {}
        for line in early:
            path = plan.log_path(line.component)
            payload = line.text.encode("latin-1")
            self._files.append(run.path / path, [payload], sync=sync)
            marks[path] = FileMark(marks.get(path, FileMark(0, -1)).size + len(payload), line.seq)
            lines.setdefault(path, []).append(payload)
        first = early[0].seq if early else message.seq
        self._write_journal(Record(message.seq, started={cid: RunMark(start.pid, durable, first, marks)}))
        self._beginning.discard(cid)
        if not adopted:
            self._digester.begin(cid)
            self._digester.feed({cid: lines})

    def _adopt(self, run: RunDir) -> dict[str, FileMark]:
        """Marks of files that are there already, from a writer whose journal is lost or never got so far."""
        marks = {}
        for path in _present(run):
            file = run.path / path
            is_event_file = digests.is_event_path(path)
            # events read again are recognised by their order, log lines are not: those that our own first try at this
            # start left are cut away, those of a writer whose journal is lost are kept, at worst doubled
            again = self._had_journal or run.correlation_id in self._beginning
            if path == _OPERATIONS or (again and not is_event_file):
                self._files.truncate(file, 0)
            elif is_event_file:
                size, last = _tail(file)
                self._files.truncate(file, size)
                marks[path] = FileMark(size, last)
            else:
                marks[path] = FileMark(file.stat().st_size, -1)
        return marks

    # -------------------------------------------------------------------------------------------------- seal

    def seal(self, message: Incoming, cid: str) -> tuple[RunSealed | None, list[str]]:
        """A run ends: count, hash, and write its final metadata. A repeat gives the same seal again.

        Returns:
            what the engine is to hear (None where there is no such run), and warnings.

        Raises:
            OSError: the disk is full or broken.
        """
        self._undo()
        found = self._sealed_metadata(cid)
        if found is not None:  # sealed before, but died or failed before the engine was told
            run, metadata = found
            return seal.sealed_message(metadata, str(run.path)), []
        mark = self.position.runs.get(cid)
        if mark is None:
            return None, [f"{message.subject}: the end of a run that never started is dropped"]
        try:
            end = codec.decode(message.payload, RunEnd)
        except ComponentError as error:
            return None, [f"a run's end is dropped: {error}"]
        run = self._logs.run_dir(cid, mark.pid)
        metadata = self._seal(run, end, sync=self._fsync or mark.durable)
        return seal.sealed_message(metadata, str(run.path)), []

    def _seal(self, run: RunDir, end: RunEnd, *, sync: bool) -> RunMetadata:
        end = end.model_copy(update={"correlation_id": run.correlation_id, "pid": run.pid})
        for component in COMPONENTS:
            self._files.append(self._logs.component_log(run, component), [], sync=sync)
        self._dirty.add((run.correlation_id, _OPERATIONS))
        inspected, digest = self._inspected(run)
        operations = run.path / _OPERATIONS
        lines = seal.operation_lines(end, inspected, self._clock.now())
        if lines:
            self._files.append(operations, [lines], sync=sync)
            inspected[_OPERATIONS] = files.inspect(operations)
        event_hash, broken = self._event_hash(run, digest, lines)
        metadata = seal.sealed_metadata(self._logs.read_metadata(run), end, inspected, event_hash, self._clock.now())
        if broken:
            reasons = [reason for reason in (metadata.seal_error, f"LOG-005: {broken}") if reason]
            metadata = metadata.model_copy(update={"seal_error": "; ".join(reasons)})
        self._logs.write_metadata(run, metadata, sync=sync)
        for path in inspected:
            self._files.forget(run.path / path)
        self._dirty.clear()
        return metadata

    def _inspected(self, run: RunDir) -> tuple[dict[str, Inspected], EventDigest | str]:
        """All files, and the digest over the events; only what was not hashed when it was appended is read for it."""
        done = self._digester.finished(run.correlation_id)
        sizes = {path: (run.path / path).stat().st_size for path in _present(run)}
        inspected = digests.known_files(done, sizes)
        unknown = {run.path / path: path for path in sizes.keys() - inspected.keys()}
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal") as pool:
            counting = pool.submit(files.inspect_all, unknown)
            digest = digests.known_events(done, sizes) or self._digest(run, sizes)
            inspected |= {unknown[path]: found for path, found in counting.result().items()}
        return inspected, digest

    @staticmethod
    def _digest(run: RunDir, paths: Iterable[str]) -> EventDigest | str:
        """Digest over the run's own events; the reason in words where a line is no event."""
        events = [run.path / path for path in paths if digests.is_event_path(path)]
        try:
            return files.event_digest(events, run.correlation_id)
        except ValueError as error:
            return str(error)

    @staticmethod
    def _event_hash(run: RunDir, found: EventDigest | str, operations: bytes) -> tuple[str, str | None]:
        """Hash over the run's events and the event-logger's own, which are the last; and what is wrong with them."""
        if isinstance(found, str):  # what is no event has no canonical form: sealed all the same, and says so
            return hashlib.sha256(b"").hexdigest(), found
        if operations and order_of(operations[: operations.index(b"\n")]) <= found.last:
            return files.event_hash(run.events.glob("*.jsonl"), run.correlation_id), None
        found.digest.update(sorted_log([[operations]], run.correlation_id))
        return found.digest.hexdigest(), None

    def close_run(self, seq: int, cid: str, *, sealed: bool) -> None:
        """The end of a run is dealt with: forget the run where the engine has been told of its seal.

        Raises:
            OSError: the disk is full or broken.
        """
        self._undo()
        self._write_journal(Record(seq, ended=(cid,) if sealed else ()))
        if sealed:
            self._digester.forget(cid)
            self._remember(cid)
            self._compact()

    def _is_sealed(self, cid: str) -> bool:
        return cid in self._sealed or self._sealed_metadata(cid) is not None

    def _sealed_metadata(self, cid: str) -> tuple[RunDir, RunMetadata] | None:
        try:
            run = self._logs.find(cid)
            metadata = self._logs.read_metadata(run)
        except (InputError, ComponentError):
            return None
        if metadata.sealed_at is None:
            return None
        self._remember(cid)
        return run, metadata

    def _remember(self, cid: str) -> None:
        self._sealed[cid] = None
        while len(self._sealed) > _REMEMBERED:
            self._sealed.popitem(last=False)

    # ----------------------------------------------------------------------------------------------- journal

    def _write_journal(self, record: Record) -> None:
        position = journal.advance(self.position, record)
        touched = {*record.files, *record.started}
        sync = self._fsync or any(position.runs[cid].durable for cid in touched if cid in position.runs)
        line = journal.encode(record)
        self._files.append(self._journal_path, [line], sync=sync)
        self._journal_size += len(line)
        self.position = position
        if self._journal_size > JOURNAL_BYTES:
            self._compact()

    def _compact(self) -> None:
        line = journal.encode(journal.snapshot(self.position))
        self._files.forget(self._journal_path)
        sync = self._fsync or any(run.durable for run in self.position.runs.values())
        write_atomically(self._journal_path, line, sync=sync)
        self._journal_size = len(line)

    def _undo(self) -> None:
        """Cut away what a failed call left."""
        for cid, path in self._dirty:
            mark = self.position.runs[cid]
            file = mark.files.get(path)
            self._files.truncate(self._logs.run_dir(cid, mark.pid).path / path, file.size if file else 0)
        self._dirty.clear()
        if self._journal_path.exists() and self._journal_path.stat().st_size > self._journal_size:
            self._files.truncate(self._journal_path, self._journal_size)


def _present(run: RunDir) -> list[str]:
    """Event files and component logs that are there, relative to the run's directory."""
    logs = [path.name for path in run.path.glob("*.log")]
    return sorted(logs) + sorted(f"events/{path.name}" for path in run.events.glob("*.jsonl"))


def _tail(path: Path) -> tuple[int, int]:
    """Size up to the last complete line, and that line's order; (0, -1) where there is none."""
    size, last = 0, b""
    for block in files.blocks(path):
        end = block.rfind(b"\n") + 1
        if end:
            size += end
            last = block[block.rfind(b"\n", 0, end - 1) + 1 : end]
    return size, order_of(last) if last else -1
