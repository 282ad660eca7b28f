import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

from groundingdino.editing.pipeline_kinds import encoded, leading, steps_of, unpacked


@pytest.mark.parametrize(
    ("name", "guidance", "negative", "expected"),
    [
        ("flux-fill", 30, "", {"guidance_scale": 30}),
        ("flux-fill", 1, "", {"guidance_scale": 1}),
        ("qwen-image-edit", 4, "", {"true_cfg_scale": 4, "negative_prompt": " "}),
        ("qwen-image-edit", 4, "cat", {"true_cfg_scale": 4, "negative_prompt": "cat"}),
        ("qwen-image-edit", 1, "cat", {"true_cfg_scale": 1, "negative_prompt": None}),
        ("z-image", 1, "", {"guidance_scale": 0, "negative_prompt": ""}),
        ("z-image", 0.5, "", {"guidance_scale": 0, "negative_prompt": ""}),
        ("z-image", 4, "cat", {"guidance_scale": 3, "negative_prompt": "cat"}),
    ],
)
def test_each_kind_is_led_in_its_own_words(transformers, name, guidance, negative, expected):
    assert leading(transformers[name].pipeline, guidance, negative) == expected


@pytest.mark.parametrize(("steps", "strength", "run"), [(10, 1, 10), (10, 0.5, 5), (10, 0.33, 4), (30, 0.01, 1)])
def test_flow_matching_rounds_steps_up_as_diffusers_does(transformers, steps, strength, run):
    pipeline = transformers["flux-fill"].pipeline
    assert steps_of(pipeline, steps, strength) == run
    pipeline.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    assert len(pipeline.get_timesteps(steps, strength, "cpu")[0]) == run


@pytest.mark.parametrize("name", ["flux-fill", "qwen-image-edit", "z-image"])
def test_latents_of_a_picture_are_those_that_the_pipeline_works_on(transformers, name, monkeypatch):
    """They are encoded as it does, and lie as they do once those that it takes are unpacked."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, *_: self.mode())
    pipeline = transformers[name].pipeline
    canvas = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    picture = Image.fromarray(canvas)
    with torch.inference_mode():
        latents = encoded(pipeline, picture, torch.device("cpu"))
        pixels = pipeline.image_processor.preprocess(picture)
        if name == "flux-fill":
            own = pipeline._pack_latents(pipeline._encode_vae_image(pixels, None), *latents.shape)
        else:
            wanted = (1, 4, 64, 96, torch.float32, "cpu", torch.Generator())
            own = pipeline.prepare_latents(pixels, pipeline.scheduler.timesteps[-1:], *wanted)[2]
        own = unpacked(pipeline, own, canvas)
    assert latents.shape == (1, 4, 16, 24)
    torch.testing.assert_close(latents, own)


def test_qwen_paints_at_the_size_that_it_is_told(transformers):
    pipeline = transformers["qwen-image-edit"].pipeline
    picture, hole = Image.new("RGB", (64, 96), "teal"), Image.new("L", (64, 96), 255)
    made = pipeline(prompt="cat", image=picture, mask_image=hole, width=64, height=96, num_inference_steps=1)
    assert made.images[0].size == (64, 96)
