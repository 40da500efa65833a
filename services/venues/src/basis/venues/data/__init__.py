"""The catalogue of market data: reading it, checking it, and making a synthetic one."""
