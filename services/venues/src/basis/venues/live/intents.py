"""Order intents in the KV bucket ``intents``: what is about to be sent, written before it is, and what became of it.

One entry an order or atomic group, by its first operation_id. Whoever works on it writes on its revision: two replicas
can never both go on (fencing), and one that dies stops renewing and is taken over from.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Literal, Self

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import AwareDatetime, Field, JsonValue

from basis.models.base import FrozenModel
from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.order import Order
from basis.runtime import subjects
from basis.venues.live.bucket import Bucket
from basis.venues.live.errors import Retryable

if TYPE_CHECKING:
    from types import TracebackType

    from nats.js.kv import KeyValue

    from basis.runtime.bus import Bus

RENEW_S = 0.8
"""How often the owner of an intent says that it is still at it."""
LEASE_S = 2.5
"""An intent that did not change for so long has no owner any more."""
_LOOK_S = 0.1
_WRITE_PATIENCE_S = 75.0
"""How long a write waits for NATS to come back: what was sent must not be forgotten."""


class Intent(FrozenModel):
    """One order or atomic group on its way."""

    operation_ids: tuple[str, ...] = Field(min_length=1)
    """Orders that it carries."""
    correlation_id: str
    """Run."""
    tick: int = Field(ge=0)
    """Tick that ordered."""
    venue: str
    """Who executes."""
    orders: tuple[Order, ...]
    """As ordered."""
    state: Literal["created", "sending", "done"]
    """``created``: nothing sent. ``sending``: reference known, may have been sent.
    ``done``: outcome known, for good."""
    owner: str
    """Replica that works on it; empty: it was let go of."""
    beat: int = Field(default=0, ge=0)
    """Rises while the owner works on it."""
    sends: int = Field(default=0, ge=0)
    """How often it was sent."""
    reference: dict[str, JsonValue] | None = None
    """What finds it again at the venue; no secrets."""
    handshakes: tuple[ExecutionHandshake, ...] = ()
    """What became of it; ``done`` only."""
    balances: dict[str, float] = Field(default_factory=dict)
    """What the venues held right after it; ``done`` only: a repeated request gets the same answer."""
    created_at: AwareDatetime
    """Wall clock of the first attempt."""


class LostIntentError(Exception):
    """Another replica has taken over: stop at once, and ask it for the outcome."""


class IntentStore:
    """The bucket ``intents``.

    Args:
        bus: connection.
        owner: name of this replica.
    """

    def __init__(self, bus: Bus, owner: str) -> None:
        self.owner = owner
        self._bucket = Bucket(bus, subjects.KV_INTENTS)

    async def bucket(self) -> KeyValue:
        """The bucket itself."""
        return await self._bucket.open()

    async def load(self, key: str) -> tuple[Intent, int] | None:
        """An intent and its revision; None where nothing of the kind was ever begun."""
        try:
            entry = await (await self.bucket()).get(key)
        except KeyNotFoundError:
            return None
        return Intent.model_validate_json(entry.value or b""), entry.revision or 0

    async def create(self, intent: Intent) -> HeldIntent | None:
        """Begin; None where another was first."""
        begun = time.monotonic()
        try:
            revision = await (await self.bucket()).create(intent.operation_ids[0], intent.model_dump_json().encode())
        except KeyWrongLastSequenceError:
            return None
        return HeldIntent(self, intent, revision, begun)

    async def settled(self, key: str) -> Intent | HeldIntent:
        """An intent of another: its outcome once it is done, or the intent itself once its owner is gone.

        Raises:
            ComponentError: ENGINE-002, the intent is gone.
        """
        seen, since = -1, 0.0
        loop = asyncio.get_running_loop()
        while True:
            found = await self.load(key)
            if found is None:
                raise ComponentError("ENGINE-002", f"intent {key} is gone from the bucket", "venue_interface_manager")
            intent, revision = found
            if intent.state == "done":
                return intent
            free = not intent.owner
            if revision != seen and not free:
                # a replica that has just been started need not sit out what its predecessor has been gone for already
                age_s = await self._bucket.age_s(key, revision) if seen < 0 else 0.0
                seen, since = revision, loop.time() - age_s
            elif free or loop.time() - since >= LEASE_S:
                held = HeldIntent(self, intent, revision, float("-inf"))
                with contextlib.suppress(LostIntentError):
                    await held.write(owner=self.owner)
                    return held
            await asyncio.sleep(_LOOK_S)


class HeldIntent:
    """An intent that this replica works on; as a context it is renewed in the background.

    Args:
        store: bucket.
        intent: as it is there.
        revision: of that.
        written: when this replica last wrote it, at the latest; seconds of the machine's monotonic clock.
    """

    def __init__(self, store: IntentStore, intent: Intent, revision: int, written: float) -> None:
        self._store = store
        self.intent = intent
        self._revision = revision
        self._written = written
        self._writing = asyncio.Lock()
        self._lost = False
        self._renewing: asyncio.Task[None] | None = None

    async def write(self, **changes: object) -> None:
        """Change the entry; waits for a NATS that is away.

        Raises:
            LostIntentError: another replica has taken over.
        """
        async with self._writing:
            if self._lost:
                raise LostIntentError
            changed = self.intent.model_copy(update=changes)
            payload = changed.model_dump_json().encode()
            deadline = asyncio.get_running_loop().time() + _WRITE_PATIENCE_S
            while True:
                begun = time.monotonic()
                try:
                    bucket = await self._store.bucket()
                    self._revision = await bucket.update(self.intent.operation_ids[0], payload, last=self._revision)
                except KeyWrongLastSequenceError as error:
                    if not await self._is_ours(payload):  # an acknowledgement that was lost is no other replica
                        self._lost = True
                        raise LostIntentError from error
                except (NatsError, TimeoutError):
                    if asyncio.get_running_loop().time() >= deadline:
                        raise
                    await asyncio.sleep(0.2)
                    continue
                self.intent, self._written = changed, begun
                return

    async def let_go(self) -> None:
        """Whoever is asked for it next may take it up at once. Only where this replica's last attempt did not leave.

        Raises:
            LostIntentError: another replica has taken over.
        """
        first = self.intent.sends <= 1
        await self.write(owner="", **({"state": "created", "reference": None, "sends": 0} if first else {}))

    async def renew(self) -> None:
        """Say that this replica is still at it, where that was a while ago.

        Raises:
            LostIntentError: another replica has taken over.
            Retryable: VEN-003, NATS is away.
        """
        if time.monotonic() - self._written < RENEW_S:
            return
        try:
            await self.write(beat=self.intent.beat + 1)
        except (NatsError, TimeoutError) as error:
            raise Retryable("VEN-003", f"not sent: NATS is away: {error or type(error).__name__}", "bus") from error

    def holds(self) -> bool:
        """True while nobody can have taken over: not by the event loop's clock, which stands still between two turns."""
        return not self._lost and time.monotonic() - self._written < LEASE_S

    async def _is_ours(self, payload: bytes) -> bool:
        entry = await (await self._store.bucket()).get(self.intent.operation_ids[0])
        if entry.value != payload:
            return False
        self._revision = entry.revision or 0
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self.write(beat=self.intent.beat + 1)
            except LostIntentError:
                return
            except (NatsError, TimeoutError):
                continue

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
