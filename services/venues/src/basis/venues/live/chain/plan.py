"""Orders to the steps of one transaction of the executor. Pure; integers only.

The executor holds nothing when it begins: what a step needs is what steps before it brought, and what is missing comes from
the wallet: ether along with the transaction, tokens pulled just before the step. An amount that is within ``close_within`` of
all there is means all of it: indices and rates move between the decision and the block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from basis.models.instruments import AAVE_RESERVES, INSTRUMENTS, LST_OF, TOKEN_DECIMALS, holding_key, wallet_token
from basis.models.operations import ExecutionMode, OperationType
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain.amounts import MAX, WAD, part, to_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.chain_config import OnChainConfig
    from basis.models.order import Order
    from basis.venues.live.chain.state import Book, State

PULL: Final = 0
SUPPLY: Final = 1
BORROW: Final = 2
REPAY: Final = 3
WITHDRAW: Final = 4
SWAP: Final = 5
STAKE_LIDO: Final = 6
STAKE_ETHERFI: Final = 7
UNSTAKE_LIDO: Final = 8
UNSTAKE_ETHERFI: Final = 9
FLASH_MORPHO: Final = 10
FLASH_AAVE: Final = 11
END: Final = 12
MAX_STEPS: Final = 24
_ZERO: Final = "0x" + "00" * 20
_RATE_TOLERANCE: Final = 1e-3
"""Most that a staking rate may move between the quote and the block."""
_DUST: Final = 10
"""Units that roundings of several contracts may add up to."""
_COMPONENT = "ethereum"

Op = OperationType


class Step(NamedTuple):
    """One step of the executor; fields as in its source."""

    kind: int
    target: str
    token: str = _ZERO
    other: str = _ZERO
    amount: int = 0
    least: int = 0
    extra: int = 0


class Plan(NamedTuple):
    """One transaction."""

    steps: tuple[Step, ...]
    """In sequence."""
    owners: tuple[int, ...]
    """Index of the order that each step belongs to."""
    value: int
    """Ether sent along, wei."""
    returned: tuple[str, ...]
    """Tokens that may be left over."""
    least_health: int
    """Health factor demanded at the end, 1e-18; 0 where there is no debt to be in danger from."""


class Quote(NamedTuple):
    """What a pool pays, for the amount of one swap."""

    units_in: int
    """Asked for."""
    units_out: int
    """What the quoter answered."""


def compile_plan(
    orders: Sequence[Order], config: OnChainConfig, book: Book, state: State, quotes: Mapping[int, Quote], reserve: int
) -> Plan:
    """The transaction of one order, or of one atomic group.

    Args:
        orders: in sequence.
        config: addresses and limits.
        book: addresses.
        state: the account.
        quotes: index of each swap among the orders -> its quote.
        reserve: ether that stays in the wallet for gas, wei.

    Raises:
        VenueRefusal: VEN-001 no such token or protocol; VEN-008 more than there is; VEN-009 against the rules.
    """
    return _Compiler(orders, config, book, state, quotes, reserve).run()


class _Compiler:
    def __init__(
        self,
        orders: Sequence[Order],
        config: OnChainConfig,
        book: Book,
        state: State,
        quotes: Mapping[int, Quote],
        reserve: int,
    ) -> None:
        self._orders, self._config, self._book, self._state, self._quotes = orders, config, book, state, quotes
        self._wallet = dict(state.units)
        self._native = max(state.native - reserve, 0)
        self._a_units = dict(state.a_units)
        self._debts = dict(state.debt_units)
        self._held: dict[str, int] = {}  # in the executor; ether counts as WETH
        self._steps: list[Step] = []
        self._owners: list[int] = []
        self._value = 0
        self._place = 0
        self._loan: tuple[int, int, int] | None = None  # step, order, units

    def run(self) -> Plan:
        """Compile all orders."""
        does = {
            Op.SUPPLY: self._supply,
            Op.BORROW: self._borrow,
            Op.REPAY: self._repay,
            Op.WITHDRAW: self._withdraw,
            Op.STAKE: self._stake,
            Op.UNSTAKE: self._unstake,
            Op.SWAP: self._swap,
            Op.FLASH_BORROW: self._flash_borrow,
            Op.FLASH_REPAY: self._flash_repay,
        }
        for place, order in enumerate(self._orders):
            self._place = place
            if order.operation not in does:
                raise VenueRefusal("VEN-001", f"{order.operation} is no step of a transaction here", _COMPONENT)
            does[order.operation](order)
        if self._loan is not None:
            raise VenueRefusal("VEN-009", "flash loan not repaid: the group lacks a flash_repay", _COMPONENT)
        if len(self._steps) > MAX_STEPS:
            message = f"the group needs {len(self._steps)} steps, more than the executor's {MAX_STEPS}"
            raise VenueRefusal("VEN-009", message, _COMPONENT)
        health = self._config.least_health_factor if any(self._debts.values()) else 0.0
        endangers = any(order.operation in {Op.BORROW, Op.WITHDRAW} for order in self._orders)
        return Plan(
            tuple(self._steps),
            tuple(self._owners),
            self._value,
            tuple(self._returned()),
            part(WAD, health) if endangers else 0,
        )

    # -------------------------------------------------------------------------------------------------- operations

    def _supply(self, order: Order) -> None:
        token = self._reserve(order.source_token)
        units = self._give(token, order.amount)
        self._add(Step(SUPPLY, self._config.aave.pool, self._book.tokens[token], amount=units))
        self._a_units[token] += self._took(token, units)

    def _borrow(self, order: Order) -> None:
        token = self._reserve(order.target_token)
        units = self._positive(order, to_units(order.amount, TOKEN_DECIMALS[token]))
        self._add(Step(BORROW, self._config.aave.pool, self._book.tokens[token], amount=units))
        self._debts[token] += units
        self._bring(token, units)

    def _repay(self, order: Order) -> None:
        token = self._reserve(order.source_token)
        units = self._positive(order, to_units(order.amount, TOKEN_DECIMALS[token]))
        debt = self._debts[token]
        if units > self._grown(debt):
            raise VenueRefusal(
                "VEN-008", f"repay {order.amount!r} {token}: only {_text(debt, token)} is owed", _COMPONENT
            )
        if units >= self._nearly(debt):
            # Aave takes what is owed in that block, which is a little more by then
            units = max(min(self._grown(debt), self._there(token)), debt)
        self._need(token, units)
        self._add(Step(REPAY, self._config.aave.pool, self._book.tokens[token], amount=units))
        self._took(token, min(units, debt))
        self._debts[token] = max(debt - units, 0)

    def _withdraw(self, order: Order) -> None:
        token = self._reserve(order.target_token)
        units = self._positive(order, to_units(order.amount, TOKEN_DECIMALS[token]))
        held = self._a_units[token]
        if units > self._grown(held) or held == 0:
            message = f"withdraw {order.amount!r} {token}: only {_text(held, token)} is supplied"
            raise VenueRefusal("VEN-008", message, _COMPONENT)
        whole = units >= self._nearly(held)
        self._add(Step(PULL, self._book.a_tokens[token], amount=MAX if whole else units))
        least = (held if whole else units) - _DUST
        self._add(Step(WITHDRAW, self._config.aave.pool, self._book.tokens[token], amount=MAX, least=max(least, 0)))
        brought = held if whole else units
        self._a_units[token] = held - brought
        self._bring(token, brought)

    def _stake(self, order: Order) -> None:
        lst = self._lst(order, order.source_token, order.target_token)
        units = self._give("WETH", order.amount)
        rate = self._state.rates[lst]
        brought = units * WAD // rate
        least = part(brought, 1.0 - min(order.slippage_tolerance, _RATE_TOLERANCE))
        tokens = self._book.tokens
        if lst == "wstETH":
            self._add(Step(STAKE_LIDO, tokens[lst], tokens["WETH"], tokens[lst], units, least))
        else:
            ether = self._config.etherfi
            assert ether is not None
            extra = int(ether.rebasing, 16)
            self._add(Step(STAKE_ETHERFI, ether.pool, tokens["WETH"], tokens[lst], units, least, extra))
        self._took("WETH", units)
        self._bring(lst, brought)

    def _unstake(self, order: Order) -> None:
        lst = self._lst(order, order.target_token, order.source_token)
        units = self._give(lst, order.amount)
        token = self._book.tokens[lst]
        if lst == "wstETH":
            assert self._config.lido is not None
            if units == MAX:  # the request names an amount
                units = self._held[lst]
            self._add(Step(UNSTAKE_LIDO, self._config.lido.queue, token, amount=units))
        else:
            ether = self._config.etherfi
            assert ether is not None
            self._add(Step(UNSTAKE_ETHERFI, ether.pool, token, ether.rebasing, units))
        self._took(lst, units)

    def _swap(self, order: Order) -> None:
        source, target = swapped(order, self._book)
        quote = self._quotes[self._place]
        given = self._give(source, order.amount)
        spent = self._held[source] if given == MAX else given
        fair = fair_units(source, target, spent, self._state.roots, self._book)
        quoted = quote.units_out * spent // quote.units_in
        cost = 1.0 - quoted / fair if fair else 1.0
        if cost > order.slippage_tolerance:
            message = f"quoted {cost:.6f} below the pool's price, above slippage_tolerance {order.slippage_tolerance:g}"
            raise VenueRefusal("VEN-009", message, _COMPONENT)
        least = part(fair, 1.0 - order.slippage_tolerance)
        uniswap, tokens = self._config.uniswap, self._book.tokens
        assert uniswap is not None
        fee = uniswap.fees[target if source == "WETH" else source]
        self._add(Step(SWAP, uniswap.router, tokens[source], tokens[target], given, least, fee))
        self._took(source, given)
        self._bring(target, least)

    def _flash_borrow(self, order: Order) -> None:
        lender = self._config.flash
        if lender is None:
            raise VenueRefusal("VEN-001", "no flash lender is configured", _COMPONENT)
        if order.execution_mode is not ExecutionMode.ATOMIC:
            raise VenueRefusal("VEN-009", "a flash loan needs an atomic group", _COMPONENT)
        if self._loan is not None:
            raise VenueRefusal("VEN-009", "a flash loan within a flash loan", _COMPONENT)
        units = self._positive(order, to_units(order.amount, TOKEN_DECIMALS["WETH"]))
        units = max(units, self._full_repayment(units))
        kind = FLASH_MORPHO if lender.kind == "morpho" else FLASH_AAVE
        self._loan = (len(self._steps), self._place, units)
        self._add(Step(kind, lender.lender, self._book.tokens["WETH"], amount=units))
        self._bring("WETH", units)

    def _flash_repay(self, order: Order) -> None:
        if self._loan is None:
            raise VenueRefusal("VEN-009", f"repays {order.amount!r}, but nothing is owed", _COMPONENT)
        step, place, units = self._loan
        borrowed = self._orders[place].amount
        if order.amount != borrowed:
            raise VenueRefusal("VEN-009", f"repays {order.amount!r} of a flash loan of {borrowed!r}", _COMPONENT)
        lender = self._steps[step]
        fee = premium(units, self._state.premium_bps) if lender.kind == FLASH_AAVE else 0
        self._need("WETH", units + fee)
        self._took("WETH", units + fee)
        self._steps[step] = lender._replace(extra=len(self._steps), least=fee)
        self._add(Step(END, _ZERO))
        self._loan = None

    # ------------------------------------------------------------------------------------------------------ amounts

    def _give(self, token: str, amount: float) -> int:
        """Units to give, ``MAX`` for all that earlier steps brought; what is missing comes from the wallet."""
        units = to_units(amount, TOKEN_DECIMALS[token])
        if units == 0:
            raise VenueRefusal("VEN-007", f"{amount!r} {token} is less than its smallest unit", _COMPONENT)
        held = self._held.get(token, 0)
        # within the wallet's ether a part is as good as all: only what steps brought is rounded to
        if token != "WETH" and held and self._nearly(held) <= units <= self._grown(held):
            return MAX
        whole = self._wallet.get(token, 0)
        if token != "WETH" and not held and self._nearly(whole) <= units <= self._grown(whole):
            units = whole
        self._need(token, units)
        return units

    def _need(self, token: str, units: int) -> None:
        """Have so much in the executor."""
        missing = units - self._held.get(token, 0)
        if missing <= 0:
            return
        if token == "WETH":
            sent = min(missing, self._native)
            self._value += sent
            self._native -= sent
            missing -= sent
            self._bring("WETH", sent)
        if missing > 0:
            there = self._wallet.get(token, 0)
            if missing > there:
                message = f"{wallet_token(token)}: {_text(missing - there, token)} more is needed than there is"
                raise VenueRefusal("VEN-008", message, _COMPONENT)
            self._wallet[token] = there - missing
            self._add(Step(PULL, self._book.tokens[token], amount=missing))
            self._bring(token, missing)

    def _there(self, token: str) -> int:
        """All that could be given of a token."""
        native = self._native if token == "WETH" else 0
        return self._held.get(token, 0) + self._wallet.get(token, 0) + native

    def _took(self, token: str, units: int) -> int:
        """A step took so much; returns what ``MAX`` came to."""
        spent = self._held.get(token, 0) if units == MAX else units
        self._held[token] = self._held.get(token, 0) - spent
        return spent

    def _bring(self, token: str, units: int) -> None:
        self._held[token] = self._held.get(token, 0) + units

    def _nearly(self, units: int) -> int:
        return part(units, 1.0 - self._config.close_within)

    def _grown(self, units: int) -> int:
        return units + part(units, self._config.close_within) + (_DUST if units else 0)

    def _full_repayment(self, loan: int) -> int:
        """What a loan must come to where it pays for a repayment of the whole debt; 0 where it does not."""
        for order in self._orders[self._place :]:
            if order.operation is Op.REPAY and self._reserve(order.source_token) == "WETH":
                debt = self._debts["WETH"]
                wanted = to_units(order.amount, TOKEN_DECIMALS["WETH"])
                whole = self._nearly(debt) <= wanted <= self._grown(debt)
                return self._grown(debt) if whole and self._nearly(wanted) <= loan <= self._grown(wanted) else 0
        return 0

    @staticmethod
    def _positive(order: Order, units: int) -> int:
        if units == 0:
            message = f"{order.operation} of {order.amount!r}: less than the smallest unit"
            raise VenueRefusal("VEN-007", message, _COMPONENT)
        return units

    # ------------------------------------------------------------------------------------------------------- tokens

    def _reserve(self, token: str | None) -> str:
        name = "WETH" if token == "ETH" else token or ""
        if name not in self._book.a_tokens:
            known = ", ".join(self._book.reserves)
            raise VenueRefusal("VEN-009", f"no reserve {token!r}; known: {known}", _COMPONENT)
        return name

    def _lst(self, order: Order, ether: str | None, lst: str | None) -> str:
        """LST of the order's venue."""
        own = LST_OF.get(order.venue)  # type: ignore[call-overload]
        if own is None or own not in self._state.rates:
            raise VenueRefusal("VEN-001", f"{order.venue} is not configured", _COMPONENT)
        if wallet_token(ether or "ETH") != "ETH" or (lst or own) != own:
            message = f"{order.operation} {order.source_token} to {order.target_token}: only ETH and {own}"
            raise VenueRefusal("VEN-009", message, _COMPONENT)
        return str(own)

    def _returned(self) -> list[str]:
        tokens = {step.token for step in self._steps} | {step.other for step in self._steps}
        known = [at for name, at in self._book.tokens.items() if name != "WETH" and at in tokens]
        rebasing = self._config.etherfi.rebasing if self._config.etherfi else None
        if any(step.kind in {STAKE_ETHERFI, UNSTAKE_ETHERFI} for step in self._steps) and rebasing:
            known.append(rebasing)
        return known

    def _add(self, step: Step) -> None:
        self._steps.append(step)
        self._owners.append(self._place)


def swapped(order: Order, book: Book) -> tuple[str, str]:
    """Tokens given and received; one side is ETH, which is WETH here.

    Raises:
        VenueRefusal: VEN-001, no such pair.
    """
    source, target = ("WETH" if one == "ETH" else one or "" for one in (order.source_token, order.target_token))
    other = target if source == "WETH" else source
    if (source == "WETH") == (target == "WETH") or other not in book.pools:
        known = ", ".join(book.pools)
        raise VenueRefusal(
            "VEN-001", f"no pair {source}/{target}; one side is ETH, the other one of: {known}", _COMPONENT
        )
    return source, target


def touched(order: Order) -> set[str]:
    """Instruments that an order moves, gas aside; empty where it names a token that is none."""
    given = "WETH" if order.source_token == "ETH" else order.source_token or ""
    received = "WETH" if order.target_token == "ETH" else order.target_token or ""
    if order.operation in {Op.SUPPLY, Op.WITHDRAW}:
        token = given if order.operation is Op.SUPPLY else received
        return {f"aave_v3:aToken:a{token}", holding_key(token)} if token in AAVE_RESERVES else set()
    if order.operation in {Op.BORROW, Op.REPAY}:
        token = given if order.operation is Op.REPAY else received
        return {f"aave_v3:debtToken:debt{token}", holding_key(token)} if token in AAVE_RESERVES else set()
    if order.operation in {Op.STAKE, Op.UNSTAKE}:
        lst = LST_OF.get(order.venue)  # type: ignore[call-overload]
        claim = {f"{order.venue}:BaseToken:ETH"} if order.operation is Op.UNSTAKE else {"wallet:BaseToken:ETH"}
        return claim | {f"{order.venue}:LST:{lst}"}
    if order.operation is Op.SWAP:
        return {holding_key(token) for token in (given, received) if token in TOKEN_DECIMALS}
    if order.operation is Op.TRANSFER:
        key = f"{order.target_venue}:BaseToken:{wallet_token(given)}"
        return {key} if key in INSTRUMENTS else set()
    return {"wallet:BaseToken:ETH", "morpho:debtToken:flashWETH"}


def fair_units(source: str, target: str, units: int, roots: Mapping[str, int], book: Book) -> int:
    """What so many units are worth at the pool's price of the moment, before its fee."""
    other = target if source == "WETH" else source
    first = int(book.tokens[source], 16) < int(book.tokens[target], 16)  # the pool's price is second per first
    square = roots[other] ** 2
    return units * square >> 192 if first else (units << 192) // square


def premium(units: int, bps: int) -> int:
    """Aave's fee on a flash loan: PercentageMath.percentMul, rounds half up."""
    return (units * bps + 5_000) // 10_000


def _text(units: int, token: str) -> str:
    return f"{units / 10 ** TOKEN_DECIMALS[token]:g} {token}"
