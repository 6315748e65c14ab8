"""The example that trains a network on the demo's labels."""

import re

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


@pytest.mark.long
def test_a_small_network_learns_the_demos_labels(demo_results, capsys):
    """At least 98 % of the patches of a slide that it has not seen, with a line for each epoch."""
    import train_demo

    assert train_demo.main(demo_results) >= 0.98
    said = capsys.readouterr().out
    assert re.findall(r"^epoch +(\d+) of 25: loss \d\.\d{3}, ", said, re.MULTILINE) == [str(n + 1) for n in range(25)]
