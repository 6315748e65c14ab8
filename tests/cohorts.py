"""Results of a few slides as a run leaves them for training: the tables, the facts and one kind of stores."""

from slidemill.core.columns import METADATA_COLUMNS, SLIDE_COLUMNS, STORE_COLUMNS
from slidemill.core.csv_tables import write_table
from slidemill.core.encodings import encode_patch
from slidemill.core.outcomes import Outcome, write_outcome
from slidemill.core.parquet import write_parquet
from slidemill.core.results_layout import store_path
from slidemill.core.specs import StoreSpec
from slidemill.core.stage_facts import SlideFacts
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.patch_table import patch_rows
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages.store import new_manifest
from slidemill.stores.registry import STORES
from slidemill.stores.writer import write_store

NAMES = ("Normal", "Benign", "Carcinoma")


def label_of(patch):
    """The label of a test's patch: three, of which the last is rare."""
    return 2 if (patch.row, patch.column) in {(1, 1), (2, 2)} else patch.column % 2


def write_cohort(results, slides, spec, backend="lmdb", encoding="raw", alter=None, info=None, kept=lambda patch: True):
    """Write the results of slides, by id the file of each.

    `alter` takes the pixels of a slide's patches to those that are stored, `info` a slide's facts to those that count,
    and `kept` says which patches of the grid there are.
    """
    rows, table = [], []
    for slide, file in slides.items():
        printed = fingerprint(file)
        with open_slide(file) as opened_slide:
            facts = slide_info(opened_slide)
            facts = info(facts) if info else facts
            patches = [patch for patch in Grid(facts.pyramid, spec).patches() if kept(patch)]
            reader = PatchReader(opened_slide, facts, spec)
            pixels = [reader.read(patch) for patch in patches]
        kind = STORES[backend]
        manifest = new_manifest(kind, StoreSpec(encoding), slide, fingerprint=printed, grid=spec)
        pixels = alter(pixels) if alter else pixels
        stored = ((patch, encode_patch(manifest.codec, None, one)) for patch, one in zip(patches, pixels, strict=True))
        write_store(kind, results / store_path(backend, slide), manifest, patches=patches, stored=stored)
        outcome = Outcome(slide, "discover_slides", path=file.name, fingerprint=printed, facts=SlideFacts(info=facts))
        write_outcome(results / f"slides/{slide}.json", outcome)
        rows.append(
            {"slide": slide, "path": file.name, "status": "ok", "patches": len(patches), "fingerprint": printed}
        )
        ids = {patch.patch_id: patch for patch in patches}
        for row in patch_rows(slide, facts, spec):
            if row["patch_id"] in ids:
                label = label_of(ids[row["patch_id"]])
                told = {"label": label, "label_name": NAMES[label], "tissue_fraction": 0.75}
                table.append({**row, **told})
    write_table(results / "slides.csv", SLIDE_COLUMNS, rows)
    write_table(results / "stores.csv", STORE_COLUMNS, [{"slide": slide, "backend": backend} for slide in slides])
    write_table(results / "metadata.csv", METADATA_COLUMNS, table)
    write_parquet(results / "metadata.parquet", results / "metadata.csv")
    return results
