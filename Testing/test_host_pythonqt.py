"""PythonQt's calling conventions: every row of what was observed in a running Slicer."""

from __future__ import annotations

import functools
import shutil
import sys
import threading

import pytest

pytestmark = pytest.mark.host


@pytest.fixture
def qt(slicer_app):
    import qt

    return qt


def echo(qt, *arguments):
    """A QProcess that has run Python with the arguments."""
    process = qt.QProcess()
    process.start(sys.executable, list(arguments))
    assert process.waitForFinished(20000)
    return process


# connections


def test_connecting_an_unknown_signal_prints_and_returns_false(qt, capsys):
    import host

    button = qt.QPushButton("Go")
    assert button.connect("nosuch()", print) is False
    assert "nosuch()" in capsys.readouterr().out
    assert ["nosuch()" in line for line in host.warnings()] == [True]


def test_a_slot_gets_as_many_arguments_as_it_takes(qt):
    button = qt.QPushButton("Go")
    button.checkable = True
    seen = []

    def none():
        seen.append("none")

    def one(checked):
        seen.append(checked)

    def optional(checked, more="default"):
        seen.append((checked, more))

    def everything(*arguments):
        seen.append(arguments)

    for slot in (none, one, optional, everything):
        assert button.connect("clicked(bool)", slot) is True
    button.click()
    assert seen == ["none", True, (True, "default"), (True,)]


def test_a_slot_that_is_no_function_gets_every_argument(qt):
    button = qt.QPushButton("Go")
    seen = []
    button.connect("clicked(bool)", functools.partial(lambda *arguments: seen.append(arguments), "bound"))
    button.click()
    assert seen == [("bound", False)]


def test_a_bound_method_is_kept_alive_by_its_connection(qt):
    seen = []

    class Receiver:
        def receive(self, checked):
            seen.append(checked)

    button = qt.QPushButton("Go")
    button.connect("clicked(bool)", Receiver().receive)
    button.click()
    assert seen == [False]


def test_signals_are_attributes_too(qt):
    button = qt.QPushButton("Go")
    seen = []

    def slot():
        seen.append("clicked")

    button.clicked.connect(slot)
    button.click()
    button.clicked.disconnect(slot)
    button.click()
    assert seen == ["clicked"]


def test_disconnect(qt):
    button = qt.QPushButton("Go")
    seen = []

    def slot():
        seen.append("clicked")

    button.connect("clicked()", slot)
    assert button.disconnect("clicked()", slot) is True
    assert button.disconnect("clicked()", slot) is False
    button.click()
    assert seen == []


def test_an_exception_in_a_slot_is_recorded_and_stops_nothing(qt, capsys):
    import host

    button, seen = qt.QPushButton("Go"), []

    def broken():
        raise ValueError("out of range")

    def intact():
        seen.append("clicked")

    button.connect("clicked()", broken)
    button.connect("clicked()", intact)
    button.click()
    assert seen == ["clicked"]
    assert "Traceback" in capsys.readouterr().err
    assert any("broken raised ValueError: out of range" in line for line in host.warnings())


def test_connecting_something_that_cannot_be_called_raises(qt):
    with pytest.raises(TypeError, match="not callable"):
        qt.QPushButton("Go").connect("clicked()", "slot")


# properties and attributes


def test_properties_are_attributes_with_setters(qt):
    button = qt.QPushButton("Go")
    assert button.text == "Go"
    with pytest.raises(TypeError):
        button.text()
    button.setText("Run")
    assert button.text == "Run"
    button.text = "Stop"
    assert button.text == "Stop"
    button.enabled = False
    assert button.enabled is False
    assert button.objectName == button.name == ""


def test_new_attributes_and_typos_are_refused(qt):
    label = qt.QLabel("x")
    with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
        label.texxt = "y"
    with pytest.raises(AttributeError):
        label.texxt  # noqa: B018
    with pytest.raises(AttributeError, match="cannot be overwritten"):
        label.setText = None
    with pytest.raises(AttributeError, match="not writable"):
        label.width = 7


def test_a_property_refuses_a_value_of_a_wrong_type(qt):
    bar = qt.QProgressBar()
    with pytest.raises(AttributeError, match="does not accept str"):
        bar.value = "abc"
    bar.value = 3.9
    assert bar.value == 3  # truncated, as PythonQt converts


def test_a_python_subclass_may_have_attributes_and_override_methods(qt):
    class Counter(qt.QLabel):
        def __init__(self, parent=None):
            qt.QLabel.__init__(self, parent)
            self.count = 0

        def event(self, event):
            self.count += 1
            return qt.QLabel.event(self, event)

    counter = Counter()
    counter.setText("x")
    counter.show()
    counter.close()
    assert counter.text == "x"
    assert counter.count > 0
    assert isinstance(counter, qt.QWidget)
    assert issubclass(Counter, qt.QFrame)


def test_members_that_slicer_does_not_list_do_not_exist(qt):
    # setPlaceholderText came to QTextEdit long ago, QFormLayout.setRowVisible only with Qt 6.4.
    assert callable(qt.QTextEdit().setPlaceholderText)
    with pytest.raises(AttributeError):
        qt.QFormLayout().setRowVisible  # noqa: B018
    with pytest.raises(AttributeError):
        qt.QPermission  # noqa: B018
    with pytest.raises(AttributeError):
        qt.Signal  # noqa: B018


def test_classes_and_members_that_only_qt5_has_are_named(qt):
    from host.strictness import NotOnHost

    with pytest.raises(NotOnHost):
        qt.QVBoxLayout().setMargin  # noqa: B018


def test_keyword_arguments_are_refused(qt):
    with pytest.raises(TypeError, match="no keyword arguments"):
        qt.QLabel(text="x")
    with pytest.raises(TypeError, match="no keyword arguments"):
        qt.QLabel("x").setText(text="y")


# enumerations


def test_enumerations_are_integers(qt):
    both = qt.Qt.AlignLeft | qt.Qt.AlignTop
    assert (both, str(both), f"{both}") == (33, "33", "33")
    assert str(qt.QProcess().state()) == "0"
    assert qt.QProcess.NotRunning == 0
    assert qt.QMessageBox.Ok == 1024


def test_integers_go_back_into_qt_as_enumerations(qt):
    label = qt.QLabel("x")
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignBottom
    assert label.alignment == qt.Qt.AlignRight | qt.Qt.AlignBottom
    label.setAlignment(qt.Qt.AlignLeft | qt.Qt.AlignTop)
    assert label.alignment & qt.Qt.AlignLeft
    item = qt.QTableWidgetItem("x")
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    assert not item.flags() & qt.Qt.ItemIsEditable
    assert item.flags() & qt.Qt.ItemIsEnabled


# processes and timers


def test_a_process_runs_and_gives_bytes(qt):
    process = qt.QProcess()
    assert process.start(sys.executable, ["-c", "print('out', end='')"]) is None
    assert process.waitForFinished(20000) is True
    output = process.readAllStandardOutput()
    assert output.data() == b"out"
    assert (process.exitCode(), process.exitStatus(), str(process.exitStatus())) == (0, 0, "0")


def test_finished_and_error_signals_carry_integers(qt):
    from host import wait_for

    seen = []
    process = qt.QProcess()
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: seen.append((code, status)))
    process.start(sys.executable, ["-c", "raise SystemExit(3)"])
    wait_for(lambda: seen, 20, "the end of the process")
    assert str(seen) == "[(3, 0)]"

    errors = []
    missing = qt.QProcess()
    missing.connect("errorOccurred(QProcess::ProcessError)", lambda error: errors.append(error))
    missing.start("/nowhere/program", [])
    wait_for(lambda: errors, 20, "the error")
    assert str(errors) == "[0]"


def test_write_takes_bytes_and_returns_their_number(qt):
    process = qt.QProcess()
    assert process.write(b"abc") == -1
    process.start(sys.executable, ["-c", "print(input())"])
    assert process.write(b"abc\n") == 4
    assert process.waitForFinished(20000)
    assert process.readAllStandardOutput().data() == b"abc\n"


def test_single_shot_timers(qt):
    from host import wait_for

    seen = []
    qt.QTimer.singleShot(0, lambda: seen.append("static"))
    timer = qt.QTimer()
    assert callable(timer.singleShot)
    with pytest.raises(AttributeError):
        timer.singleShot = True
    timer.setSingleShot(True)
    timer.connect("timeout()", lambda: seen.append("instance"))
    timer.start(1)
    wait_for(lambda: len(seen) == 2, 5)
    assert sorted(seen) == ["instance", "static"]
    assert not timer.isActive()


def test_combo_boxes_keep_python_objects(qt):
    combo = qt.QComboBox()
    combo.addItem("a", {"k": 1})
    combo.addItem("b", None)
    assert combo.itemData(0) == {"k": 1}
    assert combo.currentData == {"k": 1}
    assert (combo.count, combo.currentText) == (2, "a")
    combo.currentIndex = 1
    assert combo.currentData is None


# threads, settings, launcher


def test_qt_objects_are_refused_off_the_main_thread(qt):
    label, errors = qt.QLabel("x"), []

    def work():
        for action in (lambda: label.text, lambda: label.setText("y"), lambda: qt.QTimer()):
            try:
                action()
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 3
    assert all("main thread" in error for error in errors)
    assert label.text == "x"


def test_settings_value_of_slicer_util(qt):
    import slicer.util

    key = "HostTest/number"
    assert slicer.util.settingsValue(key, 5, converter=int) == 5
    qt.QSettings().setValue(key, 7)
    assert slicer.util.settingsValue(key, 5, converter=int) == 7
    qt.QSettings().remove(key)


def test_error_display_and_try_with_error_display_do_not_block(qt, caplog):
    import slicer.util

    slicer.util.errorDisplay("something broke")
    assert "something broke" in caplog.text
    with pytest.raises(ValueError, match="inner"), slicer.util.tryWithErrorDisplay("outer", waitCursor=True):
        raise ValueError("inner")
    assert qt.QApplication.overrideCursor() is None


def test_startup_environment_reaches_a_process(qt):
    import slicer

    environment = slicer.app.startupEnvironment()
    environment.insert("HOST_TEST", "value")
    process = qt.QProcess()
    process.setProcessEnvironment(environment)
    process.start(shutil.which("PythonSlicer"), ["-c", "import os; print(os.environ['HOST_TEST'], end='')"])
    assert process.waitForFinished(20000)
    assert process.readAllStandardOutput().data() == b"value"


def test_many_calls_do_not_use_up_none_and_true(qt):
    """PySide6 6.12 does not count references to them, which Python before 3.12 needs (host.singletons)."""
    label = qt.QLabel("x")
    before = [sys.getrefcount(item) for item in (None, True)]
    for _ in range(1000):
        label.setText("y")
    after = [sys.getrefcount(item) for item in (None, True)]
    lost = max(old - new for old, new in zip(before, after, strict=True))
    assert lost < 100 or min(after) > 10_000_000


def test_launch_console_process_of_slicer_util(qt):
    import slicer.util

    process = slicer.util.launchConsoleProcess(
        [shutil.which("PythonSlicer"), "-c", "print('from a process')"]
    )
    lines = []
    slicer.util.logProcessOutput(process, logCallback=lines.append)
    assert "".join(lines).strip() == "from a process"
