"""What the test chain is made of: anvil, Uniswap and WETH from npm, Aave v3.3 from PyPI, pinned and checked by their lock files.

Everything goes below ``.cache/basis/chain/<hash of the locks>`` of the project and is made once; nothing third-party is in
the repository. ``python -m basis.testkit.chain.install`` does it ahead of the tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

_PACKAGES = Path(__file__).with_name("packages")
_CONTRACTS = Path(__file__).with_name("contracts")
_ROOT = Path(__file__).resolve().parents[6]
_ABI = Path("eth_defi/abi/aave_v3")


class ChainUnavailable(RuntimeError):
    """The test chain cannot be set up here; says what is missing."""


class Artifact(NamedTuple):
    """A compiled contract."""

    abi: list[dict[str, Any]]
    """Its interface."""
    bytecode: str
    """Creation code in hex, without 0x; may hold places for libraries."""
    links: dict[str, list[int]]
    """Library -> where its address goes, in bytes."""


class Installation:
    """The set-up folder.

    Args:
        root: as :func:`ensure` made it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aave = {path.stem: path for path in (root / "aave").glob("*.json")}

    @property
    def anvil(self) -> Path:
        """The node."""
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return self.root / f"node_modules/@foundry-rs/anvil-{sys.platform}-{arch}/bin/anvil"

    def aave(self, name: str) -> Artifact:
        """A contract of Aave v3.3 (Foundry layout)."""
        found = json.loads(self._aave[name].read_text(encoding="utf-8"))
        code = found["bytecode"]
        links = {
            library: [place["start"] for place in places]
            for libraries in code.get("linkReferences", {}).values()
            for library, places in libraries.items()
        }
        return Artifact(found["abi"], code["object"].removeprefix("0x"), links)

    def npm(self, path: str) -> Artifact:
        """A contract of an npm package, by its path below ``node_modules``; these need no libraries but one."""
        found = json.loads((self.root / "node_modules" / path).read_text(encoding="utf-8"))
        links = {
            library: [place["start"] for place in places]
            for libraries in found.get("linkReferences", {}).values()
            for library, places in libraries.items()
        }
        return Artifact(found["abi"], found["bytecode"].removeprefix("0x"), links)

    def vyper(self, name: str) -> Artifact:
        """One of the test chain's own contracts, compiled once for each text of it."""
        source = (_CONTRACTS / f"{name}.vy").read_text(encoding="utf-8")
        kept = self.root / "vyper" / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:16]}.json"
        if not kept.exists():
            import vyper  # noqa: PLC0415 - slow to import, and rarely needed

            built = vyper.compile_code(source, output_formats=["abi", "bytecode"])
            kept.parent.mkdir(exist_ok=True)
            scratch = kept.with_suffix(f".{hashlib.sha256(str(id(built)).encode()).hexdigest()[:8]}")
            scratch.write_text(json.dumps(built), encoding="utf-8")
            scratch.replace(kept)
        built = json.loads(kept.read_text(encoding="utf-8"))
        return Artifact(built["abi"], built["bytecode"].removeprefix("0x"), {})


def ensure() -> Installation:
    """The installation, made now where it is not there yet; one process makes it, others wait.

    Raises:
        ChainUnavailable: npm is missing, a registry did not answer, or a package is not what its lock says.
    """
    locks = sorted(_PACKAGES.iterdir())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in locks)).hexdigest()[:16]
    base = _ROOT / ".cache" / "basis" / "chain"
    base.mkdir(parents=True, exist_ok=True)
    root = base / digest
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "ready").exists():
            _install(root)
    return Installation(root)


def _install(root: Path) -> None:
    if shutil.which("npm") is None:
        raise ChainUnavailable("no npm on the PATH: the test chain's node (anvil) comes from the npm registry")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_PACKAGES / name, root)
    _run("npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", cwd=root)
    wheel = root / "wheel"
    uv = shutil.which("uv") or str(_ROOT / ".tools" / "bin" / "uv")
    requirements = str(_PACKAGES / "requirements.txt")
    _run(
        uv,
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--require-hashes",
        "--target",
        str(wheel),
        "-r",
        requirements,
        cwd=root,
    )
    shutil.copytree(wheel / _ABI, root / "aave")  # its compiled contracts are all that is wanted
    shutil.rmtree(wheel)
    if not Installation(root).anvil.exists():
        raise ChainUnavailable(f"npm has no anvil for {sys.platform} on {platform.machine()}")
    (root / "ready").touch()


def _run(*command: str, cwd: Path) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ChainUnavailable(f"{command[0]} {command[1]}: {str(said).strip()[-500:]}") from error


if __name__ == "__main__":
    try:
        ensure()
    except ChainUnavailable as reason:
        print(f"test chain: not set up, its tests will be skipped: {reason}", file=sys.stderr)
