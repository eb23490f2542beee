"""The reports' numbers in the augmentations: chances, ranges, what a batch shares, what a row has alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from fixed_draws import FixedDraws
from SegDLEngine.errors import InputError
from SegDLTrainingLib.augmentation import planes
from SegDLTrainingLib.augmentation.mixup import mixup, rows_to_mix
from SegDLTrainingLib.augmentation.registry import build_augmentation, known_augmentations
from SegDLTrainingLib.draws import Draws

STEPS = known_augmentations()
ONLY_SLICES = {"slices", "elastic"}
ONLY_PATCHES = {"affine"}


def flat(count: int = 1, channels: int = 1, sides: tuple[int, ...] = (4, 4)):
    return torch.zeros(count, channels, *sides), torch.zeros(count, *sides, dtype=torch.uint8)


def test_report_000_turns_half_of_the_patches_by_0_to_44_degrees(monkeypatch):
    """About one, two or three different axes, equally often; either way round."""
    turns: list[tuple[str, int]] = []

    def recorded(image, labels, axis, degrees, outside):
        turns.append((axis, degrees))
        return image, labels

    monkeypatch.setattr(planes, "_turn", recorded)
    rows, numbers, both = 6000, Counter(), []
    for row in range(rows):
        turns.clear()
        STEPS["plane_rotations"](*flat(sides=(2, 2, 2)), Draws(0, 0, [row]))
        numbers[len(turns)] += 1
        assert len({axis for axis, _ in turns}) == len(turns)
        both += turns
    assert numbers[0] / rows == pytest.approx(0.5, abs=0.02)
    assert [numbers[count] / rows for count in (1, 2, 3)] == pytest.approx([1 / 6] * 3, abs=0.02)
    degrees = Counter(abs(angle) for _, angle in both)
    assert set(degrees) == set(range(45))
    assert max(degrees.values()) < 2 * min(degrees.values())
    assert np.mean([angle > 0 for _, angle in both if angle]) == pytest.approx(0.5, abs=0.03)
    axes = Counter(axis for axis, _ in both)
    assert all(count / len(both) == pytest.approx(1 / 3, abs=0.03) for count in axes.values())


def test_report_002_turns_by_any_angle_and_never_does_the_same_twice(monkeypatch):
    """One of three, then one of three unless it is the same: 1/3 + 2/9 of the rows are turned."""
    turns: list[tuple[str, float]] = []

    def recorded(image, axis, degrees, outside, mode):
        turns.append((axis, degrees))
        return image

    monkeypatch.setattr(planes, "_turn_image", recorded)
    images, labels = flat(3000, sides=(2, 2, 2))
    images += torch.arange(8.0).view(2, 2, 2)
    changed, _ = STEPS["flip_or_turn"](images.clone(), labels, Draws(0, 0, range(3000)))
    flips = (changed != images).flatten(1).any(dim=1).float().mean().item()
    assert len(turns) / 3000 == pytest.approx(5 / 9, abs=0.03)
    assert flips == pytest.approx(5 / 9, abs=0.03)
    angles = np.array([angle for _, angle in turns])
    assert np.histogram(angles, 4, (0, 360))[0] / len(angles) == pytest.approx([0.25] * 4, abs=0.04)
    axes = Counter(axis for axis, _ in turns)
    assert all(axes[axis] / len(turns) == pytest.approx(1 / 3, abs=0.04) for axis in "ijk")


@pytest.mark.parametrize("share, power", [(0.0, 0.8), (1.0, 1.25)])
def test_gamma_of_report_003_by_hand(share, power):
    images = torch.tensor([-2.0, -1.0, 0.5, 2.0]).view(1, 1, 2, 2)
    changed, _ = STEPS["gamma"](images, flat()[1], FixedDraws(1, share))
    expected = -2 + 4 * ((images + 2) / 4) ** power
    assert torch.allclose(changed, expected, atol=1e-6)


def test_channels_and_rows_get_grey_values_of_their_own():
    images = torch.rand(1, 1, 6, 6).repeat(3, 2, 1, 1)
    for step in ({"step": "gamma"}, {"step": "gain", "factor": 0.2, "offset": 0.1}):
        changed, _ = build_augmentation([step])(images.clone(), flat(3, 2, (6, 6))[1], Draws(0, 0, range(3)))
        maps = changed.flatten(0, 1)
        assert len({tuple(map(float, one.flatten())) for one in maps}) == 6


@pytest.mark.parametrize("share, sign", [(0.0, -1), (1.0, 1)])
def test_gain_reaches_both_ends_of_its_range(share, sign):
    images = torch.full((1, 2, 2, 2), 3.0)
    changed, _ = STEPS["gain"](images, flat()[1], FixedDraws(1, share), offset=0.5, channels=[1])
    assert changed[0, 1, 0, 0].item() == pytest.approx(3 * (1 + 0.1 * sign) + 0.5 * sign)
    assert (changed[0, 0] == 3).all()


def test_noise_of_report_000_has_at_most_the_variance_of_a_tenth():
    for share, variance in ((1.0, 0.1), (0.5, 0.05)):
        noisy, _ = STEPS["noise"](*flat(), FixedDraws(1, share, deviation=1.0))
        assert noisy.unique().item() == pytest.approx(variance**0.5)


def test_noise_of_report_004_has_mean_a_twentieth_and_deviation_a_tenth():
    for deviation in (-1.0, 0.0, 2.0):
        noisy, _ = STEPS["batch_noise"](*flat(), FixedDraws(1, 0.0, deviation))
        assert noisy.unique().item() == pytest.approx(0.05 + 0.1 * deviation)


def test_report_004_flips_rows_and_columns_of_a_quarter_of_the_batches():
    images = torch.arange(12.0).view(1, 1, 3, 4).repeat(2, 1, 1, 1)
    seen: Counter[int] = Counter()
    for number in range(1500):
        changed, moved = STEPS["batch_flip"](images, images[:, 0].to(torch.uint8), Draws(0, number, range(2)))
        assert torch.equal(changed[:, 0].to(torch.uint8), moved)
        (flipped,) = [axes for axes in ([], [-1], [-2], [-2, -1]) if torch.equal(changed, images.flip(axes))]
        seen.update(flipped)
    assert [seen[axis] / 1500 for axis in (-1, -2)] == pytest.approx([0.25, 0.25], abs=0.035)


class Patches(FixedDraws):
    """Five or more patches whose places are given: top left, size at one end of the range."""

    def __init__(self, number: float, size: float):
        super().__init__(1, 0.0)
        self._number, self._size = number, size

    def common(self, *shape):
        if shape == (2,):
            return torch.tensor([0.0, self._number])
        places = torch.tensor([[0.0, 0.0], [0.0, 0.99], [0.99, 0.0], [0.99, 0.99], [0.5, 0.5], [0.5, 0.0]])
        return torch.cat([places, torch.full((6, 2), self._size)], dim=1)[: shape[0]]


@pytest.mark.parametrize("number, count", [(0.0, 1), (0.3, 2), (0.99, 5)])
@pytest.mark.parametrize("size, side", [(0.0, 0.1), (1.0, 0.2)])
def test_report_004_masks_one_to_five_patches_of_a_tenth_to_a_fifth_of_the_sides(number, count, size, side):
    images = torch.ones(1, 2, 100, 50)
    changed, _ = STEPS["batch_patches"](images, flat()[1], Patches(number, size))
    assert int((changed[0, 0] == 0).sum()) == count * round(100 * side) * round(50 * side)
    assert torch.equal(changed[0, 0], changed[0, 1])
    assert (images == 1).all()


def of_step(step: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sides = (10, 12, 14) if step not in ONLY_SLICES else (20, 24)
    images = torch.rand(count, 2, *sides, generator=generator)
    return images, (images[:, 0] > 0.6).to(torch.uint8) * 3 + (images[:, 0] > 0.8).to(torch.uint8)


@pytest.mark.parametrize("step", sorted(STEPS))
def test_every_step_gives_a_row_the_same_wherever_it_is_computed(step):
    """By seed, batch and row alone; labels stay labels of the same kind."""
    augment = build_augmentation([{"step": step}])
    whole_images, whole = augment(*of_step(step, 6), Draws(3, 5, range(6)))
    assert whole.dtype == torch.uint8
    assert set(whole.unique().tolist()) <= {0, 3, 4}
    assert torch.isfinite(whole_images).all()
    for rows in ([4], [2, 3, 5], [5, 0]):
        images, labels = of_step(step, 6)
        part = augment(images[rows].clone(), labels[rows].clone(), Draws(3, 5, rows))
        assert torch.equal(part[0], whole_images[rows])
        assert torch.equal(part[1], whole[rows])
    other, _ = augment(*of_step(step, 6), Draws(4, 5, range(6)))
    if not step.startswith("batch"):
        assert not torch.equal(other, whole_images)


def test_slices_of_any_range_keep_their_values_when_only_shapes_change():
    """Report 001 feeds the bins 0 to 45 as they are."""
    bins = torch.randint(0, 46, (4, 1, 30, 30)).float()
    changed, _ = build_augmentation({"shift": 0.1, "rotation_deg": 10, "zoom": 0.1, "mirror": 0.0})(
        bins.clone(), flat(4, 1, (30, 30))[1], Draws(0, 0, range(4))
    )
    assert changed.max() > 40
    assert changed.mean() == pytest.approx(bins.mean().item(), rel=0.1)
    with pytest.raises(InputError, match=r"to 4[0-9.]+, outside 0 to 1"):
        build_augmentation({"gain": 0.1})(bins, flat(4, 1, (30, 30))[1], Draws(0, 0, range(4)))


def test_mixup_blends_with_the_next_row_of_the_whole_batch():
    """However the batch is shared: parts of it hold what the whole does."""
    images, targets = torch.rand(6, 1, 3, 3), torch.rand(6, 2, 3, 3)
    whole_images, whole = mixup(images, targets, 0.4, 7, 3, range(6), 6)
    for row in range(6):
        following = (row + 1) % 6
        share = (whole_images[row] - images[following]) / (images[row] - images[following])
        assert torch.allclose(share, share.mean().expand_as(share), atol=1e-4)
        mixed = share.mean() * targets[row] + (1 - share.mean()) * targets[following]
        assert torch.allclose(whole[row], mixed, atol=1e-5)
    for rows in (range(3), range(3, 6), range(4, 5), [0, 2]):
        given = rows_to_mix(rows, 6)
        part_images, part = mixup(images[given], targets[given], 0.4, 7, 3, rows, 6)
        assert torch.equal(part_images, whole_images[list(rows)])
        assert torch.equal(part, whole[list(rows)])


def test_mixup_shares_follow_beta():
    """Beta(0.4, 0.4) has the mean 1/2 and the variance 1 / (4 (2 * 0.4 + 1))."""
    images = torch.cat([torch.ones(1, 1, 1), torch.zeros(1, 1, 1)])
    shares = [mixup(images, images, 0.4, 0, number, [0], 2)[0].item() for number in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / 7.2, abs=0.01)
