"""Labels of whole lists of patches."""

from slidemill.sampling.labelled_table import Labelling, label_blocks


def label_rows(rows, annotation, spec, columns):
    return list(label_blocks(rows, Labelling(annotation, spec, columns)))
