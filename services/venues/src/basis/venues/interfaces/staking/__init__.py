"""Liquid staking: ether.fi and Lido."""

from basis.models.instruments import Venue
from basis.venues.interfaces.staking.simulated import SimulatedStaking

ETHERFI = SimulatedStaking(Venue.ETHERFI)
LIDO = SimulatedStaking(Venue.LIDO)
