"""What one does when a gate refuses or warns, by its kind."""

# Data gates tell it in their messages.
ADVICE = {
    "floor": "Look which rows are misjudged (slices, confusion) and give the model more data or better "
    "features; lower [gates.floors] only if the bar itself was wrong.",
    "ceiling": "Large errors or false probabilities: calibrate, regularise, or try other estimators in "
    "grid.json.",
    "gain": "The features hardly help: check that they are joined to the right rows, or make better ones.",
    "gap": "The model knows its training rows by heart: regularise, use smaller trees or more data.",
    "surprise": "The test rows are easier than the folds, or were seen in training: check the split, "
    "duplicates and groups of rows.",
    "too good to be true": "A column probably tells the target: look at the importance and drop what is not "
    "known yet when one predicts.",
    "champion": "The champion stays, which is safe: compare data and parameters of both below; if the world "
    "changed, train on newer rows.",
    "slice": "Look at the rows of this slice: too few, other labels, or a feature that means something "
    "else there.",
    "fairness": "Look for features that stand for the sensitive column; drop them, or weigh the rows.",
    "robustness": "The model leans on values that are often wrong: regularise, bin or clip that feature.",
    "divergence": "Boosting goes on for too long: fewer steps, or a smaller learning rate.",
    "seeds": "The result is luck: more data, larger ensembles, or a simpler model.",
    "speed": "Use fewer trees or features; if only this agent was busy, build again.",
    "size": "Use fewer or smaller trees, and keep no tables inside of the pipeline.",
    "pickle": "The model answers otherwise once loaded: something in it depends on the process or the place.",
    "batch": "A feature looks at other rows: make each row's features from that row alone.",
    "isolation": "The model reads a file, the network or the clock when it answers: make that a column.",
    "serving": "The service answers otherwise than the pipeline: look at the types of the columns in "
    "contract.py.",
    "fast path": "The service would answer otherwise than the pickle: features_row.py, if there is one, "
    "makes other features than features.py; mend it, or take it away.",
    "environment": "The model was trained with other versions: train again with this requirements.txt.",
    "reproducible": "Training is not repeatable: pass the seed to all that draws, and sort what is read.",
    "recall": "Rows that it learned from were marked bad since: build the data again, which leaves them out; "
    "`ml recall` lists why.",
    "expectation": "The model contradicts expectations.py: look at the rows that break it, and who is right.",
    "warning": "Nothing is stopped by this; have a look when you work on the features.",
}
ELSE = "Read the message; the whole log is quality/pytest.log."


def advice(kind: str | None) -> str:
    """Return what to do about a gate of a kind; none is the kind of a test that broke."""
    return ADVICE.get(kind or "", ELSE)
