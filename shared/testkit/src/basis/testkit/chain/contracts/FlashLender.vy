# pragma version 0.4.3
"""
@title A flash lender with the interface of Morpho Blue; no fee
"""

interface Token:
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def transferFrom(source: address, to: address, amount: uint256) -> bool: nonpayable

interface Borrower:
    def onMorphoFlashLoan(amount: uint256, data: Bytes[8192]): nonpayable

event FlashLoan:
    caller: indexed(address)
    token: indexed(address)
    assets: uint256


@external
def flashLoan(token: address, assets: uint256, data: Bytes[8192]):
    assert assets != 0, "zero assets"
    log FlashLoan(caller=msg.sender, token=token, assets=assets)
    assert extcall Token(token).transfer(msg.sender, assets)
    extcall Borrower(msg.sender).onMorphoFlashLoan(assets, data)
    assert extcall Token(token).transferFrom(msg.sender, self, assets)
