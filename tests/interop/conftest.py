"""The stand-in codec as a fixture."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import eocodec


@pytest.fixture
def standin(monkeypatch):
    """Replace the networks; gives the module that stands in for `eocodec.codec`."""
    from interop_support import standin_modules

    modules = standin_modules()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"eocodec.{name}", module)
        monkeypatch.setattr(eocodec, name, module, raising=False)
    return modules["codec"]
