"""The on-chain account."""

from basis.venues.interfaces.wallet.simulated import SimulatedWallet

SIMULATED = SimulatedWallet()
