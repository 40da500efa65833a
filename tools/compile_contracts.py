"""Compile our own contracts: the executor's bytecode and ABI, with the pinned compiler and the hash of the source.

python tools/compile_contracts.py            write contracts/*.json
python tools/compile_contracts.py --check    exit 1 where what is there is not what the compiler makes of the source
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import vyper

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ROOT / "services" / "venues" / "src" / "basis" / "venues" / "live" / "chain" / "contracts"


def compiled(source: Path) -> str:
    """The artefact of one contract, as text."""
    text = source.read_text(encoding="utf-8")
    built = vyper.compile_code(text, output_formats=["abi", "bytecode"])
    artefact = {
        "contract": source.stem,
        "compiler": f"vyper {vyper.__version__.split('+')[0]}",
        "source_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "bytecode": built["bytecode"],
        "abi": built["abi"],
    }
    return json.dumps(artefact, indent=1) + "\n"


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    wrong = 0
    for source in sorted(CONTRACTS.glob("*.vy")):
        path, text = source.with_suffix(".json"), compiled(source)
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            print(f"{path.relative_to(ROOT)} is not what the source compiles to: run tools/compile_contracts.py")
            wrong = 1
        elif not check:
            path.write_text(text, encoding="utf-8")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
