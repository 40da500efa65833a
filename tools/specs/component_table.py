"""The components that have a page, and what each page points to."""

from __future__ import annotations

from typing import NamedTuple


class Component(NamedTuple):
    """One page of docs/specs."""

    name: str
    """Page."""
    title: str
    """Heading."""
    code: tuple[str, ...]
    """Source files, from the root."""
    events: tuple[str, ...]
    """Event types that it causes."""
    tests: tuple[str, ...]
    """Where it is tested."""


_STRATEGY, _VENUES = "services/strategy/src/basis/strategy", "services/venues/src/basis/venues"
_MONITORS, _SINK = "services/monitors/src/basis/monitors", "services/event-logger/src/basis/event_logger"
_EXECUTION, _GATEWAY = "services/execution/src/basis/execution", "services/gateway/src/basis/gateway"
_RUNTIME, _UNIT = "shared/runtime/src/basis/runtime", "tests/unit/components"
_COMMITTED = ("positions", "exposures", "risk_assessments", "pnl_calculations")


def _files(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.py" for name in names)


def _tests(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/{name}.py" for name in names)


COMPONENTS = (
    Component(
        "engine",
        "EventDrivenStrategyEngine",
        _files(
            _STRATEGY,
            "engine",
            "core/run_state",
            "core/decisions",
            "run_services",
            "asked_flows",
            "core/requested_flows",
            "run_record",
            "core/run_messages",
            "sealing",
        ),
        ("strategy_decisions", "orders"),
        _tests(
            "unit/components/test_run_state",
            "unit/components/test_asked_flows",
            "integration/test_window_size",
            "integration/test_crash_recovery",
        ),
    ),
    Component(
        "strategy_manager",
        "StrategyManager and Desk",
        _files(
            _STRATEGY,
            "core/strategy_manager",
            "core/desk",
            "core/deltas",
            "core/strategy",
            "core/view",
            "strategies/__init__",
        ),
        ("strategy_decisions", "orders"),
        _tests(
            "unit/components/test_strategy_decisions",
            "unit/components/test_strategies",
            "unit/components/test_strategy_manager_deltas",
        ),
    ),
    Component(
        "execution_manager",
        "ExecutionManager",
        _files(_EXECUTION, "manager", "core/batches", "core/emission"),
        ("operation_executions", "execution_deltas", "atomic_operation_groups", "tight_loop_executions"),
        _tests(
            "unit/components/test_execution_batches",
            "integration/test_execution_flow",
            "integration/test_atomic_operations",
        ),
    ),
    Component(
        "venue_interface_manager",
        "VenueInterfaceManager",
        _files(_VENUES, "manager", "core/interface", "core/execution", "core/settlement", "core/coverage"),
        (),
        _tests(
            "unit/venues/test_settlement", "unit/components/test_atomic_core", "unit/components/test_venues_coverage"
        ),
    ),
    Component(
        "cex",
        "Simulated exchanges",
        (
            *_files(_VENUES, "interfaces/cex/simulated", "interfaces/cex/trades", "interfaces/cex/settling"),
            *_files(_VENUES, "interfaces/cex/account"),
            *_files(_RUNTIME, "fills"),
        ),
        ("execution_deltas",),
        _tests("unit/components/test_venues_cex", "unit/components/test_venues_perp"),
    ),
    Component(
        "aave_v3",
        "Aave v3",
        _files(_VENUES, "interfaces/aave_v3/simulated"),
        ("execution_deltas",),
        _tests("unit/components/test_venues_aave"),
    ),
    Component(
        "staking",
        "Liquid staking",
        _files(_VENUES, "interfaces/staking/simulated"),
        ("execution_deltas",),
        _tests("unit/components/test_venues_staking"),
    ),
    Component(
        "uniswap",
        "Uniswap",
        _files(_VENUES, "interfaces/uniswap/simulated"),
        (),
        _tests("unit/components/test_venues_uniswap"),
    ),
    Component(
        "flash_loans",
        "Flash loans",
        _files(_VENUES, "interfaces/morpho/simulated"),
        (),
        _tests("unit/components/test_venues_morpho", "unit/components/test_atomic_core"),
    ),
    Component(
        "wallet_and_transfers",
        "Wallet, transfers, gas",
        (*_files(_VENUES, "interfaces/wallet/simulated", "interfaces/transfers"), *_files(_RUNTIME, "gas")),
        ("execution_deltas",),
        _tests("unit/components/test_venues_wallet", "unit/runtime/test_gas"),
    ),
    Component(
        "live_engine",
        "WallClockEngine",
        _files(_STRATEGY, "wall_clock_engine", "service", "run_record"),
        ("strategy_decisions", "orders"),
        _tests("integration/test_paper_run", "integration/live/test_kill_points", "integration/live/test_live_http"),
    ),
    Component(
        "live_trading",
        "LiveVenueManager, intents, gate",
        (
            *_files(_VENUES, "live/manager", "live/counterparts", "live/ticks", "core/live_row", "live/executor"),
            *_files(_VENUES, "live/intents", "live/gate", "core/limits", "live/dead_man", "core/live_fills"),
            *_files(
                _VENUES, "live/interface", "live/errors", "live/exit_watch", "live/arrivals", "core/transfer_ledger"
            ),
            "shared/models/src/basis/models/live_config.py",
        ),
        ("execution_deltas",),
        (
            *_tests("integration/live/test_live_safety", "integration/live/test_kill_points"),
            *_tests("integration/live/test_strategies_live", "integration/live/test_live_chain_run"),
            *_tests("integration/live/test_live_exits", "unit/venues/test_live_row", "unit/venues/test_live_fills"),
        ),
    ),
    Component(
        "on_chain",
        "Live on-chain venue",
        (
            *_files(_VENUES, "live/chain/venue", "live/chain/plan", "live/chain/state", "live/chain/sending"),
            *_files(_VENUES, "live/chain/wallet", "live/chain/tracker", "live/chain/receipts", "live/chain/handshakes"),
            *_files(_VENUES, "live/chain/history", "live/chain/market", "live/chain/onboarding"),
            *_files(_VENUES, "live/chain/factory"),
            "shared/models/src/basis/models/chain_config.py",
        ),
        ("execution_deltas",),
        (
            *_tests(
                "chain/test_operations",
                "chain/test_faults",
                "chain/test_executor",
                "chain/test_parity",
                "chain/test_conformance",
            ),
            *_tests("chain/test_secrets", "unit/venues/test_chain_plan", "unit/venues/test_chain_amounts"),
        ),
    ),
    Component(
        "live_cex",
        "Live exchanges",
        (
            *_files(_VENUES, "live/cex/venue", "live/cex/trades", "live/cex/exits", "live/cex/transfers"),
            *_files(_VENUES, "live/cex/wallets", "live/cex/settlements", "live/cex/quotes", "live/cex/account"),
            *_files(_VENUES, "live/cex/profiles", "live/cex/fills", "live/cex/units", "live/cex/ids"),
            *_files(_VENUES, "live/cex/errors", "live/cex/connection", "live/cex/clients", "live/cex/factory"),
            *_files(_VENUES, "live/secrets", "core/transfer_ledger"),
            "shared/models/src/basis/models/live_cex_config.py",
        ),
        ("execution_deltas",),
        (
            *_tests("integration/live/test_live_cex_orders", "integration/live/test_live_cex_faults"),
            *_tests("integration/live/test_live_cex_account", "integration/live/test_live_cex_conformance"),
            *_tests("integration/live/test_live_cex_secrets", "integration/live/test_exchange_server"),
            *_tests("unit/venues/test_live_cex_errors", "unit/venues/test_transfer_ledger"),
        ),
    ),
    Component(
        "position_monitor",
        "PositionMonitor",
        (*_files(_MONITORS, "core/position_monitor", "core/columns"), *_files(_RUNTIME, "valuation")),
        ("positions",),
        _tests("unit/components/test_monitors_assessment", "unit/runtime/test_valuation"),
    ),
    Component(
        "exposure_monitor",
        "ExposureMonitor",
        _files(_MONITORS, "core/exposure_monitor"),
        ("exposures",),
        _tests("unit/components/test_monitors_assessment"),
    ),
    Component(
        "risk_monitor",
        "RiskMonitor",
        _files(_MONITORS, "core/risk_monitor", "core/plan"),
        ("risk_assessments",),
        _tests("unit/components/test_monitors_assessment", "unit/components/test_monitors_perps"),
    ),
    Component(
        "pnl_monitor",
        "PnLMonitor",
        _files(_MONITORS, "core/pnl_monitor"),
        ("pnl_calculations",),
        _tests(
            "unit/components/test_monitors_assessment",
            "unit/components/test_monitors_perps",
            "integration/test_reference_figures",
        ),
    ),
    Component(
        "position_update_handler",
        "PositionUpdateHandler",
        _files(_MONITORS, "core/position_update_handler", "core/postings", "core/settlement_events", "core/assessment"),
        (*_COMMITTED, "reconciliations", "execution_deltas"),
        _tests("unit/components/test_monitors_position_update_handler", "unit/components/test_monitors_postings"),
    ),
    Component(
        "event_logger",
        "Event logger",
        _files(_SINK, "service", "consumer", "store", "digester", "directories", "verify", "core/journal", "core/seal"),
        ("event_logger_operations",),
        _tests("integration/test_event_sink", "unit/event_logger/test_store", "unit/event_logger/test_journal"),
    ),
    Component(
        "gateway",
        "Gateway",
        (
            *_files(_GATEWAY, "app", "backtest_service", "requests", "answers", "problems", "http"),
            *_files(_GATEWAY, "access", "keys", "limits", "connections", "status_feed", "openapi", "asyncapi"),
            *_files(_GATEWAY, "routes/dashboard", "read_only"),
        ),
        (),
        _tests("integration/test_gateway_http", "integration/test_gateway_access", "integration/test_dashboard"),
    ),
    Component(
        "market_data",
        "Market data and signals",
        (
            *_files(_VENUES, "data/catalogue", "core/availability", "data/signals", "data/signal_model", "data/check"),
            "shared/models/src/basis/models/market.py",
        ),
        (),
        _tests("unit/venues/test_data_catalogue", "unit/venues/test_data_availability", "unit/venues/test_signals"),
    ),
)
"""Every component page."""
