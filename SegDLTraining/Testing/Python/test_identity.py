"""A checkpoint goes on only with the recipe, the cases and the start that it began with."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from SegDLEngine.errors import Cancelled, InputError
from SegDLEngine.images.reading import read_image, read_labels
from SegDLEngine.images.writing import write_image
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib import checkpoint
from SegDLTrainingLib.checkpoint import CHECKPOINT_FILE, read_tensors
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.fit import fit
from SegDLTrainingLib.places import CURVE_FILE
from SegDLTrainingLib.progress import StopRequests
from SegDLTrainingLib.recipes import Recipe
from SegDLTrainingLib.run import train
from test_resume import stopping_after
from tiny_training import balls, smallest_recipe, write_job


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stopped(tmp_path) -> Path:
    with pytest.raises(Cancelled):
        fit(smallest_recipe(), balls(), balls(2), tmp_path, stopping_after(2))
    return tmp_path


def refusal(recipe: Recipe, training, folder: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        fit(recipe, training, balls(2), folder, Reporter(), **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 7}, "the recipe's seed was 20251120 and is 7"),
        ({"training": {"epochs": 4}}, "the recipe's training.epochs was 3 and is 4"),
        ({"training": {"accumulate": 2}}, "the recipe's training.accumulate was not there and is 2"),
        ({"card": {"version": "9.0"}}, "the recipe's card.version was \""),
    ],
)
def test_a_changed_recipe_is_refused_by_the_name_of_the_field(stopped, changes, expected):
    before = (stopped / CHECKPOINT_FILE).read_bytes()
    text = refusal(smallest_recipe(**changes), balls(), stopped)
    assert expected in text and "\n" not in text and "begin anew with another --output" in text
    assert (stopped / CHECKPOINT_FILE).read_bytes() == before


def test_other_cases_another_order_and_another_start_are_refused(stopped):
    assert "the training case '2' is missing" in refusal(smallest_recipe(), balls(2), stopped)
    assert "the training case '3' is new" in refusal(smallest_recipe(), balls(4), stopped)
    assert "the training cases are in another order" in refusal(smallest_recipe(), balls()[::-1], stopped)
    text = refusal(smallest_recipe(), [], stopped, initial={"weight": torch.zeros(1)})
    assert "the starting weights changed; the training case '0' is missing" in text
    assert text.count(";") == 3 and "and 1 more differences" in text
    fit(smallest_recipe(title="Another title"), balls(), balls(2), stopped, Reporter())


def test_another_number_of_threads_is_told_but_not_refused(stopped):
    torch.set_num_threads(2)
    events = []
    fit(smallest_recipe(), balls(), balls(2), stopped, Reporter(events.append))
    told = [event["text"] for event in events if event["event"] == "warning"]
    assert len(told) == 1 and "threads 1 became 2" in told[0] and "bit for bit" in told[0]


def test_a_checkpoint_of_an_earlier_version_is_refused(stopped):
    path = stopped / CHECKPOINT_FILE
    tensors, header = read_tensors(path)
    save_file(tensors, path, {"segdl-checkpoint-1": header[checkpoint.HEADER]})
    text = refusal(smallest_recipe(), balls(), stopped)
    assert "earlier version" in text and str(path) in text and "--output" in text


class Job:
    """Five cases in files, whose training is stopped after two steps and continued."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.recipe, self.manifest = write_job(folder, smallest_recipe(training={"keep": "last"}))
        data = json.loads(self.recipe.read_text())
        names = [f"case{number}" for number in range(5)]
        self.splits = folder / "splits.json"
        row = {"name": "all", "training": names[:3], "validation": names[3:]}
        self.splits.write_text(json.dumps({"schema": "segdl-splits-1", "splits": [row]}))
        self.loaded = Recipe(data).with_data(self.manifest, splits=str(self.splits))
        self.output = folder / "out" / "model"

    def run(self, reporter: Reporter) -> None:
        train(self.loaded, self.output, reporter, device="cpu", threads=1, workers=1)

    def command(self) -> list[str]:
        paths = {"recipe": self.recipe, "data": self.manifest, "splits": self.splits, "output": self.output}
        given = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
        settings = ["--workers", "1", "--threads", "1", "--progress", "none", "--device", "cpu", "--resume"]
        return ["fit", *given, *settings]

    def weights(self) -> bytes:
        return (self.output / "weights.safetensors").read_bytes()


def test_other_starting_weights_are_refused(tmp_path, capsys):
    """Those that were given count, not what transfer makes of them, which may differ by rounding."""
    job = Job(tmp_path)
    job.run(Reporter())
    start = ["--start-from", str(job.output)]
    command = [*job.command()[:-1], "--output", str(tmp_path / "second")]
    with pytest.MonkeyPatch.context() as patch:
        curve = tmp_path / "second-training" / CURVE_FILE
        patch.setattr(StopRequests, "asked", lambda self: curve.exists())
        assert main([*command, *start]) == 3
    assert main(command) == 2
    assert "the starting weights changed" in capsys.readouterr().err
    assert main([*command, *start]) == 0


def test_tensorboard_that_is_not_installed_is_told_before_anything_is_written(tmp_path, capsys, monkeypatch):
    job = Job(tmp_path)
    there = importlib.util.find_spec
    missing = lambda name, *rest: None if name == "tensorboard" else there(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    assert main([*job.command()[:-1], "--tensorboard"]) == 2
    told = capsys.readouterr().err
    assert "TensorBoard is not installed. pip install tensorboard, or leave --tensorboard out." in told
    assert not job.output.parent.exists()


@pytest.fixture
def job(tmp_path) -> Job:
    found = Job(tmp_path)
    with pytest.raises(Cancelled):
        found.run(stopping_after(2))
    return found


def brighten(path: Path) -> None:
    image = read_image(path)
    write_image(image.with_array(image.array + np.int16(100)), path)


def erase_a_slice(path: Path) -> None:
    labels = read_labels(path)
    array = labels.array.copy()
    array[6] = 0
    write_image(labels.with_array(array), path)


@pytest.mark.parametrize(
    ("file", "change", "part", "what"),
    [
        ("1.nrrd", brighten, "training case 'case1'", "CT"),
        ("2-labels.nrrd", erase_a_slice, "training case 'case2'", "labels"),
        ("4-labels.nrrd", erase_a_slice, "validation case 'case4'", "labels"),
    ],
)
def test_a_case_that_changed_meanwhile_is_named_and_may_be_restored(job, capsys, file, change, part, what):
    path = job.folder / file
    before = path.read_bytes()
    change(path)
    assert main(job.command()) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and f"the {part} changed ({what})." in told[0]
    assert "Restore what was there" in told[0] and not job.output.exists()

    path.write_bytes(before)
    assert main(job.command()) == 0


def test_order_of_rows_and_places_of_files_do_not_matter(job, tmp_path_factory):
    whole = Job(tmp_path_factory.mktemp("whole"))
    whole.run(Reporter())
    assert list(whole.output.iterdir())

    head, *rows = job.manifest.read_text().splitlines()
    (job.folder / "elsewhere").mkdir()
    for path in job.folder.glob("[0-4]*.nrrd"):
        shutil.move(path, job.folder / "elsewhere" / f"patient-{path.name}")
    moved = []
    for row in reversed(rows):
        name, patient, *files = row.split(",")
        moved.append(",".join([name, patient, *(f"elsewhere/patient-{file}" for file in files)]))
    job.manifest.write_text("\n".join([head, *moved]) + "\n")
    splits = json.loads(job.splits.read_text())
    splits["splits"][0]["training"].reverse()
    job.splits.write_text(json.dumps(splits))
    assert main(job.command()) == 0
    assert job.weights() == whole.weights()


def test_another_split_is_refused_by_the_name_of_the_case(job, capsys):
    splits = json.loads(job.splits.read_text())
    splits["splits"][0].update(training=["case0", "case1"], validation=["case2", "case3", "case4"])
    job.splits.write_text(json.dumps(splits))
    assert main(job.command()) == 2
    told = capsys.readouterr().err
    assert "the training case 'case2' is missing" in told and "the validation case 'case2' is new" in told
