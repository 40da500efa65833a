# pragma version 0.4.3
"""
@title A wrapper of shares like Lido's wstETH and ether.fi's weETH
"""

interface Pooled:
    def submit(referral: address) -> uint256: payable
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(source: address, to: address, amount: uint256) -> bool: nonpayable
    def getPooledEthByShares(amount: uint256) -> uint256: view
    def getSharesByPooledEth(amount: uint256) -> uint256: view

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

name: public(String[32])
symbol: public(String[8])
decimals: public(constant(uint8)) = 18
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
POOLED: immutable(address)
WAD: constant(uint256) = 10 ** 18


@deploy
def __init__(_name: String[32], _symbol: String[8], pooled: address):
    self.name = _name
    self.symbol = _symbol
    POOLED = pooled


@internal
def _mint(to: address, amount: uint256):
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, value=amount)


@external
@payable
def __default__():
    made: uint256 = extcall Pooled(POOLED).submit(empty(address), value=msg.value)
    self._mint(msg.sender, made)


@external
def wrap(amount: uint256) -> uint256:
    made: uint256 = staticcall Pooled(POOLED).getSharesByPooledEth(amount)
    self._mint(msg.sender, made)
    assert extcall Pooled(POOLED).transferFrom(msg.sender, self, amount)
    return made


@external
def unwrap(amount: uint256) -> uint256:
    backing: uint256 = staticcall Pooled(POOLED).getPooledEthByShares(amount)
    self.totalSupply -= amount
    self.balanceOf[msg.sender] -= amount
    log Transfer(sender=msg.sender, receiver=empty(address), value=amount)
    assert extcall Pooled(POOLED).transfer(msg.sender, backing)
    return backing


@external
@view
def stEthPerToken() -> uint256:
    return staticcall Pooled(POOLED).getPooledEthByShares(WAD)


@external
@view
def getRate() -> uint256:
    return staticcall Pooled(POOLED).getPooledEthByShares(WAD)


@internal
def _move(source: address, to: address, amount: uint256):
    self.balanceOf[source] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=source, receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(source: address, to: address, amount: uint256) -> bool:
    if self.allowance[source][msg.sender] != max_value(uint256):
        self.allowance[source][msg.sender] -= amount
    self._move(source, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True
