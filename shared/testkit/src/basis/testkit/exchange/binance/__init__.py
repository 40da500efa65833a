"""The face of Binance: spot (/api), USD-M (/fapi), COIN-M (/dapi) and wallet (/sapi)."""
