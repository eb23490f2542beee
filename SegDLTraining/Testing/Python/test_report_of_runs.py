"""Three tiny trainings of two reports, in the reports' own tables."""

from __future__ import annotations

import json

import pytest
from SegDLEngine.errors import InputError
from SegDLTrainingLib.command_line import main
from SegDLTrainingLib.places import CHECKPOINT_FILE, working_folder
from SegDLTrainingLib.recipes import load_recipe
from SegDLTrainingLib.report import report_rows
from small_data_sets import data_set_for

BOX = {"step": "resample_to_box", "spacing": [9.0, 9.0, 9.0], "size": [16, 16, 16], "outside": 0}
ONE_STEP = {"epochs": 1, "steps_per_epoch": 1}
SMALL_BOX = {
    "sampling": {"patch": [16, 16, 16]},
    "card": {
        "preprocessing": [BOX, *load_recipe("000-table1-instance-norm").card["preprocessing"][1:]],
        "inference": {"patch": [16, 16, 16], "overlap": 0.0},
        "network": {"options": {"filters": 2}},
    },
}
SLICES = {
    "training": {**ONE_STEP, "validation": {"batches": 1}},
    "card": {"network": {"options": {"filters": [4, 4, 4, 4, 4]}}},
}
RUNS = {"000-table1-instance-norm": SMALL_BOX, "000-table3-14-b2": SMALL_BOX, "004-res-unet2d": SLICES}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for name, changes in RUNS.items():
        recipe = {"schema": "segdl-recipe-1", "id": f"small-{name}", "title": "Small", "extends": name}
        published = load_recipe(name).data["published"]
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**recipe, "training": ONE_STEP, **changes, "published": published}))
        data = data_set_for(name, folder, 8 if name.startswith("000") else 3)
        arguments = ["--recipe", str(path), "--data", str(data), "--output", str(folder / name)]
        options = ["--cache", str(folder / "cache"), "--threads", "1", "--workers", "1", "--progress", "none"]
        assert main(["fit", *arguments, *options]) == 0
        made.append(folder / name)
    return made


def test_three_runs_stand_in_the_tables_with_figures_of_the_report_s_definition(packages):
    rows = report_rows(packages)
    ran = [row for row in rows if row["run"]]
    assert [(row["table"], row["part"], row["published"], row["metric"], row["cases"]) for row in ran] == [
        ("report 000, table 1", "validation", 0.729, "dice", 2),
        ("report 000, table 3", "validation", 0.718, "dice", 2),
        ("report 000, table 3", "validation", 0.729, "dice", 2),
        ("report 004, table 4", "train", 0.889, "soft_dice_batch", 1),
        ("report 004, table 4", "validation", 0.889, "soft_dice_batch", 1),
        ("report 004, table 4", "test", 0.785, "soft_dice_batch", 1),
    ]
    assert all(0 <= row["measured"] <= 1 for row in ran)
    assert {row["division"] for row in ran} == {"hold-out 4:1, 6/2/0", "hold-out 8:1:1, 1/1/1"}
    missing = [row["row"] for row in rows if not row["run"]]
    assert missing[0] == "BatchNorm3d, 24 filters, batch 1, augmented" and len(missing) == 5


def test_a_training_that_is_not_finished_and_a_folder_of_folds_are_told(tmp_path):
    unfinished = tmp_path / "unfinished"
    working_folder(unfinished).mkdir()
    (working_folder(unfinished) / CHECKPOINT_FILE).touch()
    with pytest.raises(InputError, match="unfinished is not finished"):
        report_rows([unfinished])
    (tmp_path / "folds" / "ensemble").mkdir(parents=True)
    with pytest.raises(InputError, match="several packages"):
        report_rows([tmp_path / "folds"])
