"""The lab's programs as modules: their folders are called like tools, so they cannot be imported by name."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from tests.unit.repository import ROOT


def load_program(path: str) -> ModuleType:
    """Import a program by its path below molecule/shared."""
    script = ROOT / "molecule" / "shared" / path
    spec = importlib.util.spec_from_file_location(f"lab_{script.stem}", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
