import hashlib
import json
from dataclasses import replace

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from groundingdino.detection.available_models import MODELS, ModelCard, is_cached
from groundingdino.detection.checkpoints import load_pretrained, save_checkpoint
from groundingdino.files import downloads
from groundingdino.files.hub import (
    HubFile,
    HubFolder,
    NotInRepository,
    cached,
    cached_model_folder,
    fetch,
    fetch_model_folder,
)
from groundingdino.model import GroundingDINO
from tests.fake_hub import COMMIT, NO_WEIGHTS, running_hub
from tests.mm_models import SMALL_T, random_model

CONTENT = bytes(range(256)) * 40_000  # 10 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path) as hub:
        hub.files["owner/name/weights.pth"] = CONTENT
        yield hub


@pytest.fixture
def unplugged(server, monkeypatch):
    """No server answers."""
    server.files.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")


WEIGHTS = HubFile("owner/name", "weights.pth")


def test_a_file_is_downloaded_once_with_progress(server):
    reports = []
    assert cached(WEIGHTS) is None
    path = fetch(WEIGHTS, progress=lambda *report: reports.append(report))
    assert path.name == "weights.pth"
    assert path.read_bytes() == CONTENT
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, len(CONTENT))
    assert len(done) > 8
    assert {report[1:] for report in reports} == {(len(CONTENT), "downloading weights.pth")}

    requests = len(server.requests)
    assert cached(WEIGHTS) == path
    assert fetch(WEIGHTS) == path
    assert len(server.requests) == requests


def test_a_broken_connection_is_continued(server):
    server.cut_after = [3_000_000, 2_000_000]
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert server.bytes_sent() == ["bytes=0-", "bytes=3000000-", "bytes=5000000-"]


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("answered_first", [0, 1, 2], ids=["size", "content", "link"])
def test_a_busy_hub_is_asked_again(status, answered_first, server, monkeypatch):
    begin, pause = len(server.requests), [(status, {}), (status, {})]

    class Busy(list):
        """Answers of a hub that becomes busy after so many requests."""

        def __bool__(self):
            return len(self) > 0 and len(server.requests) - begin > answered_first

    monkeypatch.setattr(server, "busy", Busy(pause))
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert server.busy == []


def test_a_hub_that_stays_busy_says_so(server):
    server.busy = [(503, {})] * 100
    with pytest.raises(ValueError, match=r"could not be downloaded .*503.*: the server is busy, try again later"):
        fetch(WEIGHTS)
    assert len(server.requests) == downloads.ATTEMPTS


def test_a_download_that_was_given_up_is_continued_later(server):
    server.cut_after = [4_000_000, *[0] * downloads.ATTEMPTS]
    with pytest.raises(
        ValueError, match=r"'weights\.pth' of 'owner/name' could not be downloaded .* kept\."
    ) as refusal:
        fetch(WEIGHTS)
    assert "\n" not in str(refusal.value)
    server.cut_after.clear()
    server.requests.clear()
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    assert server.bytes_sent() == ["bytes=4000000-"]


def test_stopping_in_the_progress_callback_keeps_what_has_come(server):
    class Stopped(Exception):
        pass

    def stop(done, *_):
        if done > 5_000_000:
            raise Stopped

    with pytest.raises(Stopped):
        fetch(WEIGHTS, progress=stop)
    assert cached(WEIGHTS) is None
    assert fetch(WEIGHTS).read_bytes() == CONTENT
    (again,) = server.bytes_sent()[1:]
    assert 4_000_000 < int(again.removeprefix("bytes=").rstrip("-")) <= 6_000_000


def test_a_server_without_ranges_starts_again(server):
    server.ignores_ranges = True
    server.cut_after = [3_000_000]
    assert fetch(WEIGHTS).read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [CONTENT[:-1] + b"?", CONTENT + b"more"], ids=["checksum", "size"])
def test_what_arrives_damaged_is_removed(damage, server):
    server.served["owner/name/weights.pth"] = damage
    with pytest.raises(ValueError, match=r"'weights\.pth' of 'owner/name' arrived damaged .* try again"):
        fetch(WEIGHTS)
    assert cached(WEIGHTS) is None
    server.served.clear()
    assert fetch(WEIGHTS).read_bytes() == CONTENT


def test_a_pinned_file_must_be_the_published_one(server):
    right = HubFile("owner/name", "weights.pth", COMMIT, len(CONTENT), SHA256)
    other_size = HubFile("owner/name", "weights.pth", COMMIT, len(CONTENT) - 1, SHA256)
    other_sum = HubFile("owner/name", "weights.pth", COMMIT, len(CONTENT), "0" * 64)
    with pytest.raises(ValueError, match=r"has 10240000 bytes at .* instead of 10239999"):
        fetch(other_size)
    assert not server.bytes_sent()
    with pytest.raises(ValueError, match=r"arrived damaged \(its checksum is wrong\)"):
        fetch(other_sum)
    assert fetch(right).read_bytes() == CONTENT


@pytest.mark.usefixtures("server")
def test_a_pinned_file_is_found_under_another_revision():
    path = fetch(WEIGHTS)
    assert cached(HubFile("owner/name", "weights.pth", "f" * 40, len(CONTENT), SHA256)) == path
    assert cached(HubFile("owner/name", "weights.pth", "f" * 40, len(CONTENT) + 1, SHA256)) is None


def test_half_a_pinned_file_in_the_cache_is_replaced(server):
    pinned = HubFile("owner/name", "weights.pth", COMMIT, len(CONTENT), SHA256)
    path = fetch(pinned)
    path.resolve().write_bytes(CONTENT[:1000])
    assert cached(pinned) is None
    assert fetch(pinned).read_bytes() == CONTENT
    assert server.bytes_sent() == ["bytes=0-", "bytes=0-"]


@pytest.mark.parametrize(
    ("how", "remedy"),
    [("argument", "local_files_only: do without that once"), ("environment", "HF_HUB_OFFLINE: unset that")],
)
def test_without_permission_nothing_is_asked(how, remedy, server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "environment")
    with pytest.raises(
        ValueError, match=rf"downloads are switched off by {remedy}, or run `hf download owner/name`"
    ) as refusal:
        fetch(WEIGHTS, local_files_only=how == "argument")
    assert not server.requests
    told = refusal.value.on_the_command_line()
    assert told == str(refusal.value).replace("local_files_only", "--local-files-only")


def test_without_permission_a_model_of_one_file_is_named(server):
    with pytest.raises(ValueError, match=r"`hf download owner/name weights\.pth` on"):
        fetch(replace(WEIGHTS, sha256=SHA256), local_files_only=True)
    assert not server.requests


def test_a_cached_file_needs_neither_permission_nor_network(server, monkeypatch):
    path = fetch(WEIGHTS)
    requests = len(server.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(WEIGHTS, local_files_only=True) == path
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("file", "error", "sentence"),
    [
        (HubFile("owner/name", "other.pth"), NotInRepository, r"'owner/name' has no file 'other\.pth'"),
        (HubFile("owner/nobody", "weights.pth"), ValueError, "no repository 'owner/nobody'"),
        (HubFile("owner/name", "weights.pth", "v9"), ValueError, r"'owner/name' \(revision v9\)"),
    ],
)
@pytest.mark.usefixtures("server")
def test_what_the_hub_does_not_have(file, error, sentence):
    with pytest.raises(error, match=sentence) as refusal:
        fetch(file)
    assert "\n" not in str(refusal.value)


def test_what_is_for_those_alone_who_have_accepted_a_licence(server):
    server.busy = [(403, {"X-Error-Code": "GatedRepo"})]
    with pytest.raises(ValueError, match=r"accepted its licence: do so at https://huggingface.co/owner/name, then"):
        fetch(WEIGHTS)


@pytest.mark.usefixtures("server")
def test_a_connection_lost_at_the_very_end_is_no_missing_file(monkeypatch):
    def lost(*_, **__):
        raise LocalEntryNotFoundError("The hub cannot be reached.")

    monkeypatch.setattr("groundingdino.files.hub.hf_hub_download", lost)
    with pytest.raises(ValueError, match=r"could not be downloaded .*: check the connection") as refusal:
        fetch(WEIGHTS)
    assert not isinstance(refusal.value, NotInRepository)


@pytest.mark.usefixtures("unplugged")
def test_without_a_connection_the_sentence_says_so():
    with pytest.raises(ValueError, match=r"could not be downloaded .*: check the connection") as refusal:
        fetch(WEIGHTS)
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("server")
def test_where_the_cache_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"could not be saved in '.*file'"):
        fetch(WEIGHTS)


def model_files(repository: str, *, sharded: bool, vocabulary: bool) -> dict[str, bytes]:
    names = {"config.json": b"{}"}
    if sharded:
        names["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": "1.bin", "b": "2.bin"}}).encode()
        names |= {"1.bin": b"one", "2.bin": b"two"}
    else:
        names["model.safetensors"] = NO_WEIGHTS
    names |= {"vocab.txt": b"words"} if vocabulary else {"tokenizer.json": b"{}"}
    return {f"{repository}/{name}": content for name, content in names.items()}


@pytest.mark.parametrize("vocabulary", [True, False])
@pytest.mark.parametrize("sharded", [True, False])
def test_a_model_folder_is_fetched_whole_and_once(sharded, vocabulary, server):
    server.files = model_files("owner/model", sharded=sharded, vocabulary=vocabulary)
    assert cached_model_folder("owner/model") is None
    folder = fetch_model_folder("owner/model")
    assert {f"owner/model/{file.name}": file.read_bytes() for file in folder.iterdir()} == server.files
    assert cached_model_folder("owner/model") == folder
    requests = len(server.requests)
    assert fetch_model_folder("owner/model", local_files_only=True) == folder
    assert len(server.requests) == requests


def test_a_repository_may_have_no_tokenizer(server):
    """Its weights were trained with BERT's; only the hub can say that none is missing."""
    server.files = model_files("owner/model", sharded=False, vocabulary=True)
    del server.files["owner/model/vocab.txt"]
    folder = fetch_model_folder("owner/model")
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    requests = len(server.requests)
    assert cached_model_folder("owner/model") == fetch_model_folder("owner/model") == folder
    assert len(server.requests) == requests, "what the hub said is remembered"


def test_what_another_program_left_out_is_fetched(server):
    """It may have wanted the weights alone; offline they are taken as they are."""
    server.files = model_files("owner/model", sharded=False, vocabulary=False)
    for name in ("config.json", "model.safetensors"):
        folder = fetch(HubFile("owner/model", name)).parent
    assert cached_model_folder("owner/model") is None
    assert fetch_model_folder("owner/model", local_files_only=True) == folder
    assert not (folder / "tokenizer.json").exists()
    assert fetch_model_folder("owner/model") == folder
    assert (folder / "tokenizer.json").exists()


def test_everything_that_says_how_a_model_is_asked_is_fetched(server):
    server.files = model_files("owner/model", sharded=False, vocabulary=False)
    others = ("tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "preprocessor_config.json")
    server.files |= {f"owner/model/{name}": b"{}" for name in (*others, "processor_config.json", "README.md")}
    names = {file.name for file in fetch_model_folder("owner/model").iterdir()}
    assert names == {*others, "processor_config.json", "config.json", "model.safetensors", "tokenizer.json"}


def test_a_vocabulary_beside_a_whole_tokenizer_is_not_needed(server):
    server.files = model_files("owner/model", sharded=False, vocabulary=False) | {"owner/model/vocab.txt": b"words"}
    assert not (fetch_model_folder("owner/model") / "vocab.txt").exists()
    assert cached_model_folder("owner/model") is not None


def test_a_model_folder_that_broke_off_is_not_taken_for_whole(server):
    server.files = model_files("owner/model", sharded=True, vocabulary=True)
    del server.files["owner/model/2.bin"]
    with pytest.raises(NotInRepository, match=r"no file '2\.bin'"):
        fetch_model_folder("owner/model")
    assert cached_model_folder("owner/model") is None


def test_a_named_model_is_downloaded_on_request(server, mini_config, monkeypatch, tmp_path):
    save_checkpoint(GroundingDINO(mini_config), tmp_path / "m.safetensors", "Mini", "For tests.", 0.3, 0.2)
    content = (tmp_path / "m.safetensors").read_bytes()
    server.files["owner/name/m.safetensors"] = content
    source = HubFile("owner/name", "m.safetensors", COMMIT, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(MODELS, "mini", ModelCard("mini", "Mini", mini_config, 0.3, 0.2, len(content), "", source))
    assert not is_cached("mini")
    with pytest.raises(ValueError, match="downloads are switched off"):
        load_pretrained("mini", local_files_only=True)
    reports = []
    loaded = load_pretrained("mini", progress=lambda *report: reports.append(report))
    assert reports[-1] == (len(content), len(content), "downloading m.safetensors")
    assert (loaded.card.name, loaded.card.box_threshold) == ("mini", 0.3)
    assert is_cached("mini")
    load_pretrained("mini", local_files_only=True)


def test_a_named_model_of_a_whole_repository_is_downloaded_on_request(server, monkeypatch, tmp_path):
    small_t = random_model(SMALL_T)
    small_t.save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        server.files[f"owner/mm/{name}"] = (tmp_path / name).read_bytes()
    card = ModelCard("mm", "MM", SMALL_T, 0.4, 0.25, 1, "", HubFolder("owner/mm", COMMIT))
    monkeypatch.setitem(MODELS, "mm", card)
    assert not is_cached("mm")
    with pytest.raises(ValueError, match="downloads are switched off"):
        load_pretrained("mm", local_files_only=True)
    for name in ("mm", "owner/mm"):
        loaded = load_pretrained(name)
        assert (loaded.card.name, loaded.card.box_threshold, loaded.card.config) == (name, 0.4, SMALL_T)
        assert is_cached("mm")
    monkeypatch.setitem(MODELS, "mm", replace(card, source=HubFolder("owner/mm", "0" * 40)))
    assert not is_cached("mm")  # of another revision


def test_a_repository_in_transformers_layout_is_downloaded(server, tmp_path):
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    swin = SwinConfig(embed_dim=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], out_indices=[2, 3, 4])
    bert = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    sizes = {"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 5}
    config = GroundingDinoConfig(backbone_config=swin, text_config=bert, **sizes)
    GroundingDinoForObjectDetection(config).save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        server.files[f"owner/tiny/{name}"] = (tmp_path / name).read_bytes()
    server.files["owner/tiny/vocab.txt"] = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n.\ncat\n"
    loaded = load_pretrained("owner/tiny")
    assert loaded.card.name == "owner/tiny"
    assert loaded.card.size_bytes == len(server.files["owner/tiny/model.safetensors"])
    assert loaded.tokenizer("cat .").input_ids == [2, 6, 5, 3]
    load_pretrained("owner/tiny", local_files_only=True)


@pytest.mark.usefixtures("server")
def test_a_model_that_is_nowhere():
    with pytest.raises(ValueError, match="no repository 'owner/nobody'"):
        load_pretrained("owner/nobody")
    with pytest.raises(ValueError, match=r"'config\.json' of .* 'owner/nobody' is not on this machine"):
        load_pretrained("owner/nobody", local_files_only=True)
