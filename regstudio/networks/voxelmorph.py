"""VoxelMorph in two dimensions: the U-Net to compare with."""

import torch
from torch import Tensor

from regstudio.networks.base import RegistrationNetwork, Transform, start_from_zero


class VoxelMorph(RegistrationNetwork):
    """Predict the field with VoxelMorph's U-Net, in MONAI's implementation with its default widths.

    Source: Balakrishnan et al., "VoxelMorph: A Learning Framework for Deformable Medical Image Registration", TMI 2019.
    """

    multiple = 8  # three poolings

    def __init__(self, *, transform: Transform = "displacement") -> None:
        from monai.networks.nets.voxelmorph import VoxelMorphUNet  # slow to import; only this network needs it

        super().__init__(transform)
        self.unet = VoxelMorphUNet(
            spatial_dims=2,
            in_channels=2,
            unet_out_channels=32,
            channels=(16, 32, 32, 32, 32, 32),
            final_conv_channels=(16, 16),
        )
        start_from_zero(self.unet.net.get_submodule("1.final_conv_out.conv"))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs

    def compute_field(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the U-Net's output for the two images as channels."""
        pair = torch.cat((fixed.expand_as(moving), moving), dim=1)
        field: Tensor = self.unet(pair.contiguous(memory_format=torch.channels_last))
        return field
