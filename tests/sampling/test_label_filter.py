"""The step that keeps patches of some labels: it decides as the table of metadata tells."""

import pytest

from slidemill.annotations.read import read_annotation
from slidemill.annotations.regions import Annotation
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import LabelSpec
from slidemill.errors import AnnotationError, SlidemillError
from slidemill.sampling.label_filter import REASON, LabelChoice, LabelStep, label_step
from slidemill.slides.fingerprint import fingerprint
from slidemill.testing import write_annotation
from tests.conftest import AREAS
from tests.labels import label_rows

INFO = SlideInfo("aperio", ((1030, 777),), (1.0,), None, 0.5, 0.5, 20, "ffffff")
ROWS = [{"x0": x, "y0": y, "width0": 100, "height0": 100} for y in range(0, 700, 100) for x in range(0, 1000, 100)]
MAP = {"Normal": 0, "Benign": 1, "Carcinoma invasive": 3}


@pytest.mark.parametrize("rule", ["centre", "top_left", "area"])
@pytest.mark.parametrize("only", [["Benign"], ["Carcinoma invasive", "Normal"], list(MAP)])
def test_what_is_kept_is_what_the_table_tells_to_be_of_these_labels(tmp_path, rule, only):
    write_annotation(tmp_path / "a.xml", AREAS)
    spec = LabelSpec(MAP, rule, "Normal", only=only)
    reasons = label_step(LabelChoice(tmp_path, "a.xml", None, spec), INFO)(ROWS)
    told = label_rows(ROWS, read_annotation(tmp_path / "a.xml"), spec, {})
    assert list(reasons) == ["" if row["label_name"] in only else REASON for row in told]
    assert {row["label_name"] for row in told} == set(MAP)


def test_a_slide_without_an_annotation_is_all_outside(tmp_path):
    for only, reason in ((["Benign"], REASON), (["Normal"], "")):
        choice = LabelChoice(tmp_path, None, None, LabelSpec(MAP, "centre", "Normal", only=only))
        assert set(label_step(choice, INFO)(ROWS)) == {reason}
    assert label_rows(ROWS[:1], Annotation(()), choice.spec, {})[0]["label_name"] == "Normal"


def test_changed_annotation_is_named_when_reading_it_fails(tmp_path):
    """A label image is read on demand, when another may have taken its place."""
    (tmp_path / "a.png").write_bytes(b"one")

    def decide(rows):
        raise AnnotationError("a.png: cannot be read")

    def step(printed):
        return LabelStep(LabelChoice(tmp_path, "a.png", printed, LabelSpec(MAP, "centre", "Normal")), decide, None)

    with pytest.raises(AnnotationError, match="cannot be read"):
        step(fingerprint(tmp_path / "a.png"))(ROWS)
    with pytest.raises(SlidemillError, match=r"^a\.png: the annotation is not what it was"):
        step("of another state")(ROWS)
