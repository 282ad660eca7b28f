"""Which parameters of a trained detector move, how fast, and the steps that move them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import BertTokenizerFast

from groundingdino.detection import config_json
from groundingdino.detection.checkpoints import LoadedModel
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SwinConfig
from groundingdino.training.detector.targets import Source
from groundingdino.training.detector.train import UNIT, Plan, Stage, train
from groundingdino.training.loop import CHECKPOINT_EVERY

NAMES = "names"  # in place of parts: the embeddings of the names' words learn, and nothing else
# Parts that stay as they are unless they are opened, and how their parameters' names begin.
PARTS = {"backbone": "backbone.", "text": "text_encoder.bert."}
_SCALES = (0.75, 1.0)  # of the short side
_LEARNED_RATE, _LAYER_DECAY = 0.1, 0.8  # of backbone and BERT, see `Plan`
_ROUNDS = 20  # of the checkpoint in a run, at least


@dataclass(frozen=True)
class Tuning:
    """How to learn.

    Args:
        steps: of the optimiser.
        batch_size: pictures of a step.
        rate: the peak learning rate, of all that is new; backbone and BERT have a tenth, deeper layers less.
        opened: keys of `PARTS` that learn, too; or `NAMES` alone.
        lora: rank of adapters by which backbone and BERT learn instead; 0: none.
        short_side: of the largest pictures, in pixels.
        save_memory: compute layers again for the backward pass rather than keep what they computed.
        seed: of everything.
    """

    steps: int
    batch_size: int
    rate: float
    opened: tuple[str, ...] = ()
    lora: int = 0
    short_side: int = 800
    save_memory: bool = False
    seed: int = 0

    def plan(self, config: Any) -> Plan:
        """The plan of the detector's training that this is."""
        sides = tuple(dict.fromkeys(max(UNIT, round(self.short_side * scale / UNIT) * UNIT) for scale in _SCALES))
        stage = Stage(self.steps * self.batch_size, self.batch_size, sides, whole=True)
        whole = bool(self.lora or self.only_names)
        learned = 1.0 if whole else _LEARNED_RATE
        return Plan(
            stages=(stage,),
            learning_rate=self.rate,
            warm_up=max(1, min(100, self.steps // 10)),
            average=min(0.998, max(0.0, 1 - 10 / self.steps)),
            frozen=() if whole else tuple(begin for part, begin in PARTS.items() if part not in self.opened),
            seed=self.seed,
            naming=not isinstance(config.backbone, SwinConfig),  # as published: learned after fusion alone
            statistics=False,  # a few pictures say less of them than all that were learned from before
            backbone_rate=learned,
            text_rate=learned,
            layer_decay=1.0 if whole else _LAYER_DECAY,
            weight_decay=0.0 if self.only_names else Plan.weight_decay,  # it would move all other words
        )

    @property
    def only_names(self) -> bool:
        """Whether nothing learns but what the names mean."""
        return self.opened == (NAMES,)


def default_rate(model: GroundingDINO, opened: tuple[str, ...] = ()) -> float:
    """1e-4, as published codes fine-tune; small models of our own training learned at eight times as much.

    The words of names alone bear, and need, a hundred times as much.
    """
    if opened == (NAMES,):
        return 1e-2
    return 1e-4 if isinstance(model.config.backbone, SwinConfig) else 4e-4


def tune(
    loaded: LoadedModel, source: Source, tuning: Tuning, folder: Path, workers: int = 0, names: Sequence[str] = ()
) -> LoadedModel:
    """Learn from a source of pictures; goes on where an earlier run in the folder was.

    The model that is given stays as it is; the result is another.

    Args:
        names: what is learned, where `tuning` lets nothing else learn.

    Raises:
        ValueError, OSError: as `loop.follow`.
    """
    model, config = loaded.model, loaded.model.config
    learner = GroundingDINO(config).to(next(model.parameters()).device)
    learner.load_state_dict(model.state_dict())
    if tuning.only_names:
        keep_all_but(learner, word_pieces(names, loaded.tokenizer))
    if tuning.lora:
        add_adapters(learner, tuning.lora, tuning.seed)
    if tuning.save_memory:
        recompute(learner)
    plan = tuning.plan(config)
    long_side = max(tuning.short_side, round(tuning.short_side * config.long_side / config.short_side / UNIT) * UNIT)
    every = max(1, min(CHECKPOINT_EVERY, tuning.steps // _ROUNDS))
    average = train(learner, loaded.tokenizer, (source,), plan, folder, workers, every, long_side=long_side)
    if tuning.lora:
        merge_adapters(average)
    result = GroundingDINO(config).to(next(model.parameters()).device).eval()
    result.load_state_dict(average.state_dict())
    return loaded._replace(model=result)


def as_transformers_computes(loaded: LoadedModel) -> LoadedModel:
    """The same model, if transformers has it with its clamp of boxes, which its folder cannot say otherwise."""
    model = loaded.model
    if not isinstance(model.config.backbone, SwinConfig):
        return loaded
    model.config = replace(model.config, logit_eps=config_json.TRANSFORMERS_LOGIT_EPS)
    model.decoder.logit_eps = config_json.TRANSFORMERS_LOGIT_EPS
    return loaded._replace(card=replace(loaded.card, config=model.config))


def word_pieces(names: Sequence[str], tokenizer: BertTokenizerFast) -> list[int]:
    """The numbers of the tokens that names are written with."""
    pieces = {piece for name in names for piece in tokenizer.tokenize(name)}
    return sorted(map(int, tokenizer.convert_tokens_to_ids(sorted(pieces))))


def keep_all_but(model: GroundingDINO, tokens: Sequence[int]) -> None:
    """Nothing learns but the embeddings of some tokens: a prompt without them is answered as before, to the bit.

    It is GLIP's prompt tuning (arXiv 2112.03857, section 4.3) at the words rather than behind BERT, so that the result
    is a model like any other.
    """
    model.requires_grad_(False)
    words = model.text_encoder.bert.embeddings.word_embeddings.weight.requires_grad_(True)
    learns = words.new_zeros(len(words), 1)
    learns[list(tokens)] = 1
    words.register_hook(lambda gradient: gradient * learns)


def add_adapters(model: GroundingDINO, rank: int, seed: int = 0) -> None:
    """Low-rank adapters (LoRA, arXiv 2106.09685) on the layers of backbone and BERT, which else stay as they are."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    torch.manual_seed(seed)
    own = {name for name, _ in model.named_parameters() if not name.startswith(tuple(PARTS.values()))}
    targets = [name for name, _ in _adaptable(model)]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets)
    inject_adapter_in_model(config, cast(Any, model))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in own or ".lora_" in name)


def merge_adapters(model: nn.Module) -> None:
    """Adapters become part of the weights that they were added to."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            cast(Any, module).merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


def _adaptable(model: GroundingDINO) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        ordinary = isinstance(module, nn.Conv2d) and module.groups == 1 and "patch_embed" not in name
        if name.startswith(tuple(PARTS.values())) and (isinstance(module, nn.Linear) or ordinary):
            yield name, module


def recompute(model: GroundingDINO) -> None:
    """Gradient checkpointing (arXiv 1604.06174) in all layers: a third slower, for a fraction of the memory."""
    blocks = [block for stage in cast(Any, model.backbone).stages for block in stage.children()]
    layers: Sequence[nn.Module] = [*blocks, *model.enhancer.layers, *model.decoder.layers]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
