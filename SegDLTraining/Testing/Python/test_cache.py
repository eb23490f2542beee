"""What renews a prepared case, and what is removed from the folder of prepared cases."""

import os
import shutil
import time

import numpy as np
import pytest
import SimpleITK
from dicom_series import ct_values, write_series
from SegDLEngine.errors import InputError
from SegDLEngine.images.grid import Grid
from SegDLEngine.images.image import Image
from SegDLEngine.images.reading import read_image
from SegDLEngine.images.writing import write_image
from SegDLEngine.preprocessing.registry import PreparedCase
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.cache import ABANDONED_SECONDS, CHECKED, mark_used, remove_unused
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.data.cases import CaseEntry
from SegDLTrainingLib.data.files import files_of
from SegDLTrainingLib.preparing import Job, prepare_all
from SegDLTrainingLib.recipes import load_recipe
from SegDLTrainingLib.user_cases import content_of, user_cases
from SegDLTrainingLib.volumes import store_volume
from tiny_training import bright_ball, fit_arguments, smallest_recipe, write_job

GRID = Grid((8, 6, 4), (2.0, 2.0, 3.0))
CARD = {
    "inputs": [{"name": "CT", "modality": "CT", "unit": "HU", "required": True}],
    "labels": [{"value": 1, "name": "Tumour"}],
    "preprocessing": [],
    "postprocessing": [],
}


def content(path) -> dict[str, str]:
    return content_of(CaseEntry("one", "one", {"CT": str(path)}))


def noise(seed: int) -> SimpleITK.Image:
    return SimpleITK.GetImageFromArray(
        np.random.default_rng(seed).integers(-500, 500, (4, 6, 8)).astype(np.int16)
    )


@pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
def test_voxels_in_a_file_of_their_own_are_part_of_the_case(tmp_path, name):
    SimpleITK.WriteImage(noise(1), str(tmp_path / name))
    before = content(tmp_path / name)
    assert len(files_of(str(tmp_path / name))) == 2 and content(tmp_path / name) == before
    SimpleITK.WriteImage(noise(2), str(tmp_path / name))
    assert content(tmp_path / name) != before


def test_voxels_in_a_list_or_row_of_files(tmp_path):
    for number in (1, 2):
        (tmp_path / f"slice{number}.raw").write_bytes(b"1234")
    head = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = "
    for end in ("LIST\nslice1.raw\nslice2.raw\n", "slice%d.raw 1 2 1\n"):
        (tmp_path / "ct.mhd").write_text(head + end)
        names = [file.name for file in files_of(str(tmp_path / "ct.mhd"))]
        assert names == ["ct.mhd", "slice1.raw", "slice2.raw"]


def test_a_file_of_a_series_stands_for_all_of_them(tmp_path):
    paths = write_series(tmp_path, ct_values())
    before = content(paths[0])
    paths[3].write_bytes(paths[3].read_bytes() + b"\0\0")
    assert content(paths[0]) != before


def test_a_folder_may_have_a_number_sign(tmp_path):
    path = tmp_path / "P #1" / "ct.nrrd"
    path.parent.mkdir()
    SimpleITK.WriteImage(noise(1), str(path))
    before = content(path)
    SimpleITK.WriteImage(noise(2), str(path))
    assert content(path) != before
    with pytest.raises(InputError, match=r"Case 'one': .* cannot be read"):
        content(tmp_path / "P #2" / "ct.nrrd")


def test_what_renews_prepared_cases(tmp_path):
    """A changed image or label map, and nothing else: not another place, order or time."""
    (tmp_path / "cases").mkdir()
    path, manifest = write_job(tmp_path / "cases", smallest_recipe())

    def keys(data, **settings):
        return {
            job.name: job.key for job in user_cases(load_recipe(path).with_data(data, **settings), "training")
        }

    before = keys(manifest)
    shutil.copytree(manifest.parent, tmp_path / "moved")
    moved = tmp_path / "moved" / manifest.name
    head, *rows = moved.read_text().splitlines()
    moved.write_text("\n".join([head, *rows[::-1]]))
    assert keys(moved) == before
    mapped = keys(moved, label_map={"1": 1, "5": 0})
    assert mapped.keys() == before.keys() and not set(mapped.values()) & set(before.values())


def make(value: float) -> PreparedCase:
    labels = np.ones(GRID.shape, np.uint8)
    return PreparedCase(
        {"CT": Image(np.full(GRID.shape, value, np.float32), GRID)}, "CT", Image(labels, GRID)
    )


def remove_labels(value: float) -> PreparedCase:
    case = make(value)
    case.reporter.warning("reading", "told by the check")
    case.labels.array[:, :, :6] = 0
    return case


def test_values_that_half_precision_does_not_hold_are_named(tmp_path):
    jobs = [Job("good", "1", make, 1.0), Job("bad", "2", make, 70000.0)]
    with pytest.raises(InputError, match=r"Case 'bad': the values of 'CT' .* go from 70000 to 70000"):
        prepare_all(jobs, CARD, tmp_path, 1, Reporter(), "cases")
    with pytest.raises(InputError, match=r"Case 'bad': the values of 'CT'"):
        prepare_all([Job("bad", "3", make, np.nan)], CARD, tmp_path, 1, Reporter(), "cases")


def test_a_step_that_fails_names_the_case(tmp_path):
    card = {**CARD, "preprocessing": [{"step": "mask", "mask": "none"}]}
    with pytest.raises(Exception, match="Case 'one': "):
        prepare_all([Job("one", "1", make, 1.0)], card, tmp_path, 1, Reporter(), "cases")


def test_labels_that_the_preprocessing_loses_are_told(tmp_path):
    card = {**CARD, "preprocessing": [{"step": "crop_pad", "size": [4, 6]}]}
    reporter = Reporter()
    prepare_all([Job("one", "1", remove_labels, 1.0)], card, tmp_path, 1, reporter, "cases")
    assert [warning["code"] for warning in reporter.warnings] == ["labels-lost"]
    assert reporter.warnings[0]["text"].startswith("one: Of 0.58 ml of labels the preprocessing leaves 0.00")
    reporter = Reporter()
    prepare_all([Job("two", "2", make, 1.0)], CARD, tmp_path, 1, reporter, "cases")
    assert not reporter.warnings


def stored(cache, name, seconds_ago):
    store_volume(bright_ball(1, 16), cache / "card" / name)
    when = time.time() - seconds_ago
    os.utime(cache / "card" / name / "volume.json", (when, when))


def test_only_what_was_not_used_is_removed(tmp_path):
    began = time.time()
    for name in ("old", "used"):
        stored(tmp_path, name, 1000)
    store_volume(bright_ball(1, 16), tmp_path / "other card" / "old")
    os.utime(tmp_path / "other card" / "old" / "volume.json", (began - 1000, began - 1000))
    (tmp_path / CHECKED).mkdir()
    for name in ("old.json", "used.json"):
        (tmp_path / CHECKED / name).write_text("{}")
        os.utime(tmp_path / CHECKED / name, (began - 1000, began - 1000))
    mark_used(tmp_path / "card" / "used")
    mark_used(tmp_path / CHECKED / "used.json")
    remove_unused(tmp_path, began)
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*"))
    assert kept == [os.path.join("card", "used"), os.path.join(CHECKED, "used.json")]
    assert not (tmp_path / "other card").exists()


def test_what_a_killed_process_left_is_never_taken_and_goes(tmp_path):
    jobs = [Job("one", "1", make, 1.0)]
    (volume,) = prepare_all(jobs, CARD, tmp_path, 1, Reporter(), "cases")
    folder = next(tmp_path.glob("*"))
    old, new = folder / "2.7.partial", folder / "3.8.partial"
    for partial in (old, new):
        partial.mkdir()
        (partial / "image.npy").write_bytes(b"half")
    when = time.time() - 2 * ABANDONED_SECONDS
    for path in (old / "image.npy", old):
        os.utime(path, (when, when))
    prepare_all([*jobs, Job("two", "2", make, 2.0)], CARD, tmp_path, 1, Reporter(), "cases")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3.8.partial"]
    assert volume.labels.all()


def test_a_training_removes_what_it_does_not_use_from_its_own_folder_alone(tmp_path):
    (tmp_path / "cases").mkdir()
    job = write_job(tmp_path / "cases", smallest_recipe())
    output, shared = tmp_path / "model", tmp_path / "shared"
    own = tmp_path / "model-training" / "cache"
    for cache in (own, shared):
        stored(cache, "old", 1000)
    assert main(fit_arguments(job, output)) == 0
    assert not (own / "card").exists() and len(list(own.glob("*/*/volume.json"))) == 5
    file = tmp_path / "cases" / "1.nrrd"
    image = read_image(file)
    write_image(image.with_array(image.array + 1), file)
    assert main([*fit_arguments(job, tmp_path / "other"), "--cache", str(shared)]) == 0
    assert (shared / "card" / "old").is_dir() and len(list(shared.glob("*/*/volume.json"))) == 6
