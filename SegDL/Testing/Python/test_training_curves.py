"""The curve of a training in the scene, kept through what users do to its nodes and to the scene."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host


def row(epoch, **fields):
    return {"epoch": epoch, "loss": 0.5, "rate": 0.01, "seconds": 2.0, **fields}


def epochs(table):
    return [table.GetCellText(index, 0) for index in range(table.GetNumberOfRows())]


def shownCurves(table):
    from SegDLLib.training.curve_nodes import charts

    return [
        [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]
        for chart in charts(table)
    ]


WHOLE = [["Loss", "Validation Dice"], ["Learning rate"]]


def test_charts_and_series_that_were_removed_come_back(scene):
    from SegDLLib.training.curve_nodes import charts, makeCurves, setRow

    table = makeCurves("/models/a", "a training")
    setRow(table, row(0))
    assert shownCurves(table) == WHOLE
    quality, rate = charts(table)
    scene.RemoveNode(quality)
    scene.RemoveNode(rate.GetNthPlotSeriesNode(0))
    assert makeCurves("/models/a", "a training") is table
    assert shownCurves(table) == WHOLE
    assert charts(table)[1] is rate
    assert epochs(table) == ["1"]


def test_two_trainings_have_tables_of_their_own(scene):
    from SegDLLib.training.curve_nodes import makeCurves

    one, other = makeCurves("/a/model", "model training"), makeCurves("/b/model", "model training")
    assert one is not other
    assert one.GetName() != other.GetName()


def test_a_saved_scene_goes_on_with_its_curve(scene, tmp_path):
    from SegDLLib.training.curve_nodes import makeCurves, setRow, tableOfTraining

    table = makeCurves("/models/a", "a training")
    setRow(table, row(0))
    setRow(table, row(1))
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    assert tableOfTraining("/models/a") is None
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    table = makeCurves("/models/a", "a training")
    setRow(table, row(1, loss=0.25))
    setRow(table, row(2))
    assert epochs(table) == ["1", "2", "3"]
    assert table.GetCellText(1, 1) == "0.25"
    assert shownCurves(table) == WHOLE


@pytest.fixture
def training(slicer_app, tmp_path, monkeypatch):
    """A training that tells an epoch for each line it is sent, and ends with an empty one."""
    from SegDLEngine.models.card import ModelCard
    from SegDLLib.training.training_job import TrainingJob, TrainingRequest
    from SegDLLib.training.training_process import TrainingProcess
    from tiny_model import tiny_card

    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "for epoch, line in enumerate(iter(sys.stdin.readline, '{}\\n')):\n"
        "    fields = {'epoch': epoch, 'loss': 0.5, 'rate': 0.01}\n"
        "    print(json.dumps({'event': 'log', 'text': 'epoch', 'row': fields}), flush=True)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("SEGDL_PYTHON", str(program))
    process = TrainingProcess()
    job = TrainingJob(process, TrainingRequest("tiny", ModelCard(tiny_card()), Path("/models/a")))
    job.tables = []
    job.tableMade.connect(job.tables.append)
    job.send = lambda **line: process._write(line)
    job.start()
    yield job
    job.discard()
    process.kill()
    process.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program here")
@pytest.mark.parametrize("loss", ["table", "scene"])
def test_the_next_epoch_brings_a_lost_table_back_whole(training, loss):
    import host
    import slicer

    training.send(go=1)
    training.send(go=1)
    host.wait_for(lambda: training.tables and len(epochs(training.tables[0])) == 2, 30)
    if loss == "scene":
        slicer.mrmlScene.Clear(0)
    else:
        slicer.mrmlScene.RemoveNode(training.tables[0])
    training.send(go=1)
    host.wait_for(lambda: len(training.tables) == 2, 30)
    assert epochs(training.tables[1]) == ["1", "2", "3"]
    assert shownCurves(training.tables[1]) == WHOLE
    training.send()
    host.wait_for(lambda: not training.active, 30)
    assert training.error is None
