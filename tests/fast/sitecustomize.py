"""Makes heavy imports fail in the processes that the tests start, which load this file from PYTHONPATH."""

from pathlib import Path
from runpy import run_path

run_path(str(Path(__file__).with_name("heavy_imports.py")))["block_heavy_imports"]()
