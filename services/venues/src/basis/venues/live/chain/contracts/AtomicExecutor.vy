# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Atomic executor
@notice Runs the steps of one atomic group in one transaction for its owner, inside a flash loan where a step asks for one.
        Any failing step undoes them all. It holds nothing between transactions: positions are the owner's (supplied and
        borrowed on the owner's behalf), what is left over goes back to the owner. No step names a recipient, so that no
        list of steps can send anything to anyone but the owner or an allow-listed protocol.
@dev WETH and ether are one token inside: each step wraps or unwraps what it lacks. Steps read all of their targets from an
     allow-list by kind of step, and tokens that are pulled are the only tokens that any step may name.
"""

interface Token:
    def balanceOf(holder: address) -> uint256: view
    def approve(spender: address, amount: uint256) -> bool: nonpayable
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(source: address, to: address, amount: uint256) -> bool: nonpayable

interface Weth:
    def deposit(): payable
    def withdraw(amount: uint256): nonpayable

interface Pool:
    def supply(asset: address, amount: uint256, holder: address, referral: uint16): nonpayable
    def borrow(asset: address, amount: uint256, mode: uint256, referral: uint16, holder: address): nonpayable
    def repay(asset: address, amount: uint256, mode: uint256, holder: address) -> uint256: nonpayable
    def withdraw(asset: address, amount: uint256, to: address) -> uint256: nonpayable
    def flashLoanSimple(receiver: address, asset: address, amount: uint256, params: Bytes[5504], referral: uint16): nonpayable
    def getUserAccountData(user: address) -> (uint256, uint256, uint256, uint256, uint256, uint256): view

interface Lender:
    def flashLoan(token: address, amount: uint256, data: Bytes[5504]): nonpayable

struct Swap:
    source: address
    target: address
    fee: uint24
    recipient: address
    amount: uint256
    least: uint256
    limit: uint160

interface Router:
    def exactInputSingle(params: Swap) -> uint256: payable

interface Wrapper:
    def wrap(amount: uint256) -> uint256: nonpayable
    def unwrap(amount: uint256) -> uint256: nonpayable

interface EtherfiPool:
    def deposit() -> uint256: payable
    def requestWithdraw(recipient: address, amount: uint256) -> uint256: nonpayable

interface LidoQueue:
    def requestWithdrawalsWstETH(amounts: DynArray[uint256, 1], owner: address) -> DynArray[uint256, 1]: nonpayable

struct Step:
    kind: uint256
    target: address    # who is called; allow-listed for the kind
    token: address     # token given, or reserve
    other: address     # token received, or held in between
    amount: uint256    # units of token; ALL = all that is here (PULL: all that the owner has)
    least: uint256     # fewest units that the step must bring; of a loan: most that it may cost
    extra: uint256     # SWAP: fee of the pool; FLASH: index of its END

event Began:
    native: uint256

event Done:
    index: uint256
    kind: uint256
    brought: uint256   # units that the step brought
    native: uint256    # ether here after it

event Allowed:
    kind: indexed(uint256)
    target: indexed(address)
    yes: bool

PULL: constant(uint256) = 0
SUPPLY: constant(uint256) = 1
BORROW: constant(uint256) = 2
REPAY: constant(uint256) = 3
WITHDRAW: constant(uint256) = 4
SWAP: constant(uint256) = 5
STAKE_LIDO: constant(uint256) = 6
STAKE_ETHERFI: constant(uint256) = 7
UNSTAKE_LIDO: constant(uint256) = 8
UNSTAKE_ETHERFI: constant(uint256) = 9
FLASH_MORPHO: constant(uint256) = 10
FLASH_AAVE: constant(uint256) = 11
END: constant(uint256) = 12

ALL: constant(uint256) = max_value(uint256)
MAX_STEPS: constant(uint256) = 24
VARIABLE: constant(uint256) = 2

OWNER: public(immutable(address))
POOL: public(immutable(address))
WETH: public(immutable(address))

allowed: public(HashMap[uint256, HashMap[address, bool]])
running: transient(bool)
lender: transient(address)
plan: transient(bytes32)


@deploy
def __init__(owner: address, pool: address, weth: address):
    assert owner != empty(address), "no owner"
    OWNER = owner
    POOL = pool
    WETH = weth


@external
@payable
def __default__():
    assert self.running, "only within a transaction of its own"


@external
def allow(kind: uint256, targets: DynArray[address, 16], yes: bool):
    """
    @notice Put targets on the allow-list of a kind of step, or take them off.
    """
    assert msg.sender == OWNER, "not owner"
    assert kind < END, "no such kind"
    for target: address in targets:
        self.allowed[kind][target] = yes
        log Allowed(kind=kind, target=target, yes=yes)


@external
@payable
@nonreentrant
def execute(
    steps: DynArray[Step, MAX_STEPS], returned: DynArray[address, 8], least_health: uint256, deadline: uint256
) -> uint256:
    """
    @notice Run all steps or none.
    @param steps What to do, in sequence.
    @param returned Tokens that may be left over: they go to the owner at the end, with all ether and WETH.
    @param least_health Health factor that the owner's Aave account must have at the end, 1e18 = 1; 0 = not checked.
    @param deadline Time after which nothing happens any more, seconds.
    @return The owner's health factor at the end.
    """
    assert msg.sender == OWNER, "not owner"
    assert block.timestamp <= deadline, "too late"
    self.running = True
    log Began(native=self.balance)
    self._run(steps, 0, len(steps))
    for token: address in returned:
        self._return(token)
    held: uint256 = staticcall Token(WETH).balanceOf(self)
    if held > 0:
        extcall Weth(WETH).withdraw(held)
    if self.balance > 0:
        raw_call(OWNER, b"", value=self.balance)
    self.running = False
    health: uint256 = (staticcall Pool(POOL).getUserAccountData(OWNER))[5]
    assert health >= least_health, "health factor"
    return health


@external
def onMorphoFlashLoan(amount: uint256, data: Bytes[5504]):
    """
    @notice Called by the flash lender that a step of ours has just asked.
    """
    self._answer(data)
    self._inside(data)
    self._owe(data, amount)


@external
def executeOperation(asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[5504]) -> bool:
    """
    @notice Called by Aave's pool for a flash loan that a step of ours has just asked for.
    """
    assert initiator == self, "not ours"
    self._answer(params)
    self._inside(params)
    self._owe(params, amount + premium)
    return True


@internal
def _answer(data: Bytes[5504]):
    # once, by the lender that was asked, with what it was given
    assert self.lender != empty(address) and msg.sender == self.lender and keccak256(data) == self.plan, "not asked for"
    self.plan = empty(bytes32)


@internal
def _inside(data: Bytes[5504]):
    steps: DynArray[Step, MAX_STEPS] = []
    first: uint256 = 0
    stop: uint256 = 0
    steps, first, stop = abi_decode(data, (DynArray[Step, MAX_STEPS], uint256, uint256))
    loan: Step = steps[first - 1]
    log Done(index=first - 1, kind=loan.kind, brought=loan.amount, native=self.balance)
    self._run(steps, first, stop)


@internal
def _owe(data: Bytes[5504], amount: uint256):
    steps: DynArray[Step, MAX_STEPS] = []
    first: uint256 = 0
    stop: uint256 = 0
    steps, first, stop = abi_decode(data, (DynArray[Step, MAX_STEPS], uint256, uint256))
    loan: Step = steps[first - 1]
    assert amount >= loan.amount and amount <= loan.amount + loan.least, "loan too dear"
    self._have(loan.token, amount)
    self._approve(loan.token, msg.sender, amount)


@internal
def _run(steps: DynArray[Step, MAX_STEPS], first: uint256, stop: uint256):
    following: uint256 = first
    for i: uint256 in range(first, stop, bound=MAX_STEPS):
        if i < following:
            continue
        step: Step = steps[i]
        assert self.allowed[step.kind][step.target], "target not allowed"
        assert step.token == empty(address) or self.allowed[PULL][step.token], "token not allowed"
        assert step.other == empty(address) or self.allowed[PULL][step.other], "token not allowed"
        if step.kind == FLASH_MORPHO or step.kind == FLASH_AAVE:
            assert step.extra > i and step.extra < stop and steps[step.extra].kind == END, "loan without end"
            self._borrow_flash(step, abi_encode(steps, i + 1, step.extra))
            log Done(index=step.extra, kind=END, brought=0, native=self.balance)
            following = step.extra + 1
            continue
        brought: uint256 = self._do(step)
        assert brought >= step.least, "too little"
        log Done(index=i, kind=step.kind, brought=brought, native=self.balance)


@internal
def _borrow_flash(step: Step, data: Bytes[5504]):
    assert self.lender == empty(address), "loan within a loan"
    self.lender = step.target
    self.plan = keccak256(data)
    if step.kind == FLASH_MORPHO:
        extcall Lender(step.target).flashLoan(step.token, step.amount, data)
    else:
        extcall Pool(step.target).flashLoanSimple(self, step.token, step.amount, data, 0)
    assert self.plan == empty(bytes32), "lender did not lend"
    self.lender = empty(address)


@internal
def _do(step: Step) -> uint256:
    if step.kind == PULL:
        amount: uint256 = step.amount
        if amount == ALL:
            amount = staticcall Token(step.target).balanceOf(OWNER)
        assert extcall Token(step.target).transferFrom(OWNER, self, amount, default_return_value=True)
        return amount
    if step.kind == BORROW:
        extcall Pool(step.target).borrow(step.token, step.amount, VARIABLE, 0, OWNER)
        return step.amount
    if step.kind == WITHDRAW:
        # the owner's aTokens were pulled before: all of what is here
        return extcall Pool(step.target).withdraw(step.token, ALL, self)
    amount: uint256 = step.amount
    if amount == ALL:
        amount = self._holding(step.token)
    if step.kind == STAKE_LIDO or step.kind == STAKE_ETHERFI:
        return self._stake(step, amount)
    self._have(step.token, amount)
    if step.kind == UNSTAKE_ETHERFI:
        pooled: uint256 = extcall Wrapper(step.token).unwrap(amount)
        self._approve(step.other, step.target, pooled)
        extcall EtherfiPool(step.target).requestWithdraw(OWNER, pooled)
        return pooled
    self._approve(step.token, step.target, amount)
    if step.kind == SUPPLY:
        extcall Pool(step.target).supply(step.token, amount, OWNER, 0)
        return amount
    if step.kind == REPAY:
        paid: uint256 = extcall Pool(step.target).repay(step.token, amount, VARIABLE, OWNER)
        if paid < amount:
            self._approve(step.token, step.target, 0)
        return paid
    if step.kind == SWAP:
        return extcall Router(step.target).exactInputSingle(
            Swap(
                source=step.token,
                target=step.other,
                fee=convert(step.extra, uint24),
                recipient=self,
                amount=amount,
                least=step.least,
                limit=0,
            )
        )
    assert step.kind == UNSTAKE_LIDO, "no such kind"
    extcall LidoQueue(step.target).requestWithdrawalsWstETH([amount], OWNER)
    return amount


@internal
def _stake(step: Step, amount: uint256) -> uint256:
    # step.token is WETH, step.other the LST
    if self.balance < amount:
        extcall Weth(WETH).withdraw(amount - self.balance)
    before: uint256 = staticcall Token(step.other).balanceOf(self)
    if step.kind == STAKE_LIDO:
        raw_call(step.target, b"", value=amount)  # wstETH stakes the ether that it receives
    else:
        extcall EtherfiPool(step.target).deposit(value=amount)
        rebasing: address = convert(step.extra, address)
        assert self.allowed[PULL][rebasing], "token not allowed"
        pooled: uint256 = staticcall Token(rebasing).balanceOf(self)
        self._approve(rebasing, step.other, pooled)
        extcall Wrapper(step.other).wrap(pooled)
    return staticcall Token(step.other).balanceOf(self) - before


@internal
@view
def _holding(token: address) -> uint256:
    held: uint256 = staticcall Token(token).balanceOf(self)
    if token == WETH:
        held += self.balance
    return held


@internal
def _have(token: address, amount: uint256):
    if token != WETH:
        return
    held: uint256 = staticcall Token(WETH).balanceOf(self)
    if held < amount:
        extcall Weth(WETH).deposit(value=amount - held)


@internal
def _approve(token: address, spender: address, amount: uint256):
    assert extcall Token(token).approve(spender, amount, default_return_value=True)


@internal
def _return(token: address):
    held: uint256 = staticcall Token(token).balanceOf(self)
    if held > 0:
        assert extcall Token(token).transfer(OWNER, held, default_return_value=True)
