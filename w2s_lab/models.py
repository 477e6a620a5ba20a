"""Name → tokenizer and model: the one place that talks to transformers.

It does not train or cache. A name is a rung of the ladder, a Hub id or a local folder; "name:4"
stops after block 4 (0 is the embedding layer alone).
"""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from w2s_lab.assets import ASSETS, converted, locate
from w2s_lab.errors import W2SError

# rung: (asset, block after which its states are read; None: two thirds of the way up)
LADDER = {"static": ("minilm", 0), "minilm": ("minilm", 4), "smollm2": ("smollm2", 10)}


class _Files:
    """What a model's folder alone decides."""

    folder: Path

    @cached_property
    def tokenizer(self):
        from transformers import AutoTokenizer

        _hush()
        return AutoTokenizer.from_pretrained(self.folder)

    @cached_property
    def key(self) -> str:
        """A hash of weights and tokenizer files: another content is another key."""
        return _content(self.folder)


@dataclass(frozen=True)
class Trunk(_Files):
    """A frozen model, read after one of its blocks.

    Attributes:
        name: as it was asked for.
        folder: its local files.
        layer: block after which states are read, 0 to `depth`.
        device: "cpu", "cuda", "cuda:1", "mps".
    """

    name: str
    folder: Path
    layer: int
    device: str

    @cached_property
    def model(self):
        import torch
        from transformers import AutoModel

        _hush()
        loaded = AutoModel.from_pretrained(self.folder, dtype=getattr(torch, self.dtype))
        return loaded.to(self.device).eval()

    @property
    def dtype(self) -> str:
        """What it computes in: "bfloat16" on a GPU that gains from it, else "float32"."""
        return "bfloat16" if gains_from_bfloat16(self.device) else "float32"

    def at(self, layer: int) -> "Trunk":
        """The same model, read after another block."""
        return replace(self, name=f"{re.sub(r':[0-9]+$', '', self.name)}:{layer}", layer=layer)

    def blocks(self):
        """The model's transformer blocks, in order."""
        import torch

        lists = [m for m in self.model.modules() if isinstance(m, torch.nn.ModuleList)]
        return max(lists, key=len)

    def states(self, input_ids, attention_mask):
        """Token states after block `layer`: (batch, tokens, dim); later blocks are not computed."""
        blocks = self.blocks()
        if self.layer == len(blocks):
            return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        found = []

        def stop(_, args, kwargs):
            found.append(args[0] if args else kwargs["hidden_states"])
            raise _Reached

        hook = blocks[self.layer].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            self.model(input_ids=input_ids, attention_mask=attention_mask)
        except _Reached:
            pass
        finally:
            hook.remove()
        return found[0]

    def flops_per_token(self) -> float:
        """Multiply-adds counted twice, for the blocks that are computed; attention left out."""
        return 2.0 * sum(p.numel() for b in self.blocks()[: self.layer] for p in b.parameters())


class _Reached(Exception):
    """Ends a forward pass once the wanted block's input is there."""


@dataclass(frozen=True)
class LanguageModel(_Files):
    """A frozen causal language model in its parts: blocks can be cut off, or trained alone.

    Any decoder of rotary positions and plain blocks (Llama, Mistral, Qwen, SmolLM).

    Attributes:
        name: as it was asked for.
        folder: its local files.
        depth: how many of its blocks are there to be used, from below.
        device: "cpu", "cuda", "cuda:1", "mps".
    """

    name: str
    folder: Path
    depth: int
    device: str

    @cached_property
    def model(self):
        import torch
        from transformers import AutoModelForCausalLM

        _hush()
        loaded = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)
        inner = getattr(loaded, "model", None)
        parts = ("embed_tokens", "layers", "norm", "rotary_emb")
        if not all(hasattr(inner, part) for part in parts) or not hasattr(loaded, "lm_head"):
            raise W2SError(
                f"{type(loaded).__name__} is not built as blocks with rotary positions",
                where=self.name,
                mend='fine-tune it as a whole, or with LoRA: size="full"',
            )
        return loaded.to(self.device).eval().requires_grad_(False)

    @property
    def embed(self):
        return self.model.model.embed_tokens

    @property
    def blocks(self):
        return self.model.model.layers

    @property
    def norm(self):
        return self.model.model.norm

    @property
    def rotary(self):
        return self.model.model.rotary_emb

    @property
    def head(self):
        """States (..., dim) to logits (..., vocabulary)."""
        return self.model.lm_head

    @property
    def head_size(self) -> int:
        """Numbers in one key of one attention head."""
        config = self.model.config
        size = getattr(config, "head_dim", None)
        return size or config.hidden_size // config.num_attention_heads

    @cached_property
    def frame(self) -> tuple[str, str]:
        """What stands before and after a user's words in this model's chat format.

        Without a system turn: it says nothing of the task and would be a fifth of a short prompt.
        """
        if "<|im_start|>" in self.tokenizer.get_vocab():  # ChatML
            return "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
        if not self.tokenizer.chat_template:
            return "", "\n"
        turn = [{"role": "user", "content": "\0"}]
        shown = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        before, _, after = shown.partition("\0")
        return before, after

    @cached_property
    def end(self) -> int:
        """The token that ends the model's turn."""
        vocabulary = self.tokenizer.get_vocab()
        ids = [vocabulary.get("<|im_end|>"), self.tokenizer.eos_token_id]
        return next(i for i in [*ids, self.model.config.eos_token_id] if i is not None)

    def flops_per_token(self, *, head: bool = True) -> float:
        """Multiply-adds counted twice, blocks up to `depth` and head; attention left out."""
        sizes = [p.numel() for block in self.blocks[: self.depth] for p in block.parameters()]
        return 2.0 * (sum(sizes) + head * self.head.weight.numel())


def _content(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in {".safetensors", ".bin", ".json", ".txt", ".model"}:
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:20]


def language_model(name: str, *, device: str = "auto") -> LanguageModel:
    """The frozen language model of that name; "smollm2:24" uses its first 24 blocks only.

    Raises:
        W2SError: no such model, or a block that it does not have.
    """
    folder, depth, block = _found(name)
    asked = depth if block is None else block
    if not asked:
        raise W2SError("no block 0 to write with", where=name, mend=f"give 1 to {depth}")
    whole = _language_model(
        name.partition(":")[0], folder, depth, pick_device(device), _stamp(folder)
    )
    if asked == depth:
        return whole
    cut = replace(whole, name=name, depth=asked)
    # the weights, the tokenizer and their hash are those of the whole model
    vars(cut).update(
        {k: vars(whole)[k] for k in ("tokenizer", "model", "key") if getattr(whole, k)}
    )
    return cut


@lru_cache(maxsize=2)  # one half a gigabyte each
def _language_model(name, folder, depth, device, stamp):
    return LanguageModel(name, folder, depth, device)


def trunk(name: str, *, device: str = "auto") -> Trunk:
    """The frozen model of that name.

    Raises:
        W2SError: no such model, or a block that it does not have.
    """
    folder, depth, layer = _found(name)
    if layer is None:
        layer = LADDER.get(name, (None, None))[1]
    if layer is None:
        layer = round(depth * 2 / 3)
    return _trunk(name, folder, layer, pick_device(device), _stamp(folder))


def _found(name: str) -> tuple[Path, int, int | None]:
    """The folder of a model, how many blocks it has, and the block that its name asks for."""
    base, _, block = name.partition(":") if Path(name).drive == "" else (name, "", "")
    asset, _ = LADDER.get(base, (base, None))
    if base not in LADDER and not ("/" in base or Path(base).exists()):
        raise W2SError(
            "no such model",
            where=repr(name),
            mend=f"give {', '.join(LADDER)}, a folder or a Hub id",
        )
    folder = _converted_smollm2() if asset == "smollm2" else locate(asset)
    depth = _depth(folder)
    if block and (not block.isdecimal() or int(block) > depth):
        raise W2SError(f"no block {block!r}", where=name, mend=f"give a number from 0 to {depth}")
    return folder, depth, int(block) if block else None


@lru_cache(maxsize=4)  # a notebook asks for the same model in every cell
def _trunk(name, folder, layer, device, stamp):
    return Trunk(name, folder, layer, device)


def _stamp(folder: Path) -> tuple:
    """Another value once a file is written anew, so that no trunk outlives its weights."""
    stats = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _hush() -> None:
    """Keeps transformers' own bars and advice out of notebooks and logs."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def pick_device(device: str = "auto") -> str:
    """The device asked for; "auto" takes the first GPU there is, else the CPU.

    Raises:
        W2SError: the device asked for is not there.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {"cuda": gpus, "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if device == "auto":
        return next(name for name, count in there.items() if count)
    kind, _, number = device.partition(":")
    if not (number or "0").isdecimal() or int(number or 0) >= there.get(kind, 0):
        raise W2SError("no such device here", where=device, mend="choose auto or cpu")
    return device


def gains_from_bfloat16(device: str) -> bool:
    """Whether the device has units for it; CPUs that have are few, and the others get slower."""
    import torch

    cuda = torch.device(device).type == "cuda"
    return cuda and torch.cuda.is_bf16_supported(including_emulation=False)


def _depth(folder: Path) -> int:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder).num_hidden_layers
    except (OSError, ValueError, AttributeError) as error:
        raise W2SError(
            "this is not a transformer that transformers can load",
            where=str(folder),
            mend="give a folder with config.json, weights and tokenizer",
        ) from error


def _converted_smollm2() -> Path:
    """SmolLM2 as safetensors: the packed GGUF takes half a minute to load, this half a second."""
    asset = ASSETS["smollm2"]

    def build(folder: Path) -> None:
        from safetensors.torch import save_file
        from transformers import AutoModelForCausalLM, AutoTokenizer

        _hush()
        source = locate("smollm2")
        packed = next(source.glob("*.gguf")).name
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=packed)
        AutoTokenizer.from_pretrained(source, gguf_file=packed).save_pretrained(folder)
        model.config.save_pretrained(folder)
        # half precision keeps 4-bit weights to 1 part in 1,000; the head is tied to the embedding
        weights = {k: v.half().contiguous() for k, v in model.state_dict().items()}
        weights.pop("lm_head.weight", None)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return converted(f"smollm2-{asset.sha256[:12]}", build)
