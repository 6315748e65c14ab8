"""Small models and their files: weights from a seed, an ONNX file, a TorchScript file, callables."""

from pathlib import Path

import torch
from PIL import Image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def save_timm(path, name="resnet10t", classes=10, seed=0):
    """Write weights of a model of timm, its classifier included, and return the path."""
    import timm

    torch.manual_seed(seed)
    torch.save(timm.create_model(name, num_classes=classes).state_dict(), path)
    return path


def save_onnx(path, size=32, dim=5, batch="b", outputs=1):
    """Write a model that pools 4 x 4 pixels to means and multiplies by a matrix; return that matrix."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    side = size // 4 if isinstance(size, int) else 8
    weights = np.random.default_rng(0).normal(size=(3 * side * side, dim)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    wanted = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "flat")[:outputs]]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, size, size])],
        wanted,
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return weights


class Mean(torch.nn.Module):
    """The mean of each channel of raw pixels."""

    def forward(self, batch):
        return batch.to(torch.float32).mean(dim=(2, 3))


def mean():
    return Mean(), None


def whole(scale=1.0):
    """A transform of tensors, of a batch at once."""
    return Mean(), lambda batch: batch.float() * scale


def by_image():
    """A transform that takes images of Pillow only, as many published models have."""
    from torchvision import transforms

    steps = [transforms.Resize(16), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return Mean(), transforms.Compose(steps)


def maps():
    """Returns maps of features in place of rows."""
    return torch.nn.Conv2d(3, 2, 3), lambda batch: batch.float()


def broken():
    return Mean()


def nan():
    return (lambda batch: batch.to(torch.float32).mean(dim=(2, 3)) / 0 * 0), None


def nan_where_dark():
    """Returns NaN for patches that hold a dark pixel."""

    def forward(batch):
        rows = batch.to(torch.float32).mean(dim=(2, 3))
        rows[batch.amin(dim=(1, 2, 3)) < 60] = float("nan")
        return rows

    return forward, None


class _Returned(torch.nn.Module):
    """Returns what a function makes of the mean of each channel."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, batch):
        return self.function(batch.to(torch.float32).mean(dim=(2, 3)))


RETURNED = {
    "nothing": lambda rows: rows[:, :0],
    "complex": lambda rows: rows.to(torch.complex64),
    "array": lambda rows: rows.numpy(),
    "key": lambda rows: {}["x"],
    "division": lambda rows: 1 // 0,
}


def returned(kind):
    return _Returned(RETURNED[kind]), None


def broken_transform():
    """A transform that raises for images, too."""

    def transform(image):
        raise KeyError("stain")

    return Mean(), transform


def ragged_transform():
    """A transform whose images differ in size."""

    def transform(image):
        if not isinstance(image, Image.Image):
            raise TypeError("no image")
        return torch.zeros(3, 8 + image.getpixel((0, 0))[0], 8)

    return Mean(), transform


FOUND = []


def own_bytes():
    """This process's memory now, without that of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def measured():
    """Notes the memory of the process at each batch."""

    def forward(batch):
        FOUND.append(own_bytes())
        return batch[:, :, 0, 0].to(torch.float32)

    return forward, None


def out_of_memory():
    """Raises as CUDA does where a batch is too large; one patch is not."""

    def forward(batch):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return batch[:, :, 0, 0].to(torch.float32)

    return forward, None


def too_large():
    """A model that does not fit on its device."""

    class Large(Mean):
        def to(self, *_given, **_named):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90 GiB")

    return Large(), None
