# pragma version 0.4.3
"""
@title A price feed with the interface of a Chainlink aggregator, set by the test
"""

decimals: public(constant(uint8)) = 8
answer: int256
updated: uint256
OWNER: immutable(address)


@deploy
def __init__(_answer: int256):
    OWNER = msg.sender
    self.answer = _answer
    self.updated = block.timestamp


@external
def set(_answer: int256, _updated: uint256):
    assert msg.sender == OWNER, "not owner"
    self.answer = _answer
    self.updated = _updated


@external
@view
def latestAnswer() -> int256:
    return self.answer


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    return 1, self.answer, self.updated, self.updated, 1
