"""Merging configuration files, overrides, sources, and errors that say what would be right."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.config import EngineConfig, RunConfig
from basis.models.errors import InputError
from basis.runtime import config_loader
from basis.testkit.runs import CONFIGS
from basis.testkit.strategies import MODES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    target = tmp_path / "configs"
    shutil.copytree(CONFIGS, target)
    return target


def refused(code: str, configs: Path, mode: str = "pure_lending_usdt", overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        config_loader.load(configs, mode, (overrides or {}).items())
    assert caught.value.error_code == code
    return caught.value.message


@pytest.mark.parametrize("mode", MODES)
def test_each_of_the_ten_modes_loads(mode: str) -> None:
    merged = config_loader.load(CONFIGS, mode)
    assert merged.config.mode == mode
    assert hashlib.sha256(merged.payload).hexdigest() == merged.sha256
    assert RunConfig.model_validate_json(merged.payload) == merged.config


def test_mode_names_are_sorted_and_complete() -> None:
    assert config_loader.mode_names(CONFIGS) == sorted(MODES)


def test_same_configuration_has_the_same_sha256_and_another_has_not() -> None:
    one = config_loader.load(CONFIGS, "pure_lending_usdt")
    same = config_loader.load(CONFIGS, "pure_lending_usdt", [("engine.max_window", EngineConfig().max_window)])
    other = config_loader.load(CONFIGS, "pure_lending_usdt", [("engine.max_window", 64)])
    assert one.sha256 == same.sha256 != other.sha256


def test_unknown_mode_raises_config_001_and_suggests(configs: Path) -> None:
    message = refused("CONFIG-001", configs, "pure_lending_usdtt")
    assert "did you mean 'pure_lending_usdt'?" in message
    assert "btc_basis" in message


@pytest.mark.parametrize("mode", ["../venues/wallet", "", "/etc/passwd"])
def test_mode_that_is_a_path_raises_config_001(configs: Path, mode: str) -> None:
    refused("CONFIG-001", configs, mode)


def test_folder_without_modes_raises_config_002(tmp_path: Path) -> None:
    assert "BASIS_CONFIGS_DIR" in refused("CONFIG-002", tmp_path)


@pytest.mark.parametrize("missing", ["venues/aave_v3.yaml", "share_classes/usdt.yaml"])
def test_missing_file_raises_config_002_and_names_it(configs: Path, missing: str) -> None:
    (configs / missing).unlink()
    assert missing in refused("CONFIG-002", configs)


@pytest.mark.parametrize(
    ("old", "new", "code", "about"),
    [
        ("asset: USDT", "", "CONFIG-002", "asset"),
        ("asset: USDT", "asset: DOGE", "CONFIG-003", "got 'DOGE'"),
        ("asset: USDT", "asset: USDT\nsurprise: 1", "CONFIG-003", "surprise"),
        ("mode: pure_lending_usdt", "mode: other", "CONFIG-003", "expected 'pure_lending_usdt'"),
        ("asset: USDT", "asset: [", "CONFIG-003", "not readable as YAML"),
    ],
)
def test_mode_file_that_makes_no_sense_names_file_path_and_expectation(
    configs: Path, old: str, new: str, code: str, about: str
) -> None:
    file = configs / "modes" / "pure_lending_usdt.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    message = refused(code, configs)
    assert str(file) in message
    assert about in message


@pytest.mark.parametrize("content", [b"- a\n- b\n", b"", b"\xff\xfe\x00"])
def test_file_that_is_no_mapping_raises_config_003(configs: Path, content: bytes) -> None:
    (configs / "venues" / "wallet.yaml").write_bytes(content)
    assert "wallet.yaml" in refused("CONFIG-003", configs)


def test_bad_value_in_a_venue_file_names_the_path(configs: Path) -> None:
    file = configs / "venues" / "wallet.yaml"
    file.write_text("kind: wallet\ngas_price_gwei: -1\n")
    message = refused("CONFIG-003", configs)
    assert "venues.wallet" in message
    assert "wallet.yaml" in message


def test_several_errors_are_counted(configs: Path) -> None:
    file = configs / "modes" / "pure_lending_usdt.yaml"
    file.write_text(file.read_text() + "one: 1\ntwo: 2\n")
    assert "(and 1 more)" in refused("CONFIG-003", configs)


# --------------------------------------------------------------------------------------------------------- overrides


def test_override_is_applied_and_named_as_source() -> None:
    merged = config_loader.load(CONFIGS, "pure_lending_usdt", [("venues.wallet.gas_price_gwei", 30)])
    assert merged.config.wallet is not None
    assert merged.config.wallet.gas_price_gwei == 30.0
    assert merged.sources["venues.wallet.gas_price_gwei"] == "--set"


def test_sources_name_a_file_or_default_for_every_leaf() -> None:
    merged = config_loader.load(CONFIGS, "pure_lending_usdt")
    assert merged.sources["venues.aave_v3.reserves.USDT.ltv"].endswith("aave_v3.yaml")
    assert merged.sources["share_class.currency"].endswith("usdt.yaml")
    assert merged.sources["target_apy"].endswith("pure_lending_usdt.yaml")
    assert merged.sources["engine.max_window"] == "default"
    leaves = _leaves(orjson.loads(merged.payload))
    assert set(merged.sources) == leaves


def _leaves(value: Any, prefix: str = "") -> set[str]:
    if isinstance(value, dict) and value:
        return {leaf for key, inner in value.items() for leaf in _leaves(inner, f"{prefix}.{key}" if prefix else key)}
    return {prefix}


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("engine.max_windw", "did you mean 'engine.max_window'?"),
        ("nope", "known at the top"),
        ("engine.max_window.deeper", "has no parts"),
        ("engine", "is a section"),
        ("", "no such path"),
    ],
)
def test_override_of_a_path_that_is_not_there_raises_config_003(path: str, about: str) -> None:
    assert about in refused("CONFIG-003", CONFIGS, overrides={path: 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_override_that_is_not_finite_raises_config_003(value: float) -> None:
    assert "not a finite number" in refused("CONFIG-003", CONFIGS, overrides={"target_apy": value})


def test_override_of_the_wrong_type_raises_config_003() -> None:
    message = refused("CONFIG-003", CONFIGS, overrides={"engine.max_window": "many"})
    assert "engine.max_window" in message
    assert "many" in message


def test_feed_may_be_added_by_override() -> None:
    merged = config_loader.load(CONFIGS, "pure_lending_usdt", [("data.feeds.price_usd:USDT.period_s", 60)])
    assert merged.config.data.feeds["price_usd:USDT"].period_s == 60


def test_whole_section_may_be_replaced_by_a_section() -> None:
    merged = config_loader.load(CONFIGS, "pure_lending_usdt", [("engine", {"max_window": 2, "initial_window": 1})])
    assert merged.config.engine.max_window == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1", ("a.b", 1)),
        ("a= 1.5 ", ("a", 1.5)),
        ("a=null", ("a", None)),
        ("a=", ("a", None)),
        ("a=x=y", ("a", "x=y")),
        ("a=[1, 2]", ("a", [1, 2])),
    ],
)
def test_override_text_is_read_as_yaml(text: str, expected: tuple[str, Any]) -> None:
    assert config_loader.parse_override(text) == expected


@pytest.mark.parametrize("text", ["a", "=1", " =1", "a=[", ""])
def test_override_text_that_is_no_assignment_raises_config_003(text: str) -> None:
    with pytest.raises(InputError) as caught:
        config_loader.parse_override(text)
    assert caught.value.error_code == "CONFIG-003"


@given(path=st.text(max_size=30), value=st.none() | st.integers() | st.floats() | st.text(max_size=5))
def test_any_override_gives_a_valid_configuration_or_an_input_error(path: str, value: Any) -> None:
    try:
        merged = config_loader.load(CONFIGS, "pure_lending_usdt", [(path, value)])
    except InputError as error:
        assert error.error_code.startswith("CONFIG-")
    else:
        assert RunConfig.model_validate_json(merged.payload) == merged.config
