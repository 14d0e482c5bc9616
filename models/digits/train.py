"""Trains the bundled model of handwritten digits, and writes everything that follows from it.

Written: `1/model.onnx`, its SHA-256 in `model.yaml`, and `examples/digits/*.json` (held-out images as request bodies).
The same package versions (requirements.txt) give the same bytes: training runs in double precision, and the last bits
in which processors and thread counts differ vanish when the weights are rounded to FP32.

    python -m venv .venv && .venv/bin/pip install -r models/digits/requirements.txt
    .venv/bin/python models/digits/train.py
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
MODEL_FILE = HERE / "1" / "model.onnx"
MANIFEST_FILE = HERE / "model.yaml"
EXAMPLES_DIR = HERE.parent.parent / "examples" / "digits"

SEED = 20
HELD_OUT = 0.2
HIDDEN_SIZES = (128, 64)
PIXEL_MAX = 16  # a pixel counts the dark points of a 4x4 block
ACCURACY_MIN = 0.97
IR_VERSION = 8
OPSET = 17


def main() -> int:
    digits = load_digits()
    indices = np.arange(len(digits.target))
    train, held_out = train_test_split(indices, test_size=HELD_OUT, random_state=SEED, stratify=digits.target)
    classifier = fit(digits.data[train], digits.target[train])

    MODEL_FILE.parent.mkdir(exist_ok=True)
    onnx.save_model(to_onnx(classifier), MODEL_FILE)
    digest = hashlib.sha256(MODEL_FILE.read_bytes()).hexdigest()
    write_digest(digest)
    print(f"{MODEL_FILE.stat().st_size} bytes, sha256 {digest}")

    labels = run(digits.data[held_out])
    accuracy = report(classifier, digits, held_out, labels)
    write_examples(digits, held_out, labels)
    return 0 if accuracy >= ACCURACY_MIN else 1


def fit(images: np.ndarray, labels: np.ndarray) -> MLPClassifier:
    """A perceptron on pixels scaled to 0..1; it stops when the training loss has stood still for ten epochs."""
    classifier = MLPClassifier(HIDDEN_SIZES, activation="relu", solver="adam", alpha=1e-2, max_iter=500, random_state=SEED)
    return classifier.fit(images / PIXEL_MAX, labels)


def to_onnx(classifier: MLPClassifier) -> onnx.ModelProto:
    """The same network in FP32, with the scaling in front and the label behind.

    Input `image` FP32 [batch, 64], pixels 0..16; outputs `label` INT64 [batch] and `probabilities` FP32 [batch, 10].
    """
    nodes = [helper.make_node("Mul", ["image", "scale"], ["scaled"])]
    initializers = [numpy_helper.from_array(np.float32(1 / PIXEL_MAX), "scale")]
    last = len(classifier.coefs_) - 1
    source = "scaled"
    for layer, (weight, bias) in enumerate(zip(classifier.coefs_, classifier.intercepts_)):
        initializers.append(numpy_helper.from_array(weight.astype(np.float32), f"weight_{layer}"))
        initializers.append(numpy_helper.from_array(bias.astype(np.float32), f"bias_{layer}"))
        nodes.append(helper.make_node("Gemm", [source, f"weight_{layer}", f"bias_{layer}"], [f"sum_{layer}"]))
        source = f"sum_{layer}"
        if layer < last:
            nodes.append(helper.make_node("Relu", [source], [f"hidden_{layer}"]))
            source = f"hidden_{layer}"
    nodes.append(helper.make_node("Softmax", [source], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
        ],
        initializers,
    )
    model = helper.make_model(
        graph, producer_name="millrace", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def run(images: np.ndarray) -> np.ndarray:
    """The labels that the exported file gives."""
    session = onnxruntime.InferenceSession(MODEL_FILE, providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(["label", "probabilities"], {"image": images.astype(np.float32)})
    assert labels.dtype == np.int64 and labels.shape == (len(images),)
    assert probabilities.dtype == np.float32 and probabilities.shape == (len(images), 10)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    return labels


def report(classifier: MLPClassifier, digits, held_out: np.ndarray, labels: np.ndarray) -> float:
    """Prints how the exported file does on the held-out images; returns its accuracy."""
    truth = digits.target[held_out]
    accuracy = float((labels == truth).mean())
    agreement = int((classifier.predict(digits.data[held_out] / PIXEL_MAX) == labels).sum())
    print(f"trained on {len(digits.target) - len(held_out)} images, {classifier.n_iter_} epochs")
    print(f"held-out accuracy {accuracy:.4f} ({int((labels == truth).sum())} of {len(truth)}), onnxruntime on the file")
    print(f"onnxruntime and scikit-learn agree on {agreement} of {len(truth)}")
    confusion = confusion_matrix(truth, labels)
    for true, answered in zip(*np.nonzero(confusion - np.diag(np.diag(confusion)))):
        print(f"  {true} taken for {answered}: {confusion[true, answered]}")
    return accuracy


def write_digest(digest: str) -> None:
    text, count = re.subn(r"(?<=sha256: )[0-9a-f]{64}", digest, MANIFEST_FILE.read_text())
    if count != 1:
        raise SystemExit(f"{MANIFEST_FILE}: expected one sha256, found {count}")
    MANIFEST_FILE.write_text(text)


def write_examples(digits, held_out: np.ndarray, labels: np.ndarray) -> None:
    """The first held-out image of each digit that the file classifies right; raw pixels, nothing smoothed."""
    EXAMPLES_DIR.mkdir(parents=True, exist_ok=True)
    names = {}
    for digit in range(10):
        of_digit = digits.target[held_out] == digit
        position = int(np.nonzero(of_digit & (labels == digit))[0][0])
        print(f"example of {digit}: image {held_out[position]}, number {int(of_digit[:position].sum()) + 1} of its digit")
        body = request_body(digits.data[held_out[position]])
        (EXAMPLES_DIR / f"{digit}.json").write_text(body)
        names[f"{digit}.json"] = digit
    (EXAMPLES_DIR / "labels.json").write_text(json.dumps(names, indent=2) + "\n")


def request_body(image: np.ndarray) -> str:
    """An Open Inference Protocol request, laid out so that one sees the digit."""
    rows = [", ".join(f"{int(pixel):2d}" for pixel in row) for row in image.reshape(8, 8)]
    data = ",\n    ".join(rows)
    head = '{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": ['
    return f"{head}\n    {data}\n]}}]}}\n"


if __name__ == "__main__":
    sys.exit(main())
