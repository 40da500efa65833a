"""Uniswap."""

from basis.venues.interfaces.uniswap.simulated import SimulatedUniswap

SIMULATED = SimulatedUniswap()
