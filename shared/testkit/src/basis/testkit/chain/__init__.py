"""A chain for tests: anvil with the real Aave v3.3 and Uniswap v3; stakers and a flash lender written to public interfaces."""
