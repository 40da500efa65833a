"""One folder a venue; each names its simulation as SIMULATED and is found by the entry-point group ``basis.venues``."""
