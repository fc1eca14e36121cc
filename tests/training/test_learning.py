import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from regstudio.losses import NCC, Grad
from regstudio.networks.corrmlp import CorrMLP

SIZE = 64


@pytest.mark.slow
def test_a_known_smooth_deformation_is_recovered_to_under_one_pixel() -> None:
    """The fixed image is the moving one, warped by a known flow of up to 6 pixels; training on the two finds it."""
    random = np.random.default_rng(0)
    texture = sum(gaussian_filter(random.standard_normal((SIZE, SIZE)), sigma) * sigma for sigma in (1.5, 3, 6))
    moving = (texture - texture.min()) / (texture.max() - texture.min())
    noise = np.stack([gaussian_filter(random.standard_normal((SIZE, SIZE)), 10) for _ in range(2)])
    true_flow = 6 * noise / np.abs(noise).max()
    fixed = map_coordinates(moving, np.mgrid[:SIZE, :SIZE] + true_flow, order=1, mode="nearest")

    torch.manual_seed(0)
    model, ncc, grad = CorrMLP(), NCC(), Grad()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    images = [torch.from_numpy(image).float()[None, None] for image in (fixed, moving)]
    for _ in range(50):
        warped, flow = model(*images)
        loss = ncc(images[0], warped) + 0.1 * grad(flow)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    inside = (slice(6, -6), slice(6, -6))  # what left the image at the border cannot be seen
    error = np.hypot(*(flow[0].detach().numpy() - true_flow))[inside]
    assert np.hypot(*true_flow)[inside].mean() > 1.5
    assert error.mean() < 0.3
    assert np.quantile(error, 0.95) < 0.6
