"""A bundle adopted from an AST. An export takes seconds, so all tests share one."""

from pathlib import Path

import pytest

from exporter.adopt.bundle import WindowOptions, adopt
from exporter.adopt.source import load_source
from exporter.adopt.taxonomy import Taxonomy
from tests.exporter.adopt import checkpoints

CARD = "---\nlicense: cc-by-nc-4.0\ntags: [audio]\n---\n# A model\nlicense: mit\n"


@pytest.fixture(scope="session")
def ast_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoints.ast(tmp_path_factory.mktemp("hub") / "little-ast", card=CARD)


@pytest.fixture(scope="session")
def adopted(ast_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of the AST, without the label Speech."""
    out = tmp_path_factory.mktemp("adopted") / "bundle"
    taxonomy = Taxonomy(drop=("Speech",), rename={"Jazz": "Swing"})
    adopt(load_source(ast_folder, None, None), out, "adopted", "1.0.0", taxonomy, WindowOptions())
    return out
