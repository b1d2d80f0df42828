"""Imports go one way, and torch stays out of what reads files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "eocodec"
# Every module may import modules of a lower rank, and its own package. See the layout in the design document.
RANKS = {
    "_version": 0,
    "errors": 0,
    "types": 0,
    "sensors": 0,
    "raster": 1,
    "coding": 1,
    "nn": 1,
    "metrics": 1,
    "codestream": 2,
    "options": 3,
    "entropy": 3,
    "models": 4,
    "residual": 4,
    "restoring": 4,
    "preparing": 5,
    "truncating": 5,
    "codec": 6,
    "search": 7,
    "filling": 7,
    "interop": 8,
    "train": 9,
    "bench": 9,
    "cli": 10,
}
TOP_LEVEL = {
    "codec",
    "filling",
    "truncating",
}  # the package itself hands out `encode`, `inpaint` ..., at first use


def imported(path):
    """Names right below `eocodec` that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [f"eocodec.{a.name}" for a in node.names] if node.module == "eocodec" else [node.module]
        else:
            continue
        found |= {module.split(".")[1] for module in modules if module.startswith("eocodec.")}
    return found - {"__version__"}


def test_every_module_has_a_rank():
    names = {path.stem if path.is_file() else path.name for path in SOURCE.iterdir()}
    assert names - {"__init__", "__main__", "__pycache__", "py", "weights"} <= set(RANKS)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downwards(path):
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    others = imported(path) - {own}
    if own in ("__init__", "__main__"):
        assert others <= {"errors", "_version", "cli"} | TOP_LEVEL
    else:
        assert not {name for name in others if RANKS[name] >= RANKS[own]}


def modules_after(code):
    """Names of all modules that a fresh interpreter holds after `code`."""
    command = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_no_torch_to_read_describe_and_register():
    modules = modules_after(
        "import eocodec, eocodec.codestream, eocodec.interop.zarr, eocodec.models.registry\n"
        "import eocodec.cli.main\n"
        "eocodec.models.registry.installed()"
    )
    assert "eocodec.codestream" in modules
    assert "torch" not in modules


def test_the_package_itself_is_light():
    modules = modules_after("import eocodec")
    assert not modules & {"torch", "zarr", "rasterio", "constriction", "click"}
