# pragma version 0.4.3
"""
@title A pooled-ether token like Lido's stETH and ether.fi's eETH with its LiquidityPool in one
@dev Balances are shares times a rate; written to the public interfaces, rate set by the test.
"""

interface Queue:
    def request(owner: address, backing: uint256, shares: uint256) -> uint256: nonpayable

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

name: public(String[32])
symbol: public(String[8])
decimals: public(constant(uint8)) = 18
shares: public(HashMap[address, uint256])
totalShares: public(uint256)
allowance: public(HashMap[address, HashMap[address, uint256]])
rate: public(uint256)
queue: public(address)
OWNER: immutable(address)
WAD: constant(uint256) = 10 ** 18


@deploy
def __init__(_name: String[32], _symbol: String[8], _rate: uint256):
    self.name = _name
    self.symbol = _symbol
    self.rate = _rate
    OWNER = msg.sender


@external
def rebase(_rate: uint256):
    assert msg.sender == OWNER, "not owner"
    self.rate = _rate


@external
def set_queue(_queue: address):
    assert msg.sender == OWNER, "not owner"
    self.queue = _queue


@external
@payable
def __default__():
    pass


@internal
def _mint(amount: uint256) -> uint256:
    made: uint256 = amount * WAD // self.rate
    self.shares[msg.sender] += made
    self.totalShares += made
    log Transfer(sender=empty(address), receiver=msg.sender, value=amount)
    return made


@external
@payable
def submit(referral: address) -> uint256:
    return self._mint(msg.value)


@external
@payable
def deposit() -> uint256:
    return self._mint(msg.value)


@external
@view
def getPooledEthByShares(amount: uint256) -> uint256:
    return amount * self.rate // WAD


@external
@view
def amountForShare(amount: uint256) -> uint256:
    return amount * self.rate // WAD


@external
@view
def getSharesByPooledEth(amount: uint256) -> uint256:
    return amount * WAD // self.rate


@external
@view
def balanceOf(holder: address) -> uint256:
    return self.shares[holder] * self.rate // WAD


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@internal
def _move(source: address, to: address, amount: uint256):
    moved: uint256 = amount * WAD // self.rate
    self.shares[source] -= moved
    self.shares[to] += moved
    log Transfer(sender=source, receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(source: address, to: address, amount: uint256) -> bool:
    self.allowance[source][msg.sender] -= amount
    self._move(source, to, amount)
    return True


@external
def requestWithdraw(recipient: address, amount: uint256) -> uint256:
    assert self.allowance[msg.sender][self] >= amount, "allowance"
    self._move(msg.sender, self.queue, amount)
    return extcall Queue(self.queue).request(recipient, amount, amount * WAD // self.rate)
