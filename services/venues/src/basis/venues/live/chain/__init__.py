"""Ethereum as a real venue: one wallet, Aave v3, Lido, ether.fi, Uniswap v3, flash loans, through web3."""

import sys
from types import ModuleType

_STAND_INS: dict[str, dict[str, object]] = {
    "py_ecc.bls": {"G2ProofOfPossession": None},
    "py_ecc.bls12_381": {"curve_order": 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001},
}


def _import_key_files() -> None:
    """Import eth_keyfile without the tables of a curve that it computes, which is half of the time that web3 takes.

    They are for key files of validators. We read none, and a venues service that is started again holds up its runs meanwhile.
    """
    if "eth_keyfile" in sys.modules or not _STAND_INS.keys().isdisjoint(sys.modules):
        return
    for name, values in _STAND_INS.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(values)
    try:
        import eth_keyfile  # noqa: F401, PLC0415
    except ImportError:  # another version wants more of it: web3 imports it as it is
        for name in [name for name in sys.modules if name.startswith("eth_keyfile")]:
            del sys.modules[name]
    finally:
        for name in _STAND_INS:
            del sys.modules[name]


_import_key_files()
