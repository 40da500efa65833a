"""Aave v3."""

from basis.venues.interfaces.aave_v3.simulated import SimulatedAave

SIMULATED = SimulatedAave()
