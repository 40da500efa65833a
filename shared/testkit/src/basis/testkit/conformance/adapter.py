"""What the suites ask a venue before they judge it: the one place where a live venue may differ from a simulated one.

A family of venues (simulated, on a chain, exchanges) implements :class:`VenueAdapter` once; what remains, the abstract methods
from ``config`` on, a test class says for its one venue. No test asks which family it runs on in any other way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from hypothesis import settings

from basis.runtime.gas import gas_fee, order_pays_gas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.operations import OperationType
    from basis.models.order import Order
    from basis.testkit.conformance.cases import Case, Floats, Settled


class VenueAdapter(ABC):
    """A venue as the suites see it."""

    # --------------------------------------------------------------------------------------------------- of a family

    SIMULATED: ClassVar[bool]
    """What handshakes say of themselves. A simulated fill is at the moment it was asked for; a real one is there or later."""
    EVIDENCE: ClassVar[Mapping[str, str]]
    """Field of a fill's ``venue_metadata`` -> pattern of all of its text: what the world outside knows the fill by (the hash of
    a transaction, the client order id). Empty for a simulation, where there is no world outside."""
    GAS_ROUNDING: ClassVar[float]
    """Largest relative gap between the gas of a handshake and :meth:`gas_of`; 0 is equality to the digit."""

    @abstractmethod
    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int = 3
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """Execute as one transaction, with all venues of :meth:`config`; handshakes and the ledger after.

        A live venue is first set to the ledger and the market. It may answer a question that it was asked before from memory
        until :meth:`forget` is called.
        """

    @abstractmethod
    def positions(self, ledger: Mapping[str, float]) -> Mapping[str, float]:
        """What the service answers when it is asked what the account holds."""

    @abstractmethod
    def forget(self) -> None:
        """What this test has asked for is not remembered: asked for again, it is done again."""

    @abstractmethod
    def examples(self, wanted: int) -> settings:
        """How a property is tried that is worth so many examples: a real transaction takes its time."""

    @abstractmethod
    def gas_of(self, handshakes: Sequence[ExecutionHandshake], case: Case) -> list[float]:
        """Gas that each order of a case has to pay, in units of the token that pays it; 0 where none is due.

        Args:
            handshakes: what the case came to; a real price of gas is known afterwards alone.
            case: the case.
        """

    @abstractmethod
    def without_id(self, handshake: ExecutionHandshake) -> ExecutionHandshake:
        """The handshake less its operation_id and what the venue makes from that alone."""

    # ---------------------------------------------------------------------------------------------------- of a venue

    @abstractmethod
    def config(self) -> RunConfig:
        """A mode that uses the venue."""

    @abstractmethod
    def name(self) -> str:
        """Name of the venue."""

    @abstractmethod
    def offered(self) -> frozenset[OperationType]:
        """Operations that the venue offers; every other is refused."""

    @abstractmethod
    def accepted(self) -> list[Case]:
        """Transactions that the venue accepts: at least one for each operation that it offers."""

    @abstractmethod
    def refused(self) -> list[tuple[Case, str]]:
        """Transactions that the venue refuses, each with its error code (of the refusal, not EXEC-005)."""


class SimulatedAdapter(VenueAdapter):
    """A simulated venue: it keeps nothing, its fills are at once, and every figure is a formula of the configuration."""

    SIMULATED = True
    EVIDENCE: ClassVar[Mapping[str, str]] = {}
    GAS_ROUNDING = 0.0

    def forget(self) -> None:
        """There is nothing to forget: it computes each time."""

    def examples(self, wanted: int) -> settings:
        """On all of them."""
        return settings(max_examples=wanted)

    def gas_of(self, handshakes: Sequence[ExecutionHandshake], case: Case) -> list[float]:
        """Typical units of the operation at the tick's price."""
        del handshakes
        config, market = self.config(), case.market
        return [
            gas_fee(config, market, order.operation).amount if order_pays_gas(order) else 0.0 for order in case.orders
        ]

    def without_id(self, handshake: ExecutionHandshake) -> ExecutionHandshake:
        """The id is handed back and in nothing else."""
        return handshake.model_copy(update={"operation_id": ""})

    @abstractmethod
    def settle(self, ledger: Mapping[str, float], market: Mapping[str, Floats], first_tick: int) -> Settled:
        """Let ticks pass without orders.

        Args:
            ledger: balances before the first tick; not changed.
            market: market column -> values, one more than ticks: the first is of the tick before.
            first_tick: index of the first tick, at least 1.
        """
