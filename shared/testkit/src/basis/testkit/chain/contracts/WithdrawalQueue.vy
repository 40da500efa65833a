# pragma version 0.4.3
"""
@title A queue of unstake requests with the interfaces of Lido's WithdrawalQueueERC721 and ether.fi's WithdrawRequestNFT
@dev The test finalizes requests and funds the contract with ether.
"""

interface Wrapped:
    def transferFrom(source: address, to: address, amount: uint256) -> bool: nonpayable
    def unwrap(amount: uint256) -> uint256: nonpayable

struct Request:
    backing: uint256
    shares: uint256
    owner: address
    timestamp: uint256
    finalized: bool
    claimed: bool

struct Status:
    amountOfStETH: uint256
    amountOfShares: uint256
    owner: address
    timestamp: uint256
    isFinalized: bool
    isClaimed: bool

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    tokenId: indexed(uint256)

event WithdrawalRequested:
    requestId: indexed(uint256)
    requestor: indexed(address)
    owner: indexed(address)
    amountOfStETH: uint256
    amountOfShares: uint256

event WithdrawalClaimed:
    requestId: indexed(uint256)
    owner: indexed(address)
    receiver: indexed(address)
    amountOfETH: uint256

event WithdrawRequestCreated:
    requestId: indexed(uint32)
    amountOfEEth: uint112
    shareOfEEth: uint96
    owner: address
    fee: uint256

event WithdrawRequestClaimed:
    requestId: indexed(uint32)
    amountOfEEth: uint112
    burntShareOfEEth: uint96
    owner: address
    fee: uint256

requests: public(HashMap[uint256, Request])
count: public(uint256)
OWNER: immutable(address)
POOLED: immutable(address)
WRAPPED: immutable(address)


@deploy
def __init__(pooled: address, wrapped: address):
    OWNER = msg.sender
    POOLED = pooled
    WRAPPED = wrapped


@external
@payable
def __default__():
    pass


@internal
def _add(owner: address, backing: uint256, shares: uint256) -> uint256:
    self.count += 1
    self.requests[self.count] = Request(
        backing=backing, shares=shares, owner=owner, timestamp=block.timestamp, finalized=False, claimed=False
    )
    return self.count


@external
def finalize(last: uint256):
    assert msg.sender == OWNER, "not owner"
    for i: uint256 in range(1, last + 1, bound=256):
        self.requests[i].finalized = True


@internal
def _claim(id: uint256) -> Request:
    found: Request = self.requests[id]
    assert found.owner == msg.sender, "not owner"
    assert found.finalized and not found.claimed, "not finalized"
    self.requests[id].claimed = True
    raw_call(msg.sender, b"", value=found.backing)
    return found


@external
def requestWithdrawalsWstETH(amounts: DynArray[uint256, 8], owner: address) -> DynArray[uint256, 8]:
    ids: DynArray[uint256, 8] = []
    for amount: uint256 in amounts:
        assert extcall Wrapped(WRAPPED).transferFrom(msg.sender, self, amount)
        backing: uint256 = extcall Wrapped(WRAPPED).unwrap(amount)
        assert backing >= 100 and backing <= 1000 * 10**18, "amount out of range"
        id: uint256 = self._add(owner, backing, amount)
        log WithdrawalRequested(
            requestId=id, requestor=msg.sender, owner=owner, amountOfStETH=backing, amountOfShares=amount
        )
        ids.append(id)
    return ids


@external
@view
def getWithdrawalStatus(ids: DynArray[uint256, 256]) -> DynArray[Status, 256]:
    found: DynArray[Status, 256] = []
    for id: uint256 in ids:
        one: Request = self.requests[id]
        found.append(
            Status(
                amountOfStETH=one.backing,
                amountOfShares=one.shares,
                owner=one.owner,
                timestamp=one.timestamp,
                isFinalized=one.finalized,
                isClaimed=one.claimed,
            )
        )
    return found


@external
@view
def getWithdrawalRequests(owner: address) -> DynArray[uint256, 256]:
    found: DynArray[uint256, 256] = []
    for i: uint256 in range(1, self.count + 1, bound=256):
        if self.requests[i].owner == owner and not self.requests[i].claimed:
            found.append(i)
    return found


@external
def claimWithdrawal(id: uint256):
    found: Request = self._claim(id)
    log WithdrawalClaimed(requestId=id, owner=msg.sender, receiver=msg.sender, amountOfETH=found.backing)


@external
def request(owner: address, backing: uint256, shares: uint256) -> uint256:
    assert msg.sender == POOLED, "not the pool"
    id: uint256 = self._add(owner, backing, shares)
    log Transfer(sender=empty(address), receiver=owner, tokenId=id)
    log WithdrawRequestCreated(
        requestId=convert(id, uint32),
        amountOfEEth=convert(backing, uint112),
        shareOfEEth=convert(shares, uint96),
        owner=owner,
        fee=0,
    )
    return id


@external
@view
def getRequest(id: uint256) -> (uint96, uint96, bool, uint32):
    one: Request = self.requests[id]
    return convert(one.backing, uint96), convert(one.shares, uint96), not one.claimed, 0


@external
@view
def isFinalized(id: uint256) -> bool:
    return self.requests[id].finalized


@external
def claimWithdraw(id: uint256):
    found: Request = self._claim(id)
    log Transfer(sender=msg.sender, receiver=empty(address), tokenId=id)
    log WithdrawRequestClaimed(
        requestId=convert(id, uint32),
        amountOfEEth=convert(found.backing, uint112),
        burntShareOfEEth=convert(found.shares, uint96),
        owner=msg.sender,
        fee=0,
    )
