"""A random transformer of a few thousand weights with its word-level tokenizer, saved as files.

It knows nothing: for what must hold of any model, in milliseconds and without a download.
"""

from pathlib import Path

WORDS = tuple(f"w{i}" for i in range(40))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def save_model(folder: Path, kind: str = "bert", *, blocks: int = 3, seed: int = 0) -> Path:
    """`folder` with a "bert" (which adds [CLS] and [SEP]), "gpt2" or "llama" of random weights."""
    import torch
    import transformers

    name = {"bert": "Bert", "gpt2": "GPT2", "llama": "Llama"}[kind]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=2,
        num_hidden_layers=blocks,
        max_position_embeddings=512,
        bos_token_id=2,
        eos_token_id=3,
    )
    torch.manual_seed(seed)
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    save_tokenizer(folder, framed=kind == "bert")
    return folder


def save_writer(
    folder: Path,
    kind: str = "llama",
    *,
    blocks: int = 4,
    seed: int = 0,
    words: tuple[str, ...] = WORDS,
) -> Path:
    """`folder` with a causal "llama" or "gpt2", its head included; [SEP] ends its turn.

    Its weights are wide enough for every token read to show in what is written.
    """
    import torch
    import transformers

    name = {"gpt2": "GPT2", "llama": "Llama"}[kind]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(SPECIAL) + len(words),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,  # groups of queries share keys, as in all newer models
        num_hidden_layers=blocks,
        max_position_embeddings=1024,
        initializer_range=0.3,
        bos_token_id=2,
        eos_token_id=3,
    )
    head = {"gpt2": "LMHeadModel", "llama": "ForCausalLM"}[kind]
    torch.manual_seed(seed)
    getattr(transformers, name + head)(config).save_pretrained(folder)
    save_tokenizer(folder, framed=False, words=words)
    return folder


def save_tokenizer(folder: Path, *, framed: bool, words: tuple[str, ...] = WORDS) -> None:
    """One token a word; what is no word of `words` is [UNK]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if framed:
        frame = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=frame
        )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
