"""Contracts that try to make the executor do what it must not."""

from __future__ import annotations

GREEDY_OWNER = """
# pragma version 0.4.3
struct Step:
    kind: uint256
    target: address
    token: address
    other: address
    amount: uint256
    least: uint256
    extra: uint256
interface Executor:
    def execute(steps: DynArray[Step, 24], returned: DynArray[address, 8], least: uint256, deadline: uint256) -> uint256: payable
again: public(bool)
executor: public(address)
@external
def use(_executor: address):
    self.executor = _executor
@external
@payable
def go(_again: bool):
    self.again = _again
    extcall Executor(self.executor).execute([], [], 0, max_value(uint256), value=msg.value)
@external
@payable
def __default__():
    if self.again:
        extcall Executor(self.executor).execute([], [], 0, max_value(uint256))
"""
"""Owns an executor, and calls it again when it is paid."""

BAD_LENDER = """
# pragma version 0.4.3
interface Token:
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(source: address, to: address, amount: uint256) -> bool: nonpayable
interface Borrower:
    def onMorphoFlashLoan(amount: uint256, data: Bytes[8192]): nonpayable
mode: public(uint256)
@external
def behave(mode: uint256):
    self.mode = mode
@external
def flashLoan(token: address, amount: uint256, data: Bytes[8192]):
    extcall Token(token).transfer(msg.sender, amount)
    if self.mode == 0:
        extcall Borrower(msg.sender).onMorphoFlashLoan(amount, data)
        extcall Borrower(msg.sender).onMorphoFlashLoan(amount, data)
    elif self.mode == 1:
        extcall Borrower(msg.sender).onMorphoFlashLoan(amount, concat(slice(data, 0, 32), b"other"))
    elif self.mode == 3:
        extcall Borrower(msg.sender).onMorphoFlashLoan(amount + 10**18, data)
    if self.mode != 2:
        extcall Token(token).transferFrom(msg.sender, self, amount)
@external
def attack(executor: address, data: Bytes[8192]):
    extcall Borrower(executor).onMorphoFlashLoan(1, data)
"""
"""A lender that calls back twice, with other data, not at all, or asks for more than it lent."""
