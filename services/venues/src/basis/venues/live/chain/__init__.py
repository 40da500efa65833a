"""Ethereum as a real venue: one wallet, Aave v3, Lido, ether.fi, Uniswap v3, flash loans, through web3."""
