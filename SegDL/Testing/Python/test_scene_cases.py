"""Cases of the open scene as training reads them: images, labels, names, patients; and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_model import CARD, tiny_card

pytestmark = pytest.mark.host

PET_CT = [
    {"name": "CT", "modality": "CT", "unit": "HU", "required": True},
    {"name": "PET", "modality": "PT", "unit": "SUV", "required": True},
]
CODED = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^86049000^Neoplasm, Primary~^^"
    "~Anatomic codes - DICOM master list~^^~^^"
)


def card(inputs=None):
    from SegDLEngine.models.card import ModelCard

    return ModelCard(tiny_card(**({"inputs": inputs} if inputs else {})))


def addVolume(name, turned=False):
    import slicer.util

    voxels = np.random.default_rng(len(name)).integers(-1000, 200, (8, 16, 20)).astype(np.int16)
    matrix = np.diag([-2.0, -2.5, 3.0, 1.0])
    if turned:
        angle = np.deg2rad(20)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = turn @ matrix
    matrix[:3, 3] = [30.0, -12.5, 100.0]
    return slicer.util.addVolumeFromArray(voxels, matrix, name)


def addSegmentation(volume, name, coded=CODED, segmentName="drawn", value=1):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volume.GetName()} drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    identifier = node.GetSegmentation().AddEmptySegment("", segmentName)
    if coded:
        node.GetSegmentation().GetSegment(identifier).SetTerminology(coded)
    mask = np.zeros((8, 16, 20), np.uint8)
    mask[2:5, 3:9, 4:16] = value
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, identifier, volume)
    node.SetName(name)
    return node, mask


def moved(volume):
    """The volume under a linear transform that is not its own."""
    import slicer
    import vtk

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 7.5)
    matrix.SetElement(2, 3, -40.0)
    transform.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    return volume


def study(*volumes, patient="Patient 7"):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    person = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
    folder = hierarchy.CreateStudyItem(person, "study")
    for volume in volumes:
        item = hierarchy.GetItemByDataNode(volume)
        if item:
            hierarchy.SetItemParent(item, folder)
        else:
            hierarchy.CreateItem(folder, volume)


def export(found, folder, theCard):
    from SegDLLib.training.scene_cases import caseFiles

    def written(case):
        steps = caseFiles(case, theCard, folder)
        while True:
            try:
                write = next(steps)
            except StopIteration as end:
                return end.value
            if write is not None:
                write()

    return [written(case) for case in found.cases]


def test_what_is_written_is_what_the_scene_shows(scene, tmp_path):
    from SegDLLib.nodes import imageFromVolume
    from SegDLLib.training.scene_cases import findCases
    from SegDLTrainingLib.data.cases import CaseList
    from SegDLTrainingLib.data.loading import load_case
    from SegDLTrainingLib.data.manifest import read_manifest, write_manifest

    volumes = [addVolume("CT one"), moved(addVolume("CT two", turned=True))]
    masks = [addSegmentation(volume, volume.GetName())[1] for volume in volumes]
    study(volumes[1])
    found = findCases(card())
    assert [case.name for case in found.cases] == ["CT_one", "CT_two"]
    assert [case.patient for case in found.cases] == ["CT_one", "Patient 7"]
    manifest = write_manifest(CaseList("manifest", export(found, tmp_path, card())), tmp_path / "cases.json")
    rows = json.loads(manifest.read_text())["cases"]
    assert rows[0]["inputs"] == {"CT": "CT_one/CT.nrrd"}
    assert rows[0]["labels"] == "CT_one/labels.seg.nrrd"

    entries = read_manifest(manifest, card()).cases
    for entry, volume, mask in zip(entries, volumes, masks, strict=True):
        case = load_case(entry, card())
        shown = imageFromVolume(volume)
        assert case.grid.matches(shown.grid, tolerance=1e-5)
        assert np.array_equal(case.images["CT"].array, shown.array)
        assert np.array_equal(case.labels.array, mask)


def test_segments_are_found_by_name_too_and_others_are_left_out_by_name(scene):
    from SegDLLib.training.scene_cases import findCases

    addSegmentation(addVolume("CT a"), "by name", coded="", segmentName="Tumor")
    addSegmentation(addVolume("CT b"), "lungs only", coded=CODED.replace("86049000", "39607008"))
    orphan, _ = addSegmentation(addVolume("CT c"), "orphan")
    orphan.SetNodeReferenceID(orphan.GetReferenceImageGeometryReferenceRole(), None)
    found = findCases(card())
    assert [case.segmentation.GetName() for case in found.cases] == ["by name"]
    assert any("'lungs only' has no segment of 'tiny-tumor': Tumour" in text for text in found.leftOut)
    assert any("'orphan' has no source volume" in text for text in found.leftOut)


def test_other_organs_are_no_tumours_but_a_segment_without_a_name_is_one(scene):
    from SegDLLib.training.scene_cases import findCases

    addSegmentation(addVolume("CT a"), "organ", coded="", segmentName="lung")
    addSegmentation(addVolume("CT b"), "drawn", coded="", segmentName="Segment_1")
    found = findCases(card())
    assert [case.segmentation.GetName() for case in found.cases] == ["drawn"]
    assert found.notes == ["'drawn': 'Segment_1' is taken for 'Tumour'."]
    assert "'organ' has no segment of 'tiny-tumor': Tumour" in found.leftOut[0]


def test_an_empty_scene_and_other_modalities_are_refused(scene):
    from SegDLEngine.errors import InputError
    from SegDLLib.training.scene_cases import findCases

    with pytest.raises(InputError, match="The scene has no segmentation"):
        findCases(card())
    addSegmentation(addVolume("MR T1"), "brain")
    with pytest.raises(InputError, match="'brain' was drawn on MR, the recipe is for CT"):
        findCases(card())


def test_two_segmentations_of_one_volume_are_two_cases_and_results_are_noted(scene):
    from SegDLLib.training.scene_cases import findCases

    volume = addVolume("CT")
    addSegmentation(volume, "one")
    result, _ = addSegmentation(volume, "two")
    result.SetAttribute("SegDL.Model", "tiny-tumor")
    found = findCases(card())
    assert [case.name for case in found.cases] == ["CT", "CT_2"]
    assert found.notes == ["'two' is a result of a model: train on it only when corrected."]


def test_companions_come_from_the_study_of_the_volume(scene, tmp_path):
    from SegDLEngine.errors import InputError
    from SegDLLib.training.scene_cases import findCases

    first, second = addVolume("CT 1"), addVolume("CT 2")
    pets = [addVolume("PET 1 SUV"), addVolume("PET 2 SUV")]
    for volume in (first, second):
        addSegmentation(volume, f"tumour on {volume.GetName()}")
    with pytest.raises(InputError, match="several volumes could be PET: 'PET 1 SUV', 'PET 2 SUV'"):
        findCases(card(PET_CT))
    study(first, pets[0], patient="A")
    study(second, pets[1], patient="B")
    found = findCases(card(PET_CT))
    assert [case.inputs["PET"] for case in found.cases] == pets
    assert [case.patient for case in found.cases] == ["A", "B"]
    assert set(export(found, tmp_path, card(PET_CT))[1].inputs) == {"CT", "PET"}


def test_a_segmentation_drawn_on_pet_belongs_to_the_ct_beside_it(scene, tmp_path):
    from SegDLLib.training.scene_cases import findCases

    ct, pet = addVolume("CT"), addVolume("PET SUV")
    _, mask = addSegmentation(pet, "hot")
    case = findCases(card(PET_CT)).cases[0]
    assert case.inputs == {"CT": ct, "PET": pet}
    entry = export(findCases(card(PET_CT)), tmp_path, card(PET_CT))[0]
    from SegDLEngine.images.reading import read_labels

    assert np.array_equal(read_labels(entry.labels).array, mask)


def test_a_volume_that_goes_meanwhile_is_named(scene, tmp_path):
    import slicer
    from SegDLEngine.errors import InputError
    from SegDLLib.training.scene_cases import findCases

    volume = addVolume("CT")
    addSegmentation(volume, "tumour")
    found = findCases(card())
    slicer.mrmlScene.RemoveNode(volume)
    with pytest.raises(InputError, match="'CT' was removed"):
        export(found, tmp_path, card())


def test_the_id_in_the_list_never_replaces_another_model(slicer_app, tmp_path):
    from SegDLEngine.errors import InputError
    from SegDLEngine.models.card import ModelCard
    from SegDLEngine.models.catalogue import Model
    from SegDLLib.training.install_task import idInList

    def trained(weights, **changes):
        training = {"recipe": "tiny-recipe"}
        file = {"file": "weights.safetensors", "sha256": weights * 64}
        return ModelCard(tiny_card(weights=file, training=training, **changes))

    def listed(theCard):
        return {theCard.id: Model(theCard, tmp_path)}

    (tmp_path / "weights.safetensors").touch()
    new = trained("a")
    assert idInList(new, "My model 2", {}) == "tiny-tumor"
    assert idInList(new, "My model 2", listed(ModelCard(dict(CARD)))) == "tiny-tumor"
    others = listed(trained("b"))
    assert idInList(new, "My model 2", others) == "my-model-2"
    assert idInList(new, "My model 2", {**others, **listed(trained("c", id="my-model-2"))}) == "my-model-2"
    foreign = trained("d", id="my-model-2").data
    foreign["training"] = {"recipe": "another"}
    with pytest.raises(InputError, match="another model 'my-model-2'"):
        idInList(new, "My model 2", {**others, **listed(ModelCard(foreign))})
