"""``exchanges.md`` of docs/reference: every error class of ccxt and what it proves, and the live configuration."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from basis.models.errors import ERROR_REGISTRY
from basis.venues.live.cex.errors import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS = {
    "ProvedFailure": "proved failure",
    "UnknownOutcome": "unknown",
    "Retryable": "retryable",
    "Fatal": "fatal",
}
_HEAD = """\
Every class of ccxt's tree of errors. *Sending*: an order or a withdrawal was asked for; only `unknown` may have happened, and
it is resolved by its client order id before anything is sent again. *Asking*: the question changes nothing; `retryable` is
repeated with growing waits. An error of no class here (a parser's, the network's) is `BaseError`; a refusal that says that
the id is used already is `DuplicateOrderId`. A class that ccxt adds fails a test until it is in the table
(`basis.venues.live.cex.errors`)."""


def exchanges_page(note: str, table: Callable[[Any], list[str]]) -> str:
    """The page.

    Args:
        note: what says that it is generated.
        table: fields of a model as rows.
    """
    from basis.models.live_cex_config import CexLiveConfig, WithdrawalAddress  # noqa: PLC0415 - after document_fields()

    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for name, meaning in TABLE.items():
        what = (_WORDS[meaning.sending.__name__], meaning.sending_code)
        groups[(*what, _WORDS[meaning.asking.__name__], meaning.asking_code)].append(f"`{name}`")
    rows = [
        f"| {', '.join(names)} | {sending} | `{code}` {ERROR_REGISTRY[code]} | {asking} | `{other}` {ERROR_REGISTRY[other]} |"
        for (sending, code, asking, other), names in groups.items()
    ]
    return "\n".join(
        [
            "# Live exchanges",
            "",
            note,
            "How they work: [live exchanges](../specs/live_cex.md).",
            "",
            "## Errors of ccxt",
            "",
            _HEAD,
            "",
            "| classes | sending | code | asking | code |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## `configs/live/<exchange>.yaml`",
            "",
            "Another folder by `BASIS_LIVE_DIR`; `BASIS_<EXCHANGE>_URL` and `BASIS_<EXCHANGE>_TESTNET` override it. Keys:",
            "`BASIS_<EXCHANGE>_API_KEY`, `_API_SECRET` and, for OKX, `_API_PASSWORD`, or the same with `_FILE`.",
            "",
            *table(CexLiveConfig),
            "",
            "`WithdrawalAddress`:",
            "",
            *table(WithdrawalAddress),
            "",
        ]
    )
