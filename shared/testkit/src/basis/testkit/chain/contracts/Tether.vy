# pragma version 0.4.3
"""
@title A dollar token that misbehaves like mainnet's USDT: no answers, and no allowance changed from one amount to another
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

name: public(constant(String[16])) = "Tether USD"
symbol: public(constant(String[4])) = "USDT"
decimals: public(constant(uint8)) = 6
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
OWNER: immutable(address)


@deploy
def __init__():
    OWNER = msg.sender


@external
def mint(to: address, amount: uint256):
    assert msg.sender == OWNER, "not owner"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, value=amount)


@internal
def _move(source: address, to: address, amount: uint256):
    self.balanceOf[source] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=source, receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256):
    self._move(msg.sender, to, amount)


@external
def transferFrom(source: address, to: address, amount: uint256):
    if self.allowance[source][msg.sender] != max_value(uint256):
        self.allowance[source][msg.sender] -= amount
    self._move(source, to, amount)


@external
def approve(spender: address, amount: uint256):
    assert amount == 0 or self.allowance[msg.sender][spender] == 0, "from one amount to another"
    self.allowance[msg.sender][spender] = amount
