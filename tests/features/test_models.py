"""Models by their names: what they return equals the same model called by hand, and faults are one sentence."""

import builtins
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from slidemill.core.files import file_digest
from slidemill.core.specs import FeatureSpec
from slidemill.errors import ModelError
from slidemill.features.models import Place, open_encoder
from tests.conftest import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("torchvision")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from PIL import Image  # noqa: E402

from slidemill.features import _onnx_model, _torch_model  # noqa: E402
from tests.features import tiny  # noqa: E402

PIXELS = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), np.uint8)
HERE = "tests.features.tiny"


def encoder(model, weights=None, device="cpu", patch_size=64, **settings):
    spec = FeatureSpec(model, None if weights is None else str(weights), **settings)
    return open_encoder("own", spec, Place(device, 2, patch_size))


def embed(own):
    return own.encode(own.prepare(PIXELS))


def by_hand(module, size, resample, pixels=PIXELS, mean=tiny.MEAN, std=tiny.STD):
    """What a model returns for pixels that Pillow has resized."""
    images = [Image.fromarray(one).resize((size, size), resample) for one in pixels]
    batch = (np.stack([np.asarray(one) for one in images]) / 255.0 - mean) / std
    with torch.inference_mode():
        return module.eval()(torch.from_numpy(batch.transpose(0, 3, 1, 2)).float()).numpy()


def test_timm_model_equals_one_called_by_hand(tmp_path):
    """Weights are loaded, the classifier is not used, and input size and normalization are the model's own."""
    import timm

    weights = tiny.save_timm(tmp_path / "w.pth")
    module = timm.create_model("resnet10t", num_classes=10)
    module.load_state_dict(torch.load(weights))
    module.reset_classifier(0)
    found = encoder("timm:resnet10t", weights)
    assert np.allclose(embed(found), by_hand(module, 176, Image.Resampling.BICUBIC), rtol=0.02, atol=0.02)
    assert found.transform.startswith("resized from 64 x 64 to 176 x 176 (bicubic); scaled to 0 to 1; mean 0.485,")
    assert found.weights == file_digest(weights)
    assert set(found.versions) == {"torch", "timm"}


def test_torchvision_model_equals_one_called_by_hand(tmp_path):
    from torchvision import models

    torch.manual_seed(0)
    module = models.resnet18()
    torch.save({"state_dict": module.state_dict()}, tmp_path / "w.pth")
    module.fc = torch.nn.Identity()
    found = encoder("torchvision:resnet18", tmp_path / "w.pth")
    rows = embed(found)
    assert rows.shape == (3, 512)
    assert np.allclose(rows, by_hand(module, 224, Image.Resampling.BILINEAR), rtol=0.02, atol=0.02)
    same_size = encoder("torchvision:resnet18", tmp_path / "w.pth", size=64)
    assert np.allclose(embed(same_size), by_hand(module, 64, Image.Resampling.BILINEAR), rtol=1e-4, atol=1e-4)
    assert "resized" not in same_size.transform


def test_settings_replace_what_model_says(tmp_path):
    weights = tiny.save_timm(tmp_path / "w.pth")
    found = encoder("timm:resnet10t", weights, size=96, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert found.transform == (
        "resized from 64 x 64 to 96 x 96 (bicubic); scaled to 0 to 1; mean 0.5, 0.5, 0.5; std 0.25, 0.25, 0.25"
    )


@pytest.mark.parametrize(("dtype", "stored"), [("float16", "float16"), ("bfloat16", "float32")])
def test_smaller_dtypes_are_close(tmp_path, dtype, stored):
    weights = tiny.save_timm(tmp_path / "w.pth")
    exact = embed(encoder("timm:resnet10t", weights, size=64))
    found = embed(encoder("timm:resnet10t", weights, size=64, dtype=dtype))
    assert found.dtype == stored
    assert np.linalg.norm(found - exact) < 0.03 * np.linalg.norm(exact)


def test_callable_without_transform_gets_raw_pixels():
    found = encoder(f"{HERE}:mean")
    assert np.allclose(embed(found), PIXELS.mean(axis=(1, 2)), rtol=1e-5)
    assert (found.weights, found.transform) == ("", "none: the module takes uint8")


def test_callable_takes_arguments_and_transforms_batches():
    rows = embed(encoder(f"{HERE}:whole", arguments={"scale": 2.0}))
    assert np.allclose(rows, 2 * PIXELS.mean(axis=(1, 2)), rtol=1e-5)


def test_transform_of_images_is_called_image_by_image():
    from torchvision import transforms

    found = encoder(f"{HERE}:by_image")
    _, transform = tiny.by_image()
    assert isinstance(transform, transforms.Compose)
    expected = torch.stack([transform(Image.fromarray(one)) for one in PIXELS]).mean(dim=(2, 3)).numpy()
    assert np.allclose(embed(found), expected, rtol=1e-5)
    assert found.transform.endswith("(image by image)")


@pytest.mark.parametrize("batch", ["b", 2])
def test_onnx_file_equals_its_matrix(tmp_path, batch):
    weights = tiny.save_onnx(tmp_path / "m.onnx", batch=batch)
    found = encoder(str(tmp_path / "m.onnx"), mean=(0.5, 0.5, 0.5))
    small = np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in PIXELS])
    pooled = (small / 255 - 0.5).reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(3, -1)
    assert np.allclose(embed(found), pooled @ weights, atol=1e-4)
    assert found.transform.startswith("resized from 64 x 64 to 32 x 32 (bicubic)")
    assert found.weights == file_digest(tmp_path / "m.onnx")


def test_torchscript_file_equals_its_module(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.trace(module, torch.zeros(1, 3, 64, 64)).save(tmp_path / "m.pt")
    found = encoder(str(tmp_path / "m.pt"))
    with torch.inference_mode():
        expected = module(torch.from_numpy(PIXELS.transpose(0, 3, 1, 2) / np.float32(255))).numpy()
    assert np.allclose(embed(found), expected, atol=1e-5)


def fault(*arguments, **settings):
    with pytest.raises(ModelError) as found:
        encoder(*arguments, **settings)
    return str(found.value)


def test_weights_that_do_not_fit_name_first_keys(tmp_path):
    weights = tiny.save_timm(tmp_path / "w.pth", "resnet14t")
    message = fault("timm:resnet10t", weights)
    assert message.startswith(f"features.own.weights is {weights}: it does not fit timm:resnet10t (")
    assert re.search(r"\d+ unexpected, such as layer\S+\.weight", message)
    assert message.endswith("): choose the model that it was saved from, or set arguments")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "the file does not exist"),
        (b"text", "it is not a file of weights"),
        ([1, 2], "it holds list, not a state dict"),
    ],
)
def test_files_that_are_no_weights_are_one_sentence(tmp_path, content, problem):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
    assert fault("timm:resnet10t", path).startswith(f"features.own.weights is {path}: {problem}")


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (f"{HERE}:maps", r"for 1 patch it returns an array of shape \(1, 2, 62, 62\), and features are \(1, D\)"),
        (f"{HERE}:broken", "it returns Mean: return a pair of a module and a transform"),
        (f"{HERE}:missing", "it cannot be made .*has no attribute 'missing'"),
        ("no_such_package.models:own", "the package no_such_package is not installed"),
        ("timm:no_such_model", "it cannot be made .*Unknown model"),
        ("torchvision:no_such_model", "it cannot be made .*Unknown model"),
        ("missing.pt", "the file does not exist"),
        ("missing.onnx", "the file does not exist"),
    ],
)
def test_models_that_do_not_fit_are_one_sentence(model, problem):
    message = fault(model)
    assert message.startswith(f"features.own.model is {model}: ")
    assert re.search(problem, message)
    assert "\n" not in message


def test_damaged_model_files_are_one_sentence(tmp_path):
    for name in ("m.pt", "m.onnx"):
        (tmp_path / name).write_bytes(b"text")
        assert fault(str(tmp_path / name)).startswith(f"features.own.model is {tmp_path / name}: ")


def test_onnx_with_two_outputs_is_refused(tmp_path):
    tiny.save_onnx(tmp_path / "m.onnx", outputs=2)
    assert "it has several outputs" in fault(str(tmp_path / "m.onnx"))


def test_device_that_does_not_exist_is_refused(tmp_path):
    weights = tiny.save_timm(tmp_path / "w.pth")
    assert fault("timm:resnet10t", weights, device="cuda:99").startswith("device is cuda:99: torch finds ")


def test_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name=name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "the package onnxruntime is not installed: install it (pip install '.[features]' in" in fault("m.onnx")


def test_nothing_is_downloaded_without_hub(tmp_path, monkeypatch):
    """No connection is made: a socket that is opened fails the test."""
    weights = tiny.save_timm(tmp_path / "w.pth")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was made"))
    encoder("timm:resnet10t", weights)


@pytest.mark.long
@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_idle_threads_of_torch_sleep(given, expected):
    """They do not spin next to the threads that read; a setting of the environment is kept."""
    code = (
        "from slidemill.core.specs import FeatureSpec; from slidemill.features.models import Place, open_encoder; "
        f"open_encoder('own', FeatureSpec('{HERE}:mean'), Place('cpu', 2, 64))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {
        "OMP_DISPLAY_ENV": "TRUE",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")]),
    } | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr


@pytest.mark.parametrize(
    ("model", "arguments", "problem"),
    [
        (
            "returned",
            {"kind": "nothing"},
            r"it returns an array of shape \(1, 0\), and features are \(1, D\)",
        ),
        ("returned", {"kind": "complex"}, r"it returns an array of complex numbers of shape \(1, 3\), and features"),
        ("returned", {"kind": "array"}, r"cannot take patches of 64 x 64 \(AttributeError: 'numpy.ndarray' object has"),
        ("returned", {"kind": "key"}, r"cannot take patches of 64 x 64 \(KeyError: 'x'\): correct its transform, or"),
        ("returned", {"kind": "division"}, r"cannot take patches of 64 x 64 \(ZeroDivisionError: integer division"),
        ("broken_transform", {}, r"cannot take patches of 64 x 64 \(KeyError: 'stain'\): correct its transform"),
        ("ragged_transform", {}, r"cannot take patches of 64 x 64 \(stack expects each tensor to be equal size"),
    ],
)
def test_whatever_a_custom_model_raises_is_one_sentence(model, arguments, problem):
    with pytest.raises(ModelError, match=rf"features.own.model is {HERE}:{model}: .*{problem}"):
        embed(encoder(f"{HERE}:{model}", arguments=arguments))


def test_hub_asks_timm_for_weights_of_the_name(tmp_path, monkeypatch):
    """Nothing is downloaded here: what timm is asked for is noted, and made without weights."""
    import timm

    made, asked = timm.create_model, []

    def create(name, pretrained=False, **named):
        asked.append((name, pretrained))
        return made(name, pretrained=False, **named)

    monkeypatch.setattr(timm, "create_model", create)
    found = encoder("timm:resnet10t", "hub")
    assert found.weights == "hub"
    encoder("timm:resnet10t", tiny.save_timm(tmp_path / "w.pth"))
    assert asked[0] == ("resnet10t", True)
    assert asked[-1] == ("resnet10t", False)


def test_hub_asks_torchvision_for_its_default_weights(monkeypatch):
    from torchvision import models

    made, asked = models.get_model, []

    def get(name, weights=None, **named):
        asked.append((name, weights))
        return made(name, **named)

    monkeypatch.setattr(models, "get_model", get)
    assert encoder("torchvision:resnet18", "hub").weights == "hub"
    assert asked == [("resnet18", models.ResNet18_Weights.DEFAULT)]


@pytest.mark.parametrize(
    ("count", "asked", "found"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (0, "cuda", "device is cuda: torch finds 0 CUDA devices on this machine: set auto or cpu"),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
        (2, "cuda:2", "device is cuda:2: torch finds 2 CUDA devices on this machine: set auto or cpu"),
    ],
)
def test_device_of_torch_is_one_that_exists(monkeypatch, count, asked, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if found.startswith("device"):
        with pytest.raises(ModelError, match=re.escape(found)):
            _torch_model._device(asked)
    else:
        assert _torch_model._device(asked) == torch.device(found)


class Runtime:
    """What onnxruntime has on a machine, with or without CUDA."""

    def __init__(self, has_cuda):
        self.has_cuda = has_cuda

    def get_available_providers(self):
        return ["CUDAExecutionProvider"] * self.has_cuda + ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("has_cuda", "device", "first"),
    [
        (True, "auto", "CUDAExecutionProvider"),
        (True, "cuda", "CUDAExecutionProvider"),
        (True, "cuda:1", ("CUDAExecutionProvider", {"device_id": 1})),
        (True, "cpu", "CPUExecutionProvider"),
        (False, "auto", "CPUExecutionProvider"),
    ],
)
def test_providers_of_onnx_follow_the_device(has_cuda, device, first):
    found = _onnx_model._providers(Runtime(has_cuda), Place(device))
    assert (found[0], found[-1]) == (first, "CPUExecutionProvider")


def test_cuda_without_cuda_in_onnxruntime_is_refused():
    with pytest.raises(ModelError, match=r"device is cuda:1: this onnxruntime has no CUDA: install onnxruntime-gpu"):
        _onnx_model._providers(Runtime(False), Place("cuda:1"))


def test_model_that_exceeds_device_memory_is_one_sentence():
    assert fault(f"{HERE}:too_large") == (
        f"features.own.model is {HERE}:too_large: the memory of cpu is not enough for it: end what else uses that "
        "device, or set another device"
    )
