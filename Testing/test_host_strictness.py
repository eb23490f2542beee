"""The host refuses what Slicer does not have: lists of facts, stand-ins and ``.ui`` files."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

HOST = Path(__file__).parent / "host"

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Toy</class>
 <widget class="qMRMLWidget" name="Toy">
  <layout class="QVBoxLayout" name="layout">
   <item><widget class="ctkSliderWidget" name="slider">
    <property name="{property}"><double>5.0</double></property></widget></item>
   <item><widget class="{widget}" name="other"/></item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header></customwidget>
  <customwidget><class>ctkSliderWidget</class><extends>QWidget</extends><header>x.h</header></customwidget>
  <customwidget><class>{declared}</class><extends>QWidget</extends><header>x.h</header></customwidget>
 </customwidgets>
 <resources/>
 <connections>
  <connection><sender>Toy</sender><signal>{signal}</signal><receiver>other</receiver><slot>{slot}</slot></connection>
 </connections>
</ui>
"""
GOOD = {
    "property": "maximum",
    "widget": "qMRMLNodeComboBox",
    "declared": "qMRMLNodeComboBox",
    "signal": "mrmlSceneChanged(vtkMRMLScene*)",
    "slot": "setMRMLScene(vtkMRMLScene*)",
}


def load(tmp_path, **changes):
    import slicer.util

    path = tmp_path / "Toy.ui"
    path.write_text(UI.format(**(GOOD | changes)), encoding="utf-8")
    return slicer.util.loadUI(str(path))


def test_facts_are_small_and_cut_again_they_are_the_same(tmp_path):
    assert sum(path.stat().st_size for path in (HOST / "facts").glob("*.json")) < 300_000
    full = HOST.parents[1].parent / "shared" / "slicer"
    if not (full / "pythonqt_api.json").is_file():
        pytest.skip("the full lists of Slicer's members are not beside the repository")
    command = [sys.executable, str(HOST / "cut_facts.py"), "--output", str(tmp_path)]
    command += [str(full / "pythonqt_api.json"), str(full / "widget_api.json")]
    subprocess.run(command, check=True, capture_output=True)
    cut = json.loads((tmp_path / "pythonqt.json").read_text(encoding="utf-8"))
    kept = json.loads((HOST / "facts" / "pythonqt.json").read_text(encoding="utf-8"))
    missing = {space: sorted(set(cut[space]) - set(kept[space])) for space in cut}
    assert missing == {"qt": [], "ctk": [], "slicer": []}, "run Testing/host/cut_facts.py"


def test_normalised_signatures():
    from host.strictness import normalised

    assert normalised("valueChanged( double  value )") == "valueChanged(double)"
    assert normalised("changed(const QString & text, vtkMRMLNode * node)") == "changed(QString,vtkMRMLNode*)"
    assert normalised("clicked()") == "clicked()"


def stand_in_classes():
    try:
        from host.widgets import REGISTRY
    except ImportError:
        return []
    import host.layout
    import host.main_window
    import host.panel
    import host.qt_application  # noqa: F401

    return sorted(REGISTRY.values(), key=lambda cls: cls.__name__)


def test_stand_ins_offer_nothing_that_slicer_does_not_have(slicer_app):
    from host.strictness import allowed, signals
    from host.widgets.base import SceneWidget

    for cls in stand_in_classes():
        defined = {
            name
            for base in cls.__mro__
            if base.__module__.startswith("host.") and base is not SceneWidget
            for name in base.__dict__
        }
        # What the host keeps to itself is written in lower case; module code cannot reach it anyway.
        offered = {name for name in defined if name[0].isalpha() and name != name.lower()} - {"EMITS"}
        assert offered - {"staticMetaObject"} <= allowed(cls), cls.__name__
        assert set(cls.EMITS) <= signals(cls.__name__), cls.__name__


def test_properties_of_stand_ins_are_properties_in_slicer(slicer_app):
    from host import metadata
    from host.strictness import allowed, property_types

    for cls in stand_in_classes():
        types = property_types(cls.__name__)
        for name, member in inspect.getmembers_static(cls, lambda item: isinstance(item, property)):
            if name in allowed(cls):
                in_qt = name in metadata.properties(cls)
                assert name in types or in_qt or cls.__name__ == "ctkDoubleSpinBox", (
                    cls.__name__,
                    name,
                    member,
                )


def test_a_listed_member_that_the_stand_in_lacks_says_so(slicer_app):
    import slicer
    from host.strictness import NotOnHost

    combo = slicer.qMRMLNodeComboBox()
    with pytest.raises(NotOnHost, match="addMenuAction"):
        combo.addMenuAction  # noqa: B018
    with pytest.raises(NotOnHost, match="nodeAboutToBeEdited"):
        combo.connect("nodeAboutToBeEdited(vtkMRMLNode*)", print)
    with pytest.raises(AttributeError):
        combo.addItem  # noqa: B018  (a member of the combo box inside, not of Slicer's widget)


def test_ctk_has_only_listed_classes(slicer_app):
    import ctk
    from host.strictness import NotOnHost

    assert ctk.ctkSliderWidget().value == 0.0
    with pytest.raises(AttributeError):
        ctk.ctkNoSuchWidget  # noqa: B018
    with pytest.raises((NotOnHost, AttributeError)):
        ctk.ctkMatrixWidget  # noqa: B018


def test_a_good_ui_file_loads_and_its_connection_works(scene, slicer_app, tmp_path):
    import slicer.util

    top = load(tmp_path)
    ui = slicer.util.childWidgetVariables(top)
    assert ui.slider.maximum == 5.0
    assert ui.other.enabled is False
    top.setMRMLScene(scene)
    assert ui.other.enabled is True
    assert ui.other.mrmlScene() is scene


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"widget": "qMRMLNoSuchWidget", "declared": "qMRMLNoSuchWidget"},
            "no widget class qMRMLNoSuchWidget",
        ),
        ({"property": "maximun"}, "ctkSliderWidget has no property maximun"),
        ({"declared": "ctkComboBox"}, "does not declare qMRMLNodeComboBox"),
        ({"signal": "sceneChanged(vtkMRMLScene*)"}, "no signal"),
        ({"slot": "setScene(vtkMRMLScene*)"}, "no slot"),
    ],
)
def test_a_wrong_ui_file_is_refused(slicer_app, tmp_path, changes, message):
    with pytest.raises(RuntimeError, match=message):
        load(tmp_path, **changes)


def test_a_ui_file_with_an_unknown_qt_property_is_refused(slicer_app, tmp_path):
    import slicer.util

    path = tmp_path / "Qt.ui"
    path.write_text(
        '<ui version="4.0"><class>A</class><widget class="QWidget" name="A">'
        '<widget class="QLabel" name="label">'
        '<property name="txet"><string>x</string></property></widget></widget></ui>',
        encoding="utf-8",
    )
    with pytest.raises(RuntimeError, match="QLabel has no property txet"):
        slicer.util.loadUI(str(path))


def test_the_application_object_has_only_slicers_members(slicer_app):
    import slicer

    assert slicer.app.applicationName == "Slicer"
    assert slicer.app.testingEnabled() is True
    assert slicer.app.commandOptions().noMainWindow is False
    with pytest.raises(AttributeError):
        slicer.app.host_setup  # noqa: B018
    with pytest.raises(AttributeError):
        slicer.app.temporaryFolder  # noqa: B018
    with pytest.raises(AttributeError):
        slicer.app.commandOptions().noSuchOption = True
