"""The executor contract: who may use it, what it may touch, and that nothing stays in it. On the real chain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import vyper
from eth_abi.abi import encode
from tests.chain.contracts import BAD_LENDER, GREEDY_OWNER
from tests.support.chain import Account, execute
from tests.support.venues import order

from basis.testkit.chain.aave import WAD, ZERO
from basis.testkit.chain.install import Artifact
from basis.testkit.chain.node import Contract, RpcError
from basis.venues.live.chain import plan
from basis.venues.live.chain.onboarding import ARTEFACT
from basis.venues.live.chain.plan import Step

if TYPE_CHECKING:
    from basis.venues.live.chain.venue import ChainVenue

LATE = 2**40


def compiled(source: str) -> Artifact:
    """A contract of the tests."""
    built = vyper.compile_code(source, output_formats=["abi", "bytecode"])
    return Artifact(built["abi"], built["bytecode"].removeprefix("0x"), {})


def own_artefact() -> Artifact:
    """The executor as it is in the repository."""
    found = json.loads(ARTEFACT.read_text(encoding="utf-8"))
    return Artifact(found["abi"], found["bytecode"].removeprefix("0x"), {})


class Bench:
    """The wallet's executor, driven without the venue."""

    def __init__(self, account: Account) -> None:
        self.account, self.node, self.world = account, account.node, account.world
        assert account.config.executor is not None
        self.executor = Contract(self.node, account.config.executor, own_artefact().abi, account.address)
        self.weth = self.world.tokens["WETH"].address
        self.pool = account.config.aave.pool

    def run(self, *steps: Step, least_health: int = 0, deadline: int = LATE, value: int = 0, **fields: Any) -> None:
        """Execute steps as the owner, or whom ``sender`` names."""
        sender = fields.pop("sender", self.account.address)
        returned = fields.pop("returned", [])
        with self.node.as_sender(sender):
            args = ([tuple(step) for step in steps], returned, least_health, deadline)
            self.executor.send("execute", *args, sender=sender, value=value)

    def refused(self, why: str, *steps: Step, **fields: Any) -> None:
        """The same, and it must revert saying why, with every balance as it was."""
        before = self.account.everything()
        with pytest.raises(RpcError, match=why):
            self.run(*steps, **fields)
        assert self.account.everything() == before

    def allow(self, kind: int, target: str) -> None:
        """Put a target on the allow-list."""
        with self.node.as_sender(self.account.address) as sender:
            self.executor.send("allow", kind, [target], True, sender=sender)


@pytest.fixture
def bench(account: Account) -> Bench:
    return Bench(account)


def test_only_the_owner_may_execute_or_allow(bench: Bench) -> None:
    """Anyone else is refused, whatever is asked."""
    stranger = bench.node.accounts[3]
    bench.refused("not owner", sender=stranger)
    bench.refused("not owner", Step(plan.PULL, bench.weth, amount=1), sender=stranger)
    with pytest.raises(RpcError, match="not owner"):
        bench.executor.send("allow", plan.PULL, [stranger], True, sender=stranger)


def test_targets_and_tokens_must_be_on_the_allow_list(bench: Bench) -> None:
    """By kind of step: the pool may be supplied to, not swapped at; a token nobody allowed is never called."""
    foreign, token = bench.node.accounts[5], bench.world.tokens["EIGEN"].address
    rogue = bench.node.deploy(compiled(BAD_LENDER)).address
    for kind in range(plan.END):
        bench.refused("target not allowed", Step(kind, foreign, bench.weth, amount=1))
    bench.refused("target not allowed", Step(plan.SWAP, bench.pool, bench.weth, token, 1))
    bench.refused("token not allowed", Step(plan.SUPPLY, bench.pool, rogue, amount=1))
    router = bench.world.uniswap.router.address
    bench.refused("token not allowed", Step(plan.SWAP, router, bench.weth, rogue, 1, 0, 500), value=WAD)
    ether_pool = bench.world.pooled["weETH"].address
    stake = Step(
        plan.STAKE_ETHERFI, ether_pool, bench.weth, bench.world.tokens["weETH"].address, WAD, 0, int(rogue, 16)
    )
    bench.refused("token not allowed", stake, value=WAD)
    with bench.node.as_sender(bench.account.address) as sender:
        bench.executor.send("allow", plan.SUPPLY, [bench.pool], False, sender=sender)
    bench.refused("target not allowed", Step(plan.SUPPLY, bench.pool, bench.weth, amount=WAD), value=WAD)


def test_no_step_beyond_the_known_ones(bench: Bench) -> None:
    """A kind that is none, an end without a loan, a loan without an end or within another."""
    lender = bench.world.lender.address
    for kind in (plan.END, plan.END + 1, 2**255):
        bench.refused("target not allowed", Step(kind, bench.pool))
    with bench.node.as_sender(bench.account.address) as sender, pytest.raises(RpcError, match="no such kind"):
        bench.executor.send("allow", plan.END, [bench.pool], True, sender=sender)
    loan = Step(plan.FLASH_MORPHO, lender, bench.weth, amount=WAD, extra=1)
    end = Step(plan.END, ZERO)
    bench.refused("loan without end", loan)
    bench.refused("loan without end", loan, Step(plan.PULL, bench.weth, amount=0))
    bench.refused("loan without end", loan._replace(extra=0), end)
    bench.refused("loan within a loan", loan._replace(extra=3), loan._replace(extra=2), end, end)
    bench.run(loan, end)
    bench.run(loan, end, loan._replace(extra=3), end)  # two in a row


def test_deadline_least_and_health_factor_are_checked_inside(bench: Bench) -> None:
    """Whatever the chain has come to by the time it is mined."""
    lst, pool = bench.world.tokens["wstETH"].address, bench.pool
    stake = Step(plan.STAKE_LIDO, lst, bench.weth, lst, WAD)
    bench.refused("too late", deadline=bench.node.time - 1)
    fair = WAD * 100 // 116
    bench.refused("too little", stake._replace(least=fair + 1), value=WAD, returned=[lst])
    bench.run(stake._replace(least=fair), value=WAD, returned=[lst])
    supply = Step(plan.SUPPLY, pool, bench.weth, amount=10 * WAD)
    borrow = Step(plan.BORROW, pool, bench.weth, amount=9 * WAD)
    bench.refused("health factor", supply, borrow, value=10 * WAD, least_health=106 * WAD // 100)
    bench.run(supply, borrow, value=10 * WAD, least_health=105 * WAD // 100)  # 10 x 0.95 / 9
    assert bench.world.aave.account(bench.account.address)["health_factor"] > WAD


def test_swap_below_its_least_is_refused_by_the_pool(bench: Bench) -> None:
    """The amount of a swap is bounded in the transaction itself."""
    token, router = bench.world.tokens["weETH"].address, bench.world.uniswap.router.address
    swap = Step(plan.SWAP, router, bench.weth, token, WAD, WAD, 100)
    bench.refused("Too little received", swap, value=WAD, returned=[token])
    bench.run(swap._replace(least=9 * WAD // 10), value=WAD, returned=[token])


def test_ether_is_taken_within_a_transaction_alone(bench: Bench) -> None:
    """None can be lost in it by accident; what someone forces in, or sends in tokens, goes to the owner with the next."""
    with pytest.raises(RpcError, match="only within"):
        bench.node.send(bench.node.accounts[2], bench.executor.address, value=WAD)
    bench.node.fund(bench.executor.address, WAD)
    bench.world.give(bench.executor.address, "USDT", 77 * 10**6)
    before = bench.node.balance(bench.account.address)
    bench.run(returned=[bench.world.tokens["USDT"].address])
    assert bench.node.balance(bench.executor.address) == 0
    assert bench.world.units("USDT", bench.account.address) == 77 * 10**6
    assert bench.node.balance(bench.account.address) > before + WAD * 99 // 100


def test_callbacks_of_loans_that_were_not_asked_for_are_refused(bench: Bench) -> None:
    """By strangers, by a lender of ours in a loan of another's, by Aave for another's loan."""
    data = encode(["(uint256,address,address,address,uint256,uint256,uint256)[]", "uint256", "uint256"], [[], 0, 0])
    stranger, executor = bench.node.accounts[3], bench.executor
    with pytest.raises(RpcError, match="not asked for"):
        executor.send("onMorphoFlashLoan", 1, data, sender=stranger)
    with pytest.raises(RpcError, match="not ours"):
        executor.send("executeOperation", bench.weth, 1, 0, stranger, data, sender=stranger)
    with pytest.raises(RpcError, match="not asked for"):
        executor.send("executeOperation", bench.weth, 1, 0, executor.address, data, sender=stranger)
    with pytest.raises(RpcError, match="not ours"):  # Aave lends to whom anyone names
        args = (executor.address, bench.weth, WAD, data, 0)
        bench.world.aave.pool.send("flashLoanSimple", *args, sender=stranger)


@pytest.mark.parametrize(
    ("mode", "why"), [(0, "not asked for"), (1, "not asked for"), (2, "lender did not lend"), (3, "loan too dear")]
)
def test_lender_that_cheats_undoes_the_transaction(bench: Bench, mode: int, why: str) -> None:
    """Calls back twice, with other steps, or not at all: even an allow-listed lender runs the steps once, as given."""
    lender = bench.node.deploy(compiled(BAD_LENDER))
    bench.world.give(lender.address, "WETH", 5 * WAD)
    lender.send("behave", mode)
    bench.allow(plan.FLASH_MORPHO, lender.address)
    loan = Step(plan.FLASH_MORPHO, lender.address, bench.weth, amount=WAD, extra=1)
    bench.refused(why, loan, Step(plan.END, ZERO))


def test_executor_cannot_be_entered_again(bench: Bench) -> None:
    """Its owner is a contract here that calls it again when ether comes back."""
    node = bench.node
    owner = node.deploy(compiled(GREEDY_OWNER))
    executor = node.deploy(own_artefact(), owner.address, bench.pool, bench.weth)
    owner.send("use", executor.address)
    owner.send("go", False, value=WAD)
    with pytest.raises(RpcError):
        owner.send("go", True, value=WAD)
    assert node.balance(executor.address) == 0


async def test_nothing_stays_in_it_and_no_allowance_is_left(account: Account, venue: ChainVenue, bench: Bench) -> None:
    """After every kind of operation: no token, no ether, no allowance of the executor's to anyone."""
    account.world.give(account.address, "USDT", 5_000 * 10**6)
    loan = (order("flash_borrow", "morpho", 15.0, 0, "g"), order("stake", "etherfi", 25.0, 1, "g", source_token="ETH"))
    rest = (
        order("supply", "aave_v3", 25.0 / 1.04, 2, "g", source_token="weETH"),
        order("borrow", "aave_v3", 15.0, 3, "g", target_token="WETH"),
        order("flash_repay", "morpho", 15.0, 4, "g"),
    )
    await execute(venue, *loan, *rest)
    for one in (
        order("supply", "aave_v3", 1_000.0, source_token="USDT"),
        order("stake", "lido", 3.0, source_token="ETH"),
        order("repay", "aave_v3", 10.0 / 3, source_token="WETH"),
        order("withdraw", "aave_v3", 1_000.0 / 3, target_token="USDT"),
        order("swap", "uniswap", 1.0 / 3, source_token="wstETH", target_token="ETH"),
        order("unstake", "lido", 1.0 / 3, source_token="wstETH", target_token="ETH"),
    ):
        await execute(venue, one)
    world, executor = account.world, bench.executor.address
    held = {name: world.units(name, executor) for name in world.tokens}
    held |= {
        f"a{name}": world.a_token(name).call("scaledBalanceOf", executor)
        for name in ("USDT", "WETH", "weETH", "wstETH")
    }
    assert not any(held.values()), held
    assert bench.node.balance(executor) == 0
    spenders = [account.config.aave.pool, world.uniswap.router.address, world.lender.address]
    spenders += [world.queues["wstETH"].address, world.tokens["weETH"].address]
    for token in world.tokens.values():
        assert [token.call("allowance", executor, one) for one in spenders] == [0] * len(spenders)


def test_artefact_is_what_the_source_compiles_to() -> None:
    """The same compiler, byte for byte: what is deployed can be read in the repository."""
    found = json.loads(ARTEFACT.read_text(encoding="utf-8"))
    built = vyper.compile_code(
        ARTEFACT.with_suffix(".vy").read_text(encoding="utf-8"), output_formats=["abi", "bytecode"]
    )
    assert found["bytecode"] == built["bytecode"]
    assert found["abi"] == json.loads(json.dumps(built["abi"]))
