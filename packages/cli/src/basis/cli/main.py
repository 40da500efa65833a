"""The ``basis`` command. Exit codes: 0 ok, 1 a run failed, 2 bad input.

Heavy imports are inside the commands: ``basis --help`` should not wait for them, and ``basis backtest`` starts its NATS
server before it loads the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="basis",
    help="Backtest and run DeFi + CeFi yield strategies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


@app.command()
def backtest(
    mode: Annotated[str, typer.Argument(help="A mode of configs/modes, see 'basis modes list'.")],
    start: Annotated[
        str | None, typer.Option(help="First tick, ISO 8601, UTC. Default: where the data begins.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Last tick. Default: where the data ends.")] = None,
    capital: Annotated[float | None, typer.Option(help="Initial capital in the share class.")] = None,
    data: Annotated[Path | None, typer.Option(help="Catalogue of market data. Default: the synthetic sample.")] = None,
    logs: Annotated[Path | None, typer.Option(help="Root of the run directories. Default: logs/.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the merged config.")
    ] = None,
    nats: Annotated[str | None, typer.Option(help="Run on the services of this NATS cluster.")] = None,
    processes: Annotated[bool, typer.Option("--processes", help="One process a service.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Run a backtest; by default all services in this process, with a NATS server of their own."""
    from basis.cli.commands.backtest import command  # noqa: PLC0415

    raise typer.Exit(
        command(
            mode=mode,
            start=start,
            end=end,
            capital=capital,
            data=data,
            logs=logs,
            overrides=set_ or [],
            nats=nats,
            processes=processes,
            as_json=json_,
        )
    )


@app.command(hidden=True)
def service(name: Annotated[str, typer.Argument(help="Service to run in this process.")]) -> None:
    """Run one service until it is told to stop; settings from BASIS_* variables."""
    from basis.cli.commands.service import command  # noqa: PLC0415

    raise typer.Exit(command(name))


def main() -> None:
    """Entry point of the console script."""
    app()
