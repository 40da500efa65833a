"""Centralised exchanges: one simulation, three names."""

from basis.models.instruments import Venue
from basis.venues.interfaces.cex.simulated import SimulatedExchange

BINANCE = SimulatedExchange(Venue.BINANCE)
BYBIT = SimulatedExchange(Venue.BYBIT)
OKX = SimulatedExchange(Venue.OKX)
