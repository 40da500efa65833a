"""The ``basis`` command. Exit codes: 0 ok, 1 a run failed, 2 bad input.

Heavy imports are inside the commands: ``basis --help`` should not wait for them, and ``basis backtest`` starts its NATS
server before it loads the rest. Annotations are no strings here: typer asks for those of every command at each start, and
would compile each of them.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer._click.exceptions import (  # typer carries click and exports no base class of errors
    ClickException,
    UsageError,
)

EXIT_ABORTED = 130

app = typer.Typer(
    name="basis",
    help="Backtest and run DeFi + CeFi yield strategies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _modes(incomplete: str) -> list[str]:
    """Modes that a word may become, for the shell."""
    from basis.runtime.settings import Settings  # noqa: PLC0415

    return sorted(path.stem for path in (Settings().configs_dir / "modes").glob(f"{incomplete}*.yaml"))


def _runs(incomplete: str) -> list[str]:
    """Runs of the log root that a word may become, for the shell."""
    from basis.runtime.settings import Settings  # noqa: PLC0415

    return sorted(path.name for path in Settings().logs_dir.glob(f"{incomplete}*") if len(path.name) == 32)


Mode = Annotated[str, typer.Argument(help="A mode of configs/modes, see 'basis modes list'.", autocompletion=_modes)]


@app.command()
def backtest(
    mode: Mode,
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
    dashboard_: Annotated[
        bool,
        typer.Option(
            "--dashboard", help="Leave a dashboard in the background and print the run's URL; not with --json."
        ),
    ] = False,
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
            dashboard=dashboard_,
        )
    )


runs_app = typer.Typer(help="Look at runs in the log directory.", no_args_is_help=True)
modes_app = typer.Typer(help="What can be run, and with what configuration.", no_args_is_help=True)
data_app = typer.Typer(help="Market data: the synthetic sample, and what a catalogue is worth.", no_args_is_help=True)
services_app = typer.Typer(help="The six services as processes of this machine.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")
app.add_typer(modes_app, name="modes")
app.add_typer(data_app, name="data")
app.add_typer(services_app, name="services")
analyze_app = typer.Typer(help="Is a strategy sound?", no_args_is_help=True)
app.add_typer(analyze_app, name="analyze")
live_app = typer.Typer(help="Paper and live runs, on services that run already.", no_args_is_help=True)
app.add_typer(live_app, name="live")
keys_app = typer.Typer(help="API keys of the gateway.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Logs = Annotated[Path | None, typer.Option("--logs", help="Root of the run directories. Default: logs/.")]
Cid = Annotated[
    str, typer.Argument(metavar="CID", help="correlation_id of the run, 32 hex digits.", autocompletion=_runs)
]


@runs_app.command("list")
def runs_list(logs: Logs = None, json_: Json = False) -> None:
    """All runs, newest first."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.list_runs(logs, as_json=json_))


@runs_app.command("show")
def runs_show(cid: Cid, logs: Logs = None, json_: Json = False) -> None:
    """What a run was and came to: all metrics, costs, attribution, and its equity as a line."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.show(cid, logs, as_json=json_))


@runs_app.command("export")
def runs_export(
    cid: Cid,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Zip to write.")],
    logs: Logs = None,
    json_: Json = False,
) -> None:
    """A run as a zip: its log, summary.json, and its curves as Parquet."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.export(cid, file, logs, as_json=json_))


@runs_app.command("tearsheet")
def runs_tearsheet(
    cid: Cid,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="HTML file to write.")],
    logs: Logs = None,
    json_: Json = False,
) -> None:
    """A run as one HTML page that needs nothing else, to mail around."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.tearsheet(cid, file, logs, as_json=json_))


@runs_app.command("compare")
def runs_compare(first: Cid, second: Cid, logs: Logs = None, json_: Json = False) -> None:
    """What differs between two runs; exit code 1 where their events do."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.compare(first, second, logs, as_json=json_))


@app.command()
def events(
    cid: Cid,
    event_type: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Default: the number of lines of each.")
    ] = None,
    logs: Logs = None,
    limit: Annotated[int | None, typer.Option(help="Most lines to print.")] = None,
    json_: Json = False,
) -> None:
    """Events of a run as JSON lines."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.events(cid, event_type, logs, limit, as_json=json_))


@app.command()
def verify(cid: Cid, logs: Logs = None, json_: Json = False) -> None:
    """Is a sealed run still what was sealed? Exit code 1 where it is not."""
    from basis.cli.commands import runs  # noqa: PLC0415

    raise typer.Exit(runs.verify(cid, logs, as_json=json_))


@modes_app.command("list")
def modes_list(json_: Json = False) -> None:
    """All modes."""
    from basis.cli.commands import modes  # noqa: PLC0415

    raise typer.Exit(modes.list_modes(as_json=json_))


@modes_app.command("show")
def modes_show(
    mode: Mode,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the merged config.")
    ] = None,
    json_: Json = False,
) -> None:
    """The merged configuration of a mode, with the source of every value."""
    from basis.cli.commands import modes  # noqa: PLC0415

    raise typer.Exit(modes.show(mode, set_ or [], as_json=json_))


@modes_app.command("schema")
def modes_schema(
    mode: Mode,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the merged config.")
    ] = None,
    json_: Json = False,
) -> None:
    """JSON Schema of a mode's strategy parameters; its defaults are the mode's own values."""
    from basis.models.base import document_fields  # noqa: PLC0415

    document_fields()  # before the models are defined
    from basis.cli.commands import modes  # noqa: PLC0415

    del json_  # a schema is JSON either way
    raise typer.Exit(modes.schema(mode, set_ or []))


@data_app.command("sample")
def data_sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 7,
    json_: Json = False,
) -> None:
    """Write the synthetic catalogue: two years of every series that the ten modes need."""
    from basis.cli.commands import data  # noqa: PLC0415

    raise typer.Exit(data.sample(folder, seed, as_json=json_))


@data_app.command("check")
def data_check(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Catalogue.")], json_: Json = False) -> None:
    """Coverage and faults of a catalogue, mode by mode."""
    from basis.cli.commands import data  # noqa: PLC0415

    raise typer.Exit(data.check(folder, as_json=json_))


@data_app.command("fetch")
def data_fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Catalogue; made where it is missing.")],
    series: Annotated[
        list[str] | None, typer.Argument(metavar="SERIES", help="e.g. binance/btcusdt_perp_1h, aave_v3/usdt.")
    ] = None,
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="All series that a mode reads and a source has.")
    ] = None,
    start: Annotated[str, typer.Option(help="First time, ISO 8601, UTC.")] = "2024-01-01",
    end: Annotated[str | None, typer.Option(help="Before this time. Default: now.")] = None,
    requests_per_s: Annotated[
        float, typer.Option(min=0.1, help="Pace of the questions to the node of the chain; a batch is one.")
    ] = 10.0,
    json_: Json = False,
) -> None:
    """Download series of exchanges, and of the chain (BASIS_RPC_URL); goes on where it was interrupted, extends what is there."""
    from basis.cli.commands import data_fetch as found  # noqa: PLC0415

    raise typer.Exit(
        found.command(folder, series or [], mode or [], start, end, requests_per_s=requests_per_s, as_json=json_)
    )


@analyze_app.command("lookahead")
def analyze_lookahead(
    mode: Mode,
    start: Annotated[str | None, typer.Option(help="First tick. Default: where the data begins.")] = None,
    end: Annotated[str | None, typer.Option(help="Last tick. Default: where the data ends.")] = None,
    capital: Annotated[float | None, typer.Option(help="Initial capital in the share class.")] = None,
    data: Annotated[Path | None, typer.Option(help="Catalogue of market data. Default: the synthetic sample.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the merged config.")
    ] = None,
    cuts: Annotated[int, typer.Option(min=1, max=100, help="Instants at which the data is cut.")] = 4,
    json_: Json = False,
) -> None:
    """Repeat a run on truncated data and from a later start: decisions must not change; exit code 1 where they do."""
    from basis.cli.backtest import Arguments  # noqa: PLC0415
    from basis.cli.commands import analyze  # noqa: PLC0415

    arguments = Arguments(mode, start, end, capital, set_ or [], processes=False, cluster=False)
    raise typer.Exit(analyze.command(arguments, data, cuts, as_json=json_))


@services_app.command("up")
def services_up(
    nats: Annotated[str | None, typer.Option(help="NATS cluster to use. Default: a server of our own.")] = None,
    data: Annotated[Path | None, typer.Option(help="Catalogue of market data.")] = None,
    logs: Logs = None,
) -> None:
    """Run all six services until Ctrl-C."""
    from basis.cli.commands import services_up as up  # noqa: PLC0415

    raise typer.Exit(up.command(nats, data, logs))


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Option(help="Whose key it is: letters, digits, '.', '_', '-'.")] = "me",
    scope: Annotated[str, typer.Option(help="read, run (and read), or trade (and both).")] = "run",
    file: Annotated[Path | None, typer.Option(help="Add the hashed line to this file.")] = None,
    json_: Json = False,
) -> None:
    """Make a key; it is shown this once, and kept as a hash only."""
    from basis.cli.commands import keys  # noqa: PLC0415

    raise typer.Exit(keys.new(name, scope, file, as_json=json_))


@keys_app.command("list")
def keys_list(json_: Json = False) -> None:
    """Names and scopes of the keys of BASIS_API_KEYS_FILE and BASIS_API_KEYS."""
    from basis.cli.commands import keys  # noqa: PLC0415

    raise typer.Exit(keys.list_keys(as_json=json_))


@app.command()
def dashboard(
    cid: Annotated[str | None, typer.Argument(metavar="[CID]", help="Run to show first. Default: the list.")] = None,
    logs: Logs = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port on the gateway's host. Default: the first free one from 8011."),
    ] = None,
    background: Annotated[bool, typer.Option("--background", help="Leave it running and return.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End those in the background.")] = False,
    detached: Annotated[bool, typer.Option("--detached", hidden=True)] = False,
    json_: Json = False,
) -> None:
    """Results in the browser: serves a log folder, read only; needs no services and no NATS."""
    from basis.cli.commands.dashboard import command  # noqa: PLC0415

    raise typer.Exit(command(cid, logs, port, background=background, stop=stop, detached=detached, as_json=json_))


Nats = Annotated[str | None, typer.Option(help="NATS of the services. Default: BASIS_NATS_URL.")]


@live_app.command("start")
def live_start(
    mode: Annotated[str, typer.Argument(help="Mode.")],
    real: Annotated[bool, typer.Option("--real", help="Real orders; the mode and the services must be armed.")] = False,
    capital: Annotated[float | None, typer.Option(help="Capital of a paper run in the share class.")] = None,
    end: Annotated[str | None, typer.Option(help="Last tick. Default: until it is stopped.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the merged config.")
    ] = None,
    nats: Nats = None,
    json_: Json = False,
) -> None:
    """Start a paper run, or a live one with --real; it goes on by itself."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(
        live.start(mode, live=real, capital=capital, end=end, overrides=set_ or [], nats=nats, as_json=json_)
    )


@live_app.command("list")
def live_list(nats: Nats = None, json_: Json = False) -> None:
    """Paper and live runs that the cluster remembers."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.list_runs(nats=nats, as_json=json_))


@live_app.command("status")
def live_status(cid: Cid, nats: Nats = None, json_: Json = False) -> None:
    """Where a run is, what it holds and what it has earned."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.status(cid, nats=nats, as_json=json_))


@live_app.command("stop")
def live_stop(cid: Cid, nats: Nats = None, json_: Json = False) -> None:
    """End a run after the tick in hand; positions stay as they are."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.stop(cid, nats=nats, as_json=json_))


@live_app.command("rebalance")
def live_rebalance(cid: Cid, nats: Nats = None, json_: Json = False) -> None:
    """Re-target at the next tick."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.rebalance(cid, nats=nats, as_json=json_))


Amount = Annotated[float, typer.Argument(help="In the share class, above 0.")]


@live_app.command("deposit")
def live_deposit(cid: Cid, amount: Amount, nats: Nats = None, json_: Json = False) -> None:
    """Put capital in; a live run counts it when it arrives at a venue, announced or not."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.deposit(cid, amount, nats=nats, as_json=json_))


@live_app.command("withdraw")
def live_withdraw(cid: Cid, amount: Amount, nats: Nats = None, json_: Json = False) -> None:
    """Take capital out: free balance first, else unwound 1:1."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.withdraw(cid, amount, nats=nats, as_json=json_))


@live_app.command("emergency-stop")
def live_emergency_stop(
    cid: Cid,
    unwind: Annotated[bool, typer.Option("--unwind", help="Close all positions before the run ends.")] = False,
    reason: Annotated[str, typer.Option(help="Why; goes into the log.")] = "emergency stop by the operator",
    nats: Nats = None,
    json_: Json = False,
) -> None:
    """No new order from now on, cancel what is open, end the run."""
    from basis.cli.commands import live  # noqa: PLC0415

    raise typer.Exit(live.emergency_stop(cid, unwind=unwind, reason=reason, nats=nats, as_json=json_))


@app.command()
def doctor(json_: Json = False) -> None:
    """Is this machine fit to run Basis?"""
    from basis.cli.commands import doctor as doctor_command  # noqa: PLC0415

    raise typer.Exit(doctor_command.command(as_json=json_))


@app.command(hidden=True)
def service(name: Annotated[str, typer.Argument(help="Service to run in this process.")]) -> None:
    """Run one service until it is told to stop; settings from BASIS_* variables."""
    from basis.cli.commands.service import command  # noqa: PLC0415

    raise typer.Exit(command(name))


def main() -> None:
    """Entry point of the console script: a mistake in the command line itself is one line and exit code 2, too."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(EXIT_ABORTED)
    except ClickException as error:
        where = error.ctx.command_path if isinstance(error, UsageError) and error.ctx is not None else "basis"
        what = " ".join(error.format_message().split())
        print(f"basis: [CONFIG-003] cli: {what} (see '{where} --help')", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
