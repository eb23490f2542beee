"""From sources to prepared volumes: what is cached under which name, and what is refused."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from SegDLEngine.errors import InputError, SegDLError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.writing import write_image
from SegDLEngine.preprocessing.registry import PreparedCase
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib import preparing, volumes
from SegDLTrainingLib.preparing import Job, prepare, prepare_all
from SegDLTrainingLib.recipes import Recipe, load_recipe
from SegDLTrainingLib.sources import GENERATORS, SOURCES, load_part
from SegDLTrainingLib.user_cases import user_cases
from SegDLTrainingLib.volumes import StoredVolume, store_volume
from tiny_training import bright_ball, smallest_recipe, write_job

GRID = Grid((8, 6, 4), (2.0, 2.0, 3.0))
CARD = {
    "inputs": [{"name": "CT", "required": True}, {"name": "PET", "required": False}],
    "labels": [{"value": 2, "name": "Tumour"}],
    "preprocessing": [{"step": "scale", "offset": 0, "factor": 2}],
    "postprocessing": [{"step": "inside_mask", "mask": "body"}],
}


def case(value: int = 2) -> PreparedCase:
    labels = np.full(GRID.shape, value, np.uint8)
    body = np.zeros(GRID.shape, np.uint8)
    body[1:3] = 1
    ct = Image(np.arange(192, dtype=np.float32).reshape(GRID.shape), GRID)
    return PreparedCase({"CT": ct}, "CT", Image(labels, GRID), {"body": Image(body, GRID)})


def test_a_case_is_prepared_by_the_cards_steps_into_all_channels():
    volume = prepare(case(), CARD, "one", "patient")
    assert volume.image.shape == (2, 4, 6, 8) and volume.image.dtype == np.float16
    assert np.array_equal(volume.image[0], case().images["CT"].array * 2)
    assert not volume.image[1].any(), "an optional input that is missing is a channel of zeros"
    assert np.array_equal(np.unique(volume.labels[1:3]), [2]) and not volume.labels[[0, 3]].any()
    assert volume.spacing == (2.0, 2.0, 3.0) and volume.voxel_ml == pytest.approx(0.012)
    assert (volume.name, volume.patient) == ("one", "patient")


def test_a_label_that_the_card_does_not_have_is_named():
    with pytest.raises(InputError, match=r"'one' has the label 5.*card's labels: 2"):
        prepare(case(5), CARD, "one")


made = []


def make(value: int) -> PreparedCase:
    made.append(value)
    return case(value)


def test_cases_are_prepared_once_and_again_when_the_card_changes(tmp_path):
    made.clear()
    jobs = [Job("one", "key-1", make, 2), Job("two", "key-2", make, 2)]
    first = prepare_all(jobs, CARD, tmp_path, 1, Reporter(), "cases")
    again = prepare_all(jobs, CARD, tmp_path, 1, Reporter(), "cases")
    assert made == [2, 2] and [volume.name for volume in again] == ["one", "two"]
    assert isinstance(again[0].image, np.memmap) and np.array_equal(first[0].image, again[0].image)
    changed = {**CARD, "preprocessing": [{"step": "scale", "offset": 0, "factor": 3}]}
    prepare_all(jobs, changed, tmp_path, 1, Reporter(), "cases")
    assert made == [2, 2, 2, 2]


def test_a_full_disk_leaves_no_half_case(tmp_path, monkeypatch):
    def full(stream, array):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(volumes.np, "save", full)
    with pytest.raises(SegDLError, match=r"No space left.*--cache") as caught:
        prepare_all([Job("one", "key", make, 2)], CARD, tmp_path, 1, Reporter(), "cases")
    assert caught.value.exit_code == 1
    assert not [path for path in tmp_path.rglob("*") if "key" in path.name]


def test_a_broken_case_in_the_cache_is_named(tmp_path):
    store_volume(bright_ball(1, 16), tmp_path / "one")
    stored = StoredVolume(tmp_path / "one")
    assert stored.name == "1" and np.array_equal(stored.image, bright_ball(1, 16).image)
    (tmp_path / "one" / "labels.npy").write_bytes(b"short")
    with pytest.raises(InputError, match="one cannot be read"):
        StoredVolume(tmp_path / "one")
    with pytest.raises(InputError, match="one cannot be read"):
        stored.labels  # noqa: B018


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list open files")
def test_stored_cases_keep_neither_files_nor_memory(tmp_path):
    store_volume(bright_ball(1, 16), tmp_path / "one")
    before = len(os.listdir("/proc/self/fd"))
    many = [StoredVolume(tmp_path / "one") for _ in range(50)]
    drawn = [volume.image[:, 3].copy() for volume in many]
    assert np.array_equal(drawn[0], bright_ball(1, 16).image[:, 3]) and many[0].shape == (12, 16, 16)
    assert len(os.listdir("/proc/self/fd")) == before
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_generators_make_jobs_that_depend_on_what_they_are_given():
    recipe = load_recipe("lung-tumor-unet2d")
    jobs = SOURCES[recipe["data"]["source"]](recipe, "training")
    assert len(jobs) == recipe["data"]["training"]["count"]
    assert jobs[0].name == str(recipe["data"]["training"]["first_seed"])
    longer = Recipe(
        {**recipe.data, "data": {**recipe["data"], "training": {"first_seed": 1000, "count": 500}}}
    )
    assert SOURCES["generated thoraxes"](longer, "training")[0].key == jobs[0].key
    other = Recipe({**recipe.data, "data": {**recipe["data"], "version": 99}})
    assert SOURCES["generated thoraxes"](other, "training")[0].key != jobs[0].key


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_every_generator_can_be_imported(name):
    import importlib

    assert callable(importlib.import_module(GENERATORS[name]).make_case)


def test_an_unknown_source_is_named(tmp_path):
    recipe = smallest_recipe(data={"source": "the attic"})
    with pytest.raises(InputError, match=r"'the attic' is unknown.*manifest"):
        load_part(recipe, "training", tmp_path, 1, Reporter(), "cases")


def test_own_cases_are_split_by_patient_and_known_by_content(tmp_path):
    path, manifest = write_job(tmp_path, smallest_recipe())
    recipe = load_recipe(path).with_data(manifest)
    parts = {part: user_cases(recipe, part) for part in ("training", "validation")}
    assert [len(parts[part]) for part in parts] == [4, 1]
    names = {job.name for jobs in parts.values() for job in jobs}
    assert names == {f"case{number}" for number in range(5)}
    assert parts["training"][0].patient.startswith("patient")

    before = {job.name: job.key for job in parts["training"]}
    changed = parts["training"][0].name
    file = tmp_path / f"{changed.removeprefix('case')}.nrrd"
    image = read_image(file)
    write_image(image.with_array(image.array + 1), file)
    after = {job.name: job.key for job in user_cases(recipe, "training")}
    assert {name for name in before if before[name] != after[name]} == {changed}


def test_own_cases_by_folds_and_unknown_methods(tmp_path):
    path, manifest = write_job(tmp_path, smallest_recipe())
    recipe = load_recipe(path)
    folds = Recipe({**recipe.data, "data": {"source": "manifest", "split": {"method": "k-fold", "folds": 5}}})
    own = folds.with_data(manifest, fold="fold-2")
    assert own["data"]["split"]["method"] == "k-fold"
    assert [len(user_cases(own, part)) for part in ("training", "validation")] == [4, 1]
    wrong = Recipe({**own.data, "data": {**own["data"], "split": {"method": "by eye"}}})
    with pytest.raises(InputError, match=r"'by eye' is unknown.*k-fold"):
        user_cases(wrong, "training")


def test_the_identity_of_a_training_does_not_depend_on_where_things_lie(tmp_path):
    recipe = smallest_recipe()
    assert recipe.with_data("/one/place").content == recipe.with_data("/another").content
    assert recipe.with_data("/one", fold="fold-1").content != recipe.with_data("/one").content
    assert preparing.digest({"b": 1, "a": 2}) == preparing.digest({"a": 2, "b": 1})
