"""Morpho flash loans."""

from basis.venues.interfaces.morpho.simulated import SimulatedFlashLoan

SIMULATED = SimulatedFlashLoan()
