"""The embedded inpainter's parts, in diffusers' own classes at sizes that one CPU can train."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import BertTokenizerFast, CLIPTextConfig, CLIPTextModel

from groundingdino.training.vocabulary import PATH as VOCABULARY

TEXT_DIM = 192
LATENTS = 24  # along each side of the square that is painted
MASK_CHANNEL = 4  # of the UNet's input, after the noisy latents
COUNTED = 10.0  # latents: what counts of them are divided by
PASSED = 8  # channels of the autoencoder that carry the colours before it has learned anything
CONSTANT = 4.0
WORDS = 8  # tokens in which a prompt should find room, [CLS] and [SEP] included
# Every prompt is padded to `WORDS` + `SKETCH` ** 2 tokens. The paddings see the words before them, and each learns to
# describe its own cell of the thing as a drawing: the UNet then has to place a sketch, not to remember 630 drawings.
SKETCH = 6  # cells of a sketch along each side


def build_autoencoder() -> AutoencoderKL:
    """Pictures (B, 3, H, W) in [-1, 1] to latents (B, 4, H / 4, W / 4), at first hardly more than a thumbnail.

    From usual random weights it takes a quarter of an hour until colours pass at all.
    """
    autoencoder = AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )
    _pass_colours(autoencoder)
    return autoencoder


@torch.no_grad()
def _pass_colours(autoencoder: AutoencoderKL) -> None:
    """Make the first eight channels carry the colours from end to end, scaled down and up on their way.

    They are red, green and blue, each with its negative (SiLU of both together loses nothing), and a constant with its
    negative, against which a group norm, blind to absolute values, still tells dark from light.
    """
    for name, module in autoencoder.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        assert module.bias is not None
        middle = module.kernel_size[0] // 2
        place = name.rpartition(".")[2]
        if place == "conv2":  # the end of a residual block
            module.weight[:PASSED], module.bias[:PASSED] = 0, 0
        elif place in ("conv", "conv_shortcut"):  # scaling, and blocks that change the width
            module.weight[:PASSED], module.bias[:PASSED] = 0, 0
            for channel in range(PASSED):
                if "downsamplers" in name:
                    module.weight[channel, channel, :2, :2] = 1 / 4
                else:
                    module.weight[channel, channel, middle, middle] = 1
        elif place == "conv_in":
            module.weight[:PASSED], module.bias[:PASSED] = 0, 0
            for channel in range(3):
                module.weight[2 * channel, channel, middle, middle] = 1
                module.weight[2 * channel + 1, channel, middle, middle] = -1
            module.bias[PASSED - 2], module.bias[PASSED - 1] = CONSTANT, -CONSTANT
        elif place == "conv_out":
            # What the group norm before it divides by, were there nothing but the constants.
            scale = CONSTANT * (2 / (module.in_channels / 2)) ** 0.5
            module.weight[:3] = 0
            for channel in range(3):
                module.weight[channel, 2 * channel, middle, middle] = scale
                module.weight[channel, 2 * channel + 1, middle, middle] = -scale
        else:  # quant_conv, post_quant_conv
            nn.init.dirac_(module.weight)
            nn.init.zeros_(module.bias)
    autoencoder.quant_conv.bias[4:] = -6  # logarithm of the latents' variance


def build_tokenizer() -> BertTokenizerFast:
    """The detector's words, padded to what the text encoder reads."""
    return BertTokenizerFast(vocab=str(VOCABULARY), model_max_length=WORDS + SKETCH**2)


def build_text_encoder(tokenizer: BertTokenizerFast) -> CLIPTextModel:
    """Tokens (B, T) to (B, T, TEXT_DIM), each seeing those before it."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_DIM,
            intermediate_size=4 * TEXT_DIM,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=TEXT_DIM,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """Noisy latents, mask and latents of what is kept (B, 9, h, w) to velocities (B, 4, h, w)."""
    return UNet2DConditionModel(
        sample_size=LATENTS,
        in_channels=9,
        out_channels=4,
        conv_in_kernel=2 * LATENTS - 1,
        block_out_channels=(32, 96, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_DIM,
        attention_head_dim=(1, 4, 5),  # the number of heads, in spite of its name
        norm_num_groups=8,
    )


class HoleConv(nn.Module):
    """The UNet's first convolution as it is trained: what is near, and where in the hole one is.

    Nothing else in a UNet knows of places, and a sketch has to be laid into the hole. How many latents of the hole are
    to the left, right, above and below is a convolution of its mask as wide as the picture, all zeros but for a cross:
    `widened` gives it; sums along rows and columns are the same at a hundredth of the work.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.near = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        self.where = nn.Conv2d(4, conv.out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 9, h, w) to (B, C, h, w)."""
        mask = x[:, MASK_CHANNEL : MASK_CHANNEL + 1]
        left, above = mask.cumsum(3) - mask, mask.cumsum(2) - mask
        right, below = mask.sum(3, keepdim=True) - left - mask, mask.sum(2, keepdim=True) - above - mask
        return self.near(x) + self.where(torch.cat([left, right, above, below], dim=1) / COUNTED)

    @torch.no_grad()
    def widened(self) -> nn.Conv2d:
        """The same as one convolution."""
        middle = LATENTS - 1
        conv = nn.Conv2d(self.near.in_channels, self.near.out_channels, 2 * LATENTS - 1, padding=middle)
        conv.weight.zero_()
        conv.weight[..., middle - 1 : middle + 2, middle - 1 : middle + 2] = self.near.weight
        left, right, above, below = (self.where.weight[:, side] / COUNTED for side in range(4))  # (C, 1, 1) each
        kernel = conv.weight[:, MASK_CHANNEL]
        kernel[:, middle, :middle] += left[..., 0]
        kernel[:, middle, middle + 1 :] += right[..., 0]
        kernel[:, :middle, middle] += above[..., 0]
        kernel[:, middle + 1 :, middle] += below[..., 0]
        assert self.near.bias is not None
        assert conv.bias is not None
        conv.bias.copy_(self.near.bias)
        return conv


def build_scheduler() -> DDIMScheduler:
    """Velocities, and a last noise level without any signal: the first step decides from words and surroundings."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,  # without effect here, but the pipelines expect it
    )


def save_pipeline(
    autoencoder: AutoencoderKL,
    tokenizer: BertTokenizerFast,
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    folder: Path,
) -> None:
    """Write a folder that `StableDiffusionInpaintPipeline.from_pretrained` loads, weights in half precision.

    Args:
        unet: as it is trained, its first convolution a `HoleConv`.
    """
    trained, unet = unet, build_unet()
    assert isinstance(trained.conv_in, HoleConv)
    rest = {name: value for name, value in trained.state_dict().items() if not name.startswith("conv_in.")}
    wide = {f"conv_in.{name}": value for name, value in trained.conv_in.widened().state_dict().items()}
    unet.load_state_dict(rest | wide)
    pipeline = StableDiffusionInpaintPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    pipeline.to(torch.float32)
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)  # where a part was read from on this machine
        if path.parent.name == "text_encoder":
            config["dtype"] = "float32"  # as diffusers' own parts are loaded; transformers' are as their file says
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
