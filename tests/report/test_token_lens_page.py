"""The page of the token lens: safe with any text, complete in itself, bounded; and its verb."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from lit_rlvr.callbacks.token_log import describe_objective
from lit_rlvr.cli.token_lens import lens as lens_verb
from lit_rlvr.cli.token_lens import recorded_objective
from lit_rlvr.objectives import ASPO, GPPO, GRPO, PolicyObjective
from lit_rlvr.report.token_lens_page import MAX_TOKENS, write_lens
from lit_rlvr.report.token_records import NUMBERS, TokenRecord

HOSTILE = ("</script>", "<script>alert(1)</script>", "<!--", "{{script}}", "]]>", "&lt;", "\u2028", "\ud800", '"', "\\")


def record(
    texts: tuple[str, ...] = ("4", "2"), ratio: float = 1.0, is_correct: bool = True, prompt: str = "2+2="
) -> TokenRecord:
    n = len(texts)
    old = torch.full((n,), -1.0, dtype=torch.float64)
    values = {
        "logprob": old + torch.tensor(ratio, dtype=torch.float64).log(),
        "old_logprob": old,
        "rollout_logprob": old,
        "entropy": old + 2,
        "advantage": torch.full_like(old, 1.0 if is_correct else -1.0),
        "loss_weight": torch.full_like(old, 0.5),
    }
    facts = (0, 3, describe_objective(GRPO()), 1.0, 1.0, is_correct, prompt)
    return TokenRecord(*facts, tuple(range(n)), texts, **values)


class Reader(HTMLParser):
    """Collects the elements of a page, and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        {"script": self.scripts, "style": self.styles}.get(self._inside, self.text).append(data)

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])


def page_of(
    tmp_path: Path, records: list[TokenRecord], objectives: dict[str, PolicyObjective] | None = None, **settings: object
) -> str:
    path = write_lens(tmp_path / "new" / "lens.html", records, objectives or {"GRPO": GRPO()}, **settings)  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8")


def test_text_cannot_break_out_of_its_place(tmp_path: Path) -> None:
    hostile = record(HOSTILE, prompt="</script><img src=x onerror=alert(1)>")
    title = "</title><script>alert(2)</script>"
    plain = Reader(page_of(tmp_path, [record()]))
    reader = Reader(page_of(tmp_path, [hostile], {"<b>GRPO</b>": GRPO()}, title=title))
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]
    (completion,) = reader.data["completions"]
    assert tuple(completion["token"]) == HOSTILE
    assert completion["prompt"] == hostile.prompt
    assert reader.data["objectives"] == ["<b>GRPO</b>"]
    assert not set("<>&") & set(reader.scripts[0])
    assert title in "".join(reader.text)


def test_the_page_needs_nothing_else_and_runs_its_own_script_only(tmp_path: Path) -> None:
    reader = Reader(page_of(tmp_path, [record()]))
    assert not [
        tag for tag, attributes in reader.tags if tag in ("link", "img", "iframe") or {"src", "href"} & attributes.keys()
    ]
    (policy,) = (a["content"] for tag, a in reader.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for source in (reader.scripts[1], reader.styles[0]):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'" in policy
    assert not any(name == "style" or name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert not re.search(r"innerHTML|document\.write|eval\(|https?:", reader.scripts[1])


def test_the_data_hold_every_objective_token_by_token(tmp_path: Path) -> None:
    texts = ("a", "b")
    data = Reader(page_of(tmp_path, [record(texts, 1.5), record(texts, 0.5)], {"GRPO": GRPO(), "ASPO": ASPO()})).data
    high, low = data["completions"]
    states = {chr(ord("a") + i): name for i, name in enumerate(data["states"])}
    assert [[states[letter] for letter in view["states"]] for view in high["views"]] == [["clipped"] * 2] * 2
    assert [[states[letter] for letter in view["states"]] for view in low["views"]] == [["as sampled"] * 2, ["boosted"] * 2]
    assert [view["inverted"] for view in low["views"]] == ["00", "11"]
    assert low["views"][1]["weight"] == [2.0, 2.0]
    assert (high["max_ratio"], high["ratio"], high["views"][0]["num_clipped"]) == (1.5, [1.5, 1.5], 2)
    assert [len(low[name]) for name in data["columns"]] == [2] * len(data["columns"])
    assert set(NUMBERS) < data["columns"].keys()


def test_the_table_counts_by_sign_and_objective(tmp_path: Path) -> None:
    records = [record(("a", "b"), 1.5), record(("a", "b"), 1.0), record(("a",), 0.5, is_correct=False)]
    page = page_of(tmp_path, records, {"GRPO": GRPO(), "GPPO": GPPO()})
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr><th scope=\"row\">.*</tr>", page)]
    assert rows == [
        "GRPO A &gt; 0 4 50.0 % 0.0 % 0.0 % 0.0 % 1",
        "GRPO A &lt; 0 1 100.0 % 0.0 % 0.0 % 0.0 % 0",
        "GPPO A &gt; 0 4 0.0 % 50.0 % 0.0 % 0.0 % 2.28",
        "GPPO A &lt; 0 1 0.0 % 0.0 % 100.0 % 0.0 % 0.4",
    ]


def test_a_large_log_makes_no_large_page(tmp_path: Path) -> None:
    clipped, plain = record(("x",) * (MAX_TOKENS + 5), 1.5), record(("y",), 1.0)
    page = page_of(tmp_path, [plain, plain, clipped, plain], max_completions=2)
    shown = Reader(page).data["completions"]
    assert [completion["number"] for completion in shown] == [1, 3]
    assert (len(shown[1]["token"]), shown[1]["num_tokens"]) == (MAX_TOKENS, MAX_TOKENS + 5)
    assert "the 2 of 4 completions with the most clipped tokens" in page
    with pytest.raises(ValueError, match="max_completions must be at least 1, got 0"):
        page_of(tmp_path, [plain], max_completions=0)


def test_missing_numbers_stay_missing(tmp_path: Path) -> None:
    gap = replace(record(), logprob=torch.full((2,), torch.nan, dtype=torch.float64))
    (completion,) = Reader(page_of(tmp_path, [gap])).data["completions"]
    assert (completion["logprob"], completion["ratio"], completion["max_ratio"]) == ([None, None], [None, None], None)


def write_log(path: Path, objective: dict) -> Path:
    one = record(ratio=1.5)
    facts = {
        name: getattr(one, name) for name in ("iteration", "optimizer_step", "temperature", "reward", "is_correct", "prompt")
    }
    tokens = {"token_id": one.token_id, "token": one.token} | {name: getattr(one, name).tolist() for name in NUMBERS}
    path.write_text(json.dumps(facts | {"objective": objective, "tokens": tokens}) + "\n", encoding="utf-8")
    return path


def test_the_verb_looks_through_the_objective_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = write_log(tmp_path / "iteration_000012.jsonl", describe_objective(GRPO(clip_high=0.6, dual_clip=10.0)))
    out = tmp_path / "page.html"
    lens_verb([str(log), "--compare", "GPPO", "ASPO(dual_clip=null)", "-o", str(out)])
    assert capsys.readouterr().out.strip() == str(out)
    data = Reader(out.read_text(encoding="utf-8")).data
    assert data["objectives"] == ["GRPO(clip_high=0.6, dual_clip=10)", "GPPO", "ASPO(dual_clip=null)"]
    assert [view["num_clipped"] for view in data["completions"][0]["views"]] == [0, 0, 2]


def test_the_verb_takes_another_objective_and_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    log = write_log(tmp_path / "iteration_000012.jsonl", {"class_path": "gone.Missing", "init_args": {}})
    lens_verb([str(log), "--objective", "GRPO"])
    assert capsys.readouterr().out.strip() == "iteration_000012.html"
    assert Reader(Path("iteration_000012.html").read_text(encoding="utf-8")).data["objectives"] == ["GRPO"]


def test_mistakes_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = str(write_log(tmp_path / "log.jsonl", describe_objective(GRPO())))
    for args, message in (
        ([str(tmp_path / "no.jsonl")], "no token log at"),
        ([log, "--compare", "GRPO"], "GRPO is named twice"),
        ([log, "--max_completions", "0"], "must be at least 1"),
        ([log, "--objectve", "GRPO"], "unknown flag --objectve"),
    ):
        with pytest.raises(SystemExit) as stop:
            lens_verb(args)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_nested_settings_are_named_as_on_the_command_line() -> None:
    assert (
        recorded_objective({"class_path": "a.B", "init_args": {"x": None, "y": {"z": 0.5}, "s": "inf"}})
        == "a.B(x=None, y={'z': 0.5}, s='inf')"
    )
    with pytest.raises(ValueError, match="--objective"):
        recorded_objective({})
