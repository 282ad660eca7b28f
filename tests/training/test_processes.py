"""Several processes that learn together: one set of weights, moved by the mean of their gradients."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from groundingdino.training import processes
from groundingdino.training.loop import update

DATA = ([[1.0, 2.0]], [[3.0, -1.0]])

# Each process looks at its own row; the second has no use for the last parameter.
LEARNING = """
import json
import torch
from tests.training.test_processes import DATA, learn, parts
from groundingdino.training import processes

with processes.first_alone():
    pass
assert processes.device().type == "cpu"
model = parts()
learn(model, torch.tensor(DATA[processes.number()]), use_all=processes.is_first())
weights = [parameter.tolist() for parameter in model.parameters()]
print(json.dumps([processes.count(), processes.any_of(processes.number() == 1), *weights]))
"""


def parts() -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])


def learn(model: nn.ModuleList, row: torch.Tensor, use_all: bool) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    update(model, optimizer, loss(model, row, use_all), clip=100.0)


def loss(model: nn.ModuleList, row: torch.Tensor, use_all: bool) -> torch.Tensor:
    return model[0](row).square().sum() + (model[1](row).square().sum() if use_all else 0)


def test_the_mean_of_all_gradients_moves_the_weights_of_all():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    started = []
    for rank in ("0", "1"):
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}
        environment = {**os.environ, **place, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen([sys.executable, "-c", LEARNING], env=environment, stdout=subprocess.PIPE, text=True)
        )
    outputs = [process.communicate(timeout=300)[0] for process in started]
    first, second = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert first == second
    assert first[:2] == [2, True]

    alone = parts()
    mean = sum(loss(alone, torch.tensor(row), row is DATA[0]) for row in DATA) / 2
    update(alone, torch.optim.SGD(alone.parameters(), lr=0.1), mean, clip=100.0)
    for found, wanted in zip(first[2:], alone.parameters(), strict=True):
        assert found[0] == pytest.approx(wanted[0].tolist())


def test_of_one_process_all_of_this_is_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert (processes.count(), processes.number(), processes.device()) == (1, 0, None)
    assert processes.any_of(True)
    assert not processes.any_of(False)
    model = parts()
    learn(model, torch.tensor(DATA[0]), use_all=False)
    assert model[1].weight.grad is None
