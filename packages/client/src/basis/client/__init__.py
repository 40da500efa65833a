"""Basis from Python: submit a run, wait for it, take its result as data frames."""
