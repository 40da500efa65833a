"""The command line, in this process: its contract, every refusal in one line, and what is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import typer

from basis.cli import backtest
from basis.cli.main import app, main
from basis.venues.data import synthetic
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[2]
CONTRACT = {
    "correlation_id", "status", "log_directory", "ticks", "events", "event_hash", "wall_s", "loop_ticks_per_s", "result",
}  # fmt: skip
MONTH = ("--start", "2022-01-01", "--end", "2022-02-01")


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "synthetic"
    write_sample(folder, years=1)
    return folder


class Basis:
    """The ``basis`` command with folders of a test's own."""

    def __init__(self, folder: Path, data: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.logs = folder / "logs"
        self._capsys = capsys
        self._patch = patch
        patch.setenv("BASIS_LOGS_DIR", str(self.logs))
        patch.setenv("BASIS_DATA_DIR", str(data))
        patch.setenv("BASIS_CACHE_DIR", str(folder / "cache"))
        patch.setenv("BASIS_CONFIGS_DIR", str(REPO / "configs"))
        patch.chdir(folder)

    def __call__(self, *arguments: str) -> Said:
        self._patch.setattr(sys, "argv", ["basis", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        seen = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), seen.out, seen.err)

    def json(self, *arguments: str) -> Any:
        said = self(*arguments, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    def run(self, *arguments: str) -> dict[str, Any]:
        return dict(self.json("backtest", "pure_lending_usdt", *MONTH, *arguments))


@pytest.fixture
def basis(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Basis:
    return Basis(tmp_path, data, capsys, monkeypatch)


def test_backtest_json_is_one_object_of_the_contract(basis: Basis) -> None:
    found = basis.run("--capital", "5000")
    assert found.keys() >= CONTRACT
    assert found["status"] == "completed"
    assert found["ticks"] == 31 * 24 + 1
    assert found["events"]["positions"] == found["ticks"] + 2
    assert found["result"]["initial_capital"] == 5000.0
    assert Path(found["log_directory"]).is_relative_to(basis.logs)


def test_equal_runs_have_one_hash_and_compare_says_so(basis: Basis) -> None:
    first, second = basis.run(), basis.run()
    other = basis.run("--capital", "1")
    assert first["event_hash"] == second["event_hash"] != other["event_hash"]
    ids = [found["correlation_id"] for found in (first, second, other)]
    assert basis("runs", "compare", ids[0], ids[1], "--json").code == 0
    different = basis("runs", "compare", ids[0], ids[2], "--json")
    assert different.code == 1
    found = json.loads(different.out)
    assert found["metrics"]["initial_capital"] == {"a": 100000.0, "b": 1.0, "difference": -99999.0}
    assert found["same_events"] is False
    assert "initial_capital" in basis("runs", "compare", ids[0], ids[2]).out


def test_runs_events_and_verify_read_what_a_run_left(basis: Basis) -> None:
    found = basis.run()
    cid = found["correlation_id"]
    assert [run["correlation_id"] for run in basis.json("runs", "list")] == [cid]
    shown = basis.json("runs", "show", cid)
    assert shown["event_hash"] == found["event_hash"]
    assert shown["result"] == found["result"]
    assert shown["metrics"]["total_return"] == found["result"]["total_return"]
    assert basis.json("events", cid)["orders"] == 1
    lines = basis("events", cid, "positions", "--limit", "3").out.splitlines()
    assert [json.loads(line)["order"] for line in lines] == [100_000, 700_002, 800_000]
    assert basis.json("verify", cid)["ok"] is True
    for command in (("runs", "list"), ("runs", "show", cid), ("events", cid), ("verify", cid)):
        said = basis(*command)
        assert said.code == 0
        assert cid[:8] in said.out


def test_runs_leave_as_a_zip_and_as_a_page(basis: Basis, tmp_path: Path) -> None:
    found = basis.run()
    cid, file, page = found["correlation_id"], tmp_path / "run.zip", tmp_path / "run.html"
    assert basis.json("runs", "export", cid, str(file)) == {"file": str(file), "bytes": file.stat().st_size}
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read(f"{cid}/summary.json"))["event_hash"] == found["event_hash"]
    assert basis("runs", "tearsheet", cid, str(page)).code == 0
    assert cid in page.read_text()
    shown = basis("runs", "show", cid).out
    assert re.search("equity  [▁▂▃▄▅▆▇█]{30,60}", shown)
    refused = basis("runs", "export", cid, str(tmp_path / "none" / "run.zip"))
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "[CONFIG-003]" in refused.err
    assert sorted(path.name for path in tmp_path.glob("*run*")) == ["run.html", "run.zip"]


def test_verify_notices_a_changed_figure(basis: Basis) -> None:
    found = basis.run()
    file = Path(found["log_directory"]) / "events" / "pnl_calculations.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"total_pnl":0.0', b'"total_pnl":0.1', 1))
    said = basis("verify", found["correlation_id"])
    assert said.code == 1
    assert "events/pnl_calculations.jsonl" in said.err
    assert all(line.startswith("basis: [LOG-004]") for line in said.err.splitlines())


def test_a_table_for_people_shows_hash_and_directory_whole(basis: Basis) -> None:
    said = basis("backtest", "pure_lending_eth", *MONTH)
    assert said.code == 0
    assert "pure_lending_eth: completed" in said.out
    assert "final value" in said.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nope",), "CONFIG-001", "known: btc_basis"),
        (("pure_lending_usd",), "CONFIG-001", "did you mean 'pure_lending_usdt'"),
        (("pure_lending_usdt", "--start", "2022-13-01"), "CONFIG-003", "ISO 8601"),
        (("pure_lending_usdt", "--start", "2022-02-01", "--end", "2022-02-01"), "CONFIG-003", "not before"),
        (("pure_lending_usdt", "--start", "2022-02-01", "--end", "2022-01-01"), "CONFIG-003", "not before"),
        (("pure_lending_usdt", "--end", "2022-01-03T00:30:00"), "CONFIG-003", "whole number of ticks"),
        (("pure_lending_usdt", "--start", "2030-01-01", "--end", "2030-02-01"), "DATA-001", "available is 2022-01-01"),
        (("pure_lending_usdt", "--capital", "0"), "CONFIG-003", "above 0"),
        (("pure_lending_usdt", "--capital", "-5"), "CONFIG-003", "above 0"),
        (("pure_lending_usdt", "--capital", "nan"), "CONFIG-003", "above 0"),
        (("pure_lending_usdt", "--capital", "x"), "CONFIG-003", "--capital"),
        (("pure_lending_usdt", "--set", "engine.max_windo=1"), "CONFIG-003", "did you mean 'engine.max_window'"),
        (("pure_lending_usdt", "--set", "engine.max_window"), "CONFIG-003", "PATH=VALUE"),
        (("pure_lending_usdt", "--set", "engine.max_window=0"), "CONFIG-003", "engine.max_window"),
        (("pure_lending_usdt", "--set", "engine=1"), "CONFIG-003", "is a section"),
        (("pure_lending_usdt", "--set", "venues.wallet.gas_price_gwei=.nan"), "CONFIG-003", "finite"),
        (("pure_lending_usdt", "--set", "data.feeds.price_usd:ETH.series=no/such"), "DATA-001", "no/such"),
        (("pure_lending_usdt", "--data", "/no/such/folder"), "DATA-001", "/no/such/folder"),
        (("pure_lending_usdt", "--nats", "nats://127.0.0.1:9"), "BUS-001", "nats://127.0.0.1:9"),
        (("pure_lending_usdt", "--nats", "nats://127.0.0.1:9", "--processes"), "CONFIG-003", "--processes"),
        (("--bogus",), "CONFIG-003", "--bogus"),
        (("eth_leveraged", "--set", "strategy.target_ltv=0.87"), "CONFIG-003", "not above strategy.hf_deleverage 1.1"),
        (
            ("btc_basis", "--set", "strategy.hedge_allocation.okx=0.4"),
            "CONFIG-003",
            "--set: strategy: Value error, hedge_allocation sums to 1.1, expected 1",
        ),
        (("btc_basis", "--set", "strategy.hedge_allocation.okx=-0.1"), "CONFIG-003", "strategy.hedge_allocation.okx: "),
        (("eth_basis", "--set", "asset=BTC"), "CONFIG-003", "needs 'binance:BaseToken:BTC' in position_subscriptions"),
        (("btc_basis", "--set", "data.feeds.funding:okx:BTCUSDT.series=okx/none"), "DATA-001", "series okx/none"),
        (("btc_basis", "--set", "time_step_s=7000"), "CONFIG-003", "does not divide the eight hours"),
        (("btc_basis", "--set", "venues.okx.deposit_delay_s=60"), "CONFIG-003", "add transit:BaseToken:<token>"),
        (
            ("btc_basis", "--set", "strategy.margin_ratio_trigger=0.6"),
            "CONFIG-003",
            "must be below margin_ratio_target",
        ),
        (
            ("btc_basis", "--set", "capital_flows=[{date: 2022-02-01T00:00:00Z, amount: 0}]"),
            "CONFIG-003",
            "amount is 0",
        ),
        (("ml_btc_directional_usdt_margin", "--set", "time_step_s=60"), "CONFIG-003", "longer than a tick"),
        (
            ("ml_btc_directional_usdt_margin", "--set", "strategy.signals.provider=file"),
            "CONFIG-003",
            "location is for file and http",
        ),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_behind(
    basis: Basis, arguments: tuple[str, ...], code: str, words: str
) -> None:
    said = basis("backtest", *arguments)
    assert said.code == 2, said
    assert said.out == ""
    (line,) = said.err.strip().splitlines()
    assert line.startswith(f"basis: [{code}]"), line
    assert words in line
    assert not list(basis.logs.glob("*")), "a run that never started leaves nothing"


SIGNALS = {
    "a gap": ("DATA-004", [(f"2022-01-0{day}T00:00:00Z", "") for day in (1, 2, 6, 7, 8)]),
    "ends too early": ("DATA-003", [("2022-01-01T00:00:00Z", "")]),
    "made from the future": ("DATA-005", [("2022-01-01T00:00:00Z", "2022-01-01T01:00:00Z")]),
    "begins too late": ("DATA-001", [("2022-01-03T00:00:00Z", "2022-01-03T00:00:00Z")]),
    "stamped after the data's end": (
        "DATA-002",
        [*((f"2022-01-0{day}T00:00:00Z", "") for day in range(1, 9)), ("2031-01-01T00:00:00Z", "")],
    ),
}


@pytest.mark.parametrize("what", SIGNALS)
def test_a_faulty_signal_file_is_refused_before_the_run(basis: Basis, tmp_path: Path, what: str) -> None:
    code, rows = SIGNALS[what]
    file = tmp_path / "signals.csv"
    lines = [f"{stamp},long,0.7,0.01,{until or stamp}" for stamp, until in rows]
    file.write_text("\n".join(["timestamp,signal,confidence,sd,data_until", *lines]) + "\n")
    given = ("--set", "strategy.signals.provider=file", "--set", f"strategy.signals.location={file}")
    age = ("--set", "strategy.signals.max_age_s=86400")
    said = basis(
        "backtest", "ml_btc_directional_usdt_margin", "--start", "2022-01-01", "--end", "2022-01-08", *given, *age
    )
    assert said.code == 2, said
    (line,) = said.err.strip().splitlines()
    assert line.startswith(f"basis: [{code}]"), line
    assert "signals.csv" in line
    assert not list(basis.logs.glob("*"))


def test_refusals_are_json_where_json_was_asked(basis: Basis) -> None:
    said = basis("backtest", "nope", "--json")
    assert said.code == 2
    assert json.loads(said.out)["error_code"] == "CONFIG-001"


def test_unwritable_log_directory_is_refused(basis: Basis, tmp_path: Path) -> None:
    (tmp_path / "in_the_way").write_text("a file")
    said = basis("backtest", "pure_lending_usdt", *MONTH, "--logs", str(tmp_path / "in_the_way"))
    assert said.code == 2
    assert said.err.strip().startswith("basis: [LOG-003]")
    assert len(said.err.strip().splitlines()) == 1


def test_broken_yaml_names_file_and_line(basis: Basis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = tmp_path / "configs"
    for file in (REPO / "configs").rglob("*.yaml"):
        copy = configs / file.relative_to(REPO / "configs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text())
    (configs / "venues" / "wallet.yaml").write_text("kind: wallet\n  gas: [")
    monkeypatch.setenv("BASIS_CONFIGS_DIR", str(configs))
    said = basis("backtest", "pure_lending_usdt", *MONTH)
    assert said.code == 2
    assert "[CONFIG-003]" in said.err
    assert "wallet.yaml" in said.err
    assert "line 2" in said.err


def test_unknown_runs_and_events_are_refused(basis: Basis) -> None:
    for command in (
        ("runs", "show", "0" * 32),
        ("verify", "zz"),
        ("events", "../../etc"),
        ("runs", "compare", "a", "b"),
    ):
        said = basis(*command)
        assert said.code == 2
        assert "[RUN-001]" in said.err
    cid = basis.run()["correlation_id"]
    assert "unknown event type" in basis("events", cid, "trades").err


def test_modes_show_names_the_source_of_every_value(basis: Basis) -> None:
    modes = basis.json("modes", "list")
    assert len(modes) == 10
    assert all(mode["built"] for mode in modes)
    neutral = basis("modes", "show", "usdt_market_neutral").out
    assert any("venues.aave_v3.emode.ltv" in line and "venue_overrides" in line for line in neutral.splitlines())
    config = basis.json("modes", "show", "pure_lending_usdt", "--set", "engine.max_window=9")
    assert config["engine"]["max_window"] == 9
    assert config["venues"]["wallet"]["gas_price_gwei"] is None
    shown = basis("modes", "show", "pure_lending_usdt", "--set", "engine.max_window=9").out
    assert any("engine.max_window" in line and "--set" in line for line in shown.splitlines())
    assert any("venues.wallet.kind" in line and "wallet.yaml" in line for line in shown.splitlines())
    assert basis("modes", "list").code == 0
    assert basis("modes", "show", "nope").code == 2


def test_modes_schema_describes_the_parameters_of_the_mode(basis: Basis) -> None:
    schema = basis.json("modes", "schema", "eth_leveraged", "--set", "strategy.target_ltv=0.7")
    assert schema["properties"]["target_ltv"]["default"] == 0.7
    assert schema["properties"]["target_ltv"]["exclusiveMaximum"] == 1
    assert "hedge_allocation" not in schema["properties"]
    assert basis("modes", "schema", "nope").code == 2


def test_data_sample_and_check(basis: Basis, data: Path, tmp_path: Path) -> None:
    reports = basis.json("data", "check", str(data))
    assert all(report["ok"] for report in reports), [report for report in reports if not report["ok"]]
    assert len(reports) == 10
    assert basis("data", "check", str(data)).code == 0
    assert basis("data", "check", str(tmp_path / "nowhere")).code == 2
    taken = basis("data", "sample", str(data))
    assert taken.code == 2
    assert "DATA-001" in taken.err or "CONFIG-003" in taken.err


def test_doctor_finds_what_is_needed(basis: Basis) -> None:
    found = {row["what"]: row for row in basis.json("doctor")}
    assert found["python"]["ok"]
    assert found["nats-server"]["ok"]
    assert found["configs"]["ok"]
    assert basis("doctor").code == 0


def test_processes_give_the_same_hash_as_one_process(basis: Basis) -> None:
    embedded = basis.run()
    command = [sys.executable, "-m", "basis.cli", "backtest", "pure_lending_usdt", *MONTH, "--json", "--processes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["event_hash"] == embedded["event_hash"]
    assert done.stderr == ""


@pytest.mark.parametrize("mode", [(), ("--processes",)], ids=["embedded", "processes"])
def test_ctrl_c_ends_a_run_as_cancelled_and_sealed(basis: Basis, mode: tuple[str, ...]) -> None:
    slow = ("--set", "engine.max_window=1", "--set", "engine.initial_window=1")
    command = [sys.executable, "-m", "basis.cli", "backtest", "pure_lending_usdt", "--json", *slow, *mode]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ), start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(basis.logs.glob("*/*/events/pnl_calculations.jsonl")):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, err = running.communicate(timeout=60)
    found = json.loads(out)
    assert running.returncode == 1, err
    assert found["status"] == "cancelled"
    assert found["error_code"] == "ENGINE-003"
    assert basis("verify", found["correlation_id"]).code == 0


def test_lookahead_analysis_finds_none_in_a_mode_and_notices_one_that_is_put_in(basis: Basis) -> None:
    days = ("--start", "2022-01-01", "--end", "2022-01-12", "--cuts", "2")
    found = basis.json("analyze", "lookahead", "btc_basis", *days)
    assert found["ok"]
    assert [row["kind"] for row in found["checks"]] == ["lookahead", "lookahead", "recursion"]
    assert all(row["compared"] > 24 for row in found["checks"])
    # the close of a bar read at its start
    cheat = ("--set", "data.feeds.perp:okx:BTCUSDT.kind=snapshot", "--set", "data.feeds.perp:okx:BTCUSDT.field=close")
    said = basis("analyze", "lookahead", "btc_basis", *days, *cheat, "--json")
    assert said.code == 1
    assert any("DATA-002" in (row["difference"] or "") for row in json.loads(said.out)["checks"])


def test_lookahead_analysis_refuses_a_range_without_a_midnight_to_cut_at(basis: Basis) -> None:
    said = basis("analyze", "lookahead", "btc_basis", "--start", "2022-01-01", "--end", "2022-01-02")
    assert said.code == 2
    assert "too short" in said.err


def test_an_outdated_default_sample_is_made_anew(basis: Basis, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = data / "SYNTHETIC.json"
    assert json.loads(marker.read_bytes())["version"] == backtest.SAMPLE_VERSION == synthetic.VERSION
    old = basis.logs.parent / "data" / "synthetic"
    old.mkdir(parents=True)
    (old / "SYNTHETIC.json").write_text('{"version": 1}')
    told: list[str] = []
    monkeypatch.setattr("basis.venues.data.sample.write_sample", lambda folder: folder.mkdir())
    backtest.ensure_data(old, given=False, tell=told.append)
    assert not (old / "SYNTHETIC.json").exists()
    assert "older version" in told[0]
    backtest.ensure_data(old, given=False, tell=told.append)  # no marker: not a sample of ours, left alone
    assert len(told) == 2


def test_the_result_for_people_holds_the_curve(basis: Basis) -> None:
    said = basis("backtest", "pure_lending_usdt", *MONTH)
    assert said.code == 0
    (line,) = (line for line in said.out.splitlines() if "▁" in line)
    assert line.strip(" │").split()[-1].startswith("▁")
    assert "█" in line
    assert "lowest, highest" in said.out


def test_doctor_looks_at_everything_it_names(basis: Basis) -> None:
    found = {row["what"]: row for row in basis.json("doctor")}
    assert set(found) == {
        "python", "nats-server", "configs", "data", "logs", "disk", "http port", "nats port", "API keys", "docker",
        "chromium", "node",
    }  # fmt: skip
    assert all(row["found"] for row in found.values())
    basis._patch.setenv("BASIS_GATEWAY_HOST", "0.0.0.0")
    said = basis("doctor", "--json")
    assert said.code == 1
    keys = next(row for row in json.loads(said.out) if row["what"] == "API keys")
    assert not keys["ok"]
    assert "basis keys new" in keys["found"]


def completed(folder: Path, *words: str) -> list[str]:
    """What the shell is offered for the last of some words."""
    script = Path(sys.executable).with_name("basis")
    env = os.environ | {
        "_BASIS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("basis", *words)),
        "COMP_CWORD": str(len(words)),
        "BASIS_CONFIGS_DIR": str(REPO / "configs"),
        "BASIS_LOGS_DIR": str(folder),
    }
    return subprocess.run([script], env=env, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_the_shell_completes_commands_modes_and_runs(tmp_path: Path) -> None:
    (tmp_path / ("ab" * 16)).mkdir()
    (tmp_path / ".event-logger").mkdir()
    assert completed(tmp_path, "bac") == ["backtest"]
    assert completed(tmp_path, "backtest", "eth_l") == ["eth_leveraged"]
    assert completed(tmp_path, "runs", "show", "a") == ["ab" * 16]
    assert completed(tmp_path, "verify", "x") == []


def test_completion_installs_itself(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("basis")
    env = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        # Typer looks for the shell among the parents, and a test may have none; bash does not replace itself where more follows
        ["bash", "-c", f'"{script}" --install-completion bash; exit $?'],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installed" in done.stdout
    assert "basis.sh" in (tmp_path / ".bashrc").read_text()
    assert "_BASIS_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "basis.sh").read_text()


@pytest.mark.parametrize("module", ["numpy", "pyarrow", "fastapi", "polars", "nats", "rich.table", "plotly"])
def test_the_command_line_itself_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, basis.cli.main; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_every_command_that_reads_can_answer_in_json() -> None:
    root = typer.main.get_command(app)
    silent = {"service", "up"}

    def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from leaves(inner, (*path, name))
        else:
            yield path, command

    for path, command in leaves(root, ()):
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options or path[-1] in silent, path
