"""The run's entry in the KV bucket ``runs``: one writer, by revision, so that two engines never both go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from basis.models.errors import ComponentError
from basis.models.messages import RunRecord

if TYPE_CHECKING:
    from nats.js.kv import KeyValue


class TakenOverError(ComponentError):
    """Another engine writes this run's record: this one must stop at once and leave everything as it is."""


class RunRecordStore:
    """Reads and writes the record of one run.

    Args:
        bucket: KV bucket ``runs``.
        correlation_id: run.
    """

    def __init__(self, bucket: KeyValue, correlation_id: str) -> None:
        self._bucket = bucket
        self._key = correlation_id
        self._revision = 0

    async def load(self) -> RunRecord | None:
        """The record as it is, None for a run never started; remembers its revision."""
        try:
            entry = await self._bucket.get(self._key)
        except KeyNotFoundError:
            return None
        self._revision = entry.revision or 0
        return RunRecord.model_validate_json(entry.value or b"")

    async def save(self, record: RunRecord) -> None:
        """Replace the record that was last seen.

        Raises:
            TakenOverError: ENGINE-002, another engine wrote it meanwhile.
        """
        payload = record.model_dump_json().encode()
        try:
            self._revision = await self._bucket.update(self._key, payload, last=self._revision)
        except KeyWrongLastSequenceError as error:
            raise TakenOverError("ENGINE-002", f"another engine runs {self._key}: this one stops", "engine") from error
