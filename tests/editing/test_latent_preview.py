import numpy as np
import torch

from groundingdino.editing.latent_preview import LatentPreview


def latents_of(pixels: np.ndarray) -> torch.Tensor:
    """As an autoencoder might: mixed colours of cells of 8 pixels, and a channel of something else."""
    height, width, _ = pixels.shape
    cells = torch.from_numpy(pixels).float().view(height // 8, 8, width // 8, 8, 3).mean(dim=(1, 3)) / 255
    mix = torch.tensor([[1.0, 0.5, 0.2], [-0.5, 1.0, 0.3], [0.1, -0.4, 1.0], [0.3, 0.3, -0.2]])
    return (cells @ mix.T - 0.3).permute(2, 0, 1)[None]


def picture(seed: int) -> np.ndarray:
    cells = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return cells.repeat(8, 0).repeat(8, 1)


def test_colours_of_other_latents_follow_from_one_picture():
    preview = LatentPreview(latents_of(picture(0)), picture(0))
    other = picture(1)
    shown = preview.show(latents_of(other))
    assert (shown.shape, shown.dtype) == ((12, 16, 3), np.uint8)
    assert np.abs(shown.astype(int) - other[::8, ::8]).max() <= 8


def test_latents_of_another_scale_are_shown_in_range():
    preview = LatentPreview(latents_of(picture(0)), picture(0))
    noise = torch.randn(1, 4, 12, 16, generator=torch.Generator().manual_seed(0))
    assert (preview.show(14 * noise) == preview.show(28 * noise)).mean() > 0.99
    assert 20 < preview.show(14 * noise).std() < 110


def test_a_picture_of_one_colour_is_shown_in_it():
    plain = np.full((96, 128, 3), (10, 100, 200), np.uint8)
    shown = LatentPreview(latents_of(plain), plain).show(latents_of(plain))
    assert np.abs(shown.astype(int) - (10, 100, 200)).max() <= 2


def test_numbers_that_overflowed_are_black():
    preview = LatentPreview(latents_of(picture(0)), picture(0))
    assert not preview.show(torch.full((1, 4, 12, 16), torch.nan)).any()
