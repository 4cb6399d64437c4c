#!/usr/bin/env python3
"""Writes the numbers of `crates/trainer/tests/trainer/golden.rs`: small models in double precision.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.9.0
    /tmp/torch/bin/python benches/peer/golden.py

Everything comes from `dlcm_torch.py`, which shares no code with the program, and from torch's own
differentiation and AdamW. Weights are drawn, rounded to single precision and only then used, so
that both programs start from the very same numbers. Each file holds inputs, weights
(`weights.NAME`), results and gradients (`gradients.NAME`), and in its metadata the architecture
and the recipe.
"""

import copy
import json
import pathlib
import struct

import dlcm_torch as twin
import torch

FOLDER = pathlib.Path(__file__).parents[2] / "tests" / "golden"
BATCH = 3
RATE_SHARES = [0.5, 1.0, 0.75]


def stack(layers, heads, kv_heads, head_size, ffn):
    return {
        "layers": layers,
        "width": heads * head_size,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_size": head_size,
        "ffn": ffn,
    }


def recipe(gradient, regularisation):
    return {
        "tokens": 1,
        "batch": BATCH,
        # Rates, scales and an epsilon that each make a difference to the losses.
        "rates": {"token": 0.005, "concept": 0.004, "other": 0.003, "base_width": 20},
        "schedule": {"warmup": 0.0, "decay": 0.0, "final_share": 0.0},
        "adamw": {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3, "clip": 0.5},
        "boundary": {
            "aux_weight": 0.3,
            "temperature": 0.5,
            "threshold": "calibrated",
            "gradient": gradient,
            "regularisation": regularisation,
        },
        "validations": 1,
        "validation_tokens": 1,
        "divergence_loss": 20.0,
    }


CASES = {
    # Grouped queries, a window shorter than the sequence, the default auxiliary loss.
    "local": (
        {
            "kind": "dlcm",
            "vocab": 23,
            "seq_len": 24,
            "token_window": {"local": 5},
            "compression_ratio": 3.5,
            "encoder": stack(1, 4, 2, 8, 24),
            "backbone": stack(1, 6, 2, 8, 40),
            "decoder": stack(1, 4, 2, 8, 24),
        },
        recipe("detached", "global"),
    ),
    # Full attention, more layers, heads of another size; p trains the encoder too.
    "full": (
        {
            "kind": "dlcm",
            "vocab": 19,
            "seq_len": 21,
            "token_window": "full",
            "compression_ratio": 2.0,
            "encoder": stack(2, 4, 2, 4, 20),
            "backbone": stack(2, 5, 1, 4, 36),
            "decoder": stack(2, 4, 4, 4, 20),
        },
        recipe("encoder", "per_sequence"),
    ),
    "dense": (
        {"kind": "dense", "vocab": 23, "seq_len": 24, "stack": stack(2, 4, 2, 10, 44)},
        recipe("detached", "global"),
    ),
}


def draw_weights(model, generator):
    """Weights with which every part of the model matters."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.dim() == 1:
            value = noise if name in ("start", "smoothing") else 1.0 + 0.3 * noise
        elif name.startswith("boundary."):
            value = torch.eye(parameter.shape[0]) + 0.1 * noise
        elif name.startswith("embedding."):
            value = noise
        else:
            value = noise / parameter.shape[0] ** 0.5
        parameter.data = value.float().double()


def boundaries(length, generator):
    """Rows of very different numbers of concepts: all, one, and some."""
    starts = torch.zeros(BATCH, length, dtype=torch.bool)
    starts[0] = True
    starts[2] = torch.rand(length, generator=generator) < 0.3
    starts[:, 0] = True
    return starts


def evaluate(model, architecture, recipe, tokens, targets, starts):
    """Everything that is compared, by name."""
    logits, p, _ = model(tokens, lambda _: starts, 1.0, recipe["boundary"]["gradient"] == "detached")
    multiplier = recipe["rates"]["base_width"] / model.width
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1) * multiplier, targets.flatten(), reduction="none"
    )
    loss, auxiliary, total = twin.losses(
        model, architecture, recipe, tokens, targets, lambda _: starts
    )
    total.backward()
    results = {"logits": logits.flatten(0, 1), "losses": each, "loss": loss, "total": total}
    if p is not None:
        results |= {"p": p, "auxiliary": auxiliary}
    for name, parameter in model.named_parameters():
        # Single precision holds a reference to 6e-8, and halves the files.
        results[f"gradients.{name}"] = parameter.grad.float()
    return results


def train(model, architecture, recipe, tokens, targets, starts):
    """Losses before and after steps of AdamW, and each step's gradient norm before clipping."""
    adamw = twin.optimizer(model, architecture, recipe)
    rates = [group["lr"] for group in adamw.param_groups]
    losses, norms = [], []
    for share in [*RATE_SHARES, None]:
        loss, _, total = twin.losses(
            model, architecture, recipe, tokens, targets, lambda _: starts
        )
        losses.append(loss.detach())
        if share is None:
            break
        total.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["adamw"]["clip"]))
        for group, rate in zip(adamw.param_groups, rates):
            group["lr"] = rate * share
        adamw.step()
        adamw.zero_grad()
    return {
        "training.rate_shares": torch.tensor(RATE_SHARES, dtype=torch.float64),
        "training.losses": torch.stack(losses),
        "training.norms": torch.stack(norms),
    }


def write_safetensors(path, tensors, metadata):
    kinds = {kind: name for name, kind in twin.KINDS.items()}
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().contiguous()
        begin = len(data)
        data += values.numpy().tobytes()
        header[name] = {
            "dtype": kinds[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [begin, len(data)],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    FOLDER.mkdir(exist_ok=True)
    for seed, (name, (architecture, recipe)) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(seed)
        length, vocab = architecture["seq_len"], architecture["vocab"]
        model = twin.build(architecture, torch.float64)
        draw_weights(model, generator)
        row = torch.randint(vocab, (BATCH, length + 1), generator=generator)
        tokens, targets = row[:, :-1].contiguous(), row[:, 1:].contiguous()
        starts = boundaries(length, generator)
        tensors = {
            "tokens": tokens.int(),
            "targets": targets.int(),
            "boundaries": starts.int(),
        }
        weights = {f"weights.{key}": value.float() for key, value in model.state_dict().items()}
        tensors |= weights
        arguments = (architecture, recipe, tokens, targets, starts)
        tensors |= evaluate(copy.deepcopy(model), *arguments)
        tensors |= train(model, *arguments)
        metadata = {"architecture": json.dumps(architecture), "recipe": json.dumps(recipe)}
        path = FOLDER / f"{name}.safetensors"
        write_safetensors(path, tensors, metadata)
        print(
            f"{path.name}: {path.stat().st_size} bytes, {len(weights)} weights, "
            f"concepts {starts.sum(1).tolist()}, losses {tensors['training.losses'].tolist()}, "
            f"norms {tensors['training.norms'].tolist()}"
        )
        if "p" in tensors:
            p = tensors["p"][:, 1:]
            print(f"  p from {p.min():.3f} to {p.max():.3f}, auxiliary {tensors['auxiliary']:.4f}")


if __name__ == "__main__":
    main()
