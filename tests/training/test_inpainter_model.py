"""The embedded inpainter's parts: what they know before training, and that diffusers loads what is saved."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from groundingdino.artwork.names import load_names
from groundingdino.training.inpainter_model import (
    SKETCH,
    WORDS,
    HoleConv,
    build_autoencoder,
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    save_pipeline,
)


def test_a_fresh_autoencoder_passes_colours():
    torch.manual_seed(0)
    autoencoder = build_autoencoder()
    colours = torch.tensor([[-0.8, 0.1, 0.9], [0.7, -0.6, -0.2]])[..., None, None].expand(2, 3, 32, 32)
    with torch.no_grad():
        latents = autoencoder.encode(colours).latent_dist.mean
        restored = autoencoder.decode(latents).sample
    assert latents.shape == (2, 4, 8, 8)
    torch.testing.assert_close(restored[..., 8:24, 8:24], colours[..., 8:24, 8:24], atol=0.4, rtol=0)


def test_names_leave_room_for_the_sketch():
    tokenizer = build_tokenizer()
    assert max(len(tokenizer(f"a {name.name}")["input_ids"]) for name in load_names()) <= WORDS
    assert tokenizer.model_max_length == WORDS + SKETCH**2


def test_the_last_noise_level_hides_everything():
    scheduler = build_scheduler()
    latents, noise = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 2.0)
    last = torch.tensor([scheduler.config["num_train_timesteps"] - 1])
    torch.testing.assert_close(scheduler.add_noise(latents, noise, last), noise)
    torch.testing.assert_close(scheduler.get_velocity(latents, noise, last), -latents)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps[0] == last


def test_a_wide_convolution_counts_the_hole_on_each_side():
    torch.manual_seed(0)
    hole = HoleConv(build_unet().conv_in)
    x = torch.randn(2, 9, 24, 24)
    x[:, 4] = 0
    x[0, 4, 5:20, 3:21] = x[1, 4, 8:9, :] = 1
    with torch.no_grad():
        torch.testing.assert_close(hole(x), hole.widened()(x), atol=1e-5, rtol=0)
        hole.near.weight.zero_()
        hole.where.weight.zero_()
        hole.where.weight[0, 0] = 10.0  # what the counts are divided by
        counts = hole(x)[0, 0] - hole.near.bias[0]
    assert counts[10, 3] == pytest.approx(0, abs=1e-5)
    assert counts[10, 20] == pytest.approx(17, abs=1e-4)
    assert counts[2].abs().max() < 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("inpainter")
    tokenizer, unet = build_tokenizer(), build_unet()
    unet.conv_in = HoleConv(unet.conv_in)
    save_pipeline(build_autoencoder(), tokenizer, build_text_encoder(tokenizer), unet, folder)
    return folder


def test_the_whole_pipeline_is_small(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 24e6


@pytest.mark.parametrize("options", [{}, {"dtype": torch.float32}])
def test_diffusers_loads_and_paints(folder, options):
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None, **options)
    pipeline.set_progress_bar_config(disable=True)
    assert {part.dtype for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder)} == {torch.float32}
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == 96

    def paint(prompt: str, seed: int) -> np.ndarray:
        mask = np.zeros((96, 96), np.uint8)
        mask[16:80, 16:80] = 255
        result = pipeline(
            prompt,
            image=Image.new("RGB", (96, 96), "teal"),
            mask_image=Image.fromarray(mask),
            height=96,
            width=96,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(seed),
        )
        return np.asarray(result.images[0])

    first = paint("a cat", 1)
    assert first.shape == (96, 96, 3)
    assert np.array_equal(first, paint("a cat", 1))
    assert not np.array_equal(first, paint("a cat", 2))
    assert not np.array_equal(first, paint("a dog", 1))
