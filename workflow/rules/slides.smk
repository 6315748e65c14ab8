# What a rule knows of its slide.


def prints(slide):
    """The fingerprints of a slide's file, annotation and mask: taken once, since Snakemake asks again before each job."""
    if slide not in PRINTS:
        file = SLIDES[slide]
        sampled, labelled = f"outcomes/sample_patches/{slide}.json", f"outcomes/write_metadata/{slide}.json"
        PRINTS[slide] = (
            planned_print(CONFIG.root, file.path, f"slides/{slide}.json", "fingerprint"),
            planned_print(CONFIG.annotations_root, file.annotation, labelled, "annotation_fingerprint"),
            planned_print(CONFIG.masks_root, file.tissue_mask, sampled, "mask_fingerprint"),
        )
    return PRINTS[slide]


# Functions cost a plan of thousands of slides its time: one for all that a rule knows of its slide.
def slide_file(wildcards):
    """A slide's path, the fingerprint of its content, and what a sheet says of its pixels."""
    slide = SLIDES[wildcards.slide]
    return {"path": slide.path, "fingerprint": prints(slide.slide)[0], "mpp": slide.mpp}


def slide_annotation(wildcards):
    """A slide's annotation and its fingerprint, or None, and the slide's further columns in the sheet."""
    slide = SLIDES[wildcards.slide]
    own = prints(slide.slide)[1]
    return {"annotation": slide.annotation, "fingerprint": own, "columns": dict(slide.columns)}


def slide_mask(wildcards):
    """A slide's own mask of tissue and its fingerprint, or None."""
    slide = SLIDES[wildcards.slide]
    return slide.tissue_mask and {"path": slide.tissue_mask, "fingerprint": prints(slide.slide)[2]}


def slide_unannotated(wildcards):
    """What becomes of a slide because it has no annotation, skip or fail; None for a slide that has one."""
    return None if SLIDES[wildcards.slide].annotation else CONFIG.unannotated


def label_choice(wildcards):
    """What decides which labels are sampled: the annotation, and how it is read."""
    known = slide_annotation(wildcards)
    # Which integers the names get, and in which order they were asked for, chooses no patch.
    names = {"map": dict.fromkeys(CONFIG.labels.map, 0), "only": sorted(CONFIG.labels.only)}
    return {
        "annotation": known["annotation"],
        "fingerprint": known["fingerprint"],
        "spec": asdict(CONFIG.labels) | names,
    }


# Where all labels are sampled, other annotations and other labels sample nothing again.
LABELLED = {"labels": label_choice} if CONFIG.labels.only else {}
