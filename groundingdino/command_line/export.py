"""`export MODEL --output FOLDER`: a detector as graphs of ONNX."""

import argparse
from pathlib import Path

from groundingdino.command_line.output import reporting_errors_of
from groundingdino.runtime.extras import missing


def export(options: argparse.Namespace) -> None:
    """Write the graphs, and tell where."""
    output: Path = options.output
    if sentence := missing("Export to ONNX", "export"):  # before anything is downloaded
        raise ValueError(sentence)
    if output.exists() and not output.is_dir():
        raise ValueError(f"'{output}' is no folder: name one, which is made if it is not there.")

    from groundingdino.command_line.search import load_model
    from groundingdino.detection.checkpoints import load_pretrained
    from groundingdino.detection.onnx_export import export_onnx

    options.device = "cpu"
    loaded = load_model(load_pretrained, options.model, options)
    with reporting_errors_of(output):
        files = export_onnx(loaded, output, options.size)
    for file in files:
        print(file)
