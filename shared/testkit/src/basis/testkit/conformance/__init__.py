"""What every venue must do: abstract suites of tests, inherited by the tests of a venue.

Asked of every venue, simulated or live, and run by all of them as they are written here:

* :mod:`~basis.testkit.conformance.venue`: any venue;
* :mod:`~basis.testkit.conformance.on_chain`: venues whose operations may be steps of an atomic group;
* :mod:`~basis.testkit.conformance.lending`: on-chain venues that lend against collateral;
* :mod:`~basis.testkit.conformance.exchange`: centralised exchanges.

Asked of simulated venues besides, because those are pure functions of a ledger and of market columns that a test makes up:

* :mod:`~basis.testkit.conformance.simulated`: any simulated venue;
* :mod:`~basis.testkit.conformance.simulated_lending`, :mod:`~basis.testkit.conformance.simulated_exchange`: by kind.

Where the right outcome depends on the family of a venue (simulation, chain, exchange), the test is the same and asks
:mod:`~basis.testkit.conformance.adapter`, which each family implements. Accounts, orders and what becomes of them are in
:mod:`~basis.testkit.conformance.cases`; :mod:`~basis.testkit.conformance.completeness` says which tests of its suites a class
does not run as they are.
"""
