import json
import shutil
from pathlib import Path

import pytest

from groundingdino.editing.inpainter_files import (
    cached_pipeline,
    fetch_pipeline,
    has_half_weights,
    lacking,
    whole_progress,
)
from groundingdino.editing.inpainter_models import load_inpainter
from tests.fake_hub import running_hub
from tests.tiny_pipelines import save_sd

REPOSITORY = "owner/pipeline"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A pipeline with weights of both precisions, and files that no pipeline reads."""
    folder = save_sd(tmp_path_factory.mktemp("pipelines") / "sd")
    save_sd(folder, variant="fp16")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (folder / "sd-v1-5-inpainting.ckpt").write_bytes(b"pickle")
    (folder / "README.md").write_text("read me")
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "pipeline"))


@pytest.fixture
def hub(folder, monkeypatch, tmp_path):
    """Serves what lies in the folder when it is called."""

    with running_hub(monkeypatch, tmp_path) as server:

        def serve():
            server.files.clear()
            for path in folder.rglob("*"):
                if path.is_file():
                    server.files[f"{REPOSITORY}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
            return server

        yield serve


def fetched(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


NEEDED = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    "vae/config.json",
}
HALF = {
    "text_encoder/model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
}


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.fp16.safetensors", "vae/config.json"])
def test_half_a_file_in_the_cache_is_fetched_again_and_no_other(hub, name):
    server = hub()
    path = fetch_pipeline(REPOSITORY)
    content = (path / name).read_bytes()
    (path / name).resolve().write_bytes(content[: len(content) // 2])
    assert cached_pipeline(REPOSITORY) is None
    server.requests.clear()
    assert fetch_pipeline(REPOSITORY) == path
    assert (path / name).read_bytes() == content
    sent = {asked.removeprefix(f"{REPOSITORY}/") for method, asked, _ in server.requests if method == "GET"}
    assert sent == {name}


def test_only_what_the_pipeline_reads_is_fetched_in_half_precision(hub):
    hub()
    assert cached_pipeline(REPOSITORY) is None
    path = fetch_pipeline(REPOSITORY)
    assert fetched(path) == NEEDED | HALF
    assert has_half_weights(path)
    assert cached_pipeline(REPOSITORY) == path


def test_whole_precision_is_fetched_where_there_is_no_half(hub, folder):
    for name in HALF:
        (folder / name).unlink()
    hub()
    path = fetch_pipeline(REPOSITORY)
    assert fetched(path) == NEEDED | {name.replace(".fp16", "") for name in HALF}
    assert not has_half_weights(path)


def test_what_is_here_is_used_without_asking(hub):
    served = hub()
    path = fetch_pipeline(REPOSITORY)
    asked = len(served.requests)
    assert fetch_pipeline(REPOSITORY, local_files_only=True) == path
    assert len(served.requests) == asked


def test_a_download_that_was_given_up_goes_on_with_what_is_missing(hub):
    served = hub()

    def give_up(_done: int, _total: int | None, what: str) -> None:
        if "unet/diffusion_pytorch_model" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_pipeline(REPOSITORY, progress=give_up)
    assert cached_pipeline(REPOSITORY) is None
    served.requests.clear()
    fetch_pipeline(REPOSITORY)
    again = {file for method, file, _ in served.requests if method == "GET"}
    assert f"{REPOSITORY}/text_encoder/model.fp16.safetensors" not in again
    assert f"{REPOSITORY}/unet/diffusion_pytorch_model.fp16.safetensors" in again


def test_weights_in_several_files_are_fetched_whole(hub, folder):
    weights = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    shards = [f"diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for shard in shards:
        (folder / "unet" / shard).write_bytes(weights.read_bytes())
    weights.unlink()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json"
    index.write_text(json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}))
    hub()
    path = fetch_pipeline(REPOSITORY)
    assert {f"unet/{shard}" for shard in shards} <= fetched(path)
    (path / "unet" / shards[1]).unlink()
    assert lacking(path) == "lacks some of the weights of 'unet'"


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("model_index.json", "is no pipeline in diffusers' layout: it has no model_index.json"),
        ("unet/config.json", "has no config.json in 'unet'"),
        ("tokenizer/tokenizer.json", "has no vocabulary in 'tokenizer'"),
        ("scheduler/scheduler_config.json", "has no settings in 'scheduler'"),
        ("unet/*.safetensors", "has no weights of 'unet' as .safetensors; other formats can run code"),
    ],
)
def test_what_a_repository_lacks_is_said(hub, folder, removed, message):
    for path in folder.glob(removed):
        path.unlink()
    hub()
    with pytest.raises(ValueError, match=message) as refusal:
        fetch_pipeline(REPOSITORY)
    assert str(refusal.value).endswith(".")
    assert lacking(folder)


def test_nothing_is_fetched_where_downloads_are_off(hub, monkeypatch):
    served = hub()
    with pytest.raises(ValueError, match="downloads are switched off"):
        fetch_pipeline(REPOSITORY, local_files_only=True)
    monkeypatch.setattr("groundingdino.files.hub.is_offline_mode", lambda: True)
    with pytest.raises(ValueError, match="downloads are switched off"):
        fetch_pipeline(REPOSITORY)
    assert served.requests == []


def test_a_damaged_index_is_said(folder):
    (folder / "model_index.json").write_text("{")
    assert lacking(folder).startswith("is damaged (")


def test_parts_that_were_published_without_are_not_asked_for(folder):
    index = json.loads((folder / "model_index.json").read_text())
    assert index["safety_checker"] == [None, None]
    assert lacking(folder) == ""


def test_files_are_counted_together():
    reports = []
    progress = whole_progress(lambda *report: reports.append(report), 100)
    for done, what in ((0, "a"), (30, "a"), (0, "b"), (50, "b"), (40, "c")):
        progress(done, 50, what)
    assert reports == [(0, 100, "a"), (30, 100, "a"), (30, 100, "b"), (80, 100, "b"), (120, 120, "c")]


def test_transformers_are_fetched_with_all_that_reads_pictures_and_text(hub, transformer_folders, folder):
    shutil.rmtree(folder)
    shutil.copytree(transformer_folders["qwen-image-edit"], folder)
    hub()
    path = fetch_pipeline(REPOSITORY)
    needed = {"processor/processor_config.json", "processor/chat_template.jinja", "processor/tokenizer.json"}
    assert needed | {"tokenizer/chat_template.jinja", "text_encoder/model.safetensors"} <= fetched(path)
    assert lacking(path) == ""
    assert type(load_inpainter(path, "cpu").pipeline.processor).__name__ == "Qwen2VLProcessor"
    for file in (folder / "processor").iterdir():
        file.unlink()
    assert lacking(folder) == "has no vocabulary or no settings in 'processor'"
