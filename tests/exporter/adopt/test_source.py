"""The labels, activation and licence of a checkpoint, and checkpoints that are refused."""

from pathlib import Path

import pytest

from exporter.adopt.card import licence_sentence
from exporter.adopt.source import load_source
from exporter.errors import AdoptError
from tests.exporter.adopt import checkpoints


@pytest.mark.parametrize(
    ("card", "given", "licence", "commercial"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", None, "cc-by-nc-4.0", False),
        ("---\nlicense: 'apache-2.0'\n---\n", None, "apache-2.0", True),
        ("---\nlicense: other\n---\n", None, "other", None),
        ("---\ntags: []\n---\nlicense: mit\n", None, None, None),
        ("license: mit\n", None, None, None),
        ("", None, None, None),
        ("---\nlicense: mit\n---\n", "cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0", False),
        ("", "MIT", "MIT", True),
        ("", "ncsa", "ncsa", None),
    ],
)
def test_the_licence_is_given_or_read_from_the_card(
    tmp_path: Path, card: str, given: str | None, licence: str | None, commercial: bool | None
) -> None:
    source = load_source(checkpoints.ast(tmp_path / "little", card=card), None, given)
    assert source.weights.licence == licence
    assert source.weights.commercial_use is commercial
    assert source.weights.source == "little"
    sentence = licence_sentence(source.weights)
    assert ("forbids commercial use" in sentence) == (commercial is False)
    assert ("allows commercial use" in sentence) == (commercial is True)


def test_labels_and_activation(tmp_path: Path) -> None:
    many = checkpoints.ast(tmp_path / "many")
    one = checkpoints.ast(tmp_path / "one", problem=None)
    assert load_source(many, None, None).labels == checkpoints.LABELS
    assert load_source(many, None, None).activation == "sigmoid"
    assert load_source(one, None, None).activation == "softmax"
    assert load_source(one, "sigmoid", None).activation == "sigmoid"


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdoptError, match=r"cannot be loaded .*give a hub name, or a folder"):
        load_source(str(tmp_path), None, None)


def test_a_checkpoint_without_a_feature_extractor_is_refused(tmp_path: Path) -> None:
    folder = Path(checkpoints.ast(tmp_path / "little"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(AdoptError, match="cannot be loaded"):
        load_source(str(folder), None, None)


def test_a_checkpoint_without_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        AdoptError, match=r"lacks the weights classifier\.dense\.bias: it was not trained to classify"
    ):
        load_source(checkpoints.without_a_head(tmp_path / "little"), None, None)
