"""What a name may have been meant to be."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidemill.core.text import MOST_SUGGESTED, did_you_mean, suggest
from tests.examples import examples

KNOWN = ["Normal", "Benign", "Carcinoma in situ", "Carcinoma invasive", "Tumor", "Préparation", "Grade 3"]

NEAR = {
    "letter case": ("NORMAL", ["Normal"]),
    "plural": ("Tumors", ["Tumor"]),
    "another spelling": ("Tumour", ["Tumor"]),
    "a slip": ("Bengin", ["Benign"]),
    "separators": ("carcinoma_in-situ", ["Carcinoma in situ"]),
    "Unicode form": (unicodedata.normalize("NFD", "Préparation"), ["Préparation"]),
    "accents": ("preparation", ["Préparation"]),
    "its first word": ("Carcinoma", ["Carcinoma in situ", "Carcinoma invasive"]),
    "a word more": ("Normal gland", ["Normal"]),
    "leading zeros": ("Grades 03", ["Grade 3"]),
    "another number": ("Grade 4", []),
    "nothing like it": ("Fold", []),
    "no letters": ("--", []),
}


@pytest.mark.parametrize(("name", "near"), NEAR.values(), ids=NEAR)
def test_suggest_finds_near_names(name, near):
    assert suggest(name, KNOWN) == near


def test_suggest_finds_short_barcodes():
    slides = ["TCGA-A1-A0SB-01Z-00-DX1.B34C267B-CAFE", "TCGA-A1-A0SD-01Z-00-DX1.DB17BFA9-BEEF", "other"]
    assert suggest("TCGA-A1-A0SB", slides) == slides[:1]
    assert suggest("case-1_annotations", ["case-1", "case-10"]) == ["case-1"]


def test_did_you_mean_is_a_question_or_nothing():
    assert did_you_mean("normal", KNOWN) == " (did you mean Normal?)"
    assert did_you_mean("Carcinoma", KNOWN) == " (did you mean Carcinoma in situ or Carcinoma invasive?)"
    assert did_you_mean("Fold", KNOWN) == ""


@given(st.text(), st.lists(st.text()))
@examples(300, derandomize=True)
def test_suggest_returns_known_names_only(name, known):
    near = suggest(name, known)
    assert len(near) <= MOST_SUGGESTED
    assert set(near) <= set(known) - {name}


@given(st.text(min_size=1, alphabet=st.characters(categories=["Ll", "Lu"])))
@examples(300, derandomize=True)
def test_suggest_ignores_letter_case(name):
    other = name.casefold()
    assert suggest(name, [other]) == ([other] if other != name else [])


def test_question_quotes_what_would_not_be_seen():
    assert did_you_mean("carcinoma in situ", ["Carcinoma  in situ"]) == " (did you mean 'Carcinoma  in situ'?)"
    assert did_you_mean("tumor", ["Tumor\u200b"]) == " (did you mean 'Tumor\\u200b'?)"
