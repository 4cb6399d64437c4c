"""The dense baseline of `orchestrator`, trained by PyTorch: the same model, recipe, batches and held-out text
as this program's own (`baselines` with `model.dense_width` and `model.dense_layers`), but for the random
numbers of the initial weights. docs/checks.md has both programs' losses side by side.

A LLaMA-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases, untied
embeddings. AdamW with the parameter groups of muP, and a warmup-stable-decay schedule. Every number that is
no argument is the default of an experiment file. Needs Python 3.9 and PyTorch 2.5; uses a GPU where one is.
"""

import argparse
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator_report import checkpoint_folder, report, should_stop

VOCAB = 256
BASE_WIDTH = 64  # the width at which the learning rate holds
WEIGHT_DECAY = 0.1
EPSILON = 1e-8
CLIP = 1.0
WARMUP, DECAY = 0.05, 0.2  # shares of all steps
ROTARY_BASE = 10_000.0
EMBEDDING_DEVIATION = 0.1
RESIDUAL_GAIN = 0.5
HELD_OUT = 0.1  # share of the tokens, from the tail of the file
DIVERGED = 20.0  # nats per token
REPORTS = 200  # training losses in a run, about


# --- The model -------------------------------------------------------------------------------------------


@dataclass
class Shape:
    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int

    @staticmethod
    def of(width: int, layers: int, head_size: int, query_group: int) -> "Shape":
        """The shape that this program gives a dense model of such a width and depth."""
        heads = width // head_size
        kv_heads = max(heads // query_group, 1)
        if width % head_size or heads % kv_heads:
            raise SystemExit(f"width {width} has no {heads} heads of {head_size} in groups of {query_group}")
        # 8/3 of the width, in multiples of 8.
        return Shape(width, layers, heads, kv_heads, round(width / 3) * 8)


def rotate(x: Tensor) -> Tensor:
    """Rotary positions of [batch, heads, positions, size]; element i turns with element i + size/2."""
    positions, size = x.shape[-2:]
    # In double precision: at far positions the angle's rounding is what would be seen.
    exponent = torch.arange(0, size, 2, dtype=torch.float64, device=x.device) / size
    time = torch.arange(positions, dtype=torch.float64, device=x.device)
    angle = torch.outer(time, ROTARY_BASE**-exponent)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, kv_width = shape.width, shape.width // shape.heads * shape.kv_heads
        self.heads, self.kv_heads = shape.heads, shape.kv_heads
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, kv_width, bias=False)
        self.value = nn.Linear(width, kv_width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-6)
        self.gate = nn.Linear(width, shape.feed_forward, bias=False)
        self.up = nn.Linear(width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.attention_norm(x)
        query = rotate(split(self.query(normed), self.heads))
        key = rotate(split(self.key(normed), self.kv_heads))
        value = split(self.value(normed), self.kv_heads)
        attended = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.heads != self.kv_heads
        )
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        normed = self.feed_forward_norm(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


def split(x: Tensor, heads: int) -> Tensor:
    """[batch, positions, width] to [batch, heads, positions, size]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Dense(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(VOCAB, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=1e-6)
        self.unembedding = nn.Linear(shape.width, VOCAB, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, positions, vocabulary] of tokens [batch, positions]."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        # The output multiplier of muP.
        return self.unembedding(self.norm(x)) * (BASE_WIDTH / self.shape.width)

    def initialise(self, seed: int) -> None:
        """Variance 1/fan-in, but for embeddings, and for what is added to the residual stream."""
        generator = torch.Generator().manual_seed(seed)
        # Each block adds twice: the root keeps the stream's variance the same at any depth.
        added = RESIDUAL_GAIN / math.sqrt(2 * self.shape.layers)
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue  # gains of norms, which are 1
            deviation = 1 / math.sqrt(weight.shape[1])  # Linear keeps [out, in]
            if name == "embedding.weight":
                deviation = EMBEDDING_DEVIATION
            elif name.endswith(("output.weight", "down.weight")):
                deviation *= added
            nn.init.trunc_normal_(weight, 0.0, deviation, -3 * deviation, 3 * deviation, generator)

    def params(self) -> int:
        """N: all but the embedding and the unembedding."""
        return sum(weight.numel() for weight in self.parameters()) - 2 * VOCAB * self.shape.width

    def training_flops(self, positions: int) -> float:
        """FLOPs of training on a token: matrix products and attention scores as masked, forward times 3."""
        matrices = sum(weight.numel() for weight in self.parameters() if weight.dim() > 1)
        matrices -= VOCAB * self.shape.width  # looking up is no product
        scores = 4 * self.shape.layers * self.shape.width * (positions + 1) / 2
        return 3 * (2 * matrices + scores)


# --- The recipe ------------------------------------------------------------------------------------------


def optimizer(model: Dense, learning_rate: float) -> torch.optim.AdamW:
    """AdamW: rates and epsilon of the blocks' matrices fall as 1/width, and they alone decay."""
    scale = model.shape.width / BASE_WIDTH
    matrices = [weight for weight in model.blocks.parameters() if weight.dim() > 1]
    known = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in known]
    groups = [
        {"params": matrices, "lr": learning_rate / scale, "eps": EPSILON / scale, "weight_decay": WEIGHT_DECAY},
        {"params": others, "lr": learning_rate, "eps": EPSILON, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95))


def rate_share(step: int, steps: int) -> float:
    """Share of the stable learning rate at a step, counted from 0."""
    warmup, decay = round(WARMUP * steps), round(DECAY * steps)
    if step < warmup:
        return (step + 1) / warmup
    left = steps - step
    return left / (decay + 1) if left <= decay else 1.0


# --- The data --------------------------------------------------------------------------------------------


class Text:
    """A file of one-byte tokens in windows of `positions` + 1: inputs, and one token later the targets."""

    def __init__(self, path: Path, positions: int, seed: int) -> None:
        tokens = torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
        cut = int(len(tokens) * (1.0 - HELD_OUT))
        self.train, self.held_out = tokens[:cut], tokens[cut:]
        self.positions, self.seed = positions, seed
        # One is given up, so that each epoch cuts the text at places of its own.
        self.windows = max((len(self.train) - 1) // positions - 1, 1)

    def batch(self, step: int, rows: int) -> Tensor:
        """The windows of a step: a function of seed and step, so that nothing of it is to be stored."""
        return torch.stack([self._window(step * rows + row) for row in range(rows)]).long()

    def _window(self, index: int) -> Tensor:
        epoch, index = divmod(index, self.windows)
        key = mix(self.seed ^ mix(epoch))
        slack = len(self.train) - 1 - self.windows * self.positions
        start = permuted(index, self.windows, key) * self.positions + mix(key ^ 1) % (slack + 1)
        return self.train[start : start + self.positions + 1]

    def validation(self, tokens: int, rows: int) -> Iterator[Tensor]:
        """Windows spread evenly over the held-out text, always the same, in batches."""
        fit = (len(self.held_out) - 1) // self.positions
        taken = min(max(tokens // self.positions, 1), fit)
        starts = [turn * fit // taken * self.positions for turn in range(taken)]
        windows = [self.held_out[start : start + self.positions + 1] for start in starts]
        for first in range(0, taken, rows):
            yield torch.stack(windows[first : first + rows]).long()


def permuted(index: int, count: int, key: int) -> int:
    """A permutation of `count` numbers, the one that this program visits windows in: a Feistel network over
    the next power of four, walked until it falls inside."""
    half = max(-(-(count - 1).bit_length() // 2), 1)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(6):
            left, right = right, left ^ (mix(key ^ mix(right << 3 | turn)) & mask)
        index = left << half | right
        if index < count:
            return index


def mix(value: int) -> int:
    """Scrambles 64 bits (the finaliser of SplitMix64)."""
    most = (1 << 64) - 1
    value = (value + 0x9E3779B97F4A7C15) & most
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & most
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & most
    return value ^ (value >> 31)


# --- The run ---------------------------------------------------------------------------------------------


def losses(model: Dense, windows: Tensor) -> Tensor:
    """Cross-entropy of every token, in nats."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten(), reduction="none")


@torch.no_grad()
def validate(model: Dense, text: Text, tokens: int, rows: int, device: torch.device) -> float:
    total, count = 0.0, 0
    for windows in text.validation(tokens, rows):
        found = losses(model, windows.to(device))
        total, count = total + found.double().sum().item(), count + found.numel()
    return total / count


def save(path: Path, step: int, model: Dense, adamw: torch.optim.AdamW) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": adamw.state_dict(),
        # Nothing is drawn here after the initial weights: for whoever adds dropout.
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all(),
    }
    # Whole or not at all: a kill while it is written leaves the one before.
    unfinished = path.with_suffix(f".{os.getpid()}")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load(path: Path, model: Dense, adamw: torch.optim.AdamW) -> int:
    """The step of the newest checkpoint, which model and optimizer then have; 0 where there is none."""
    if not path.exists():
        return 0
    # To the CPU, where states of random numbers belong; the rest finds its device by itself.
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    adamw.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return state["step"]


def is_validation(step: int, steps: int, count: int) -> bool:
    """Whether one of `count` validations, evenly spaced and the last at the end, is after this step."""
    return step * count // steps > (step - 1) * count // steps


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="tokens, one byte each")
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="to train on, rounded up to whole steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--head-size", type=int, default=16)
    parser.add_argument("--query-group", type=int, default=2, help="query heads of a key and value head")
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16, help="sequences in a step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help=f"at width {BASE_WIDTH}")
    parser.add_argument("--validations", type=int, default=5)
    parser.add_argument("--validation-tokens", type=int, default=16_384)
    parser.add_argument("--checkpoint-every", type=int, default=100, help="steps")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    text = Text(arguments.data, arguments.seq_len, arguments.seed)
    torch.manual_seed(arguments.seed)
    model = Dense(Shape.of(arguments.width, arguments.layers, arguments.head_size, arguments.query_group))
    model.initialise(arguments.seed)
    model.to(device)
    adamw = optimizer(model, arguments.learning_rate)
    base_rates: List[float] = [group["lr"] for group in adamw.param_groups]

    per_step = arguments.batch * arguments.seq_len
    steps = -(-arguments.tokens // per_step)
    flops = model.training_flops(arguments.seq_len) * per_step
    checkpoint = checkpoint_folder() / "newest.pt"
    step = load(checkpoint, model, adamw)
    report(step=step, params=model.params(), total_tokens=steps * per_step, total_flops=flops * steps)

    while step < steps:
        share = rate_share(step, steps)
        for group, rate in zip(adamw.param_groups, base_rates):
            group["lr"] = rate * share
        loss = losses(model, text.batch(step, arguments.batch).to(device)).mean()
        adamw.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adamw.step()
        step += 1

        ends = step == steps
        validates = is_validation(step, steps, arguments.validations)
        if validates or step % max(steps // REPORTS, 1) == 0:
            value = loss.item()
            report(
                step=step,
                tokens=step * per_step,
                flops=flops * step,
                loss=value,
                learning_rate=arguments.learning_rate * share,
                grad_norm=norm.item(),
            )
            if not value <= DIVERGED:
                sys.exit(3)
        if validates and not ends:
            held_out = validate(model, text, arguments.validation_tokens, arguments.batch, device)
            report(step=step, validation_loss=held_out)
        if step % arguments.checkpoint_every == 0 or ends or should_stop():
            save(checkpoint, step, model, adamw)
            report(step=step, checkpoint=step)
        if should_stop() and not ends:
            sys.exit(4)

    held_out = validate(model, text, arguments.validation_tokens, arguments.batch, device)
    report(step=steps, tokens=steps * per_step, flops=flops * steps, validation_loss=held_out, final=True)
    print(f"{model.params()} parameters, {steps * per_step} tokens: held-out loss {held_out:.4f}")


if __name__ == "__main__":
    main()
