import torch

from trainer.fit.augment import mixup, spec_augment


def test_at_most_one_span_of_bands_and_of_frames_is_masked() -> None:
    torch.manual_seed(0)
    masked = spec_augment(torch.ones(200, 8, 20), bands=3, frames=5) == 0
    bands, frames = masked.all(2), masked.all(1)
    assert torch.equal(masked, bands[:, :, None] | frames[:, None, :])
    assert set(bands.sum(1).tolist()) == {0, 1, 2, 3}
    assert set(frames.sum(1).tolist()) == {0, 1, 2, 3, 4, 5}
    # The masked bands are adjacent: at most one span starts in each example.
    starts = bands & ~torch.nn.functional.pad(bands, (1, 0))[:, :-1]
    assert starts.sum(1).max() == 1
    assert bands.any(0).all()
    assert frames.any(0).all()


def test_mixup_interpolates_between_two_examples() -> None:
    torch.manual_seed(0)
    batch = (
        torch.eye(4)[:, :, None].expand(4, 4, 3),
        torch.eye(4)[:, None, :].expand(4, 2, 4),
        torch.tensor([[True, True], [True, False], [False, False], [True, True]]),
        torch.eye(4),
    )
    log_mel, hidden, mask, labels = mixup(batch, alpha=0.5)
    torch.testing.assert_close(labels.sum(1), torch.ones(4))
    torch.testing.assert_close(log_mel[:, :, 0], labels)
    assert mask[0].all()
    # Positions without tokens in both examples are 0; masked hidden states are not mixed in.
    assert not hidden[~mask].any()
    present = labels * batch[2][:, 1]
    torch.testing.assert_close(hidden[:, 1], present)
