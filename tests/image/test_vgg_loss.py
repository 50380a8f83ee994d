import pytest
import torch
import torch.nn.functional as F

from headbench.harness.errors import BenchError, MissingAsset
from headbench.harness.image import VggFeatureLoss, load_network
from headbench.harness.image.convolution import convolve_relu


def plain_loss(a, b, weights, size):
    """The formula written out once more, image by image."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    total = torch.zeros(())
    both = (torch.stack([a, b]) - mean[:, None, None]) / std[:, None, None]
    x = F.interpolate(both, size=(size, size), mode="bilinear", align_corners=False) if size else both
    network = [0, 2, "score", "pool", 5, 7, "score", "pool", 10, 12, 14, "score", "pool", 17, 19, 21, "score"]
    for step in network:
        if step == "score":
            total = total + (x[0] - x[1]).abs().mean()
        elif step == "pool":
            x = F.max_pool2d(x, kernel_size=2, stride=2)
        else:
            x = torch.conv2d(x, weights[f"features.{step}.weight"], weights[f"features.{step}.bias"], padding=1).relu()
    return total


@pytest.mark.parametrize("size", [224, 48, None])
def test_formula_with_random_weights(pictures, tiny_vgg_weights, size):
    a, b = pictures[0].requires_grad_(), pictures[1]
    loss = VggFeatureLoss(tiny_vgg_weights, size=size)
    value = loss(a, b)
    expected = torch.stack([plain_loss(a[i], b[i], tiny_vgg_weights, size) for i in range(2)]).mean()
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, a)
    (expected_gradient,) = torch.autograd.grad(expected, a)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-8)


def test_the_target_has_no_graph_and_can_be_kept(pictures, tiny_vgg_weights):
    a, b = pictures[0].requires_grad_(), pictures[1].requires_grad_()
    loss = VggFeatureLoss(tiny_vgg_weights, size=None)
    loss(a, b).backward()
    assert b.grad is None and a.grad is not None
    with torch.no_grad():
        kept = loss.features(b)
    assert loss(a, kept) == loss(a, b)


def test_the_network_is_frozen_and_not_saved(tiny_vgg_weights):
    loss = VggFeatureLoss(tiny_vgg_weights)
    assert not list(loss.parameters()) and not loss.state_dict()
    assert not any(buffer.requires_grad for buffer in loss.buffers())


def test_images_may_leave_the_unit_range(pictures, tiny_vgg_weights):
    loss = VggFeatureLoss(tiny_vgg_weights, size=None)
    a = pictures[0] * 1.5
    assert loss(a, pictures[1]) != loss(a.clamp(0, 1), pictures[1])


@pytest.mark.parametrize("channels_last", [False, True])
def test_bfloat16_stays_near_float32_with_random_weights(pictures, tiny_vgg_weights, channels_last):
    a, b = pictures[0].requires_grad_(), pictures[1]
    exact = VggFeatureLoss(tiny_vgg_weights)(a, b)
    (exact_gradient,) = torch.autograd.grad(exact, a)
    loss = VggFeatureLoss(tiny_vgg_weights, dtype=torch.bfloat16, channels_last=channels_last)
    value = loss(a, b)
    (gradient,) = torch.autograd.grad(value, a)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-2)
    assert F.cosine_similarity(gradient.flatten(), exact_gradient.flatten(), dim=0) > 0.9


def test_networks_that_are_not_there_are_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    with pytest.raises(MissingAsset, match=r"(?s)lpips/vgg16 is not registered.*bench assets fetch lpips --yes"):
        load_network("vgg16")
    with pytest.raises(BenchError, match="Did you mean 'vgg16'"):
        load_network("vgg19")


def test_convolution_bias_and_relu_as_one_have_the_values_and_gradients_of_the_three() -> None:
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(2, 4, 7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((5, 4, 3, 3), (5,)))
    expected = torch.relu(torch.nn.functional.conv2d(image, weight, bias, padding=1))
    torch.testing.assert_close(convolve_relu(image, weight, bias), expected)
    assert torch.autograd.gradcheck(lambda i: convolve_relu(i, weight, bias), [image])
