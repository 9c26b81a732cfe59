"""`yaop train`: the steps of the training job, alone or all in order. Heavy imports wait until a command runs."""

from __future__ import annotations

import os

import typer

from trainer.commands.doctor import doctor
from trainer.commands.download import download
from trainer.commands.evaluate import evaluate
from trainer.commands.export import export
from trainer.commands.fit import fit
from trainer.commands.import_movenet import import_movenet
from trainer.commands.preview import preview
from trainer.commands.records import records
from trainer.commands.run import run

# TensorFlow greets with a page about processor features; errors still show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

app = typer.Typer(no_args_is_help=True, help="Train, evaluate and export pose networks.")

for step in (run, download, records, preview, fit, evaluate, export, doctor):
    app.command()(step)
app.command("import-movenet")(import_movenet)
