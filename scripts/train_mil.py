"""Train an attention MIL head, patients held out: python scripts/train_mil.py RESULTS."""

import sys
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit("train_mil.py needs PyTorch: pip install torch")
from torch import nn
from torch.utils.data import DataLoader

from slidemill import check_leakage, open_dataset, read_splits
from slidemill.bags.bags import Bags
from slidemill.torch import BagDataset, collate_bags

EPOCHS = 40


class AttentionHead(nn.Module):  # type: ignore[misc]
    """Gated attention over the patches of a bag (Ilse et al., 2018)."""

    def __init__(self, dim: int, classes: int, hidden: int = 32) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.ReLU())
        self.value, self.gate, self.score = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.last = nn.Linear(hidden, classes)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores, ``(bags, classes)``, and the attention to each patch, ``(bags, longest)``."""
        hidden = self.first(features.float())
        scores = self.score(torch.tanh(self.value(hidden)) * torch.sigmoid(self.gate(hidden))).squeeze(-1)
        attention = scores.masked_fill(~mask, -torch.inf).softmax(dim=1)
        return self.last((attention.unsqueeze(-1) * hidden).sum(1)), attention


def train(bags: Bags, classes: int, seed: int = 1) -> AttentionHead:
    """Train a head on bags, and print every tenth epoch."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # layers are so small that threads wait for each other
    model = AttentionHead(bags[0].features.shape[1], classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loader = DataLoader(BagDataset(bags), batch_size=4, shuffle=True, collate_fn=collate_bags)
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch.features, batch.mask)[0], batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch.ids)
        if epoch % 10 == 0:
            print(f"epoch {epoch} of {EPOCHS}: loss {total / len(bags):.3f}", flush=True)
    return model


def main(results: Path) -> float:
    """Train on all folds but the first, and return the accuracy on that one."""
    with open_dataset(results) as ds:
        others, held_out = read_splits(results / "splits.csv", ds).fold(0)
        check_leakage(others, held_out)
        bags, test = (part.bags("colours", target="diagnosis") for part in (others, held_out))
        print(f"training on {', '.join(bags.ids)}: {' or '.join(ds.targets('diagnosis').classes)}", flush=True)
        model, right = train(bags, len(ds.targets("diagnosis").classes)).eval(), 0
        for batch in DataLoader(BagDataset(test), batch_size=4, collate_fn=collate_bags):
            with torch.no_grad():
                right += int((model(batch.features, batch.mask)[0].argmax(1) == batch.targets).sum())
    print(f"{right} of {len(test)} slides of held-out patients are right: {', '.join(test.ids)}")
    return right / len(test)


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
