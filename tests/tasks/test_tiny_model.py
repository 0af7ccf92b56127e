import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from lit_rlvr.tasks.addition import AdditionConversations
from lit_rlvr.tasks.tiny_model import TinyModelConfig, build_tiny_model, make_model
from lit_rlvr.tasks.tiny_tokenizer import WORDS, byte_tokenizer, character_tokenizer

TEXTS = [
    "",
    " ",
    "  \n\n 1 , 2 .",
    "<think></think>\\boxed{}",
    "<think> 1 + 2</think>\n\\boxed{ 3 }",
    "1<think>2",
    "\\boxed{\\boxed{1}}",
]
HARD_TEXTS = ["don't  stop !", "naïve é e\u0301 漢字 🙂\u2028\r\n\t", "<thi nk> </ think>", "\\boxed {x} \\box", "\x00\x7f"]


@pytest.mark.parametrize("make", [character_tokenizer, byte_tokenizer])
def test_every_task_text_survives_the_round_trip(make) -> None:
    tokenizer = make()
    texts = [t for c in AdditionConversations(num=200).load() for t in (c.messages[0]["content"], c.response)]
    for text in [*texts, *TEXTS]:
        if make is character_tokenizer and "\\boxed{\\" not in text and "\\" in text.replace("\\boxed{", ""):
            continue
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_bytes_write_any_text_and_every_byte() -> None:
    tokenizer = byte_tokenizer()
    every_character = "".join(map(chr, range(0x250)))
    for text in [*HARD_TEXTS, every_character]:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert tokenizer.unk_token_id not in ids
    assert len(tokenizer) == 256 + 9
    assert len(tokenizer.encode("漢x")) == 4


@pytest.mark.parametrize("make", [character_tokenizer, byte_tokenizer])
def test_words_are_one_ordinary_token_and_roles_are_special(make) -> None:
    tokenizer = make()
    for word in WORDS:
        ids = tokenizer.encode(word)
        assert len(ids) == 1
        assert ids[0] not in tokenizer.all_special_ids
    rendered = tokenizer.encode("<|user|>1<|assistant|>2<|end|><|pad|>")
    assert len(rendered) == 6
    assert tokenizer.decode(rendered, skip_special_tokens=True) == "12"
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)


def test_an_unknown_character_is_always_the_unknown_token() -> None:
    tokenizer = character_tokenizer("01")
    assert tokenizer.encode("0x1é") == [9, tokenizer.unk_token_id, 10, tokenizer.unk_token_id]
    assert tokenizer.decode(tokenizer.encode("0x1")) == "0<|unk|>1"


@pytest.mark.parametrize("byte_level", [False, True])
def test_the_folder_loads_back_with_the_same_logits_and_tokens(tmp_path: Path, byte_level: bool) -> None:
    path = str(tmp_path / "model")
    make_model(path, byte_level=byte_level, seed=5)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    original = byte_tokenizer() if byte_level else character_tokenizer()
    ids = torch.tensor([tokenizer.encode("<|user|>12+34=<|assistant|><think>")])
    assert ids.tolist() == [original.encode("<|user|>12+34=<|assistant|><think>")]
    assert tokenizer.chat_template == original.chat_template
    assert torch.equal(model(ids).logits, build_tiny_model(TinyModelConfig(), original, seed=5).eval()(ids).logits)
    for text in HARD_TEXTS if byte_level else ["<think>1 , 2</think>\\boxed{ 3}"]:
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_the_model_is_the_tiny_qwen3_of_the_config(tmp_path: Path) -> None:
    make_model(str(tmp_path))
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    config = model.config
    assert config.model_type == "qwen3"
    assert config.vocab_size == len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    assert max(tokenizer.get_vocab().values()) == config.vocab_size - 1
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (
        96,
        3,
        3,
        1,
    )
    assert (config.head_dim, config.intermediate_size, config.max_position_embeddings) == (32, 256, 256)
    assert config.rope_parameters["rope_theta"] == 1000.0
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert 290_000 < sum(p.numel() for p in model.parameters()) < 310_000
    assert model.dtype == torch.float32
    assert model.model.layers[0].mlp.up_proj.weight.std().item() == pytest.approx(0.05, rel=0.03)
    generation = model.generation_config
    assert (generation.eos_token_id, generation.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_settings_reach_the_model(tmp_path: Path) -> None:
    sizes = TinyModelConfig(
        hidden_size=32, num_layers=1, num_heads=4, num_kv_heads=2, head_dim=8, mlp_size=48, ties_embeddings=False,
        max_positions=64, rope_theta=500.0, init_std=0.1, alphabet="01+",
    )  # fmt: skip
    make_model(str(tmp_path), sizes)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.config.vocab_size == 9 + 3
    assert model.model.layers[0].self_attn.k_proj.weight.shape == (16, 32)
    assert model.model.layers[0].mlp.up_proj.weight.shape == (48, 32)
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    assert (model.config.max_position_embeddings, model.config.rope_parameters["rope_theta"]) == (64, 500.0)


def test_weights_follow_the_seed_and_leave_the_global_state_alone() -> None:
    # Made before the state is read: the run-time type check of a tuple's items draws one of them with `random`.
    tokenizer, config = character_tokenizer(), TinyModelConfig()
    before = torch.get_rng_state(), random.getstate()
    first, again, other = (build_tiny_model(config, tokenizer, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    for (name, weight), same, different in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, same)
        assert "norm" in name or not torch.equal(weight, different)


def test_a_model_that_is_already_there_is_not_replaced_by_accident(tmp_path: Path) -> None:
    make_model(str(tmp_path), seed=0)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match=f"{tmp_path}' already holds a model: choose another folder, or set `overwrite`"):
        make_model(str(tmp_path), seed=1)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    make_model(str(tmp_path), seed=1, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_heads=4 must be a multiple of num_kv_heads=3"),
        ({"head_dim": 33}, "head_dim must be even"),
    ],
)
def test_sizes_no_model_can_have_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TinyModelConfig(**settings)


def test_a_few_steps_of_training_lower_the_loss() -> None:
    tokenizer: PreTrainedTokenizerFast = character_tokenizer()
    texts = [
        f"<|user|>{c.messages[0]['content']}<|assistant|>{c.response}<|end|>" for c in AdditionConversations(num=16).load()
    ]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    model = build_tiny_model(TinyModelConfig(num_layers=1), tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    losses = []
    for _ in range(8):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 3.0  # untrained: about the logarithm of the vocabulary
    assert losses[-1] < 0.75 * losses[0]
