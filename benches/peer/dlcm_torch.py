#!/usr/bin/env python3
"""The models of `crates/network` in eager PyTorch: a second opinion and an opponent.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.9.0
    /tmp/torch/bin/python benches/peer/dlcm_torch.py --architecture shape.json --threads 2

A model is built from an architecture as the program writes it (in a run's `run.json`, and in the
metadata of exported weights), with weights of the same names and shapes (docs/weights.md).

As a script it times whole training steps (forward, loss, backward, clipping, AdamW) and prints
one JSON line. Boundaries are forced to a pattern that any program can make, so that two programs
do the same work. With x <- 1664525 x + 1013904223 mod 2^32, started for row r of step s (counted
from 0, warmup included) at 0x9E3779B9 (s batch + r + 1) mod 2^32, token t starts a concept if t = 0
or the (t+1)-th x is below 2^32/R. Started at 0x85EBCA6B (s batch + r + 1) mod 2^32 instead, the
(t+1)-th x gives token t: floor(x / 256) mod vocab.
"""

import argparse
import json
import math
import resource
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

NORM_EPSILON = 1e-6
NORM_FLOOR = 1e-4
ROTARY_BASE = 10_000.0


def weight(*shape):
    return nn.Parameter(torch.empty(*shape))


class Rotary:
    """Turns queries and keys to their positions, halves paired; tables are kept."""

    def __init__(self, size):
        self.size, self.cos, self.sin = size, None, None

    def tables(self, x):
        length = x.shape[-2]
        if self.cos is None or self.cos.shape[0] < length or self.cos.dtype != x.dtype:
            on = {"dtype": torch.float64, "device": x.device}
            frequency = ROTARY_BASE ** (-torch.arange(0, self.size, 2, **on) / self.size)
            angle = torch.outer(torch.arange(length, **on), frequency)
            cos, sin = angle.cos(), angle.sin()
            self.cos = torch.cat((cos, cos), -1).to(x.dtype)
            self.sin = torch.cat((-sin, sin), -1).to(x.dtype)
        return self.cos[:length], self.sin[:length]

    def __call__(self, x):
        """[batch, heads, length, size], in and out."""
        cos, sin = self.tables(x)
        return x * cos + x.roll(self.size // 2, -1) * sin


class WindowMask:
    """0 where token t may see token s, s in (t - window, t], and -inf elsewhere; kept."""

    def __init__(self, window):
        self.window, self.mask = window, None

    def __call__(self, x):
        length = x.shape[1]
        if self.mask is None or self.mask.shape[0] != length or self.mask.dtype != x.dtype:
            ones = x.new_ones(length, length, dtype=torch.bool)
            seen = ones.tril() & ones.triu(1 - self.window)
            self.mask = x.new_zeros(length, length).masked_fill(~seen, -math.inf)
        return self.mask


def split(x, heads):
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def attend(q, k, v, **masking):
    """Grouped-query attention of [batch, heads, length, size] to [batch, length, width]."""
    grouped = q.shape[1] != k.shape[1]
    out = F.scaled_dot_product_attention(q, k, v, enable_gqa=grouped, **masking)
    return out.transpose(1, 2).flatten(2)


def rms_norm(x, gain):
    return F.rms_norm(x, gain.shape, gain.to(x.dtype), NORM_EPSILON)


class Block(nn.Module):
    def __init__(self, stack, rotary):
        super().__init__()
        width, kv_width = stack["width"], stack["kv_heads"] * stack["head_size"]
        self.heads, self.kv_heads, self.rotary = stack["heads"], stack["kv_heads"], rotary
        self.attention_norm = weight(width)
        self.query = weight(width, width)
        self.key = weight(width, kv_width)
        self.value = weight(width, kv_width)
        self.output = weight(width, width)
        self.feed_forward_norm = weight(width)
        self.gate = weight(width, stack["ffn"])
        self.up = weight(width, stack["ffn"])
        self.down = weight(stack["ffn"], width)

    def forward(self, x, masking):
        normed = rms_norm(x, self.attention_norm)
        q = self.rotary(split(normed @ self.query, self.heads))
        k = self.rotary(split(normed @ self.key, self.kv_heads))
        v = split(normed @ self.value, self.kv_heads)
        x = x + attend(q, k, v, **masking) @ self.output
        normed = rms_norm(x, self.feed_forward_norm)
        return x + (F.silu(normed @ self.gate) * (normed @ self.up)) @ self.down


class Blocks(nn.Module):
    def __init__(self, stack, window="full"):
        super().__init__()
        rotary = Rotary(stack["head_size"])
        self.blocks = nn.ModuleList(Block(stack, rotary) for _ in range(stack["layers"]))
        self.norm = weight(stack["width"])
        self.mask = None if window == "full" else WindowMask(window["local"])

    def forward(self, x):
        masking = {"attn_mask": self.mask(x)} if self.mask else {"is_causal": True}
        for block in self.blocks:
            x = block(x, masking)
        return rms_norm(x, self.norm)


class Embedding(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.table = weight(vocab, width)


class Unembedding(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.matrix = weight(width, vocab)


class Dense(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.width = shape["stack"]["width"]
        self.embedding = Embedding(shape["vocab"], self.width)
        self.decoder = Blocks(shape["stack"])
        self.unembedding = Unembedding(shape["vocab"], self.width)

    def forward(self, tokens, decide=None, multiplier=1.0, detach=True):
        """Logits times the multiplier [batch, seq_len, vocab]; no p and no boundaries."""
        x = self.decoder(F.embedding(tokens, self.embedding.table))
        return (x * multiplier) @ self.unembedding.matrix, None, None

    def compile(self):
        """One graph."""
        self.forward = torch.compile(self.forward, fullgraph=True)


class Boundary(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = weight(width, width)
        self.key = weight(width, width)

    def forward(self, h):
        """p [batch, seq_len]; 1 for the first token."""
        q, k = h[:, :-1] @ self.query, h[:, 1:] @ self.key
        length = lambda x: torch.linalg.vector_norm(x, dim=-1).clamp_min(NORM_FLOOR)  # noqa: E731
        cosine = (q * k).sum(-1) / (length(q) * length(k))
        return F.pad((0.5 - 0.5 * cosine).clamp(0.0, 1.0), (1, 0), value=1.0)


class CrossAttention(nn.Module):
    def __init__(self, decoder, d_concept):
        super().__init__()
        width, size = decoder["width"], decoder["head_size"]
        self.heads, self.kv_heads = decoder["heads"], decoder["kv_heads"]
        self.query = weight(width, width)
        self.key = weight(d_concept, self.kv_heads * size)
        self.value = weight(d_concept, self.kv_heads * size)
        self.output = weight(width, width)
        self.query_norm = weight(size)
        self.key_norm = weight(size)

    def forward(self, h, slots, member):
        """Tokens h read slots; the bias is ln(tokens up to t in a segment), -inf for none."""
        bias = member.cumsum(1).log().unsqueeze(1)
        q = rms_norm(split(h @ self.query, self.heads), self.query_norm)
        k = rms_norm(split(slots @ self.key, self.kv_heads), self.key_norm)
        v = split(slots @ self.value, self.kv_heads)
        return attend(q, k, v, attn_mask=bias) @ self.output


class Dlcm(nn.Module):
    def __init__(self, shape):
        super().__init__()
        encoder, backbone, decoder = shape["encoder"], shape["backbone"], shape["decoder"]
        self.width, d_concept = encoder["width"], backbone["width"]
        self.embedding = Embedding(shape["vocab"], self.width)
        self.encoder = Blocks(encoder, shape["token_window"])
        self.boundary = Boundary(self.width)
        self.up_projection = weight(self.width, d_concept)
        self.backbone = Blocks(backbone)
        self.smoothing = weight(d_concept)
        self.start = weight(d_concept)
        self.cross_attention = CrossAttention(decoder, d_concept)
        self.decoder = Blocks(decoder, shape["token_window"])
        self.unembedding = Unembedding(shape["vocab"], self.width)
        # The concept axis comes in multiples of this.
        self.room = 1

    def forward(self, tokens, decide, multiplier=1.0, detach=True):
        """Logits times the multiplier, p and boundaries, which `decide` makes from p."""
        h, p = self.encode(tokens, detach)
        starts = decide(p.detach()).clone()
        starts[:, 0] = True
        segment = starts.long().cumsum(1) - 1
        concepts = -(-(int(segment[:, -1].max()) + 1) // self.room) * self.room
        member = F.one_hot(segment, concepts).to(h.dtype)
        return self.decode(h, segment, member, multiplier), p, starts

    def encode(self, tokens, detach):
        """What comes before boundaries are decided."""
        h = self.encoder(F.embedding(tokens, self.embedding.table))
        return h, self.boundary(h.detach() if detach else h)

    def decode(self, h, segment, member, multiplier):
        """What comes after."""
        h = h + self.cross_attention(h, self.reason(h, segment, member), member)
        return (self.decoder(h) * multiplier) @ self.unembedding.matrix

    def compile(self):
        """Two graphs with fixed shapes: boundaries are decided between them."""
        self.encode, self.decode = (
            torch.compile(half, fullgraph=True) for half in (self.encode, self.decode)
        )

    def reason(self, h, segment, member):
        """Pools, runs the backbone, smooths and shifts by one: [batch, concepts, d_concept]."""
        batch, _, concepts = member.shape
        start = self.start.expand(batch, 1, -1)
        if concepts == 1:
            return start
        slot = segment + concepts * torch.arange(batch, device=h.device).unsqueeze(1)
        sums = h.new_zeros(batch * concepts, h.shape[2]).index_add(0, slot.flatten(), h.flatten(0, 1))
        means = sums.view(batch, concepts, -1) / member.sum(1).clamp_min(1.0).unsqueeze(2)
        # No token reads the last slot's concept.
        z = self.backbone(means[:, :-1] @ self.up_projection)
        mixed = torch.lerp(z[:, :-1], z[:, 1:], self.smoothing.sigmoid().to(z.dtype))
        return torch.cat((start, z[:, :1], mixed), dim=1)


def build(architecture, dtype=torch.float32):
    """Makes a network of an architecture, its weights not yet set."""
    kinds = {"dense": Dense, "dlcm": Dlcm}
    return kinds[architecture["kind"]](architecture).to(dtype)


def auxiliary_loss(p, starts, ratio, per_sequence=False):
    """Eq. 8-10 over the global batch, or over each sequence and averaged."""
    if per_sequence:
        return torch.stack(
            [auxiliary_loss(p[i], starts[i], ratio) for i in range(p.shape[0])]
        ).mean()
    f, g = starts.to(p.dtype).mean(), p.mean()
    return ratio / (ratio - 1.0) * ((ratio - 1.0) * f * g + (1.0 - f) * (1.0 - g)) - 1.0


def group_of(name, rank):
    """The muP group of a weight: a matrix belongs to the width of the vector it reads."""
    if rank < 2 or name.startswith(("embedding.", "unembedding.")):
        return "other"
    concept = name.startswith("backbone.") or name in ("cross_attention.key", "cross_attention.value")
    return "concept" if concept else "token"


def optimizer(model, architecture, recipe):
    """AdamW with decoupled muP's rate, epsilon and decay for each group."""
    rates, adamw = recipe["rates"], recipe["adamw"]
    d_concept = architecture.get("backbone", {"width": model.width})["width"]
    scale = {
        "token": model.width / rates["base_width"],
        "concept": d_concept / rates["base_width"],
        "other": 1.0,
    }
    groups = {group: [] for group in scale}
    for name, parameter in model.named_parameters():
        groups[group_of(name, parameter.dim())].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[group] / scale[group],
                "eps": adamw["epsilon"] / scale[group],
                "weight_decay": 0.0 if group == "other" else adamw["weight_decay"],
            }
            for group, parameters in groups.items()
            if parameters
        ],
        betas=(adamw["beta1"], adamw["beta2"]),
        fused=True,
    )


RECIPE = {
    "rates": {"token": 4e-3, "concept": 4e-3, "other": 4e-3, "base_width": 64},
    "adamw": {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weight_decay": 0.1, "clip": 1.0},
    "boundary": {"aux_weight": 0.05, "gradient": "detached", "regularisation": "global"},
}


def losses(model, architecture, recipe, tokens, targets, decide):
    """Mean cross-entropy, auxiliary loss (None for a dense model) and their weighted sum."""
    multiplier = recipe["rates"]["base_width"] / model.width
    boundary = recipe["boundary"]
    logits, p, starts = model(tokens, decide, multiplier, boundary["gradient"] == "detached")
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    if p is None:
        return loss, None, loss
    auxiliary = auxiliary_loss(
        p, starts, architecture["compression_ratio"], boundary["regularisation"] == "per_sequence"
    )
    return loss, auxiliary, loss + boundary["aux_weight"] * auxiliary


KINDS = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32}


def read_safetensors(path):
    """Tensors by name, and the metadata."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(data[begin:end], dtype=KINDS[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def load_export(path, dtype=torch.float32):
    """The network of an exported file, and the file's metadata."""
    weights, metadata = read_safetensors(path)
    model = build(json.loads(metadata["architecture"]), dtype)
    model.load_state_dict(weights)
    return model, metadata


def initialise(model):
    """Initial weights as the program draws them, but for the random numbers."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        end = name.rsplit(".", 1)[-1]
        if name.startswith("boundary."):
            nn.init.eye_(parameter)
        elif parameter.dim() < 2 and end != "start":
            nn.init.constant_(parameter, 2.0 if end == "smoothing" else 1.0)
        else:
            deviation = 1.0 if end in ("start", "table") else parameter.shape[0] ** -0.5
            if name == "cross_attention.output":
                deviation *= 0.3
            elif end in ("output", "down"):
                stack = model.get_submodule(name.split(".")[0])
                deviation /= math.sqrt(2 * len(stack.blocks))
            bound = 3 * deviation
            nn.init.trunc_normal_(parameter, 0.0, deviation, -bound, bound, generator)


def congruential(seed, count):
    """`count` states of the 32-bit generator after `seed`."""
    states, state = [], seed & 0xFFFFFFFF
    for _ in range(count):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
        states.append(state)
    return states


def benchmark_step(architecture, batch, s, device="cpu"):
    """Tokens, targets and forced boundaries of step s."""
    length, vocab = architecture["seq_len"], architecture["vocab"]
    rate = 1.0 / architecture.get("compression_ratio", 1.0)
    rows = [s * batch + r + 1 for r in range(batch)]
    tokens = [
        [(state >> 8) % vocab for state in congruential(0x85EBCA6B * row, length + 1)]
        for row in rows
    ]
    starts = [
        [state / 2**32 < rate for state in congruential(0x9E3779B9 * row, length)] for row in rows
    ]
    tokens, starts = torch.tensor(tokens, device=device), torch.tensor(starts, device=device)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), lambda _: starts


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", required=True, help="JSON file")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="operations by time, to stderr")
    parser.add_argument("--device", default="cpu", help="as PyTorch names it")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--room", type=int, default=1, help="the concept axis in multiples of this")
    parser.add_argument("--compile", action="store_true", help="torch.compile instead of eager")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    with open(options.architecture) as file:
        architecture = json.load(file)
    model = build(architecture)
    initialise(model)
    torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
    model.to(options.device)
    model.room = options.room
    kind = torch.device(options.device).type
    adamw = optimizer(model, architecture, RECIPE)
    steps = [
        benchmark_step(architecture, options.batch, s, options.device)
        for s in range(options.warmup + options.steps)
    ]

    def step_here(data):
        with torch.autocast(kind, torch.bfloat16, enabled=options.precision == "bf16"):
            loss, _, total = losses(model, architecture, RECIPE, *data)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), RECIPE["adamw"]["clip"])
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        if kind == "cuda":
            torch.cuda.synchronize()
        return loss.detach()

    if options.compile:
        # Masks and rotary tables are made once, not in the graph. A graph is compiled for each
        # size of the concept axis.
        step_here(steps[0])
        torch._dynamo.config.recompile_limit = 64
        torch._dynamo.config.automatic_dynamic_shapes = False
        model.compile()
    for data in steps[: options.warmup]:
        step_here(data)

    def timed():
        seconds = []
        for data in steps[options.warmup :]:
            began = time.perf_counter()
            loss = step_here(data)
            seconds.append(time.perf_counter() - began)
        return seconds, loss.item()

    if options.profile:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            seconds, loss = timed()
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
        print(table, file=sys.stderr)
    else:
        seconds, loss = timed()
    tokens = options.batch * architecture["seq_len"] * len(seconds)
    print(
        json.dumps(
            {
                "tokens_per_second": tokens / sum(seconds),
                "seconds_per_step": seconds,
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "loss": loss,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
