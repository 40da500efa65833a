"""Abstract test suites: what every implementation of a port must do, inherited by its tests."""
