import torch

from trainer.fit.augment import mixup, spec_augment


def test_at_most_one_span_of_bands_and_of_frames_is_silenced() -> None:
    torch.manual_seed(0)
    masked = spec_augment(torch.ones(200, 8, 20), bands=3, frames=5) == 0
    bands, frames = masked.all(2), masked.all(1)
    assert torch.equal(masked, bands[:, :, None] | frames[:, None, :])
    assert set(bands.sum(1).tolist()) == {0, 1, 2, 3}
    assert set(frames.sum(1).tolist()) == {0, 1, 2, 3, 4, 5}
    # Neighbours: a span begins once at most.
    begins = bands & ~torch.nn.functional.pad(bands, (1, 0))[:, :-1]
    assert begins.sum(1).max() == 1
    assert bands.any(0).all()
    assert frames.any(0).all()


def test_mixed_examples_are_between_two() -> None:
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
    # Where nobody has words there is nothing; what lies under a mask is not mixed in.
    assert not hidden[~mask].any()
    present = labels * batch[2][:, 1]
    torch.testing.assert_close(hidden[:, 1], present)
