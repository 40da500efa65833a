"""Train a BTC direction model on a catalogue, walk forward, and write its signals for ``basis backtest``.

Needs the extra ``ml`` (scikit-learn); see the README beside this file. What it shows is how to make signals without
looking ahead: every number of the row stamped T comes of bars that ended, and funding that was paid, at or before T.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

HOUR_MS = 3_600_000
LOOK_BACKS_H = (6, 24, 72, 168, 336)
VOLATILITY_H = 168


def read(data: Path, series: str) -> dict[str, np.ndarray]:
    """Columns of a series; timestamps as int64 ms."""
    table = pq.read_table(data / f"{series}.parquet")
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    columns["timestamp"] = columns["timestamp"].astype("datetime64[ms]").astype(np.int64)
    return columns


def hourly(bars: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Full hours T, and the log price known at each: the close of the bar that ended last, at first the first open."""
    starts = bars["timestamp"]
    bar_ms = int(np.median(np.diff(starts)))
    hours = np.arange(-(-starts[0] // HOUR_MS) * HOUR_MS, starts[-1] + bar_ms + 1, HOUR_MS)
    ended = np.searchsorted(starts + bar_ms, hours, side="right")
    return hours, np.log(np.concatenate((bars["open"][:1], bars["close"]))[ended])


def features(hours: np.ndarray, price: np.ndarray, funding: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One row an hour, and the standard deviation of an hour's return; nothing later than the hour goes in."""
    moves = np.diff(price, prepend=price[0])
    squares = np.cumsum(np.concatenate(([0.0], moves**2)))
    first = np.maximum(np.arange(len(price)) - VOLATILITY_H, 0)
    count = np.arange(len(price)) - first + 1
    # half a percent an hour stands in for a day's worth of hours, so that the first rows have a deviation too
    sd = np.sqrt((24 * 0.005**2 + squares[1:] - squares[first]) / (24 + count))
    columns = []
    for back in LOOK_BACKS_H:
        momentum = np.zeros(len(price))
        momentum[back:] = (price[back:] - price[:-back]) / (sd[back:] * np.sqrt(back))
        columns.append(momentum)
    paid = np.searchsorted(funding["timestamp"], hours, side="right")
    sums = np.concatenate(([0.0], np.cumsum(funding["funding_rate"])))
    columns.append((sums[paid] - sums[np.maximum(paid - 9, 0)]) / 9)
    columns.append(np.log(sd))
    return np.column_stack(columns), sd


def model() -> Pipeline:
    """What is trained each month; put yours here."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.02))


def walk_forward(rows: np.ndarray, price: np.ndarray, hours: np.ndarray, horizon: int, history: int) -> np.ndarray:
    """Probability that the price is higher after the horizon; each month by a model of the past, NaN before the first."""
    found = np.full(len(hours), np.nan)
    months = hours.astype("datetime64[ms]").astype("datetime64[M]")
    firsts = np.flatnonzero(months[1:] != months[:-1]) + 1
    for first, until in zip(firsts, [*firsts[1:], len(hours)], strict=True):
        # a target counts once it came true: the last horizon before the month is left out
        past = np.arange(max(0, first - horizon - 180 * 24), first - horizon + 1, 3)
        rose = price[past + horizon] > price[past] if first > horizon else np.zeros(0, dtype=bool)
        if first - horizon < history or len(set(rose.tolist())) < 2:
            continue
        fitted = model().fit(rows[past], rose)
        found[first:until] = fitted.predict_proba(rows[first:until])[:, 1]
    return found


def write(out: Path, hours: np.ndarray, chance: np.ndarray, sd: np.ndarray, threshold: float) -> None:
    """The file that ``strategy.signals.location`` names."""
    known = np.nan_to_num(chance, nan=0.5)
    signal = np.where(known >= threshold, "long", np.where(known <= 1 - threshold, "short", "neutral"))
    confidence = np.where(np.isnan(chance), 0.0, np.maximum(known, 1 - known))
    moment = pa.timestamp("ms", tz="UTC")
    table = pa.table(
        {
            "timestamp": pa.array(hours, type=moment),
            "signal": pa.array(signal.tolist()),
            "confidence": pa.array(confidence),
            "sd": pa.array(sd),
            # the bars used had all ended by then; a later value is refused
            "data_until": pa.array(hours, type=moment),
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out, compression="zstd")


def report(price: np.ndarray, chance: np.ndarray, horizon: int, threshold: float) -> str:
    """Accuracy on hours that the model had not seen, overall and where it took a side."""
    rose, told = price[horizon:] > price[:-horizon], chance[:-horizon]
    seen = ~np.isnan(told)
    sure = seen & (np.abs(told - 0.5) >= threshold - 0.5)
    if not seen.any():
        return "out of sample: nothing, the catalogue is shorter than the history that a first fit takes"
    right = (told > 0.5) == rose
    text = f"out of sample: {seen.sum()} hours, accuracy {right[seen].mean():.3f}"
    base = max(rose[seen].mean(), 1 - rose[seen].mean())
    text += f" (always the same side: {base:.3f}); with a side: {sure.sum()} hours"
    return text + (f", accuracy {right[sure].mean():.3f}" if sure.any() else "")


def main(arguments: list[str]) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train a BTC direction model and write its signals.")
    parser.add_argument("--data", type=Path, default=Path("data/synthetic"), help="catalogue of market data")
    parser.add_argument("--out", type=Path, default=Path("signals.parquet"), help="file to write")
    parser.add_argument("--bars", default="binance/btcusdt_perp_5m", help="series of bars")
    parser.add_argument("--funding", default="binance/btcusdt_funding", help="series of funding rates")
    parser.add_argument("--horizon-hours", type=int, default=24, help="how far ahead a signal speaks")
    parser.add_argument("--history-days", type=int, default=60, help="least history of the first fit")
    parser.add_argument("--threshold", type=float, default=0.58, help="probability from which a side is taken")
    given = parser.parse_args(arguments)
    hours, price = hourly(read(given.data, given.bars))
    rows, sd = features(hours, price, read(given.data, given.funding))
    chance = walk_forward(rows, price, hours, given.horizon_hours, given.history_days * 24)
    write(given.out, hours, chance, sd * np.sqrt(given.horizon_hours), given.threshold)
    print(report(price, chance, given.horizon_hours, given.threshold))
    print(f"{given.out}: {len(hours)} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
