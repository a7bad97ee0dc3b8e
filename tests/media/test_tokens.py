"""Padding of token ids."""

from media.tokens import pad_tokens


def test_ids_are_padded_with_zeros_under_a_mask() -> None:
    ids, mask = pad_tokens([[5, 6], [], [7, 8, 9]], 4)
    assert ids.tolist() == [[5, 6, 0, 0], [0, 0, 0, 0], [7, 8, 9, 0]]
    assert mask.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]
