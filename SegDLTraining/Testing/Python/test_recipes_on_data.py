"""Each recipe of the reports on data in their own layout, by naming the folder: up to the first batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegDLEngine.errors import InputError
from SegDLEngine.networks.registry import build_empty
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.augmentation.registry import build_augmentation
from SegDLTrainingLib.data.check import check_split
from SegDLTrainingLib.draws import Draws
from SegDLTrainingLib.own_check import check_own_cases
from SegDLTrainingLib.preparing import digest, prepare_all
from SegDLTrainingLib.recipes import RESTORATION, Recipe, list_recipes, load_recipe
from SegDLTrainingLib.restoration.cubes import RestorationBatches
from SegDLTrainingLib.restoration.distortions import Distortion
from SegDLTrainingLib.sampling import build_sampler
from SegDLTrainingLib.targets import target_maps
from SegDLTrainingLib.user_cases import found_cases, splits_of, user_cases
from SegDLTrainingLib.volumes import PreparedVolume
from small_data_sets import data_set_for

PATIENTS = 8
OWN = {
    recipe["id"]: recipe
    for recipe in list_recipes()
    if recipe["id"][:3].isdigit() and recipe["data"]["source"] == "manifest"
}
# Training, validation and test cases of the first division of 8 patients.
SIZES = {
    "000": (6, 2, 0), "000-table4": (7, 1, 0), "000-table5": (7, 1, 0), "000-leave": (6, 2, 0),
    "001": (4, 4, 0), "002-brain": (6, 1, 1), "002-brain-five": (6, 2, 0), "002-brain-two": (6, 2, 0),
    "002-brain-input": (6, 2, 0), "002-hand": (6, 1, 1), "002-hand-six": (6, 2, 0), "002-hand-sum": (6, 2, 0),
    "003": (4, 2, 2), "003-genesis": (6, 2, 0), "003-pretrain": (6, 2, 0), "004": (6, 1, 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def prepared():
    """What was prepared and drawn already, as preparing dominates the time."""
    return set()


def sizes(name: str) -> tuple[int, int, int]:
    if name.endswith("-10-40"):
        return (2, 4, 2)
    return SIZES[max((key for key in SIZES if name.startswith(key)), key=len)]


@pytest.mark.parametrize("name", OWN)
def test_a_recipe_runs_by_naming_the_folder(name, folder, prepared):
    recipe = OWN[name].with_data(data_set_for(name, folder, PATIENTS))
    found = found_cases(recipe)
    assert len(found.cases) == PATIENTS and all(case.labels for case in found.cases)
    splits = splits_of(recipe, found.cases)
    assert tuple(map(len, splits.splits[0].parts().values())) == sizes(name)
    for split in splits.splits:
        assert not [problem for problem in check_split(split, found.cases) if problem.severity == "error"]
    if _first_of_its_kind(recipe, prepared):
        jobs = user_cases(recipe, "training")[:1]
        (volume,) = prepare_all(jobs, recipe.card, folder / "cache", 1, Reporter(), "cases")
        _check_batch(recipe, volume)


def _first_of_its_kind(recipe: Recipe, seen: set[str]) -> bool:
    """Whether no recipe before prepares, draws and augments in the same way."""
    card = {key: recipe.card[key] for key in ("preprocessing", "inputs", "labels", "postprocessing")}
    key = digest([card, {**recipe["sampling"], "batch": 1}, recipe["augmentation"]])
    new = key not in seen
    seen.add(key)
    return new


def _check_batch(recipe: Recipe, volume: PreparedVolume) -> None:
    sampling = {**recipe["sampling"], "batch": 1}
    sides = tuple((sampling.get("patch") or sampling["size"])[::-1])
    if recipe.task == RESTORATION:
        distortion = Distortion(**recipe["restoration"])
        distorted, truth = RestorationBatches([volume.image[0]], sampling["patch"], 1, 0, distortion).batch(0)
        assert distorted.shape == truth.shape == (1, 1, *sides)
        assert 0 <= distorted.min() < distorted.max() <= 1
        return
    images, labels = build_sampler([volume], recipe.card, sampling, recipe.seed).batch(0)
    images, labels = build_augmentation(recipe["augmentation"])(images, labels, Draws(recipe.seed, 0, [0]))
    network = recipe.card["network"]
    margin = build_empty(network["name"], network["options"], "meta").margin
    values = [label["value"] for label in recipe.card["labels"]]
    targets = target_maps(labels, values, recipe.card["inference"]["activation"], margin)
    assert images.shape[2:] == sides and torch.isfinite(images).all() and images.std() > 0
    assert targets.shape[2:] == tuple(side - 2 * margin for side in sides)
    assert set(labels.unique().tolist()) <= {0, *values}
    # The labels of the case are those that the recipe trains on.
    assert set(np.unique(volume.labels).tolist()) == {0, *values}


def test_every_centre_is_left_out(folder):
    recipe = OWN["000-leave-one-centre-out"].with_data(data_set_for("000", folder, PATIENTS))
    splits = splits_of(recipe, found_cases(recipe).cases).splits
    assert [split.name for split in splits] == ["CHGJ", "CHMR", "CHUM", "CHUP", "CHUS"]
    assert all(name.startswith(split.name) for split in splits for name in split.validation)


def test_cases_without_centres_are_told_how_to_get_them(folder, tmp_path):
    data = data_set_for("000", folder, PATIENTS)
    rows = ["case,CT,PET,labels"]
    for path in sorted(data.glob("*_ct.nii.gz")):
        name = path.name[:-10]
        rows.append(f"{name},{path},{data / name}_pt.nii.gz,{data / name}_gtvt.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    recipe = OWN["000-leave-one-centre-out"].with_data(tmp_path / "cases.csv")
    with pytest.raises(InputError, match=r"no centre.*column 'centre'.*data list"):
        splits_of(recipe, found_cases(recipe).cases)


def test_a_division_in_proportion_is_told(folder, tmp_path):
    recipe = OWN["002-brain-multiscale"].with_data(data_set_for("002-brain", folder, PATIENTS))
    told = []
    check_own_cases(recipe, tmp_path, 1, Reporter(told.append))
    (text,) = [event["text"] for event in told if event.get("code") == "division"]
    assert "meant for 274 patients" in text and "6/1/1" in text


def test_too_few_patients_for_the_folds_are_told(folder):
    recipe = load_recipe("002-hand-six-folds").with_data(data_set_for("002-hand", folder, PATIENTS))
    cases = found_cases(recipe).cases[:4]
    with pytest.raises(InputError, match=r"4 patients cannot be divided into 6 folds.*fewer folds"):
        splits_of(recipe, cases)
