"""Real venues: exchanges through ccxt, Ethereum through web3. The only place that holds credentials."""
