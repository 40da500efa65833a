"""schemathesis over the whole OpenAPI document, against a real gateway with all services behind it.

No 5xx, no answer that the document does not name, no body of another shape, bad input refused; without keys, with a key, and
without the key that is asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.support.gateway import serving, settings_of

from basis.gateway import app as gateway
from basis.gateway import keys
from basis.gateway.access import needed
from basis.gateway.keys import Scope
from basis.runtime.nats_server import NatsServer
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case


pytestmark = [
    pytest.mark.timeout(600),
    # the libraries of live venues, loaded on first use, raise the limit for themselves
    pytest.mark.filterwarnings("ignore:The recursion limit will not be reset"),
]
KEY, KEPT = keys.make("schemathesis", Scope.TRADE)
DOCUMENT = gateway.openapi_document()
PATHS = list(DOCUMENT["paths"])
API = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
MODES = ("open", "with a key", "without the key")
RUN = {"strategy_name": "eth_leveraged", "start_date": "2022-01-03", "end_date": "2022-01-10"}
some = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
)


def shadowed(path: str) -> bool:
    """True for a fixed path that also fits a pattern: ``DELETE /backtest/list`` is about a run with a bad id."""
    others = (re.sub(r"\{\w+\}", "[^/]+", other) for other in PATHS if other != path)
    return any(re.fullmatch(other, path) for other in others)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A gateway without keys, and one that asks for them."""
    folder = tmp_path_factory.mktemp("schemathesis")
    write_sample(folder / "sample", years=1)
    many = {"gateway_rate_per_s": 1e6, "gateway_burst": 1_000_000, "request_timeout_s": 10.0}
    with NatsServer() as first, NatsServer() as second:
        open_ = settings_of(first, folder / "sample", folder / "open").model_copy(update=many)
        closed = settings_of(second, folder / "sample", folder / "closed").model_copy(
            update=many | {"api_keys": KEPT.line()}
        )
        with serving(open_) as without, serving(closed) as with_keys:
            yield {
                "open": without,
                "run": finished(without),
                "with a key": with_keys,
                "without the key": with_keys,
            }


def finished(url: str) -> str:
    """correlation_id of a run that has ended."""
    with httpx.Client(base_url=f"{url}{gateway.PREFIX}/", timeout=60) as http:
        cid = str(http.post("backtest/", json=RUN).json()["correlation_id"])
        assert "event: result" in http.get(f"backtest/{cid}/stream").text
    return cid


@pytest.mark.parametrize("mode", MODES)
@API.parametrize()
@some
def test_every_operation_keeps_to_the_document(case: Case[Any], mode: str, urls: dict[str, str]) -> None:
    headers = {"X-API-Key": KEY} if mode == "with a key" else {}
    for name in ("X-API-Key", "Authorization"):  # those that schemathesis makes up
        case.headers.pop(name, None)
    answer = case.call(base_url=urls[mode], headers=headers, timeout=30)
    checks = [
        *CHECKS,
        *([ignored_auth] if mode == "with a key" else []),
        *([] if shadowed(case.path) else [unsupported_method]),
    ]
    if mode == "without the key" and needed(case.method, case.path) is not None:
        assert answer.status_code == 401
    case.validate_response(answer, checks=checks, headers=headers)


@API.include(path_regex="correlation_id").exclude(method="DELETE").parametrize()
@some
def test_questions_about_a_run_that_is_there(case: Case[Any], urls: dict[str, str]) -> None:
    case.path_parameters["correlation_id"] = urls["run"]
    answer = case.call(base_url=urls["open"], timeout=30)
    # what was wrong with the case may have been the id that is right now
    case.validate_response(answer, checks=[check for check in CHECKS if check is not negative_data_rejection])
