"""Market data from where it is made into a catalogue: resumable, checked, at the pace that its source allows.

:mod:`.series`   what a series is made of, and what its rows must be like (pure)
:mod:`.source`   where rows come from: the seam
:mod:`.exchange` bars and funding of an exchange, through ccxt
:mod:`.chain`    Aave's indices, oracle prices, LST rates and gas, from a node
:mod:`.store`    pages on disk, and the series that they become
:mod:`.fetcher`  the loop: which pages lack, ask, check, keep, write
"""
